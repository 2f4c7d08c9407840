//! Which limits this host can enforce.

use zoned_api::report::{Finding, Verdict};

use super::{finding, read};
use crate::{host::Host, platform::cgroup::Enforced};

/// A finding for each limit of a configuration.
pub(super) fn examine(host: &Host) -> Vec<Finding> {
    let mut found: Vec<_> = host.tree.enforceable(&host.disks).into_iter().map(of_key).collect();
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

/// Linux 7.3 weighs a group by its busy tasks too, unless it is told not to; says so only where debugfs is mounted.
fn fairness() -> Finding {
    let subject = "fairness of shares";
    match read("/sys/kernel/debug/sched/cgroup_mode") {
        Some(mode) if !mode.contains("[smp]") && mode != "smp" => finding(
            subject,
            Verdict::Limited,
            format!("the scheduler's cgroup_mode is {mode}"),
            "a zone with more busy threads gets more than its shares; write smp to /sys/kernel/debug/sched/cgroup_mode",
        ),
        Some(mode) => finding(subject, Verdict::Good, mode, "shares hold whatever the number of threads"),
        None => finding(
            subject,
            Verdict::Good,
            "the scheduler has no cgroup_mode, or debugfs is not mounted",
            "shares hold whatever the number of threads, where there is none",
        ),
    }
}
