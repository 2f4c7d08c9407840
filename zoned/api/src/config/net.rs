//! Interfaces of a zone, and who may talk to whom.

use std::{
    collections::BTreeSet,
    fmt,
    net::{IpAddr, Ipv6Addr},
    str::FromStr,
};

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ZoneConfig, is_default};
use crate::{error::ApiError, name::ZoneName};

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

/// An address of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub enum NetAddress {
    /// `ipv4`: a free one, kept for as long as the zone exists.
    Ipv4,
    /// `ipv6`: likewise.
    Ipv6,
    /// As it is written.
    Fixed(IpNet),
}

impl TryFrom<String> for NetAddress {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.as_str() {
            "ipv4" => return Ok(Self::Ipv4),
            "ipv6" => return Ok(Self::Ipv6),
            _ => {}
        }
        let fault = |why: &str| {
            Err(format!("address {text:?} {why}; write 10.77.0.10/16, fd00::10/64, ipv4 or ipv6"))
        };
        let Ok(net) = text.parse::<IpNet>() else { return fault("is none with its prefix length") };
        let ip = net.addr();
        if ip.is_unspecified() || ip.is_multicast() || ip.is_loopback() || link_local(ip) {
            return fault("is not one that an interface can be given");
        }
        let edge = matches!(net, IpNet::V4(n) if n.prefix_len() < 31 && (n.addr() == n.network() || n.addr() == n.broadcast()));
        if edge || (net.addr() == net.network() && net.addr().is_ipv6() && net.prefix_len() < 127) {
            return fault("is the network itself, or its broadcast address");
        }
        Ok(Self::Fixed(net))
    }
}

fn link_local(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local())
}

impl From<NetAddress> for String {
    fn from(address: NetAddress) -> String {
        address.to_string()
    }
}

impl fmt::Display for NetAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NetAddress::Ipv4 => f.write_str("ipv4"),
            NetAddress::Ipv6 => f.write_str("ipv6"),
            NetAddress::Fixed(net) => net.fmt(f),
        }
    }
}

/// A hardware address of one interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// The link-local address the kernel derives from it (RFC 4291, appendix A).
    pub fn link_local(self) -> Ipv6Addr {
        let [a, b, c, d, e, f] = self.0;
        Ipv6Addr::from([0xfe, 0x80, 0, 0, 0, 0, 0, 0, a ^ 2, b, c, 0xff, 0xfe, d, e, f])
    }
}

impl FromStr for Mac {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let fault = |why: &str| format!("hardware address {text:?} {why}; write one like 02:00:5e:10:00:01");
        let mut mac = [0; 6];
        let mut parts = text.split(':');
        for byte in &mut mac {
            let part = parts.next().filter(|part| part.len() == 2).unwrap_or_default();
            *byte = u8::from_str_radix(part, 16).map_err(|_| fault("is none"))?;
        }
        if parts.next().is_some() {
            return Err(fault("is none"));
        }
        if mac[0] & 1 == 1 || mac == [0; 6] {
            return Err(fault("is not that of one interface"));
        }
        Ok(Self(mac))
    }
}

