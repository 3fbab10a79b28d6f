//! The routers' turns: one task a router, on one thread.

use core::sync::atomic::{AtomicBool, Ordering::Relaxed};
use core::time::Duration;
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::{Mutex, Semaphore};
use tokio::task::JoinSet;

use super::bucket::Assembler;
use super::client::{Error, Session, Sockets};
use super::counter::Gap;
use super::{Found, Plan, Target, cards, columns, schedule};
use crate::ledger::records::interfaces::{Interface, InterfacePart};
use crate::units::{IfIndex, UnixMillis};

/// How often the main task looks whether it is to stop, or whether there is another plan.
const LOOK: Duration = Duration::from_millis(200);

/// How often it is looked whether a router's flows tell of a restart, and how soon after a poll that makes another one.
const RESTART_LOOK: Duration = Duration::from_secs(1);
const RESTART_SOONEST_MS: i64 = 10_000;

/// A router that has been up for so many hundredths of a second has found all its interfaces.
const SETTLED_TICKS: u32 = 10 * 60 * 100;

/// Polls by the plan in `plans`, and by the next one when it is replaced, until `stop`. What is found goes to `sink`,
/// which does not wait.
///
/// # Errors
/// When there can be no runtime or socket.
pub fn run(
    plans: &ArcSwap<Plan>,
    clock: fn() -> UnixMillis,
    stop: &AtomicBool,
    sink: Arc<dyn Fn(Found) + Send + Sync>,
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
    runtime.block_on(async {
        let mut opened: Option<Arc<Sockets>> = None;
        let mut states: BTreeMap<String, Arc<Mutex<Router>>> = BTreeMap::new();
        while !stop.load(Relaxed) {
            let plan = plans.load_full();
            states = carried_over(states, &plan, &sink).await;
            let permits = Arc::new(Semaphore::new(plan.config.concurrency));
            let mut tasks = JoinSet::new();
            if !states.is_empty() {
                let sockets = match opened.take() {
                    Some(sockets) => sockets,
                    None => Arc::new(Sockets::open().await.map_err(io::Error::other)?),
                };
                for router in states.values() {
                    let (router, plan) = (Arc::clone(router), Arc::clone(&plan));
                    let (permits, sockets) = (Arc::clone(&permits), Arc::clone(&sockets));
                    tasks.spawn(turns(router, plan, permits, sockets, clock, Arc::clone(&sink)));
                }
                opened = Some(sockets);
            }
            while !stop.load(Relaxed) && Arc::ptr_eq(&plan, &plans.load()) {
                tokio::time::sleep(LOOK).await;
            }
            tasks.shutdown().await;
        }
        for router in states.values() {
            router.lock().await.finish(&sink);
        }
        Ok(())
    })
}

/// The routers of a plan. One that is asked as before keeps its readings.
async fn carried_over(
    mut before: BTreeMap<String, Arc<Mutex<Router>>>,
    plan: &Plan,
    sink: &Arc<dyn Fn(Found) + Send + Sync>,
) -> BTreeMap<String, Arc<Mutex<Router>>> {
    let mut states = BTreeMap::new();
    for target in &plan.targets {
        let mut kept = before.remove(&target.exporter);
        let mut gaps = 0;
        if let Some(router) = &kept {
            let mut router = router.lock().await;
            // Other names may be asked for now.
            (router.named, router.polled) = (None, None);
            if router.target != *target {
                gaps = router.finish(sink);
                drop(router);
                kept = None;
            }
        }
        // Asked otherwise, its counters begin anew: the first poll tells what was given up for that.
        let anew = || {
            let mut router = Router::new(target.clone());
            router.done.gaps = gaps;
            Arc::new(Mutex::new(router))
        };
        let router = kept.unwrap_or_else(anew);
        states.insert(target.exporter.clone(), router);
    }
    for router in before.values() {
        router.lock().await.finish(sink);
    }
    states
}

