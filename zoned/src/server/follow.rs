//! Events of the past, and as they come.

use zoned_api::{Event, Reply};

use super::{
    connection::Client,
    methods::{Answered, Answering, Daemon},
    stream::Calls,
};

/// Events in one reply.
const BATCH: usize = 256;

impl Daemon {
    /// Tells the kept events after `since` that are wanted, and with `follow` goes on until the client goes.
    pub(super) async fn events(
        &self,
        wanted: impl Fn(&Event) -> bool,
        since: u64,
        processes: bool,
        follow: bool,
        client: &mut Client,
        calls: &mut Calls,
    ) -> Answered {
        let follow = follow && client.more;
        let (mut events, missed, following) = self.host().journal.read(since, processes, follow);
        events.retain(&wanted);
        let last = kept_events(events, missed, client).await?;
        let Some(mut following) = following else { return Ok((last, Vec::new())) };
        client.next(&last).await.map_err(Answering::Gone)?;
        loop {
            tokio::select! {
                next = following.next() => {
                    let Some((event, missed)) = next else { return Ok((Reply::Events { events: vec![], missed: 0 }, vec![])) };
                    if wanted(&event) || missed > 0 {
                        let events = Some(event).into_iter().filter(&wanted).collect();
                        client.next(&Reply::Events { events, missed }).await.map_err(Answering::Gone)?;
                    }
                }
                // A follower that says anything more breaks the rules; one that goes ends the stream.
                call = calls.receive_call::<serde::de::IgnoredAny>() => {
                    return Err(Answering::Gone(call.err().unwrap_or(zlink::Error::SocketRead)));
                }
            }
        }
    }
}

/// Tells the kept events in batches, if the client takes more than one reply. Returns the last.
async fn kept_events(events: Vec<Event>, mut missed: u64, client: &mut Client) -> Result<Reply, Answering> {
    if !client.more {
        return Ok(Reply::Events { events, missed });
    }
    let mut batches = events.chunks(BATCH).map(<[_]>::to_vec);
    let mut last = batches.next().unwrap_or_default();
    for batch in batches {
        let events = std::mem::replace(&mut last, batch);
        let reply = Reply::Events { events, missed: std::mem::take(&mut missed) };
        client.next(&reply).await.map_err(Answering::Gone)?;
    }
    Ok(Reply::Events { events: last, missed })
}
