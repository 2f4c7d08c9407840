//! What a process of a zone may do: limits, capabilities, privileges, system calls. The last steps before exec.

use std::io;

use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use rustix::thread::{
    CapabilitySet, CapabilitySets, clear_ambient_capability_set, remove_capability_from_bounding_set,
    set_capabilities, set_no_new_privs,
};

use super::{At, Failure};
use crate::{
    plan::ProcessPlan,
    sys::{identity::set_personality, limits, seccomp},
};

/// Highest capability number there is (CAP_CHECKPOINT_RESTORE, Linux 5.9).
pub const LAST_CAP: u32 = 40;

/// Bounds this process and all it will run, except for the system-call filter.
///
/// The ids must be root's inside by now: the sets given up here are those of the zone's user namespace.
pub fn bound(plan: &ProcessPlan) -> Result<(), Failure> {
    for (resource, soft, hard) in &plan.rlimits {
        limits::set(*resource, *soft, *hard).at("set", format_args!("resource limit {resource}"))?;
    }
    for cap in (0..=LAST_CAP).filter(|cap| plan.capabilities & (1 << cap) == 0) {
        let one = CapabilitySet::from_bits_retain(1 << cap);
        match remove_capability_from_bounding_set(one) {
            // A kernel older than the capability does not have it to give.
            Err(rustix::io::Errno::INVAL) => {}
            done => done.at("give up", format_args!("capability {cap}"))?,
        }
    }
    clear_ambient_capability_set().at("clear", "the ambient capabilities")?;
    let kept = CapabilitySet::from_bits_retain(plan.capabilities);
    let sets = CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
    set_capabilities(None, sets).at("set", "capabilities")?;
    if let Some(persona) = plan.personality {
        set_personality(persona).at("set", "the personality")?;
    }
    if plan.no_new_privs {
        set_no_new_privs(true).at("set", "no_new_privs")?;
    }
    Ok(())
}

/// Puts the zone's system-call filter on. Nothing but exec should come after it.
pub fn filter(plan: &ProcessPlan) -> Result<(), Failure> {
    if plan.filter.is_empty() {
        return Ok(());
    }
    seccomp::load(&plan.filter).at("load", "the system-call filter")
}

/// Signals as a fresh process has them: nothing blocked, SIGPIPE deadly. Rust and the monitor changed both.
pub fn reset_signals() -> Result<(), Failure> {
    let io = |e: nix::Error| io::Error::from(e);
    // An ignored signal stays ignored through exec, and who started zoned may have had some ignored.
    for signal in Signal::iterator().filter(|s| !matches!(s, Signal::SIGKILL | Signal::SIGSTOP)) {
        crate::sys::signals::default_disposition(signal).at("reset", signal)?;
    }
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None).map_err(io).at("unblock", "signals")
}
