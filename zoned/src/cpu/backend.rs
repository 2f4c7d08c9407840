//! What keeps CPU shares: the first of those that are permitted and work on this host.

use std::fmt;

use clap::ValueEnum;

use crate::platform::cgroup::Tree;

/// What keeps shares, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Backend {
    /// A scheduler of zoned's own
    Fss,
    /// The kernel's scheduler, by weights that follow what each zone has got
    Deficit,
    /// The kernel's scheduler, by fixed weights
    Shares,
}

impl Backend {
    /// All, best first.
    pub const ALL: [Self; 3] = [Self::Fss, Self::Deficit, Self::Shares];

    /// As it is called by the option.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fss => "fss",
            Self::Deficit => "deficit",
            Self::Shares => "shares",
        }
    }

    /// What it does, for people.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Fss => "shares are kept by a scheduler of zoned's own",
            Self::Deficit => {
                "shares are kept by the kernel, and what it gets wrong is made up for while zones contend"
            }
            Self::Shares => "shares are kept as well as the kernel keeps them",
        }
    }

    /// Why it does not work on this host, if it does not.
    fn lacks(self, tree: &Tree) -> Option<&'static str> {
        match self {
            Self::Fss => Some("this build has no scheduler of its own"),
            Self::Deficit | Self::Shares => {
                (!tree.has_weights()).then_some("zones have no cpu controller on this host")
            }
        }
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What keeps shares here, and why nothing better does.
#[derive(Clone, Debug)]
pub struct Choice {
    /// In force; none if nothing is.
    pub in_force: Option<Backend>,
    /// Those before it, each with the reason.
    pub passed_over: Vec<(Backend, &'static str)>,
}

/// Chooses among those that are permitted. If none of them works, fixed weights are better than none.
pub fn choose(permitted: &[Backend], tree: &Tree) -> Choice {
    let first = permitted.iter().copied().find(|backend| backend.lacks(tree).is_none());
    let in_force = first.or_else(|| Backend::Shares.lacks(tree).is_none().then_some(Backend::Shares));
    let better = Backend::ALL.into_iter().take_while(|backend| Some(*backend) != in_force);
    let reason = |backend: Backend| match backend.lacks(tree) {
        Some(why) => (backend, why),
        None if permitted.contains(&backend) => (backend, "named later in --cpu-backend"),
        None => (backend, "not permitted by --cpu-backend"),
    };
    Choice { in_force, passed_over: better.map(reason).collect() }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.in_force.map_or("none", Backend::as_str))?;
        self.passed_over.iter().try_for_each(|(backend, why)| write!(f, "; not {backend}: {why}"))
    }
}
