//! What is the kernel's: functions, fields, constants. All of them are found by name when this is loaded.

use aya_ebpf::{Global, cty::c_void};
use zone_ebpf_abi::fss::MAX_CPUS;

use crate::queue::Queue;

/// `struct task_struct` that an operation was called with, or that the kernel handed out.
#[derive(Clone, Copy)]
pub(crate) struct Task(pub(crate) *mut c_void);

/// Argument `n` of an operation.
#[inline(always)]
pub(crate) fn argument(ctx: *const u64, n: usize) -> u64 {
    // SAFETY: the verifier knows how many there are.
    unsafe { ctx.add(n).read() }
}

unsafe extern "C" {
    fn scx_bpf_dsq_insert___v2(task: *mut c_void, id: u64, slice: u64, flags: u64) -> bool;
    fn __scx_bpf_dsq_insert_vtime(task: *mut c_void, args: *mut Insert) -> bool;
    fn scx_bpf_select_cpu_dfl(task: *mut c_void, previous: i32, flags: u64, idle: *mut bool) -> i32;
    fn scx_bpf_pick_idle_cpu(allowed: *const c_void, flags: u64) -> i32;
    fn scx_bpf_kick_cpu(cpu: i32, flags: u64);
    fn scx_bpf_task_cpu(task: *const c_void) -> i32;
    fn scx_bpf_task_set_slice(task: *mut c_void, slice: u64) -> bool;
    fn bpf_cpumask_test_cpu(cpu: u32, mask: *const c_void) -> bool;
    fn bpf_cgroup_ancestor(cgroup: *mut c_void, level: i32) -> *mut c_void;
    fn bpf_cgroup_release(cgroup: *mut c_void);
}

/// `struct scx_bpf_dsq_insert_vtime_args`.
#[repr(C)]
struct Insert {
    id: u64,
    slice: u64,
    vtime: u64,
    flags: u64,
}

