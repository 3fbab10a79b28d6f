//! Making flows, one by one, each for an account, and booking it into the truth.

use core::net::SocketAddr;

use super::encode::{Flow, Stream};
use super::plan::{Identity, Plan, Range};
use super::random::Random;
use super::truth::{Account, Truth, Volume};
use super::{Error, Options, Protocol};
use crate::config::Config;
use crate::exporter::{Exporter, Observes};
use crate::flow::{Direction, Family};
use crate::units::{RateSource, SamplingRate, UnixMillis};

/// The longest flow. With the time that a record waits for its datagram to fill it stays far below the hour that a start may lie before its export.
const FLOW_MS_MAX: u64 = 900_000;
/// Flows begin at most this long before the first export.
const EARLIEST_MS: i64 = 3_600_000;

/// The rate that holds for an exporter, by the precedence of the design: override, what is announced, default.
fn effective_rate(exporter: &Exporter, announced: u32) -> SamplingRate {
    let announced = match announced {
        0 => None,
        n => SamplingRate::new(n.into(), 1, RateSource::Header),
    };
    let policy = &exporter.sampling;
    policy.over.or(announced).or(policy.default).unwrap_or(SamplingRate::NOT_ANNOUNCED)
}

/// A packet sample that has no instant yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    account: Account,
    octets: u64,
}

/// Where a flow goes: all of it but volume and time.
#[derive(Clone, Copy, Debug)]
struct Path {
    site: usize,
    customer: u32,
    link: u16,
    direction: Direction,
    family: Family,
    source: u128,
    destination: u128,
    input: u32,
    output: u32,
    source_as: u32,
    destination_as: u32,
}

/// Makes flows, and books each into the truth.
#[derive(Debug)]
pub(super) struct Maker {
    plan: Plan,
    random: Random,
    truth: Truth,
    protocol: Protocol,
    /// By site: which of the truth's rates holds.
    rates: Vec<u8>,
    /// Sites with interfaces on links; those whose records need not say where they were observed; whole exporters.
    linked: Vec<usize>,
    plain: Vec<usize>,
    whole: Vec<usize>,
    /// Customers come in turn, so that every one occurs; and so do the links of a site.
    next_customer: usize,
    next_link: Vec<usize>,
}

impl Maker {
    pub(super) fn new(config: &Config, options: &Options) -> Result<Self, Error> {
        let v5 = options.protocol == Protocol::V5;
        if v5 && options.sampling > 0x3fff {
            return Err(Error::SamplingTooLarge);
        }
        let first = options.start.plus(-EARLIEST_MS);
        let last = options.start.plus(i64::from(options.span_seconds) * 1000 + 1000);
        let mut plan = Plan::new(&config.network, options.protocol, (first, last));
        let (mut rates, mut distinct): (Vec<u8>, Vec<SamplingRate>) = (Vec::new(), Vec::new());
        for exporter in &config.exporters {
            let announced = match options.protocol {
                Protocol::Sflow => options.sampling.max(1),
                _ => options.sampling,
            };
            if exporter.sampling.require && announced == 0 {
                return Err(Error::AnnouncementRequired(exporter.name.clone()));
            }
            let rate = effective_rate(exporter, announced);
            let at = distinct.iter().position(|known| *known == rate).unwrap_or_else(|| {
                distinct.push(rate);
                distinct.len() - 1
            });
            rates.push(u8::try_from(at).map_err(|_| Error::TooMany)?);
        }
        let (mut linked, mut plain, mut whole) = (Vec::new(), Vec::new(), Vec::new());
        for (n, site) in plan.sites.iter().enumerate() {
            // v5 cannot say on which side a record was observed.
            if v5 && site.observes == Observes::Both {
                plan.skipped.push(format!("exporter {}", config.exporters[n].name));
                continue;
            }
            if site.whole.is_some() {
                whole.push(n);
                continue;
            }
            if !site.on_links.is_empty() {
                linked.push(n);
            }
            if site.observes != Observes::Both {
                plain.push(n);
            }
        }
        if linked.is_empty() && plain.is_empty() && whole.is_empty() {
            return Err(Error::NoExporter);
        }
        let names = (plan.names.clone(), plan.links.clone());
        let truth =
            Truth::new(names.0, names.1, distinct, &config.meter, (first.0, last.0)).ok_or(Error::TooMany)?;
        Ok(Self {
            random: Random::new(options.seed),
            truth,
            protocol: options.protocol,
            rates,
            linked,
            plain,
            whole,
            next_customer: 0,
            next_link: vec![0; plan.sites.len()],
            plan,
        })
    }

