//! Who may talk to whom, as one nftables table, replaced as a whole in one transaction.
//!
//! ```text
//! zone ─▶ zone_sent (eBPF): is it the zone's own address? ─▶ to the host:   input    ─▶ allowed? established?
//!                                                         └▶ to elsewhere:  forward  ─▶ allowed? established?
//! ```
//! Ports of the bridge are isolated from each other, so that what one zone sends to another goes through `forward`
//! too, where connections are tracked. A zone is known by its address here: at its link eBPF has seen to that.

use std::{
    fmt::Write as _,
    io::Write as _,
    net::IpAddr,
    process::{Command, Stdio},
};

use ipnet::IpNet;
use zoned_api::config::{Allow, Forward, Peer};

use super::{error::NetworkError, pool::Pools};
use crate::plan::{
    Identity,
    network::{Connection, Interface, NetworkPlan},
};

/// A zone whose network is up.
#[derive(Clone, Debug)]
pub(super) struct Live {
    /// By which others name it.
    pub zone: String,
    /// Its interfaces.
    pub interfaces: Vec<Interface>,
}

impl Live {
    /// A zone with the network of a boot.
    pub(super) fn of(zone: &Identity, plan: &NetworkPlan) -> Self {
        Self { zone: zone.name.to_string(), interfaces: plan.interfaces.clone() }
    }
}

/// What the rules are made of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scene<'a> {
    /// The bridge.
    pub bridge: &'a str,
    /// Interfaces of the host behind which the outside is.
    pub uplinks: &'a [String],
    /// The zones' networks.
    pub pools: &'a Pools,
}

/// Name of the table.
pub(super) fn table(bridge: &str) -> String {
    format!("zones-{bridge}")
}

/// Text for nft(8) that puts the rules into force, in place of whatever was.
pub(super) fn rules(scene: Scene<'_>, zones: &[&Live]) -> String {
    let table = table(scene.bridge);
    let mut text = removal(scene.bridge);
    let _ = writeln!(text, "table inet {table} {{");
    for chain in [input(scene, zones), output(scene), forward(scene, zones), nat(scene, zones)] {
        text.push_str(&chain);
    }
    text.push_str("}\n");
    text
}

/// Text that takes the rules away; right also where there are none.
pub(super) fn removal(bridge: &str) -> String {
    let table = table(bridge);
    format!("table inet {table}\ndelete table inet {table}\n")
}

/// Has nft carry out a text as one transaction.
pub(super) fn apply(text: &str) -> Result<(), NetworkError> {
    let mut nft = Command::new("nft");
    nft.args(["-f", "-"]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    // Daemons are often started without the folders of administrators.
    let path = std::env::var("PATH").unwrap_or_default();
    nft.env_clear().env("PATH", format!("{path}:/usr/sbin:/sbin"));
    let mut child = nft.spawn().map_err(NetworkError::NoNft)?;
    if let Some(mut input) = child.stdin.take() {
        // One that ends before it has read all says why.
        let _ = input.write_all(text.as_bytes());
    }
    let output = child.wait_with_output().map_err(NetworkError::NoNft)?;
    if output.status.success() {
        return Ok(());
    }
    let why = String::from_utf8_lossy(&output.stderr);
    Err(NetworkError::Nft(why.lines().next().unwrap_or("no reason given").to_owned()))
}

/// What is denied is answered at once: a connection by a reset, since the kernel sends no more than an ICMP error a
/// second to one address (`icmp_ratelimit`), and here none at first: a redirect, which `output` drops, counts as well.
const REFUSE: &str =
    "meta l4proto tcp counter reject with tcp reset\n    counter reject with icmpx admin-prohibited\n";

fn bridged<'a>(zones: &[&'a Live]) -> impl Iterator<Item = (&'a Interface, &'a [Allow], &'a [Forward])> {
    zones.iter().flat_map(|live| live.interfaces.iter()).filter_map(|interface| match &interface.to {
        Connection::Bridge { allow, forward } => Some((interface, allow.as_slice(), forward.as_slice())),
        Connection::Macvlan { .. } => None,
    })
}

fn addresses(interface: &Interface, v4: bool) -> Vec<IpAddr> {
    interface.addresses.iter().map(IpNet::addr).filter(|ip| ip.is_ipv4() == v4).collect()
}

fn set(ips: &[IpAddr]) -> String {
    format!("{{ {} }}", ips.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))
}

/// The `saddr` and, with a port, `dport` matches of a rule; one text for each family the interface has.
fn matches(interface: &Interface, allow: &Allow) -> Vec<(bool, String)> {
    let port =
        allow.port.map(|port| format!(" {} dport {port}", allow.protocol.as_str())).unwrap_or_default();
    let families = [(true, "ip"), (false, "ip6")].into_iter();
    let some = families.map(|(v4, word)| (v4, word, addresses(interface, v4))).filter(|f| !f.2.is_empty());
    some.map(|(v4, word, from)| (v4, format!("{word} saddr {}{port}", set(&from)))).collect()
}

