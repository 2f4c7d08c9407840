//! The figures of a zone on this CPU.

use aya_ebpf::{
    btf_maps::{Array, PerCpuArray},
    macros::btf_map,
};
use aya_log_ebpf::info;
use zone_ebpf_abi::{Figures, HOST, Identity, MAX_SLOTS, Slot};

#[btf_map(name = "zone_figures")]
static FIGURES: PerCpuArray<Figures, { MAX_SLOTS as usize }> = PerCpuArray::new();

#[btf_map(name = "zone_seen")]
static SEEN: Array<u32, { MAX_SLOTS as usize }> = Array::new();

// The following two are written and read by user space only. They are here to outlive it beside the rest.

/// Who has which slot.
#[btf_map(name = "zone_slots")]
static SLOTS: Array<Slot, { MAX_SLOTS as usize }> = Array::new();

/// What programs of another layout had counted.
#[btf_map(name = "zone_carried")]
static CARRIED: Array<Figures, { MAX_SLOTS as usize }> = Array::new();

/// The figures of a zone on this CPU; begun anew where those of an earlier zone are still in its slot.
#[inline(always)]
pub(crate) fn of(zone: Identity) -> Option<*mut Figures> {
    let figures = FIGURES.get_ptr_mut(zone.slot)?;
    // SAFETY: the pointer is of this CPU's entry, valid until the program ends. Nothing that touches it runs in
    // between: tracepoints are called with preemption off, and no program called from interrupts uses figures but
    // `flush`, which comes by an interrupt too and is kept out while the scheduler has them off.
    unsafe {
        if (*figures).generation != zone.generation {
            *figures = Figures::begin(zone.generation);
            note_first_run(zone);
        }
    }
    Some(figures)
}

#[inline(always)]
fn note_first_run(zone: Identity) {
    if let Some(seen) = SEEN.get_ptr_mut(zone.slot) {
        // SAFETY: valid until the program ends. Two CPUs at once would log a line twice, no more.
        unsafe {
            if *seen != zone.generation && zone.slot != HOST.slot {
                *seen = zone.generation;
                info!(&(), "slot {}: its zone of generation {} runs", zone.slot, zone.generation);
            }
        }
    }
}
