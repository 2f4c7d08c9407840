//! A zone's monitor where the host has run out of something.

use std::{
    fs,
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

use rustix::net::{
    AddressFamily, RecvFlags, SocketAddrUnix, SocketFlags, SocketType, connect, recv, socket_with,
};
use rustix::process::{Pid, Signal, kill_process};
use zone_tests::TestCtx;

/// A zone's run folder.
fn run_folder(ctx: &TestCtx, zone: &str) -> PathBuf {
    let uuid = ctx.info(zone)["uuid"].as_str().unwrap().to_owned();
    ctx.dir.join("run/zones").join(uuid)
}

/// CPU time a process has used, in ticks (proc_pid_stat(5)).
fn ticks(pid: u64) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<_> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

fn limit(pid: u64, descriptors: usize) {
    let arguments = [format!("--pid={pid}"), format!("--nofile={descriptors}:")];
    assert!(Command::new("prlimit").args(arguments).status().unwrap().success());
}

#[test]
fn without_a_descriptor_left_it_waits_and_does_not_spin() {
    let ctx = TestCtx::new();
    ctx.boot("zone: z");
    let monitor = ctx.info("z")["monitor_pid"].as_u64().unwrap();
    let open = || fs::read_dir(format!("/proc/{monitor}/fd")).unwrap().count();
    // A limit is on the number a new one gets, which is the lowest that is free.
    let free = (0..).find(|n| fs::symlink_metadata(format!("/proc/{monitor}/fd/{n}")).is_err());
    limit(monitor, free.unwrap());
    let address = SocketAddrUnix::new(run_folder(&ctx, "z").join("control.sock")).unwrap();
    let call = || {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap();
        connect(&socket, &address).unwrap();
        socket
    };
    let before = open();
    let caller = call();
    let used = ticks(monitor);
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(open(), before, "it could let somebody in: nothing was shown");
    // A spinning one uses a hundred.
    assert!(ticks(monitor) - used < 20, "used {} ticks in a second", ticks(monitor) - used);
    limit(monitor, 1024);
    let began = Instant::now();
    while recv(&caller, &mut [0; 4096], RecvFlags::empty()).is_err() {
        assert!(began.elapsed() < zone_tests::wait::limit(10), "nobody is let in any more");
        std::thread::sleep(Duration::from_millis(10));
    }
    drop(caller);
    ctx.ok(&["exec", "z", "true"]);
    ctx.finish();
}

#[test]
fn its_last_word_is_heard_even_if_it_cannot_be_written() {
    let ctx = TestCtx::new();
    let wait = "until [ -e /root/go ]; do sleep 0.01; done; exit 7";
    ctx.boot(&format!("zone: z\nprocess: {{ command: [/bin/sh, -c, '{wait}'] }}"));
    // Nothing can be written where a folder is.
    fs::create_dir(run_folder(&ctx, "z").join("exit.json.new")).unwrap();
    ctx.sh("z", "touch /root/go").ok();
    ctx.wait_state("z", "installed");
    assert_eq!(ctx.info("z")["last_exit"]["code"], 7);
    ctx.finish();
}

/// A monitor that hangs has 30 s for its first word.
#[test]
fn monitors_that_hang_are_waited_for_side_by_side() {
    let mut ctx = TestCtx::new();
    let hung = ["a", "b", "c"];
    for zone in hung.iter().chain(&["well"]) {
        ctx.boot(&format!("zone: {zone}"));
    }
    let monitors = hung.map(|zone| ctx.info(zone)["monitor_pid"].as_i64().unwrap());
    ctx.kill_daemon();
    for pid in monitors {
        let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
        kill_process(pid, Signal::STOP).unwrap();
    }
    let began = Instant::now();
    ctx.start_daemon();
    let took = began.elapsed();
    println!("serving after {took:?}");
    assert!(took < Duration::from_secs(45), "three of them took {took:?}");
    assert!(took > Duration::from_secs(25), "they were not waited for: {took:?}");
    assert_eq!(ctx.state("well"), "running");
    for zone in hung {
        ctx.wait_state(zone, "installed");
    }
    ctx.finish();
}
