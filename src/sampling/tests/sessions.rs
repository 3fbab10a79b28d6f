//! TCP sessions: what one of them announces is its own (RFC 7011 3.1).

use super::*;
use RateSource as S;

const GRACE: i64 = 600_000;

/// IPFIX options about all of domain `id`: one packet in `n`.
fn wide_options(id: u32, n: u32) -> Vec<Octets> {
    let template = options_template(310, 1, &[(149, 4), (34, 4), (35, 1)]);
    vec![set(3, template), set(310, octets().u32(id).u32(n).u8(1))]
}

/// A v9 record of options for the whole system.
fn octets_of(n: u32) -> Octets {
    octets().u32(0).u32(n).u8(1)
}

/// A record of so many octets that names no sampler, and its template.
fn flows(octets_: u32) -> Vec<Octets> {
    vec![set(2, template(300, &[(1, 4), (2, 4)])), set(300, octets().u32(octets_).u32(1))]
}

/// A session with its own numbers of messages.
struct Exporter {
    session: u16,
    domain: u32,
    number: u32,
}

impl Exporter {
    const fn new(session: u16) -> Self {
        Self { session, domain: 1, number: 0 }
    }

    /// Sends at so many milliseconds.
    fn say(&mut self, pipe: &mut Pipe, after: i64, sets: &[Octets]) {
        self.say_of(self.domain, pipe, after, sets);
    }

    fn say_of(&mut self, domain: u32, pipe: &mut Pipe, after: i64, sets: &[Octets]) {
        pipe.hear_at(self.session, EXPORT_MS + after, &ipfix(self.number, domain, sets));
        self.number += 1;
    }
}

fn expire(pipe: &mut Pipe, after: i64) {
    pipe.sampling.expire(&pipe.config, &pipe.policy, UnixMillis(EXPORT_MS + after), &mut pipe.settled);
}

/// What is billed, and what waits.
fn sums(pipe: &Pipe) -> (u64, usize) {
    (pipe.scaled().0, pipe.sampling.held_records())
}

#[test]
fn sessions_that_are_open_at_once_have_rates_of_their_own() {
    let (mut pipe, mut a, mut b) = (Pipe::default(), Exporter::new(1), Exporter::new(2));
    a.say(&mut pipe, 0, &[wide_options(1, 100), flows(1000)].concat());
    b.say(&mut pipe, 1000, &[wide_options(1, 10), flows(1)].concat());
    a.say(&mut pipe, 2000, &flows(1000));
    b.say(&mut pipe, 3000, &flows(1));
    assert_eq!(sums(&pipe), (100_000 + 10 + 100_000 + 10, 0));
    // Samplers of the same number are different ones as well.
    let selector = |n: u64| selectors(&[(304, 1), (305, 4), (306, 4)], &[&[5, 1, 1, n - 1]]);
    let (mut pipe, mut a, mut b) = (Pipe::default(), Exporter::new(1), Exporter::new(2));
    a.say(&mut pipe, 0, &[&selector(100)[..], &[named(), data(5, 1000)]].concat());
    b.say(&mut pipe, 0, &[&selector(10)[..], &[named(), data(5, 1)]].concat());
    a.say(&mut pipe, 0, &[data(5, 1000)]);
    assert_eq!(sums(&pipe), (100_000 + 10 + 100_000, 0));
    // One that describes no such sampler waits, whatever the other one says of its own.
    Exporter::new(3).say(&mut pipe, 0, &[named(), data(5, 7)]);
    expire(&mut pipe, GRACE);
    assert_eq!(sums(&pipe), (200_010, 1));
}

/// Nor does the connection of another process begin the grace time of the first one anew.
#[test]
fn one_that_announces_nothing_is_not_scaled_by_what_a_later_one_announces() {
    let (mut pipe, mut a, mut b) = (Pipe::default(), Exporter::new(1), Exporter::new(2));
    a.say(&mut pipe, 0, &flows(1000));
    expire(&mut pipe, GRACE);
    assert_eq!(sums(&pipe), (1000, 0));
    b.say(&mut pipe, GRACE, &[wide_options(1, 100), flows(1)].concat());
    a.say(&mut pipe, GRACE + 1, &flows(1000));
    assert_eq!(sums(&pipe), (1000 + 100 + 1000, 0));
    // It breaks and begins again: still the one that announces nothing.
    pipe.end_session(1);
    Exporter::new(3).say(&mut pipe, GRACE + 2, &flows(1000));
    assert_eq!(sums(&pipe), (1000 + 100 + 2000, 0));
}