macro_rules! globals {
    ($($(#[$doc:meta])* $name:ident: $type:ty,)*) => {
        $($(#[$doc])* #[unsafe(no_mangle)] static $name: Global<$type> = Global::new(0);)*
    };
}

globals! {
    ZONE_LEVEL: u32,
    /// CPUs that there can be, and that there were when this was loaded.
    CPUS: u32,
    CPUS_ONLINE: u32,
    /// Whether the kernel has the later forms of some functions.
    HAS_MOVE_V2: u32,
    TASK_FLAGS: u32,
    TASK_EXEC_NS: u32,
    TASK_CPUS_ALLOWED: u32,
    TASK_CPUS: u32,
    TASK_MIGRATION_DISABLED: u32,
    TASK_CGROUPS: u32,
    TASK_GROUP: u32,
    GROUP_CGROUP: u32,
    TASK_SCX_FLAGS: u32,
    TASK_SCX_WEIGHT: u32,
    TASK_SCX_RUNNABLE_AT: u32,
    TASK_SCX_VTIME: u32,
    CSS_SET_CGROUP: u32,
    CGROUP_NODE: u32,
    CGROUP_LEVEL: u32,
    NODE_ID: u32,
    INIT_WEIGHT: u32,
    INIT_IDLE: u32,
    INIT_PERIOD_US: u32,
    INIT_QUOTA_US: u32,
    INIT_BURST_US: u32,
    EXIT_KIND: u32,
    EXIT_CODE: u32,
    EXIT_REASON: u32,
    EXIT_MESSAGE: u32,
    SCX_DSQ_LOCAL: u64,
    SCX_SLICE_DFL: u64,
    SCX_ENQ_WAKEUP: u64,
    SCX_WAKE_SYNC: u64,
    SCX_ENQ_PREEMPT: u64,
    SCX_KICK_IDLE: u64,
    SCX_KICK_PREEMPT: u64,
    SCX_TASK_QUEUED: u64,
    SCX_DSQ_ITER_REV: u64,
    TICKS_A_SECOND: u64,
}

/// `PF_KTHREAD` of include/linux/sched.h, which is a macro and in no BTF.
const PF_KTHREAD: u32 = 0x0020_0000;

macro_rules! flags {
    ($($name:ident = $global:ident;)*) => {
        $(#[inline(always)] pub(crate) fn $name() -> u64 { $global.load() })*
    };
}

flags! {
    local_queue = SCX_DSQ_LOCAL;
    default_slice = SCX_SLICE_DFL;
    wakeup = SCX_ENQ_WAKEUP;
    preempt = SCX_ENQ_PREEMPT;
    backwards = SCX_DSQ_ITER_REV;
    kick_idle = SCX_KICK_IDLE;
    kick_preempt = SCX_KICK_PREEMPT;
}

/// Number of CPUs this host can have.
#[inline(always)]
pub(crate) fn cpus() -> u32 {
    CPUS.load()
}

/// Whether the kernel has the later form of what moves the head of a queue.
#[inline(always)]
pub(crate) fn has_move_v2() -> bool {
    HAS_MOVE_V2.load() != 0
}

/// CPUs that were online when this was loaded.
#[inline(always)]
pub(crate) fn cpus_online() -> u32 {
    CPUS_ONLINE.load()
}

/// Depth of a zone's cgroup below the root.
#[inline(always)]
pub(crate) fn zone_level() -> u32 {
    ZONE_LEVEL.load()
}

#[inline(always)]
fn field<T: Copy>(from: *const c_void, offset: &Global<u32>) -> T {
    // SAFETY: the verifier accepts the load only where the kernel's BTF has a field of that size; a structure that is gone
    // reads as zeros.
    unsafe { from.byte_add(offset.load() as usize).cast::<T>().read() }
}

impl Task {
    /// The task that is argument `n` of an operation.
    #[inline(always)]
    pub(crate) fn argument(ctx: *const u64, n: usize) -> Self {
        Task(argument(ctx, n) as *mut c_void)
    }

    /// CPU time it has had in its life, nanoseconds.
    #[inline(always)]
    pub(crate) fn exec_ns(self) -> u64 {
        field(self.0, &TASK_EXEC_NS)
    }

    /// How many CPUs it may use.
    #[inline(always)]
    pub(crate) fn may_use(self) -> u32 {
        field(self.0, &TASK_CPUS_ALLOWED)
    }

    /// Whether it is a thread of the kernel's.
    #[inline(always)]
    pub(crate) fn is_kernels(self) -> bool {
        field::<u32>(self.0, &TASK_FLAGS) & PF_KTHREAD != 0
    }

    /// Whether it is one of those for one CPU.
    #[inline(always)]
    pub(crate) fn serves_its_cpu(self) -> bool {
        self.is_kernels() && self.may_use() == 1
    }

    /// Whether another CPU may have it now. The kernel takes a scheduler away that moves a task to where it may not run.
    #[inline(always)]
    pub(crate) fn may_move_to(self, cpu: u32) -> bool {
        if self.cpu() as u32 == cpu {
            return true;
        }
        let allowed: *const c_void = field(self.0, &TASK_CPUS);
        // SAFETY: a function of the kernel, called as it defines it.
        field::<u16>(self.0, &TASK_MIGRATION_DISABLED) == 0 && unsafe { bpf_cpumask_test_cpu(cpu, allowed) }
    }

    /// Where it stands in a queue that is ordered by virtual time.
    #[inline(always)]
    pub(crate) fn place(self) -> u64 {
        field(self.0, &TASK_SCX_VTIME)
    }

    /// Since when it waits, in the kernel's ticks.
    #[inline(always)]
    pub(crate) fn ready_since(self) -> u64 {
        field(self.0, &TASK_SCX_RUNNABLE_AT)
    }

    /// Weight by its nice value; 100 for 0.
    #[inline(always)]
    pub(crate) fn weight(self) -> u32 {
        field(self.0, &TASK_SCX_WEIGHT)
    }

    /// Whether it is ready to run.
    #[inline(always)]
    pub(crate) fn is_ready(self) -> bool {
        u64::from(field::<u32>(self.0, &TASK_SCX_FLAGS)) & SCX_TASK_QUEUED.load() != 0
    }

    /// The CPU whose run queue it is on.
    #[inline(always)]
    pub(crate) fn cpu(self) -> i32 {
        // SAFETY: a function of the kernel, called as it defines it; likewise below.
        unsafe { scx_bpf_task_cpu(self.0) }
    }

    #[inline(always)]
    pub(crate) fn cgroup(self) -> Cgroup {
        let set: *const c_void = field(self.0, &TASK_CGROUPS);
        Cgroup(field(set, &CSS_SET_CGROUP))
    }

    /// Id of the group whose weight counts for it: the nearest with a cpu controller. 0 if that is none's, as an autogroup.
    #[inline(always)]
    pub(crate) fn group(self) -> u64 {
        let group: *const c_void = field(self.0, &TASK_GROUP);
        let cgroup: *mut c_void = field(group, &GROUP_CGROUP);
        Cgroup(cgroup).id()
    }

    /// Puts it at the end of a queue, from where it runs for `slice` nanoseconds.
    #[inline(always)]
    pub(crate) fn insert(self, queue: Queue, slice: u64, flags: u64) {
        // SAFETY: as above.
        unsafe { scx_bpf_dsq_insert___v2(self.0, queue.0, slice, flags) };
    }

    /// Puts it into a queue that is ordered by virtual time.
    #[inline(always)]
    pub(crate) fn insert_by(self, queue: Queue, slice: u64, vtime: u64, flags: u64) {
        let mut args = Insert { id: queue.0, slice, vtime, flags };
        // SAFETY: as above.
        unsafe { __scx_bpf_dsq_insert_vtime(self.0, &raw mut args) };
    }

    /// Lets it run for so many nanoseconds from now.
    #[inline(always)]
    pub(crate) fn set_slice(self, slice: u64) {
        // SAFETY: as above.
        unsafe { scx_bpf_task_set_slice(self.0, slice) };
    }

    /// A CPU that it may use and that has nothing to do, which then counts as busy.
    #[inline(always)]
    pub(crate) fn pick_idle(self) -> i32 {
        let allowed: *const c_void = field(self.0, &TASK_CPUS);
        // SAFETY: as above.
        unsafe { scx_bpf_pick_idle_cpu(allowed, 0) }
    }

    /// The CPU it is to wake on, and whether that has nothing to do.
    #[inline(always)]
    pub(crate) fn select_cpu(self, previous: i32, flags: u64) -> (i32, bool) {
        let mut idle = false;
        // A waker that is about to sleep has not left its CPU to those it wakes.
        let flags = flags & !SCX_WAKE_SYNC.load();
        // SAFETY: as above.
        let cpu = unsafe { scx_bpf_select_cpu_dfl(self.0, previous, flags, &raw mut idle) };
        (cpu, idle)
    }
}

/// `struct cgroup`.
#[derive(Clone, Copy)]
pub(crate) struct Cgroup(pub(crate) *mut c_void);

impl Cgroup {
    #[inline(always)]
    pub(crate) fn id(self) -> u64 {
        let node: *const c_void = field(self.0, &CGROUP_NODE);
        field(node, &NODE_ID)
    }

    #[inline(always)]
    pub(crate) fn level(self) -> u32 {
        field(self.0, &CGROUP_LEVEL)
    }

    /// Id of the group at a depth above it, or of itself; 0 if it is not that deep.
    #[inline(always)]
    pub(crate) fn ancestor(self, level: u32) -> u64 {
        // SAFETY: as above; what is acquired is released.
        unsafe {
            let found = bpf_cgroup_ancestor(self.0, level as i32);
            if found.is_null() {
                return 0;
            }
            let id = Cgroup(found).id();
            bpf_cgroup_release(found);
            id
        }
    }
}

/// What a cgroup's weight and bandwidth are when the scheduler learns of it: `struct scx_cgroup_init_args`.
#[derive(Clone, Copy)]
pub(crate) struct GroupArguments(pub(crate) *const c_void);

impl GroupArguments {
    #[inline(always)]
    pub(crate) fn weight(self) -> u32 {
        field(self.0, &INIT_WEIGHT)
    }

    #[inline(always)]
    pub(crate) fn is_idle(self) -> bool {
        INIT_IDLE.load() != 0 && field::<bool>(self.0, &INIT_IDLE)
    }

    /// Period, quota and burst in microseconds.
    #[inline(always)]
    pub(crate) fn bandwidth(self) -> (u64, u64, u64) {
        if INIT_PERIOD_US.load() == 0 {
            return (0, u64::MAX, 0);
        }
        (field(self.0, &INIT_PERIOD_US), field(self.0, &INIT_QUOTA_US), field(self.0, &INIT_BURST_US))
    }
}

/// Why the scheduler ends: `struct scx_exit_info`.
#[derive(Clone, Copy)]
pub(crate) struct ExitInfo(pub(crate) *const c_void);

impl ExitInfo {
    #[inline(always)]
    pub(crate) fn kind(self) -> u32 {
        field(self.0, &EXIT_KIND)
    }

    #[inline(always)]
    pub(crate) fn code(self) -> i64 {
        field(self.0, &EXIT_CODE)
    }

    #[inline(always)]
    pub(crate) fn reason(self) -> *const c_void {
        field(self.0, &EXIT_REASON)
    }

    #[inline(always)]
    pub(crate) fn message(self) -> *const c_void {
        field(self.0, &EXIT_MESSAGE)
    }
}

/// The kernel's ticks in a second.
#[inline(always)]
pub(crate) fn ticks_a_second() -> u64 {
    TICKS_A_SECOND.load()
}

/// The kernel's ticks.
#[inline(always)]
pub(crate) fn ticks() -> u64 {
    // SAFETY: the helper has no demand.
    unsafe { aya_ebpf::helpers::bpf_jiffies64() }
}

#[inline(always)]
pub(crate) fn kick(cpu: i32, flags: u64) {
    // SAFETY: as above.
    unsafe { scx_bpf_kick_cpu(cpu, flags) }
}

/// Wakes every CPU that has nothing to do: which of them may take what waits is not known.
#[inline(always)]
pub(crate) fn kick_all_idle() {
    let (cpus, mut cpu) = (CPUS.load(), 0);
    while cpu < MAX_CPUS && cpu < cpus {
        kick(cpu as i32, kick_idle());
        cpu += 1;
    }
}

/// The monotonic clock, nanoseconds.
#[inline(always)]
pub(crate) fn now() -> u64 {
    // SAFETY: the helper has no demand.
    unsafe { aya_ebpf::helpers::bpf_ktime_get_ns() }
}
