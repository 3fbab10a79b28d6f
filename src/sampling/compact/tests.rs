use core::net::Ipv4Addr;

use proptest::prelude::*;

use super::*;
use crate::sampling::Stream;

const BASE: UnixMillis = UnixMillis(1_767_225_600_000);

/// Numbers of every size, small ones as often as great ones.
fn number() -> impl Strategy<Value = u64> {
    (any::<u64>(), 0..=64_u32).prop_map(|(n, bits)| n.checked_shr(bits).unwrap_or(0))
}

fn rate() -> impl Strategy<Value = SamplingRate> {
    (number(), number(), 0..8_u8).prop_map(|(numerator, denominator, source)| {
        let source = RateSource::from_u8(source).unwrap();
        SamplingRate::new(numerator, denominator, source).unwrap_or_default()
    })
}

fn sampler() -> impl Strategy<Value = SamplerRef> {
    prop_oneof![
        Just(SamplerRef::Unnamed),
        Just(SamplerRef::Silent),
        Just(SamplerRef::Mute),
        Just(SamplerRef::Zero),
        number().prop_map(SamplerRef::Sequence),
        number().prop_map(SamplerRef::Named),
        (any::<u32>(), number()).prop_map(|(sampler, selector)| SamplerRef::Either { sampler, selector }),
        rate().prop_map(SamplerRef::Stated),
    ]
}

/// Any record whatever: also such as no decoder makes.
fn record() -> impl Strategy<Value = FlowRecord> {
    let addresses = prop::array::uniform3((any::<u128>(), 0..=128_u32));
    let octets = prop::array::uniform8(prop_oneof![Just(0), any::<u8>()]);
    let shorts = prop::array::uniform5(number());
    let times = (any::<i64>(), number());
    (addresses, prop::array::uniform8(number()), shorts, octets, sampler(), rate(), times).prop_map(
        |(addresses, numbers, shorts, octets, sampler, rate, (end, back))| {
            let [source, destination, next_hop] =
                addresses.map(|(n, bits)| Address(n.checked_shr(bits).unwrap_or(0)));
            #[expect(clippy::cast_possible_truncation, reason = "any number will do")]
            let (long, short) = (|n: u64| n as u32, |n: u64| n as u16);
            FlowRecord {
                source,
                destination,
                next_hop,
                octets: Octets::new(numbers[0]),
                packets: Packets::new(numbers[1]),
                end: UnixMillis(end),
                start: UnixMillis(end.wrapping_sub_unsigned(back)),
                sampler,
                rate,
                domain: long(numbers[2]),
                input: IfIndex(long(numbers[3])),
                output: IfIndex(long(numbers[4])),
                source_as: Asn(long(numbers[5])),
                destination_as: Asn(long(numbers[6])),
                exporter: ExporterId(short(numbers[7])),
                source_port: short(shorts[0]),
                destination_port: short(shorts[1]),
                vlan: short(shorts[2]),
                tcp_flags: short(shorts[3]),
                template: short(shorts[4]),
                family: [Family::Other, Family::V4, Family::V6][usize::from(octets[0] % 3)],
                observed: [Observed::Unknown, Observed::Ingress, Observed::Egress]
                    [usize::from(octets[1] % 3)],
                protocol: octets[2],
                tos: octets[3],
                source_mask: octets[4],
                destination_mask: octets[5],
                forwarding_status: octets[6],
                networks: octets[7] & 1 == 1,
                second: octets[7] & 2 == 2,
            }
        },
    )
}

fn held() -> impl Strategy<Value = Held> {
    (record(), any::<u32>(), any::<i64>(), any::<bool>()).prop_map(|(record, stream, since, described)| {
        Held {
            stream: Stream(stream),
            record,
            since: UnixMillis(since),
            waiting: if described { Waiting::Described } else { Waiting::Grace },
        }
    })
}

proptest! {
    #[test]
    fn a_record_comes_back_as_it_was(all in prop::collection::vec(held(), 1..5), base in any::<i64>()) {
        let base = UnixMillis(base);
        let mut octets = Vec::new();
        let mut ends = Vec::new();
        for held in &all {
            encode(held, base, &mut octets);
            ends.push(octets.len());
        }
        let mut at = 0;
        for (held, end) in all.iter().zip(ends) {
            prop_assert!(end - at <= OCTETS_MAX);
            let (found, length) = decode(&octets[at..], base, held.record.exporter).unwrap();
            prop_assert_eq!(found, *held);
            prop_assert_eq!(at + length, end);
            // Without its last octet it is none.
            prop_assert_eq!(decode(&octets[at..end - 1], base, held.record.exporter), None);
            at = end;
        }
        let other = if all[0].waiting == Waiting::Grace { Waiting::Described } else { Waiting::Grace };
        set_waiting(&mut octets, other);
        let (found, _) = decode(&octets, base, all[0].record.exporter).unwrap();
        prop_assert_eq!(found, Held { waiting: other, ..all[0] });
    }

    #[test]
    fn noise_is_refused_or_means_one_thing(noise in prop::collection::vec(any::<u8>(), 0..200), base in any::<i64>()) {
        if let Some((held, length)) = decode(&noise, UnixMillis(base), ExporterId(3)) {
            prop_assert!(length <= noise.len());
            let mut again = Vec::new();
            encode(&held, UnixMillis(base), &mut again);
            prop_assert!(again.len() <= OCTETS_MAX);
            prop_assert_eq!(decode(&again, UnixMillis(base), ExporterId(3)), Some((held, again.len())));
        }
    }
}

/// A TCP flow as a border router reports it, every field in use.
fn typical() -> FlowRecord {
    let address = |a, b, c, d| Address(u32::from(Ipv4Addr::new(a, b, c, d)).into());
    FlowRecord {
        source: address(198, 51, 100, 7),
        destination: address(203, 0, 113, 99),
        next_hop: address(192, 0, 2, 254),
        octets: Octets::new(1_234_567),
        packets: Packets::new(1_200),
        start: BASE.plus(-75_000),
        end: BASE.plus(-15_000),
        domain: 256,
        input: IfIndex(612),
        output: IfIndex(1003),
        source_as: Asn(64_500),
        destination_as: Asn(3_320),
        exporter: ExporterId(9),
        source_port: 443,
        destination_port: 51_234,
        vlan: 100,
        template: 260,
        tcp_flags: 0x1b,
        family: Family::V4,
        protocol: 6,
        tos: 0x28,
        source_mask: 24,
        destination_mask: 22,
        forwarding_status: 0x40,
        observed: Observed::Ingress,
        ..FlowRecord::default()
    }
}

/// Counted by hand: 3 that say what follows, times 2 + 3 + 3, octets 3, packets 2, addresses 12, domain 2, interfaces
/// 2 + 2, AS numbers 3 + 2, ports 4, VLAN 1, flags 1, template 1, and 5 of one octet each.
#[test]
fn a_typical_record_takes_52_octets() {
    let held =
        Held { record: typical(), stream: Stream(0), since: BASE.plus(4_000), waiting: Waiting::Grace };
    let mut octets = Vec::new();
    encode(&held, BASE, &mut octets);
    assert_eq!(octets.len(), 52);
    // In memory the template is where nothing else was.
    assert_eq!(size_of::<FlowRecord>(), 160);
    let v6 = FlowRecord { family: Family::V6, source: Address(u128::MAX), ..typical() };
    octets.clear();
    encode(&Held { record: v6, ..held }, BASE, &mut octets);
    assert_eq!(octets.len(), 52 + 3 * 12);
}
