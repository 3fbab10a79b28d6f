//! A reload: a new configuration is read and compiled beside all that goes on, and put in force.
//!
//! With a million prefixes that takes seconds. The main thread has them, and gives way to all others meanwhile; the ledger's
//! writer only numbers names before, and stores the version and puts it in force after. So flushes are committed meanwhile. One
//! thread does it all, so that a reload finds the memory that the one before has left. Reloads come one by one, in the order
//! in which they were asked for.

use core::sync::atomic::Ordering::Relaxed;
use core::time::Duration;
use std::sync::Arc;
use std::sync::mpsc::{self, SyncSender};
use std::time::Instant;

use tracing::{debug, error, info, warn};

use super::manager::Manager;
use super::{Shared, accepts_unknown, now_ms, writer};
use crate::commit::Committer;
use crate::config::Config;
use crate::processor::exporters::Exporters;
use crate::setup::{Draft, Holding};
use crate::snmp;

/// How much the main thread gives way to the others, of 19.
const NICE: i32 = 10;

/// Why a reload ends where the ledger's writer does not answer.
const WRITER_STOPPED: &str = "the ledger's writer has stopped";

/// How long a reload waits for processors to take it up: longer than one is ever away from its sockets.
const RECEIVERS_PATIENCE: Duration = Duration::from_secs(15);

/// What reloads need.
pub(super) struct Reloads<'a> {
    pub(super) requests: &'a SyncSender<writer::Request>,
    pub(super) registry: &'a Arc<Exporters>,
    pub(super) shared: &'a Shared,
    pub(super) manager: &'a Manager,
}

/// Lets this thread give way to those that take datagrams and write the ledger. Threads that it starts do so too.
pub(super) fn step_back() {
    if let Err(error) = rustix::process::nice(NICE) {
        debug!(%error, "Reloads have the same priority as all else.");
    }
}

impl Reloads<'_> {
    /// Reads the configuration anew and puts it in force. Its hash, or all that is wrong with it.
    ///
    /// Exporters, links, customers and classes change; sockets, processors and the ledger's place need a restart.
    pub(super) fn reload(
        &self,
        (running, gate): (&Config, Option<&snmp::Gate>),
        load: &dyn Fn() -> Result<Config, String>,
    ) -> Result<String, String> {
        let outcome = load().and_then(|mut new| {
            let keys = gate.map(snmp::Gate::keys).transpose();
            let keys = keys.map_err(|error| format!("the keys of SNMP users cannot be used: {error}"))?;
            warn_of_restart(running, &new);
            let (sha256, holding) = self.put_in_force(&mut new)?;
            let new = Arc::new(new);
            self.manager.configure(Arc::clone(&new), holding);
            self.shared.config.store(Arc::clone(&new));
            if let (Some(gate), Some(agent), Some(keys)) = (gate, &new.snmp, keys) {
                gate.reload(agent, &keys);
            }
            Ok(sha256)
        });
        match &outcome {
            Ok(sha256) => {
                self.shared.counters.reloads.fetch_add(1, Relaxed);
                info!(configuration = %sha256, "Configuration reloaded.");
            }
            Err(problem) => {
                self.shared.counters.reload_failures.fetch_add(1, Relaxed);
                error!("The new configuration is refused; the old one stays in force.\n{problem}");
            }
        }
        outcome.and_then(|sha256| self.wait_for_receivers().map(|()| sha256))
    }

    /// Waits until each processor takes things in by what is in force now. That is some milliseconds, unless something is
    /// badly wrong.
    fn wait_for_receivers(&self) -> Result<(), String> {
        let (wanted, begun) = (self.registry.generation(), Instant::now());
        while self.shared.configured.iter().any(|generation| generation.load(Relaxed) < wanted) {
            if self.shared.stopping.load(Relaxed) {
                return Err("the daemon is stopping".to_owned());
            }
            if begun.elapsed() > RECEIVERS_PATIENCE {
                let problem = "the new configuration is in force, but a processor has not taken it up yet";
                error!("{problem}");
                return Err(problem.to_owned());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// Compiles a configuration and puts it in force; after that it is without the customers' prefixes.
    fn put_in_force(&self, config: &mut Config) -> Result<(String, Holding), String> {
        let draft = Draft::new(config, accepts_unknown(config));
        let (wanted, registry) = (draft.wanted(), Arc::clone(self.registry));
        let numbered = self.on_writer(move |committer| wanted.number(committer.ledger(), &registry))?;
        let ready = draft.compile(numbered.map_err(|error| error.to_string())?, self.registry);
        let ready = ready.map_err(|error| error.to_string())?;
        config.network.forget_prefixes();
        let registry = Arc::clone(self.registry);
        let put = self.on_writer(move |committer| {
            let (in_force, holding) = ready.put(committer.ledger(), &registry, now_ms())?;
            if let Err(error) = committer.show(&in_force) {
                // It is in force all the same; names are shown with what is committed for them.
                warn!(%error, "What the new configuration names could not be shown.");
            }
            Ok((in_force.sha256, holding))
        })?;
        put.map_err(|error: crate::setup::Error| error.to_string())
    }

    /// What `ask` says on the thread of the ledger's writer, who alone writes the ledger.
    fn on_writer<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&mut Committer) -> T + Send + 'static,
    ) -> Result<T, String> {
        let stopping = || self.shared.stopping.load(Relaxed);
        if stopping() {
            return Err("the daemon is stopping".to_owned());
        }
        let (answer, answered) = mpsc::channel();
        let run = move |committer: &mut Committer| {
            let _ = answer.send(ask(committer));
        };
        let request = writer::Request::Run(Box::new(run));
        self.requests.send(request).map_err(|_| WRITER_STOPPED.to_owned())?;
        loop {
            match answered.recv_timeout(Duration::from_millis(100)) {
                Ok(said) => return Ok(said),
                Err(mpsc::RecvTimeoutError::Timeout) if stopping() => {
                    return Err("the daemon is stopping".to_owned());
                }
                Err(mpsc::RecvTimeoutError::Timeout) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => return Err(WRITER_STOPPED.to_owned()),
            }
        }
    }
}

/// Says which changed sections of a new configuration take effect only at the next start.
fn warn_of_restart(running: &Config, new: &Config) {
    let sections = |config: &Config| {
        [
            ("receive", format!("{:?}", config.receive)),
            ("journal", format!("{:?}", config.journal)),
            ("decode", format!("{:?}", config.decode)),
            ("sampling", format!("{:?}", config.sampling)),
            ("meter", format!("{:?}", config.meter)),
            ("ledger", format!("{:?}", config.ledger)),
            ("metrics", format!("{:?}", config.metrics)),
            ("snmp", format!("{:?}", config.snmp.as_ref().map(snmp::Config::fixed))),
        ]
    };
    for ((section, old), (_, new)) in sections(running).into_iter().zip(sections(new)) {
        if old != new {
            warn!(section, "This section has changed; that takes effect at the next start.");
        }
    }
}
