//! Maps whose types are not known when this is compiled.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, OwnedFd},
    path::Path,
};

use super::{bpf, get_pinned, info, owned};

const MAP_LOOKUP_ELEM: libc::c_long = 1;
const MAP_GET_NEXT_KEY: libc::c_long = 4;
const BTF_GET_FD_BY_ID: libc::c_long = 19;

/// `struct bpf_map_info` up to the BTF types.
#[repr(C)]
#[derive(Clone, Debug, Default)]
struct RawMapInfo {
    kind: u32,
    id: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    map_flags: u32,
    name: [u8; 16],
    ifindex: u32,
    btf_vmlinux_value_type_id: u32,
    netns_dev: u64,
    netns_ino: u64,
    btf_id: u32,
    btf_key_type_id: u32,
    btf_value_type_id: u32,
    reserved: u32,
}

#[repr(C)]
#[derive(Default)]
struct MapElem {
    map_fd: u32,
    reserved: u32,
    key: u64,
    value_or_next: u64,
    flags: u64,
}

#[repr(C)]
#[derive(Default)]
struct RawBtfInfo {
    btf: u64,
    btf_size: u32,
    id: u32,
}

/// A map whose types are not known when this is compiled: keys and values are bytes, its BTF says what they mean.
#[derive(Debug)]
pub struct RawMap {
    fd: OwnedFd,
    info: RawMapInfo,
    value_bytes: usize,
}

impl RawMap {
    /// The map pinned at `path`, on a host with that many possible CPUs.
    pub fn open(path: &Path, possible_cpus: usize) -> io::Result<Self> {
        const PER_CPU: [u32; 4] = [5, 6, 10, 21];
        let fd = get_pinned(path)?;
        let mut raw = RawMapInfo::default();
        info(fd.as_fd(), &mut raw)?;
        let value_bytes = match raw.value_size as usize {
            // The kernel copies the value of every possible CPU, each at a multiple of 8 bytes.
            one if PER_CPU.contains(&raw.kind) => one.next_multiple_of(8) * possible_cpus,
            one => one,
        };
        Ok(RawMap { fd, info: raw, value_bytes })
    }

    /// Number of entries there can be.
    pub fn max_entries(&self) -> u32 {
        self.info.max_entries
    }

    /// From one CPU's value to the next one's in what [`RawMap::get`] returns.
    pub fn stride(&self) -> usize {
        (self.info.value_size as usize).next_multiple_of(8)
    }

    /// Types of key and value in [`RawMap::btf`].
    pub fn types(&self) -> (u32, u32) {
        (self.info.btf_key_type_id, self.info.btf_value_type_id)
    }

    /// The value of a key, of all CPUs if it is a per-CPU map. EINVAL if the key is not of the map's size.
    pub fn get(&self, key: &[u8]) -> io::Result<Option<Vec<u8>>> {
        if key.len() != self.info.key_size as usize {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        let mut value = vec![0; self.value_bytes];
        let mut attr = MapElem {
            map_fd: self.fd.as_raw_fd() as u32,
            key: key.as_ptr() as u64,
            value_or_next: value.as_mut_ptr() as u64,
            ..MapElem::default()
        };
        // SAFETY: the key has the map's size, the value room for what the kernel copies.
        found(unsafe { bpf(MAP_LOOKUP_ELEM, &mut attr) }).map(|found| found.then_some(value))
    }

    /// All keys.
    pub fn keys(&self) -> io::Result<Vec<Vec<u8>>> {
        let mut keys: Vec<Vec<u8>> = Vec::new();
        loop {
            let mut next = vec![0; self.info.key_size as usize];
            let mut attr = MapElem {
                map_fd: self.fd.as_raw_fd() as u32,
                key: keys.last().map_or(0, |key| key.as_ptr() as u64),
                value_or_next: next.as_mut_ptr() as u64,
                ..MapElem::default()
            };
            // SAFETY: both keys have the map's size; a null key asks for the first.
            if !found(unsafe { bpf(MAP_GET_NEXT_KEY, &mut attr) })? {
                return Ok(keys);
            }
            keys.push(next);
        }
    }

    /// The BTF that the map was made with.
    pub fn btf(&self) -> io::Result<Vec<u8>> {
        #[repr(C)]
        struct ById {
            id: u32,
        }
        let mut attr = ById { id: self.info.btf_id };
        // SAFETY: no addresses in it.
        let btf = owned(unsafe { bpf(BTF_GET_FD_BY_ID, &mut attr) }?);
        let mut about = RawBtfInfo::default();
        info(btf.as_fd(), &mut about)?;
        let mut bytes = vec![0_u8; about.btf_size as usize];
        let mut about = RawBtfInfo { btf: bytes.as_mut_ptr() as u64, btf_size: about.btf_size, id: 0 };
        info(btf.as_fd(), &mut about)?;
        Ok(bytes)
    }
}

fn found(result: io::Result<libc::c_long>) -> io::Result<bool> {
    match result {
        Ok(_) => Ok(true),
        Err(e) if e.raw_os_error() == Some(libc::ENOENT) => Ok(false),
        Err(e) => Err(e),
    }
}
