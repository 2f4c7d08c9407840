//! What a zone's `/etc/resolv.conf` says: what its configuration does, else what the host's does.

use std::{fmt::Write as _, fs, net::IpAddr, path::Path};

use zoned_api::config::Resolver;

/// First line: a file that does not begin with it is the zone's own, and left alone.
const MARK: &str = "# Written by zoned at each boot; take this line out to keep what you write.";

/// Where the host's servers are: systemd-resolved puts itself into the first.
const FILES: [&str; 2] = ["/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"];

/// The text; none if there is no server to name. One that answers on the host's loopback is of use only to a zone on the
/// host's own network.
pub(super) fn text(config: &Resolver, shared: bool) -> Option<String> {
    let found = FILES.iter().map(|file| of_host(Path::new(file), shared)).find(|r| !r.servers.is_empty());
    written(config, &found.unwrap_or_default())
}

fn written(config: &Resolver, host: &Resolver) -> Option<String> {
    let servers = if config.servers.is_empty() { &host.servers } else { &config.servers };
    let search = if config.search.is_empty() { &host.search } else { &config.search };
    if servers.is_empty() {
        return None;
    }
    let mut text = format!("{MARK}\n");
    for server in servers {
        let _ = writeln!(text, "nameserver {server}");
    }
    if !search.is_empty() {
        let _ = writeln!(text, "search {}", search.join(" "));
    }
    Some(text)
}

fn of_host(file: &Path, shared: bool) -> Resolver {
    let text = fs::read_to_string(file).unwrap_or_default();
    let mut found = Resolver::default();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        match words.next() {
            Some("nameserver") => {
                let ip = words.next().and_then(|word| word.parse::<IpAddr>().ok());
                found.servers.extend(ip.filter(|ip| shared || !ip.is_loopback()));
            }
            Some("search" | "domain") => found.search = words.map(str::to_owned).collect(),
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hosts_servers_but_none_that_is_the_zones_own_loopback() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("resolv.conf");
        fs::write(&file, "# x\nsearch a.example b.example\nnameserver 127.0.0.53\nnameserver 192.0.2.53\n")
            .unwrap();
        let host = of_host(&file, false);
        let text = written(&Resolver::default(), &host).unwrap();
        assert_eq!(text, format!("{MARK}\nnameserver 192.0.2.53\nsearch a.example b.example\n"));
        assert_eq!(of_host(&file, true).servers.len(), 2, "on the host's network its loopback answers");
        let own = Resolver { servers: vec!["10.77.0.1".parse().unwrap()], search: vec!["lan".into()] };
        assert_eq!(written(&own, &host).unwrap(), format!("{MARK}\nnameserver 10.77.0.1\nsearch lan\n"));
        assert_eq!(written(&Resolver::default(), &of_host(&folder.path().join("none"), false)), None);
    }
}
