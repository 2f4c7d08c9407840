//! bpf(2), for what aya has no call for or no small one: running a program on a chosen CPU, links of pinned programs,
//! what a pinned link or map is about, and probing by loading.
//!
//! Each command's part of `union bpf_attr` is a structure of its own here: the kernel takes the size it is given and
//! reads the rest as zeros.

mod map;
pub mod struct_ops;

use std::{
    ffi::CString,
    io,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
};

pub use self::map::RawMap;

const PROG_LOAD: libc::c_long = 5;
const OBJ_PIN: libc::c_long = 6;
const OBJ_GET: libc::c_long = 7;
const PROG_TEST_RUN: libc::c_long = 10;
const OBJ_GET_INFO_BY_FD: libc::c_long = 15;
const LINK_CREATE: libc::c_long = 28;
const LINK_UPDATE: libc::c_long = 29;

const F_TEST_RUN_ON_CPU: u32 = 1;
const LINK_TYPE_CGROUP: u32 = 3;

/// # Safety
/// `A` is the kernel's structure for `command`, and every address in it is valid for what the kernel does with it.
unsafe fn bpf<A>(command: libc::c_long, attr: &mut A) -> io::Result<libc::c_long> {
    // SAFETY: the kernel reads and writes no more than the size it is given; the caller vouches for the rest.
    super::check(unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attr), size_of::<A>()) })
}

fn owned(fd: libc::c_long) -> OwnedFd {
    // SAFETY: the kernel just returned this new descriptor, and nobody else has it.
    unsafe { OwnedFd::from_raw_fd(fd as RawFd) }
}

#[repr(C)]
#[derive(Default)]
struct Obj {
    pathname: u64,
    bpf_fd: u32,
    file_flags: u32,
}

/// Opens what is pinned at `path`: a map, a program or a link.
pub fn get_pinned(path: &Path) -> io::Result<OwnedFd> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let mut attr = Obj { pathname: path.as_ptr() as u64, ..Obj::default() };
    // SAFETY: the path is a C string that outlives the call.
    unsafe { bpf(OBJ_GET, &mut attr) }.map(owned)
}

/// Pins a map, program or link at `path`, which must not exist and must be on a bpffs.
pub fn pin(object: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let mut attr =
        Obj { pathname: path.as_ptr() as u64, bpf_fd: object.as_raw_fd() as u32, ..Obj::default() };
    // SAFETY: the path is a C string that outlives the call.
    unsafe { bpf(OBJ_PIN, &mut attr) }.map(drop)
}

#[repr(C)]
#[derive(Default)]
struct TestRun {
    prog_fd: u32,
    retval: u32,
    data_size_in: u32,
    data_size_out: u32,
    data_in: u64,
    data_out: u64,
    repeat: u32,
    duration: u32,
    ctx_size_in: u32,
    ctx_size_out: u32,
    ctx_in: u64,
    ctx_out: u64,
    flags: u32,
    cpu: u32,
    batch_size: u32,
    reserved: u32,
}

/// Runs a raw tracepoint program once on a CPU and waits for it (Linux 5.10). On another CPU than the caller's it
/// interrupts what runs there. ENXIO: no such CPU is online.
pub fn run_on_cpu(program: BorrowedFd<'_>, cpu: u32) -> io::Result<()> {
    let mut attr =
        TestRun { prog_fd: program.as_raw_fd() as u32, flags: F_TEST_RUN_ON_CPU, cpu, ..TestRun::default() };
    // SAFETY: no addresses in it.
    unsafe { bpf(PROG_TEST_RUN, &mut attr) }.map(drop)
}

#[repr(C)]
struct LinkCreate {
    prog_fd: u32,
    target_fd: u32,
    attach_type: u32,
    flags: u32,
}

