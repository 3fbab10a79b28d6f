//! What a counter grew by between two readings, or why nobody knows.

use crate::units::UnixMillis;

/// A counter as read, of 32 or 64 bits (RFC 2578 7.1.6, 7.1.10).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Counter {
    /// Counter32.
    Bits32(u32),
    /// Counter64.
    Bits64(u64),
}

/// The counters of one direction. What the router does not have is `None`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Direction {
    /// Octets with framing.
    pub octets: Option<Counter>,
    /// Unicast, multicast and broadcast packets.
    pub packets: [Option<Counter>; 3],
}

/// The counters of an interface at an instant.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Reading {
    /// When, by our clock.
    pub at: UnixMillis,
    /// `sysUpTime` in the same answer, in hundredths of a second.
    pub uptime: u32,
    /// `ifCounterDiscontinuityTime`.
    pub discontinuity: Option<u32>,
    /// Bits a second; 0: not known.
    pub speed: u64,
    /// Received.
    pub inward: Direction,
    /// Sent.
    pub outward: Direction,
}

/// What crossed the interface between two readings.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Span {
    /// The earlier reading.
    pub from: UnixMillis,
    /// The later one.
    pub to: UnixMillis,
    /// Octets received.
    pub in_octets: u64,
    /// Octets sent.
    pub out_octets: u64,
    /// Packets received; `None`: not known.
    pub in_packets: Option<u64>,
    /// Packets sent.
    pub out_packets: Option<u64>,
}

/// Why a span is unknown.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Gap {
    /// The router has started anew, or our clock was set.
    Restart,
    /// The interface's counters have begun anew (`ifCounterDiscontinuityTime`).
    Discontinuity,
    /// A counter went back further than a wrap explains, or forward further than the line can carry.
    WentBack,
    /// A 32-bit counter may have wrapped more than once at this speed.
    TooFast,
    /// A counter is not there, or not of the width that it had.
    Missing,
    /// A boundary between buckets lies somewhere in a long silence.
    Silence,
}

/// Octets that a counter may jump by whatever the time: they are kept in steps.
const SLACK_OCTETS: u128 = 1 << 20;

/// By how much the speed of an interface may be stated too low.
const SPEED_STATED_TOO_LOW: u128 = 16;

/// How far the uptime may be from our clock over a span: 2 s for readings on the way, and a twentieth for bad clocks.
const fn slack_ms(elapsed: i64) -> i64 {
    2_000 + elapsed / 20
}

/// Whether an uptime went on with our clock for `elapsed` milliseconds.
#[must_use]
pub fn goes_on(before: u32, after: u32, elapsed: i64) -> bool {
    // TimeTicks wrap after 497 days, which is no restart.
    let ticked = i64::from(after.wrapping_sub(before)) * 10;
    (ticked - elapsed).abs() <= slack_ms(elapsed)
}

/// Whether a router has started between two readings of its uptime, by what the later one says. Where our clock was set, or
/// another router answers, that only says something of neither.
#[must_use]
pub fn has_started(before: (UnixMillis, u32), after: (UnixMillis, u32)) -> bool {
    let elapsed = after.0.since(before.0);
    !goes_on(before.1, after.1, elapsed) && 10 * i64::from(after.1) <= elapsed + slack_ms(elapsed)
}

/// What a count of events has risen by from one reading to the next, as far as is known. It may be of 32 bits and wrap,
/// which nothing tells but that it goes back from its upper half; one that goes back otherwise was cleared, and has counted
/// what it says since. So has that of a router that started in between.
#[must_use]
pub fn risen(before: u64, after: u64, has_restarted: bool) -> u64 {
    const WRAP: u64 = 1 << 32;
    if has_restarted {
        return after;
    }
    if before <= after {
        return after - before;
    }
    let is_upper = (WRAP / 2..WRAP).contains(&before);
    let round = after.saturating_add(WRAP).saturating_sub(before);
    if is_upper && round < WRAP / 2 { round } else { after }
}

/// What crossed the interface between two of its readings.
///
/// # Errors
/// [`Gap`].
pub fn span(before: &Reading, after: &Reading) -> Result<Span, Gap> {
    let elapsed = after.at.since(before.at);
    if elapsed <= 0 || !goes_on(before.uptime, after.uptime, elapsed) {
        return Err(Gap::Restart);
    }
    if before.discontinuity != after.discontinuity {
        return Err(Gap::Discontinuity);
    }
    let speeds = (before.speed.min(after.speed), before.speed.max(after.speed));
    let grew = |before, after| grown(before, after, speeds, elapsed);
    let packets = |before: &Direction, after: &Direction| {
        // Without unicast the sum would be of the others alone.
        let mut sum = grew(before.packets[0], after.packets[0]).ok()?;
        for kind in 1..3 {
            if before.packets[kind].is_some() || after.packets[kind].is_some() {
                sum = sum.checked_add(grew(before.packets[kind], after.packets[kind]).ok()?)?;
            }
        }
        Some(sum)
    };
    Ok(Span {
        from: before.at,
        to: after.at,
        in_octets: grew(before.inward.octets, after.inward.octets)?,
        out_octets: grew(before.outward.octets, after.outward.octets)?,
        in_packets: packets(&before.inward, &after.inward),
        out_packets: packets(&before.outward, &after.outward),
    })
}

/// `speeds`: the slower and the faster one that the interface had, in bits a second; 0 where it is not known.
fn grown(
    before: Option<Counter>,
    after: Option<Counter>,
    speeds: (u64, u64),
    elapsed_ms: i64,
) -> Result<u64, Gap> {
    // The most that can have crossed, in octets; packets are fewer.
    let octets = |speed: u64| u128::from(speed) * u128::from(elapsed_ms.unsigned_abs()) / 8_000;
    let (least, most) = (octets(speeds.0), octets(speeds.1));
    match (before, after) {
        (Some(Counter::Bits64(before)), Some(Counter::Bits64(after))) => {
            let grown = after.wrapping_sub(before);
            // One that went back has wrapped only where the speed allows what it must have grown by. Twice, since speeds
            // are rounded and counters are kept in steps. One that went forward further than any line of that speed
            // could carry was another counter meanwhile; speeds are often stated too low, but not by that much.
            let has_gone_back = after < before && u128::from(grown) > 2 * least;
            let is_beyond = u128::from(grown) > SPEED_STATED_TOO_LOW * most + SLACK_OCTETS;
            if has_gone_back || speeds.1 > 0 && is_beyond { Err(Gap::WentBack) } else { Ok(grown) }
        }
        (Some(Counter::Bits32(before)), Some(Counter::Bits32(after))) => {
            if speeds.0 == 0 || most >= 1 << 32 {
                return Err(Gap::TooFast);
            }
            let grown = after.wrapping_sub(before);
            // A wrap that the speed does not allow is a counter that was cleared.
            let is_beyond = u128::from(grown) > 2 * most + SLACK_OCTETS;
            if is_beyond { Err(Gap::WentBack) } else { Ok(grown.into()) }
        }
        _ => Err(Gap::Missing),
    }
}