impl TryFrom<String> for Mac {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Mac> for String {
    fn from(mac: Mac) -> String {
        mac.to_string()
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
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

    pub(super) fn check_net(&self) -> Result<(), ApiError> {
        if self.resolver.servers.len() > 3 || self.resolver.search.len() > 6 {
            let why = "more than programs look at".to_owned();
            return Err(fault("resolver", why, "give three servers and six domains at most"));
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
        if let Some(domain) = self.resolver.search.iter().find(|d| d.is_empty() || !d.chars().all(plain)) {
            return Err(fault("resolver.search", format!("{domain:?} is no domain"), "use a-z 0-9 - . _"));
        }
        if self.net.len() > MAX_INTERFACES {
            return Err(fault(
                "net",
                format!("{} interfaces are too many", self.net.len()),
                "give 8 at most",
            ));
        }
        let (mut names, mut addresses, mut macs) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        for (i, net) in self.net.iter().enumerate() {
            let key = |part: &str| format!("net[{i}]{part}");
            let name = net.name_at(i);
            if !is_interface_name(&name) || name == "lo" {
                let why = format!("{name:?} is no name of an interface");
                return Err(fault(&key(".name"), why, "use 1 to 15 of a-z A-Z 0-9 _ -, and not lo"));
            }
            if !names.insert(name.clone()) {
                return Err(fault(&key(".name"), format!("{name} is another one's"), "give each its own"));
            }
            for address in &net.address {
                if let NetAddress::Fixed(fixed) = address
                    && !addresses.insert(fixed.addr())
                {
                    let why = format!("{} is given twice", fixed.addr());
                    return Err(fault(&key(".address"), why, "give each address once"));
                }
            }
            if net.mac.is_some_and(|mac| !macs.insert(mac)) {
                return Err(fault(&key(".mac"), "is another one's".into(), "give each its own, or none"));
            }
            self.check_mode(i, net)?;
        }
        Ok(())
    }

    fn check_mode(&self, i: usize, net: &Net) -> Result<(), ApiError> {
        let key = |part: &str| format!("net[{i}]{part}");
        let mode = net.mode.as_str();
        let unfit = |part: &str| {
            Err(fault(
                &key(part),
                format!("means nothing with mode {mode}"),
                "take it out, or change the mode",
            ))
        };
        let (filtered, linked) =
            (net.mode == NetMode::Bridge, matches!(net.mode, NetMode::Bridge | NetMode::Macvlan));
        let given = [
            (".parent", net.parent.is_some() && net.mode != NetMode::Macvlan),
            (".gateway", !net.gateway.is_empty() && net.mode != NetMode::Macvlan),
            (".allow", !net.allow.is_empty() && !filtered),
            (".forward", !net.forward.is_empty() && !filtered),
            (".address", !net.address.is_empty() && !linked),
            (".mac", net.mac.is_some() && !linked),
            (".name", net.name.is_some() && !linked),
        ];
        if let Some((part, _)) = given.into_iter().find(|(_, wrong)| *wrong) {
            return unfit(part);
        }
        if !linked && self.net.len() > 1 {
            let why = format!("mode {mode} stands for all of a zone's network");
            return Err(fault(&key(".mode"), why, "make it the only entry"));
        }
        if net.mode == NetMode::Macvlan {
            if net.parent.as_deref().is_none_or(|parent| !is_interface_name(&parent.replace('.', "_"))) {
                let why = "a macvlan is on an interface of the host".to_owned();
                return Err(fault(&key(".parent"), why, "name it, like parent: eth0"));
            }
            if net.address.iter().any(|a| !matches!(a, NetAddress::Fixed(_))) {
                let why = "zoned has no addresses of somebody else's network".to_owned();
                return Err(fault(&key(".address"), why, "write them out, like 192.0.2.10/24"));
            }
            for gateway in &net.gateway {
                let near = |a: &NetAddress| matches!(a, NetAddress::Fixed(net) if net.contains(gateway));
                if !net.address.iter().any(near) {
                    let why = format!("{gateway} is in no network of this interface");
                    return Err(fault(&key(".gateway"), why, "give an address in the same network"));
                }
            }
        }
        let own = |allow: &&Allow| allow.to == Peer::Zone(self.zone.clone());
        if net.allow.iter().any(|allow| own(&allow)) {
            return Err(fault(&key(".allow"), "is the zone itself".into(), "name another one"));
        }
        let all = self.net.iter().flat_map(|net| &net.forward);
        for forward in &net.forward {
            if all.clone().filter(|other| forward.meets(other)).count() > 1 {
                return Err(fault(&key(".forward"), format!("{forward} is given twice"), "give it once"));
            }
        }
        Ok(())
    }
}

/// Whether the kernel takes it as the name of an interface, and nothing else reads more into it.
pub fn is_interface_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    (1..=15).contains(&name.len()) && !name.starts_with('-') && name.chars().all(plain)
}

fn fault(key: &str, why: String, hint: &str) -> ApiError {
    ApiError::invalid(format!("configuration: {key}: {why}"), Some(hint.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(net: &str) -> Result<ZoneConfig, String> {
        ZoneConfig::parse(&format!("zone: a\nnet: {net}")).map_err(|e| e.to_string())
    }

    #[test]
    fn an_interface_without_a_word_is_a_bridged_one_with_two_addresses() {
        let config = with("[{}]").unwrap();
        assert_eq!(config.net[0].mode, NetMode::Bridge);
        assert_eq!(config.net[0].name_at(0), "net0");
        assert_eq!(config.net[0].addresses(), [NetAddress::Ipv4, NetAddress::Ipv6]);
        assert!(config.has_links() && !with("[]").unwrap().has_links());
        assert!(!with("[{ mode: none }]").unwrap().has_links());
    }

    #[test]
    fn all_of_it_survives_its_text() {
        let text = "[{ name: net0, address: [10.77.0.10/16, ipv6], mac: '02:00:5e:10:00:01', \
                    allow: [{ to: db, port: 5432 }, { to: outside }, { to: global, port: 53, protocol: udp }], \
                    forward: [{ listen: 8080, to: 80 }, { listen: 53, protocol: udp, address: 192.0.2.1 }] }, \
                    { mode: macvlan, parent: eth0.5, address: [192.0.2.9/24], gateway: [192.0.2.1] }]";
        let config = with(text).unwrap();
        assert_eq!(ZoneConfig::parse(&config.to_yaml().unwrap()).unwrap(), config);
    }

    #[test]
    fn what_cannot_be_is_refused_with_its_key() {
        for (net, want) in [
            ("[{ address: [10.77.0.10] }]", "prefix length"),
            ("[{ address: [10.77.0.0/16] }]", "network itself"),
            ("[{ address: [127.0.0.1/8] }]", "not one that an interface"),
            ("[{ address: [10.1.0.1/16, 10.1.0.1/24] }]", "net[0].address: 10.1.0.1 is given twice"),
            ("[{ name: lo }]", "net[0].name"),
            ("[{ name: net1 }, {}]", "net[1].name: net1 is another one's"),
            ("[{ name: way-too-long-a-name }]", "net[0].name"),
            ("[{ mac: '01:00:5e:00:00:01' }]", "not that of one interface"),
            ("[{ mac: '2:0:0:0:0:1' }]", "is none"),
            ("[{ mode: host }, {}]", "stands for all"),
            ("[{ mode: none, address: [10.1.0.1/16] }]", "net[0].address: means nothing with mode none"),
            ("[{ parent: eth0 }]", "net[0].parent: means nothing with mode bridge"),
            ("[{ mode: macvlan }]", "net[0].parent"),
            ("[{ mode: macvlan, parent: eth0, address: [ipv4] }]", "somebody else's network"),
            ("[{ mode: macvlan, parent: eth0, forward: [{ listen: 1 }] }]", "net[0].forward"),
            ("[{ mode: macvlan, parent: e, address: [10.1.0.2/16], gateway: [10.2.0.1] }]", "net[0].gateway"),
            ("[{ allow: [{ to: a }] }]", "is the zone itself"),
            ("[{ allow: [{ to: ../x }] }]", "begins with a letter"),
            ("[{ forward: [{ listen: 80 }, { listen: 80, to: 8080 }] }]", "80/tcp is given twice"),
            ("[{ forward: [{ listen: 0 }] }]", "from 1 to 65535"),
            ("[{ forward: [{ listen: 65536 }] }]", "65536"),
            ("[{},{},{},{},{},{},{},{},{}]", "too many"),
            ("[]\nresolver: { search: ['a b'] }", "is no domain"),
            ("[]\nresolver: { servers: [1.1.1.1, 1.1.1.2, 1.1.1.3, 1.1.1.4] }", "more than programs"),
        ] {
            let why = with(net).map(drop).unwrap_err();
            assert!(why.contains(want), "{net}: {why}");
        }
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

    #[test]
    fn the_link_local_address_is_the_kernels() {
        let mac: Mac = "02:00:5e:10:00:01".parse().unwrap();
        assert_eq!(mac.link_local().to_string(), "fe80::5eff:fe10:1");
    }
}
