//! The peers with a network: each container on a bridge of the host's, with an address of each family and a way to it.
//!
//! crun knows nothing of networks: a hook, a script of ip(8), makes a link with fixed addresses, as little as can be.
//! podman takes an address that is free, and tells netavark to make the link, a firewall and NAT, and to take them away.
//! Their host is a network namespace of the bench's.

use super::{
    peers::{Peer, Setting, config, oci},
    probe::PROGRAM,
};
use crate::netns::Netns;
use anyhow::{Context as _, Result};
use serde_json::json;
use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

/// In the order of the table.
pub(crate) const PEERS: [Peer; 2] =
    [Peer { name: "crun", command: crun }, Peer { name: "podman", command: podman }];

/// Bridges of the peers' host.
const CRUN_BRIDGE: &str = "bench0";
const PODMAN_BRIDGE: &str = "podman1";

/// Called when the namespaces are there, with the container's state on standard input.
const HOOK: &str = r#"#!/bin/sh -e
pid=$(sed -n 's/.*"pid"[: ]*\([0-9]*\).*/\1/p')
ip -batch - << END
link add b$pid type veth peer name eth0 netns $pid
link set b$pid master BRIDGE up
END
exec nsenter --net=/proc/$pid/ns/net ip -batch - << END
link set lo up
address add 10.78.0.2/24 dev eth0
address add fd78::2/64 dev eth0 nodad
link set eth0 up
route add default via 10.78.0.1
route add default via fd78::1
END
"#;

/// Makes the bridges, and what both peers read.
pub(crate) fn prepare(setting: &Setting, host: &Netns) -> Result<()> {
    for line in [
        "link add BRIDGE type bridge",
        "address add 10.78.0.1/24 dev BRIDGE",
        "address add fd78::1/64 dev BRIDGE nodad",
        "link set BRIDGE up",
        // netavark would make and delete its bridge with each container: it leaves one that has another port.
        "link add PODMAN type bridge",
        "link add hold type veth peer name held",
        "link set hold master PODMAN up",
    ] {
        host.ip(&line.replace("BRIDGE", CRUN_BRIDGE).replace("PODMAN", PODMAN_BRIDGE))?;
    }
    let hook = bundle(setting).join("network.sh");
    let mut config = config(setting);
    config["hooks"] = json!({ "createRuntime": [{ "path": hook }] });
    write(&hook, &HOOK.replace("BRIDGE", CRUN_BRIDGE))?;
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o700))?;
    write(&bundle(setting).join("config.json"), &config.to_string())?;
    let place = place(setting);
    write(&place.join("networks/bench.json"), &network().to_string())?;
    write(&place.join("containers.conf"), &engine(&place))
}

fn write(path: &Path, text: &str) -> Result<()> {
    let folder = path.parent().unwrap_or(path);
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

fn bundle(setting: &Setting) -> PathBuf {
    setting.folder.join("bridged")
}

fn place(setting: &Setting) -> PathBuf {
    setting.folder.join("podman")
}

fn crun(setting: &Setting, run: u32) -> Command {
    oci("crun", &bundle(setting), run)
}

/// As it is by default, but that it writes to no journal, and has no cgroup: for the latter crun raises a limit, which a root
/// without CAP_SYS_RESOURCE may not. The limits are those of the caller for the same reason.
fn podman(setting: &Setting, _: u32) -> Command {
    let place = place(setting);
    let mut command = Command::new("podman");
    command.env("CONTAINERS_CONF", place.join("containers.conf"));
    command.arg("--root").arg(place.join("storage"));
    command.args(["--runroot", "/run/podman", "--tmpdir", "/run/podman/tmp", "--storage-driver", "vfs"]);
    command.args(["run", "--rm", "--network", "bench", "--cgroups", "disabled"]);
    command.args(["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024"]);
    command.arg("--rootfs").arg(&setting.root).arg(PROGRAM);
    command
}

fn engine(place: &Path) -> String {
    format!(
        "[engine]\ncgroup_manager = \"cgroupfs\"\nevents_logger = \"none\"\nruntime = \"crun\"\n\
         [network]\nnetwork_backend = \"netavark\"\nnetwork_config_dir = \"{}\"\n\
         [containers]\nlog_driver = \"none\"\n",
        place.join("networks").display()
    )
}

/// As `podman network create --disable-dns --ipv6` writes it.
fn network() -> serde_json::Value {
    json!({
        "name": "bench",
        "id": "be".repeat(32),
        "driver": "bridge",
        "network_interface": PODMAN_BRIDGE,
        "created": "2026-01-01T00:00:00Z",
        "subnets": [
            { "subnet": "10.79.0.0/24", "gateway": "10.79.0.1" },
            { "subnet": "fd79::/64", "gateway": "fd79::1" },
        ],
        "ipv6_enabled": true,
        "internal": false,
        "dns_enabled": false,
        "ipam_options": { "driver": "host-local" },
    })
}
