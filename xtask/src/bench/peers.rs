//! The programs the boot of a zone without a network is measured against, each told to make the same namespaces on the same root with no
//! limits and no network, as far as it can. What one lacks it saves: no peer here unshares the time namespace but
//! `unshare`, and only nspawn loads a system-call filter.

use super::probe::PROGRAM;
use anyhow::{Context as _, Result};
use serde_json::json;
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// First id on the host of the peers' user namespaces, and how many.
const ID_BASE: u32 = 1_879_048_192;
const IDS: u32 = 65_536;

/// A peer: its name, and the command that starts the probe. Each run has a number, since containers need names.
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    pub(crate) command: fn(&Setting, u32) -> Command,
}

/// In the order of the table: the floor first.
pub(crate) const PEERS: [Peer; 6] = [
    Peer { name: "chroot", command: chroot },
    Peer { name: "unshare", command: unshare },
    Peer { name: "bubblewrap", command: bubblewrap },
    Peer { name: "crun", command: crun },
    Peer { name: "runc", command: runc },
    Peer { name: "nspawn", command: nspawn },
];

/// Where the peers find the root, and keep what they write.
pub(crate) struct Setting {
    pub(super) root: PathBuf,
    pub(super) folder: PathBuf,
}

impl Setting {
    /// Prepares a bundle for the OCI runtimes below `folder`.
    pub(crate) fn new(root: PathBuf, folder: PathBuf) -> Result<Self> {
        let setting = Self { root, folder };
        let bundle = setting.bundle();
        fs::create_dir_all(&bundle).with_context(|| format!("cannot make {}", bundle.display()))?;
        let file = bundle.join("config.json");
        fs::write(&file, config(&setting).to_string())
            .with_context(|| format!("cannot write {}", file.display()))?;
        Ok(setting)
    }

    fn bundle(&self) -> PathBuf {
        self.folder.join("oci")
    }
}

fn chroot(setting: &Setting, _: u32) -> Command {
    let mut command = Command::new("chroot");
    command.arg(&setting.root).arg(PROGRAM);
    command
}

fn unshare(setting: &Setting, _: u32) -> Command {
    let mut command = Command::new("unshare");
    let namespaces = [
        "--user",
        "--map-root-user",
        "--mount",
        "--pid",
        "--fork",
        "--net",
        "--ipc",
        "--uts",
        "--cgroup",
        "--time",
    ];
    command.args(namespaces).arg("chroot").arg(&setting.root).arg(PROGRAM);
    command
}

fn bubblewrap(setting: &Setting, _: u32) -> Command {
    let mut command = Command::new("bwrap");
    command.args(["--unshare-user", "--unshare-all", "--bind"]).arg(&setting.root).arg("/");
    command.args(["--proc", "/proc", "--dev", "/dev", PROGRAM]);
    command
}

fn crun(setting: &Setting, run: u32) -> Command {
    oci("crun", &setting.bundle(), run)
}

fn runc(setting: &Setting, run: u32) -> Command {
    oci("runc", &setting.bundle(), run)
}

/// Runs a bundle.
pub(super) fn oci(runtime: &str, bundle: &Path, run: u32) -> Command {
    let mut command = Command::new(runtime);
    command.arg("--root").arg(Path::new("/run").join(runtime)).args(["run", "--bundle"]).arg(bundle);
    command.arg(format!("xtask-bench-{}-{run}", std::process::id()));
    command
}

fn nspawn(setting: &Setting, _: u32) -> Command {
    let mut command = Command::new("systemd-nspawn");
    command
        .args(["--quiet", "--register=no", "--keep-unit", "--pipe", "--private-network"])
        .arg(format!("--private-users={ID_BASE}:{IDS}"))
        .args(["--private-users-ownership=map", "--directory"])
        .arg(&setting.root)
        .arg(PROGRAM);
    command
}

/// A bundle's configuration.
pub(super) fn config(setting: &Setting) -> serde_json::Value {
    let namespaces =
        ["pid", "network", "ipc", "uts", "mount", "user", "cgroup"].map(|kind| json!({ "type": kind }));
    let ids = json!([{ "containerID": 0, "hostID": ID_BASE, "size": IDS }]);
    json!({
        "ociVersion": "1.0.2",
        "hostname": "probe",
        "root": { "path": setting.root, "readonly": false },
        "process": {
            "user": { "uid": 0, "gid": 0 },
            "args": [PROGRAM],
            "cwd": "/",
            "env": ["PATH=/usr/bin:/bin"],
        },
        "mounts": [
            { "destination": "/proc", "type": "proc", "source": "proc" },
            { "destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"] },
        ],
        "linux": { "namespaces": namespaces, "uidMappings": ids, "gidMappings": ids },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bundle_asks_for_every_namespace_it_can() {
        let config = config(&Setting { root: "/r".into(), folder: "/f".into() });
        assert_eq!(config["linux"]["namespaces"].as_array().unwrap().len(), 7);
        assert_eq!(config["root"]["path"], "/r");
    }
}
