//! What only a whole configuration can tell.

use std::path::Path;

use super::{FsOption, Size, ZoneConfig};
use crate::error::ApiError;

/// Least quota: the file system's own journal and tables take about half of it.
const LEAST_QUOTA: Size = Size(16 << 20);

/// Least number of inodes: the first boot makes some dozens of folders.
const LEAST_INODES: u64 = 256;

impl ZoneConfig {
    /// What only the whole configuration can tell. Looks at nothing outside of it.
    pub fn check(&self) -> Result<(), ApiError> {
        let bad = |key: &str, why: String, hint: &str| {
            Err(ApiError::invalid(format!("configuration: {key}: {why}"), Some(hint.to_owned())))
        };
        if self.root.sparse && self.root.image.is_some() {
            return bad("root", "sparse and image contradict each other".into(), "give one of them");
        }
        if !self.root.sparse && self.root.image.is_none() {
            return bad(
                "root",
                "no source is given".into(),
                "write { sparse: true } or { image: debian:bookworm }",
            );
        }
        self.check_quota()?;
        if let Some(host) = &self.hostname {
            let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
            let edge = host.starts_with(['-', '.']) || host.ends_with(['-', '.']);
            if host.is_empty() || host.len() > 64 || edge || !host.chars().all(plain) {
                return bad(
                    "hostname",
                    format!("{host:?} is no host name"),
                    "use 1 to 64 of a-z 0-9 - . (hostname(7))",
                );
            }
        }
        if self.after.contains(&self.zone) {
            return bad("after", "a zone cannot wait for itself".into(), "take its own name out");
        }
        for (i, fs) in self.fs.iter().enumerate() {
            for (key, path) in [("source", &fs.source), ("target", &fs.target)] {
                if let Some(why) = path_fault(path) {
                    return bad(
                        &format!("fs[{i}].{key}"),
                        format!("{path:?} {why}"),
                        "give an absolute path",
                    );
                }
            }
            if fs.options.contains(&FsOption::Ro) && fs.options.contains(&FsOption::Rw) {
                return bad(
                    &format!("fs[{i}].options"),
                    "ro and rw contradict each other".into(),
                    "give one of them",
                );
            }
            if fs.target == "/" {
                return bad(
                    &format!("fs[{i}].target"),
                    "the root itself cannot be covered".into(),
                    "use root.image",
                );
            }
        }
        self.check_targets()?;
        for (i, device) in self.device.iter().enumerate() {
            let under = device.path.strip_prefix("/dev/").unwrap_or_default();
            if under.is_empty() || path_fault(&device.path).is_some() {
                let why = format!("{:?} is no path under /dev", device.path);
                return bad(&format!("device[{i}].match"), why, "give the node's path, like /dev/fuse");
            }
        }
        if self.limitpriv.is_empty() {
            return bad(
                "limitpriv",
                "the list is empty, which would leave its root no privilege at all".into(),
                "`default` is the brand's set: leave the key out, write [default, '!net_raw'], or name the few it needs",
            );
        }
        for entry in &self.limitpriv {
            let name = entry.strip_prefix('!').unwrap_or(entry);
            if name.is_empty() || !name.chars().all(|c| c.is_ascii_lowercase() || c == '_') {
                return bad(
                    "limitpriv",
                    format!("{entry:?} is no privilege"),
                    "write names like net_raw or !net_raw",
                );
            }
        }
        self.check_limits()?;
        self.check_net()?;
        self.check_process()?;
        self.check_online()
    }

