//! What a process of a zone holds when it begins: descriptors and environment.

use std::{
    fs::{self, File},
    io::{IoSlice, Read},
    os::{
        fd::{AsRawFd, RawFd},
        unix::net::UnixStream,
    },
};

use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};

use zone_tests::wait;

use crate::arena::{Arena, shared};

/// What the shell that runs this has open. Its own expansion of the pattern has a folder open, which is gone by then.
const LIST: &str =
    "for fd in /proc/$$/fd/*; do [ -e $fd ] && echo ${fd##*/} $(stat -L -c %F $fd); done; true";

#[test]
fn a_command_gets_three_pipes_and_nothing_else() {
    let arena = shared();
    let listed = arena.ctx.sh("a", LIST).ok();
    assert_eq!(listed, "0 fifo\n1 fifo\n2 fifo\n");
    // zonectl's own input is a folder of the host's: nobody beyond zonectl gets it.
    let mut command = arena.ctx.command(&["exec", "a", "--", "/bin/sh", "-c", LIST]);
    let out = command.stdin(File::open(&arena.ctx.dir).unwrap()).output().unwrap();
    let shown = String::from_utf8_lossy(&out.stdout);
    assert!(shown.lines().all(|line| line.ends_with(" fifo")), "{shown}");
    // A client of another make hands the folder itself over.
    let folder = File::open(&arena.ctx.dir).unwrap();
    let answer = exec_with(&arena, [folder.as_raw_fd(); 3]);
    assert!(answer.contains("error") && answer.contains("no pipe"), "{answer}");
    let (read, write) = rustix::pipe::pipe().unwrap();
    let answer = exec_with(&arena, [read.as_raw_fd(), write.as_raw_fd(), write.as_raw_fd()]);
    assert!(answer.contains("session") && !answer.contains("error"), "{answer}");
}

/// What the daemon answers to a call of Exec with these descriptors.
fn exec_with(arena: &Arena, fds: [RawFd; 3]) -> String {
    let call = serde_json::json!({
        "method": "io.zoned.Manager.Exec",
        "parameters": { "zone": "a", "spec": { "command": ["/bin/ls", "/proc/self/fd/0/"] } },
    });
    let mut text = call.to_string().into_bytes();
    text.push(0);
    let mut socket = UnixStream::connect(arena.ctx.socket()).unwrap();
    send_with(&socket, &text, &fds);
    let mut answer = Vec::new();
    while answer.last() != Some(&0) {
        let mut byte = [0];
        socket.read_exact(&mut byte).unwrap();
        answer.extend(byte);
    }
    String::from_utf8_lossy(&answer).into_owned()
}

fn send_with(socket: &UnixStream, bytes: &[u8], fds: &[RawFd]) {
    let control = [ControlMessage::ScmRights(fds)];
    sendmsg::<()>(socket.as_raw_fd(), &[IoSlice::new(bytes)], &control, MsgFlags::empty(), None).unwrap();
}

/// What the daemon starts while it holds a client's descriptor does not hold it: the reader of a pipe would wait for a
/// zone that is none of its business.
#[test]
fn a_clients_descriptors_go_to_no_child_of_the_daemon() {
    /// O_CLOEXEC, as fdinfo has it.
    const CLOEXEC: u32 = 0o2000000;
    let arena = Arena::new(&["a"]);
    let (read, write) = rustix::pipe::pipe().unwrap();
    let pipe = format!("pipe:[{}]", rustix::fs::fstat(&read).unwrap().st_ino);
    let holds = |pid: u64| -> Vec<String> {
        let all = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
        let ours = all.filter(|fd| fs::read_link(fd.path()).is_ok_and(|to| to.as_os_str() == pipe.as_str()));
        ours.map(|fd| fd.file_name().to_string_lossy().into_owned()).collect()
    };
    let daemon = u64::from(arena.ctx.daemon_pid());
    // The first half of a call: the daemon waits for the other with the descriptors in its hand.
    let socket = UnixStream::connect(arena.ctx.socket()).unwrap();
    send_with(&socket, b"{", &[read.as_raw_fd(), write.as_raw_fd()]);
    wait::until("the daemon has taken them", || holds(daemon).len() == 2);
    for fd in holds(daemon) {
        let info = fs::read_to_string(format!("/proc/{daemon}/fdinfo/{fd}")).unwrap();
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).unwrap().trim();
        let flags = u32::from_str_radix(flags, 8).unwrap();
        assert_ne!(flags & CLOEXEC, 0, "descriptor {fd} of zoned outlives an exec: {info}");
    }
    arena.ctx.ok(&["reboot", "a"]);
    let monitor = arena.ctx.info("a")["monitor_pid"].as_u64().unwrap();
    for pid in [monitor, arena.init_pid("a")] {
        assert_eq!(holds(pid), [""; 0], "process {pid} of the zone has them");
    }
    // More than any call takes: none of them stays.
    send_with(&socket, b"\0", &[read.as_raw_fd(); 100]);
    drop(socket);
    wait::until("the daemon has let go of them", || holds(daemon).is_empty());
    arena.finish();
}

#[test]
fn the_first_processes_hold_nothing_of_the_hosts() {
    let arena = shared();
    let out = arena.ctx.dir.join("share").display().to_string();
    let yaml = format!(
        "zone: c\nfs: [{{ source: {out}, target: /opt/attack, options: [ro] }}]\n\
         process: {{ command: [/bin/sh, -c, \"({LIST}) > /root/list; env > /root/env; sleep 600\"] }}"
    );
    arena.ctx.boot(&yaml);
    let listed = zone_tests::wait::within(std::time::Duration::from_secs(10), || {
        let shown = arena.ctx.sh("c", "[ -s /root/env ] && cat /root/list").stdout;
        (!shown.is_empty()).then_some(shown)
    });
    let terminal = "character special file";
    assert_eq!(listed.unwrap(), format!("0 {terminal}\n1 {terminal}\n2 {terminal}\n"));
    for zone in ["a", "c"] {
        let folder = format!("/proc/{}/fd", arena.init_pid(zone));
        for fd in fs::read_dir(&folder).unwrap().flatten() {
            let target = fs::read_link(fd.path()).unwrap_or_default().display().to_string();
            let own = target.starts_with("/dev/pts/") || target.starts_with("socket:");
            assert!(own, "{zone}: descriptor {:?} of its first process is {target}", fd.file_name());
        }
    }
    let known = [
        "container",
        "container_uuid",
        "PATH",
        "HOME",
        "TERM",
        "USER",
        "LOGNAME",
        "SHELL",
        "PWD",
        "OLDPWD",
        "SHLVL",
        "_",
    ];
    for shown in [arena.ctx.sh("a", "env").ok(), arena.ctx.sh("c", "cat /root/env").ok()] {
        let foreign = |line: &&str| line.split_once('=').is_none_or(|(name, _)| !known.contains(&name));
        let foreign: Vec<_> = shown.lines().filter(foreign).collect();
        assert!(foreign.is_empty(), "of the host's environment: {foreign:?}");
    }
}
