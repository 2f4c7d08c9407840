//! The network of one boot, as data: which interfaces, with what addresses, connected to what.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use zoned_api::config::{Allow, Forward, Mac};

use super::Identity;

/// The network of one boot.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkPlan {
    /// No network namespace of the zone's own: it is on the host's.
    #[serde(default)]
    pub shared: bool,
    /// Interfaces the daemon makes once PID 1 is born, and before it runs anything.
    #[serde(default)]
    pub interfaces: Vec<Interface>,
    /// What `/etc/resolv.conf` is to say; left alone if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolver: Option<String>,
}

impl NetworkPlan {
    /// Ports of the host that lead to the zone.
    pub fn forwards(&self) -> impl Iterator<Item = &Forward> {
        self.interfaces.iter().flat_map(|interface| match &interface.to {
            Connection::Bridge { forward, .. } => forward.as_slice(),
            Connection::Macvlan { .. } => &[],
        })
    }

    /// Whether anything of it is on the zones' bridge.
    pub fn is_bridged(&self) -> bool {
        self.interfaces.iter().any(|interface| matches!(interface.to, Connection::Bridge { .. }))
    }
}

/// One interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    /// Name inside.
    pub name: String,
    /// Name of the host's end, where there is one.
    pub link: String,
    /// Hardware address inside.
    pub mac: Mac,
    /// Addresses inside.
    pub addresses: Vec<IpNet>,
    /// To what it is connected.
    pub to: Connection,
}

/// To what an interface is connected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Connection {
    /// The zones' bridge.
    Bridge {
        /// To whom it may open connections.
        allow: Vec<Allow>,
        /// Ports of the host that lead here.
        forward: Vec<Forward>,
    },
    /// The network of an interface of the host.
    Macvlan {
        /// That interface.
        parent: String,
        /// Where to send what is for elsewhere.
        gateway: Vec<IpAddr>,
        /// Its number inside.
        number: u32,
    },
}

/// Name of the host's end of an interface: `z`, the UUID's first eight digits, three of the boot, one of the place.
/// At most 15 characters are allowed (IFNAMSIZ); the whole tag is in the link's alias.
pub fn link_name(zone: &Identity, place: usize) -> String {
    let uuid = zone.uuid.simple().to_string();
    format!("z{}{:03x}{:x}", uuid.get(..8).unwrap_or_default(), zone.boot & 0xfff, place & 0xf)
}
