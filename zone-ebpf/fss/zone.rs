//! Zones: which one a task is of, what it has had, and whether it is to be served.

use aya_ebpf::{
    btf_maps::{Array, HashMap},
    macros::btf_map,
};
use zone_ebpf_abi::{
    HOST, Identity, MAX_SLOTS,
    fss::{AHEAD, DEFAULT_WEIGHT, FssCpu, FssTask, FssZone, NOBODY, earlier, key, later, weighted},
};

use crate::{
    atomic, cap,
    count::{self, Count},
    group, host,
    kernel::Task,
    run,
    tree::Tree,
};

#[btf_map(name = "fss_zones")]
static ZONES: Array<FssZone, { MAX_SLOTS as usize }> = Array::new();

#[btf_map(name = "zone_ids")]
static IDS: HashMap<u64, Identity, { MAX_SLOTS as usize }> = HashMap::new();

/// The system's virtual time, of zones with shares and of those without.
#[btf_map(name = "fss_time")]
static TIME: Array<u64, 2> = Array::new();

/// Zones that have something in their queue.
#[btf_map(name = "fss_contenders")]
static CONTENDERS: Count = Count::new();

/// Tasks that wait in queues of CPUs.
#[btf_map(name = "fss_bound")]
static BOUND: Count = Count::new();

/// Longest slice, nanoseconds. The kernel ends it at a tick: at one where there are 250 in a second.
pub(crate) const SLICE: u64 = 3_500_000;
/// Shortest slice.
const SHORTEST: u64 = 1_000_000;
/// In how many nanoseconds each zone that wants a CPU is to have its turn.
const ROUND: u64 = 20_000_000;

/// How often a zone has a slice out of turn at most, nanoseconds.
const RESCUE: u64 = 1_000_000_000;

/// How much service a zone that wakes may claim to have missed, nanoseconds.
const WAKE_CLAIM: u64 = SLICE;
/// The same for one that has been wanting all the time, and got less than its share because there were not enough threads
/// to take it.
pub(crate) const CLAIM: u64 = 200_000_000;

/// A zone's entry.
#[derive(Clone, Copy)]
pub(crate) struct Zone {
    pub(crate) slot: u32,
    pub(crate) at: *mut FssZone,
}

macro_rules! fields {
    ($($name:ident: $type:ty,)*) => {
        $(#[inline(always)] pub(crate) fn $name(self) -> $type {
            // SAFETY: of a map value; the word is read whole.
            unsafe { (&raw const (*self.at).$name).read_volatile() }
        })*
    };
}

impl Zone {
    fields! {
        generation: u32,
        weight: u32,
        virtual_ns: u64,
        queued: u32,
        bound: u32,
        running: u32,
        throttled: u32,
        cap: u64,
        burst_ns: u64,
        budget_ns: i64,
        filled_ns: u64,
        task_virtual_ns: u64,
        rescued_ns: u64,
        dedicated: u32,
    }

    #[inline(always)]
    pub(crate) fn of_slot(slot: u32) -> Option<Self> {
        ZONES.get_ptr_mut(slot).map(|at| Zone { slot, at })
    }

    /// The zone of that identity; begun anew where what is left of an earlier one is in its slot.
    #[inline(always)]
    pub(crate) fn of(identity: Identity, cgroup_id: u64) -> Option<Self> {
        let zone = Self::of_slot(identity.slot)?;
        if zone.generation() != identity.generation {
            zone.begin(identity.generation, cgroup_id);
        }
        Some(zone)
    }

    /// Who comes first does it. The counts of tasks are left alone: they are zero when the earlier zone's are gone, and another
    /// CPU may count the next one's already.
    #[inline(always)]
    fn begin(self, generation: u32, cgroup_id: u64) {
        let before = self.generation();
        // SAFETY: of a map value.
        if !atomic::replace32(unsafe { &raw mut (*self.at).generation }, before, generation) {
            return;
        }
        let group = group::of(cgroup_id);
        // SAFETY: of a map value, word by word.
        unsafe {
            (*self.at).weight = group.map_or(DEFAULT_WEIGHT, |group| group::effective(&group));
            (*self.at).virtual_ns = time(false);
            (*self.at).task_virtual_ns = 0;
            (*self.at).usage_ns = 0;
            (*self.at).throttles = 0;
            (*self.at).rescues = 0;
            (*self.at).dedicated = 0;
        }
        let (cap, burst_ns) = group.map_or((0, 0), |group| (group.cap, group.burst_ns));
        cap::write(self, cap, burst_ns);
        cap::throttle(self, false);
    }