    /// The truth, and what no flow could be made for.
    pub(super) fn finish(self) -> (Truth, Vec<String>) {
        (self.truth, self.plan.skipped)
    }

    /// The exporting processes. The first exporter's uptime passes 2^32 ms in the middle of the span.
    pub(super) fn streams(&self, config: &Config, options: &Options) -> Vec<Stream> {
        let middle = options.start.plus(i64::from(options.span_seconds) * 500);
        config
            .exporters
            .iter()
            .zip(0_u16..)
            .map(|(exporter, n)| {
                let boot = match n {
                    0 => middle.plus(-(1 << 32)),
                    n => options.start.plus(-(86_400_123 * (1 + i64::from(n % 40)))),
                };
                let source = SocketAddr::new(exporter.address, 40_000 + n % 20_000);
                Stream::new(options.protocol, source, boot, options.sampling)
            })
            .collect()
    }

    /// Books samples that were exported at `now`.
    pub(super) fn book(&mut self, samples: &mut Vec<Sample>, now: UnixMillis) {
        for Sample { account, octets } in samples.drain(..) {
            self.truth.add(account, Volume { start_ms: now.0, end_ms: now.0, packets: 1, octets });
        }
    }

    /// The next flow, and the site that reports it. A sample is to be booked when it is exported, a flow has been.
    pub(super) fn flow(&mut self, now: UnixMillis) -> Result<(usize, Flow, Option<Sample>), Error> {
        let path = self.path().ok_or(Error::NoFlow)?;
        let random = &mut self.random;
        let (protocol, tcp_flags) = match random.below(20) {
            0..=12 => (6, 0x1b),
            13..=18 => (17, 0),
            _ if path.family == Family::V6 => (58, 0),
            _ => (1, 0),
        };
        let is_sample = self.protocol == Protocol::Sflow;
        let packets = match random.below(10) {
            _ if is_sample => 1,
            0..=4 => random.between(1, 4),
            5..=8 => random.between(5, 200),
            _ => random.between(200, 20_000),
        };
        // No packet is shorter than 60 or longer than 1500 octets; a frame has room for any headers.
        let octets = if is_sample {
            random.between(90, 1518)
        } else {
            packets * random.between(60, 1499) + random.below(packets + 1)
        };
        let duration = match (packets, random.below(20)) {
            (1, _) => 0,
            (_, 0) => random.below(FLOW_MS_MAX + 1),
            (_, 1..=5) => random.below(120_000),
            _ => random.below(10_000),
        };
        let mut end = now.plus(-to_i64(random.below(1000)));
        // Whether a flow that ends between two buckets has its end in the one or the other is not for us to say.
        if duration > 0 && end.0.rem_euclid(crate::usage::BUCKET_SECONDS * 1000) == 0 {
            end = end.plus(-1);
        }
        let start = end.plus(-to_i64(duration));
        let ports = match protocol {
            6 | 17 => {
                let service = [53, 80, 123, 443, 6881, 8080][random.index(6)];
                let client = u16::try_from(random.between(1024, 65_535)).expect("16 bits");
                if random.below(2) == 0 { (service, client) } else { (client, service) }
            }
            // Type and code of an echo request.
            58 => (0, 128 << 8),
            _ => (0, 8 << 8),
        };
        let tos = [0, 0, 0, 0x28, 0xb8][random.index(5)];
        let account = Account {
            customer: path.customer,
            link: path.link,
            direction: path.direction,
            rate: self.rates[path.site],
        };
        let sample = is_sample.then_some(Sample { account, octets });
        if sample.is_none() {
            self.truth.add(account, Volume { start_ms: start.0, end_ms: end.0, packets, octets });
        }
        let flow = Flow {
            family: path.family,
            source: path.source,
            destination: path.destination,
            input: path.input,
            output: path.output,
            source_as: path.source_as,
            destination_as: path.destination_as,
            packets: u32::try_from(packets).expect("at most 20 000"),
            octets: u32::try_from(octets).expect("at most 20 000 packets of 1500 octets"),
            start,
            end,
            source_port: ports.0,
            destination_port: ports.1,
            protocol,
            tcp_flags,
            tos,
            observed: self.observed(&path),
        };
        Ok((path.site, flow, sample))
    }