/// Polls one router for ever.
async fn turns(
    router: Arc<Mutex<Router>>,
    plan: Arc<Plan>,
    permits: Arc<Semaphore>,
    sockets: Arc<Sockets>,
    clock: fn() -> UnixMillis,
    sink: Arc<dyn Fn(Found) + Send + Sync>,
) {
    let mut router = router.lock().await;
    let place = schedule::place_ms(&router.target.exporter, plan.config.interval_ms);
    // The first turn comes at once: names may be waited for.
    let mut due = if router.polled.is_some() {
        schedule::next(clock(), place, plan.config.interval_ms, router.failures)
    } else {
        clock()
    };
    let mut restarts = plan.wanted.restarts(&router.target.exporter);
    loop {
        wait_until(due, &router, &plan, restarts, clock).await;
        restarts = plan.wanted.restarts(&router.target.exporter);
        let Ok(permit) = permits.acquire().await else { return };
        let outcome = router.poll(&plan, &sockets, clock, &sink).await;
        drop(permit);
        router.failures = if outcome.is_ok() { 0 } else { router.failures.saturating_add(1) };
        if outcome.is_err() {
            // Keys and engine may have changed.
            router.session = None;
        }
        let at = clock();
        let Done { parts, interfaces, gaps } = core::mem::take(&mut router.done);
        let exporter = || router.target.exporter.clone();
        if !parts.is_empty() {
            sink(Found::Octets { exporter: exporter(), parts });
        }
        let failure = outcome.err().map(|error| error.to_string());
        sink(Found::Polled { exporter: exporter(), at, failure, interfaces, gaps });
        router.polled = Some(at);
        due = schedule::next(at, place, plan.config.interval_ms, router.failures);
    }
}

/// Waits until a poll is due, or until the router's flows tell that it has started anew.
async fn wait_until(due: UnixMillis, router: &Router, plan: &Plan, restarts: u64, clock: fn() -> UnixMillis) {
    loop {
        let now = clock();
        let left = Duration::from_millis(due.since(now).max(0).unsigned_abs());
        let is_recent = router.polled.is_some_and(|polled| now.since(polled) < RESTART_SOONEST_MS);
        let has_restarted = !is_recent && plan.wanted.restarts(&router.target.exporter) != restarts;
        if left.is_zero() || has_restarted {
            return;
        }
        tokio::time::sleep(left.min(RESTART_LOOK)).await;
    }
}

/// What a poll brought.
#[derive(Default)]
struct Done {
    parts: Vec<(IfIndex, InterfacePart)>,
    interfaces: usize,
    gaps: u64,
}

/// What is remembered of a router.
struct Router {
    target: Target,
    session: Option<Session>,
    /// Polls in a row without an answer.
    failures: u32,
    /// The last poll, answered or not.
    polled: Option<UnixMillis>,
    /// When the uptime was read, and what it was.
    uptime: Option<(UnixMillis, u32)>,
    table_last_change: Option<u32>,
    interfaces: Vec<Interface>,
    /// When they were read.
    named: Option<UnixMillis>,
    assemblers: BTreeMap<IfIndex, Assembler>,
    /// Whether it has flow tables that can be read.
    has_cards: Option<bool>,
    /// What this poll has brought so far. A poll may be cut off by another plan.
    done: Done,
}

impl Router {
    fn new(target: Target) -> Self {
        Self {
            target,
            session: None,
            failures: 0,
            polled: None,
            uptime: None,
            table_last_change: None,
            interfaces: Vec::new(),
            named: None,
            assemblers: BTreeMap::new(),
            has_cards: None,
            done: Done::default(),
        }
    }