/// It may be the same exporter, whose former connection nobody has seen to break. Then it samples as before; or another one.
#[test]
fn one_that_announces_nothing_beside_an_older_one_that_does_waits() {
    let met = || {
        let (mut pipe, mut a, mut b) = (Pipe::default(), Exporter::new(1), Exporter::new(2));
        a.say(&mut pipe, 0, &[wide_options(1, 100), flows(1000)].concat());
        b.say(&mut pipe, 1000, &flows(1));
        a.say(&mut pipe, 2000, &flows(1000));
        assert_eq!(sums(&pipe), (200_000, 1));
        (pipe, b)
    };
    let (mut pipe, _) = met();
    expire(&mut pipe, GRACE + 1000);
    assert_eq!(sums(&pipe), (200_000, 1));
    expire(&mut pipe, 3_601_000);
    assert_eq!((sums(&pipe), pipe.sampling.expired_records()), ((200_000, 0), 1));
    // Until it says so, or the operator does.
    let (mut pipe, mut b) = met();
    b.say(&mut pipe, 3000, &wide_options(1, 10));
    assert_eq!(sums(&pipe), (200_010, 0));
    let (mut pipe, _) = met();
    pipe.policy.default = Some(rate(7, 1, S::Default));
    expire(&mut pipe, GRACE + 1000);
    assert_eq!(sums(&pipe), (200_007, 0));
}

/// Domain 0 of a session is the device of that session; that of another one may be that of the whole exporter, where each of
/// its line cards has a connection.
#[test]
fn domain_0_speaks_for_its_own_session_and_for_line_cards() {
    let (mut pipe, mut a, mut b) = (Pipe::default(), Exporter::new(1), Exporter::new(2));
    a.say_of(0, &mut pipe, 0, &wide_options(0, 100));
    b.say_of(0, &mut pipe, 0, &wide_options(0, 10));
    a.say(&mut pipe, 0, &flows(1000));
    b.say(&mut pipe, 0, &flows(1));
    expire(&mut pipe, GRACE);
    assert_eq!(sums(&pipe), (100_000 + 10, 0));
    let (mut pipe, mut processor) = (Pipe::default(), Exporter::new(1));
    let [mut one, mut two] = [2, 3].map(|n| Exporter { domain: n.into(), ..Exporter::new(n) });
    one.say(&mut pipe, 0, &flows(1000));
    processor.say_of(0, &mut pipe, 1000, &wide_options(0, 100));
    two.say(&mut pipe, 2000, &flows(1));
    expire(&mut pipe, GRACE + 2000);
    assert_eq!(sums(&pipe), (100_000 + 100, 0));
}

/// The processor's link broke unseen, and it came back with another rate; then its old connection is closed. What it says now
/// holds for the line cards, also when they connect again.
#[test]
fn line_cards_go_by_the_session_that_is_there() {
    let (mut pipe, mut old, mut new) = (Pipe::default(), Exporter::new(1), Exporter::new(2));
    let mut card = Exporter { domain: 3, ..Exporter::new(3) };
    old.say_of(0, &mut pipe, 0, &wide_options(0, 100));
    card.say(&mut pipe, 0, &flows(1000));
    expire(&mut pipe, GRACE);
    assert_eq!(sums(&pipe), (100_000, 0));
    new.say_of(0, &mut pipe, GRACE, &wide_options(0, 10));
    pipe.end_session(1);
    card.say(&mut pipe, GRACE + 1, &flows(1));
    assert_eq!(sums(&pipe), (100_010, 0));
    pipe.end_session(3);
    let mut again = Exporter { domain: 3, ..Exporter::new(4) };
    again.say(&mut pipe, GRACE + 2, &flows(1));
    expire(&mut pipe, 2 * GRACE + 2);
    assert_eq!(sums(&pipe), (100_020, 0));
}

/// The one that announced has gone for good, and the other one still announces nothing.
#[test]
fn what_is_silent_waits_only_while_the_other_one_is_there() {
    let (mut pipe, mut a, mut b) = (Pipe::default(), Exporter::new(1), Exporter::new(2));
    a.say(&mut pipe, 0, &[wide_options(1, 100), flows(1000)].concat());
    b.say(&mut pipe, 0, &flows(1));
    expire(&mut pipe, GRACE);
    assert_eq!(sums(&pipe), (100_000, 1));
    pipe.end_session(1);
    b.say(&mut pipe, GRACE + 1, &flows(1));
    // What had waited is let go as well.
    assert_eq!(pipe.settled.last().map(|record| record.rate.source()), Some(S::NotAnnounced));
    assert_eq!(sums(&pipe), (100_002, 0));
}

