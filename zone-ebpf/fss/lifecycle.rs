//! The scheduler's and the tasks' beginning and end.

use aya_ebpf::{btf_maps::Array, helpers::generated::bpf_probe_read_kernel_str, macros::btf_map};
use zone_ebpf_abi::{
    HOST, MAX_SLOTS,
    fss::{FssExit, MAX_CPUS},
};

use crate::{
    cap, host,
    kernel::{self, ExitInfo, Task, argument},
    queue::Queue,
    run, task,
    tree::Tree,
    zone::Zone,
};

#[btf_map(name = "fss_ended")]
static EXIT: Array<FssExit, 1> = Array::new();

/// `-ENOMEM`.
const NO_MEMORY: i32 = -12;

/// Makes every queue, and the tree empty.
#[unsafe(no_mangle)]
#[unsafe(link_section = "struct_ops.s/init")]
extern "C" fn fss_init(_ctx: *const u64) -> i32 {
    Tree::empty();
    let mut slot = 0;
    while slot < MAX_SLOTS {
        let made = Queue::of_zone(slot).make();
        if made != 0 {
            return made;
        }
        slot += 1;
    }
    let (cpus, mut cpu) = (kernel::cpus(), 0);
    while cpu < MAX_CPUS && cpu < cpus {
        let made = Queue::of_cpu(cpu).make();
        if made != 0 {
            return made;
        }
        cpu += 1;
    }
    if Zone::of(HOST, 0).is_none() {
        return NO_MEMORY;
    }
    cap::start()
}

/// Says why it ends.
#[unsafe(no_mangle)]
#[unsafe(link_section = "struct_ops.s/exit")]
extern "C" fn fss_exit(ctx: *const u64) -> i32 {
    let info = ExitInfo(argument(ctx, 0) as *const _);
    if let Some(exit) = EXIT.get_ptr_mut(0) {
        // SAFETY: of a map value; the texts are the kernel's, and read by a helper.
        unsafe {
            let (reason, message) = (&raw mut (*exit).reason, &raw mut (*exit).message);
            bpf_probe_read_kernel_str(reason.cast(), size_of_val(&(*exit).reason) as u32, info.reason());
            bpf_probe_read_kernel_str(message.cast(), size_of_val(&(*exit).message) as u32, info.message());
            (*exit).code = info.code();
            (*exit).kind = info.kind();
        }
    }
    0
}

#[unsafe(no_mangle)]
#[unsafe(link_section = "struct_ops.s/init_task")]
extern "C" fn fss_init_task(ctx: *const u64) -> i32 {
    if task::make(Task::argument(ctx, 0)).is_some() { 0 } else { NO_MEMORY }
}

#[unsafe(no_mangle)]
#[unsafe(link_section = "struct_ops/exit_task")]
extern "C" fn fss_exit_task(ctx: *const u64) -> i32 {
    task::forget(Task::argument(ctx, 0));
    0
}

/// A CPU comes. Without this the kernel would end the scheduler at each change.
#[unsafe(no_mangle)]
#[unsafe(link_section = "struct_ops.s/cpu_online")]
extern "C" fn fss_cpu_online(ctx: *const u64) -> i32 {
    host::count_cpu(true);
    run::has_gone(argument(ctx, 0) as u32, false);
    0
}

/// A CPU goes: others take what waits in its queue.
#[unsafe(no_mangle)]
#[unsafe(link_section = "struct_ops.s/cpu_offline")]
extern "C" fn fss_cpu_offline(ctx: *const u64) -> i32 {
    host::count_cpu(false);
    run::has_gone(argument(ctx, 0) as u32, true);
    0
}
