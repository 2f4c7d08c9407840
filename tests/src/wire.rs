//! The daemon's socket without a client in between: what is written is what is sent.

use std::{
    io::{self, Read, Write},
    os::unix::net::UnixStream,
    path::Path,
};

use serde_json::{Value, json};

use crate::wait;

/// One connection.
#[derive(Debug)]
pub struct Wire {
    stream: UnixStream,
    received: Vec<u8>,
}

impl Wire {
    /// Connects to a daemon's socket. Nothing on it is waited for longer than 30 s, taken [patiently](wait::patiently).
    ///
    /// # Panics
    /// If it cannot.
    #[track_caller]
    pub fn connect(socket: &Path) -> Self {
        let stream = UnixStream::connect(socket).unwrap_or_else(|e| panic!("{}: {e}", socket.display()));
        let limit = Some(wait::limit(30));
        let limited = stream.set_read_timeout(limit).and_then(|()| stream.set_write_timeout(limit));
        limited.unwrap_or_else(|e| panic!("timeout: {e}"));
        Self { stream, received: Vec::new() }
    }

    /// Sends bytes. The daemon may have hung up, which is for the test to judge.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Sends a call and returns its first reply.
    ///
    /// # Panics
    /// If none comes.
    #[track_caller]
    pub fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.ask(json!({ "method": format!("io.zoned.Manager.{method}"), "parameters": parameters }));
        self.receive().unwrap_or_else(|| panic!("{method}: the daemon hung up"))
    }

    /// Sends one message.
    ///
    /// # Panics
    /// If the daemon does not take it.
    #[track_caller]
    pub fn ask(&mut self, message: Value) {
        let mut text = message.to_string().into_bytes();
        text.push(0);
        self.send(&text).unwrap_or_else(|e| panic!("{message}: {e}"));
    }

    /// Next message; none once the daemon has hung up.
    ///
    /// # Panics
    /// If nothing comes within 30 s, or what is no JSON.
    #[track_caller]
    pub fn receive(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.received.iter().position(|b| *b == 0) {
                let rest = self.received.split_off(end + 1);
                let text = std::mem::replace(&mut self.received, rest);
                let text = String::from_utf8_lossy(&text[..end]).into_owned();
                return Some(serde_json::from_str(&text).unwrap_or_else(|e| panic!("{text}: {e}")));
            }
            let mut bytes = [0; 65536];
            match self.stream.read(&mut bytes) {
                Ok(0) => return None,
                Ok(n) => self.received.extend_from_slice(&bytes[..n]),
                Err(e) if e.kind() == io::ErrorKind::ConnectionReset => return None,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => panic!("nothing came from the daemon: {e}"),
            }
        }
    }
}
