//! What keeps CPU shares: the first of those that are permitted and work on this host.

use std::fmt;

use clap::ValueEnum;

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
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What keeps shares here, and why nothing better does.
#[derive(Clone, Debug, Default)]
pub struct Choice {
    /// In force; none if nothing is, or if it is being chosen.
    pub in_force: Option<Backend>,
    /// Those before it, each with the reason.
    pub passed_over: Vec<(Backend, String)>,
}

/// Starts the first of those permitted that can be started. If none can, fixed weights are better than none.
pub(super) fn choose(permitted: &[Backend], mut start: impl FnMut(Backend) -> Result<(), String>) -> Choice {
    let mut failed = Vec::new();
    let mut try_it = |backend: Backend| match start(backend) {
        Ok(()) => true,
        Err(why) => {
            failed.push((backend, why));
            false
        }
    };
    let in_force = permitted.iter().copied().find(|backend| try_it(*backend)).or_else(|| {
        (!permitted.contains(&Backend::Shares) && try_it(Backend::Shares)).then_some(Backend::Shares)
    });
    let better = Backend::ALL.into_iter().take_while(|backend| Some(*backend) != in_force);
    let reason = |backend: Backend| {
        let why = match failed.iter().find(|(failed, _)| *failed == backend) {
            Some((_, why)) => why.clone(),
            None if permitted.contains(&backend) => "named later by cpu-backend".into(),
            None => "not permitted by cpu-backend".into(),
        };
        (backend, why)
    };
    Choice { in_force, passed_over: better.map(reason).collect() }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.in_force.map_or("none", Backend::as_str))?;
        self.passed_over.iter().try_for_each(|(backend, why)| write!(f, "; not {backend}: {why}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn without(missing: &[Backend]) -> impl FnMut(Backend) -> Result<(), String> {
        move |backend| if missing.contains(&backend) { Err(format!("no {backend}")) } else { Ok(()) }
    }

    #[test]
    fn the_first_that_starts_is_taken_and_the_others_have_a_reason() {
        let all = Backend::ALL;
        assert_eq!(choose(&all, without(&[])).to_string(), "fss");
        assert_eq!(choose(&all, without(&[Backend::Fss])).to_string(), "deficit; not fss: no fss");
        let named = [Backend::Shares, Backend::Deficit];
        let why = "shares; not fss: not permitted by cpu-backend; not deficit: named later by cpu-backend";
        assert_eq!(choose(&named, without(&[])).to_string(), why);
    }

    #[test]
    fn fixed_weights_are_better_than_none() {
        let choice = choose(&[Backend::Fss], without(&[Backend::Fss]));
        assert_eq!(choice.in_force, Some(Backend::Shares));
        assert_eq!(choose(&Backend::ALL, without(&Backend::ALL)).in_force, None);
    }
}
