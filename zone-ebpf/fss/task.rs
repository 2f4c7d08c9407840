//! What is kept of each task, in storage that goes with it.

use aya_ebpf::{
    cty::c_void,
    helpers::{bpf_task_storage_delete, bpf_task_storage_get},
    macros::btf_map,
};
use zone_ebpf_abi::{Identity, fss::FssTask};

use crate::{
    kernel::{self, Task},
    zone::{Zone, identify},
};

/// `BPF_MAP_TYPE_TASK_STORAGE`.
const TASK_STORAGE: usize = 29;
/// `BPF_F_NO_PREALLOC`.
const NO_PREALLOC: usize = 1;
/// `BPF_LOCAL_STORAGE_GET_F_CREATE`.
const CREATE: u64 = 1;

/// A map of that kind, as BTF describes it: the fields stand for types, and are never read.
#[repr(C)]
pub(crate) struct TaskStorage<T> {
    r#type: *const [i32; TASK_STORAGE],
    key: *const i32,
    value: *const T,
    max_entries: *const [i32; 0],
    map_flags: *const [i32; NO_PREALLOC],
}

// SAFETY: nothing is ever read from it.
unsafe impl<T> Sync for TaskStorage<T> {}

#[btf_map(name = "fss_tasks")]
static TASKS: TaskStorage<FssTask> = TaskStorage {
    r#type: core::ptr::null(),
    key: core::ptr::null(),
    value: core::ptr::null(),
    max_entries: core::ptr::null(),
    map_flags: core::ptr::null(),
};

#[inline(always)]
fn map() -> *mut c_void {
    (&raw const TASKS).cast_mut().cast()
}

/// What is kept of a task; made if there is nothing yet.
#[inline(always)]
pub(crate) fn make(task: Task) -> Option<&'static mut FssTask> {
    get(task, CREATE)
}

/// What is kept of a task.
#[inline(always)]
pub(crate) fn of(task: Task) -> Option<&'static mut FssTask> {
    get(task, 0)
}

#[inline(always)]
fn get(task: Task, flags: u64) -> Option<&'static mut FssTask> {
    // SAFETY: the kernel's own, valid until the program ends. The operations of one task exclude each other by the lock of
    // its run queue.
    unsafe {
        bpf_task_storage_get(map(), task.0.cast(), core::ptr::null_mut(), flags).cast::<FssTask>().as_mut()
    }
}

#[inline(always)]
pub(crate) fn forget(task: Task) {
    // SAFETY: as above.
    unsafe { bpf_task_storage_delete(map(), task.0.cast()) };
}

/// The zone of a task. It is looked for only where its cgroup is another than the last time: a cgroup never gets other
/// ancestors, and its number is never given twice.
#[inline(always)]
pub(crate) fn zone(task: Task, kept: &mut FssTask) -> Option<Zone> {
    let cgroup = task.cgroup();
    let id = cgroup.id();
    if kept.cgroup_id != id {
        let zone = cgroup.ancestor(kernel::zone_level());
        let before = Identity { slot: kept.slot, generation: kept.generation };
        let identity = identify(zone);
        let Identity { slot, generation } = identity;
        *kept = FssTask { cgroup_id: id, slot, generation, ..*kept };
        let zone = Zone::of(identity, zone)?;
        if identity != before {
            // What it had elsewhere counts for nothing here.
            kept.virtual_ns = zone.task_virtual_ns();
        }
        return Some(zone);
    }
    Zone::of_slot(kept.slot)
}
