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
    let control = [ControlMessage::ScmRights(&fds)];
    sendmsg::<()>(socket.as_raw_fd(), &[IoSlice::new(&text)], &control, MsgFlags::empty(), None).unwrap();
    let mut answer = Vec::new();
    while answer.last() != Some(&0) {
        let mut byte = [0];
        socket.read_exact(&mut byte).unwrap();
        answer.extend(byte);
    }
    String::from_utf8_lossy(&answer).into_owned()
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
