//! The daemon's protocol without a client library: JSON objects ended by a zero byte on a socket (varlink). A bench
//! of a call should hold as little of its own as can be.

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};
use std::{
    io::{BufRead as _, BufReader, Write as _},
    os::unix::net::UnixStream,
    path::Path,
};

const INTERFACE: &str = "io.zoned.Manager";

/// A connection to the daemon, one call at a time.
pub(crate) struct Connection {
    stream: BufReader<UnixStream>,
}

impl Connection {
    pub(crate) fn open(socket: &Path) -> Result<Self> {
        let stream =
            UnixStream::connect(socket).with_context(|| format!("cannot connect to {}", socket.display()))?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    /// A call that answers once; its answer's parameters.
    pub(crate) fn call(&mut self, method: &str, parameters: Value) -> Result<Value> {
        self.send(json!({ "method": format!("{INTERFACE}.{method}"), "parameters": parameters }))?;
        self.next()
    }

    /// Begins a call that answers several times; take the answers by [`Connection::next`].
    pub(crate) fn begin(&mut self, method: &str, parameters: Value) -> Result<()> {
        self.send(
            json!({ "method": format!("{INTERFACE}.{method}"), "parameters": parameters, "more": true }),
        )
    }

    /// The parameters of the next answer.
    pub(crate) fn next(&mut self) -> Result<Value> {
        let mut answer = Vec::new();
        self.stream.read_until(0, &mut answer).context("the connection to zoned broke")?;
        let message = answer.strip_suffix(&[0]).context("zoned closed the connection")?;
        let mut answer: Value = serde_json::from_slice(message).context("zoned answered no JSON")?;
        if let Some(error) = answer.get("error") {
            bail!("{error}: {}", answer["parameters"]);
        }
        Ok(answer["parameters"].take())
    }

    fn send(&mut self, message: Value) -> Result<()> {
        let mut message = message.to_string().into_bytes();
        message.push(0);
        self.stream.get_mut().write_all(&message).context("cannot write to zoned")
    }
}
