//! What this kernel takes of eBPF, found out by loading a program of two instructions of each kind: neither a
//! version nor a configuration file says it (some kernels list BPF LSM and refuse every such program).

use std::io;

use aya::{maps::MapType, sys::is_map_supported};

use super::{btf::Btf, error::EbpfError};
use crate::sys::bpf::probe_program;

// Numbers of `enum bpf_prog_type` and `enum bpf_attach_type`.
const SCHED_CLS: u32 = 3;
const CGROUP_SKB: u32 = 8;
const SOCK_OPS: u32 = 13;
const CGROUP_DEVICE: u32 = 15;
const RAW_TRACEPOINT: u32 = 17;
const TRACING: u32 = 26;
const LSM: u32 = 29;
const ATTACH_NONE: u32 = 0;
const ATTACH_EGRESS: u32 = 1;
const ATTACH_SOCK_OPS: u32 = 3;
const ATTACH_DEVICE: u32 = 6;
const ATTACH_RAW_TP: u32 = 23;
const ATTACH_FENTRY: u32 = 24;
const ATTACH_LSM: u32 = 27;

/// Something that was looked at.
#[derive(Debug)]
pub struct Probe {
    /// What.
    pub subject: &'static str,
    /// What it is for.
    pub purpose: Purpose,
    /// Whether it works, and why not.
    pub result: Result<(), String>,
}

/// What a kind of program or map is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// zoned cannot do without.
    Needed,
    /// The scheduler that keeps CPU shares.
    Shares,
    /// Later things.
    Later,
}

/// What this kernel takes.
pub fn probe() -> Vec<Probe> {
    use Purpose::{Later, Needed, Shares};
    let kernel = std::fs::read("/sys/kernel/btf/vmlinux")
        .map_err(|e| format!("/sys/kernel/btf/vmlinux: {e}"))
        .and_then(|bytes| Btf::parse(bytes).map_err(|e| e.to_string()));
    let by_btf = |prog_type, attach, id: fn(&Btf) -> Result<u32, super::BtfError>| {
        let kernel = kernel.as_ref().map_err(String::clone)?;
        let id = id(kernel).map_err(|e| e.to_string())?;
        taken(probe_program(prog_type, attach, id))
    };
    let found = [
        ("BTF", Needed, kernel.as_ref().map(drop).map_err(String::clone)),
        ("tp_btf", Needed, by_btf(TRACING, ATTACH_RAW_TP, |b| b.tracepoint("sched_switch"))),
        ("raw_tp", Needed, taken(probe_program(RAW_TRACEPOINT, ATTACH_NONE, 0))),
        ("cgroup_device", Needed, taken(probe_program(CGROUP_DEVICE, ATTACH_DEVICE, 0))),
        ("ring buffer", Needed, map(MapType::RingBuf)),
        ("sched_cls", Needed, taken(probe_program(SCHED_CLS, ATTACH_NONE, 0))),
        ("cgroup_skb", Needed, taken(probe_program(CGROUP_SKB, ATTACH_EGRESS, 0))),
        ("sock_ops", Later, taken(probe_program(SOCK_OPS, ATTACH_SOCK_OPS, 0))),
        ("fentry", Later, by_btf(TRACING, ATTACH_FENTRY, |b| b.function("bpf_fentry_test1"))),
        ("lsm", Later, by_btf(LSM, ATTACH_LSM, |b| b.function("bpf_lsm_file_open"))),
        ("struct_ops", Shares, map(MapType::StructOps)),
        ("sched_ext", Shares, structure(&kernel, "sched_ext_ops")),
        ("qdisc", Later, structure(&kernel, "bpf_struct_ops_Qdisc_ops")),
    ];
    found.into_iter().map(|(subject, purpose, result)| Probe { subject, purpose, result }).collect()
}

/// Whether the programs that zoned is about to load are there at all.
///
/// # Errors
/// [`EbpfError::Stub`] or [`EbpfError::Object`].
pub fn embedded() -> Result<(), EbpfError> {
    super::object::embedded().map(drop)
}

fn taken(result: io::Result<()>) -> Result<(), String> {
    result.map_err(|e| e.to_string())
}

fn map(kind: MapType) -> Result<(), String> {
    match is_map_supported(kind) {
        Ok(true) => Ok(()),
        Ok(false) => Err("this kernel has no such map".into()),
        Err(e) => Err(e.io_error.to_string()),
    }
}

fn structure(kernel: &Result<Btf, String>, name: &str) -> Result<(), String> {
    let kernel = kernel.as_ref().map_err(String::clone)?;
    kernel.structure(name).map(drop).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::print_stdout, reason = "tests say what they found")]
    fn what_the_programs_need_is_there_where_they_load() {
        let found = probe();
        found.iter().for_each(|Probe { subject, result, .. }| println!("{subject}: {result:?}"));
        if rustix::process::geteuid().is_root() {
            // The other tests load the real programs; this says the same of the kinds they are.
            assert!(found.iter().all(|p| p.purpose != Purpose::Needed || p.result.is_ok()));
        } else {
            assert!(found.iter().any(|p| p.result.is_err()), "loading programs takes root");
        }
    }
}
