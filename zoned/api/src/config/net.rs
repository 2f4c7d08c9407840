//! Interfaces of a zone, and who may talk to whom.

mod address;
mod check;

use std::{fmt, net::IpAddr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::address::{Mac, NetAddress};
use super::{ZoneConfig, is_default};
use crate::name::ZoneName;

/// Most interfaces a zone has, beside `lo`.
pub const MAX_INTERFACES: usize = 8;

/// One interface of a zone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Net {
    /// Name inside, 1 to 15 of `a-z A-Z 0-9 _ -`; `net` and its place in the list if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// How it is connected.
    #[serde(default, skip_serializing_if = "is_default")]
    pub mode: NetMode,
    /// Addresses: `10.77.0.10/16`, `fd00::10/64`, or `ipv4` and `ipv6` for one of the zones' own network. With
    /// `bridge`, `[ipv4, ipv6]` if none are given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub address: Vec<NetAddress>,
    /// Hardware address; derived from the zone's identity if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<Mac>,
    /// Interface of the host that a `macvlan` is on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// Where a `macvlan` sends what is not for its own network, one of each family at most.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gateway: Vec<IpAddr>,
    /// To whom the zone may open connections through this interface; to nobody if none. Only with `bridge`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<Allow>,
    /// Ports of the host that lead to this interface. Only with `bridge`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub forward: Vec<Forward>,
}

/// Who tells a zone the addresses of names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Resolver {
    /// Servers, three at most (resolv.conf(5)); the host's if none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub servers: Vec<IpAddr>,
    /// Domains in which short names are looked up, six at most.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub search: Vec<String>,
}

/// How an interface is connected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum NetMode {
    /// To the zones' own bridge, behind the host's firewall.
    #[default]
    Bridge,
    /// To the network of an interface of the host, beside the host's firewall. Root-equivalent.
    Macvlan,
    /// The host's own interfaces, no namespace. The only entry then. Root-equivalent.
    Host,
    /// Not at all: `lo` alone. The only entry then, and the same as an empty list.
    None,
}

impl NetMode {
    /// The word in a configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            NetMode::Bridge => "bridge",
            NetMode::Macvlan => "macvlan",
            NetMode::Host => "host",
            NetMode::None => "none",
        }
    }
}
/// Somebody the zone may open connections to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Allow {
    /// Name of another zone, `global` (the host) or `outside` (beyond the host's uplinks).
    pub to: Peer,
    /// Port; all, and every protocol, if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<Port>,
    /// Protocol of the port.
    #[serde(default, skip_serializing_if = "is_default")]
    pub protocol: Protocol,
}

/// The other end of a connection.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub enum Peer {
    /// The host.
    Global,
    /// Beyond the host's uplinks.
    Outside,
    /// Another zone.
    Zone(ZoneName),
}

impl TryFrom<String> for Peer {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.as_str() {
            "global" => Ok(Self::Global),
            "outside" => Ok(Self::Outside),
            _ => text.parse().map(Self::Zone).map_err(|e: crate::name::NameError| e.to_string()),
        }
    }
}

impl From<Peer> for String {
    fn from(peer: Peer) -> String {
        match peer {
            Peer::Global => "global".into(),
            Peer::Outside => "outside".into(),
            Peer::Zone(name) => name.to_string(),
        }
    }
}

/// A port of the host that leads to a zone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Forward {
    /// Port of the host.
    pub listen: Port,
    /// Port of the zone; the same if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Port>,
    /// Protocol.
    #[serde(default, skip_serializing_if = "is_default")]
    pub protocol: Protocol,
    /// Address of the host; all of its addresses if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
}

impl Forward {
    /// Whether both want the same port of the same address.
    pub fn meets(&self, other: &Self) -> bool {
        let same = |a: Option<IpAddr>, b: Option<IpAddr>| a.is_none() || b.is_none() || a == b;
        (self.listen, self.protocol) == (other.listen, other.protocol) && same(self.address, other.address)
    }
}

impl fmt::Display for Forward {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.listen, self.protocol.as_str())
    }
}

/// A port, 1 to 65535.
pub type Port = std::num::NonZeroU16;

/// A protocol with ports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// TCP.
    #[default]
    Tcp,
    /// UDP.
    Udp,
}

impl Protocol {
    /// The word in a configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        }
    }
}

impl Net {
    /// Name inside, of the interface at this place of the list.
    pub fn name_at(&self, place: usize) -> String {
        self.name.clone().unwrap_or_else(|| format!("net{place}"))
    }

    /// Addresses, with what is meant where none are given.
    pub fn addresses(&self) -> Vec<NetAddress> {
        match (self.mode, self.address.is_empty()) {
            (NetMode::Bridge, true) => vec![NetAddress::Ipv4, NetAddress::Ipv6],
            _ => self.address.clone(),
        }
    }
}

impl ZoneConfig {
    /// Whether the zone has interfaces that must be made for it.
    pub fn has_links(&self) -> bool {
        self.net.iter().any(|net| matches!(net.mode, NetMode::Bridge | NetMode::Macvlan))
    }

    /// Whether the zone has no network namespace of its own.
    pub fn is_on_host_network(&self) -> bool {
        self.net.iter().any(|net| net.mode == NetMode::Host)
    }
}

/// Whether the kernel takes it as the name of an interface, and nothing else reads more into it.
pub fn is_interface_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    (1..=15).contains(&name.len()) && !name.starts_with('-') && name.chars().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn parsed(net: &str) -> Result<ZoneConfig, String> {
        ZoneConfig::parse(&format!("zone: a\nnet: {net}")).map_err(|e| e.to_string())
    }

    #[test]
    fn an_interface_without_a_word_is_a_bridged_one_with_two_addresses() {
        let config = parsed("[{}]").unwrap();
        assert_eq!(config.net[0].mode, NetMode::Bridge);
        assert_eq!(config.net[0].name_at(0), "net0");
        assert_eq!(config.net[0].addresses(), [NetAddress::Ipv4, NetAddress::Ipv6]);
        assert!(config.has_links() && !parsed("[]").unwrap().has_links());
        assert!(!parsed("[{ mode: none }]").unwrap().has_links());
    }

    #[test]
    fn all_of_it_survives_its_text() {
        let text = "[{ name: net0, address: [10.77.0.10/16, ipv6], mac: '02:00:5e:10:00:01', \
                    allow: [{ to: db, port: 5432 }, { to: outside }, { to: global, port: 53, protocol: udp }], \
                    forward: [{ listen: 8080, to: 80 }, { listen: 53, protocol: udp, address: 192.0.2.1 }] }, \
                    { mode: macvlan, parent: eth0.5, address: [192.0.2.9/24], gateway: [192.0.2.1] }]";
        let config = parsed(text).unwrap();
        assert_eq!(ZoneConfig::parse(&config.to_yaml().unwrap()).unwrap(), config);
    }

    #[test]
    fn forwards_meet_where_one_of_them_means_every_address() {
        let forward = |address: Option<&str>, protocol| Forward {
            listen: Port::new(80).unwrap(),
            to: None,
            protocol,
            address: address.map(|a| a.parse().unwrap()),
        };
        let (all, one, two) = (
            forward(None, Protocol::Tcp),
            forward(Some("192.0.2.1"), Protocol::Tcp),
            forward(Some("192.0.2.2"), Protocol::Tcp),
        );
        assert!(all.meets(&one) && one.meets(&all) && !one.meets(&two));
        assert!(!all.meets(&forward(None, Protocol::Udp)));
    }
}
