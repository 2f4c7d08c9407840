//! One boot, as it is watched: what it runs into, and the telling of it.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use zoned_api::{
    EventKind, ZoneName,
    config::{Cpu, Io, Limits},
};

use super::{caps::Rates, disks::Own, steer::Steered};

use crate::{
    host::Host,
    plan::Identity,
    platform::{
        cgroup::{CAPS, Counters, Disks, Tree},
        volume::{Usage, Volume},
    },
};

/// How long one limit of one zone is not told of again.
const QUIET: Duration = Duration::from_secs(60);

/// A boot that has limits.
#[derive(Debug)]
pub(super) struct Boot {
    /// How its groups are named.
    pub(super) tag: String,
    /// Held by whoever writes its limits.
    pub(super) writing: Arc<Mutex<()>>,
    pub(super) name: ZoneName,
    counters: Counters,
    /// What it is given of the CPUs: which, by [`Keeper::give_cpus`](super::Keeper::give_cpus) alone.
    pub(super) cpu: Cpu,
    /// What it was made to weigh instead of its shares.
    pub(super) steered: Option<Steered>,
    /// What it writes to, where that has a quota.
    pub(super) volume: Option<Volume>,
    /// The device of that.
    pub(super) own: Option<Own>,
    /// What its files are on.
    pub(super) disks: Disks,
    /// Its caps.
    pub(super) io: Io,
    /// It is being killed.
    pub(super) dying: bool,
    /// What it moves.
    pub(super) rates: Rates,
    /// Looks that found the volume without room, and without inodes.
    full: [u64; 2],
    oom: Bell,
    tasks: Bell,
    disk: [Bell; 2],
    caps: [Bell; 4],
}

impl Boot {
    /// Begins to watch. What it has run into already was told by whoever saw it.
    pub(super) fn new(tree: &Tree, identity: &Identity, limits: &Limits, disks: Disks) -> Self {
        let tag = identity.tag();
        let counters = tree.counters(&tag);
        let hits = counters.read();
        Self {
            tag,
            writing: Arc::default(),
            name: identity.name.clone(),
            counters,
            cpu: Cpu { cpus: None, dedicated: false, ..limits.cpu.clone() },
            steered: None,
            volume: None,
            own: None,
            disks,
            io: limits.io,
            dying: false,
            rates: Rates::default(),
            full: [0; 2],
            oom: Bell::of(hits.oom_kills),
            tasks: Bell::of(hits.tasks),
            disk: Default::default(),
            caps: Default::default(),
        }
    }

    /// It was given this, and weighs its shares.
    pub(super) fn give(&mut self, limits: &Limits) {
        let Cpu { cpus, dedicated, .. } = std::mem::take(&mut self.cpu);
        self.cpu = Cpu { cpus, dedicated, ..limits.cpu.clone() };
        (self.steered, self.io) = (None, limits.io);
    }

    /// How full its volume is, where it has one.
    pub(super) fn usage(&self) -> Option<Usage> {
        self.volume.as_ref()?.usage().ok()
    }

    /// Tells what it has run into since that was told last.
    pub(super) fn look(&mut self, host: &Host) {
        let hits = self.counters.read();
        let disk = self.usage().map_or([false; 2], |usage| [usage.is_full(), usage.is_out_of_inodes()]);
        for (looks, full) in self.full.iter_mut().zip(disk) {
            *looks += u64::from(full);
        }
        self.rates.look(&host.tree, &self.tag, &self.io, &self.disks);
        let note = |kind| host.journal.note(Some(&self.name), kind);
        if let Some(kills) = self.oom.ring(hits.oom_kills) {
            note(EventKind::Oom { kills });
        }
        let reached = |bell: &mut Bell, key: &str, count| {
            if let Some(times) = bell.ring(count) {
                note(EventKind::Limit { key: key.into(), times });
            }
        };
        reached(&mut self.tasks, "tasks.max", hits.tasks);
        let [bytes, inodes] = &mut self.disk;
        reached(bytes, "root.quota", self.full[0]);
        reached(inodes, "root.inodes", self.full[1]);
        for ((bell, key), held) in self.caps.iter_mut().zip(CAPS).zip(self.rates.held) {
            reached(bell, key, held);
        }
    }

    /// The same when it has ended: nothing is kept for later.
    pub(super) fn look_last(&mut self, host: &Host) {
        let all = [&mut self.oom, &mut self.tasks].into_iter().chain(&mut self.disk).chain(&mut self.caps);
        all.for_each(|bell| bell.at = None);
        self.look(host);
    }
}

/// Tells of a growing count: at once, and then once a minute while it goes on, so that no zone pushes the others' events
/// out of the journal.
#[derive(Debug, Default)]
struct Bell {
    told: u64,
    at: Option<Instant>,
}

impl Bell {
    fn of(told: u64) -> Self {
        Self { told, at: None }
    }

    /// By how much the count has grown since that was told, if it is to be told now.
    fn ring(&mut self, count: u64) -> Option<u64> {
        let more = count.saturating_sub(self.told);
        if more == 0 || self.at.is_some_and(|at| at.elapsed() < QUIET) {
            return None;
        }
        (self.told, self.at) = (count, Some(Instant::now()));
        Some(more)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_on_is_told_once_a_minute_and_whole() {
        let mut bell = Bell::of(5);
        assert_eq!(bell.ring(5), None, "nothing new");
        assert_eq!(bell.ring(7), Some(2), "at once");
        assert_eq!(bell.ring(9), None);
        bell.at = Instant::now().checked_sub(QUIET);
        assert_eq!(bell.ring(12), Some(5));
        bell.at = Instant::now().checked_sub(QUIET);
        assert_eq!(bell.ring(12), None, "it has ended");
        assert_eq!(bell.ring(13), Some(1), "and begins anew, at once");
    }
}
