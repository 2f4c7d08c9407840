//! Loading programs of type `struct_ops` and registering them.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
};

use super::{LINK_CREATE, LinkCreate, PROG_LOAD, ProgLoad, bpf, owned};

const MAP_CREATE: libc::c_long = 0;
const MAP_UPDATE_ELEM: libc::c_long = 2;
const BTF_LOAD: libc::c_long = 18;

const MAP_TYPE_STRUCT_OPS: u32 = 26;
const PROG_TYPE_STRUCT_OPS: u32 = 27;
const ATTACH_STRUCT_OPS: u32 = 44;
const F_LINK: u32 = 1 << 13;
const F_SLEEPABLE: u32 = 1 << 4;

/// Bytes for what the verifier says. It can be longer for a program that is refused: then the kernel keeps the end, where
/// the reason is (Linux 6.4).
const LOG_BYTES: usize = 64 * 1024;

/// Loads a BTF blob.
pub fn load_btf(blob: &[u8]) -> io::Result<OwnedFd> {
    #[repr(C)]
    struct Attr {
        btf: u64,
        log_buf: u64,
        btf_size: u32,
        log_size: u32,
        log_level: u32,
        reserved: u32,
    }
    let mut attr = Attr {
        btf: blob.as_ptr() as u64,
        log_buf: 0,
        btf_size: blob.len() as u32,
        log_size: 0,
        log_level: 0,
        reserved: 0,
    };
    // SAFETY: the blob has the size that is given.
    unsafe { bpf(BTF_LOAD, &mut attr) }.map(owned)
}

/// Makes the map that a set of operations is registered by. Any BTF will do beside the type of the kernel's.
pub fn create_map(btf: BorrowedFd<'_>, value_type: u32, value_bytes: u32) -> io::Result<OwnedFd> {
    #[repr(C)]
    #[derive(Default)]
    struct Attr {
        map_type: u32,
        key_size: u32,
        value_size: u32,
        max_entries: u32,
        map_flags: u32,
        inner_map_fd: u32,
        numa_node: u32,
        map_name: [u8; 16],
        map_ifindex: u32,
        btf_fd: u32,
        btf_key_type_id: u32,
        btf_value_type_id: u32,
        btf_vmlinux_value_type_id: u32,
        map_extra: u64,
    }
    let mut attr = Attr {
        map_type: MAP_TYPE_STRUCT_OPS,
        key_size: 4,
        value_size: value_bytes,
        max_entries: 1,
        map_flags: F_LINK,
        btf_fd: btf.as_raw_fd() as u32,
        btf_vmlinux_value_type_id: value_type,
        ..Attr::default()
    };
    // SAFETY: no addresses in it.
    unsafe { bpf(MAP_CREATE, &mut attr) }.map(owned)
}

/// One record of `func_info`: where a function begins, in instructions, and the type that describes it.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FunctionInfo {
    /// Index of its first instruction.
    pub instruction: u32,
    /// Id of a FUNC in the program's BTF.
    pub type_id: u32,
}

/// A program that implements one member.
#[derive(Debug)]
pub struct Program<'a> {
    /// At most 15 bytes are kept.
    pub name: &'a str,
    /// Instructions, 8 bytes each.
    pub instructions: &'a [[u8; 8]],
    /// Where its functions begin; empty if there is but one.
    pub functions: &'a [FunctionInfo],
    /// What the types in `functions` are of.
    pub btf: BorrowedFd<'a>,
    /// Id of the structure, and index of the member in it, in the kernel's BTF.
    pub member: (u32, u32),
    /// Whether it may sleep.
    pub sleepable: bool,
}

/// Loads a program; what the verifier said comes with the error.
pub fn load_program(program: &Program<'_>) -> Result<OwnedFd, (io::Error, String)> {
    let mut attr = ProgLoad {
        prog_type: PROG_TYPE_STRUCT_OPS,
        insn_cnt: program.instructions.len() as u32,
        insns: program.instructions.as_ptr() as u64,
        license: c"GPL".as_ptr() as u64,
        prog_flags: if program.sleepable { F_SLEEPABLE } else { 0 },
        attach_btf_id: program.member.0,
        expected_attach_type: program.member.1,
        ..ProgLoad::default()
    };
    for (to, from) in attr.prog_name.iter_mut().take(15).zip(program.name.bytes()) {
        *to = from;
    }
    if !program.functions.is_empty() {
        attr.prog_btf_fd = program.btf.as_raw_fd() as u32;
        attr.func_info_rec_size = size_of::<FunctionInfo>() as u32;
        attr.func_info = program.functions.as_ptr() as u64;
        attr.func_info_cnt = program.functions.len() as u32;
    }
    // SAFETY: instructions, functions and licence outlive the call and have the sizes that are given.
    let first = unsafe { bpf(PROG_LOAD, &mut attr) };
    first.map(owned).or_else(|_| {
        // To write the log takes longer than to verify: asked for only where there is something to be told.
        let mut log = vec![0_u8; LOG_BYTES];
        (attr.log_level, attr.log_size, attr.log_buf) = (1, log.len() as u32, log.as_mut_ptr() as u64);
        // SAFETY: as above, and the log has the size that is given.
        let again = unsafe { bpf(PROG_LOAD, &mut attr) };
        again.map(owned).map_err(|e| {
            let end = log.iter().position(|b| *b == 0).unwrap_or(log.len());
            (e, String::from_utf8_lossy(&log[..end]).into_owned())
        })
    })
}

/// Writes the one value of the map: from then on the kernel has it whole.
pub fn update_map(map: BorrowedFd<'_>, value: &[u8]) -> io::Result<()> {
    #[repr(C)]
    struct Attr {
        map_fd: u32,
        reserved: u32,
        key: u64,
        value: u64,
        flags: u64,
    }
    let key = 0_u32;
    let mut attr = Attr {
        map_fd: map.as_raw_fd() as u32,
        reserved: 0,
        key: std::ptr::from_ref(&key) as u64,
        value: value.as_ptr() as u64,
        flags: 0,
    };
    // SAFETY: the key has 4 bytes, the value as many as the map was made with, as the caller sees to.
    unsafe { bpf(MAP_UPDATE_ELEM, &mut attr) }.map(drop)
}

/// Registers what a map holds (Linux 6.4). It stays so until the link is closed and not pinned.
pub fn register(map: &OwnedFd) -> io::Result<OwnedFd> {
    let mut attr = LinkCreate {
        prog_fd: map.as_fd().as_raw_fd() as u32,
        target_fd: 0,
        attach_type: ATTACH_STRUCT_OPS,
        flags: 0,
    };
    // SAFETY: no addresses in it.
    unsafe { bpf(LINK_CREATE, &mut attr) }.map(owned)
}