/// To the host.
fn input(scene: Scene<'_>, zones: &[&Live]) -> String {
    let mut rules = String::new();
    for (interface, allow, _) in bridged(zones) {
        for allow in allow.iter().filter(|allow| allow.to == Peer::Global) {
            for (_, from) in matches(interface, allow) {
                let _ = writeln!(rules, "    {from} accept");
            }
        }
    }
    format!(
        "  chain input {{\n    type filter hook input priority filter; policy accept;\n    \
         iifname != \"{}\" accept\n    ct state established,related accept\n    \
         icmpv6 type {{ nd-neighbor-solicit, nd-neighbor-advert }} ip6 hoplimit 255 accept\n{rules}    \
         {REFUSE}  }}\n",
        scene.bridge
    )
}

/// From the host. Its kernel tells one zone that it could reach another straight (RFC 1122, 3.2.2.2): here it cannot.
fn output(scene: Scene<'_>) -> String {
    let bridge = scene.bridge;
    format!(
        "  chain output {{\n    type filter hook output priority filter; policy accept;\n    \
         oifname \"{bridge}\" icmp type redirect drop\n    oifname \"{bridge}\" icmpv6 type nd-redirect drop\n  }}\n"
    )
}

/// From zones to each other and to the outside, and in through forwarded ports.
fn forward(scene: Scene<'_>, zones: &[&Live]) -> String {
    let (bridge, outside) = (scene.bridge, names(scene.uplinks));
    let mut rules = String::new();
    for (interface, allow, _) in bridged(zones) {
        for allow in allow {
            for (v4, from) in matches(interface, allow) {
                let to = match &allow.to {
                    Peer::Global => continue,
                    Peer::Outside if scene.uplinks.is_empty() => continue,
                    Peer::Outside => format!("oifname {outside}"),
                    Peer::Zone(name) => {
                        let other: Vec<_> =
                            zones.iter().copied().filter(|l| l.zone == name.as_str()).collect();
                        let ips: Vec<_> = bridged(&other).flat_map(|(i, ..)| addresses(i, v4)).collect();
                        if ips.is_empty() {
                            continue;
                        }
                        format!("oifname \"{bridge}\" {} daddr {}", if v4 { "ip" } else { "ip6" }, set(&ips))
                    }
                };
                let _ = writeln!(rules, "    {to} {from} accept");
            }
        }
    }
    format!(
        "  chain forward {{\n    type filter hook forward priority filter; policy accept;\n    \
         iifname != \"{bridge}\" oifname != \"{bridge}\" accept\n    ct state established,related accept\n    \
         iifname != \"{bridge}\" ct status dnat accept\n    iifname != \"{bridge}\" counter drop\n{rules}    \
         {REFUSE}  }}\n"
    )
}

/// Addresses and ports that are not what they seem.
fn nat(scene: Scene<'_>, zones: &[&Live]) -> String {
    let (bridge, outside) = (scene.bridge, names(scene.uplinks));
    let forwards: Vec<String> =
        bridged(zones).flat_map(|(i, _, all)| all.iter().flat_map(|f| dnat(i, f))).collect();
    let forwards =
        |before: &str| forwards.iter().map(|rule| format!("    {before}{rule}\n")).collect::<String>();
    let from_outside =
        if scene.uplinks.is_empty() { String::new() } else { forwards(&format!("iifname {outside} ")) };
    let masquerade = if scene.uplinks.is_empty() {
        String::new()
    } else {
        format!(
            "    oifname {outside} ip saddr {} masquerade\n    oifname {outside} ip6 saddr {} masquerade\n",
            scene.pools.v4, scene.pools.v6
        )
    };
    // The bridge lets 127.0.0.1 out, for forwards from there (route_localnet); nothing may come in to it.
    format!(
        "  chain early {{\n    type filter hook prerouting priority raw; policy accept;\n    \
         iifname \"{bridge}\" ip daddr 127.0.0.0/8 counter drop\n  }}\n  \
         chain arrive {{\n    type nat hook prerouting priority dstnat; policy accept;\n{from_outside}  }}\n  \
         chain begin {{\n    type nat hook output priority -100; policy accept;\n{}  }}\n  \
         chain leave {{\n    type nat hook postrouting priority srcnat; policy accept;\n    \
         oifname \"{bridge}\" ip saddr 127.0.0.0/8 masquerade\n{masquerade}  }}\n",
        forwards("")
    )
}

