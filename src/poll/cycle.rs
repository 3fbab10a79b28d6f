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
        let (mut gaps, mut heard) = (0, (None, None));
        if let Some(router) = &kept {
            let mut router = router.lock().await;
            // Other names may be asked for now.
            (router.named, router.polled) = (None, None);
            if router.target != *target {
                gaps = router.finish(sink);
                // The same agent, asked in another way, has the same uptime.
                if router.target.address == target.address {
                    heard = (router.uptime, router.start);
                }
                drop(router);
                kept = None;
            }
        }
        // Asked otherwise, its counters begin anew: the first poll tells what was given up for that.
        let anew = || {
            let mut router = Router::new(target.clone());
            router.done.gaps = gaps;
            (router.uptime, router.start) = heard;
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
        let told = plan.wanted.restarts(&router.target.exporter);
        if told != restarts {
            // Its flows wait for a reading, also where the uptime goes on.
            restarts = told;
            (router.named, router.failures) = (None, 0);
        }
        let Ok(permit) = permits.acquire().await else { return };
        let outcome = router.poll(&plan, &sockets, clock, &sink).await;
        drop(permit);
        router.failures = if outcome.is_ok() { 0 } else { router.failures.saturating_add(1) };
        if outcome.is_err() {
            // Keys and engine may have changed.
            router.session = None;
        }
        let at = clock();
        router.tell_start(at, &sink);
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

/// A start of a router.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Start {
    /// From when on its interfaces may have other numbers than before.
    at: UnixMillis,
    /// Its interfaces have been read since, as far as they showed.
    is_read: bool,
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
    /// Its last start, until it has been up for long enough and its interfaces have been read.
    start: Option<Start>,
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
            start: None,
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
        let _ = self.heard(asked, now, uptime);
        self.tell_start(now, sink);
        self.table_last_change = changed;
        if is_stale {
            (self.named, self.has_cards) = (None, None);
            self.read_names(config, &session, clock, sink).await?;
        }
        self.read_counters(plan, &session, clock).await?;
        if self.target.tables && self.has_cards != Some(false) {
            self.read_cards(&session, clock, sink).await?;
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

    /// Takes in an uptime that was asked for at one instant and read at another. True where the router has started since
    /// it was heard before. That is remembered until its interfaces have been read, however many polls that takes.
    fn heard(&mut self, asked: UnixMillis, now: UnixMillis, uptime: u32) -> bool {
        let started = self.started(asked, uptime);
        self.uptime = Some((now, uptime));
        // Of two starts before a walk nobody knows what the first has moved: it counts from there.
        let is_unread = self.start.is_some_and(|start| !start.is_read);
        if let Some(at) = started.filter(|_| !is_unread) {
            self.start = Some(Start { at, is_read: false });
        }
        started.is_some()
    }

    /// Tells of a start after which its interfaces have not been read. A walk may take long, fail or find none.
    fn tell_start(&self, at: UnixMillis, sink: &Arc<dyn Fn(Found) + Send + Sync>) {
        if self.start.is_some_and(|start| !start.is_read) {
            sink(Found::Started { exporter: self.target.exporter.clone(), at });
        }
    }

    /// Where the router has started since it was asked last: when, by its uptime, and not before it was asked. Of one that
    /// was never asked: where it has started a short while ago.
    fn started(&self, now: UnixMillis, uptime: u32) -> Option<UnixMillis> {
        let start = now.plus(-10 * i64::from(uptime));
        let Some((before, ticks)) = self.uptime else { return (uptime < SETTLED_TICKS).then_some(start) };
        let has_started = !super::counter::goes_on(ticks, uptime, now.since(before));
        has_started.then(|| start.max(before))
    }

    async fn read_names(
        &mut self,
        config: &super::Config,
        session: &Session,
        clock: fn() -> UnixMillis,
        sink: &Arc<dyn Fn(Found) + Send + Sync>,
    ) -> Result<(), Error> {
        let walk = session.walk(columns::names(), config.interfaces).await?;
        if walk.truncated {
            tracing::warn!(exporter = %self.target.exporter, rows = walk.rows.len(), "The router has more interfaces than are read (`[poll] interfaces`).");
        }
        // A router has interfaces. One that shows none has a view that hides them, or has not found them yet.
        if walk.rows.is_empty() {
            return Err(Error::no_interfaces());
        }
        let (has_started, now, uptime) = self.hear(session, clock).await?;
        if has_started {
            // Nobody knows which rows are from before.
            return Err(Error::started_meanwhile());
        }
        let is_settled = uptime >= SETTLED_TICKS;
        let interfaces = columns::interfaces(&walk.rows);
        let at = self.hold_from(&interfaces).unwrap_or(now);
        let started = self.start.filter(|_| !is_settled).map(|start| start.at);
        self.take_names(interfaces);
        self.have_been_read(is_settled, now);
        sink(Found::Interfaces {
            exporter: self.target.exporter.clone(),
            at,
            is_whole: !walk.truncated && is_settled,
            started,
            interfaces: self.interfaces.clone(),
        });
        Ok(())
    }

    /// Its interfaces have been read. Where it has just started they are read again with each poll.
    fn have_been_read(&mut self, is_settled: bool, now: UnixMillis) {
        self.named = is_settled.then_some(now);
        self.start = self.start.filter(|_| !is_settled).map(|start| Start { is_read: true, ..start });
    }

    /// From when on the interfaces of a walk have their numbers, where that is from a start on: line cards take their time,
    /// but a number that only shows now has been theirs since, unless it was another's in a walk since then.
    fn hold_from(&self, interfaces: &[Interface]) -> Option<UnixMillis> {
        let start = self.start?;
        let has_moved = |now: &Interface| {
            let before = self.interfaces.binary_search_by_key(&now.ifindex, |one| one.ifindex);
            before.is_ok_and(|at| self.interfaces[at].name != now.name)
        };
        (!start.is_read || !interfaces.iter().any(has_moved)).then_some(start.at)
    }

    /// Reads the flow tables. Their counts are of the uptime that is read after them: where the router has started
    /// meanwhile, they are left for the next poll.
    async fn read_cards(
        &mut self,
        session: &Session,
        clock: fn() -> UnixMillis,
        sink: &Arc<dyn Fn(Found) + Send + Sync>,
    ) -> Result<(), Error> {
        let cards = cards::read(session).await?;
        self.has_cards = Some(!cards.is_empty());
        if cards.is_empty() {
            return Ok(());
        }
        let (has_started, at, uptime) = self.hear(session, clock).await?;
        if !has_started {
            sink(Found::Cards { exporter: self.target.exporter.clone(), at, uptime, cards });
        }
        Ok(())
    }

    /// Asks for the uptime alone: whether the router has started since it was heard before, when it was read, and the uptime.
    async fn hear(
        &mut self,
        session: &Session,
        clock: fn() -> UnixMillis,
    ) -> Result<(bool, UnixMillis, u32), Error> {
        let asked = clock();
        let answer = session.get(&[columns::UPTIME.to_vec()]).await?;
        let now = clock();
        let Some(uptime) = columns::uptime(&answer) else { return Err(Error::no_uptime()) };
        Ok((self.heard(asked, now, uptime), now, uptime))
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
    use crate::poll::{Config, Credentials, Secret, Wanted};

    fn target(address: [u8; 4], community: &str) -> Target {
        let credentials = Credentials::Community(Secret::new(community));
        Target { exporter: "ce1".to_owned(), address: (address, 161).into(), credentials, tables: false }
    }

    /// A router that told at second 1000 that it was up for 10000 s, and whose interfaces were read then.
    fn router() -> Router {
        let mut router = Router::new(target([127, 0, 0, 1], "public"));
        assert!(!hears(&mut router, 1000, 1_000_000), "it has been up for long");
        assert_eq!(router.start, None);
        router.interfaces = called(&[(100, "up0"), (900, "x9")]);
        router
    }

    fn called(names: &[(u32, &str)]) -> Vec<Interface> {
        let interface = |&(ifindex, name): &(u32, &str)| Interface {
            ifindex: IfIndex(ifindex),
            name: name.to_owned(),
            ..Interface::default()
        };
        names.iter().map(interface).collect()
    }

    /// It is asked at a second, and tells its uptime in hundredths.
    fn hears(router: &mut Router, second: i64, uptime: u32) -> bool {
        router.heard(UnixMillis(second * 1000), UnixMillis(second * 1000), uptime)
    }

    /// Since which second interfaces would hold that are read now.
    fn since(router: &Router, names: &[(u32, &str)]) -> Option<i64> {
        router.hold_from(&called(names)).map(|at| at.0 / 1000)
    }

    /// They are read.
    fn reads(router: &mut Router, names: &[(u32, &str)], is_settled: bool) {
        router.take_names(called(names));
        router.have_been_read(is_settled, UnixMillis(0));
    }

    #[test]
    fn numbers_hold_from_a_start_that_was_seen() {
        let mut one = router();
        assert!(!hears(&mut one, 1060, 1_006_000));
        assert_eq!(since(&one, &[]), None, "it went on: nothing is known of an earlier change");
        // 20 s up at second 1120: since 1100.
        assert!(hears(&mut one, 1120, 2_000));
        assert_eq!(since(&one, &[]), Some(1100));
        // It says 70 s, which is before we asked it, when it had been up for longer: its clock runs fast.
        let mut fast = router();
        assert!(hears(&mut fast, 1060, 7_000));
        assert_eq!(since(&fast, &[]), Some(1000));
        // One that was never asked before is believed its start where that is not ten minutes ago.
        let mut unknown = Router::new(target([127, 0, 0, 1], "public"));
        hears(&mut unknown, 1000, 59_999);
        assert_eq!(since(&unknown, &[]), Some(400));
        let mut old = Router::new(target([127, 0, 0, 1], "public"));
        hears(&mut old, 1000, 60_000);
        assert_eq!(since(&old, &[]), None);
    }

    /// With each poll until they are: a walk may be silent or empty.
    #[test]
    fn a_start_is_told_until_the_names_are_read() {
        let told = Arc::new(core::sync::atomic::AtomicU64::new(0));
        let count = Arc::clone(&told);
        let sink: Arc<dyn Fn(Found) + Send + Sync> = Arc::new(move |found| {
            let expected = Found::Started { exporter: "ce1".to_owned(), at: UnixMillis(7) };
            assert_eq!(found, expected);
            count.fetch_add(1, Relaxed);
        });
        let tells = |router: &Router| {
            router.tell_start(UnixMillis(7), &sink);
            told.swap(0, Relaxed) == 1
        };
        let mut one = router();
        assert!(!tells(&one));
        hears(&mut one, 1060, 2_000);
        assert!(tells(&one));
        hears(&mut one, 1120, 8_000);
        assert!(tells(&one), "it goes on, and is not read");
        reads(&mut one, &[(100, "x9")], false);
        assert!(!tells(&one));
        hears(&mut one, 1180, 1_000);
        assert!(tells(&one), "another start");
        reads(&mut one, &[(100, "x9")], true);
        assert!(!tells(&one));
    }

    /// A walk that was not answered, or found nothing, leaves the start as it was, also where there is another one.
    #[test]
    fn a_start_is_remembered_until_the_names_are_read() {
        let mut one = router();
        assert!(hears(&mut one, 1060, 2_000));
        assert!(!hears(&mut one, 1120, 8_000), "it goes on");
        assert_eq!(since(&one, &[(200, "up0")]), Some(1040));
        assert!(hears(&mut one, 1180, 1_000));
        assert_eq!(since(&one, &[(200, "up0")]), Some(1040), "of two the first");
        // Ten minutes later nobody has read them yet.
        assert!(!hears(&mut one, 1860, 69_000));
        assert_eq!(since(&one, &[(200, "up0")]), Some(1040));
        reads(&mut one, &[(200, "up0")], true);
        assert!(!hears(&mut one, 1920, 75_000));
        assert_eq!(since(&one, &[(200, "up0")]), None, "settled");
    }

    /// Interface 100 is another one since the start at 1040; where the first is shows a minute later.
    #[test]
    fn what_shows_late_has_its_number_since_the_start() {
        let mut one = router();
        hears(&mut one, 1060, 2_000);
        reads(&mut one, &[(100, "x9")], false);
        hears(&mut one, 1120, 8_000);
        assert_eq!(since(&one, &[(100, "x9"), (200, "up0")]), Some(1040));
        assert_eq!(since(&one, &[(100, "up0"), (200, "x9")]), None, "100 was another's until now");
    }

    #[derive(Debug)]
    struct Nothing;

    impl Wanted for Nothing {
        fn of(&self, _: &str, _: &[Interface]) -> Vec<IfIndex> {
            Vec::new()
        }

        fn restarts(&self, _: &str) -> u64 {
            0
        }
    }

    /// A reload between the uptime and the walk, also one that changes how the router is asked.
    #[test]
    fn a_reload_does_not_forget_a_start() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let sink: Arc<dyn Fn(Found) + Send + Sync> = Arc::new(|_| ());
        for (next, expected) in [
            (target([127, 0, 0, 1], "public"), Some(1040)),
            (target([127, 0, 0, 1], "another"), Some(1040)),
            (target([127, 0, 0, 2], "public"), None),
        ] {
            let mut one = router();
            hears(&mut one, 1060, 2_000);
            let states = BTreeMap::from([("ce1".to_owned(), Arc::new(Mutex::new(one)))]);
            let plan = Plan { config: Config::default(), targets: vec![next], wanted: Box::new(Nothing) };
            let after = runtime.block_on(carried_over(states, &plan, &sink));
            let mut after = after["ce1"].try_lock().expect("nobody has it");
            let is_known = after.uptime.is_some();
            assert_eq!((since(&after, &[]), is_known), (expected, expected.is_some()));
            if is_known {
                assert!(!hears(&mut after, 1120, 8_000));
                assert_eq!(since(&after, &[]), Some(1040));
            }
        }
    }
}
