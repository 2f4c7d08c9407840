//! Loop devices (loop(4)).

use std::{
    fs::File,
    io,
    os::fd::{AsFd, AsRawFd},
};

use super::check;

/// LOOP_CTL_GET_FREE: the number of an unused device.
const GET_FREE: libc::c_ulong = 0x4C82;

/// LOOP_CONFIGURE (Linux 5.8): file, block size and flags in one step.
const CONFIGURE: libc::c_ulong = 0x4C0A;

/// LO_FLAGS_AUTOCLEAR: free again when its last user has closed it.
const AUTOCLEAR: u32 = 4;

/// `struct loop_info64` of linux/loop.h.
#[repr(C)]
struct Info {
    device: u64,
    inode: u64,
    rdevice: u64,
    offset: u64,
    size_limit: u64,
    number: u32,
    encrypt_type: u32,
    encrypt_key_size: u32,
    flags: u32,
    file_name: [u8; 64],
    crypt_name: [u8; 64],
    encrypt_key: [u8; 32],
    init: [u64; 2],
}

/// `struct loop_config`.
#[repr(C)]
struct Config {
    fd: u32,
    block_size: u32,
    info: Info,
    reserved: [u64; 8],
}

/// Number of a device that nobody uses. Somebody else may be given the same one.
pub fn free(control: &File) -> io::Result<u32> {
    // SAFETY: takes no argument.
    let number = check(unsafe { libc::ioctl(control.as_raw_fd(), GET_FREE) }.into())?;
    u32::try_from(number).map_err(io::Error::other)
}

/// Makes a device show a file, until the last user of the device is gone. EBUSY if somebody else has taken it.
pub fn configure(device: &File, file: impl AsFd) -> io::Result<()> {
    // SAFETY: plain data, for which all zeros means the defaults.
    let mut config: Config = unsafe { std::mem::zeroed() };
    config.fd = file.as_fd().as_raw_fd() as u32;
    config.info.flags = AUTOCLEAR;
    // SAFETY: config is a valid struct loop_config for the length of the call; both descriptors are open.
    check(unsafe { libc::ioctl(device.as_raw_fd(), CONFIGURE, &raw const config) }.into())?;
    Ok(())
}
