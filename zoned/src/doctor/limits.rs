//! Which limits this host can enforce.

use zoned_api::report::{Finding, Verdict};

use super::finding;
use crate::{
    cpu::{Backend, cgroup_mode},
    host::Host,
    platform::cgroup::Enforced,
};

/// A finding for each limit of a configuration.
pub(super) fn examine(host: &Host) -> Vec<Finding> {
    let mut found: Vec<_> = host.tree.enforceable().into_iter().map(of_key).collect();
    found.push(backend(host));
    found.push(fairness());
    found.push(finding(
        "shares of global",
        Verdict::Limited,
        format!("the host's processes are outside of {}", host.tree.parent().display()),
        "not kept: against the host's own processes all zones together weigh as much as one group, whatever their shares",
    ));
    found
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
