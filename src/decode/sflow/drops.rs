//! Whether all sources of an agent state one count of drops, the agent's.
//!
//! sFlow version 5 (section 5) calls `drops` the total number of drops since the agent was last reset. Where an agent takes that
//! by the letter, each of its sources seems to have dropped what all of them did, and a switch of eight busy ports would be
//! billed for eight times its drops. So where the counts of an agent's sources are one, what it moves by is of the source whose sample tells of
//! it first. That is nobody's knowledge but right in the mean: sources tell of drops as often as they are sampled.
//!
//! That it is one count shows where one source has told of a number, and the next one, which had another one before, tells
//! of the same or a little more. Counts of their own only do so while they are alike by chance, and are soon apart.

use serde::{Deserialize, Serialize};

/// A count that is ahead of what another source told last by no more may be the same one.
const FEW: u32 = 8;

/// One that is behind by no more may be of a sample that waited in the agent.
const WAITED: u32 = 32;

/// So many more agreements than disagreements, and it is one count.
const AGREED: i16 = 32;

/// More are not remembered.
const AGREED_MAX: i16 = 64;

/// Disagreements that one count far from the other makes up for.
const FAR: i16 = 4;

/// The counts of drops of an agent's sources.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
pub(super) struct Drops {
    greatest: u32,
    /// Who told last.
    by: Option<(u32, u32)>,
    agreed: i16,
    is_one: bool,
}

impl Drops {
    /// A source that told of `before` drops last tells of `now`. How much of that is new, where all sources have one count.
    pub(super) fn tell(&mut self, source: (u32, u32), before: u32, now: u32) -> Option<u32> {
        let (ahead, behind) = (now.wrapping_sub(self.greatest), self.greatest.wrapping_sub(now));
        let is_far = ahead > FEW && behind > WAITED;
        if self.by.is_some_and(|by| by != source) && now != before {
            let says = match () {
                () if is_far => -FAR,
                () if ahead <= FEW => 1,
                () => -1,
            };
            self.agreed = (self.agreed + says).clamp(-AGREED_MAX, AGREED_MAX);
            self.is_one = self.agreed >= if self.is_one { 1 } else { AGREED };
        }
        self.by = Some(source);
        let is_ahead = behind > u32::MAX / 2;
        if is_far || is_ahead {
            self.greatest = now;
        }
        self.is_one.then_some(if is_ahead { ahead } else { 0 })
    }
}
