//! The interfaces that zones send and receive through: guarded where they end on the host, counted everywhere.
//!
//! What an interface may send is written before its programs are attached, and these before it is switched on. Both are
//! done again for every zone that a new daemon takes over: then programs of an older build are replaced, each at one
//! instant, and what is missing comes back. What is forgotten of an interface is forbidden: until it is gone nothing
//! comes from it.

use std::{
    io,
    net::IpAddr,
    os::fd::AsFd,
    path::{Path, PathBuf},
};

use aya::maps::MapError;
use uuid::Uuid;
use zone_ebpf_abi::{AddressKey, Identity, Link, SocketKey, mapped, names};

use super::{EbpfError, Kernel, clsact, pins::children, zones::absent_is_fine};
use crate::sys::bpf::{self, Hook};

/// An interface of a zone's, by its end on the host.
#[derive(Clone, Debug)]
pub struct Guarded {
    /// Number of that end.
    pub number: u32,
    /// Its name.
    pub name: String,
    /// The only hardware address that may be sent from.
    pub mac: [u8; 6],
    /// The only addresses that may be sent from.
    pub addresses: Vec<IpAddr>,
}

/// Interfaces without an end on the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interfaces {
    /// All but the loopback.
    All,
    /// The one with this number in the zone's network namespace.
    Number(u32),
}

impl Kernel {
    /// Lets a zone send through an interface what is its own to send, and counts what goes both ways. To be called
    /// before the interface is switched on. The same again changes nothing but programs that are not current.
    ///
    /// # Errors
    /// [`EbpfError::NotAssigned`] if the zone has no slot; else what the kernel refused. The interface sends nothing
    /// then, or is as it was.
    pub fn guard(&mut self, zone: Uuid, link: &Guarded) -> Result<(), EbpfError> {
        let Identity { slot, generation } = self.identity(zone)?;
        // First: addresses are forgotten with the link they are of, also if this ends half-way.
        let entry = Link { slot, generation, mac: link.mac, reserved: 0 };
        self.links.insert(link.number, entry, 0).map_err(EbpfError::map(names::LINKS, "write to it"))?;
        for ip in &link.addresses {
            let ip = match ip {
                IpAddr::V4(ip) => mapped(ip.octets()),
                IpAddr::V6(ip) => ip.octets(),
            };
            let key = AddressKey { link: link.number, ip };
            self.addresses.insert(key, 1, 0).map_err(EbpfError::map(names::ADDRESSES, "write to it"))?;
        }
        for (program, at) in [(names::SENT, clsact::In), (names::RECEIVED, clsact::Out)] {
            clsact::attach(&self.programs.join(program), &link.name, at)
                .map_err(EbpfError::program(program, "attach it"))?;
        }
        Ok(())
    }

    /// Counts at a zone's sockets what it sends and receives through interfaces that have no end on the host. `cgroup` is
    /// its folder of cgroup2. The same again changes nothing but programs that are not current.
    ///
    /// # Errors
    /// As [`Kernel::guard`].
    pub fn count_sockets(
        &mut self,
        zone: Uuid,
        cgroup: &Path,
        interfaces: Interfaces,
    ) -> Result<(), EbpfError> {
        let Identity { slot, generation } = self.identity(zone)?;
        let link = match interfaces {
            Interfaces::All => SocketKey::ANY_LINK,
            Interfaces::Number(number) => number,
        };
        let key = SocketKey { slot, generation, link };
        self.sockets.insert(key, 1, 0).map_err(EbpfError::map(names::SOCKETS, "write to it"))?;
        let folder = std::fs::File::open(cgroup)
            .map_err(|source| EbpfError::Cgroup { path: cgroup.into(), source })?;
        self.hang(zone, names::SOCKET_SENT, Hook::SocketsOut(folder.as_fd()))?;
        self.hang(zone, names::SOCKET_RECEIVED, Hook::SocketsIn(folder.as_fd()))
    }

    /// Zones whose sockets are counted, with the pins that say so.
    pub fn attached(&self) -> Result<Vec<(Uuid, PathBuf)>, EbpfError> {
        let pins = children(&self.attached, "")?;
        let of = |pin: PathBuf| {
            let name = pin.file_name()?.to_str()?;
            Some((name.get(..UUID)?.parse().ok()?, pin))
        };
        Ok(pins.into_iter().filter_map(of).collect())
    }

    /// Attaches a program to a zone's group, or puts it in the place of another build's.
    fn hang(&self, zone: Uuid, program: &str, hook: Hook<'_>) -> Result<(), EbpfError> {
        let path = self.programs.join(program);
        let current = bpf::get_pinned(&path).map_err(EbpfError::pin(&path, "open it"))?;
        let pin = self.attached.join(format!("{zone}-{program}"));
        match bpf::get_pinned(&pin) {
            Ok(link) => bpf::replace(link.as_fd(), current.as_fd())
                .map_err(EbpfError::kernel(program, "put it in the place of an older one")),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                let link = bpf::attach(current.as_fd(), hook);
                let link = link.map_err(EbpfError::kernel(program, "attach it"))?;
                bpf::pin(link.as_fd(), &pin).map_err(EbpfError::pin(&pin, "pin a link"))
            }
            Err(e) => Err(EbpfError::pin(&pin, "open it")(e)),
        }
    }

    /// Forgets a zone's interfaces. What was attached to its group no longer is.
    pub(super) fn forget_interfaces(&mut self, zone: Uuid, slot: u32) -> Result<(), EbpfError> {
        for (owner, pin) in self.attached()? {
            if owner == zone {
                std::fs::remove_file(&pin).map_err(EbpfError::pin(&pin, "remove it"))?;
            }
        }
        self.forget_policy(|of, _| of == slot)
    }

    /// Forgets what may be sent through the interfaces of some slots and generations.
    pub(super) fn forget_policy(&mut self, which: impl Fn(u32, u32) -> bool) -> Result<(), EbpfError> {
        let links = self.links.iter().collect::<Result<Vec<_>, _>>();
        let links = links.map_err(EbpfError::map(names::LINKS, "read it"))?;
        let numbers: Vec<u32> =
            links.iter().filter(|(_, l)| which(l.slot, l.generation)).map(|(n, _)| *n).collect();
        if !numbers.is_empty() {
            let stale = keys(self.addresses.keys(), names::ADDRESSES)?;
            for key in stale.iter().filter(|key| numbers.contains(&key.link)) {
                absent_is_fine(self.addresses.remove(key))
                    .map_err(EbpfError::map(names::ADDRESSES, "remove from it"))?;
            }
        }
        for number in numbers {
            absent_is_fine(self.links.remove(&number))
                .map_err(EbpfError::map(names::LINKS, "remove from it"))?;
        }
        for key in keys(self.sockets.keys(), names::SOCKETS)?.iter().filter(|k| which(k.slot, k.generation)) {
            absent_is_fine(self.sockets.remove(key))
                .map_err(EbpfError::map(names::SOCKETS, "remove from it"))?;
        }
        Ok(())
    }

    fn identity(&self, zone: Uuid) -> Result<Identity, EbpfError> {
        let assigned = self.slot_of(zone)?.ok_or(EbpfError::NotAssigned { zone })?;
        Ok(Identity { slot: assigned.slot, generation: self.slot(assigned.slot)?.generation })
    }
}

/// Length of a UUID as text.
const UUID: usize = uuid::fmt::Hyphenated::LENGTH;

fn keys<K>(all: impl Iterator<Item = Result<K, MapError>>, name: &'static str) -> Result<Vec<K>, EbpfError> {
    all.collect::<Result<_, _>>().map_err(EbpfError::map(name, "read it"))
}