/// An exporter's restart over UDP has nothing to do with a session that has ended.
#[test]
fn a_restart_over_udp_goes_on_with_what_was_said_over_udp() {
    for (told, billed) in [(None, 100_000 + 1 + 1), (Some(10), 100_000 + 10 + 10)] {
        let (mut pipe, mut a) = (Pipe::default(), Exporter::new(1));
        a.say(&mut pipe, 0, &[wide_options(1, 100), flows(1000)].concat());
        pipe.end_session(1);
        let wide = |n| {
            let template = options_template9(311, &[(1, 4)], &[(34, 4), (35, 1)]);
            vec![set(1, template), set(311, octets_of(n))]
        };
        let sets = |options: Option<u32>| {
            let flows = [set(0, template(300, &[(1, 4), (2, 4)])), set(300, octets().u32(1).u32(1))];
            options.map(wide).into_iter().flatten().chain(flows).collect::<Vec<_>>()
        };
        pipe.take_at(EXPORT_MS, &v9_at(900_000, EXPORT, 500, 1, &sets(told)));
        expire(&mut pipe, GRACE);
        pipe.take_at(EXPORT_MS + GRACE, &v9_at(1000, EXPORT + 600, 0, 1, &sets(None)));
        assert_eq!(pipe.counts().restarts, 1);
        expire(&mut pipe, 2 * GRACE);
        assert_eq!(sums(&pipe), (billed, 0), "{told:?}");
    }
}

/// A session may begin with a domain of which nothing was said, and one session may go on with domains of several.
#[test]
fn what_was_said_of_a_domain_is_found_whichever_the_session_begins_with() {
    let (mut pipe, mut first) = (Pipe::default(), Exporter::new(1));
    first.say(&mut pipe, 0, &[wide_options(1, 100), flows(1000)].concat());
    pipe.end_session(1);
    let mut next = Exporter::new(2);
    next.say_of(0, &mut pipe, 1000, &flows(1)[..1]);
    next.say(&mut pipe, 2000, &flows(1000));
    assert_eq!(sums(&pipe), (100_000, 1));
    expire(&mut pipe, GRACE + 2000);
    assert_eq!((sums(&pipe), pipe.sampling.taken_up()), ((200_000, 0), 1));

    // What waits for a sampler's description gets that of the session that has taken its domain over.
    let (mut pipe, mut first, mut next) = (Pipe::default(), Exporter::new(1), Exporter::new(2));
    first.say(&mut pipe, 0, &[named(), data(5, 1000)]);
    pipe.end_session(1);
    next.say_of(0, &mut pipe, 1000, &flows(1)[..1]);
    let selector = selectors(&[(304, 1), (305, 4), (306, 4)], &[&[5, 1, 1, 99]]);
    next.say(&mut pipe, 2000, &selector);
    assert_eq!(sums(&pipe), (100_000, 0));

    let (mut pipe, mut one) = (Pipe::default(), Exporter::new(1));
    let mut two = Exporter { domain: 2, ..Exporter::new(2) };
    one.say(&mut pipe, 0, &wide_options(1, 100));
    two.say(&mut pipe, 0, &wide_options(2, 10));
    pipe.end_session(1);
    pipe.end_session(2);
    let mut both = Exporter::new(3);
    both.say_of(1, &mut pipe, 1000, &flows(1000));
    both.say_of(2, &mut pipe, 1000, &flows(1));
    assert_eq!(sums(&pipe), (0, 2));
    expire(&mut pipe, GRACE + 1000);
    assert_eq!(sums(&pipe), (100_010, 0));
}

/// What a session announces in one domain is news for the records of another one, whichever comes first in it.
#[test]
fn domains_of_one_session_begin_together() {
    let (mut pipe, mut first, mut next) = (Pipe::default(), Exporter::new(1), Exporter::new(2));
    first.say_of(0, &mut pipe, 0, &wide_options(0, 100));
    first.say(&mut pipe, 0, &flows(1000));
    expire(&mut pipe, GRACE);
    assert_eq!(sums(&pipe), (100_000, 0));
    pipe.end_session(1);
    next.say_of(0, &mut pipe, GRACE + 1000, &wide_options(0, 10));
    next.say(&mut pipe, GRACE + 1000, &flows(1));
    assert_eq!((sums(&pipe), pipe.sampling.taken_up()), ((100_010, 0), 0));
}

