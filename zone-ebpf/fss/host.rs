//! What user space says of the host, which no cgroup does: its own weight against the zones, and whose CPUs are whose.

use aya_ebpf::{btf_maps::Array, macros::btf_map};
use zone_ebpf_abi::{
    MAX_SLOTS,
    fss::{FssHost, FssOwned, MAX_CPUS},
};

use crate::{
    count::{self, Count},
    kernel::{self, Task},
    tree::Tree,
    zone::Zone,
};

#[btf_map(name = "fss_host")]
static HOST: Array<FssHost, 1> = Array::new();

/// How many more CPUs are online than when this was loaded.
#[btf_map(name = "fss_come")]
static COME: Count = Count::new();

/// CPU → 1 + slot of the zone that has it for itself; 0: everybody's.
#[btf_map(name = "fss_owners")]
static OWNERS: Array<u32, { MAX_CPUS as usize }> = Array::new();

#[btf_map(name = "fss_owned")]
static OWNED: Array<FssOwned, { MAX_SLOTS as usize }> = Array::new();

/// 1 + slot of the zone that has a CPU for itself; 0: it is everybody's.
#[inline(always)]
pub(crate) fn owner(cpu: u32) -> u32 {
    // SAFETY: of a map value, likewise below.
    let owner = OWNERS.get_ptr(cpu).map_or(0, |owner| unsafe { owner.read_volatile() });
    // Until user space has heard of it, a slot's next zone has nothing of the one before it.
    if owner != 0 && Zone::of_slot(owner - 1).is_some_and(|zone| owned(zone) != 0) { owner } else { 0 }
}

/// CPU → 1 + number of its last level cache; 0: nobody said.
#[btf_map(name = "fss_caches")]
static CACHES: Array<u32, { MAX_CPUS as usize }> = Array::new();

/// The last level cache of a CPU where that matters; 0 where there is one for all, or nobody said.
#[inline(always)]
pub(crate) fn cache(cpu: u32) -> u32 {
    // SAFETY: of a map value, likewise below.
    if said(|host| unsafe { (&raw const (*host).caches).read_volatile() }) < 2 {
        return 0;
    }
    // SAFETY: as above.
    CACHES.get_ptr(cpu).map_or(0, |cache| unsafe { cache.read_volatile() })
}

/// A word of what user space said.
#[inline(always)]
fn said(word: impl FnOnce(*const FssHost) -> u32) -> u32 {
    HOST.get_ptr(0).map_or(0, word)
}

/// How often that has changed what zones have for themselves.
#[inline(always)]
pub(crate) fn changes() -> u32 {
    // SAFETY: as above.
    said(|host| unsafe { (&raw const (*host).changes).read_volatile() })
}

/// How many CPUs a zone has for itself; 0: it shares.
#[inline(always)]
pub(crate) fn owned(zone: Zone) -> u32 {
    let Some(at) = OWNED.get_ptr(zone.slot) else { return 0 };
    // SAFETY: as above.
    let (generation, cpus) =
        unsafe { ((&raw const (*at).generation).read_volatile(), (&raw const (*at).cpus).read_volatile()) };
    if cpus != 0 && generation == zone.generation() { cpus } else { 0 }
}

/// Whether a task may use only some of the CPUs that its zone's others may.
#[inline(always)]
pub(crate) fn is_bound(task: Task, zone: Zone) -> bool {
    let online = kernel::cpus_online().wrapping_add(count::read(&COME));
    let all = match owned(zone) {
        // Threads of the kernel's are in no cpuset: those that may use some CPUs may be for zones' own ones alone.
        0 if task.is_kernels() => online,
        // SAFETY: as above.
        0 => online.wrapping_sub(said(|host| unsafe { (&raw const (*host).taken).read_volatile() })),
        own => own,
    };
    task.may_use() < all
}

/// A CPU has come, or goes.
#[inline(always)]
pub(crate) fn count_cpu(more: bool) {
    count::change_in(&COME, more);
}

/// Gives the host the weight that user space wrote, where it is another.
#[inline(always)]
pub(crate) fn weigh() -> Option<()> {
    // SAFETY: as above.
    let weight = unsafe { (&raw const (*HOST.get_ptr(0)?).weight).read_volatile() };
    let host = Zone::of_slot(zone_ebpf_abi::HOST.slot)?;
    if weight != 0 && host.weight() != weight {
        host.set_weight(weight);
        host.refresh(Tree::get()?);
    }
    Some(())
}