    /// Element 61. Where an exporter observes both sides, a record counts at the side that is on the link.
    fn observed(&self, path: &Path) -> u8 {
        let site = &self.plan.sites[path.site];
        match site.observes {
            Observes::Ingress => 0,
            Observes::Egress => 1,
            Observes::Both => u8::from(path.direction == Direction::Out && site.whole.is_none()),
        }
    }

    /// A path of a kind drawn by lot; of another kind where the configuration has no such.
    fn path(&mut self) -> Option<Path> {
        let lot = self.random.below(16);
        let direction = if lot & 1 == 0 { Direction::In } else { Direction::Out };
        let drawn = match lot {
            0..12 => None,
            12 => self.local(),
            13 => self.through(),
            _ => self.unassigned(direction),
        };
        drawn
            .or_else(|| self.for_customer(direction))
            .or_else(|| self.unassigned(direction))
            .or_else(|| self.through())
            .or_else(|| self.local())
    }

    /// A flow of the next customer over a link.
    fn for_customer(&mut self, direction: Direction) -> Option<Path> {
        // A customer may need what the sites do not have; then it is the next one's turn.
        for _ in 0..self.plan.customers.len() {
            let at = self.next_customer % self.plan.customers.len();
            self.next_customer = at + 1;
            if let Some(path) = self.customer_path(at, direction) {
                return Some(path);
            }
        }
        None
    }

    fn customer_path(&mut self, at: usize, direction: Direction) -> Option<Path> {
        let customer = &self.plan.customers[at];
        let name = customer.name;
        let identity = &customer.identities[self.random.index(customer.identities.len())];
        let (site, family, own, own_as, port) = match identity {
            Identity::Addresses(ranges) => {
                let range = ranges[self.random.index(ranges.len())];
                let sites = self.linked.len() + self.whole.len();
                let lot = (sites > 0).then(|| self.random.index(sites))?;
                let site =
                    self.linked.get(lot).copied().unwrap_or_else(|| self.whole[lot - self.linked.len()]);
                (site, range.family, range.pick(&mut self.random), 0, None)
            }
            Identity::Asn(asn) => {
                let asn = *asn;
                let (family, address) = self.outsider(None)?;
                let site = one_of(&self.linked, &mut self.random)?;
                (site, family, address, asn, None)
            }
            Identity::Interface { site, ifindex } => {
                let (site, ifindex) = (*site, *ifindex);
                self.linked.contains(&site).then_some(())?;
                // The interface decides, whatever the addresses say.
                let (family, address) = self.anybody();
                (site, family, address, self.outside_as(), Some(ifindex))
            }
        };
        let whole = self.plan.sites[site].whole;
        // On a whole-exporter link the other end must be nobody's; elsewhere it does not matter.
        let other = match self.outsider(Some(family)) {
            Some((_, other)) => other,
            None if whole.is_some() => return None,
            None => own,
        };
        let inner = port.unwrap_or_else(|| self.inner(site));
        let (outer, link) = match whole {
            Some(link) => (self.inner(site), link),
            None => self.link_interface(site),
        };
        let other_as = self.outside_as();
        let outward = direction == Direction::Out;
        let swap = |toward: (u128, u128)| if outward { (toward.1, toward.0) } else { toward };
        let (source, destination) = swap((other, own));
        let (source_as, destination_as) = if outward { (own_as, other_as) } else { (other_as, own_as) };
        let (input, output) = if outward { (inner, outer) } else { (outer, inner) };
        Some(Path {
            site,
            customer: name,
            link,
            direction,
            family,
            source,
            destination,
            input,
            output,
            source_as,
            destination_as,
        })
    }

    /// A flow over a link that is nobody's.
    fn unassigned(&mut self, direction: Direction) -> Option<Path> {
        let site = one_of(&self.linked, &mut self.random)?;
        let (family, own) = self.outsider(None)?;
        let (_, other) = self.outsider(Some(family))?;
        let (outer, link) = self.link_interface(site);
        let inner = self.inner(site);
        let (input, output) = if direction == Direction::Out { (inner, outer) } else { (outer, inner) };
        let path = self.reserved(2, site, link, direction);
        Some(Path { family, source: other, destination: own, input, output, ..path })
    }

