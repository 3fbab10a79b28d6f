//! Flow times. Exporters state them in seven ways; what comes out is a half-open span of milliseconds that lies
//! within the hour before the export time, and never in the future (of which a header in whole seconds leaves up to one open). Where the exporter's clock is wrong, the export time
//! is that of reception, and instants move by as much as that differs from what was stated: a flow stays as long, and as
//! long before its export, as its exporter says.
//!
//! Uptimes (22/21) are turned into instants by the signed 32-bit difference from the header's uptime (or, in IPFIX,
//! from the export time's distance to element 160), so they survive the wrap after 49.7 days. IPFIX records with
//! uptimes and no element 160 keep their duration, and end at the export time.

mod run;

use serde::{Deserialize, Serialize};

pub(super) use self::run::Run;
use super::element::Slot;
use super::layout::Row;
use crate::flow::Mark;
use crate::units::UnixMillis;

/// How far before the export time a flow may start.
const AGE_MS_MAX: i64 = 3_600_000;

/// Seconds from the NTP era's beginning, 1900-01-01, to 1970-01-01.
const NTP_TO_UNIX: i64 = 2_208_988_800;

/// What the header of a datagram says, for its sets. Kept with a held set.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
pub(super) struct Context {
    /// Protocol version: 1, 5, 7, 8, 9 or 10.
    pub(super) version: u16,
    /// Observation domain.
    pub(super) domain: u32,
    /// Sequence number, where it tells the order of statements.
    pub(super) number: u32,
    /// Export time, not after `received`, and not too far before it.
    pub(super) export: UnixMillis,
    /// Milliseconds by which that is later than what the header states. Whatever else the exporter's clock told is out
    /// by as much.
    pub(super) shift: i64,
    /// Uptime at the export time, in milliseconds; IPFIX has none.
    pub(super) uptime: Option<u32>,
    /// When the datagram was received.
    pub(super) received: UnixMillis,
    /// IPFIX: when the exporter started, as its options records say (element 160).
    pub(super) system_init: Option<UnixMillis>,
    /// NetFlow v9: the uptime as an instant of the exporter's run ([`Run::instant`]). Told anew for each set.
    #[serde(skip)]
    pub(super) in_run: Option<UnixMillis>,
}

/// How a template states an instant.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Clock {
    Absent,
    /// Milliseconds since the epoch (152, 153, 323).
    Millis,
    /// Seconds since the epoch (150, 151, 322).
    Seconds,
    /// NTP timestamps (154-157, 324, 325): seconds since 1900 and a binary fraction (RFC 7011 6.1.9, 6.1.10).
    Ntp,
    /// Microseconds before the export time (158, 159).
    DeltaMicros,
    /// Milliseconds since the exporter started (22, 21).
    Uptime,
}

impl Clock {
    /// True where it states instants by themselves, whatever the export time, and 0 where it has none to state.
    pub(super) const fn is_absolute(self) -> bool {
        matches!(self, Self::Millis | Self::Seconds | Self::Ntp)
    }

    /// The elements that state a start, most trusted first.
    pub(super) const START: [(u16, Self); 6] = [
        (152, Self::Millis),
        (154, Self::Ntp),
        (156, Self::Ntp),
        (22, Self::Uptime),
        (150, Self::Seconds),
        (158, Self::DeltaMicros),
    ];

    /// The elements that state an end, most trusted first; the time of an event where there is no flow.
    pub(super) const END: [(u16, Self); 10] = [
        (153, Self::Millis),
        (155, Self::Ntp),
        (157, Self::Ntp),
        (21, Self::Uptime),
        (151, Self::Seconds),
        (159, Self::DeltaMicros),
        (323, Self::Millis),
        (324, Self::Ntp),
        (325, Self::Ntp),
        (322, Self::Seconds),
    ];
}

/// Start and end of a flow, and whether they had to be moved.
pub(super) type Moved = (UnixMillis, UnixMillis, bool);

/// The clocks of a template, or of the reverse direction in it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clocks {
    pub(super) start: Clock,
    pub(super) end: Clock,
    /// Divisor of the duration to milliseconds: 1 (element 161), 1000 (162), or 0 for no duration.
    pub(super) duration_divisor: u64,
}

impl Clocks {
    /// The duration that `raw` states, in milliseconds.
    #[inline]
    fn duration(self, raw: u64) -> Option<i64> {
        match self.duration_divisor {
            0 => None,
            divisor => i64::try_from(raw / divisor).ok(),
        }
    }
}

impl Context {
    /// The datagram's place among those of its domain.
    pub(super) fn mark(&self) -> Mark {
        Mark { number: self.number, stated: self.export.plus(-self.shift) }
    }

