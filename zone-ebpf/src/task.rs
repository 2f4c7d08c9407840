//! Fields of kernel structures.
//!
//! Rust has no CO-RE relocations. User space finds each offset in the host's own BTF and sets it before loading; the
//! kernel then knows it as a constant and checks the access by type, as it does for CO-RE.

use aya_ebpf::{Argument, Global, cty::c_void, programs::BtfTracePointContext};

#[unsafe(no_mangle)]
static TASK_PID: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static TASK_TGID: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static TASK_EXEC_NS: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static TASK_EXIT_CODE: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static TASK_LEADER: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static TASK_SIGNAL: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static SIGNAL_EXIT: Global<u32> = Global::new(0);

/// A `struct task_struct` that the kernel handed to the program.
#[derive(Clone, Copy)]
pub(crate) struct Task(*const c_void);

impl Task {
    /// The task that is argument `n` of the tracepoint.
    #[inline(always)]
    pub(crate) fn argument(ctx: &BtfTracePointContext, n: usize) -> Self {
        Task(ctx.arg(n))
    }

    /// The current task.
    #[inline(always)]
    pub(crate) fn current() -> Self {
        // SAFETY: the helper has no demand; the current task is always there.
        Task(unsafe { aya_ebpf::helpers::bpf_get_current_task_btf() }.cast())
    }

    /// Number of the thread in the initial pid namespace. 0: a CPU's idle task.
    #[inline(always)]
    pub(crate) fn pid(self) -> u32 {
        self.field(&TASK_PID)
    }

    /// Number of the process in the initial pid namespace.
    #[inline(always)]
    pub(crate) fn tgid(self) -> u32 {
        self.field(&TASK_TGID)
    }

    /// CPU time it has had in its life, nanoseconds. As of now if it is just being switched away from, else as of
    /// the last tick at most.
    #[inline(always)]
    pub(crate) fn exec_ns(self) -> u64 {
        self.field(&TASK_EXEC_NS)
    }

    /// How its process ended, as wait(2) has it. Of a task that is exiting.
    #[inline(always)]
    pub(crate) fn exit_status(self) -> u32 {
        // Whoever ended the whole process (exit_group, a signal) left the status there; else it is the leader's own.
        let signal: Task = self.field(&TASK_SIGNAL);
        match signal.field(&SIGNAL_EXIT) {
            0 => self.field::<Task>(&TASK_LEADER).field(&TASK_EXIT_CODE),
            status => status,
        }
    }

    #[inline(always)]
    fn field<T: Copy>(self, offset: &Global<u32>) -> T {
        // SAFETY: the verifier accepts the load only where the host's BTF has a field of that size; a structure
        // that is gone reads as zeros (loads through BTF pointers are caught).
        unsafe { self.0.byte_add(offset.load() as usize).cast::<T>().read() }
    }
}

/// Argument `n` of a tracepoint that is a number or a truth.
#[inline(always)]
pub(crate) fn number<T: Argument>(ctx: &BtfTracePointContext, n: usize) -> T {
    ctx.arg(n)
}
