//! Process events and log lines.

use std::{
    io::{self, Write},
    sync::{Arc, Mutex},
    time::Duration,
};

use super::host::{Host, go, wait_until};
use crate::ebpf::{Process, ProcessEvent};

#[test]
fn a_zones_processes_are_told_and_nobody_elses() {
    let Some(host) = Host::new() else { return };
    let mut kernel = host.open();
    let zone = host.zone();
    kernel.assign(zone.uuid, zone.id).unwrap();
    let mut events = kernel.process_events().unwrap();
    let mut shells = [zone.shell("payload", "/bin/true; sh -c 'exit 3'; (kill -9 $(sh -c 'echo $PPID'))")];
    go(&mut shells);
    let [mut shell] = shells;
    let pid = shell.id();
    shell.wait().unwrap();
    let mut seen: Vec<ProcessEvent> = Vec::new();
    let ended = |e: &ProcessEvent| e.pid == pid && matches!(e.what, Process::Exited { .. });
    assert!(wait_until(Duration::from_secs(5), || {
        events.read(|event| seen.push(event));
        seen.iter().any(ended)
    }));
    assert!(seen.iter().all(|event| event.cgroup_id == zone.id));
    assert!(
        seen.is_sorted_by_key(|event| event.at_ns),
        "each CPU's events are in order, and so are a shell's"
    );
    let children: Vec<u32> = seen.iter().filter_map(child).collect();
    assert!(children.len() >= 4, "{seen:?}");
    let executed = |comm: &[u8]| seen.iter().any(|e| e.what == Process::Executed && e.comm == comm);
    assert!(executed(b"true") && executed(b"sh"), "{seen:?}");
    let statuses: Vec<u32> = seen.iter().filter_map(status).collect();
    assert!(statuses.contains(&(3 << 8)), "exit code 3 in {statuses:?}");
    assert!(statuses.contains(&9), "killed by signal 9 in {statuses:?}");
    for child in children {
        assert!(seen.iter().any(|e| e.pid == child && status(e).is_some()), "the end of {child} in {seen:?}");
    }
    assert_eq!(events.lost().unwrap(), 0);
}

#[test]
fn threads_are_not_processes() {
    let Some(host) = Host::new() else { return };
    let mut kernel = host.open();
    let zone = host.zone();
    kernel.assign(zone.uuid, zone.id).unwrap();
    // A program with threads: this one, running the test below.
    let program = std::env::current_exe().unwrap();
    let payload = format!("{} --exact ebpf::tests::events::threads_that_add_up; :", program.display());
    let mut shells = [zone.shell("", &payload)];
    let before = zone.figures(&mut kernel);
    go(&mut shells);
    let [shell] = shells;
    let output = shell.wait_with_output().unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"), "{output:?}");
    let now = zone.figures(&mut kernel);
    assert_eq!((now.forks - before.forks, now.execs - before.execs), (1, 1), "{now:?}");
    assert_eq!(now.exits, 2, "the program and the shell: {now:?}");
}

#[test]
fn threads_that_add_up() {
    let threads: Vec<_> = (0..4).map(|i| std::thread::spawn(move || i)).collect();
    assert_eq!(threads.into_iter().map(|t| t.join().unwrap()).sum::<i32>(), 6);
}

fn child(event: &ProcessEvent) -> Option<u32> {
    if let Process::Forked { child } = event.what { Some(child) } else { None }
}

fn status(event: &ProcessEvent) -> Option<u32> {
    if let Process::Exited { status } = event.what { Some(status) } else { None }
}

#[test]
fn events_that_find_no_room_are_counted_and_logged() {
    let Some(host) = Host::new() else { return };
    let mut kernel = host.open();
    let zone = host.zone();
    kernel.assign(zone.uuid, zone.id).unwrap();
    let mut events = kernel.process_events().unwrap();
    let mut lines = kernel.log_lines().unwrap();
    // Nobody reads meanwhile: 512 KiB hold some 9,000 events, and each turn of the loop makes two or more.
    let mut shells = [zone.shell("", "i=0; while [ $i -lt 6000 ]; do (:); i=$((i+1)); done")];
    go(&mut shells);
    assert!(shells[0].wait().unwrap().success());
    let mut read = 0;
    events.read(|_| read += 1);
    let (now, lost) = (zone.figures(&mut kernel), events.lost().unwrap());
    println!("{read} read, {lost} lost");
    assert!(read > 1000 && lost > 1000);
    assert_eq!(read + lost, now.forks + now.execs + now.exits);
    assert_eq!(events.lost().unwrap(), 0, "those were told");
    let log = logged(|| lines.read());
    assert!(log.contains("WARN") && log.contains("process events are lost"), "{log}");
}

#[test]
fn log_lines_of_the_programs_reach_tracing() {
    let Some(host) = Host::new() else { return };
    let mut kernel = host.open();
    let mut lines = kernel.log_lines().unwrap();
    let zone = host.zone();
    let slot = kernel.assign(zone.uuid, zone.id).unwrap();
    let mut shells = [zone.shell("", ":")];
    go(&mut shells);
    shells[0].wait().unwrap();
    let log = logged(|| lines.read());
    assert!(log.contains("INFO") && log.contains("zone_ebpf::figures"), "{log}");
    assert_eq!(log.matches(&format!("slot {slot}: its zone of generation 1 runs")).count(), 1, "{log}");
}

/// What tracing printed meanwhile.
fn logged(during: impl FnOnce()) -> String {
    #[derive(Clone, Default)]
    struct Buffer(Arc<Mutex<Vec<u8>>>);
    impl Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let buffer = Buffer::default();
    let writer = buffer.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    tracing::subscriber::with_default(subscriber, during);
    let bytes = buffer.0.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap()
}