    fn check_quota(&self) -> Result<(), ApiError> {
        let bad = |key: &str, why: String, hint: &str| {
            Err(ApiError::invalid(format!("configuration: root.{key}: {why}"), Some(hint.to_owned())))
        };
        let Some(quota) = self.root.quota else {
            return match self.root.inodes {
                Some(_) => bad("inodes", "nothing counts them without a quota".into(), "give root.quota too"),
                None => Ok(()),
            };
        };
        if quota < LEAST_QUOTA {
            let why = format!("{quota} is too little for a file system; {LEAST_QUOTA} is the least");
            return bad("quota", why, "give a size like 512M or 10G, or take the key away");
        }
        if quota.0 % 4096 != 0 {
            return bad("quota", format!("{quota} is no multiple of 4096"), "give it in K, M, G or T");
        }
        // ext4 has no more than one for each block, and needs some itself.
        if let Some(inodes) = self.root.inodes.filter(|n| !(LEAST_INODES..=quota.0 / 4096).contains(n)) {
            let why =
                format!("{inodes} is not between {LEAST_INODES} and one for each 4096 bytes of the quota");
            return bad("inodes", why, "give another number, or take the key away");
        }
        Ok(())
    }

    /// Each is mounted in its turn: a later one at or above an earlier one would hide it.
    fn check_targets(&self) -> Result<(), ApiError> {
        for (later, fs) in self.fs.iter().enumerate() {
            let over = Path::new(&fs.target);
            let earlier = self.fs.iter().take(later).position(|e| Path::new(&e.target).starts_with(over));
            if let Some(earlier) = earlier {
                let message = format!("configuration: fs[{later}].target: {} hides fs[{earlier}]", fs.target);
                let hint = "give each a target of its own, and a folder before what is shown inside of it";
                return Err(ApiError::invalid(message, Some(hint.into())));
            }
        }
        Ok(())
    }

    fn check_process(&self) -> Result<(), ApiError> {
        let bad = |key: &str, why: String| {
            Err(ApiError::invalid(format!("configuration: process.{key}: {why}"), None))
        };
        let builtin = self.process.init.as_deref() == Some("none");
        if let Some(init) = self.process.init.as_deref().filter(|init| *init != "none")
            && let Some(why) = path_fault(init)
        {
            return bad("init", format!("{init:?} {why}; give an absolute path or none"));
        }
        if let Some(cwd) = &self.process.cwd
            && let Some(why) = path_fault(cwd)
        {
            return bad("cwd", format!("{cwd:?} {why}; give an absolute path"));
        }
        if self.process.user.is_some() && self.process.init.is_some() && !builtin {
            return bad(
                "user",
                "an init of the zone's own starts as root; only the built-in one takes a user".into(),
            );
        }
        if self.process.command.first().is_some_and(String::is_empty) {
            return bad("command", "the program's name is empty".into());
        }
        if let Some(word) = self.process.command.iter().find(|w| w.contains('\0')) {
            return bad("command", format!("{word:?} contains NUL"));
        }
        for (name, value) in &self.process.env {
            if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
                return bad("env", format!("{name:?} cannot be an environment variable"));
            }
        }
        Ok(())
    }
}

/// What is wrong with an absolute path, if anything.
fn path_fault(path: &str) -> Option<&'static str> {
    if !path.starts_with('/') {
        Some("is not absolute")
    } else if path.contains('\0') {
        Some("contains NUL")
    } else if path.len() > 4095 {
        Some("is longer than 4095 bytes")
    } else if path.split('/').any(|part| part == "..") {
        Some("contains ..")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::{super::parse::tests::fault, *};

    #[test]
    fn a_target_that_hides_another_is_refused() {
        let of = |a: &str, b: &str| {
            format!("zone: a\nfs: [{{ source: /a, target: {a} }}, {{ source: /b, target: {b} }}]")
        };
        assert!(fault(&of("/srv", "/srv")).contains("fs[1].target: /srv hides fs[0]"));
        assert!(fault(&of("/srv/x", "/srv/")).contains("hides fs[0]"));
        assert!(ZoneConfig::parse(&of("/srv", "/srv/x")).is_ok());
        assert!(ZoneConfig::parse(&of("/srv", "/srv2")).is_ok());
    }
}
