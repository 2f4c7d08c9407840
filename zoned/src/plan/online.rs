//! When a boot counts as online, as data.

use std::net::SocketAddr;

use brands::detect::InitKind;
use serde::{Deserialize, Serialize};
use zoned_api::{ZoneConfig, config::DEFAULT_TIMEOUT};

use super::network::{Connection, NetworkPlan};

/// Where a zone's program finds the socket of sd_notify(3), in its own `/run`: where systemd-nspawn(1) has it too.
pub const NOTIFY_SOCKET: &str = "/run/host/notify";

/// When a boot counts as online.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OnlinePlan {
    /// By what.
    pub by: By,
    /// Seconds in which it should be.
    pub timeout: u32,
}

/// By what a zone counts as online.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "kebab-case")]
pub enum By {
    /// It runs.
    Running,
    /// Its program says `READY=1` at [`NOTIFY_SOCKET`].
    Notify,
    /// A connection to it is taken.
    Port {
        /// Address and TCP port.
        address: SocketAddr,
    },
}

impl Default for OnlinePlan {
    fn default() -> Self {
        Self { by: By::Running, timeout: DEFAULT_TIMEOUT }
    }
}

impl OnlinePlan {
    /// By configuration, kind of init, and what the zone is given of the network. Of all inits systemd alone is known to
    /// say when it is up (systemd(1), $NOTIFY_SOCKET); whether what answers at a forwarded port tells more than that the
    /// zone runs is known to who configured it.
    pub fn new(config: &ZoneConfig, init: InitKind, network: &NetworkPlan) -> Self {
        let by = match (config.online.notify, config.online.port) {
            (Some(true), _) => By::Notify,
            (Some(false), _) => By::Running,
            // The configuration has been checked for a bridge.
            (None, Some(port)) => first_address(network)
                .map_or(By::Running, |ip| By::Port { address: SocketAddr::new(ip, port.get()) }),
            (None, None) if init == InitKind::Systemd => By::Notify,
            (None, None) => By::Running,
        };
        Self { by, timeout: config.online.counted_timeout() }
    }
}

/// First address of the first interface on the bridge: the host reaches no other.
fn first_address(network: &NetworkPlan) -> Option<std::net::IpAddr> {
    let mut bridged = network.interfaces.iter().filter(|i| matches!(i.to, Connection::Bridge { .. }));
    bridged.find_map(|interface| interface.addresses.first()).map(|net| net.addr())
}

#[cfg(test)]
mod tests {
    use super::{super::network::Interface, *};

    fn of(more: &str, init: InitKind) -> By {
        let config = ZoneConfig::parse(&format!("zone: a\n{more}")).unwrap();
        let on = |to, address: &str| Interface {
            name: "n".into(),
            link: "l".into(),
            mac: "02:00:5e:10:00:01".parse().unwrap(),
            addresses: vec![address.parse().unwrap(), "fd00::2/64".parse().unwrap()],
            to,
        };
        let macvlan = Connection::Macvlan { parent: "eth0".into(), gateway: vec![], number: 100 };
        let bridge = Connection::Bridge { allow: vec![], forward: vec![] };
        let interfaces = vec![on(macvlan, "192.0.2.9/24"), on(bridge, "10.77.0.2/16")];
        OnlinePlan::new(&config, init, &NetworkPlan { interfaces, ..NetworkPlan::default() }).by
    }

    #[test]
    fn what_is_configured_goes_before_what_the_init_is_known_for() {
        let port = By::Port { address: "10.77.0.2:80".parse().unwrap() };
        let image = "root: { image: debian:bookworm }\n";
        assert_eq!(of("online: { port: 80 }\nnet: [{}]", InitKind::Builtin), port);
        assert_eq!(of("online: { port: 80 }\nnet: [{}]", InitKind::Systemd), port);
        assert_eq!(of(&format!("{image}online: {{ notify: true }}"), InitKind::Sysvinit), By::Notify);
        assert_eq!(of(&format!("{image}online: {{ notify: false }}"), InitKind::Systemd), By::Running);
        assert_eq!(of(image, InitKind::Systemd), By::Notify);
        assert_eq!(of(image, InitKind::Openrc), By::Running);
        assert_eq!(of("net: [{ forward: [{ listen: 80 }] }]", InitKind::Builtin), By::Running);
    }
}
