//! What usage of some time would be by another configuration: the journals of that time through the stages. Nothing is
//! committed; a ledger only gives the numbers and the meanings of names, where it is asked at all.
//!
//! What is read is all that is retained, so that templates and sampling rates are known by the time that matters. Whether
//! they were is not taken on trust: whoever uses this compares the raw octets of each bucket and exporter with those that
//! the ledger has. Classification gives octets to somebody and makes none, so where the two differ, the journal lacks
//! something (or had not been read to its end), and what was found says nothing.

use core::sync::atomic::Ordering::Relaxed;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::{Config, Intake};
use crate::counters::Counters;
use crate::flow::Direction;
use crate::ids::{CustomerId, ExporterId, Position, Session};
use crate::journal::{self, Reader, Runs};
use crate::ledger::Ledger;
use crate::processor::exporters::Exporters;
use crate::processor::{BadCheckpoint, Drained, ExporterNames, StreamProcessor};
use crate::setup;
use crate::units::{SamplingRate, UnixMillis};
use crate::usage::{BucketStart, Scaled, UsageRow, UsageRows};

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
    #[error("cannot look for journals in `{}`", path.display())]
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
    #[error("{}, and the journals are needed from {} on", since(.has.as_ref()), at(.needs))]
    NotRetained {
        /// When the oldest datagram that is there was received.
        has: Option<UnixMillis>,
        /// From when on they are needed.
        needs: UnixMillis,
    },
}

impl Error {
    /// The link that is by the names of interfaces, where that is why.
    #[must_use]
    pub fn link_by_name(&self) -> Option<&str> {
        match self {
            Self::Setup(setup::Error::ByName { link }) => Some(link),
            _ => None,
        }
    }
}

fn at(instant: &UnixMillis) -> String {
    crate::period::rfc3339(*instant)
}

fn since(oldest: Option<&UnixMillis>) -> String {
    match oldest {
        None => "the journals have nothing that the ledger has committed".to_owned(),
        Some(oldest) => format!("the journals are retained from {} on", at(oldest)),
    }
}

/// Usage added up two ways: who had it, and what the exporters reported.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Sums {
    /// Scaled octets by name: customers, and the reserved names. In, out, and without direction.
    pub customers: BTreeMap<String, [Scaled; 3]>,
    /// Raw octets by bucket, exporter and sampling rate.
    pub reported: BTreeMap<(BucketStart, String), BTreeMap<SamplingRate, u128>>,
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
        let reported = self.reported.entry((row.key.bucket, exporter.to_owned())).or_default();
        *reported.entry(row.key.rate).or_default() += u128::from(row.sums.octets);
    }
}

/// A datagram that is next in its journal.
struct Next {
    received: UnixMillis,
    source: core::net::IpAddr,
    session: Option<Session>,
    runs: u32,
    payload: Vec<u8>,
}

struct Stream {
    reader: Reader,
    number: usize,
    /// Where it ends for us.
    end: Option<Position>,
    next: Option<Next>,
}

impl Stream {
    fn advance(&mut self) -> Result<(), journal::Error> {
        let frame = self.reader.next()?.filter(|frame| self.end.is_none_or(|end| frame.end <= end));
        self.next = frame.map(|frame| Next {
            received: frame.received,
            source: frame.source.ip().to_canonical(),
            session: frame.session,
            runs: frame.runs,
            payload: frame.payload.to_vec(),
        });
        Ok(())
    }
}

/// Usage of the buckets in `[from, to)` by `config`, as it is now, from the journals in `directory`. `progress` is told when
/// what is read was received.
///
/// # Errors
/// As [`Stages::read`], and where links are by the names of interfaces.
pub fn usage(
    config: &Config,
    directory: &Path,
    (from, to): (BucketStart, BucketStart),
    progress: &mut dyn FnMut(UnixMillis),
) -> Result<Sums, Error> {
    let registry = registry();
    let names = setup::rehearse(config, config.accepts_unknown_exporters(Intake::Network), &registry)?;
    let stages = Stages { registry };
    let mut customers: BTreeMap<CustomerId, String> =
        names.customers.into_iter().map(|(name, id)| (id, name)).collect();
    customers.extend(CustomerId::RESERVED.iter().map(|(id, name)| (*id, (*name).to_owned())));
    let mut sums = Sums::default();
    stages.read(config, directory, &HashMap::new(), (from, None), &mut |part| {
        let exporters: BTreeMap<ExporterId, &str> =
            part.exporters.iter().map(|(id, exporter)| (*id, exporter.name.as_str())).collect();
        for row in part.usage.iter().filter(|row| from <= row.key.bucket && row.key.bucket < to) {
            let customer = customers.get(&row.key.customer).map_or("?", String::as_str);
            sums.add(&row, customer, exporters.get(&row.key.exporter).copied().unwrap_or("?"));
        }
        progress(part.received);
    })?;
    Ok(sums)
}

fn registry() -> Arc<Exporters> {
    Arc::new(Exporters::new(Arc::new(Counters::new(1, 0))))
}

/// Stages by one configuration, to read the past by.
pub struct Stages {
    registry: Arc<Exporters>,
}