    async fn poll(
        &mut self,
        plan: &Plan,
        sockets: &Sockets,
        clock: fn() -> UnixMillis,
        sink: &Arc<dyn Fn(Found) + Send + Sync>,
    ) -> Result<(), Error> {
        let config = &plan.config;
        let session = match self.session.take() {
            Some(session) => session,
            None => Session::open(sockets, &self.target, config).await?,
        };
        let asked = clock();
        let answer = session.get(&[columns::UPTIME.to_vec(), columns::TABLE_LAST_CHANGE.to_vec()]).await?;
        let now = clock();
        let Some(uptime) = columns::uptime(&answer) else { return Err(Error::no_uptime()) };
        let changed = columns::table_last_change(&answer);
        let is_stale = self.names_are_stale(asked, uptime, changed, config.names_ms);
        let holds_from = self.holds_from(asked, uptime);
        (self.uptime, self.table_last_change) = (Some((now, uptime)), changed);
        if is_stale {
            (self.named, self.has_cards) = (None, None);
            let walk = session.walk(columns::names(), config.interfaces).await?;
            if walk.truncated {
                tracing::warn!(exporter = %self.target.exporter, rows = walk.rows.len(), "The router has more interfaces than are read (`[poll] interfaces`).");
            }
            // A router has interfaces. One that shows none has a view that hides them, or has not found them yet.
            if walk.rows.is_empty() {
                return Err(Error::no_interfaces());
            }
            let is_whole = !walk.truncated && uptime >= SETTLED_TICKS;
            self.take_names(columns::interfaces(&walk.rows));
            // Where a router has just started they are read again with each poll.
            self.named = (uptime >= SETTLED_TICKS).then_some(now);
            let (exporter, interfaces) = (self.target.exporter.clone(), self.interfaces.clone());
            sink(Found::Interfaces { exporter, at: holds_from.unwrap_or_else(clock), is_whole, interfaces });
        }
        self.read_counters(plan, &session, clock).await?;
        if self.target.tables && self.has_cards != Some(false) {
            let cards = cards::read(&session).await?;
            self.has_cards = Some(!cards.is_empty());
            if !cards.is_empty() {
                sink(Found::Cards { exporter: self.target.exporter.clone(), at: clock(), cards });
            }
        }
        self.session = Some(session);
        Ok(())
    }

    /// Whether the numbers of interfaces may no longer be what they were.
    fn names_are_stale(&self, now: UnixMillis, uptime: u32, changed: Option<u32>, names_ms: i64) -> bool {
        let (Some((before, ticks)), Some(named)) = (self.uptime, self.named) else { return true };
        let elapsed = now.since(before);
        !super::counter::goes_on(ticks, uptime, elapsed)
            || self.table_last_change != changed
            || now.since(named) >= names_ms
    }

    /// Where the router has started since it was asked last: when, by its uptime, and not before it was asked.
    fn holds_from(&self, now: UnixMillis, uptime: u32) -> Option<UnixMillis> {
        let (before, ticks) = self.uptime?;
        let has_started = !super::counter::goes_on(ticks, uptime, now.since(before));
        has_started.then(|| now.plus(-10 * i64::from(uptime)).max(before))
    }

    /// Takes the interfaces of a walk. What another interface has counted under a number does not go on.
    fn take_names(&mut self, interfaces: Vec<Interface>) {
        let before = core::mem::replace(&mut self.interfaces, interfaces);
        let named = |all: &[Interface], ifindex: IfIndex| {
            all.iter().find(|one| one.ifindex == ifindex).map(|one| one.name.clone())
        };
        for (ifindex, assembler) in &mut self.assemblers {
            if named(&before, *ifindex) != named(&self.interfaces, *ifindex) {
                let mut parts = Vec::new();
                // What crosses it from its last reading on nobody knows: until it is found under another number, or for ever.
                self.done.gaps += u64::from(assembler.finish(&mut parts));
                self.done.parts.extend(parts.into_iter().map(|part| (*ifindex, part)));
            }
        }
    }

    async fn read_counters(
        &mut self,
        plan: &Plan,
        session: &Session,
        clock: fn() -> UnixMillis,
    ) -> Result<(), Error> {
        let wanted = plan.wanted.of(&self.target.exporter, &self.interfaces);
        let _ = self.drop_others(&wanted);
        let longest = plan.config.interval_ms + plan.config.interval_ms / 2;
        let mut low = Vec::new();
        for chunk in wanted.chunks(columns::AT_ONCE) {
            self.read_some(chunk, false, longest, session, clock, &mut low).await?;
        }
        let mut none = Vec::new();
        for chunk in low.chunks(columns::AT_ONCE) {
            self.read_some(chunk, true, longest, session, clock, &mut none).await?;
        }
        // What has no counters at all now begins anew when it has them again.
        for ifindex in none {
            if let Some(assembler) = self.assemblers.get_mut(&ifindex) {
                let mut parts = Vec::new();
                // One gap, however many polls it lasts.
                self.done.gaps += u64::from(assembler.finish(&mut parts));
                self.done.parts.extend(parts.into_iter().map(|part| (ifindex, part)));
            }
        }
        Ok(())
    }

