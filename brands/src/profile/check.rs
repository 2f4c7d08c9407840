//! What only the whole of a profile can tell: whether its rules can be carried out at all.

use std::collections::BTreeSet;

use super::*;
use crate::syscall;

/// A rule that cannot be carried out: its key, and what is wrong.
pub(crate) type Fault = (String, String);

/// Checks a resolved profile.
pub(crate) fn check(profile: &Profile) -> Result<(), Fault> {
    name(&profile.name)?;
    path("init.path", &profile.init.path)?;
    stop(&profile.stop)?;
    for (name, var) in &profile.env {
        let broken = name.is_empty() || name.contains(['=', '\0']) || var.value.contains('\0');
        fail_if(broken, format!("env.{name:?}"), "cannot be an environment variable")?;
    }
    for (resource, limit) in &profile.rlimits {
        let key = format!("rlimits.{resource:?}").to_lowercase();
        fail_if(limit.soft.value() > limit.hard.value(), key, "the soft limit is above the hard one")?;
    }
    capabilities(&profile.capabilities)?;
    mounts(&profile.mounts)?;
    devices(profile)?;
    syscalls(&profile.syscalls)?;
    reasons(profile)
}

fn fail_if(broken: bool, key: impl Into<String>, why: impl Into<String>) -> Result<(), Fault> {
    if broken { Err((key.into(), why.into())) } else { Ok(()) }
}

fn name(name: &str) -> Result<(), Fault> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-._".contains(c);
    let fits =
        name.starts_with(|c: char| c.is_ascii_lowercase()) && name.len() <= 63 && name.chars().all(plain);
    fail_if(!fits, "name", format!("{name:?} is no brand name; use 1 to 63 of a-z 0-9 - . _, a letter first"))
}

fn path(key: &str, path: &str) -> Result<(), Fault> {
    let plain = path.starts_with('/') && path.len() < 4096 && !path.contains('\0');
    let climbs = path.split('/').any(|part| part == "..");
    fail_if(!plain || climbs, key, format!("{path:?} is no absolute path without .."))
}

fn stop(stop: &Stop) -> Result<(), Fault> {
    fail_if(stop.timeout == 0 || stop.timeout > 3600, "stop.timeout", "is not in 1 to 3600 seconds")?;
    fail_if(!stop.signals.contains_key(&InitKind::Unknown), "stop.signals", "has no entry `unknown`")
}

fn capabilities(rules: &Capabilities) -> Result<(), Fault> {
    let both = rules.required_set().iter().find(|c| rules.prohibited_set().contains(*c));
    match both {
        Some(capability) => {
            Err(("capabilities".into(), format!("{capability} is both required and prohibited")))
        }
        None => Ok(()),
    }
}

fn mounts(mounts: &[Mount]) -> Result<(), Fault> {
    let mut seen = BTreeSet::new();
    for mount in mounts {
        let key = format!("mounts.{:?}", mount.target);
        path(&key, &mount.target)?;
        fail_if(mount.target == "/", &key, "the root itself cannot be covered")?;
        fail_if(!seen.insert(&mount.target), &key, "is mounted twice")?;
        let broken = |text: &String| text.contains(['\0', ',']);
        fail_if(
            mount.options.iter().any(|(k, v)| k.is_empty() || broken(k) || broken(v)),
            &key,
            "has a broken option",
        )?;
    }
    Ok(())
}

fn devices(profile: &Profile) -> Result<(), Fault> {
    for device in profile.devices.iter().flat_map(|rule| &rule.paths) {
        path("devices", device)?;
        fail_if(!below(device, "/dev"), "devices", format!("{device:?} is not below /dev"))?;
    }
    let volatile = profile.mounts.iter().filter(|m| m.kind == MountKind::Tmpfs).map(|m| m.target.as_str());
    let volatile: Vec<_> = volatile.chain(["/dev"]).collect();
    for link in &profile.links {
        let key = format!("links.{:?}", link.path);
        path(&key, &link.path)?;
        let kept = volatile.iter().any(|folder| below(&link.path, folder));
        fail_if(
            !kept,
            &key,
            "lies neither below /dev nor on a tmpfs of the profile: it would outlive the boot",
        )?;
        fail_if(link.target.is_empty() || link.target.contains('\0'), &key, "points nowhere")?;
    }
    for mask in &profile.masks {
        path("masks", &mask.path)?;
        let kernel = below(&mask.path, "/proc") || below(&mask.path, "/sys");
        fail_if(!kernel, "masks", format!("{:?} is neither below /proc nor /sys", mask.path))?;
    }
    Ok(())
}

fn below(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.len() > 1 && rest.starts_with('/'))
}

fn syscalls(rules: &Syscalls) -> Result<(), Fault> {
    let names = rules.deny.iter().flat_map(|r| &r.names).chain(rules.allow.iter().flat_map(|r| &r.names));
    for name in names {
        fail_if(!syscall::exists(name), "syscalls", format!("no architecture has a system call {name:?}"))?;
    }
    for (rule, arg) in rules.deny.iter().flat_map(|rule| rule.args.iter().map(move |arg| (rule, arg))) {
        let key = format!("syscalls.deny {:?}", rule.names);
        fail_if(arg.index > 5, &key, "a system call has the arguments 0 to 5")?;
        let one = arg.is.is_empty() != arg.is_not.is_empty();
        fail_if(!one, &key, "a condition has either `is` or `is-not`")?;
        let count = arg.is.len().max(arg.is_not.len());
        fail_if(
            count > ArgRule::MAX_VALUES,
            &key,
            format!("{count} values are too many; {} fit", ArgRule::MAX_VALUES),
        )?;
        fail_if(rule.args.len() > 6, &key, "more than 6 conditions")?;
    }
    Ok(())
}

fn reasons(profile: &Profile) -> Result<(), Fault> {
    let caps =
        [&profile.capabilities.default, &profile.capabilities.required, &profile.capabilities.prohibited];
    let reasons = [&profile.init.why, &profile.stop.why, &profile.personality.why, &profile.no_new_privs.why]
        .into_iter()
        .chain(profile.stop.signals.values().map(|s| &s.why))
        .chain(profile.env.values().map(|e| &e.why))
        .chain(profile.rlimits.values().map(|r| &r.why))
        .chain(caps.into_iter().flatten().map(|c| &c.why))
        .chain(profile.mounts.iter().map(|m| &m.why))
        .chain(profile.devices.iter().map(|d| &d.why))
        .chain(profile.links.iter().map(|l| &l.why))
        .chain(profile.masks.iter().map(|m| &m.why))
        .chain(profile.syscalls.deny.iter().map(|r| &r.why))
        .chain(profile.syscalls.allow.iter().map(|r| &r.why));
    let bare = reasons.filter(|why| why.trim().is_empty()).count();
    fail_if(bare > 0, "why", format!("{bare} rules have no reason"))
}
