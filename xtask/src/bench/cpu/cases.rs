//! What is measured: zones with shares and work.

use fairness::Claim;

/// A situation.
pub(crate) struct Case {
    pub(crate) letter: char,
    pub(crate) what: &'static str,
    pub(crate) zones: &'static [Zone],
    /// Shares that the zones are given after a while.
    pub(crate) then: Option<&'static [u64]>,
}

#[derive(Clone, Copy)]
pub(crate) struct Zone {
    pub(crate) shares: u64,
    pub(crate) work: Work,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    /// So many threads that compute.
    Busy(u32),
    /// One that sleeps for ten milliseconds at a time.
    Sleeper,
}

const fn busy(shares: u64, threads: u32) -> Zone {
    Zone { shares, work: Work::Busy(threads) }
}

const SLEEPER: Zone = Zone { shares: 100, work: Work::Sleeper };

const fn case(letter: char, what: &'static str, zones: &'static [Zone]) -> Case {
    Case { letter, what, zones, then: None }
}

pub(crate) const CASES: [Case; 9] = [
    case('A', "1:2:4, 4 threads each", &[busy(100, 4), busy(200, 4), busy(400, 4)]),
    case('B', "1:1:1, 1 thread each", &[busy(100, 1), busy(100, 1), busy(100, 1)]),
    case('C', "1:2:4, 1 thread each (cannot all be had)", &[busy(100, 1), busy(200, 1), busy(400, 1)]),
    case('D', "1:1, 16 threads against 2", &[busy(100, 16), busy(100, 2)]),
    case(
        'E',
        "1:2:…:8, 2 threads each",
        &[
            busy(100, 2),
            busy(200, 2),
            busy(300, 2),
            busy(400, 2),
            busy(500, 2),
            busy(600, 2),
            busy(700, 2),
            busy(800, 2),
        ],
    ),
    case('F', "1:1, 3 threads against 2", &[busy(100, 3), busy(100, 2)]),
    Case {
        letter: 'G',
        what: "1:2:4 becomes 4:2:1, from a second after",
        zones: &[busy(100, 4), busy(200, 4), busy(400, 4)],
        then: Some(&[400, 200, 100]),
    },
    case('S', "a sleeper against 2 zones with 2 threads", &[SLEEPER, busy(100, 2), busy(100, 2)]),
    case('S', "a sleeper against 2 zones with 8 threads", &[SLEEPER, busy(100, 8), busy(100, 8)]),
];

impl Case {
    /// What each zone asks of the CPUs at the end; the sleeper hardly anything.
    pub(crate) fn claims(&self) -> Vec<Option<Claim<'static>>> {
        let shares = |(at, zone): (usize, &Zone)| match self.then {
            Some(then) => then[at],
            None => zone.shares,
        };
        let claim = |(at, zone): (usize, &Zone)| match zone.work {
            Work::Busy(threads) => {
                Some(Claim { shares: shares((at, zone)), most: f64::from(threads), cpus: None })
            }
            Work::Sleeper => None,
        };
        self.zones.iter().enumerate().map(claim).collect()
    }
}
