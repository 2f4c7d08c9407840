//! The scripted daemon: the real transport, with one function behind it.

use std::{
    os::fd::{AsFd, OwnedFd},
    path::PathBuf,
    process::{Child, Command, ExitStatus, Output},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use rustix::{
    io::{FdFlags, fcntl_setfd},
    net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socketpair},
    process::{Pid, Signal, kill_process},
};
use tokio::runtime::Builder;
use zlink::{
    Listener,
    connection::{PassedCredentials, socket::WriteHalf},
    tokio::unix,
};
use zoned_api::{
    API_VERSION, ApiError, Method, Reply, State,
    session::{FromSession, ToSession},
};

/// What the daemon does with a call.
pub(crate) enum Answer {
    /// Replies, the last one with descriptors.
    Replies(Vec<Reply>, Vec<OwnedFd>),
    /// A reply after which others were to come, but none does.
    Unfinished(Reply),
    /// An error.
    Error(ApiError),
    /// Closes the connection.
    HangUp,
}

/// One reply.
pub(crate) fn reply(reply: Reply) -> Answer {
    Answer::Replies(vec![reply], Vec::new())
}

/// A verb that was carried out.
pub(crate) fn done(state: State) -> Answer {
    reply(Reply::Done { state: Some(state), note: None })
}

/// A daemon on a socket of its own. Its threads end with the test's process.
pub(crate) struct Daemon {
    dir: tempfile::TempDir,
}

impl Daemon {
    /// Answers every call but `Version` by a function.
    pub(crate) fn new(answer: impl Fn(Method, Vec<OwnedFd>) -> Answer + Send + Sync + 'static) -> Self {
        Self::of_version(API_VERSION, answer)
    }

    /// With another version of the API.
    pub(crate) fn of_version(
        api: u32,
        answer: impl Fn(Method, Vec<OwnedFd>) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let daemon = Self { dir: tempfile::tempdir().unwrap() };
        let answer = Arc::new(answer);
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        // Bound before the first client can come.
        let mut listener = runtime.block_on(async { unix::bind(daemon.socket()).unwrap() });
        thread::spawn(move || {
            let tasks = tokio::task::LocalSet::new();
            tasks.block_on(&runtime, async {
                while let Ok(Some(connection)) = listener.accept().await {
                    tokio::task::spawn_local(serve(connection, api, Arc::clone(&answer)));
                }
            });
        });
        daemon
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("socket")
    }

    /// zonectl, set up to call this daemon.
    pub(crate) fn zonectl(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_zonectl"));
        command.args(args).env("ZONED_SOCKET", self.socket()).env_remove("NO_COLOR");
        command
    }

    /// Runs zonectl with an empty input.
    pub(crate) fn run(&self, args: &[&str]) -> Output {
        self.zonectl(args).stdin(std::process::Stdio::null()).output().unwrap()
    }
}

async fn serve(
    connection: unix::Connection,
    api: u32,
    answer: Arc<impl Fn(Method, Vec<OwnedFd>) -> Answer + Send + Sync>,
) {
    let (mut calls, replies) = connection.split();
    let mut replies = replies.into_write_half();
    while let Ok((call, fds)) = calls.receive_call::<Method>().await {
        // zlink does not; what a test starts would hold every stream open.
        for fd in &fds {
            fcntl_setfd(fd, FdFlags::CLOEXEC).unwrap();
        }
        let more = call.more();
        let answered = match call.method().clone() {
            Method::Version {} => reply(Reply::Version { daemon: "scripted".into(), api }),
            method => answer(method, fds),
        };
        let (messages, fds) = match answered {
            Answer::HangUp => return,
            Answer::Unfinished(reply) => {
                let reply = zlink::Reply::new(Some(reply)).set_continues(Some(true));
                (vec![serde_json::to_value(reply)], Vec::new())
            }
            Answer::Error(error) => (vec![serde_json::to_value(error)], Vec::new()),
            Answer::Replies(all, fds) => {
                let last = all.len() - 1;
                let message =
                    |(i, reply)| zlink::Reply::new(Some(reply)).set_continues(more.then_some(i < last));
                (all.into_iter().enumerate().map(message).map(serde_json::to_value).collect(), fds)
            }
        };
        let mut fds = Some(fds);
        for (i, message) in messages.iter().enumerate() {
            let given = if i + 1 == messages.len() { fds.take() } else { None };
            let text = format!("{}\0", message.as_ref().unwrap());
            // A client may have gone meanwhile.
            let sent =
                replies.write(text.as_bytes(), &given.unwrap_or_default(), None::<&PassedCredentials>).await;
            if sent.is_err() {
                return;
            }
        }
    }
}

/// The monitor's end of a session.
pub(crate) struct Monitor {
    socket: OwnedFd,
}

/// A session: what the client is answered, and the end to play the monitor with.
pub(crate) fn session(mut more: Vec<OwnedFd>) -> (Answer, Monitor) {
    let (ours, theirs) =
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
    more.insert(0, theirs);
    (Answer::Replies(vec![Reply::Session { pid: Some(1), session: 1 }], more), Monitor { socket: ours })
}

impl Monitor {
    /// Sends the last packet.
    pub(crate) fn ended(&self, code: u8, why: Option<&str>) {
        let packet = FromSession::Ended { code, why: why.map(str::to_owned) };
        // The client may be gone.
        let _ = send(self.socket.as_fd(), &serde_json::to_vec(&packet).unwrap(), SendFlags::NOSIGNAL);
    }

    /// Next packet; none once the client is gone.
    pub(crate) fn next(&self) -> Option<ToSession> {
        let mut buffer = [0; 4096];
        let n = recv(&self.socket, &mut buffer[..], RecvFlags::empty()).unwrap().0;
        (n > 0).then(|| serde_json::from_slice(&buffer[..n]).unwrap())
    }
}

/// Stdout, stderr and exit status as a test compares them.
pub(crate) fn told(output: &Output) -> (String, String, Option<i32>) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr), output.status.code())
}

/// Ctrl-C.
pub(crate) fn interrupt(child: &Child) {
    kill_process(Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap(), Signal::INT).unwrap();
}

/// Waits for the end of a process, with a deadline.
pub(crate) fn finish(mut child: Child, within: Duration) -> ExitStatus {
    let until = Instant::now() + within;
    while Instant::now() < until {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    panic!("zonectl did not end within {within:?}");
}
