//! A CPU wants a task: who is served.

use zone_ebpf_abi::fss::{FssCpu, MAX_CPUS, NOBODY, before, earlier, key, later};

use crate::{
    cap, enqueue, host,
    kernel::{self, Task, argument},
    queue::Queue,
    run, sweep, task,
    tree::Tree,
    zone::{self, Zone},
};

#[unsafe(no_mangle)]
#[unsafe(link_section = "struct_ops/dispatch")]
extern "C" fn fss_dispatch(ctx: *const u64) -> i32 {
    serve(argument(ctx, 0) as u32, Task::argument(ctx, 1));
    0
}

/// Takes a task for this CPU, or leaves it the one it has.
#[inline(always)]
fn serve(cpu: u32, last: Task) -> Option<()> {
    let tree = Tree::get()?;
    let own = Queue::of_cpu(cpu);
    if sweep::rescue(cpu, own).is_some() {
        return Some(());
    }
    let owner = host::owner(cpu);
    let (slot, waiting) = first_for(owner, tree);
    let state = run::on(cpu)?;
    let bound = Bound::first(own);
    if bound.rank == FLUSH && own.take() {
        state.rescue = sweep::CROWDED;
        return Some(());
    }
    if goes_on(last, (slot, waiting), &bound, state, tree).is_some() {
        return Some(());
    }
    if before(bound.beside(slot), waiting) && bound.take(own, state) {
        return Some(());
    }
    if waiting != NOBODY && take_of(slot, cpu, tree).is_some() {
        return Some(());
    }
    // The zone that is first has something on its way into its queue, or another CPU has just taken the last of it, or it
    // has what may not run here.
    if waiting != NOBODY {
        enqueue::send_home(slot, tree);
    }
    let (second, waiting) = if owner == 0 { tree.first_but(slot) } else { (slot, NOBODY) };
    if waiting != NOBODY && take_of(second, cpu, tree).is_some() || bound.take(own, state) {
        return Some(());
    }
    steal(cpu);
    Some(())
}

/// Who waits first for a CPU that is that owner's, or everybody's.
#[inline(always)]
fn first_for(owner: u32, tree: Tree) -> (u32, u64) {
    if owner == 0 {
        return tree.first();
    }
    let slot = owner - 1;
    (slot, Zone::of_slot(slot).map_or(NOBODY, Zone::waits))
}

/// Takes a task of a zone's for this CPU. The zone is charged before anything else is done: other CPUs, which look at the same
/// tick, do not find it first any more.
#[inline(always)]
fn take_of(slot: u32, cpu: u32, tree: Tree) -> Option<()> {
    let (zone, state) = (Zone::of_slot(slot)?, run::on(cpu)?);
    let begins = zone.virtual_ns();
    let promised = zone.promise(zone::slice());
    zone.refresh(tree);
    let (queue, cache) = (Queue::of_zone(slot), host::cache(cpu));
    let near = cache != 0 && queue.take_near(cache, cpu);
    if !near && !queue.take() {
        zone.take_back(promised);
        zone.refresh(tree);
        return None;
    }
    zone.in_turn(state, begins, begins);
    run::forget_promise(state);
    (state.promised, state.promised_to) = (promised, slot + 1);
    Some(())
}

/// The first in a CPU's queue is of a zone that has been throttled since: it runs for as long as it takes to preempt it, and
/// then waits where it holds up nobody.
const FLUSH: u64 = NOBODY - 1;

/// The first of the tasks that wait for a CPU alone.
struct Bound {
    zone: Option<Zone>,
    /// What its zone is served by beside those that may run elsewhere too; [`NOBODY`] if nothing waits.
    rank: u64,
    /// What it is served by after what runs there: no later than where it was put, though its zone has had more elsewhere since.
    place: u64,
    /// The zone's virtual time, and the one that it is served at there.
    times: (u64, u64),
}

