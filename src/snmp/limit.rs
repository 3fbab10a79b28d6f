//! A limit on what one source is sent, so that forged requests cannot turn the agent against a third party, and on what it
//! may cost, so that none keeps the agent from the others.
//!
//! A token bucket in octets for each source, of the response or of the request, whichever is longer, and of what had to be
//! looked at for it: an IPv4 address, or an IPv6 /64. The table has a fixed
//! number of buckets, and a keyed hash gives a source its bucket: two sources with the same hash share one. So
//! nothing grows, nothing is searched, and nobody can get a fresh bucket by driving others out. Loopback is not
//! limited: such addresses do not come in over a wire.

use core::hash::BuildHasher as _;
use core::net::IpAddr;
use core::time::Duration;

use foldhash::quality::RandomState;

/// How many buckets there are.
const BUCKETS: usize = 4096;

/// Octets that a source gets per second, and at once after a pause. The burst carries a walk over
/// 10 000 customers.
const OCTETS_PER_SECOND: u128 = 1 << 20;
const BURST_OCTETS: u128 = 4 << 20;

const BILLION: u128 = 1_000_000_000;

/// Rows and leaves that cost as much as an octet.
const LOOKS_PER_OCTET: usize = 16;

/// What a message costs its source, answered or not.
pub(super) fn cost(request: usize, response: usize, looks: u32) -> usize {
    request.max(response).max(usize::try_from(looks).unwrap_or(usize::MAX) / LOOKS_PER_OCTET)
}

#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    /// Octets spent and not yet made up for by time, in billionths: exact for any step of the clock.
    spent: u128,
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

    /// True where the source may be heard now.
    pub(super) fn admits(&mut self, source: IpAddr, uptime: Duration) -> bool {
        source.is_loopback() || self.bucket(source, uptime).spent < BURST_OCTETS * BILLION
    }

    /// Notes what it cost.
    pub(super) fn spend(&mut self, source: IpAddr, uptime: Duration, octets: usize) {
        if !source.is_loopback() {
            let bucket = self.bucket(source, uptime);
            bucket.spent += octets as u128 * BILLION;
        }
    }

    fn bucket(&mut self, source: IpAddr, uptime: Duration) -> &mut Bucket {
        let hash = self.hasher.hash_one(network(source));
        let place = usize::try_from(hash % BUCKETS as u64).expect("less than BUCKETS");
        let bucket = &mut self.buckets[place];
        let nanos = uptime.saturating_sub(bucket.at).as_nanos();
        bucket.spent = bucket.spent.saturating_sub(nanos * OCTETS_PER_SECOND);
        bucket.at = bucket.at.max(uptime);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_network_is_one_source_and_time_gives_back() {
        let mut limit = Limit::new();
        let address = |text: &str| text.parse::<IpAddr>().expect("an address");
        let at = Duration::from_secs(100);
        limit.spend(address("2001:db8:1:2::3"), at, 4 << 20);
        assert!(!limit.admits(address("2001:db8:1:2:ffff::"), at));
        assert!(limit.admits(address("2001:db8:1:2:ffff::"), at + Duration::from_nanos(1)));
        // Many small steps give as much as a large one.
        limit.spend(address("192.0.2.1"), at, 5 << 20);
        for step in 1..=1_000_000 {
            assert!(!limit.admits(address("192.0.2.1"), at + Duration::from_nanos(step * 1000)), "{step}");
        }
        assert!(limit.admits(address("192.0.2.1"), at + Duration::from_nanos(1_000_000_001)));
        // A clock that runs backwards gives nothing, and takes nothing.
        limit.spend(address("192.0.2.1"), at, 4 << 20);
        assert!(!limit.admits(address("192.0.2.1"), Duration::ZERO));
        assert!(limit.admits(address("127.0.0.1"), Duration::ZERO));
    }
}
