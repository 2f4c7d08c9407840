//! What happened, kept for a while and told to whoever follows.
//!
//! Events of zones and events of processes are kept and told apart, so that a fork storm in one zone pushes no
//! change of state out of the memory, or past a follower. Numbers are given by one counter for both. Nothing is
//! written to disk: the journal has the log.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

use tokio::sync::broadcast;
use zoned_api::{Event, EventKind, ZoneName};

/// Events kept of each of the two sorts.
const KEPT: usize = 10_000;

/// Events a follower may lag behind before it misses some.
const LAG: usize = 4096;

/// The events of one daemon's life.
#[derive(Debug)]
pub struct Journal {
    kept: Mutex<Kept>,
    zones: broadcast::Sender<Event>,
    processes: broadcast::Sender<Event>,
}

#[derive(Debug, Default)]
struct Kept {
    seq: u64,
    zones: Ring,
    processes: Ring,
}

#[derive(Debug, Default)]
struct Ring {
    events: VecDeque<Event>,
    /// How many fell out, and the number of the last that did.
    dropped: u64,
    last_dropped: u64,
}

impl Ring {
    fn push(&mut self, event: Event) {
        if self.events.len() == KEPT
            && let Some(old) = self.events.pop_front()
        {
            self.dropped += 1;
            self.last_dropped = old.seq;
        }
        self.events.push_back(event);
    }

    /// Most events after `since` that can have fallen out.
    fn missed(&self, since: u64) -> u64 {
        self.dropped.min(self.last_dropped.saturating_sub(since))
    }

    fn after(&self, since: u64) -> impl Iterator<Item = &Event> {
        let from = self.events.partition_point(|e| e.seq <= since);
        self.events.range(from..)
    }
}

/// A follower's end.
#[derive(Debug)]
pub struct Follow {
    zones: broadcast::Receiver<Event>,
    processes: Option<broadcast::Receiver<Event>>,
}

impl Follow {
    /// Next event, and how many were missed before it.
    pub async fn next(&mut self) -> Option<(Event, u64)> {
        let mut missed = 0;
        loop {
            let got = match &mut self.processes {
                Some(processes) => tokio::select! {
                    biased;
                    got = self.zones.recv() => got,
                    got = processes.recv() => got,
                },
                None => self.zones.recv().await,
            };
            match got {
                Ok(event) => return Some((event, missed)),
                Err(broadcast::error::RecvError::Lagged(n)) => missed += n,
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }
}

impl Default for Journal {
    fn default() -> Self {
        Self {
            kept: Mutex::default(),
            zones: broadcast::Sender::new(LAG),
            processes: broadcast::Sender::new(LAG),
        }
    }
}

impl Journal {
    /// Notes that something happened.
    pub fn note(&self, zone: Option<&ZoneName>, kind: EventKind) {
        use EventKind::{Exec, Exit, Fork, Lost};
        let of_process = matches!(kind, Fork { .. } | Exec { .. } | Exit { .. } | Lost { .. });
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.seq += 1;
        let event = Event { seq: kept.seq, time_ms: now_ms(), zone: zone.cloned(), kind };
        let (ring, told) =
            if of_process { (&mut kept.processes, &self.processes) } else { (&mut kept.zones, &self.zones) };
        ring.push(event.clone());
        // Nobody may be listening. Told under the lock, so that followers see the numbers grow.
        let _ = told.send(event);
    }

    /// Events after `since`, in order; how many more there were that are no longer kept; and, with
    /// `follow`, what goes on from there without a gap.
    pub fn read(&self, since: u64, processes: bool, follow: bool) -> (Vec<Event>, u64, Option<Follow>) {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let mut events: Vec<Event> = kept.zones.after(since).cloned().collect();
        let mut missed = kept.zones.missed(since);
        if processes {
            events.extend(kept.processes.after(since).cloned());
            events.sort_unstable_by_key(|e| e.seq);
            missed += kept.processes.missed(since);
        }
        let follow = follow.then(|| Follow {
            zones: self.zones.subscribe(),
            processes: processes.then(|| self.processes.subscribe()),
        });
        (events, missed, follow)
    }
}

/// Milliseconds since the epoch.
pub fn now_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX))
}

/// Text that a zone chose, made harmless to a terminal.
pub fn escape(text: &[u8]) -> String {
    match std::str::from_utf8(text) {
        Ok(text) => text
            .chars()
            .flat_map(|c| if c.is_control() { c.escape_default().collect::<Vec<_>>() } else { vec![c] })
            .collect(),
        Err(_) => text.escape_ascii().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configured(journal: &Journal) {
        journal.note(None, EventKind::Configured { what: "created".into() });
    }

    fn fork(journal: &Journal) {
        journal.note(None, EventKind::Fork { pid: 1, child: 2, comm: "x".into() });
    }

    #[test]
    fn a_fork_storm_pushes_out_no_state_change() {
        let journal = Journal::default();
        configured(&journal);
        (0..3 * KEPT).for_each(|_| fork(&journal));
        let (events, missed, _) = journal.read(0, false, false);
        assert_eq!((events.len(), events[0].seq, missed), (1, 1, 0));
        let (events, missed, _) = journal.read(0, true, false);
        assert_eq!((events.len(), missed), (KEPT + 1, 2 * KEPT as u64));
        assert!(events.windows(2).all(|w| w[0].seq < w[1].seq));
        let last = events.last().unwrap().seq;
        assert_eq!(journal.read(last, true, false).0.len(), 0);
        assert_eq!(journal.read(last - 5, true, false).1, 0, "what is still kept is not missed");
    }

    #[tokio::test]
    async fn following_begins_where_reading_ended() {
        let journal = Journal::default();
        configured(&journal);
        let (before, _, follow) = journal.read(0, true, true);
        configured(&journal);
        fork(&journal);
        let mut follow = follow.unwrap();
        let seqs = [before[0].seq, follow.next().await.unwrap().0.seq, follow.next().await.unwrap().0.seq];
        assert_eq!(seqs, [1, 2, 3]);
        (0..2 * LAG).for_each(|_| configured(&journal));
        assert_eq!(follow.next().await.unwrap().1, LAG as u64);
    }

    #[test]
    fn text_of_a_zone_cannot_steer_a_terminal() {
        assert_eq!(escape(b"a\x1b[2J\n\xc3\xa4"), "a\\u{1b}[2J\\nä");
        assert_eq!(escape(b"\xff\x1b"), "\\xff\\x1b");
        assert_eq!(escape("\u{9b}x".as_bytes()), "\\u{9b}x");
    }
}
