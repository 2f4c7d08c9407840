mod specimens;

use std::vec::Vec;

use self::specimens::Station;
use super::*;

struct Bytes<'a>(&'a [u8]);

impl Frame for Bytes<'_> {
    fn load<const N: usize>(&self, at: u32) -> Option<[u8; N]> {
        let at = at as usize;
        self.0.get(at..at.checked_add(N)?)?.try_into().ok()
    }
}

const fn v6(last: u8) -> [u8; 16] {
    [0xfd, 0x77, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]
}

const STATION: Station = Station {
    mac: [2, 0, 0, 0, 0, 2],
    v4: [10, 77, 0, 2],
    v6: v6(2),
    gateway_mac: [2, 0, 0, 0, 0, 1],
    gateway_v4: [10, 77, 0, 1],
    gateway_v6: v6(1),
    other_mac: [2, 0, 0, 0, 0, 3],
    other_v4: [10, 77, 0, 3],
    other_v6: v6(3),
};

impl Owner for Station {
    fn mac(&self) -> [u8; 6] {
        self.mac
    }

    fn has(&self, ip: [u8; 16]) -> bool {
        ip == mapped(self.v4) || ip == self.v6
    }
}

fn judged(frame: &[u8]) -> Result<Protocol, Reason> {
    judge(&Bytes(frame), &STATION)
}

fn name(reason: Reason) -> &'static str {
    Reason::ALL.into_iter().find(|(r, _)| *r == reason).unwrap().1
}

#[test]
fn what_is_honest_passes() {
    for (what, frame) in STATION.honest() {
        let protocol = judged(&frame).unwrap_or_else(|why| panic!("{what}: {why:?}"));
        assert_eq!(classify(&Bytes(&frame)), protocol, "{what}");
    }
}

#[test]
fn what_is_forged_does_not_for_its_reason() {
    let all = STATION.forged();
    assert!(all.len() > 40, "{}", all.len());
    for (what, reason, frame) in all {
        assert_eq!(judged(&frame).map_err(name), Err(reason), "{what}");
    }
}

#[test]
fn whoever_says_another_source_is_refused() {
    for (what, frame) in STATION.honest() {
        let source = if frame[12..14] == [0x86, 0xdd] { 22..38 } else { 26..30 };
        let named = frame[12..14] == [8, 0] || (frame[12] == 0x86 && frame[22] != 0);
        for at in (6..12).chain(source.filter(|_| named)) {
            let mut forged = frame.clone();
            forged[at] ^= 0x10;
            assert!(judged(&forged).is_err(), "{what}: byte {at}");
        }
    }
}

#[test]
fn a_frame_that_ends_anywhere_is_judged_all_the_same() {
    let forged = STATION.forged().into_iter().map(|(what, _, frame)| (what, frame));
    for (what, frame) in STATION.honest().into_iter().chain(forged) {
        for end in 0..frame.len() {
            let _ = classify(&Bytes(&frame[..end]));
            // Shorter is no way round: what is refused whole passes in no part that says what it is.
            let cut = judged(&frame[..end]);
            assert!(end >= 14 + 20 || cut.is_err(), "{what} cut at {end}");
        }
    }
}

#[test]
fn no_noise_passes_as_somebody_else() {
    // Marsaglia's xorshift: the same noise in every run.
    let mut state = 0x9e37_79b9_u32;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state as u8
    };
    for round in 0..200_000 {
        let mut frame: Vec<u8> = (0..round % 120).map(|_| next()).collect();
        if frame.len() > 54 {
            frame[6..12].copy_from_slice(&STATION.mac);
            let kind = [[8, 0], [0x86, 0xdd], [8, 6]][round % 3];
            frame[12..14].copy_from_slice(&kind);
            frame[14] = if kind == [8, 0] { 0x45 | frame[14] & 0xf } else { 0x60 };
        }
        assert!(judged(&frame).is_err(), "{frame:?}");
    }
}
