//! When a router is polled: at a place of its own in each interval, and less often while it does not answer.

use crate::units::UnixMillis;

/// Routers are spread over so much of the interval at most.
const SPREAD_MS: i64 = 15_000;

/// A router that does not answer is asked again after at most so many intervals ...
const PAUSE_MAX: u32 = 8;

/// ... and at every interval for so many of them, which is longer than routers take to start: the sooner one is heard
/// again, the fewer flows go by the numbers that its interfaces had before.
const FAILURES_BEFORE_PAUSE: u32 = 12;

/// Where in the interval a router is polled: the same place after each start, another for each name.
#[must_use]
pub fn place_ms(exporter: &str, interval_ms: i64) -> i64 {
    // FNV-1a: the place must not change with a version of a library.
    let hash = exporter.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, octet| {
        (hash ^ u64::from(octet)).wrapping_mul(0x0100_0000_01b3)
    });
    let spread = (interval_ms / 4).clamp(1, SPREAD_MS).unsigned_abs();
    // The low bits of so short a hash differ least.
    i64::try_from((hash >> 20) % spread).unwrap_or(0)
}

/// The next poll after `now`, where the last `failures` in a row got no answer.
#[must_use]
pub fn next(now: UnixMillis, place_ms: i64, interval_ms: i64, failures: u32) -> UnixMillis {
    let turn = (now.0 - place_ms).div_euclid(interval_ms) + 1;
    let pause = 1_i64 << failures.saturating_sub(FAILURES_BEFORE_PAUSE).min(PAUSE_MAX.ilog2());
    // While it is silent, at turns that are multiples of the pause.
    let turn = if failures == 0 { turn } else { (turn + pause - 1).div_euclid(pause) * pause };
    UnixMillis(turn * interval_ms + place_ms)
}