    /// What it is to be served by, were it to want a CPU.
    #[inline(always)]
    pub(crate) fn rank(self) -> u64 {
        key(self.virtual_ns(), self.weight())
    }

    /// Says in the tree what has become of it.
    #[inline(always)]
    pub(crate) fn refresh(self, tree: Tree) {
        // Others change it meanwhile: who writes last has seen what there is, as in the tree.
        let mut attempt = 0;
        while attempt < 3 {
            let key = self.key();
            tree.set(self.slot, key);
            if self.key() == key {
                return;
            }
            attempt += 1;
        }
    }

    #[inline(always)]
    fn key(self) -> u64 {
        // One with CPUs for itself stands in no line.
        if host::owned(self) == 0 { self.waits() } else { NOBODY }
    }

    /// What it waits to be served by; [`NOBODY`] if it has nothing in its queue or may not.
    #[inline(always)]
    pub(crate) fn waits(self) -> u64 {
        if self.queued() != 0 && self.throttled() == 0 { self.rank() } else { NOBODY }
    }

    /// It wants a CPU, for a task that may use this one `only`, and that has `woken`, or had one before. What it can claim to
    /// have missed is bounded, and what it has had more than the others is forgiven, but for some slices: those that it had while
    /// nobody else wanted them. Where a CPU's own tasks compete with each other alone, they do by what has come there.
    #[inline(always)]
    pub(crate) fn want(self, only: Option<u32>, woken: bool) {
        // One with CPUs for itself competes with nobody.
        if host::owned(self) != 0 {
            return;
        }
        let (weight, own) = (self.weight(), self.virtual_ns());
        let now = match only {
            Some(cpu) if weight != 0 => run::time(cpu),
            _ => time(weight == 0),
        };
        let alone = self.queued() == 0 && self.bound() == 0 && self.running() == 0;
        let claim = if alone && woken { WAKE_CLAIM } else { CLAIM };
        let mut bounded = later(own, now.wrapping_sub(weighted(claim, weight)));
        if alone {
            bounded = earlier(bounded, now.wrapping_add(weighted(AHEAD, weight)));
        }
        if bounded != own {
            // Where another CPU has just charged it that stays.
            // SAFETY: of a map value.
            atomic::replace(unsafe { &raw mut (*self.at).virtual_ns }, own, bounded);
        }
    }

    /// What a task of its can claim to have missed of what its others had is bounded.
    #[inline(always)]
    pub(crate) fn catch_up(self, task: Task, kept: &mut FssTask, claim: u64) {
        let least = self.task_virtual_ns().wrapping_sub(weighted(claim, task.weight()));
        kept.virtual_ns = later(kept.virtual_ns, least);
    }

    /// Looks whether it has CPUs for itself now. One that has none any more begins where the others are.
    #[inline(always)]
    pub(crate) fn look_at_own(self, tree: Tree) {
        let (before, now) = (self.dedicated(), host::owned(self));
        // SAFETY: of a map value, word by word.
        unsafe {
            if before != 0 && now == 0 {
                (&raw mut (*self.at).virtual_ns).write_volatile(time(self.weight() == 0));
            }
            (&raw mut (*self.at).dedicated).write_volatile(now);
        }
        self.refresh(tree);
    }

    /// One task more or less waits in its queue.
    #[inline(always)]
    pub(crate) fn count_queued(self, more: bool) {
        // SAFETY: of a map value.
        if count::change(unsafe { &raw mut (*self.at).queued }, more) == u32::from(!more) {
            count::change_in(&CONTENDERS, more);
        }
    }

    #[inline(always)]
    pub(crate) fn count_bound(self, more: bool) {
        // SAFETY: of a map value.
        count::change(unsafe { &raw mut (*self.at).bound }, more);
        count::change_in(&BOUND, more);
    }

    #[inline(always)]
    pub(crate) fn count_running(self, more: bool) {
        // SAFETY: of a map value.
        count::change(unsafe { &raw mut (*self.at).running }, more);
    }

    /// Promises it a slice: returns what that counts.
    #[inline(always)]
    pub(crate) fn promise(self, slice: u64) -> u64 {
        let weight = self.weight();
        let counts = weighted(slice, weight);
        // SAFETY: of a map value.
        atomic::add(unsafe { &raw mut (*self.at).virtual_ns }, counts);
        counts
    }

    /// Takes a promise back: no more than it counts now, where its weight has grown since.
    #[inline(always)]
    pub(crate) fn take_back(self, promised: u64) {
        let promised = promised.min(weighted(SLICE, self.weight()));
        // SAFETY: of a map value.
        atomic::add(unsafe { &raw mut (*self.at).virtual_ns }, promised.wrapping_neg());
    }

