//! Time and names of the machine.

use std::fs;

use libc::{CLOCK_BOOTTIME, CLOCK_MONOTONIC, CLOCK_REALTIME, CLOCK_REALTIME_ALARM};

use crate::{
    arena::{Arena, Place, shared},
    attempt::{attempt, judge},
};

/// struct timespec (or timeval) that is none: EINVAL wherever a clock may be set at all, so that none ever is.
const NEVER: &str = "[0000000000000000ffffffffffffffff]";
/// struct timex that asks for an impossible length of a tick (ADJ_TICK).
const NO_TICK: &str = "[0040]";

#[test]
fn clocks_stay() {
    let arena = shared();
    let filter = "the filter";
    judge(
        &arena,
        "a",
        &[
            attempt("set the clock", format!("settimeofday {NEVER} 0"))
                .refused("EPERM settimeofday", filter)
                .but(Place::Unfiltered, "EINVAL settimeofday")
                .but(Place::Host, "EINVAL settimeofday"),
            attempt("set a clock", format!("clock_settime {CLOCK_REALTIME} {NEVER}"))
                .refused("EPERM clock_settime", filter)
                .but(Place::Unfiltered, "EINVAL clock_settime")
                .but(Place::Host, "EINVAL clock_settime"),
            attempt("set the time zone of the kernel", "settimeofday 0 [0000000000000000]")
                .refused("EPERM settimeofday", filter)
                .but(Place::Unfiltered, "EPERM settimeofday"),
            attempt("make the clock run otherwise", format!("adjtimex {NO_TICK}"))
                .refused("EPERM adjtimex", "the kernel: CAP_SYS_TIME of the host")
                .but(Place::Host, "EINVAL adjtimex"),
            attempt("wake the host from sleep", format!("timerfd_create {CLOCK_REALTIME_ALARM} 0"))
                .refused("EPERM timerfd_create", "the kernel: CAP_WAKE_ALARM of the host")
                .but(Place::Host, "ok"),
            attempt(
                "move the clocks of its time namespace",
                "openat -100 '/proc/self/timens_offsets' 1 0 ; write $1 'monotonic 9 0' 13",
            )
            .refused(
                "EACCES write|EPERM write",
                "offsets are fixed once a process is in (time_namespaces(7)), and CAP_SYS_TIME",
            ),
        ],
    );
}

fn seconds(uptime: &str) -> f64 {
    uptime.split(' ').next().unwrap().parse().unwrap()
}

#[test]
fn a_zone_has_its_own_uptime_and_name() {
    let arena = Arena::new(&["a", "b"]);
    let host = || seconds(&fs::read_to_string("/proc/uptime").unwrap());
    let before = host();
    let zone = seconds(&arena.ctx.sh("a", "cat /proc/uptime").ok());
    assert!(zone < 60.0 && before > 60.0 && host() >= before, "zone {zone} s, host {before} s");
    for clock in [CLOCK_MONOTONIC, CLOCK_BOOTTIME] {
        // The first four bytes of the seconds are enough for a century.
        let read = |place| {
            let said = arena.one(place, format!("clock_gettime {clock} {{16}} ; show &1.2 4"));
            u32::from_str_radix(said.trim_start_matches("ok "), 16).unwrap().swap_bytes()
        };
        assert!(read(Place::Zone("a")) < 60 && read(Place::Host) > 60);
    }
    let names = || {
        (
            fs::read_to_string("/proc/sys/kernel/hostname").unwrap(),
            fs::read_to_string("/proc/sys/kernel/domainname").unwrap(),
        )
    };
    let kept = names();
    for script in ["sethostname 'mine' 4", "setdomainname 'yours' 5"] {
        assert_eq!(arena.one(Place::Zone("a"), script), "ok 0");
    }
    let said = arena.ctx.sh("a", "cat /proc/sys/kernel/hostname /proc/sys/kernel/domainname").ok();
    assert_eq!(said, "mine\nyours\n");
    assert_eq!(names(), kept, "the host's name");
    assert_eq!(arena.ctx.sh("b", "hostname").ok(), "b\n");
    arena.finish();
}