/// Usage that was read.
#[derive(Clone, Copy, Debug)]
pub struct ReadPart<'a> {
    /// The rows, by the process's numbers of exporters.
    pub usage: &'a UsageRows,
    /// Who the exporters are.
    pub exporters: &'a ExporterNames,
    /// When the last datagram before was received.
    pub received: UnixMillis,
    /// True for what came out only because time went on, after the last datagram.
    pub waited: bool,
}

/// What did not become usage, though it may be volume.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Wanting {
    /// Records that waited in vain for a template or a sampling rate.
    pub expired: u64,
    /// Sets and records that still wait at the end.
    pub held: u64,
}

impl Stages {
    /// By the configuration version in force, in the ledger's numbers, with what the names of interfaces meant when; and the
    /// version's hash.
    ///
    /// # Errors
    /// When `config` is not the version in force, or does not compile.
    pub fn in_force(
        config: &Config,
        ledger: &mut Ledger,
        now: UnixMillis,
    ) -> Result<(Self, String), setup::Error> {
        let (registry, accepts) = (registry(), config.accepts_unknown_exporters(Intake::Network));
        let sha256 = setup::put_alone(config, accepts, ledger, &registry, now.0)?;
        Ok((Self { registry }, sha256))
    }

    /// Shows `take` all usage that the journals in `directory` come to by these stages. All are read together,
    /// in the order of reception: an exporter may have changed hands. Where `now` is given, what waits at their end waits up to
    /// then, and comes out apart: whether a daemon has metered it depends on when that ended.
    /// Journals with a number in `ends` are read up to there: a daemon may be adding to them.
    ///
    /// # Errors
    /// [`Error::NotRetained`] where what came first is gone, and something of the buckets from `from` on may have been with it;
    /// otherwise where they cannot be read as a whole.
    pub fn read(
        &self,
        config: &Config,
        directory: &Path,
        ends: &HashMap<usize, Position>,
        (from, now): (BucketStart, Option<UnixMillis>),
        take: &mut dyn FnMut(ReadPart<'_>),
    ) -> Result<Wanting, Error> {
        let (mut streams, is_whole) = open(directory, ends)?;
        let oldest = streams.iter().filter_map(|stream| Some(stream.next.as_ref()?.received)).min();
        if oldest.is_none() || !is_whole && oldest > Some(from.start()) {
            return Err(Error::NotRetained { has: oldest, needs: from.start() });
        }
        let counters = Arc::new(Counters::new(1, 0));
        let mut processor =
            StreamProcessor::new(0, setup::stages(config), Arc::clone(&self.registry), Arc::clone(&counters));
        let mut wanting = Wanting::default();
        let mut hand_over = |drained: Drained, received, waited| {
            wanting.expired += drained.totals.expired_records + drained.totals.expired_sets;
            wanting.held = drained.exporters.iter().map(|(_, exporter)| exporter.held.load(Relaxed)).sum();
            let last = (drained.exporters, drained.usage);
            for (exporters, usage) in drained.former.into_iter().chain(core::iter::once(last)) {
                take(ReadPart { usage: &usage, exporters: &exporters, received, waited });
            }
        };
        let (mut frames, mut received, mut runs) = (0_u64, UnixMillis(i64::MIN), Runs::default());
        while let Some(earliest) = streams
            .iter_mut()
            .filter(|stream| stream.next.is_some())
            .min_by_key(|stream| stream.next.as_ref().map(|next| next.received))
        {
            let Some(next) = &earliest.next else { break };
            if next.session.is_some() && runs.is_another(next.source, earliest.number, next.runs) {
                processor.end_sessions(next.source);
            }
            processor.feed_in(next.session, next.received, next.source, &next.payload)?;
            frames += 1;
            received = next.received;
            let is_time = frames.is_multiple_of(PROGRESS_FRAMES);
            if is_time {
                processor.expire(received);
            }
            earliest.advance()?;
            if is_time || processor.usage_rows() > ROWS_MANY || !processor.has_room() {
                hand_over(processor.drain(), received, false);
            }
        }
        hand_over(processor.drain(), received, false);
        if let Some(now) = now {
            processor.expire(now);
            hand_over(processor.drain(), now, true);
        }
        Ok(wanting)
    }
}

/// All journals at their oldest frames, and whether they are there from their beginnings on.
fn open(directory: &Path, ends: &HashMap<usize, Position>) -> Result<(Vec<Stream>, bool), Error> {
    let failed = |source| Error::Directory { path: directory.to_owned(), source };
    let (mut streams, mut is_whole) = (Vec::new(), true);
    for entry in std::fs::read_dir(directory).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let Some(number) = entry.file_name().to_str().and_then(|name| name.parse::<usize>().ok()) else {
            continue;
        };
        let reader = match Reader::open(&entry.path(), Position(0)) {
            Err(journal::Error::NotRetained { oldest, .. }) => {
                is_whole = false;
                Reader::open(&entry.path(), oldest)?
            }
            opened => opened?,
        };
        let mut stream = Stream { reader, end: ends.get(&number).copied(), number, next: None };
        stream.advance()?;
        streams.push(stream);
    }
    Ok((streams, is_whole))
}

#[cfg(test)]
mod tests;