    /// Tells its protocol version and domain from others.
    pub(super) fn stream(&self) -> u64 {
        u64::from(self.version) << 32 | u64::from(self.domain)
    }

    /// The instant that `raw` states; `None` where it states none.
    #[inline]
    fn instant(&self, clock: Clock, raw: u64, uptime: Option<u32>) -> Option<i64> {
        let signed = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        let ours = |theirs: i64| Some(theirs.saturating_add(self.shift));
        match clock {
            Clock::Absent => None,
            Clock::Uptime => uptime.map(|uptime| self.before_export(uptime, raw)),
            // An exporter that has no time to state writes 0.
            _ if raw == 0 && clock != Clock::DeltaMicros => None,
            Clock::Millis => ours(signed(raw)),
            Clock::Seconds => ours(signed(raw).saturating_mul(1000)),
            Clock::DeltaMicros => Some(self.export.0.saturating_sub(signed(raw / 1000))),
            Clock::Ntp => {
                let (seconds, fraction) = (signed(raw >> 32), raw & 0xffff_ffff);
                // The era that began in 2036 has the high bit clear.
                let era = if seconds < 1 << 31 { 1 << 32 } else { 0 };
                ours((seconds + era - NTP_TO_UNIX) * 1000 + signed((fraction * 1000) >> 32))
            }
        }
    }

    /// The instant at which the uptime was `raw`, when it is `uptime` at the export time.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "uptimes are 32 bits and wrap")]
    fn before_export(&self, uptime: u32, raw: u64) -> i64 {
        self.export.0 - i64::from(uptime.wrapping_sub(raw as u32).cast_signed())
    }

