//! Interfaces that contradict themselves or each other.

use std::collections::BTreeSet;

use super::{Allow, MAX_INTERFACES, Net, NetAddress, NetMode, Peer, Resolver, ZoneConfig, is_interface_name};
use crate::error::ApiError;

impl ZoneConfig {
    /// Refuses a network that no host could give a zone.
    pub(in crate::config) fn check_net(&self) -> Result<(), ApiError> {
        check_resolver(&self.resolver)?;
        if self.net.len() > MAX_INTERFACES {
            let why = format!("{} interfaces are too many", self.net.len());
            return Err(fault("net", why, "give 8 at most"));
        }
        let mut taken = Taken::default();
        self.net.iter().enumerate().try_for_each(|(i, net)| {
            taken.take(i, net)?;
            self.check_interface(i, net)
        })
    }

    fn check_interface(&self, i: usize, net: &Net) -> Result<(), ApiError> {
        if let Some(part) = meaningless(net) {
            let why = format!("means nothing with mode {}", net.mode.as_str());
            return Err(fault(&key(i, part), why, "take it out, or change the mode"));
        }
        if !is_link(net.mode) && self.net.len() > 1 {
            let why = format!("mode {} stands for all of a zone's network", net.mode.as_str());
            return Err(fault(&key(i, ".mode"), why, "make it the only entry"));
        }
        if net.mode == NetMode::Macvlan {
            check_macvlan(i, net)?;
        }
        let own = |allow: &Allow| allow.to == Peer::Zone(self.zone.clone());
        if net.allow.iter().any(own) {
            return Err(fault(&key(i, ".allow"), "is the zone itself".into(), "name another one"));
        }
        let all = self.net.iter().flat_map(|net| &net.forward);
        for forward in &net.forward {
            if all.clone().filter(|other| forward.meets(other)).count() > 1 {
                return Err(fault(&key(i, ".forward"), format!("{forward} is given twice"), "give it once"));
            }
        }
        Ok(())
    }
}

fn check_resolver(resolver: &Resolver) -> Result<(), ApiError> {
    if resolver.servers.len() > 3 || resolver.search.len() > 6 {
        let why = "more than programs look at".to_owned();
        return Err(fault("resolver", why, "give three servers and six domains at most"));
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    match resolver.search.iter().find(|domain| domain.is_empty() || !domain.chars().all(plain)) {
        Some(domain) => {
            Err(fault("resolver.search", format!("{domain:?} is no domain"), "use a-z 0-9 - . _"))
        }
        None => Ok(()),
    }
}

/// What the interfaces before have.
#[derive(Default)]
struct Taken {
    names: BTreeSet<String>,
    addresses: BTreeSet<std::net::IpAddr>,
    macs: BTreeSet<super::Mac>,
}

impl Taken {
    fn take(&mut self, i: usize, net: &Net) -> Result<(), ApiError> {
        let name = net.name_at(i);
        if !is_interface_name(&name) || name == "lo" {
            let why = format!("{name:?} is no name of an interface");
            return Err(fault(&key(i, ".name"), why, "use 1 to 15 of a-z A-Z 0-9 _ -, and not lo"));
        }
        if !self.names.insert(name.clone()) {
            return Err(fault(&key(i, ".name"), format!("{name} is another one's"), "give each its own"));
        }
        for address in &net.address {
            if let NetAddress::Fixed(fixed) = address
                && !self.addresses.insert(fixed.addr())
            {
                let why = format!("{} is given twice", fixed.addr());
                return Err(fault(&key(i, ".address"), why, "give each address once"));
            }
        }
        if net.mac.is_some_and(|mac| !self.macs.insert(mac)) {
            return Err(fault(&key(i, ".mac"), "is another one's".into(), "give each its own, or none"));
        }
        Ok(())
    }
}

/// Whether there is an interface to be made.
fn is_link(mode: NetMode) -> bool {
    matches!(mode, NetMode::Bridge | NetMode::Macvlan)
}

/// The first key that is given and has no meaning with the mode.
fn meaningless(net: &Net) -> Option<&'static str> {
    let (macvlan, bridge, link) =
        (net.mode == NetMode::Macvlan, net.mode == NetMode::Bridge, is_link(net.mode));
    [
        (".parent", net.parent.is_some(), macvlan),
        (".gateway", !net.gateway.is_empty(), macvlan),
        (".allow", !net.allow.is_empty(), bridge),
        (".forward", !net.forward.is_empty(), bridge),
        (".address", !net.address.is_empty(), link),
        (".mac", net.mac.is_some(), link),
        (".name", net.name.is_some(), link),
    ]
    .into_iter()
    .find_map(|(part, given, fits)| (given && !fits).then_some(part))
}

fn check_macvlan(i: usize, net: &Net) -> Result<(), ApiError> {
    if net.parent.as_deref().is_none_or(|parent| !is_interface_name(&parent.replace('.', "_"))) {
        let why = "a macvlan is on an interface of the host".to_owned();
        return Err(fault(&key(i, ".parent"), why, "name it, like parent: eth0"));
    }
    if net.address.iter().any(|a| !matches!(a, NetAddress::Fixed(_))) {
        let why = "zoned has no addresses of somebody else's network".to_owned();
        return Err(fault(&key(i, ".address"), why, "write them out, like 192.0.2.10/24"));
    }
    for gateway in &net.gateway {
        let near = |a: &NetAddress| matches!(a, NetAddress::Fixed(net) if net.contains(gateway));
        if !net.address.iter().any(near) {
            let why = format!("{gateway} is in no network of this interface");
            return Err(fault(&key(i, ".gateway"), why, "give an address in the same network"));
        }
    }
    Ok(())
}

/// The key of a part of the interface at a place of the list.
fn key(i: usize, part: &str) -> String {
    format!("net[{i}]{part}")
}

fn fault(key: &str, why: String, hint: &str) -> ApiError {
    ApiError::invalid(format!("configuration: {key}: {why}"), Some(hint.to_owned()))
}

#[cfg(test)]
mod tests {
    use crate::config::net::tests::parsed;

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
            let why = parsed(net).map(drop).unwrap_err();
            assert!(why.contains(want), "{net}: {why}");
        }
    }
}
