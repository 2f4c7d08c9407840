//! Network namespaces of a daemon's own: one that plays the host and one that plays the outside, so that nothing of the
//! machine's own network is touched. None has a name: they end with the last process and descriptor in them.

use anyhow::{Context as _, Result, anyhow, ensure};
use nix::sched::{CloneFlags, setns, unshare};
use std::{fs::File, os::fd::AsRawFd as _, process::Command, thread};

/// The interface of the host behind which the outside is.
pub(crate) const UPLINK: &str = "up0";

/// Addresses of the host and of the outside on the network between them (RFC 5737 and RFC 3849: for documentation).
pub(crate) const HOST: [&str; 2] = ["192.0.2.1", "2001:db8::1"];
pub(crate) const OUTSIDE: [&str; 2] = ["192.0.2.2", "2001:db8::2"];

/// A network namespace.
pub(crate) struct Netns(File);

impl Netns {
    /// A new one, with `lo` up.
    pub(crate) fn new() -> Result<Self> {
        let made = in_thread(|| {
            unshare(CloneFlags::CLONE_NEWNET).context("cannot make a network namespace")?;
            Ok(File::open("/proc/thread-self/ns/net")?)
        })?;
        let netns = Self(made);
        netns.ip("link set lo up")?;
        Ok(netns)
    }

    /// Does something in it. Sockets that are opened and processes that are started there stay there.
    pub(crate) fn within<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        in_thread(|| {
            setns(&self.0, CloneFlags::CLONE_NEWNET).context("cannot enter a network namespace")?;
            Ok(work())
        })
    }

    /// ip(8), which must succeed.
    pub(crate) fn ip(&self, arguments: &str) -> Result<()> {
        let mut ip = Command::new("ip");
        ip.args(arguments.split(' '));
        let output = self.within(|| ip.output())?.context("cannot run ip")?;
        let complaint = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "ip {arguments}: {}", complaint.trim());
        Ok(())
    }

    /// By which this process' commands find it.
    pub(crate) fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd())
    }
}

/// A host with an uplink, and the outside at its other end.
pub(crate) struct Hosts {
    pub(crate) host: Netns,
    pub(crate) outside: Netns,
}

impl Hosts {
    pub(crate) fn new() -> Result<Self> {
        let (host, outside) = (Netns::new()?, Netns::new()?);
        host.ip(&format!("link add {UPLINK} type veth peer name eth0 netns {}", outside.path()))?;
        for (netns, link, [v4, v6]) in [(&host, UPLINK, HOST), (&outside, "eth0", OUTSIDE)] {
            netns.ip(&format!("address add {v4}/24 dev {link}"))?;
            netns.ip(&format!("address add {v6}/64 dev {link} nodad"))?;
            netns.ip(&format!("link set {link} up"))?;
        }
        Ok(Self { host, outside })
    }
}

/// A thread that has been elsewhere is not used again.
fn in_thread<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    thread::scope(|scope| scope.spawn(work).join()).map_err(|_| anyhow!("a thread panicked"))?
}
