//! Spans between readings to parts of buckets. [`super`] says by which rule.

use super::counter::{self, Gap, Reading, Span};
use crate::ledger::records::interfaces::InterfacePart;
use crate::units::UnixMillis;
use crate::usage::BucketStart;

/// Puts the readings of one interface together.
#[derive(Clone, Debug, Default)]
pub struct Assembler {
    last: Option<Reading>,
    /// The part that may go on.
    open: Option<InterfacePart>,
}

impl Assembler {
    /// Takes the next reading; parts that are complete are appended to `done`. `longest_ms`: the longest span that is
    /// split at a boundary. Tells why the span to the reading before is a gap, where it is one.
    pub fn take(&mut self, reading: Reading, longest_ms: i64, done: &mut Vec<InterfacePart>) -> Option<Gap> {
        let before = self.last.replace(reading)?;
        let known = counter::span(&before, &reading).and_then(|span| {
            let crosses = BucketStart::of(span.from) != BucketStart::of(span.to.plus(-1));
            if crosses && span.to.since(span.from) > longest_ms { Err(Gap::Silence) } else { Ok(span) }
        });
        match known {
            Ok(span) => {
                for part in split(&span) {
                    self.add(part, done);
                }
                None
            }
            Err(gap) => {
                done.extend(self.open.take());
                Some(gap)
            }
        }
    }

    /// Hands over the part that is open: there will be no reading that goes on from the last one. True where there was a
    /// reading: from it on nobody knows what crosses the interface.
    pub fn finish(&mut self, done: &mut Vec<InterfacePart>) -> bool {
        done.extend(self.open.take());
        self.last.take().is_some()
    }

    fn add(&mut self, part: InterfacePart, done: &mut Vec<InterfacePart>) {
        match &mut self.open {
            Some(open) if open.bucket == part.bucket && open.to == part.from => {
                let sum = |a: Option<u64>, b: Option<u64>| a?.checked_add(b?);
                open.to = part.to;
                open.in_octets = open.in_octets.saturating_add(part.in_octets);
                open.out_octets = open.out_octets.saturating_add(part.out_octets);
                open.in_packets = sum(open.in_packets, part.in_packets);
                open.out_packets = sum(open.out_packets, part.out_packets);
            }
            _ => done.extend(self.open.replace(part)),
        }
        if self.open.is_some_and(|open| open.to == open.bucket.end()) {
            done.extend(self.open.take());
        }
    }
}

/// A span's parts in the buckets that it touches: in proportion to time, in whole octets that sum to the span's.
fn split(span: &Span) -> impl Iterator<Item = InterfacePart> {
    let length = i128::from(span.to.since(span.from));
    let mut from = span.from;
    let span = *span;
    core::iter::from_fn(move || {
        if from >= span.to {
            return None;
        }
        let bucket = BucketStart::of(from);
        let to = bucket.end().min(span.to);
        // What was crossed up to an instant, rounded down: differences of it sum to the whole.
        let up_to = |total: u64, at: UnixMillis| {
            let part = i128::from(total) * i128::from(at.since(span.from)) / length;
            u64::try_from(part).expect("a part is no more than the whole")
        };
        let share = |total: u64| up_to(total, to) - up_to(total, from);
        let part = InterfacePart {
            bucket,
            from,
            to,
            in_octets: share(span.in_octets),
            out_octets: share(span.out_octets),
            in_packets: span.in_packets.map(share),
            out_packets: span.out_packets.map(share),
        };
        from = to;
        Some(part)
    })
}