    async fn read_some(
        &mut self,
        chunk: &[IfIndex],
        is_low: bool,
        longest: i64,
        session: &Session,
        clock: fn() -> UnixMillis,
        without: &mut Vec<IfIndex>,
    ) -> Result<(), Error> {
        let asked = clock();
        let answer = session.get(&columns::counters(chunk, is_low)).await?;
        // The counters were read somewhere between question and answer.
        let at = asked.plus(clock().since(asked) / 2);
        let Some(uptime) = columns::uptime(&answer) else {
            without.extend(chunk);
            return Ok(());
        };
        for &ifindex in chunk {
            let unnamed = Interface { ifindex, ..Interface::default() };
            let interface = self.interfaces.iter().find(|one| one.ifindex == ifindex).unwrap_or(&unnamed);
            let Some(reading) = columns::reading(&answer, interface, at, uptime, is_low) else {
                without.push(ifindex);
                continue;
            };
            let mut parts = Vec::new();
            let gap = self.assemblers.entry(ifindex).or_default().take(reading, longest, &mut parts);
            self.done.interfaces += 1;
            self.done.gaps += u64::from(gap.is_some());
            if let Some(gap) = gap {
                tell(&self.target.exporter, interface, gap);
            }
            self.done.parts.extend(parts.into_iter().map(|part| (ifindex, part)));
        }
        Ok(())
    }

    /// Interfaces that are no longer wanted; how many of them had a reading. Those are no gaps by themselves: what nobody
    /// asks for is not missed, and what has gone or has another number is counted where that is found ([`Self::take_names`]).
    fn drop_others(&mut self, wanted: &[IfIndex]) -> u64 {
        let done = &mut self.done;
        let mut dropped = 0;
        self.assemblers.retain(|ifindex, assembler| {
            let stays = wanted.contains(ifindex);
            if !stays {
                let mut parts = Vec::new();
                dropped += u64::from(assembler.finish(&mut parts));
                done.parts.extend(parts.into_iter().map(|part| (*ifindex, part)));
            }
            stays
        });
        dropped
    }

    /// Hands over what is open; how many gaps begin here if its interfaces are read on, with those not told yet.
    fn finish(&mut self, sink: &Arc<dyn Fn(Found) + Send + Sync>) -> u64 {
        let dropped = self.drop_others(&[]);
        let Done { parts, gaps, .. } = core::mem::take(&mut self.done);
        if !parts.is_empty() {
            sink(Found::Octets { exporter: self.target.exporter.clone(), parts });
        }
        dropped + gaps
    }
}

fn tell(exporter: &str, interface: &Interface, gap: Gap) {
    let (ifindex, name) = (interface.ifindex.0, &interface.name);
    tracing::info!(%exporter, ifindex, %name, ?gap, "Interface counters do not go on from the last reading.");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::poll::{Credentials, Secret};

    /// When names hold from, of a router that told at second 1000 that it was up for 500 s.
    fn holds_from(second: i64, uptime: u32) -> Option<i64> {
        let credentials = Credentials::Community(Secret::new("public"));
        let address = ([127, 0, 0, 1], 161).into();
        let mut router =
            Router::new(Target { exporter: "ce1".to_owned(), address, credentials, tables: false });
        router.uptime = Some((UnixMillis(1_000_000), 50_000));
        router.holds_from(UnixMillis(second * 1000), uptime).map(|at| at.0)
    }

    #[test]
    fn numbers_hold_from_a_start_that_was_seen() {
        // It went on: nothing is known of an earlier change.
        assert_eq!(holds_from(1060, 56_000), None);
        // 20 s up at second 1060: since 1040.
        assert_eq!(holds_from(1060, 2_000), Some(1_040_000));
        // It says 70 s, which is before we asked it, when it had been up for longer: its clock runs fast.
        assert_eq!(holds_from(1060, 7_000), Some(1_000_000));
        let credentials = Credentials::Community(Secret::new("public"));
        let address = ([127, 0, 0, 1], 161).into();
        let unknown = Router::new(Target { exporter: "ce1".to_owned(), address, credentials, tables: false });
        assert_eq!(unknown.holds_from(UnixMillis(1_000_000), 10), None, "nothing was asked before");
    }
}