/// Where a program is attached.
#[derive(Clone, Copy, Debug)]
pub enum Hook<'a> {
    /// What the processes below a cgroup2 folder open and make of device nodes (Linux 5.7 for links to cgroups).
    Devices(BorrowedFd<'a>),
    /// What sockets below a cgroup2 folder receive.
    SocketsIn(BorrowedFd<'a>),
    /// What they send.
    SocketsOut(BorrowedFd<'a>),
}

/// Attaches a program beside those that are there. It stays attached until the link is closed and not pinned, or what it
/// is attached to is removed.
pub fn attach(program: BorrowedFd<'_>, hook: Hook<'_>) -> io::Result<OwnedFd> {
    // Numbers of `enum bpf_attach_type`.
    let (cgroup, attach_type) = match hook {
        Hook::SocketsIn(cgroup) => (cgroup, 0),
        Hook::SocketsOut(cgroup) => (cgroup, 1),
        Hook::Devices(cgroup) => (cgroup, 6),
    };
    let (prog_fd, target_fd) = (program.as_raw_fd() as u32, cgroup.as_raw_fd() as u32);
    let mut attr = LinkCreate { prog_fd, target_fd, attach_type, flags: 0 };
    // SAFETY: no addresses in it.
    unsafe { bpf(LINK_CREATE, &mut attr) }.map(owned)
}

#[repr(C)]
#[derive(Default)]
struct LinkUpdate {
    link_fd: u32,
    new_prog_fd: u32,
    flags: u32,
    old_prog_fd: u32,
}

/// Puts another program of the same type in the place of the one a link attaches, at one instant.
pub fn replace(link: BorrowedFd<'_>, program: BorrowedFd<'_>) -> io::Result<()> {
    let mut attr = LinkUpdate {
        link_fd: link.as_raw_fd() as u32,
        new_prog_fd: program.as_raw_fd() as u32,
        ..LinkUpdate::default()
    };
    // SAFETY: no addresses in it.
    unsafe { bpf(LINK_UPDATE, &mut attr) }.map(drop)
}

#[repr(C)]
struct InfoByFd {
    bpf_fd: u32,
    info_len: u32,
    info: u64,
}

fn info<I: Default>(object: BorrowedFd<'_>, info: &mut I) -> io::Result<()> {
    let mut attr = InfoByFd {
        bpf_fd: object.as_raw_fd() as u32,
        info_len: size_of::<I>() as u32,
        info: std::ptr::from_mut(info) as u64,
    };
    // SAFETY: the kernel writes at most `info_len` bytes to it, of plain integers.
    unsafe { bpf(OBJ_GET_INFO_BY_FD, &mut attr) }.map(drop)
}

/// Start of `struct bpf_link_info`.
#[repr(C)]
#[derive(Default)]
struct RawLinkInfo {
    kind: u32,
    id: u32,
    prog_id: u32,
    reserved: u32,
    cgroup_id: u64,
    attach_type: u32,
    padding: u32,
}

/// What a link is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkInfo {
    /// Id of the program it attaches.
    pub program_id: u32,
    /// Of a cgroup's link the id of the cgroup; 0 if that has been removed.
    pub cgroup_id: Option<u64>,
}

/// What a link is about.
pub fn link_info(link: &OwnedFd) -> io::Result<LinkInfo> {
    let mut raw = RawLinkInfo::default();
    info(link.as_fd(), &mut raw)?;
    let cgroup_id = (raw.kind == LINK_TYPE_CGROUP).then_some(raw.cgroup_id);
    Ok(LinkInfo { program_id: raw.prog_id, cgroup_id })
}

#[repr(C)]
#[derive(Default)]
struct ProgLoad {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
    prog_ifindex: u32,
    expected_attach_type: u32,
    prog_btf_fd: u32,
    func_info_rec_size: u32,
    func_info: u64,
    func_info_cnt: u32,
    line_info_rec_size: u32,
    line_info: u64,
    line_info_cnt: u32,
    attach_btf_id: u32,
    attach_btf_obj_fd: u32,
    reserved: u32,
}

/// Loads `return 0` as a program of a type and drops it: whether this kernel takes such programs at all.
pub fn probe_program(prog_type: u32, expected_attach_type: u32, attach_btf_id: u32) -> io::Result<()> {
    const RETURN_0: [u64; 2] = [0x0000_0000_0000_00b7, 0x0000_0000_0000_0095];
    let mut attr = ProgLoad {
        prog_type,
        insn_cnt: RETURN_0.len() as u32,
        insns: RETURN_0.as_ptr() as u64,
        license: c"GPL".as_ptr() as u64,
        expected_attach_type,
        attach_btf_id,
        ..ProgLoad::default()
    };
    // SAFETY: instructions and licence are constants that outlive the call.
    unsafe { bpf(PROG_LOAD, &mut attr) }.map(|fd| drop(owned(fd)))
}