/// Each new session doubts anew what was announced before; a record waits no longer for that than the grace time.
#[test]
fn sessions_that_break_again_and_again_hold_nothing_for_ever() {
    let mut pipe = Pipe::default();
    let mut first = Exporter::new(1);
    first.say(&mut pipe, 0, &[wide_options(1, 100), flows(1000)].concat());
    pipe.end_session(1);
    Exporter::new(2).say(&mut pipe, 1000, &flows(1000));
    pipe.end_session(2);
    assert_eq!(sums(&pipe), (100_000, 1));
    // The next one has no records, and nothing follows.
    Exporter::new(3).say(&mut pipe, 500_000, &flows(1000)[..1]);
    expire(&mut pipe, GRACE + 999);
    assert_eq!(sums(&pipe), (100_000, 1));
    expire(&mut pipe, GRACE + 1000);
    assert_eq!((sums(&pipe), pipe.sampling.taken_up()), ((200_000, 0), 1));
    // What comes in that one has a grace time of its own, in which the rate is announced anew.
    let mut last = Exporter { number: 1, ..Exporter::new(3) };
    last.say(&mut pipe, GRACE + 2000, &flows(1)[1..]);
    assert_eq!(sums(&pipe), (200_000, 1));
    last.say(&mut pipe, GRACE + 3000, &wide_options(1, 10));
    assert_eq!(sums(&pipe), (200_010, 0));
}

/// Two that differed have ended, and one of them, nobody knows which, is there again.
#[test]
fn of_several_former_ones_that_differ_none_is_taken_up() {
    let ended = |rates: [u32; 2]| {
        let mut pipe = Pipe::default();
        for (session, n) in [1, 2].into_iter().zip(rates) {
            let told = if n > 1 { wide_options(1, n) } else { Vec::new() };
            Exporter::new(session).say(&mut pipe, 0, &[told, flows(1)].concat());
        }
        expire(&mut pipe, GRACE);
        pipe.end_session(1);
        pipe.end_session(2);
        expire(&mut pipe, GRACE);
        pipe.settled.clear();
        pipe
    };
    for (rates, billed) in
        [([100, 100], (3000, 0)), ([100, 10], (0, 3)), ([100, 1], (0, 3)), ([1, 100], (0, 3))]
    {
        let mut pipe = ended(rates);
        let mut next = Exporter::new(3);
        let held_before = pipe.sampling.held_records();
        for n in 0..3 {
            next.say(&mut pipe, GRACE + 1000 * n, &flows(10));
        }
        expire(&mut pipe, 2 * GRACE + 2000);
        let (octets, held) = sums(&pipe);
        assert_eq!((octets, held - held_before), billed, "{rates:?}");
        // What it announces is what it is.
        next.say(&mut pipe, 2 * GRACE + 3000, &wide_options(1, 7));
        pipe.settled.clear();
        next.say(&mut pipe, 2 * GRACE + 4000, &flows(10));
        assert_eq!(pipe.scaled().0, 70, "{rates:?}");
    }
}

/// What waits belongs to its session, also behind a restart of our own, which ends all of them.
#[test]
fn what_waits_is_released_by_its_own_session() {
    let (mut pipe, mut a, mut b) = (Pipe::default(), Exporter::new(1), Exporter::new(2));
    a.say(&mut pipe, 0, &[named(), data(5, 1000)]);
    b.say(&mut pipe, 0, &[named(), data(5, 1)]);
    assert_eq!(sums(&pipe), (0, 2));
    let saved = postcard::to_stdvec(&pipe.sampling).unwrap();
    let chunks = pipe.sampling.take_changes().written;
    pipe.sampling = postcard::from_bytes(&saved).unwrap();
    pipe.sampling.restore(ExporterId(0), chunks).unwrap();
    let selector = |n: u64| selectors(&[(304, 1), (305, 4), (306, 4)], &[&[5, 1, 1, n - 1]]);
    b.say(&mut pipe, 1000, &selector(10));
    assert_eq!(sums(&pipe), (10, 1));
    a.say(&mut pipe, 1000, &selector(100));
    assert_eq!(sums(&pipe), (100_010, 0));
}

/// A crowd of sessions, each with a domain of its own: those that ended give way to new ones.
#[test]
fn ended_sessions_give_way() {
    let mut pipe = Pipe::default();
    for n in 0..3000_u16 {
        let mut one = Exporter { domain: n.into(), ..Exporter::new(n) };
        one.say(&mut pipe, 0, &[wide_options(n.into(), 100), flows(1)].concat());
        pipe.end_session(n);
    }
    assert_eq!((sums(&pipe), pipe.sampling.refused()), ((300_000, 0), 0));
    assert!(pipe.sampling.announced().len() <= 1024);
}
