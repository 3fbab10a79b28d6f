//! Who holds a prefix, an interface or an AS number, and when.
//!
//! Nearly every holding is without dates, so a [`Holder`] is the customer's number itself; only where dates matter it
//! is the head of a chain that is walked with the flow's end. The end of a prefix's chain is the holder of the next
//! shorter prefix, so an expired prefix falls back to the one around it, and the prefix table needs to be asked once.

use crate::ids::CustomerId;
use crate::units::UnixMillis;

use super::rules::Validity;

/// A claim of a customer to something, from one instant up to another (half-open).
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Claim {
    pub(super) from: UnixMillis,
    pub(super) to: UnixMillis,
    pub(super) customer: CustomerId,
}

impl Claim {
    const BEGINNING: UnixMillis = UnixMillis(i64::MIN);
    /// An end of this is no end: it holds at every instant.
    const NEVER: UnixMillis = UnixMillis(i64::MAX);

    /// A claim of `customer` while all of `validities` hold; `None` where they have no instant in common.
    pub(super) fn new(customer: CustomerId, validities: [Validity; 2]) -> Option<Self> {
        let from = validities.iter().filter_map(|v| v.from).max().unwrap_or(Self::BEGINNING);
        let to = validities.iter().filter_map(|v| v.to).min().unwrap_or(Self::NEVER);
        (from < to).then_some(Self { from, to, customer })
    }

    /// True where `at` lies in the claim.
    fn holds(&self, at: UnixMillis) -> bool {
        self.from <= at && (at < self.to || self.to == Self::NEVER)
    }

    fn is_dated(&self) -> bool {
        self.from != Self::BEGINNING || self.to != Self::NEVER
    }
}

/// Sorts claims to one thing by time.
///
/// # Errors
/// Two customers that claim it at the same time.
pub(super) fn sort_claims(claims: &mut Vec<Claim>) -> Result<(), [CustomerId; 2]> {
    claims.sort_unstable();
    claims.dedup();
    for (n, claim) in claims.iter().enumerate() {
        let meanwhile = claims[n + 1..].iter().take_while(|later| later.from < claim.to);
        if let Some(other) = meanwhile.into_iter().find(|later| later.customer != claim.customer) {
            return Err([claim.customer, other.customer]);
        }
    }
    Ok(())
}

/// Who holds something: nobody, one customer for ever, or a chain of claims in [`Holders`].
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) struct Holder(u32);

impl Holder {
    /// Nobody; the same number as an address that no prefix holds.
    pub(super) const NOBODY: Self = Self(super::prefix::PrefixTable::NOTHING);
    /// Numbers from here on are places in the chains.
    const CHAINED: u32 = 1 << 31;

    /// A holder as a value of a table.
    pub(super) const fn as_u32(self) -> u32 {
        self.0
    }

    /// The holder that stands in a table as `n`.
    pub(super) const fn from_u32(n: u32) -> Self {
        Self(n)
    }

    /// The customer, where it is one whatever the instant.
    #[inline]
    pub(super) fn for_ever(self) -> Option<CustomerId> {
        (self.0 < Self::CHAINED).then_some(CustomerId(self.0))
    }
}

/// A claim, and who holds the thing where the claim does not.
#[derive(Clone, Copy, Debug)]
struct Link {
    claim: Claim,
    otherwise: Holder,
}

/// The chains. Each `otherwise` points to a link made before, so every walk ends.
#[derive(Debug, Default)]
pub(super) struct Holders {
    links: Vec<Link>,
}

impl Holders {
    /// The holder by `claims` (sorted, without conflicts), and `otherwise` outside of them.
    pub(super) fn add(&mut self, claims: &[Claim], otherwise: Holder) -> Holder {
        let mut holder = otherwise;
        // From the last on, so that the newest claim, which most flows belong to, is looked at first.
        for claim in claims {
            let direct = !claim.is_dated() && claim.customer.0 < Holder::CHAINED;
            holder = if direct {
                Holder(claim.customer.0)
            } else {
                let place = u32::try_from(self.links.len()).expect("fewer than 2^31 claims fit into memory");
                self.links.push(Link { claim: *claim, otherwise: holder });
                Holder(Holder::CHAINED + place)
            };
        }
        holder
    }

    /// The customer that `holder` is at the instant `at`.
    #[inline]
    pub(super) fn resolve(&self, holder: Holder, at: UnixMillis) -> Option<CustomerId> {
        holder.for_ever().or_else(|| self.walk(holder, at))
    }

    fn walk(&self, mut holder: Holder, at: UnixMillis) -> Option<CustomerId> {
        while holder.0 >= Holder::CHAINED {
            // `NOBODY` is beyond any place.
            let link = self.links.get((holder.0 - Holder::CHAINED) as usize)?;
            if link.claim.holds(at) {
                return Some(link.claim.customer);
            }
            holder = link.otherwise;
        }
        Some(CustomerId(holder.0))
    }
}
