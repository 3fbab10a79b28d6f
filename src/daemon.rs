//! The daemon: wiring, signals, ordered shutdown. The only place that spawns long-lived threads.
//!
//! Threads: a receiver a processor (socket to usage), a journal syncer a processor, one ledger writer, one for the
//! SNMP agent, one for metrics, one that polls routers, one for the control socket, one that bills what is due. The main
//! thread waits for signals and what the others report, as one
//! closed `Event`, and compiles configurations.
//!
//! Start: sockets are bound and only journal; what the journals hold beyond the last commit is metered and
//! committed; then the receivers meter what they journalled meanwhile, and go on live.
//! Stop: the receivers empty their sockets and flush, the writer commits, then the readers end.

mod backlog;
mod billing;
mod books;
mod catch_up;
mod checkpoints;
mod control;
mod hook;
mod identity;
mod intake;
mod manager;
mod receiver;
mod reload;
mod writer;

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use core::time::Duration;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, SyncSender};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use tracing::{error, info, warn};

use crate::commit::{self, Committer};
use crate::config::{Config, Intake};
use crate::counters::Counters;
use crate::ids::Position;
use crate::journal;
use crate::ledger::records::Source;
use crate::ledger::{self, Ledger};
use crate::poll;
use crate::processor::exporters::Exporters;
use crate::processor::{BadCheckpoint, StreamProcessor};
use crate::receive::{socket, tcp};
use crate::setup;
use crate::snmp;
use crate::units::UnixMillis;
pub use checkpoints::remembered;
use identity::Identity;
pub use identity::committed;
use manager::Manager;
pub(crate) use manager::compared_links;

pub use billing::{Billed, Biller, Standings};

/// How long a daemon that starts waits for another one on its ledger to end.
const KEEPER_PATIENCE: Duration = Duration::from_secs(5);

/// TCP connections of one exporter, at most: line cards may have one each.
const TCP_CONNECTIONS_EXPORTER: usize = 16;