impl Bound {
    #[inline(always)]
    fn first(queue: Queue) -> Self {
        if queue.is_empty() {
            return Self { zone: None, rank: NOBODY, place: NOBODY, times: (0, 0) };
        }
        // It is not known whose turn it is: better too early than never.
        Self::head(queue).unwrap_or(Self { zone: None, rank: 0, place: 0, times: (0, 0) })
    }

    #[inline(always)]
    fn head(queue: Queue) -> Option<Self> {
        let head = queue.head()?;
        let kept = task::of(head)?;
        if kept.bound_in == 0 {
            return None;
        }
        let zone = Zone::of_slot(kept.bound_in - 1)?;
        let (own, weight) = (zone.virtual_ns(), zone.weight());
        // Those of zones without shares are beyond all others in the queue.
        let there = if weight == 0 { own } else { earlier(own, head.place()) };
        let (rank, place) = match zone.throttled() {
            0 => (key(own, weight), key(there, weight)),
            _ => (FLUSH, FLUSH),
        };
        Some(Self { zone: Some(zone), rank, place, times: (own, there) })
    }

    /// What it is served by beside that slot's tasks that may run elsewhere: its own zone's have the same rank.
    #[inline(always)]
    fn beside(&self, slot: u32) -> u64 {
        if self.zone.is_some_and(|zone| zone.slot == slot) { self.place } else { self.rank }
    }

    /// Takes what waits first there now, which may be another than this was of.
    #[inline(always)]
    fn take(&self, queue: Queue, state: &mut FssCpu) -> bool {
        if !queue.take() {
            return false;
        }
        if let Some(zone) = self.zone {
            zone.in_turn(state, self.times.0, self.times.1);
        }
        true
    }
}

/// Whether the task that the CPU has goes on: its zone has had less than all that wait, and it less than its zone's others.
/// `first` is the slot that waits first, with its key.
#[inline(always)]
fn goes_on(last: Task, first: (u32, u64), bound: &Bound, state: &mut FssCpu, tree: Tree) -> Option<()> {
    if last.0.is_null() || !last.is_ready() {
        return None;
    }
    let kept = task::of(last)?;
    if kept.runs_for == 0 {
        return None;
    }
    let zone = Zone::of_slot(kept.runs_for - 1)?;
    cap::settle(zone, last, kept);
    let (rank, (slot, waiting)) = (zone.rank(), first);
    if zone.throttled() != 0 || before(bound.place, rank) {
        return None;
    }
    if slot == zone.slot && waiting != NOBODY {
        let next = task::of(Queue::of_zone(slot).head()?)?.virtual_ns;
        if later(next, kept.virtual_ns) != next {
            return None;
        }
    } else if before(waiting, rank) {
        return None;
    }
    zone.in_turn(state, zone.virtual_ns(), zone.virtual_ns());
    zone.advance_tasks(kept.virtual_ns);
    let slice = zone::slice();
    kept.promised = kept.promised.wrapping_add(zone.promise(slice));
    last.set_slice(slice);
    zone.refresh(tree);
    Some(())
}

/// A task that another CPU has not come to yet and that may run here.
#[inline(always)]
fn steal(cpu: u32) {
    if zone::bound() == 0 {
        return;
    }
    let (cpus, mut other) = (kernel::cpus(), 0);
    while other < MAX_CPUS {
        if other >= cpus {
            return;
        }
        if other != cpu && Queue::of_cpu(other).take() {
            return;
        }
        other += 1;
    }
}

/// A CPU has nothing to do. What came into a queue after it had looked there must not wait for somebody to notice.
#[unsafe(no_mangle)]
#[unsafe(link_section = "struct_ops/update_idle")]
extern "C" fn fss_update_idle(ctx: *const u64) -> i32 {
    let (cpu, idle) = (argument(ctx, 0) as i32, argument(ctx, 1) & 0xff != 0);
    if idle
        && let Some(tree) = Tree::get()
        && (first_for(host::owner(cpu as u32), tree).1 != NOBODY || !Queue::of_cpu(cpu as u32).is_empty())
    {
        kernel::kick(cpu, kernel::kick_idle());
    }
    0
}
