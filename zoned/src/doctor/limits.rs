//! Which limits this host can enforce.

use zoned_api::{
    config::DEFAULT_SHARES,
    report::{Finding, Verdict},
};

use super::finding;
use crate::{
    cpu::{Backend, cgroup_mode},
    host::Host,
    platform::cgroup::{Beside, Enforced},
};

const GLOBAL_SHARES: &str = "shares of global";

/// A finding for each limit of a configuration.
pub(super) fn examine(host: &Host) -> Vec<Finding> {
    let mut found: Vec<_> = host.tree.enforceable(&host.disks).into_iter().map(of_key).collect();
    found.push(backend(host));
    found.push(fairness());
    found.push(match host.cpu.global_cpu() {
        Some(_) => finding(
            GLOBAL_SHARES,
            Verdict::Good,
            format!("fss: {} beside the zones'", host.cpu.global_shares()),
            "the host's own processes together are one more beside the zones; `zonectl set global cpu.shares=N` changes it",
        ),
        None => of_global(host),
    });
    let unknown = |why| {
        finding(GLOBAL_SHARES, Verdict::Limited, why, "the usual 100 are taken until they are set again")
    };
    found.extend(host.cpu.global_fault().map(unknown));
    found
}

/// Where nothing keeps the shares it was given, which is told if they are not the usual ones.
fn of_global(host: &Host) -> Finding {
    let mut told = global(host.tree.beside());
    let shares = host.cpu.global_shares();
    if u64::from(shares) != DEFAULT_SHARES {
        let by = host.cpu.in_force().map_or("nothing", Backend::as_str);
        told.verdict = Verdict::Limited;
        told.found = format!("{}; it was given cpu.shares={shares}", told.found);
        told.meaning = format!("cpu.shares of global has no effect under {by}; {}", told.meaning);
    }
    told
}

/// The host's own processes are moved nowhere and their groups' weights left alone, so that they may be in many or none.
fn global(beside: Option<Beside>) -> Finding {
    let subject = GLOBAL_SHARES;
    let Some(Beside { version, shares, loose, groups }) = beside else {
        let why = "zones have no cpu controller here";
        return finding(
            subject,
            Verdict::Limited,
            why,
            "the host's processes and the zones' share by number",
        );
    };
    let together = format!("{version}: all zones together have {shares} (--zones-shares)");
    if loose {
        let found = format!("{together}; processes of the host's are in no group of the controller");
        let meaning = "not kept: each busy thread of those (or session, with sched_autogroup_enabled) counts 100 against the zones; zoned moves none, \
                       an init that puts its services into groups does";
        return finding(subject, Verdict::Limited, found, meaning);
    }
    let found = format!("{together}; the host's are in {}", groups.join(", "));
    let meaning =
        "each of the host's groups counts by its own weight, 100 by default, and only while it is busy";
    finding(subject, Verdict::Good, found, meaning)
}

fn of_key(Enforced { keys, how }: Enforced) -> Finding {
    match how {
        Ok(how) => finding(keys, Verdict::Good, how, "can be given"),
        Err(e) => finding(keys, Verdict::Limited, e, "refused on this host"),
    }
}

/// Linux 7.3 weighs a group by its busy tasks too, unless it is told not to.
fn fairness() -> Finding {
    let subject = "fairness of shares";
    match cgroup_mode::current() {
        Ok(None) => finding(
            subject,
            Verdict::Good,
            "the scheduler has one way to weigh groups",
            "shares hold whatever the number of threads",
        ),
        Ok(Some(mode)) if cgroup_mode::is_fair(&mode) => finding(
            subject,
            Verdict::Good,
            format!("the scheduler's cgroup_mode is {mode}"),
            "shares hold whatever the number of threads",
        ),
        Ok(Some(mode)) => finding(
            subject,
            Verdict::Limited,
            format!("the scheduler's cgroup_mode is {mode}; somebody has changed it since zoned started"),
            "a zone with more busy threads gets more than its shares; start zoned again, or write smp to \
             sched/cgroup_mode of debugfs",
        ),
        Err(e) => finding(
            subject,
            Verdict::Limited,
            format!("debugfs: {e}"),
            "on Linux 7.3 and later a zone with more busy threads gets more than its shares, unless cgroup_mode is smp",
        ),
    }
}

/// What keeps shares, and why nothing better does.
fn backend(host: &Host) -> Finding {
    let choice = host.cpu.choice();
    let verdict = match choice.in_force {
        Some(Backend::Fss | Backend::Deficit) => Verdict::Good,
        Some(Backend::Shares) => Verdict::Limited,
        None => Verdict::Missing,
    };
    let meaning = choice.in_force.map_or("shares are not kept", Backend::meaning);
    finding("CPU backend", verdict, choice.to_string(), meaning)
}