    /// It had that much of what it was promised.
    #[inline(always)]
    pub(crate) fn charge(self, ns: u64, promised: u64) {
        let weight = self.weight();
        let (counts, promised) = (weighted(ns, weight), promised.min(weighted(SLICE, weight)));
        // SAFETY: of a map value.
        unsafe {
            atomic::add(&raw mut (*self.at).virtual_ns, counts.wrapping_sub(promised));
            atomic::add(&raw mut (*self.at).usage_ns, ns);
        }
        if self.cap() != 0 {
            cap::charge(self, ns);
        }
    }

    /// Whether one of its tasks that is run out of turn may have a slice: once in a second, however many there are.
    #[inline(always)]
    pub(crate) fn may_be_rescued(self, now: u64) -> bool {
        let last = self.rescued_ns();
        // SAFETY: of a map value.
        now.wrapping_sub(last) > RESCUE
            && atomic::replace(unsafe { &raw mut (*self.at).rescued_ns }, last, now)
    }

    /// The virtual time that its tasks are at has come this far.
    #[inline(always)]
    pub(crate) fn advance_tasks(self, to: u64) {
        if later(to, self.task_virtual_ns()) == to {
            // SAFETY: of a map value; that two CPUs may write in the wrong order does not matter.
            unsafe { (&raw mut (*self.at).task_virtual_ns).write_volatile(to) }
        }
    }

    /// It is its turn on a CPU: the system's virtual time is what the zone's was, before it was promised anything, and the
    /// CPU's is what it was served by there. Not so for what runs out of turn, or has CPUs for itself.
    #[inline(always)]
    pub(crate) fn in_turn(self, cpu: &mut FssCpu, at: u64, there: u64) {
        if host::owned(self) != 0 {
            return;
        }
        let idle = self.weight() == 0;
        advance(idle, at);
        if !idle {
            cpu.virtual_ns = later(cpu.virtual_ns, there);
        }
    }

    /// Its weight, as its cgroup has it.
    #[inline(always)]
    pub(crate) fn set_weight(self, weight: u32) {
        // What it has had beyond the others counts as much of its new share as it did of its old one. Between the two classes
        // there is nothing to carry over.
        let (old, own) = (self.weight(), self.virtual_ns());
        let own = match (old, weight) {
            (0, 0) => own,
            (0, _) | (_, 0) => time(weight == 0),
            _ => rescaled(own, time(false), old, weight),
        };
        // SAFETY: as above.
        unsafe {
            (&raw mut (*self.at).virtual_ns).write_volatile(own);
            (&raw mut (*self.at).weight).write_volatile(weight);
        }
    }
}

/// A virtual time whose distance from now is the same service at another weight.
#[inline(always)]
fn rescaled(own: u64, now: u64, old: u32, new: u32) -> u64 {
    if later(own, now) == own {
        now.wrapping_add(weighted(own.wrapping_sub(now).wrapping_mul(u64::from(old)) >> 10, new))
    } else {
        now.wrapping_sub(weighted(now.wrapping_sub(own).wrapping_mul(u64::from(old)) >> 10, new))
    }
}

/// The zone that the cgroup at the zones' depth is; the host's for all others.
#[inline(always)]
pub(crate) fn identify(cgroup_id: u64) -> Identity {
    // SAFETY: copied out at once; written before anything runs in that cgroup and removed when nothing does.
    if cgroup_id == 0 { HOST } else { unsafe { IDS.get(cgroup_id) }.copied().unwrap_or(HOST) }
}

/// The system's virtual time.
#[inline(always)]
pub(crate) fn time(idle: bool) -> u64 {
    match TIME.get_ptr(u32::from(idle)) {
        // SAFETY: of a map value.
        Some(time) => unsafe { time.read_volatile() },
        None => 0,
    }
}

#[inline(always)]
fn advance(idle: bool, to: u64) {
    if let Some(time) = TIME.get_ptr_mut(u32::from(idle)) {
        // SAFETY: of a map value. Where two CPUs write at once one slice's start is lost, and the next makes up for it.
        unsafe {
            if later(to, time.read_volatile()) == to {
                time.write_volatile(to);
            }
        }
    }
}

/// How many tasks wait in queues of CPUs.
#[inline(always)]
pub(crate) fn bound() -> u32 {
    count::read(&BOUND)
}

/// How long a task is to run: the less, the more zones there are that wait.
#[inline(always)]
pub(crate) fn slice() -> u64 {
    let slice = ROUND / (u64::from(count::read(&CONTENDERS)) + 1);
    slice.clamp(SHORTEST, SLICE)
}
