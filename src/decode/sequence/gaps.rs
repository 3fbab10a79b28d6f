//! Numbers that are missing, and of which of them that is certain.
//!
//! Of an IPFIX message whose data waits for its template nobody knows how many numbers it takes: as many records as it has
//! sets at least, one for each octet at most. What lies between these bounds may be its own, and is told as lost only when
//! the template has come and leaves it over, or a later message shows to begin within.

use serde::{Deserialize, Serialize};

/// Gaps remembered for late datagrams.
const TOLD_MAX: usize = 128;

/// Ranges remembered that messages may take which could not be counted.
const OPEN_MAX: usize = 32;

/// How many numbers a datagram takes.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(in crate::decode) struct Count {
    pub(in crate::decode) least: u32,
    /// `u32::MAX`: nobody knows.
    pub(in crate::decode) most: u32,
}

impl Count {
    pub(in crate::decode) const fn exactly(count: u32) -> Self {
        Self { least: count, most: count }
    }

    pub(super) const fn exact(self) -> Option<u32> {
        if self.least == self.most { Some(self.least) } else { None }
    }

    /// A set of so many octets turned out to have `records`, where one had been counted.
    pub(in crate::decode) fn settle(&mut self, octets: u32, records: u32) {
        self.least = (self.least + records).saturating_sub(1);
        if self.most < u32::MAX {
            self.most = (self.most + records).saturating_sub(octets).max(self.least);
        }
    }
}

/// Missing numbers: from `start`, so many.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub(super) struct Gap {
    pub(super) start: u32,
    pub(super) len: u32,
    /// The number of the message before that could not be counted, and what it takes: some of these may be its own, so
    /// none were told as lost.
    owner: Option<(u32, Count)>,
}

impl Gap {
    /// With another one that begins where this one ends.
    const fn joined(self, next: Self) -> Self {
        if self.len == 0 { next } else { Self { len: self.len + next.len, ..self } }
    }
}

/// What a datagram that fills gaps changes.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Filled {
    /// Told as lost before, and not missing.
    pub(super) found: u32,
    /// Now certain to be missing.
    pub(super) lost: u32,
}

/// What is missing, and may still come.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(super) struct Gaps(Vec<Gap>);

impl Gaps {
    pub(super) fn iter(&self) -> impl Iterator<Item = &Gap> {
        self.0.iter()
    }

    /// Those that were told as lost.
    pub(super) fn told(&self) -> impl Iterator<Item = &Gap> {
        self.0.iter().filter(|gap| gap.owner.is_none())
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Numbers that are missing for certain.
    pub(super) fn note(&mut self, start: u32, len: u32) {
        self.push(Gap { start, len, owner: None });
    }

    /// The oldest of its kind gives way.
    fn push(&mut self, gap: Gap) {
        if gap.len == 0 {
            return;
        }
        let is_open = gap.owner.is_some();
        let is_alike = |other: &Gap| other.owner.is_some() == is_open;
        let max = if is_open { OPEN_MAX } else { TOLD_MAX };
        if self.0.iter().filter(|other| is_alike(other)).count() >= max
            && let Some(oldest) = self.0.iter().position(is_alike)
        {
            self.0.remove(oldest);
        }
        self.0.push(gap);
    }

    /// What is missing between a message that could not be counted and the one that is seen next: how much for certain.
    pub(super) fn note_behind(&mut self, number: u32, count: Count, next: u32) -> u32 {
        let step = next.wrapping_sub(number);
        let own = count.most.min(step);
        let start = number.wrapping_add(count.least);
        self.push(Gap { start, len: own.saturating_sub(count.least), owner: Some((number, count)) });
        let from = own.max(count.least.min(step));
        self.note(number.wrapping_add(from), step - from);
        step - from
    }

    /// True where so many numbers are missing for certain, and what is before them, or behind them, is not.
    pub(super) fn fits(&self, number: u32, count: u32) -> bool {
        self.0.iter().any(|gap| {
            let before = number.wrapping_sub(gap.start);
            let is_within = u64::from(before) + u64::from(count) <= u64::from(gap.len);
            gap.owner.is_none() && count > 0 && is_within && (before == 0 || before + count == gap.len)
        })
    }

    /// Takes the numbers of a late datagram out of the gaps they lie in. `None` where it begins in no gap.
    pub(super) fn fill(&mut self, number: u32, count: Count) -> Option<Filled> {
        let holds = |gap: &Gap| number.wrapping_sub(gap.start) < gap.len;
        let first = self.0.iter().position(holds)?;
        let mut run = vec![self.0.remove(first)];
        // Gaps with nothing between them.
        loop {
            let end = run.last().map(|gap| gap.start.wrapping_add(gap.len)).expect("there is one at least");
            let Some(at) = self.0.iter().position(|gap| gap.start == end) else { break };
            run.push(self.0.remove(at));
        }
        let mut filled = Filled::default();
        let nothing = Gap { start: number, len: 0, owner: None };
        let (mut its, mut rest) = (nothing, nothing);
        for Gap { start, len, owner } in run {
            // Places as seen from `number`: before it, surely its own, perhaps its own, behind that.
            let from = i64::from(start.wrapping_sub(number).cast_signed());
            let end = from + i64::from(len);
            let part = |low: i64, high: i64| {
                let (low, high) = (low.max(from), high.min(end));
                let len = u32::try_from(high - low).unwrap_or(0);
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "modulo 2^32 is meant"
                )]
                let start = number.wrapping_add(low as u32);
                Gap { start, len, owner: None }
            };
            let (least, most) = (i64::from(count.least), i64::from(count.most));
            let (before, sure) = (part(i64::MIN, 0), part(0, least));
            let (perhaps, behind) = (part(least, most), part(most, i64::MAX));
            match owner {
                None => filled.found += sure.len + perhaps.len,
                // Whose it was ends before `number`, and this one ends before that.
                Some(_) => filled.lost += behind.len,
            }
            self.push(Gap { owner, ..before });
            its = its.joined(perhaps);
            rest = rest.joined(behind);
        }
        self.push(Gap { owner: Some((number, count)), ..its });
        self.push(rest);
        Some(filled)
    }

    /// Of the message with this number a set of so many octets has `records`: how much is now known to be missing. `None`
    /// where it is not known.
    pub(super) fn settle(&mut self, number: u32, octets: u32, records: u32) -> Option<u32> {
        let is_its = |gap: &Gap| gap.owner.is_some_and(|(owner, _)| owner == number);
        let gap = self.0.remove(self.0.iter().position(is_its)?);
        let (_, mut count) = gap.owner?;
        count.settle(octets, records);
        Some(self.note_behind(number, count, gap.start.wrapping_add(gap.len)))
    }
}
