//! CPU time, switches and waits, charged when a task is switched away from.
//!
//! ```text
//! switch to T    remember T's CPU time so far, and how long it waited
//! switch from T  charge T's zone with the CPU time since, the wait, and the switch
//! ```
//! No clock is read for CPU time: the task's own `se.sum_exec_runtime` is what the kernel charges cgroups with, and
//! it has just been brought up to date. Everything is charged at the switch away, when the task is still the current
//! one, so that one look-up of its zone is enough; a task that moves to another zone takes the slice it is in along.
//!
//! A switch may go unseen: tracepoint programs are skipped where they would nest, and a hypervisor's agent may be
//! hidden from them. So what a task was charged up to is noted with the task too: no CPU time is lost by that, only
//! the length of a wait.

use aya_ebpf::{
    btf_maps::PerCpuArray,
    macros::{btf_map, btf_tracepoint},
    programs::BtfTracePointContext,
};
use zone_ebpf_abi::{Figures, HOST, Identity, Running, Stamp, wait_bucket};

use crate::{
    active, figures, identity, note,
    task::{Task, number},
};

#[btf_map(name = "zone_running")]
static RUNNING: PerCpuArray<Running, 1> = PerCpuArray::new();

#[btf_tracepoint(function = "sched_switch")]
pub(crate) fn zone_switch(ctx: BtfTracePointContext) -> i32 {
    if active() {
        switch(&ctx);
    }
    0
}

/// Arguments of `sched_switch`: preempted?, from, to, state of the former (0: it could go on).
#[inline(always)]
fn switch(ctx: &BtfTracePointContext) -> Option<()> {
    let preempted = number::<u64>(ctx, 0) != 0 || number::<u32>(ctx, 3) == 0;
    let (from, to) = (Task::argument(ctx, 1), Task::argument(ctx, 2));
    let (from_pid, to_pid) = (from.pid(), to.pid());
    let now = note::now();
    let running = RUNNING.get_ptr_mut(0)?;
    // SAFETY: this CPU's entry, valid until the program ends; the scheduler has interrupts off.
    let running = unsafe { &mut *running };
    if from_pid != 0 {
        charge(running, from, from_pid, |figures| {
            if preempted {
                figures.switches_preempted += 1;
            } else {
                figures.switches_voluntary += 1;
            }
        });
        note::of(from_pid, |note| {
            note.charged = Stamp::new(from_pid, running.charged_ns);
            note.waiting_since = if preempted { Stamp::new(from_pid, now) } else { Stamp::NONE };
        });
    }
    running.pid = to_pid;
    if to_pid != 0 {
        running.charged_ns = to.exec_ns();
        running.wait_ns = waited(to_pid, now);
    }
    Some(())
}

/// How long the task has waited; 0 if that is not known.
#[inline(always)]
fn waited(pid: u32, now: u64) -> u64 {
    match note::of(pid, |note| note.waiting_since.of(pid)) {
        Some(Some(since)) if now > since => now - since,
        _ => 0,
    }
}

/// Charges the zone of the current task, which is `task`, with what it has taken since it was last charged.
#[inline(always)]
fn charge(running: &mut Running, task: Task, pid: u32, also: impl FnOnce(&mut Figures)) -> Option<()> {
    let figures = figures::of(zone(running))?;
    // SAFETY: as `figures::of` says.
    let figures = unsafe { &mut *figures };
    let exec_ns = task.exec_ns();
    if running.pid != pid {
        // The switch to it was not seen. What has been charged before is noted, or this begins to be known now.
        let charged_ns = note::of(pid, |note| note.charged.of(pid)).flatten().unwrap_or(exec_ns);
        *running = Running { charged_ns, wait_ns: 0, pid, ..*running };
    }
    if exec_ns > running.charged_ns {
        figures.usage_ns += exec_ns - running.charged_ns;
    }
    running.charged_ns = exec_ns;
    if running.wait_ns != 0 {
        figures.wait_ns += running.wait_ns;
        figures.wait_log2_us[wait_bucket(running.wait_ns)] += 1;
        running.wait_ns = 0;
    }
    also(figures);
    Some(())
}

/// The zone of the current task. It is looked up where it is another than the last on this CPU: a cgroup that was a zone's
/// is no other's ever.
#[inline(always)]
fn zone(running: &mut Running) -> Identity {
    let cgroup_id = identity::current_cgroup();
    if cgroup_id == 0 {
        return HOST;
    }
    if cgroup_id == running.cgroup_id {
        return running.zone;
    }
    match identity::of_cgroup(cgroup_id) {
        Some(zone) => {
            (running.cgroup_id, running.zone) = (cgroup_id, zone);
            zone
        }
        None => HOST,
    }
}

/// Charges what is running on this CPU right now.
#[inline(always)]
pub(crate) fn charge_current() -> Option<()> {
    let task = Task::current();
    let pid = task.pid();
    if pid == 0 {
        return None;
    }
    let running = RUNNING.get_ptr_mut(0)?;
    // SAFETY: this CPU's entry, valid until the program ends; the caller keeps the scheduler from switching.
    let running = unsafe { &mut *running };
    charge(running, task, pid, |_| ())
}
