//! Whether an interface's own counters bear its sample pool out.
//!
//! An exporter that sends flow samples also sends counter samples, every 20 or 30 seconds for each interface. Between two
//! of them an honest pool moves by as many packets as went through the interface on the side that is sampled, and so does
//! what samples and drops stand for, at the rate that is really in force. So what the pool says beyond what is plausible by
//! itself has a witness that counts otherwise: in hardware, and without sampling.
//!
//! Two of three decide: the pool, what samples and drops stand for, and the counters. Where the counters agree with the pool
//! it is right. Where they agree with the samples and not with the pool, that counts other packets, too. Where they agree with
//! neither, as those of sfprobe, which counts what it has sampled, they bear witness to nothing.
//!
//! The two are read at different instants, and counters may leave out what is discarded or broken. So they agree within a
//! quarter, over [`SPAN`] samples at least. A counter that says nothing (all bits set, or no packet at all) is none.

use serde::{Deserialize, Serialize};

use super::SPAN;
use crate::flow::Observed;

/// Packets that went through an interface so far, modulo 2^32; `None` where it does not count them.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub(in super::super) struct Interface {
    pub(in super::super) input: Option<u32>,
    pub(in super::super) output: Option<u32>,
}

/// What the counters say of the pool.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub(super) enum Pooled {
    /// Nothing, or that it counts fewer packets than there are.
    #[default]
    Unknown,
    /// It counts the packets that are sampled.
    AsCounted,
    /// It counts others, too.
    TooMuch,
}

/// What moved since the last counter sample that was compared, and what the last comparison came to.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
pub(super) struct Witness {
    last: Option<Interface>,
    /// Flow samples that arrived.
    samples: u64,
    /// Packets by which the pool moved.
    passed: u64,
    /// Packets that samples made and dropped stand for.
    explained: u64,
    ingress: bool,
    egress: bool,
    pub(super) pooled: Pooled,
    /// True where as many packets went through as samples and drops stand for.
    pub(super) bears_out_drops: bool,
}

impl Witness {
    /// Takes in a flow sample.
    pub(super) fn add(&mut self, passed: u32, explained: u64, observed: Observed) {
        self.samples += 1;
        self.passed = self.passed.saturating_add(passed.into());
        self.explained = self.explained.saturating_add(explained);
        match observed {
            Observed::Ingress => self.ingress = true,
            Observed::Egress => self.egress = true,
            // Through the exporter itself, or back to where it came from.
            Observed::Unknown => {}
        }
    }

    /// Takes in a counter sample.
    pub(super) fn see(&mut self, now: Interface) {
        if self.last.is_some() && self.samples < SPAN {
            return;
        }
        let counted = self.last.and_then(|last| self.counted(last, now));
        let (pooled, bears_out_drops) = counted.map_or((Pooled::Unknown, false), |counted| {
            let agrees = |packets: u64| packets.abs_diff(counted) <= counted / 4;
            let bears_out_drops = agrees(self.explained);
            let pooled = match self.passed {
                passed if agrees(passed) => Pooled::AsCounted,
                passed if passed > counted && bears_out_drops => Pooled::TooMuch,
                _ => Pooled::Unknown,
            };
            (pooled, bears_out_drops)
        });
        *self = Self { last: Some(now), pooled, bears_out_drops, ..Self::default() };
    }

    /// Packets that went through since `last` on the sides that are sampled.
    fn counted(&self, last: Interface, now: Interface) -> Option<u64> {
        let side = |is_sampled: bool, last: Option<u32>, now: Option<u32>| {
            if is_sampled { Some(u64::from(now?.wrapping_sub(last?))) } else { Some(0) }
        };
        let input = side(self.ingress, last.input, now.input)?;
        let output = side(self.egress, last.output, now.output)?;
        Some(input + output).filter(|&counted| counted > 0)
    }
}
