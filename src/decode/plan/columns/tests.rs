//! Field by field and record by record give the same flows.

use proptest::prelude::*;

use super::Sums;
use crate::decode::clock::Context;
use crate::decode::plan::Plan;
use crate::decode::template::FieldSpec;
use crate::flow::FlowRecord;
use crate::ids::ExporterId;
use crate::units::UnixMillis;

/// Elements that fill places of their own, share one, or fill none; an octet counter always stands before them.
const ELEMENTS: [u16; 46] = [
    2, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 21, 22, 27, 28, 29, 30, 32, 34, 44, 45, 48, 50, 58,
    60, 61, 62, 89, 150, 151, 152, 153, 154, 155, 158, 159, 160, 161, 176, 252, 253, 999,
];

/// A field of a length that its element often has, or of any other one.
fn field() -> impl Strategy<Value = FieldSpec> {
    (prop::sample::select(&ELEMENTS[..]), prop_oneof![Just(None), (1..=17_u16).prop_map(Some)]).prop_map(
        |(element, length)| FieldSpec {
            element,
            enterprise: 0,
            length: length.unwrap_or(match element {
                8 | 12 | 15 | 44 | 45 => 4,
                27 | 28 | 62 => 16,
                4..=6 | 9 | 13 | 29 | 30 | 60 | 61 | 89 | 176 => 1,
                7 | 11 | 32 | 58 => 2,
                152..=155 => 8,
                _ => 4,
            }),
        },
    )
}

fn octets(few: bool) -> impl Strategy<Value = u8> {
    // Small numbers are where zero means something.
    if few { prop_oneof![Just(0), Just(1), Just(4), Just(6)].boxed() } else { any::<u8>().boxed() }
}

proptest! {
    #[test]
    fn columns_say_what_rows_say(
        counter_octets in 1..=8_u16,
        others in prop::collection::vec(field(), 0..24),
        (data, before) in (any::<bool>(), 0..40_usize)
            .prop_flat_map(|(few, before)| (prop::collection::vec(octets(few), 0..2000), Just(before))),
        (uptime, system_init) in (any::<Option<u32>>(), prop::option::of(0..2_000_000_000_000_i64)),
    ) {
        let mut fields = vec![FieldSpec { element: 1, enterprise: 0, length: counter_octets }];
        fields.extend(others);
        let plan = Plan::compile(&fields);
        prop_assert!(plan.is_simple());
        let export = UnixMillis(1_700_000_000_000);
        let context = Context {
            version: 9,
            domain: 7,
            number: 0,
            export,
            shift: 3,
            uptime,
            received: export,
            system_init: system_init.map(UnixMillis),
            in_run: None,
        };
        let at = before.min(data.len());
        let length = plan.layout.length();
        let count = (data.len() - at) / length;

        let mut expected = vec![FlowRecord::default()];
        let mut sums = Sums::default();
        for n in 0..count {
            let (flow, moved) = plan.flow(&context, (ExporterId(5), 300), &plan.layout.row(&data, at + n * length));
            sums.octets = sums.octets.wrapping_add(flow.octets.as_u64());
            sums.packets = sums.packets.wrapping_add(flow.packets.as_u64());
            sums.all_bits |= flow.octets.as_u64() | flow.packets.as_u64();
            sums.clamped += u64::from(moved);
            expected.push(flow);
        }
        let mut flows = vec![FlowRecord::default()];
        let found = plan.flows(&context, (ExporterId(5), 300), (&data, at), count, &mut flows);
        prop_assert_eq!(flows.len(), expected.len());
        for (flow, expected) in flows.iter().zip(expected) {
            prop_assert_eq!(*flow, expected);
        }
        prop_assert_eq!(found, sums);
    }
}