/// Why the daemon did not start, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A directory or file of the state cannot be used; why is told by its source.
    #[error("{path}")]
    State {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The sockets cannot be bound.
    #[error(transparent)]
    Socket(#[from] socket::Error),
    /// The listeners cannot be used.
    #[error("cannot listen for TCP")]
    Listen(#[source] io::Error),
    /// The agent's socket cannot be bound.
    #[error("[snmp] listen = \"{address}\": {source}")]
    Snmp {
        /// Where.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The listener for metrics cannot be bound.
    #[error("[metrics] listen = \"{address}\": {source}")]
    Metrics {
        /// Where.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// `[ledger] url` names no ledger.
    #[error(transparent)]
    Url(#[from] ledger::UrlError),
    /// The ledger cannot be used.
    #[error(transparent)]
    Ledger(#[from] ledger::Error),
    /// A commit failed for good.
    #[error(transparent)]
    Commit(#[from] commit::Error),
    /// The journal cannot be used.
    #[error(transparent)]
    Journal(#[from] journal::Error),
    /// The configuration cannot be put in force.
    #[error(transparent)]
    Setup(#[from] setup::Error),
    /// What decoding remembered cannot be read.
    #[error(transparent)]
    Checkpoint(#[from] BadCheckpoint),
    /// Journals without an identity, where the ledger knows journals of another one.
    #[error(
        "the journals in {path} came without an identity, and the ledger knows journals of another one: where they are \
         the same, put back the lost `identity`, or what they hold would count twice; otherwise move them away to begin \
         with new ones"
    )]
    OthersJournals {
        /// Where they are.
        path: PathBuf,
    },
    /// A thread reported that it cannot go on.
    #[error("{0}")]
    Fatal(String),
}

impl Error {
    /// True where the ledger is only busy: the same may succeed later.
    fn is_transient(&self) -> bool {
        match self {
            Self::Ledger(error) | Self::Setup(setup::Error::Ledger(error)) => error.is_transient(),
            _ => false,
        }
    }
}

/// What the main thread waits for.
enum Event {
    /// SIGTERM or SIGINT.
    Stop,
    /// SIGHUP, or a request on the control socket, which gets an answer.
    Reload(Option<control::Answer>),
    /// A thread cannot go on.
    Fatal(String),
}

/// What the threads share.
struct Shared {
    counters: Arc<Counters>,
    /// What is in force.
    config: arc_swap::ArcSwap<Config>,
    /// Set first: stop taking in.
    stopping: AtomicBool,
    /// Set last: stop answering.
    closed: AtomicBool,
    /// The journals' tails are committed; the receivers may meter.
    caught_up: AtomicBool,
    /// Raised by each request to flush.
    flush_wanted: AtomicU64,
    /// By processor: the newest request that is in the ledger.
    flushed: Vec<AtomicU64>,
    /// By processor: the position that is in the ledger.
    committed: Vec<AtomicU64>,
    /// By processor: flushes on their way to the ledger.
    in_flight: Vec<AtomicU64>,
    /// By processor: the generation of the configuration by which it takes things in.
    configured: Vec<AtomicU64>,
    /// The ledger's writer has ended: no flush gets there any more.
    writer_ended: AtomicBool,
    /// Where export datagrams are taken.
    listening: Vec<SocketAddr>,
    /// Where TCP connections are taken.
    listening_tcp: Vec<SocketAddr>,
    /// Where the agent answers.
    snmp: Option<SocketAddr>,
    /// Where metrics are.
    metrics: Option<SocketAddr>,
}

/// Where a daemon that has started can be reached.
#[derive(Clone, Copy, Debug)]
pub struct Listening<'a> {
    /// For export datagrams.
    pub udp: &'a [SocketAddr],
    /// For connections.
    pub tcp: &'a [SocketAddr],
    /// The agent.
    pub snmp: Option<SocketAddr>,
}

/// Milliseconds since the epoch.
#[must_use]
pub fn now_ms() -> i64 {
    #[expect(clippy::disallowed_methods, reason = "the daemon reads the clock for all that it drives")]
    jiff::Timestamp::now().as_millisecond()
}

/// Whether addresses that are not configured may send, with a warning where nobody may.
fn accepts_unknown(config: &Config) -> bool {
    if config.rejects_everything(Intake::Network) {
        warn!("No exporter is configured and unknown ones are rejected: every datagram will be rejected.");
    }
    config.accepts_unknown_exporters(Intake::Network)
}

/// Runs the daemon until it is told to stop. `load` reads the configuration anew for a reload, `biller` knows how periods
/// are billed. The configuration is without the customers' prefixes once they are compiled.
///
/// # Errors
/// See [`Error`].
pub fn run(
    mut config: Config,
    state_dir: &Path,
    load: &dyn Fn() -> Result<Config, String>,
    ready: &dyn Fn(Listening<'_>),
    biller: Box<dyn Biller>,
) -> Result<(), Error> {
    let state = |path: &Path, source| Error::State { path: path.to_owned(), source };
    std::fs::create_dir_all(state_dir).map_err(|e| state(state_dir, e))?;
    let control_path = state_dir.join("control.sock");
    let control_socket = control::bind(&control_path).map_err(|e| state(&control_path, e))?;

    let url = ledger::Url::parse(&config.ledger.url, state_dir)?;
    let mut ledger = patiently(|| Ok(Ledger::open(&url)?))?;
    keep(&mut ledger)?;
    let counters = Arc::new(Counters::new(config.receive.processors, now_ms()));
    let registry = Arc::new(Exporters::new(Arc::clone(&counters)));
    let accepts_unknown = accepts_unknown(&config);
    let (in_force, holding) =
        patiently(|| Ok(setup::begin(&config, accepts_unknown, &mut ledger, &registry, now_ms())?))?;
    config.network.forget_prefixes();
    let config = &Arc::new(config);
    let mut committer = Committer::new(ledger, Arc::clone(&counters), now_ms() / 1000)?;
    patiently(|| Ok(committer.show(&in_force)?))?;

    let addresses = [&config.receive.listen[..], &config.receive.sflow[..]].concat();
    let sockets = socket::bind(&addresses, config.receive.processors, config.receive.socket_buffer)?;
    let listening = sockets[0].local_addresses().to_vec();
    let streams = streams(config)?;
    let listening_tcp = streams[0].local_addresses();
    let agent = match &config.snmp {
        Some(snmp) => {
            let socket = match &snmp.agentx {
                Some(_) => None,
                None => Some(
                    snmp::Agent::bind(snmp).map_err(|source| Error::Snmp { address: snmp.listen, source })?,
                ),
            };
            let agent = snmp::Agent::open(snmp.clone(), Arc::clone(&counters), state_dir);
            Some((agent.map_err(|e| state(&state_dir.join("snmp"), e))?, socket))
        }
        None => None,
    };
    let metrics = metrics(config)?;
    let gate = agent.as_ref().map(|(agent, _)| agent.gate());
    let shared = Arc::new(Shared {
        counters: Arc::clone(&counters),
        config: arc_swap::ArcSwap::new(Arc::clone(config)),
        stopping: AtomicBool::new(false),
        closed: AtomicBool::new(false),
        caught_up: AtomicBool::new(false),
        flush_wanted: AtomicU64::new(0),
        flushed: (0..config.receive.processors).map(|_| AtomicU64::new(0)).collect(),
        committed: (0..config.receive.processors).map(|_| AtomicU64::new(0)).collect(),
        in_flight: (0..config.receive.processors).map(|_| AtomicU64::new(0)).collect(),
        configured: (0..config.receive.processors).map(|_| AtomicU64::new(0)).collect(),
        writer_ended: AtomicBool::new(false),
        listening,
        listening_tcp,
        snmp: agent.as_ref().and_then(|(_, socket)| socket.as_ref()?.local_addr().ok()),
        metrics: metrics.as_ref().and_then(|listener| listener.local_addr().ok()),
    });
    let (events, reported) = mpsc::sync_channel::<Event>(16);
    let (requests, waiting) = mpsc::sync_channel::<writer::Request>(commit::FLUSH_QUEUE);

    // Receivers first: nothing that is sent while the journals are read may be lost.
    let journals = open_journals(config, state_dir, &mut committer)?;
    let mut intake: Vec<JoinHandle<(socket::Sockets, tcp::Streams)>> = Vec::new();
    let mut syncers: Vec<JoinHandle<()>> = Vec::new();
    let mut views = Vec::new();
    let mut stages = setup::stages(config);
    // A full table is flushed before its time, so a smaller one costs less than the memory of a whole one for each processor.
    stages.meter.rows_max = stages.meter.rows_max.div_ceil(config.receive.processors.max(1));
    let sockets = sockets.into_iter().zip(streams).enumerate();
    for ((index, (sockets, streams)), journal) in sockets.zip(journals.own) {
        shared.committed[index].store(journal.source.position.0, Relaxed);
        counters.processors[index].journal.committed.store(journal.source.position.0, Relaxed);
        views.push(writer::JournalView {
            directory: journal.directory.clone(),
            durable: Arc::clone(&journal.durable),
        });
        syncers.push(spawn(&format!("journal-{index}"), move || journal.syncer.run()));
        let mut processor = StreamProcessor::new(index, stages, Arc::clone(&registry), Arc::clone(&counters));
        // The receiver asks who may send before it journals anything.
        processor.trust_feeder();
        let parts = receiver::Parts {
            index,
            writer: journal.writer,
            directory: journal.directory,
            durable: journal.durable,
            source: journal.source.id,
            from: journal.end,
            processor,
            registry: Arc::clone(&registry),
            flush_ms: config.ledger.flush_ms,
            shared: Arc::clone(&shared),
            requests: requests.clone(),
            events: events.clone(),
        };
        let receiver = receiver::Receiver::new(parts, sockets, streams);
        intake.push(spawn(&format!("processor-{index}"), move || receiver.run()));
    }
    let master = config.snmp.as_ref().and_then(|snmp| snmp.agentx.clone());
    let readers = spawn_readers(agent, master, metrics, control_socket, &shared, &events);
    {
        // Not joined: what it does goes on at the next start, and a month of usage takes longer to read than a stop may last.
        let shared = Arc::clone(&shared);
        spawn("billing", move || billing::run(biller, &url, &shared));
    }
    spawn_signals(&events, &shared).map_err(|e| state(Path::new("signals"), e))?;
    ready(Listening { udp: &shared.listening, tcp: &shared.listening_tcp, snmp: shared.snmp });

    let tails = journals
        .all
        .iter()
        .map(|j| catch_up::Tail { directory: &j.directory, source: j.source.clone(), end: j.end })
        .collect();
    let caught_up = catch_up::run(tails, setup::stages(config), &registry, &shared, &mut committer)?;
    // From here on flows wait where their exporter has started: no live one comes before.
    let manager =
        Arc::new(Manager::new((Arc::clone(config), holding), Arc::clone(&counters), Arc::clone(&registry)));
    registry.leave_states(checkpoints::live(committer.ledger())?);
    shared.caught_up.store(caught_up, Relaxed);
    retain_former(&journals.all, config, &committer.ledger().sources()?);

    let writer = {
        let (shared, journal) = (Arc::clone(&shared), config.journal.clone());
        spawn("ledger", move || {
            writer::run(committer, &waiting, &views, &journal, &shared, &events);
            shared.writer_ended.store(true, Relaxed);
        })
    };
    info!(processors = config.receive.processors, "Running.");

    let polling = spawn_polling(&manager, &shared, &requests);

    let running = (config.as_ref(), gate.as_ref());
    let reloads =
        reload::Reloads { requests: &requests, registry: &registry, shared: &shared, manager: &manager };
    let outcome = supervise(&reported, &reloads, running, load);
    // Nobody listens any more: who reports something now must not wait for room to say it.
    drop(reported);
    shared.stopping.store(true, Relaxed);
    // No socket is closed before the last receiver has ended; see there.
    let sockets: Vec<_> = intake.into_iter().map(join).collect();
    drop(sockets);
    join(polling);
    // What polling found last.
    let _ = requests.send(writer::Request::Run(Box::new(move |committer| manager.look(committer))));
    drop(requests);
    join(writer);
    for thread in syncers {
        join(thread);
    }
    shared.closed.store(true, Relaxed);
    for thread in readers {
        join(thread);
    }
    let _ = std::fs::remove_file(&control_path);
    info!("Stopped.");
    outcome
}

/// What serves metrics.
fn metrics(config: &Config) -> Result<Option<std::net::TcpListener>, Error> {
    let Some(address) = config.metrics else { return Ok(None) };
    std::net::TcpListener::bind(address).map(Some).map_err(|source| Error::Metrics { address, source })
}

/// What takes TCP connections, one for each processor.
fn streams(config: &Config) -> Result<Vec<tcp::Streams>, Error> {
    let limits = tcp::Limits {
        connections: config.receive.tcp_connections,
        exporter: TCP_CONNECTIONS_EXPORTER.min(config.receive.tcp_connections),
        idle: Duration::from_millis(config.receive.tcp_idle_ms),
    };
    let listeners = socket::listen(&config.receive.tcp, config.receive.processors)?;
    let streams = listeners.into_iter().map(|listeners| tcp::Streams::new(listeners, limits));
    streams.collect::<io::Result<_>>().map_err(Error::Listen)
}

/// Waits for events until one of them ends the daemon.
fn supervise(
    reported: &mpsc::Receiver<Event>,
    reloads: &reload::Reloads<'_>,
    (running, gate): (&Config, Option<&snmp::Gate>),
    load: &dyn Fn() -> Result<Config, String>,
) -> Result<(), Error> {
    reload::step_back();
    loop {
        match reported.recv().expect("the thread that waits for signals keeps a sender") {
            Event::Stop => {
                info!("Stopping.");
                return Ok(());
            }
            Event::Fatal(message) => {
                error!("{message}");
                return Err(Error::Fatal(message));
            }
            Event::Reload(answer) => {
                let outcome = reloads.reload((running, gate), load);
                if let Some(answer) = answer {
                    answer.send(outcome);
                }
            }
        }
    }
}

/// Becomes the one daemon of the ledger. One that is about to end is waited for, as in a restart.
fn keep(ledger: &mut Ledger) -> Result<(), Error> {
    let begun = Instant::now();
    loop {
        match patiently(|| Ok(ledger.keep()?)) {
            Err(Error::Ledger(ledger::Error::Kept { .. })) if begun.elapsed() < KEEPER_PATIENCE => {
                thread::sleep(Duration::from_millis(50));
            }
            outcome => return outcome,
        }
    }
}

/// Tries again while the ledger is busy: a daemon that is started beside a long transaction waits for its end.
fn patiently<T>(mut attempt: impl FnMut() -> Result<T, Error>) -> Result<T, Error> {
    loop {
        match attempt() {
            Err(error) if error.is_transient() => {
                warn!(%error, "The ledger is busy; the start waits for it.");
                thread::sleep(Duration::from_millis(500));
            }
            outcome => return outcome,
        }
    }
}

/// Removes old segments of journals that no processor writes any more, as far as the ledger has them: a daemon that is
/// told to stop while it catches up comes here, too.
fn retain_former(journals: &[AnyJournal], config: &Config, sources: &[Source]) {
    for journal in journals.iter().skip(config.receive.processors) {
        let now = UnixMillis(now_ms());
        let Some(source) = sources.iter().find(|source| source.id == journal.source.id) else { continue };
        if let Err(error) = journal::retain(&journal.directory, &config.journal, source.position, now) {
            warn!(%error, "Old journal segments could not be removed.");
        }
    }
}

/// A journal, opened for a processor.
struct OwnJournal {
    directory: PathBuf,
    source: Source,
    end: Position,
    writer: journal::Writer,
    syncer: journal::Syncer,
    durable: Arc<journal::Durable>,
}

/// A journal that may hold what is not committed.
struct AnyJournal {
    directory: PathBuf,
    source: Source,
    end: Position,
}

struct Journals {
    own: Vec<OwnJournal>,
    all: Vec<AnyJournal>,
}

/// Opens the processors' journals, and finds those of a former, larger number of processors.
fn open_journals(config: &Config, state_dir: &Path, committer: &mut Committer) -> Result<Journals, Error> {
    let root = state_dir.join("journal");
    let state = |path: &Path, source| Error::State { path: path.to_owned(), source };
    std::fs::create_dir_all(&root).map_err(|e| state(&root, e))?;
    let mut journals = Journals { own: Vec::new(), all: Vec::new() };
    let mut indexes: Vec<usize> = std::fs::read_dir(&root)
        .map_err(|e| state(&root, e))?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    let identity = Identity::of(&root, &indexes).map_err(|e| state(&root, e))?;
    indexes.extend(0..config.receive.processors);
    indexes.sort_unstable();
    indexes.dedup();
    for index in indexes {
        let directory = root.join(index.to_string());
        let source = patiently(|| identity.source(committer.ledger(), index))?;
        let (writer, syncer, durable) = journal::open_at(&directory, &config.journal, source.position)?;
        let end = writer.end();
        journals.all.push(AnyJournal { directory: directory.clone(), source: source.clone(), end });
        if index < config.receive.processors {
            journals.own.push(OwnJournal { directory, source, end, writer, syncer, durable });
        }
    }
    Ok(journals)
}

fn spawn_readers(
    agent: Option<(snmp::Agent, Option<std::net::UdpSocket>)>,
    master: Option<snmp::Master>,
    metrics: Option<std::net::TcpListener>,
    control_socket: std::os::unix::net::UnixListener,
    shared: &Arc<Shared>,
    events: &SyncSender<Event>,
) -> Vec<JoinHandle<()>> {
    let mut readers = Vec::new();
    if let Some((mut agent, socket)) = agent {
        let shared = Arc::clone(shared);
        readers.push(spawn("snmp", move || {
            let clock = || UnixMillis(now_ms());
            if let Some(master) = master {
                return agent.run_under(&master, &shared.closed, clock);
            }
            let outcome = socket.map_or(Ok(()), |socket| agent.run(&socket, &shared.closed, clock));
            if let Err(error) = outcome {
                error!(%error, "The SNMP agent has stopped.");
            }
        }));
    }
    if let Some(listener) = metrics {
        let shared = Arc::clone(shared);
        readers.push(spawn("metrics", move || {
            let mut exposition = snmp::metrics::Exposition::new(Arc::clone(&shared.counters));
            if let Err(error) = exposition.run(&listener, &shared.closed, || UnixMillis(now_ms())) {
                error!(%error, "Metrics are not served any more.");
            }
        }));
    }
    let (shared, events) = (Arc::clone(shared), events.clone());
    readers.push(spawn("control", move || {
        if let Err(error) = control::run(control_socket, &shared, &events) {
            warn!(%error, "The control socket is closed.");
        }
    }));
    readers
}

/// Polls routers, where any are to be polled, now or after a reload.
fn spawn_polling(
    manager: &Arc<Manager>,
    shared: &Arc<Shared>,
    requests: &SyncSender<writer::Request>,
) -> JoinHandle<()> {
    let (manager, shared, requests) = (Arc::clone(manager), Arc::clone(shared), requests.clone());
    spawn("poll", move || {
        let plans = Arc::clone(&manager.plans);
        let sink = Arc::new(move |found| manager.take(found, &requests));
        if let Err(error) = poll::run(&plans, || UnixMillis(now_ms()), &shared.stopping, sink) {
            error!(%error, "Routers cannot be polled.");
        }
    })
}

fn spawn_signals(events: &SyncSender<Event>, shared: &Arc<Shared>) -> io::Result<()> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    let mut signals = signal_hook::iterator::Signals::new([SIGHUP, SIGINT, SIGTERM])?;
    let (events, shared) = (events.clone(), Arc::clone(shared));
    // Not joined: it waits for signals until the process ends.
    spawn("signals", move || {
        for signal in signals.forever() {
            if signal == SIGHUP {
                // Where there is no room, reloads wait already; a signal to stop must not queue up behind this one.
                let _ = events.try_send(Event::Reload(None));
                continue;
            }
            // At once, also for who waits in the middle of a reload or of catching up.
            shared.stopping.store(true, Relaxed);
            if events.send(Event::Stop).is_err() {
                return;
            }
        }
    });
    Ok(())
}

fn spawn<T: Send + 'static>(name: &str, body: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    thread::Builder::new().name(name.to_owned()).spawn(body).expect("the system can start a thread")
}

/// What a thread ended with; nothing where it panicked.
fn join<T>(thread: JoinHandle<T>) -> Option<T> {
    let name = thread.thread().name().unwrap_or("?").to_owned();
    let outcome = thread.join().ok();
    if outcome.is_none() {
        error!(thread = %name, "A thread panicked.");
    }
    outcome
}
