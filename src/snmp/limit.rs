//! A limit on what one source is sent, so that forged requests cannot turn the agent against a third party.
//!
//! A token bucket in octets of responses for each source: an IPv4 address, or an IPv6 /64. The table has a fixed
//! number of buckets, and a keyed hash gives a source its bucket: two sources with the same hash share one. So
//! nothing grows, nothing is searched, and nobody can get a fresh bucket by driving others out. Loopback is not
//! limited: such addresses do not come in over a wire.

use core::hash::BuildHasher as _;
use core::net::IpAddr;
use core::time::Duration;

use foldhash::quality::RandomState;

/// How many buckets there are.
const BUCKETS: usize = 4096;

/// Response octets that a source gets per second, and at once after a pause. The burst carries a walk over
/// 10 000 customers.
const OCTETS_PER_SECOND: u64 = 1 << 20;
const BURST_OCTETS: u64 = 4 << 20;

#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    /// Response octets spent and not yet made up for by time.
    spent: u64,
    /// When `spent` was right.
    at: Duration,
}

/// The buckets of all sources.
#[derive(Debug)]
pub(super) struct Limit {
    hasher: RandomState,
    buckets: Vec<Bucket>,
}

impl Limit {
    pub(super) fn new() -> Self {
        Self { hasher: RandomState::default(), buckets: vec![Bucket::default(); BUCKETS] }
    }

    /// True where the source may have another response now.
    pub(super) fn admits(&mut self, source: IpAddr, uptime: Duration) -> bool {
        source.is_loopback() || self.bucket(source, uptime).spent < BURST_OCTETS
    }

    /// Notes what it was sent.
    pub(super) fn spend(&mut self, source: IpAddr, uptime: Duration, octets: usize) {
        if !source.is_loopback() {
            let bucket = self.bucket(source, uptime);
            bucket.spent = bucket.spent.saturating_add(octets as u64);
        }
    }

    fn bucket(&mut self, source: IpAddr, uptime: Duration) -> &mut Bucket {
        let hash = self.hasher.hash_one(network(source));
        let place = usize::try_from(hash % BUCKETS as u64).expect("less than BUCKETS");
        let bucket = &mut self.buckets[place];
        let micros = uptime.saturating_sub(bucket.at).as_micros();
        let regained = u64::try_from(micros * u128::from(OCTETS_PER_SECOND) / 1_000_000).unwrap_or(u64::MAX);
        // Time that buys less than an octet is kept: `at` moves only when something was regained.
        if regained > 0 {
            bucket.spent = bucket.spent.saturating_sub(regained);
            bucket.at = uptime;
        }
        bucket
    }
}

/// What counts as one source.
fn network(source: IpAddr) -> IpAddr {
    match source {
        IpAddr::V4(_) => source,
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() & !u128::from(u64::MAX)).into()),
    }
}