    /// A flow from one link to another.
    fn through(&mut self) -> Option<Path> {
        let site = one_of(&self.plain, &mut self.random)?;
        let interfaces = self.plan.sites[site].on_links.len();
        if interfaces < 2 {
            return None;
        }
        let (input, link) = self.link_interface(site);
        let at = self.plan.sites[site].on_links.iter().position(|&(ifindex, _)| ifindex == input)?;
        let away = 1 + self.random.index(interfaces - 1);
        let (output, _) = self.plan.sites[site].on_links[(at + away) % interfaces];
        let (family, source) = self.anybody();
        let destination = self.outsider(Some(family)).map_or(source, |(_, address)| address);
        let path = self.reserved(0, site, link, Direction::In);
        Some(Path { family, source, destination, input, output, ..path })
    }

    /// A flow that crosses no link. Everybody's addresses do here; on a whole exporter both ends are customers'.
    fn local(&mut self) -> Option<Path> {
        let sites = self.plain.len() + self.whole.len();
        let lot = (sites > 0).then(|| self.random.index(sites))?;
        let plain = self.plain.get(lot).copied();
        let site = plain.unwrap_or_else(|| self.whole[lot - self.plain.len()]);
        let (family, source, destination) = match plain {
            Some(_) => {
                let (family, source) = self.anybody();
                (family, source, self.outsider(Some(family)).map_or(source, |(_, address)| address))
            }
            None => {
                let range = self.customers_range()?;
                (range.family, range.pick(&mut self.random), range.pick(&mut self.random))
            }
        };
        let (input, output) = (self.inner(site), self.inner(site));
        let path = self.reserved(1, site, 0, Direction::None);
        Some(Path { family, source, destination, input, output, ..path })
    }

    /// A path of the reserved name that stands so far behind the customers.
    fn reserved(&mut self, name: usize, site: usize, link: u16, direction: Direction) -> Path {
        let customers = self.plan.names.len() - 3;
        Path {
            site,
            customer: u32::try_from(customers + name).expect("checked when the truth was made"),
            link,
            direction,
            family: Family::V4,
            source: 0,
            destination: 0,
            input: 0,
            output: 0,
            source_as: self.outside_as(),
            destination_as: self.outside_as(),
        }
    }

    /// The next interface on a link of a site.
    fn link_interface(&mut self, site: usize) -> (u32, u16) {
        let on_links = &self.plan.sites[site].on_links;
        let at = self.next_link[site] % on_links.len();
        self.next_link[site] = at + 1;
        on_links[at]
    }

    fn inner(&mut self, site: usize) -> u32 {
        self.plan.sites[site].inner[self.random.index(4)]
    }

    fn outside_as(&mut self) -> u32 {
        self.plan.outside_as[self.random.index(self.plan.outside_as.len())]
    }

    /// An address that is nobody's, of a family or of any.
    fn outsider(&mut self, family: Option<Family>) -> Option<(Family, u128)> {
        let outside = &self.plan.outside;
        if outside.is_empty() {
            return None;
        }
        // A few tries hit the family, since each has a range or more; the search is for the odd configuration.
        for _ in 0..4 {
            let range = outside[self.random.index(outside.len())];
            if family.is_none_or(|family| family == range.family) {
                return Some((range.family, range.pick(&mut self.random)));
            }
        }
        let range = outside.iter().find(|range| family.is_none_or(|family| family == range.family))?;
        Some((range.family, range.pick(&mut self.random)))
    }

    /// A range of some customer's own addresses.
    fn customers_range(&mut self) -> Option<Range> {
        let customers = &self.plan.customers;
        let from = (!customers.is_empty()).then(|| self.random.index(customers.len()))?;
        customers[from..].iter().chain(&customers[..from]).flat_map(|customer| &customer.identities).find_map(
            |identity| match identity {
                Identity::Addresses(ranges) => ranges.first().copied(),
                Identity::Asn(_) | Identity::Interface { .. } => None,
            },
        )
    }

    /// Any address.
    fn anybody(&mut self) -> (Family, u128) {
        if let Some(found) = self.outsider(None) {
            return found;
        }
        let range = self.customers_range();
        let nobody = Range { family: Family::V4, first: 0x0b00_0000, last: 0x0bff_ffff };
        let range = range.unwrap_or(nobody);
        debug_assert!(self.protocol != Protocol::V5 || range.family == Family::V4, "v5 has no IPv6");
        (range.family, range.pick(&mut self.random))
    }
}

/// One of `list`, if there is any.
fn one_of(list: &[usize], random: &mut Random) -> Option<usize> {
    (!list.is_empty()).then(|| list[random.index(list.len())])
}

fn to_i64(ms: u64) -> i64 {
    i64::try_from(ms).expect("at most a quarter of an hour")
}
