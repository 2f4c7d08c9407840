//! Loading a system-call filter.

use std::io;

use super::check;

/// Size of one `struct sock_filter`.
const INSTRUCTION: usize = 8;

/// Puts this process under a filter for good: `program` is an array of `struct sock_filter` in native byte order.
///
/// Needs CAP_SYS_ADMIN in the process' user namespace or no_new_privs (seccomp(2)).
pub fn load(program: &[u8]) -> io::Result<()> {
    let count = program.len() / INSTRUCTION;
    let len = u16::try_from(count).map_err(|_| io::Error::from_raw_os_error(libc::E2BIG))?;
    if count == 0 || !program.len().is_multiple_of(INSTRUCTION) {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    // The bytes may be unaligned as they came; sock_filter wants 4.
    let mut filter: Vec<libc::sock_filter> = Vec::with_capacity(count);
    for chunk in program.chunks_exact(INSTRUCTION) {
        filter.push(libc::sock_filter {
            code: u16::from_ne_bytes([chunk[0], chunk[1]]),
            jt: chunk[2],
            jf: chunk[3],
            k: u32::from_ne_bytes([chunk[4], chunk[5], chunk[6], chunk[7]]),
        });
    }
    let prog = libc::sock_fprog { len, filter: filter.as_mut_ptr() };
    // SAFETY: prog points at `len` instructions that live until the call returns; the kernel copies them.
    check(unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const prog) })?;
    Ok(())
}
