//! A client of the daemon.

use std::{os::fd::OwnedFd, path::Path};

use zlink::{
    Call,
    connection::{
        PassedCredentials, ReadConnection,
        socket::{Socket, WriteHalf},
    },
    tokio::unix,
    varlink_service,
};

use crate::{
    call::{Method, Reply},
    error::ApiError,
};

/// Why a call brought no reply.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nothing answers at the socket.
    #[error("{path}: cannot connect to zoned: {source}")]
    Connect {
        /// The socket.
        path: String,
        /// Why.
        source: zlink::Error,
    },
    /// The daemon said no.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// The connection broke while a call was under way.
    #[error("the connection to zoned broke: {0}")]
    Broken(zlink::Error),
    /// The daemon answered something else than the method gives.
    #[error("zoned answered {0}, which is not what was asked for")]
    Unexpected(String),
}

/// A connection to the daemon. One call at a time.
#[derive(Debug)]
pub struct Client {
    replies: ReadConnection<<unix::Stream as Socket>::ReadHalf>,
    /// zlink's own writer makes a message again and again in a buffer that grows by 256 bytes; a whole one is
    /// handed to its socket here.
    calls: <unix::Stream as Socket>::WriteHalf,
}

impl Client {
    /// Connects to the daemon's socket.
    pub async fn connect(socket: &Path) -> Result<Self, ClientError> {
        let path = || socket.display().to_string();
        let connected = unix::connect(socket).await;
        let (replies, calls) =
            connected.map_err(|source| ClientError::Connect { path: path(), source })?.split();
        Ok(Self { replies, calls: calls.into_write_half() })
    }

    /// Calls a method that answers once.
    pub async fn call(&mut self, method: Method) -> Result<Reply, ClientError> {
        Ok(self.call_with(method, Vec::new()).await?.0)
    }

    /// Calls a method that takes or gives descriptors.
    pub async fn call_with(
        &mut self,
        method: Method,
        fds: Vec<OwnedFd>,
    ) -> Result<(Reply, Vec<OwnedFd>), ClientError> {
        self.send(&Call::new(method), &fds).await?;
        // The other end must see the last of them go when the command that got them ends.
        drop(fds);
        let (reply, fds, _) = self.receive().await?;
        Ok((reply, fds))
    }

    /// Calls a method that may answer several times; take the answers by [`Client::next`].
    pub async fn stream(&mut self, method: Method) -> Result<(), ClientError> {
        self.send(&Call::new(method).set_more(true), &[]).await
    }

    /// Next answer of a stream, and whether more will come.
    pub async fn next(&mut self) -> Result<(Reply, bool), ClientError> {
        let (reply, _, more) = self.receive().await?;
        Ok((reply, more))
    }

    async fn send(&mut self, call: &Call<Method>, fds: &[OwnedFd]) -> Result<(), ClientError> {
        let message = serde_json::to_vec(call).map(|bytes| [bytes, vec![0]].concat());
        let message = message.map_err(|e| ClientError::Broken(e.into()))?;
        self.calls.write(&message, fds, None::<&PassedCredentials>).await.map_err(ClientError::Broken)
    }

    async fn receive(&mut self) -> Result<(Reply, Vec<OwnedFd>, bool), ClientError> {
        let (reply, fds) = self.replies.receive_reply::<Reply, ApiError>().await.map_err(failed)?;
        let reply = reply?;
        let more = reply.continues().unwrap_or(false);
        let none = || ClientError::Unexpected("nothing".into());
        Ok((reply.into_parameters().ok_or_else(none)?, fds, more))
    }
}

/// zlink keeps varlink's own errors apart from the interface's: to a caller they are answers like any other.
fn failed(error: zlink::Error) -> ClientError {
    let zlink::Error::VarlinkService(service) = error else {
        return ClientError::Broken(error);
    };
    match service.into_inner() {
        varlink_service::Error::InterfaceNotFound { interface } => {
            ApiError::InterfaceNotFound { interface: interface.into_owned() }.into()
        }
        varlink_service::Error::MethodNotFound { method } => {
            ApiError::MethodNotFound { method: method.into_owned() }.into()
        }
        varlink_service::Error::InvalidParameter { parameter } => {
            ApiError::InvalidParameter { parameter: parameter.into_owned() }.into()
        }
        other => ClientError::Unexpected(other.to_string()),
    }
}
