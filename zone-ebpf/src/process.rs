//! Processes that fork, execute and end: counted for every zone and the host, told to user space for zones.

use aya_ebpf::{
    Global, TASK_COMM_LEN,
    btf_maps::{PerCpuArray, RingBuf},
    helpers::bpf_get_current_comm,
    macros::{btf_map, btf_tracepoint},
    programs::BtfTracePointContext,
};
use aya_log_ebpf::warn;
use zone_ebpf_abi::{EVENT_BYTES, EventKind, Figures, HOST, Identity, Lost, ProcessEvent};

use crate::{
    active, figures, identity, note,
    task::{Task, number},
};

#[btf_map(name = "zone_events")]
static EVENTS: RingBuf<ProcessEvent, { EVENT_BYTES as usize }> = RingBuf::new();

#[btf_map(name = "zone_lost")]
static LOST: PerCpuArray<Lost, 1> = PerCpuArray::new();

#[unsafe(no_mangle)]
static SAYS_GROUP_DEAD: Global<u32> = Global::new(0);

const SECOND_NS: u64 = 1_000_000_000;

/// Arguments: parent (the current task), child.
#[btf_tracepoint(function = "sched_process_fork")]
pub(crate) fn zone_fork(ctx: BtfTracePointContext) -> i32 {
    let child = Task::argument(&ctx, 1);
    let thread = child.pid() != child.tgid();
    if active() && !thread {
        happened(EventKind::Fork, Task::argument(&ctx, 0).tgid(), child.pid(), |figures| figures.forks += 1);
    }
    0
}

/// Arguments: the current task, its number before, the program.
#[btf_tracepoint(function = "sched_process_exec")]
pub(crate) fn zone_exec(ctx: BtfTracePointContext) -> i32 {
    if active() {
        happened(EventKind::Exec, Task::argument(&ctx, 0).tgid(), 0, |figures| figures.execs += 1);
    }
    0
}

/// Arguments: the current task and, on newer kernels, whether it is the last thread of its process.
#[btf_tracepoint(function = "sched_process_exit")]
pub(crate) fn zone_exit(ctx: BtfTracePointContext) -> i32 {
    let task = Task::argument(&ctx, 0);
    // The kernel knows the constant and drops the branch that is not for it. On older kernels the process has ended
    // when its first thread has.
    let whole =
        if SAYS_GROUP_DEAD.load() != 0 { number::<u64>(&ctx, 1) != 0 } else { task.pid() == task.tgid() };
    if active() && whole {
        happened(EventKind::Exit, task.tgid(), task.exit_status(), |figures| figures.exits += 1);
    }
    0
}

/// The current task, of process `pid`, did something.
#[inline(always)]
fn happened(kind: EventKind, pid: u32, detail: u32, count: impl FnOnce(&mut Figures)) -> Option<()> {
    let cgroup_id = identity::current_cgroup();
    let zone = if cgroup_id == 0 { HOST } else { identity::of_cgroup(cgroup_id).unwrap_or(HOST) };
    let figures = figures::of(zone)?;
    // SAFETY: as `figures::of` says.
    count(unsafe { &mut *figures });
    if zone.slot == HOST.slot {
        return None;
    }
    let comm = bpf_get_current_comm().unwrap_or([0; TASK_COMM_LEN]);
    let event =
        ProcessEvent { cgroup_id, at_ns: note::now(), kind: kind as u32, pid, detail, reserved: 0, comm };
    match EVENTS.reserve(0) {
        Some(mut entry) => {
            entry.write(event);
            entry.submit(0);
        }
        None => lost(zone, event.at_ns),
    }
    Some(())
}

#[inline(always)]
fn lost(zone: Identity, now_ns: u64) {
    let Some(lost) = LOST.get_ptr_mut(0) else { return };
    // SAFETY: this CPU's entry, valid until the program ends; preemption is off.
    let lost = unsafe { &mut *lost };
    lost.count += 1;
    if now_ns - lost.warned_ns > SECOND_NS {
        lost.warned_ns = now_ns;
        warn!(
            &(),
            "process events are lost, {} on this CPU so far; slot {} makes many", lost.count, zone.slot
        );
    }
}
