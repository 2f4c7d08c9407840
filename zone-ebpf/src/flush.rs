//! Charges what is running right now, so that figures can be read exactly while a task holds its CPU for long.
//!
//! Never attached: user space runs it on each CPU by BPF_PROG_TEST_RUN (Linux 5.10). The kernel calls it there with
//! preemption off or from an interrupt; the scheduler's tracepoints run with interrupts off, so the two exclude each
//! other. What a tick has not yet brought up to date is not charged: at most one tick a CPU.

use aya_ebpf::{macros::raw_tracepoint, programs::RawTracePointContext};

use crate::{account, active};

#[raw_tracepoint]
pub(crate) fn zone_flush(_ctx: RawTracePointContext) -> u32 {
    if active() {
        account::charge_current();
    }
    0
}