/// The rules of one forward, one for each family both ends have.
fn dnat(interface: &Interface, forward: &Forward) -> Vec<String> {
    let (protocol, listen) = (forward.protocol.as_str(), forward.listen);
    let to = forward.to.unwrap_or(forward.listen);
    let families =
        [true, false].into_iter().filter(|v4| forward.address.is_none_or(|ip| ip.is_ipv4() == *v4));
    families
        .filter_map(|v4| {
            let (family, word) = if v4 { ("ipv4", "ip") } else { ("ipv6", "ip6") };
            let at = match forward.address {
                Some(ip) => format!("{word} daddr {ip}"),
                None => format!("meta nfproto {family} fib daddr type local"),
            };
            let target = match addresses(interface, v4).first()? {
                IpAddr::V4(ip) => format!("{ip}:{to}"),
                IpAddr::V6(ip) => format!("[{ip}]:{to}"),
            };
            Some(format!("{at} {protocol} dport {listen} dnat {word} to {target}"))
        })
        .collect()
}

fn names(links: &[String]) -> String {
    format!("{{ {} }}", links.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use zoned_api::ZoneConfig;

    use super::*;

    fn live(zone: &str, place: u8, net: &str) -> Live {
        let config = ZoneConfig::parse(&format!("zone: {zone}\nnet: [{{ {net} }}]")).unwrap();
        let net = &config.net[0];
        Live {
            zone: zone.into(),
            interfaces: vec![Interface {
                name: "net0".into(),
                link: format!("z{place}"),
                mac: format!("02:00:00:00:00:0{place}").parse().unwrap(),
                addresses: vec![
                    format!("10.77.0.{place}/16").parse().unwrap(),
                    format!("fd00::{place}/64").parse().unwrap(),
                ],
                to: Connection::Bridge { allow: net.allow.clone(), forward: net.forward.clone() },
            }],
        }
    }

    fn text(uplinks: &[&str], zones: &[Live]) -> String {
        let pools = Pools { v4: "10.77.0.0/16".parse().unwrap(), v6: "fd00::/64".parse().unwrap() };
        let uplinks: Vec<String> = uplinks.iter().map(ToString::to_string).collect();
        rules(Scene { bridge: "zones0", uplinks: &uplinks, pools: &pools }, &zones.iter().collect::<Vec<_>>())
    }

    #[test]
    fn who_is_not_named_is_not_let_through() {
        let all = [live("a", 2, "allow: [{ to: b, port: 80 }, { to: absent }]"), live("b", 3, "")];
        let text = text(&[], &all);
        assert!(text.contains(
            "oifname \"zones0\" ip daddr { 10.77.0.3 } ip saddr { 10.77.0.2 } tcp dport 80 accept"
        ));
        assert!(text.contains("ip6 daddr { fd00::3 } ip6 saddr { fd00::2 } tcp dport 80 accept"));
        assert!(!text.contains("ip saddr { 10.77.0.3 } tcp"), "b may open nothing");
        assert!(!text.contains("masquerade\n    oifname {"), "without an uplink there is no way out");
    }

    #[test]
    fn a_port_leads_where_it_should_from_the_outside_and_from_here() {
        let all = [live(
            "a",
            2,
            "forward: [{ listen: 8080, to: 80 }, { listen: 53, protocol: udp, address: 192.0.2.1 }]",
        )];
        let text = text(&["eth0"], &all);
        assert!(text.contains("iifname { \"eth0\" } meta nfproto ipv4 fib daddr type local tcp dport 8080 dnat ip to 10.77.0.2:80"));
        assert!(
            text.contains(
                "    meta nfproto ipv6 fib daddr type local tcp dport 8080 dnat ip6 to [fd00::2]:80"
            )
        );
        assert!(text.contains("ip daddr 192.0.2.1 udp dport 53 dnat ip to 10.77.0.2:53"));
        assert!(!text.contains("udp dport 53 dnat ip6"));
    }

    #[test]
    fn nft_takes_every_rule() {
        let all = [
            live(
                "a",
                2,
                "allow: [{ to: b }, { to: global, port: 53, protocol: udp }, { to: outside }], forward: [{ listen: 80 }]",
            ),
            live("b", 3, "forward: [{ listen: 81, to: 80, address: 'fd01::1' }]"),
        ];
        for text in [text(&["eth0", "eth1"], &all), text(&[], &[])] {
            let nft = Command::new("/usr/sbin/nft")
                .args(["-c", "-f", "-"])
                .stdin(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn();
            // The table is only checked, but even that takes root and the program.
            let Ok(mut nft) = nft else { return };
            nft.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
            let output = nft.wait_with_output().unwrap();
            let why = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.success() || why.contains("not permitted"), "{why}\n{text}");
        }
    }
}
