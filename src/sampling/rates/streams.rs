//! Streams: what comes without sessions, and each TCP session together with those that took its place later.
//!
//! RFC 7011 3.1: an observation domain's number means something within a transport session, so that two exporting
//! processes behind one address, each with its own session, may use the same one. What one of them announces says nothing of
//! the records of the other. A session that begins when another one has ended goes on with what that one has announced, as
//! far as it is believed after a restart.

use serde::{Deserialize, Serialize};

use crate::ids::Session;

/// A stream of one exporter. Its number stays as long as something is known of it, whichever session it is in.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(transparent)]
pub struct Stream(pub(in crate::sampling) u32);

impl Stream {
    /// What comes without sessions.
    pub const DATAGRAMS: Self = Self(0);
}

/// Where something comes from: an observation domain of a stream.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub(in crate::sampling) struct Origin {
    pub(in crate::sampling) domain: u32,
    pub(in crate::sampling) stream: Stream,
}

/// The streams of one exporter that are sessions, or were.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(super) struct Streams {
    /// With their sessions; those that have none any more stand in the order in which they ended.
    all: Vec<(Stream, Option<Session>)>,
    /// The newest number.
    newest: u32,
}

impl Streams {
    /// The stream that `session` is.
    pub(super) fn of(&self, session: Session) -> Option<Stream> {
        self.all.iter().find(|(_, open)| *open == Some(session)).map(|&(stream, _)| stream)
    }

    /// Those that ended, the one that did so first before the others.
    pub(super) fn ended(&self) -> impl Iterator<Item = Stream> + '_ {
        self.all.iter().filter(|(_, session)| session.is_none()).map(|&(stream, _)| stream)
    }

    /// True where it goes on: a session that is open, or what comes without sessions.
    pub(super) fn is_there(&self, stream: Stream) -> bool {
        let is_it = |&(other, session): &(Stream, Option<Session>)| other == stream && session.is_some();
        stream == Stream::DATAGRAMS || self.all.iter().any(is_it)
    }

    pub(super) fn are_open(&self) -> bool {
        self.all.iter().any(|(_, session)| session.is_some())
    }

    /// Begins `session`: as one that goes on with `former`, which has ended, or as a new one.
    pub(super) fn begin(&mut self, session: Session, former: Option<Stream>) -> Stream {
        let stream = former.unwrap_or_else(|| {
            self.newest = self.newest.wrapping_add(1).max(1);
            Stream(self.newest)
        });
        self.forget(stream);
        self.all.push((stream, Some(session)));
        stream
    }

    /// Ends the sessions that are over.
    pub(super) fn end(&mut self, is_over: impl Fn(Session) -> bool) {
        let (mut ended, open): (Vec<_>, Vec<_>) =
            self.all.iter().copied().partition(|(_, session)| session.is_none_or(&is_over));
        // Those that had ended before stay in front.
        ended.sort_by_key(|(_, session)| session.is_some());
        ended.iter_mut().for_each(|(_, session)| *session = None);
        self.all = open.into_iter().chain(ended).collect();
    }

    pub(super) fn forget(&mut self, stream: Stream) {
        self.all.retain(|&(other, _)| other != stream);
    }
}
