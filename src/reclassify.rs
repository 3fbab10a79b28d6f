//! What usage of some time would be by another configuration: the journals of that time through the stages, without a
//! ledger.
//!
//! What is read is all that is retained, so that templates and sampling rates are known by the time that matters. Whether
//! they were is not taken on trust: whoever uses this compares the raw octets of each bucket and exporter with those that
//! the ledger has. Classification gives octets to somebody and makes none, so where the two differ, the journal lacks
//! something (or had not been read to its end), and what was found says nothing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::{Config, Intake};
use crate::counters::Counters;
use crate::flow::Direction;
use crate::ids::{CustomerId, ExporterId, Position, Session};
use crate::journal::{self, Reader};
use crate::processor::exporters::Exporters;
use crate::processor::{BadCheckpoint, Drained, StreamProcessor};
use crate::setup;
use crate::units::UnixMillis;
use crate::usage::{BucketStart, Scaled, UsageRow};

/// Usage rows that are many for a table that is only added up.
const ROWS_MANY: usize = 1 << 16;
/// Frames between two tellings of how far it is.
const PROGRESS_FRAMES: u64 = 4096;

/// Why the journals could not be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A journal cannot be read, or a part of it is damaged.
    #[error(transparent)]
    Journal(#[from] journal::Error),
    /// A directory of journals cannot be listed.
    #[error("{path}: {source}")]
    Directory {
        /// Which.
        path: PathBuf,
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
    /// The journals do not reach back far enough.
    #[error("the journals are retained {}, and are needed from {} on", since(.has.as_ref()), at(.needs))]
    NotRetained {
        /// When the oldest datagram that is there was received.
        has: Option<UnixMillis>,
        /// From when on they are needed.
        needs: UnixMillis,
    },
}

fn at(instant: &UnixMillis) -> String {
    crate::period::rfc3339(*instant)
}

fn since(oldest: Option<&UnixMillis>) -> String {
    oldest.map_or_else(|| "not at all".to_owned(), |oldest| format!("from {} on", at(oldest)))
}

/// Usage added up two ways: who had it, and what the exporters reported.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Sums {
    /// Scaled octets by name: customers, and the reserved names. In, out, and without direction.
    pub customers: BTreeMap<String, [Scaled; 3]>,
    /// Raw octets by bucket and exporter.
    pub reported: BTreeMap<(BucketStart, String), u128>,
}

impl Sums {
    /// Adds a row of these names.
    pub fn add(&mut self, row: &UsageRow, customer: &str, exporter: &str) {
        if !self.customers.contains_key(customer) {
            self.customers.insert(customer.to_owned(), Default::default());
        }
        let direction = match row.key.direction {
            Direction::In => 0,
            Direction::Out => 1,
            Direction::None => 2,
        };
        if let Some(sums) = self.customers.get_mut(customer) {
            sums[direction].add(row.sums.octets, row.key.rate);
        }
        *self.reported.entry((row.key.bucket, exporter.to_owned())).or_default() +=
            u128::from(row.sums.octets);
    }
}

/// A datagram that is next in its journal.
struct Next {
    received: UnixMillis,
    source: core::net::IpAddr,
    session: Option<Session>,
    payload: Vec<u8>,
}

struct Stream {
    reader: Reader,
    next: Option<Next>,
}

impl Stream {
    fn advance(&mut self) -> Result<(), journal::Error> {
        let frame = self.reader.next()?;
        self.next = frame.map(|frame| Next {
            received: frame.received,
            source: frame.source.ip().to_canonical(),
            session: frame.session,
            payload: frame.payload.to_vec(),
        });
        Ok(())
    }
}

/// Usage of the buckets in `[from, to)` by `config`, as it is now, from the journals in `directory`. All are read together,
/// in the order of reception: an exporter may have changed hands. `progress` is told when what is read was received.
///
/// # Errors
/// [`Error::NotRetained`] where what came first is gone; otherwise where they cannot be read as a whole.
pub fn usage(
    config: &Config,
    directory: &Path,
    (from, to): (BucketStart, BucketStart),
    progress: &mut dyn FnMut(UnixMillis),
) -> Result<Sums, Error> {
    let (mut streams, is_whole) = open(directory)?;
    let oldest = streams.iter().filter_map(|stream| Some(stream.next.as_ref()?.received)).min();
    if oldest.is_none() || !is_whole && oldest > Some(from.start()) {
        return Err(Error::NotRetained { has: oldest, needs: from.start() });
    }
    let counters = Arc::new(Counters::new(1, 0));
    let registry = Arc::new(Exporters::new(Arc::clone(&counters)));
    let names = setup::rehearse(config, config.accepts_unknown_exporters(Intake::Network), &registry)?;
    let mut customers: BTreeMap<CustomerId, String> =
        names.customers.into_iter().map(|(name, id)| (id, name)).collect();
    customers.extend(CustomerId::RESERVED.iter().map(|(id, name)| (*id, (*name).to_owned())));
    let mut processor =
        StreamProcessor::new(0, setup::stages(config), Arc::clone(&registry), Arc::clone(&counters));
    let mut sums = Sums::default();
    let mut add = |drained: Drained| {
        let former = drained.former.into_iter();
        for (exporters, usage) in former.chain(core::iter::once((drained.exporters, drained.usage))) {
            let exporters: BTreeMap<ExporterId, &str> =
                exporters.iter().map(|(id, exporter)| (*id, exporter.name.as_str())).collect();
            for row in usage.iter().filter(|row| from <= row.key.bucket && row.key.bucket < to) {
                let customer = customers.get(&row.key.customer).map_or("?", String::as_str);
                sums.add(row, customer, exporters.get(&row.key.exporter).copied().unwrap_or("?"));
            }
        }
    };
    let mut frames = 0_u64;
    while let Some(earliest) = streams
        .iter_mut()
        .filter(|stream| stream.next.is_some())
        .min_by_key(|stream| stream.next.as_ref().map(|next| next.received))
    {
        let Some(next) = &earliest.next else { break };
        processor.feed_in(next.session, next.received, next.source, &next.payload)?;
        frames += 1;
        if frames.is_multiple_of(PROGRESS_FRAMES) {
            progress(next.received);
            processor.expire(next.received);
        }
        earliest.advance()?;
        if processor.usage_rows() > ROWS_MANY || !processor.has_room() {
            add(processor.drain());
        }
    }
    add(processor.drain());
    Ok(sums)
}

/// All journals at their oldest frames, and whether they are there from their beginnings on.
fn open(directory: &Path) -> Result<(Vec<Stream>, bool), Error> {
    let failed = |source| Error::Directory { path: directory.to_owned(), source };
    let (mut streams, mut is_whole) = (Vec::new(), true);
    for entry in std::fs::read_dir(directory).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if entry.file_name().to_str().is_none_or(|name| name.parse::<usize>().is_err()) {
            continue;
        }
        let reader = match Reader::open(&entry.path(), Position(0)) {
            Err(journal::Error::NotRetained { oldest, .. }) => {
                is_whole = false;
                Reader::open(&entry.path(), oldest)?
            }
            opened => opened?,
        };
        let mut stream = Stream { reader, next: None };
        stream.advance()?;
        streams.push(stream);
    }
    Ok((streams, is_whole))
}
