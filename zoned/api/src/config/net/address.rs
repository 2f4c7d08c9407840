//! Addresses of an interface, in the forms a configuration has them.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
    str::FromStr,
};

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_link_local_address_is_the_kernels() {
        let mac: Mac = "02:00:5e:10:00:01".parse().unwrap();
        assert_eq!(mac.link_local().to_string(), "fe80::5eff:fe10:1");
    }
}
