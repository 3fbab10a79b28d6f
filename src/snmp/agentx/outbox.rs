//! Notifications on their way to the master: each stays here until the master has answered it (RFC 2741, 7.2.5).
//!
//! A session that ends takes no notification with it: what was not answered waits for the next session, in its old place.
//! One that ends sessions is given up in the end, since nothing behind it would arrive; and there is an end to what waits.

use std::collections::{BTreeMap, VecDeque};

use super::super::notify::Notification;

/// Notifications that wait for a master, at most.
pub(super) const WAITING_MAX: usize = 64;
/// Sessions that a notification is told in, at most.
const TRIES: u32 = 3;

#[derive(Debug)]
struct Waiting {
    notification: Notification,
    tries: u32,
}

/// What was not told, and what was not answered.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    waiting: VecDeque<Waiting>,
    /// By the numbers of their packets, which ascend within a session.
    told: BTreeMap<u32, Waiting>,
}

impl Outbox {
    /// Adds one; how many had to leave for it.
    pub(super) fn push(&mut self, notification: Notification) -> usize {
        self.waiting.push_back(Waiting { notification, tries: 0 });
        self.shorten()
    }

    /// The next to be told.
    pub(super) fn next(&self) -> Option<&Notification> {
        self.waiting.front().map(|one| &one.notification)
    }

    /// It was told, in this packet.
    pub(super) fn told(&mut self, packet: u32) {
        if let Some(mut one) = self.waiting.pop_front() {
            one.tries += 1;
            self.told.insert(packet, one);
        }
    }

    /// The master has answered a packet.
    pub(super) fn answered(&mut self, packet: u32) {
        self.told.remove(&packet);
    }

    /// The session has ended: what was not answered waits again. How many are given up.
    pub(super) fn put_back(&mut self) -> usize {
        let mut given_up = 0;
        for one in core::mem::take(&mut self.told).into_values().rev() {
            if one.tries < TRIES {
                self.waiting.push_front(one);
            } else {
                given_up += 1;
            }
        }
        given_up + self.shorten()
    }

    fn shorten(&mut self) -> usize {
        let too_many = self.waiting.len().saturating_sub(WAITING_MAX);
        self.waiting.drain(..too_many);
        too_many
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(outbox: &Outbox) -> Option<u32> {
        outbox.next().map(|(name, _)| name[0])
    }

    #[test]
    fn what_is_not_answered_is_told_again_in_its_order() {
        let mut outbox = Outbox::default();
        for name in 1..=4 {
            assert_eq!(outbox.push((vec![name], Vec::new())), 0);
        }
        for packet in [10, 11, 12] {
            outbox.told(packet);
        }
        outbox.answered(11);
        assert_eq!((next(&outbox), outbox.put_back()), (Some(4), 0));
        let mut order = Vec::new();
        for packet in 1..=3 {
            order.extend(next(&outbox));
            outbox.told(packet);
        }
        assert_eq!((order, next(&outbox)), (vec![1, 3, 4], None));
        // Told twice, and once more: then no more. The last was told once less.
        assert_eq!(outbox.put_back(), 0);
        for packet in 1..=3 {
            outbox.told(packet);
        }
        assert_eq!((outbox.put_back(), next(&outbox)), (2, Some(4)));
    }

    #[test]
    fn the_oldest_leave_for_want_of_room() {
        let mut outbox = Outbox::default();
        for name in 0..64 {
            outbox.push((vec![name], Vec::new()));
            outbox.told(name);
        }
        for name in 64..100 {
            assert_eq!(outbox.push((vec![name], Vec::new())), 0);
        }
        // 64 that were told and 36 that were not.
        assert_eq!((outbox.put_back(), next(&outbox)), (36, Some(36)));
    }
}
