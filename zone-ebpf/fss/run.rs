//! A task is given the CPU, and gives it back: what its zone is charged.

use aya_ebpf::{btf_maps::Array, macros::btf_map};
use zone_ebpf_abi::fss::{FssCpu, MAX_CPUS, later};

use crate::{
    atomic, enqueue, inner,
    kernel::{self, Task},
    queue::Queue,
    sweep, task,
    tree::Tree,
    zone::{self, Zone},
};

#[btf_map(name = "fss_cpus")]
static CPUS: Array<FssCpu, { MAX_CPUS as usize }> = Array::new();

/// Slice of what is run out of turn: over at the next tick.
const SHORT: u64 = 1_000;

/// What runs on a CPU.
#[inline(always)]
pub(crate) fn on(cpu: u32) -> Option<&'static mut FssCpu> {
    // SAFETY: of a map value. Written under the lock of that CPU's run queue; read without it, as a hint.
    CPUS.get_ptr_mut(cpu).and_then(|at| unsafe { at.as_mut() })
}

/// The virtual time that has come in turn on a CPU.
#[inline(always)]
pub(crate) fn time(cpu: u32) -> u64 {
    // SAFETY: of a map value; the word is read whole.
    CPUS.get_ptr(cpu).map_or(0, |at| unsafe { (&raw const (*at).virtual_ns).read_volatile() })
}

/// A CPU goes offline, or has come.
#[inline(always)]
pub(crate) fn has_gone(cpu: u32, gone: bool) {
    if let Some(at) = CPUS.get_ptr_mut(cpu) {
        // SAFETY: as above.
        unsafe { (&raw mut (*at).gone).write_volatile(gone.into()) }
    }
}

#[unsafe(no_mangle)]
#[unsafe(link_section = "struct_ops/running")]
extern "C" fn fss_running(ctx: *const u64) -> i32 {
    begin(Task::argument(ctx, 0));
    0
}

#[inline(always)]
fn begin(next: Task) -> Option<()> {
    let kept = task::of(next)?;
    let tree = Tree::get()?;
    let zone = task::zone(next, kept)?;
    // In this order: there is always something to be seen of it.
    zone.count_running(true);
    let waited_in = enqueue::uncount(kept);
    zone.catch_up(next, kept, zone::CLAIM);
    zone.advance_tasks(kept.virtual_ns);
    kept.runs_for = zone.slot + 1;
    kept.since_ns = next.exec_ns();
    // The operation may be called from another CPU than the task's.
    let number = next.cpu();
    let cpu = on(number as u32)?;
    kept.promised = if cpu.promised_to == zone.slot + 1 {
        cpu.promised_to = 0;
        cpu.promised
    } else {
        forget_promise(cpu);
        zone.promise(zone::slice())
    };
    zone.refresh(tree);
    // It may have changed zones while it waited.
    if let Some(other) = waited_in
        && other.slot != zone.slot
    {
        other.refresh(tree);
    }
    (cpu.runs, cpu.task_virtual_ns) = (zone.slot + 1, kept.virtual_ns);
    let rescue = core::mem::replace(&mut cpu.rescue, 0);
    if rescue != 0 {
        // SAFETY: of a map value.
        atomic::add(unsafe { &raw mut (*zone.at).rescues }, 1);
        if let Some(last) = Queue::of_zone(zone.slot).last() {
            kept.virtual_ns = later(kept.virtual_ns, last.virtual_ns.wrapping_add(1));
        }
    }
    match rescue {
        sweep::ALONE if zone.may_be_rescued(kernel::now()) => next.set_slice(SHORT),
        sweep::ALONE | sweep::CROWDED => kernel::kick(number, kernel::kick_preempt()),
        _ => {}
    }
    Some(())
}

/// Something else than what it had taken was begun on a CPU: what was promised for that is taken back.
#[inline(always)]
pub(crate) fn forget_promise(cpu: &mut FssCpu) {
    let to = core::mem::replace(&mut cpu.promised_to, 0);
    if to != 0
        && let Some(zone) = Zone::of_slot(to - 1)
    {
        zone.take_back(cpu.promised);
        if let Some(tree) = Tree::get() {
            zone.refresh(tree);
        }
    }
}

#[unsafe(no_mangle)]
#[unsafe(link_section = "struct_ops/stopping")]
extern "C" fn fss_stopping(ctx: *const u64) -> i32 {
    end(Task::argument(ctx, 0));
    0
}

#[inline(always)]
fn end(last: Task) -> Option<()> {
    let kept = task::of(last)?;
    if kept.runs_for == 0 {
        return None;
    }
    let zone = Zone::of_slot(kept.runs_for - 1)?;
    let had = last.exec_ns().wrapping_sub(kept.since_ns);
    inner::pass(last, kept, had);
    zone.count_running(false);
    zone.charge(had, kept.promised);
    (kept.runs_for, kept.promised) = (0, 0);
    zone.refresh(Tree::get()?);
    if let Some(cpu) = on(last.cpu() as u32) {
        cpu.runs = 0;
    }
    Some(())
}
