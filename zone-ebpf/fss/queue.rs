//! Queues in which tasks wait: one for each zone, one for each CPU.

use aya_ebpf::cty::c_void;

use zone_ebpf_abi::fss::{DEFAULT_WEIGHT, FssTask, weighted};

use crate::{
    host,
    kernel::{self, Task},
    task, zone,
};

/// A queue of the kernel's for a scheduler (`struct scx_dispatch_q`), by its number.
#[derive(Clone, Copy)]
pub(crate) struct Queue(pub(crate) u64);

/// Those of CPUs are numbered from here on; those of zones by their slots.
const FIRST_OF_CPUS: u64 = 1 << 20;

/// How long one is walked through at most, nanoseconds: its lock is taken at each step.
const WALK: u64 = 10_000;

/// By how much less a task may have had, nanoseconds, and still see another served before it that has its memory near.
const NEAR: u64 = zone::SLICE;

unsafe extern "C" {
    fn scx_bpf_create_dsq(id: u64, node: i32) -> i32;
    fn scx_bpf_dsq_move_to_local___v2(id: u64, flags: u64) -> bool;
    fn scx_bpf_dsq_move_to_local(id: u64) -> bool;
    fn scx_bpf_dsq_nr_queued(id: u64) -> i32;
    fn scx_bpf_dsq_peek(id: u64) -> *mut c_void;
    fn bpf_iter_scx_dsq_new(iterator: *mut Iterator, queue: u64, flags: u64) -> i32;
    fn bpf_iter_scx_dsq_next(iterator: *mut Iterator) -> *mut c_void;
    fn bpf_iter_scx_dsq_destroy(iterator: *mut Iterator);
    fn scx_bpf_dsq_move(iterator: *mut Iterator, task: *mut c_void, queue: u64, flags: u64) -> bool;
    fn scx_bpf_dsq_move_set_vtime(iterator: *mut Iterator, vtime: u64);
    fn scx_bpf_dsq_move_vtime(iterator: *mut Iterator, task: *mut c_void, queue: u64, flags: u64) -> bool;
}

/// `struct bpf_iter_scx_dsq`, which only the kernel looks into.
#[repr(C)]
struct Iterator([u64; 6]);

impl Queue {
    /// Where a zone's tasks wait, ordered by the virtual time they are at in their zone.
    #[inline(always)]
    pub(crate) fn of_zone(slot: u32) -> Self {
        Self(slot.into())
    }

    /// Where tasks wait that may use some CPUs only.
    #[inline(always)]
    pub(crate) fn of_cpu(cpu: u32) -> Self {
        Self(FIRST_OF_CPUS + u64::from(cpu))
    }

    /// The kernel's own of the CPU that asks: what is in there runs next.
    #[inline(always)]
    pub(crate) fn local() -> Self {
        Self(kernel::local_queue())
    }

    /// Makes it. -ENOMEM and the like as the kernel has them.
    #[inline(always)]
    pub(crate) fn make(self) -> i32 {
        // SAFETY: a function of the kernel, called as it defines it; likewise below.
        unsafe { scx_bpf_create_dsq(self.0, -1) }
    }

    #[inline(always)]
    pub(crate) fn is_empty(self) -> bool {
        // SAFETY: as above. An error is below zero.
        unsafe { scx_bpf_dsq_nr_queued(self.0) <= 0 }
    }

    /// Who waits first, where it is ordered by virtual time.
    #[inline(always)]
    pub(crate) fn head(self) -> Option<Task> {
        // SAFETY: as above.
        let task = unsafe { scx_bpf_dsq_peek(self.0) };
        if task.is_null() { None } else { Some(Task(task)) }
    }

    /// Moves the first that may run there to the CPU that asks. False if there is none.
    #[inline(always)]
    pub(crate) fn take(self) -> bool {
        // SAFETY: as above.
        unsafe {
            if kernel::has_move_v2() {
                scx_bpf_dsq_move_to_local___v2(self.0, 0)
            } else {
                scx_bpf_dsq_move_to_local(self.0)
            }
        }
    }

    /// Who waits last.
    #[inline(always)]
    pub(crate) fn last(self) -> Option<&'static mut FssTask> {
        let mut last = None;
        self.walk(kernel::backwards(), |_, task| {
            last = task::of(task);
            true
        });
        last
    }

    /// Moves a task that has been waiting since before `then`, in the kernel's ticks, and may run there, to the CPU that asks.
    /// Those that wait longest are the first or the last.
    #[inline(always)]
    pub(crate) fn take_older(self, then: u64, cpu: u32) -> bool {
        let take = |iterator, task: Task| {
            // SAFETY: as above.
            (task.ready_since().wrapping_sub(then) as i64) < 0
                && task.may_move_to(cpu)
                && unsafe { scx_bpf_dsq_move(iterator, task.0, Self::local().0, 0) }
        };
        self.walk(0, take) || self.walk(kernel::backwards(), take)
    }

    /// Moves the first that last ran beside the CPU that asks, at that cache, there: of those that are to be served about now.
    /// False if all of them ran elsewhere.
    #[inline(always)]
    pub(crate) fn take_near(self, cache: u32, cpu: u32) -> bool {
        let Some(first) = self.head().and_then(task::of).map(|kept| kept.virtual_ns) else { return false };
        let mut taken = false;
        self.walk(0, |iterator, task| {
            let Some(kept) = task::of(task) else { return true };
            if kept.virtual_ns.wrapping_sub(first) as i64 > weighted(NEAR, DEFAULT_WEIGHT) as i64 {
                return true;
            }
            // SAFETY: as above.
            taken = host::cache(task.cpu() as u32) == cache
                && task.may_move_to(cpu)
                && unsafe { scx_bpf_dsq_move(iterator, task.0, Self::local().0, 0) };
            taken
        });
        taken
    }

    /// Moves those of its first tasks elsewhere that `place` says a queue and a place in it for. `moved` is told.
    #[inline(always)]
    pub(crate) fn send(self, place: impl Fn(Task) -> Option<(Self, u64)>, moved: impl Fn(Task)) {
        self.walk(0, |iterator, task| {
            let Some((to, at)) = place(task) else { return false };
            // SAFETY: as above.
            unsafe {
                scx_bpf_dsq_move_set_vtime(iterator, at);
                if scx_bpf_dsq_move_vtime(iterator, task.0, to.0, 0) {
                    moved(task);
                }
            }
            false
        });
    }

    /// Goes through it until it is through, or `found` is, or time is up. What `found` does with a task by the walk is what
    /// it returns.
    #[inline(always)]
    fn walk(self, flags: u64, mut found: impl FnMut(*mut Iterator, Task) -> bool) -> bool {
        let (mut done, begun) = (false, kernel::now());
        let mut iterator = core::mem::MaybeUninit::<Iterator>::uninit();
        // SAFETY: as above; what is begun is ended.
        unsafe {
            bpf_iter_scx_dsq_new(iterator.as_mut_ptr(), self.0, flags);
            loop {
                let task = bpf_iter_scx_dsq_next(iterator.as_mut_ptr());
                if task.is_null() {
                    break;
                }
                if found(iterator.as_mut_ptr(), Task(task)) {
                    done = true;
                    break;
                }
                if kernel::now().wrapping_sub(begun) > WALK {
                    break;
                }
            }
            bpf_iter_scx_dsq_destroy(iterator.as_mut_ptr());
        }
        done
    }
}
