//! Where the check gets its flows from: captures, or the journals of a state directory.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use tracing::warn;

use super::{Claims, Point, Report};
use crate::config::{Config, Intake};
use crate::counters::Counters;
use crate::ids::{CustomerId, LinkId, Position, Session};
use crate::journal::{self, Reader, Runs};
use crate::processor::exporters::Exporters;
use crate::processor::{self, BadCheckpoint, StreamProcessor, Taken};
use crate::receive::pcap::{self, Capture};
use crate::setup;
use crate::units::UnixMillis;

/// Datagrams after which holds age, and the meter, which nobody reads here, is emptied.
const TIDY_DATAGRAMS: u64 = 4096;
/// Usage rows that are many for a table that nobody reads.
const ROWS_MANY: usize = 1 << 16;

/// Why the check could not be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A capture cannot be read.
    #[error(transparent)]
    Capture(#[from] pcap::Error),
    /// A journal cannot be read.
    #[error(transparent)]
    Journal(#[from] journal::Error),
    /// A directory of journals cannot be listed.
    #[error("{path}: {source}")]
    Directory {
        /// Which.
        path: std::path::PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The configuration cannot be put in force.
    #[error(transparent)]
    Setup(#[from] setup::Error),
    /// Cannot happen: nothing is taken up from an earlier run.
    #[error(transparent)]
    Checkpoint(#[from] BadCheckpoint),
}

/// The names of a billing point.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Named {
    /// The exporter.
    pub exporter: String,
    /// The link.
    pub link: String,
    /// The customer.
    pub customer: String,
}

/// The stages as billing has them, with a table of claims in place of a ledger.
pub struct Check {
    stages: processor::Config,
    registry: Arc<Exporters>,
    counters: Arc<Counters>,
    links: BTreeMap<LinkId, String>,
    customers: BTreeMap<CustomerId, String>,
    claims: Arc<Mutex<Claims>>,
    captures: HashSet<String>,
    datagrams: u64,
}

impl Check {
    /// A check of `config`, as it is now, for all time.
    ///
    /// # Errors
    /// Where it does not compile.
    pub fn new(config: &Config, intake: Intake) -> Result<Self, Error> {
        let counters = Arc::new(Counters::new(1, 0));
        let registry = Arc::new(Exporters::new(Arc::clone(&counters)));
        let names = setup::rehearse(config, config.accepts_unknown_exporters(intake), &registry)?;
        Ok(Self {
            stages: setup::stages(config),
            registry,
            counters,
            links: names.links.into_iter().map(|(name, id)| (id, name)).collect(),
            customers: names.customers.into_iter().map(|(name, id)| (id, name)).collect(),
            claims: Arc::default(),
            captures: HashSet::new(),
            datagrams: 0,
        })
    }

    /// Reads a capture to its end. False: it is the same as one that was read before, and left out, as in `replay`.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn capture(&mut self, path: &Path, progress: &mut dyn FnMut(u64, u64)) -> Result<bool, Error> {
        let mut capture = Capture::open(path)?;
        if !self.captures.insert(capture.sha256()?) {
            return Ok(false);
        }
        let mut feed = self.feed();
        feed.processor.read_messages(capture.exporter().is_some());
        while let Some(packet) = capture.next()? {
            let offset = packet.offset;
            if feed.datagram(None, packet.time, packet.source.ip().to_canonical(), packet.payload)? {
                progress(offset, capture.len());
            }
        }
        self.datagrams += feed.finish();
        Ok(true)
    }

    /// Reads what is retained of the journals in `directory`.
    ///
    /// # Errors
    /// Where they cannot be read. What is damaged is said and passed over.
    pub fn journals(&mut self, directory: &Path) -> Result<(), Error> {
        let failed = |source| Error::Directory { path: directory.to_owned(), source };
        let entries = std::fs::read_dir(directory).map_err(failed)?;
        let is_journal =
            |name: &std::ffi::OsStr| name.to_str().is_some_and(|name| name.parse::<usize>().is_ok());
        for entry in entries {
            let entry = entry.map_err(failed)?;
            if is_journal(&entry.file_name()) {
                self.journal(&entry.path())?;
            }
        }
        Ok(())
    }

    fn journal(&mut self, directory: &Path) -> Result<(), Error> {
        let mut reader = match Reader::open(directory, Position(0)) {
            Err(journal::Error::NotRetained { oldest, .. }) => Reader::open(directory, oldest)?,
            opened => opened?,
        };
        let mut feed = self.feed();
        let (mut damaged_at, mut runs) = (None, Runs::default());
        loop {
            match reader.next() {
                Ok(Some(frame)) => {
                    let source = frame.source.ip().to_canonical();
                    if frame.session.is_some() && runs.is_another(source, 0, frame.runs) {
                        feed.processor.end_sessions(source);
                    }
                    feed.datagram(frame.session, frame.received, source, frame.payload)?;
                }
                Ok(None) => break,
                Err(error @ journal::Error::Damaged { .. }) => {
                    warn!(%error, "A part of the journal cannot be read; it is left out.");
                    // It goes on at the next segment; where there is none, it stays.
                    if damaged_at.replace(reader.position()) == Some(reader.position()) {
                        break;
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
        self.datagrams += feed.finish();
        Ok(())
    }

    /// The stages with an empty memory: what one source taught says nothing of another.
    fn feed(&self) -> Feed {
        let (registry, counters) = (Arc::clone(&self.registry), Arc::clone(&self.counters));
        let mut processor = StreamProcessor::new(0, self.stages, registry, counters);
        let claims = Arc::clone(&self.claims);
        processor.observe(Box::new(move |records, classified| {
            claims.lock().unwrap_or_else(PoisonError::into_inner).add(records, classified);
        }));
        Feed { processor, clock: UnixMillis(0), datagrams: 0, taken: 0 }
    }

    /// What was found.
    #[must_use]
    pub fn report(&self) -> Report {
        core::mem::take(&mut *self.claims.lock().unwrap_or_else(PoisonError::into_inner)).report()
    }

    /// Datagrams of exporters that are allowed.
    #[must_use]
    pub fn datagrams(&self) -> u64 {
        self.datagrams
    }

    /// The names of a point.
    #[must_use]
    pub fn named(&self, point: &Point) -> Named {
        let exporters = self.counters.exporters();
        let exporter = exporters.get(usize::from(point.exporter.0));
        Named {
            exporter: exporter.map(|exporter| exporter.name.clone()).unwrap_or_default(),
            link: self.links.get(&point.link).cloned().unwrap_or_default(),
            customer: self.customers.get(&point.customer).cloned().unwrap_or_default(),
        }
    }
}

struct Feed {
    processor: StreamProcessor,
    clock: UnixMillis,
    datagrams: u64,
    taken: u64,
}

impl Feed {
    /// True now and then: time to say how far it is.
    fn datagram(
        &mut self,
        session: Option<Session>,
        received: UnixMillis,
        source: core::net::IpAddr,
        payload: &[u8],
    ) -> Result<bool, BadCheckpoint> {
        self.clock = self.clock.max(received);
        let is_taken = self.processor.feed_in(session, received, source, payload)? == Taken::Yes;
        // A session's boundary is no datagram.
        self.taken += u64::from(is_taken && (session.is_none() || !payload.is_empty()));
        self.datagrams += 1;
        let is_time = self.datagrams.is_multiple_of(TIDY_DATAGRAMS);
        if is_time {
            self.processor.expire(self.clock);
        }
        if self.processor.usage_rows() > ROWS_MANY || !self.processor.has_room() {
            drop(self.processor.drain());
        }
        Ok(is_time)
    }

    /// What waits comes to its end. Datagrams that were taken.
    fn finish(mut self) -> u64 {
        self.processor.expire(self.clock);
        self.processor.finish();
        drop(self.processor.drain());
        self.taken
    }
}
