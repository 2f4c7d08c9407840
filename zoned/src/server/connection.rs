//! One connection: reads calls, answers them in order.

use std::{os::fd::OwnedFd, sync::Arc};

use tokio::net::UnixStream;
use zlink::Call;
use zoned_api::{ApiError, Reply};

use super::{
    call::RawCall,
    methods::{Answering, Daemon},
    stream::{Calls, Replies, split},
};

/// Serves one connection until the client goes, or says what is no message.
pub(super) async fn serve(stream: UnixStream, daemon: Arc<Daemon>) {
    // Who connected, by the kernel's word, and not who writes: a descriptor may be handed on.
    let Ok(uid) = stream.peer_cred().map(|peer| peer.uid()) else { return };
    let (mut calls, replies) = split(stream);
    let mut client = Client { replies, uid, more: false, oneway: false };
    loop {
        let call = calls.receive_call::<RawCall>().await;
        let (call, fds) = match call {
            Ok(call) => call,
            Err(zlink::Error::Json(e)) => {
                (client.more, client.oneway) = (false, false);
                let error = ApiError::InvalidParameter { parameter: format!("the message is no call: {e}") };
                if client.error(&error).await.is_err() {
                    return;
                }
                continue;
            }
            Err(zlink::Error::BufferOverflow) => {
                let error = ApiError::InvalidParameter { parameter: "the message is too large".into() };
                let _ = client.error(&error).await;
                return;
            }
            Err(_) => return,
        };
        if answer(&daemon, &mut client, &mut calls, call, fds).await.is_err() {
            return;
        }
    }
}

async fn answer(
    daemon: &Arc<Daemon>,
    client: &mut Client,
    calls: &mut Calls,
    call: Call<RawCall>,
    fds: Vec<OwnedFd>,
) -> zlink::Result<()> {
    (client.more, client.oneway) = (call.more(), call.oneway());
    if client.uid != 0 {
        let message = format!("user {}: only root may talk to zoned", client.uid);
        let hint = Some("use sudo".into());
        return client.error(&ApiError::Denied(zoned_api::Fault { message, hint })).await;
    }
    let answered = match call.method().method() {
        Ok(method) => daemon.call(method, fds, client, calls).await,
        Err(e) => Err(Answering::Refused(e)),
    };
    match answered {
        Ok((reply, fds)) => client.last(&reply, &fds).await,
        Err(Answering::Refused(e)) => client.error(&e).await,
        Err(Answering::Gone(e)) => Err(e),
    }
}

/// Who is answered.
#[derive(Debug)]
pub(super) struct Client {
    replies: Replies,
    /// User id.
    pub(super) uid: u32,
    /// The call takes more than one reply.
    pub(super) more: bool,
    /// The call takes none.
    oneway: bool,
}

impl Client {
    /// A reply after which others come. Not for a call that takes one only.
    pub(super) async fn next(&mut self, reply: &Reply) -> zlink::Result<()> {
        if self.oneway || !self.more {
            return Ok(());
        }
        self.replies.send(&zlink::Reply::new(Some(reply)).set_continues(Some(true)), &[]).await
    }

    async fn last(&mut self, reply: &Reply, fds: &[OwnedFd]) -> zlink::Result<()> {
        if self.oneway {
            return Ok(());
        }
        let more = self.more.then_some(false);
        self.replies.send(&zlink::Reply::new(Some(reply)).set_continues(more), fds).await
    }

    async fn error(&mut self, error: &ApiError) -> zlink::Result<()> {
        if self.oneway { Ok(()) } else { self.replies.send(error, &[]).await }
    }
}
