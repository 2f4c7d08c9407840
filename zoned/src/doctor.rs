//! What this host offers, and what that means for each feature of this build.
//!
//! Looks, and where looking does not tell, tries in a way that leaves nothing. Decides nothing: whoever needs a
//! feature probes for it itself.

mod limits;

use std::{fs, path::Path, sync::PoisonError};

use zoned_api::report::{Finding, Verdict};

use crate::{host::Host, platform::overlay};

/// All findings.
pub fn examine(host: &Host) -> Vec<Finding> {
    let mut found = vec![
        kernel(),
        cgroup(host),
        user_namespaces(),
        namespace("time", "each zone's clock of uptime begins at its boot", Verdict::Limited),
        namespace("cgroup", "a zone sees only its own groups", Verdict::Missing),
        overlayfs(),
        seccomp(),
        vsyscall(),
        ia32(),
        bootstrap(),
        quota(),
        firewall(),
    ];
    let concern = |why| finding("network", Verdict::Limited, why, "zones are not reached as zoned was told");
    found.extend(host.network.concerns().into_iter().map(concern));
    found.extend(limits::examine(host));
    found.extend(crate::metering::Metering::probes());
    let unreadable = host.unreadable.lock().unwrap_or_else(PoisonError::into_inner);
    found.extend(unreadable.iter().map(|why| {
        finding(
            "zone",
            Verdict::Missing,
            why,
            "it is left out until its files are mended and zoned is started again",
        )
    }));
    found
}

fn finding(subject: &str, verdict: Verdict, found: impl Into<String>, meaning: &str) -> Finding {
    Finding { subject: subject.into(), verdict, found: found.into(), meaning: meaning.into() }
}

fn read(path: &str) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

fn kernel() -> Finding {
    let uname = rustix::system::uname();
    let release = uname.release().to_string_lossy().into_owned();
    let mut numbers = release.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    let found = format!("Linux {release}, {}", uname.machine().to_string_lossy());
    // The newest thing that nothing here works without.
    if version >= (5, 19) {
        finding("kernel", Verdict::Good, found, "has everything zones are made of")
    } else {
        finding(
            "kernel",
            Verdict::Missing,
            found,
            "zones need Linux 5.19 or later: overlays of id-mapped layers",
        )
    }
}

fn cgroup(host: &Host) -> Finding {
    finding("cgroup", Verdict::Good, host.tree.describe(), "zones are grouped, frozen and killed by cgroup2")
}

fn user_namespaces() -> Finding {
    let limit = read("/proc/sys/user/max_user_namespaces").and_then(|t| t.parse::<u64>().ok());
    match limit {
        Some(0) => finding(
            "user namespaces",
            Verdict::Missing,
            "user.max_user_namespaces is 0",
            "no zone can boot; set it with sysctl, to 10000 or more",
        ),
        Some(n) if n < 1000 => finding(
            "user namespaces",
            Verdict::Limited,
            format!("at most {n}"),
            "each zone takes a few, and may make its own; raise user.max_user_namespaces",
        ),
        Some(n) => finding(
            "user namespaces",
            Verdict::Good,
            format!("at most {n}"),
            "a zone's root is nobody on the host",
        ),
        None => finding("user namespaces", Verdict::Missing, "the kernel has none", "no zone can boot"),
    }
}

fn namespace(name: &str, meaning: &str, without: Verdict) -> Finding {
    if Path::new("/proc/self/ns").join(name).exists() {
        finding(&format!("{name} namespaces"), Verdict::Good, "there", meaning)
    } else {
        finding(
            &format!("{name} namespaces"),
            without,
            "the kernel has none",
            &format!("not here: {meaning}"),
        )
    }
}

fn overlayfs() -> Finding {
    let there = read("/proc/filesystems").is_some_and(|list| list.lines().any(|l| l.ends_with("\toverlay")));
    let how = match there {
        false => {
            let found = "not there; `modprobe overlay` may help";
            return finding("overlayfs", Verdict::Missing, found, "no zone can boot");
        }
        true if overlay::takes_descriptors() => "takes layers by descriptor",
        true => "takes layers by path, up to some eighty a zone",
    };
    finding("overlayfs", Verdict::Good, how, "zones share the layers of their images")
}

