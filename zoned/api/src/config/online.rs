//! When a zone counts as online: not merely running, but up.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{NetMode, Port, ZoneConfig};
use crate::error::ApiError;

/// Seconds in which a zone should be online, if its configuration does not say: systemd's own for a service
/// (DefaultTimeoutStartSec=, systemd-system.conf(5)).
pub const DEFAULT_TIMEOUT: u32 = 90;

/// Most seconds that a configuration can say: a day.
const MAX_TIMEOUT: u32 = 86_400;

/// When a zone counts as online. One of `notify` and `port` at most; if neither is given, a root whose init is systemd is
/// online when that says so, any other as soon as it runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(extend("examples" = [{ "port": 80 }, { "notify": true }]))]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Online {
    /// When its init, or the command of the built-in one, says `READY=1` (sd_notify(3)); with `false` as soon as it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notify: Option<bool>,
    /// When the first address of its first interface on the zones' bridge takes a connection at this TCP port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<Port>,
    /// Seconds in which that should be so, 1 to 86400, and 90 if not given: how long others wait for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<u32>,
}

impl Online {
    /// Seconds in which it should be online.
    pub fn counted_timeout(&self) -> u32 {
        self.timeout.unwrap_or(DEFAULT_TIMEOUT)
    }
}

impl ZoneConfig {
    pub(super) fn check_online(&self) -> Result<(), ApiError> {
        let bad = |key: &str, why: String, hint: &str| {
            Err(ApiError::invalid(format!("configuration: {key}: {why}"), Some(hint.to_owned())))
        };
        let Online { notify, port, timeout } = self.online;
        if notify.is_some() && port.is_some() {
            return bad("online", "notify and port contradict each other".into(), "give one of them");
        }
        if port.is_some() && !self.net.iter().any(|net| net.mode == NetMode::Bridge) {
            let why = "the zone has no interface on the zones' bridge, whose address could be tried".into();
            return bad("online.port", why, "give it one, like net: [{}], or say notify: true");
        }
        if notify == Some(true) && self.has_builtin_init() && self.process.command.is_empty() {
            let why = "nothing runs in the zone that could say so".into();
            return bad("online.notify", why, "give process.command or process.init, or take the key away");
        }
        if self.process.env.contains_key("NOTIFY_SOCKET") {
            let why = "NOTIFY_SOCKET is zoned's to set".into();
            return bad("process.env", why, "say online: { notify: true } instead");
        }
        match timeout.filter(|seconds| !(1..=MAX_TIMEOUT).contains(seconds)) {
            Some(seconds) => bad(
                "online.timeout",
                format!("{seconds} is not between 1 and {MAX_TIMEOUT} seconds"),
                "give another number, or take the key away for 90",
            ),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::parse::tests::fault, *};

    #[test]
    fn what_could_never_be_is_refused() {
        let bridge = "net: [{ mode: bridge }]";
        for (more, says) in [
            ("online: { notify: true, port: 80 }\nnet: [{}]", "online: notify and port contradict"),
            ("online: { port: 80 }", "online.port: the zone has no interface"),
            ("online: { port: 80 }\nnet: [{ mode: host }]", "online.port: the zone has no interface"),
            ("online: { port: 0 }\nnet: [{}]", "from 1 to 65535"),
            ("online: { notify: true }", "online.notify: nothing runs"),
            ("online: { timeout: 0 }", "online.timeout: 0 is not between"),
            ("online: { timeout: 86401 }", "online.timeout: 86401 is not between"),
            ("online: init", "`online` takes a mapping, like { port: 80 } or { notify: true }, not"),
            ("process: { env: { NOTIFY_SOCKET: /x } }", "process.env: NOTIFY_SOCKET"),
        ] {
            let said = fault(&format!("zone: a\n{more}"));
            assert!(said.contains(says), "{more}: {said}");
        }
        for more in [
            format!("online: {{ port: 80, timeout: 5 }}\n{bridge}"),
            "online: { notify: true }\nprocess: { command: [/bin/server] }".into(),
            "online: { notify: true }\nroot: { image: debian:bookworm }".into(),
            "online: { notify: false }".into(),
        ] {
            let config = ZoneConfig::parse(&format!("zone: a\n{more}")).unwrap();
            assert_eq!(ZoneConfig::parse(&config.to_yaml().unwrap()).unwrap(), config);
        }
    }
}