    /// Uptime at the export time, from when the exporter started (modulo 2^32, as the record's uptimes are).
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "modulo 2^32 is meant")]
    fn uptime_since(&self, init: UnixMillis) -> u32 {
        // Both by the exporter's clock.
        self.export.plus(-self.shift).since(init) as u32
    }

    /// True where `raw` by that clock is the exporter's own word, and not made up from the export time.
    pub(super) fn states<const N: usize>(&self, clock: Clock, raw: u64, row: &Row<'_, N>) -> bool {
        let is_known = || {
            self.uptime.is_some() || self.system_init.is_some() || row.number(Slot::SystemInit as usize) != 0
        };
        match clock {
            Clock::Absent => false,
            Clock::Uptime => is_known(),
            _ => raw != 0,
        }
    }

    /// The instant that `raw` states by the exporter's own clock, exactly: that of the day, or the one of its uptime, where it
    /// is known when that began. `None` where it takes the export time, or where `raw` is 0.
    pub(super) fn own<const N: usize>(&self, clock: Clock, raw: u64, row: &Row<'_, N>) -> Option<UnixMillis> {
        let stated = self.export.plus(-self.shift);
        if clock != Clock::Uptime {
            let instant = clock.is_absolute().then(|| self.instant(clock, raw, None)).flatten();
            return instant.map(|instant| UnixMillis(instant).plus(-self.shift));
        }
        let (now, uptime) = match self.uptime {
            Some(uptime) => (self.in_run?, uptime),
            None => (stated, self.uptime_by_init(row)?),
        };
        let ago = uptime.wrapping_sub(u32::try_from(raw).ok().filter(|&raw| raw != 0)?);
        Some(now.plus(-i64::from(ago.cast_signed())))
    }

    /// No flow is said to begin before.
    pub(super) fn oldest(&self) -> UnixMillis {
        self.export.plus(-AGE_MS_MAX)
    }

    /// Start and end of a record that states both as uptimes, under a header that has one, too; and whether they had to
    /// be moved.
    #[inline(always)]
    pub(super) fn uptimes(&self, first: u64, last: u64) -> Moved {
        let uptime = self.uptime.unwrap_or_default();
        self.clamp(self.before_export(uptime, first), self.before_export(uptime, last))
    }

    /// Start and end of a record that has them as `first` and `last`, and whether they had to be moved.
    #[inline(always)]
    pub(super) fn span<const N: usize>(
        &self,
        clocks: Clocks,
        (first, last): (u64, u64),
        row: &Row<'_, N>,
    ) -> Moved {
        if let (Clock::Uptime, Clock::Uptime, Some(_)) = (clocks.start, clocks.end, self.uptime) {
            // What nearly all of v9 has.
            return self.uptimes(first, last);
        }
        let mut uptime = self.uptime;
        if uptime.is_none() && (clocks.start == Clock::Uptime || clocks.end == Clock::Uptime) {
            uptime = self.uptime_by_init(row);
            if uptime.is_none() && clocks.start == clocks.end {
                let last = u32::try_from(last & 0xffff_ffff).unwrap_or_default();
                return self.clamp(self.before_export(last, first), self.export.0);
            }
        }
        let start = self.instant(clocks.start, first, uptime);
        let end = self.instant(clocks.end, last, uptime);
        if let (Some(start), Some(end)) = (start, end) {
            return self.clamp(start, end);
        }
        let duration = clocks.duration(row.number(Slot::Duration as usize));
        let end = match (end, start, duration) {
            (Some(end), ..) => end,
            (None, Some(start), Some(duration)) => start.saturating_add(duration),
            // It began, so it had not ended before, whatever the header's whole seconds say.
            (None, Some(start), None) => self.export.0.max(start),
            (None, None, _) => self.export.0,
        };
        let start = start.unwrap_or_else(|| end.saturating_sub(duration.unwrap_or_default()));
        self.clamp(start, end)
    }

    /// Start and end of the reverse direction of a record, by elements of its own with these clocks: what these leave out
    /// is that of the forward direction, whose clocks, end as stated and span these are. Packets back are packets of the
    /// biflow, so where only their beginning is told, they end with it.
    pub(super) fn reverse_span<const N: usize>(
        &self,
        (clocks, last): (Clocks, u64),
        reverse: Clocks,
        row: &Row<'_, N>,
        forward: Moved,
    ) -> Moved {
        let n = |slot: Slot| row.number(slot as usize);
        // Where nobody knows when the exporter started, the forward direction ends at the export time, and the uptimes of
        // both are told from there.
        let last = || u32::try_from(last & 0xffff_ffff).ok();
        let is_relative = clocks.start == Clock::Uptime && clocks.end == Clock::Uptime;
        let uptime = self.uptime.or_else(|| self.uptime_by_init(row));
        let uptime = uptime.or_else(|| last().filter(|_| is_relative));
        let delay = i64::try_from(n(Slot::ReverseDelay)).ok();
        let delayed = || delay.filter(|_| row.len(Slot::ReverseDelay as usize) > 0);
        let start = self.instant(reverse.start, n(Slot::ReverseStart), uptime);
        let start = start.or_else(|| delayed().map(|delay| forward.0.0.saturating_add(delay)));
        let end = self.instant(reverse.end, n(Slot::ReverseEnd), uptime);
        let duration = reverse.duration(n(Slot::ReverseDuration));
        let (start, end) = match (start, end, duration) {
            (None, None, None) => return forward,
            (Some(start), Some(end), _) => (start, end),
            (Some(start), None, Some(duration)) => (start, start.saturating_add(duration)),
            (Some(start), None, None) => (start, start.max(forward.1.0)),
            (None, Some(end), Some(duration)) => (end.saturating_sub(duration), end),
            (None, Some(end), None) => (end.min(forward.0.0), end),
            (None, None, Some(duration)) => (forward.1.0.saturating_sub(duration), forward.1.0),
        };
        self.clamp(start, end)
    }

    /// Uptime at the export time, where the record or an options record says when the exporter started.
    fn uptime_by_init<const N: usize>(&self, row: &Row<'_, N>) -> Option<u32> {
        let own = i64::try_from(row.number(Slot::SystemInit as usize)).ok().filter(|&init| init != 0);
        own.map(UnixMillis).or(self.system_init).map(|init| self.uptime_since(init))
    }

    /// The last instant that a record of the datagram can know of. Headers of v9 and IPFIX tell whole seconds, so the
    /// datagram was sent somewhere within that one, and before it was received; others tell their instant.
    #[inline(always)]
    fn newest(&self) -> i64 {
        let within = if self.version >= 9 { 999 } else { 0 };
        (self.export.0 + within).min(self.received.0).max(self.export.0)
    }

    /// Moves a span into the hour before the export time, or that second. The flag leaves out what whole seconds explain:
    /// an end less than a second after the export time.
    #[inline(always)]
    fn clamp(&self, start: i64, end: i64) -> Moved {
        let (oldest, newest) = (self.export.0 - AGE_MS_MAX, self.newest());
        let is_late = end >= self.export.0 + 1000;
        let (stated, end) = (end, end.clamp(oldest, newest));
        // One that ends within the header's second is no longer for that.
        let oldest = oldest.max(end - AGE_MS_MAX);
        let moved = start < oldest || start > stated || is_late;
        (UnixMillis(start.clamp(oldest, end)), UnixMillis(end), moved)
    }
}