fn seccomp() -> Finding {
    match read("/proc/sys/kernel/seccomp/actions_avail") {
        Some(list) if list.contains("user_notif") => finding(
            "seccomp",
            Verdict::Good,
            list,
            "a brand filters system calls, and can have some answered",
        ),
        Some(list) => finding(
            "seccomp",
            Verdict::Limited,
            list,
            "a brand filters system calls, and can have none answered",
        ),
        None => finding(
            "seccomp",
            Verdict::Missing,
            "the kernel has none",
            "no zone can boot: its filter is not optional",
        ),
    }
}

/// By what this process itself has mapped: there is no other way to ask.
fn vsyscall() -> Finding {
    let maps = read("/proc/self/maps").unwrap_or_default();
    let page = maps.lines().find(|l| l.ends_with("[vsyscall]"));
    match page.and_then(|l| l.split_whitespace().nth(1)) {
        Some(rights) => finding("vsyscall", Verdict::Good, rights, "userlands with glibc 2.13 or older run"),
        None => finding(
            "vsyscall",
            Verdict::Limited,
            "no page",
            "programs of userlands with glibc 2.13 or older die by SIGSEGV; boot the host with vsyscall=xonly for them",
        ),
    }
}

fn ia32() -> Finding {
    if cfg!(not(target_arch = "x86_64")) {
        return finding(
            "32-bit programs",
            Verdict::Limited,
            "not an x86-64 host",
            "i386 userlands do not run",
        );
    }
    // The entry of 32-bit calls is described by a sysctl that exists only with it.
    if Path::new("/proc/sys/abi/vsyscall32").exists() {
        finding("32-bit programs", Verdict::Good, "the kernel runs them", "i386 userlands run")
    } else {
        finding(
            "32-bit programs",
            Verdict::Limited,
            "the kernel was built without",
            "i386 userlands do not run",
        )
    }
}

fn bootstrap() -> Finding {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let there = |name: &str| std::env::split_paths(&path).any(|folder| folder.join(name).is_file());
    match ["mmdebstrap", "debootstrap"].into_iter().find(|name| there(name)) {
        Some(name) => finding("Debian images", Verdict::Good, name, "image: debian:SUITE works"),
        None => finding(
            "Debian images",
            Verdict::Limited,
            "neither mmdebstrap nor debootstrap is installed",
            "image: debian:SUITE does not work; `apt-get install mmdebstrap`",
        ),
    }
}

fn quota() -> Finding {
    let there = |folder: &str| Path::new(folder).join("mkfs.ext4").is_file();
    let mkfs = ["/usr/sbin", "/sbin", "/usr/local/sbin"].into_iter().any(there);
    match (Path::new("/dev/loop-control").exists(), mkfs) {
        (true, true) => finding(
            "disk quota",
            Verdict::Good,
            "loop devices, mkfs.ext4",
            "root.quota bounds what a zone writes",
        ),
        (false, _) => finding(
            "disk quota",
            Verdict::Limited,
            "no /dev/loop-control; `modprobe loop` may help",
            "zones with root.quota cannot be installed",
        ),
        (true, false) => finding(
            "disk quota",
            Verdict::Limited,
            "mkfs.ext4 is not installed",
            "zones with root.quota cannot be installed; `apt-get install e2fsprogs`",
        ),
    }
}

fn firewall() -> Finding {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    match folders.map(|folder| folder.join("nft")).find(|file| file.is_file()) {
        Some(nft) => finding(
            "firewall",
            Verdict::Good,
            nft.display().to_string(),
            "zones can have a network, behind nftables",
        ),
        None => finding(
            "firewall",
            Verdict::Limited,
            "nft is not installed",
            "no zone with a bridged interface boots; `apt-get install nftables`",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_host_is_looked_at_for_real() {
        assert!(kernel().found.starts_with("Linux "));
        let [user, time] = [user_namespaces(), namespace("time", "x", Verdict::Limited)];
        assert_ne!(user.verdict, Verdict::Missing, "{user:?}");
        assert_eq!(time.verdict == Verdict::Good, Path::new("/proc/self/ns/time").exists());
        assert_eq!(namespace("nonsense", "x", Verdict::Missing).verdict, Verdict::Missing);
    }
}
