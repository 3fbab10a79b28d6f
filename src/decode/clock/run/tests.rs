//! Instants of runs, with uptimes and clocks by hand.

use super::*;

/// An uptime, told at `stated` seconds and received 0.2 s into that second.
fn uptime(millis: u32, stated: i64) -> Uptime {
    Uptime { millis, stated: UnixMillis(stated * 1000), received: UnixMillis(stated * 1000 + 200) }
}

/// The instant of the uptime of a datagram, after the run has seen it.
fn instant(run: &mut Option<Run>, now: Uptime) -> Option<i64> {
    *run = Some(Run::see(*run, now));
    told(*run, now)
}

fn told(run: Option<Run>, Uptime { millis, stated, received }: Uptime) -> Option<i64> {
    let context =
        Context { version: 9, export: stated, uptime: Some(millis), received, ..Context::default() };
    run.and_then(|run| run.instant(&context)).map(|instant| instant.0)
}

/// However the headers' whole seconds fall, and over the wrap of the uptime.
#[test]
fn instants_differ_by_what_uptimes_do() {
    let mut run = None;
    let first = instant(&mut run, uptime(4_294_960_000, 1_000_000)).unwrap();
    // 1.3 s later, told a second later; then 7296 ms after the first one the uptime is 0.
    assert_eq!(instant(&mut run, uptime(4_294_961_300, 1_000_001)), Some(first + 1300));
    assert_eq!(instant(&mut run, uptime(704, 1_000_008)), Some(first + 8000));
    // One that was overtaken, and one that was told then and waited since.
    assert_eq!(instant(&mut run, uptime(4_294_961_000, 1_000_001)), Some(first + 1000));
    assert_eq!(told(run, uptime(4_294_960_500, 1_000_000)), Some(first + 500));
    // The time of day is set an hour ahead: it is the same run.
    assert_eq!(
        instant(&mut run, Uptime { received: UnixMillis(1_000_010_200), ..uptime(2_704, 1_003_610) }),
        Some(first + 10_000)
    );
    // A drift of half a second a minute, for two days, comes to 24 minutes. Not a millisecond counts twice.
    let begun = instant(&mut run, uptime(100_000, 1_000_108)).unwrap();
    for minute in 1..2880_u32 {
        let now = uptime(100_000 + minute * 59_500, 1_000_108 + i64::from(minute) * 60);
        assert_eq!(instant(&mut run, now), Some(begun + i64::from(minute) * 59_500), "{minute}");
    }
}

#[test]
fn a_later_run_has_later_instants() {
    let mut run = None;
    // An uptime that ran ten minutes ahead of the clocks in an hour: by 4.2 million milliseconds of 3.6.
    let mut before = 0;
    for minute in 0..=60_u32 {
        let now = uptime(1_000_000 + minute * 70_000, 1_000_000 + i64::from(minute) * 60);
        before = instant(&mut run, now).unwrap();
    }
    assert_eq!(before, 1_000_000_200 + 4_200_000);
    // It starts anew and is up after half a minute: five seconds of uptime later than all that was.
    let after = uptime(5_000, 1_003_630);
    assert_eq!(instant(&mut run, after), Some(before + 5_001));
    // What the run before told last comes late, and has no place in this one.
    assert_eq!(instant(&mut run, uptime(5_200_000, 1_003_600)), None);
    assert_eq!(instant(&mut run, uptime(6_000, 1_003_631)), Some(before + 6_001));
}
