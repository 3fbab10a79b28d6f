//! Counter samples: no volume, but the packets that an interface counted bear its sample pool out, or refute it.
//!
//! Only the generic interface counters (format 1 of the standard's own enterprise) are read, and of them the packets. What
//! cannot be read bears no witness, and is no error: volume does not depend on it.

use super::pool::Interface;
use super::sample::{CLASS_INTERFACE, source};
use super::xdr::Reader;

/// The format of generic interface counters.
const GENERIC: u32 = 1;

/// Words before the packets that came in (ifIndex, type, speed, direction, status, octets), and from these to those that
/// went out (discards, errors, unknown protocols, octets).
const BEFORE_INPUT: u32 = 8;
const BEFORE_OUTPUT: u32 = 5;

/// Reads a counter sample: the data source that it is of, and the packets of the interface that this is.
pub(super) fn interface(mut body: Reader<'_>, is_expanded: bool) -> Option<((u32, u32), Interface)> {
    let _sequence = body.u32()?;
    let source = source(&mut body, is_expanded).filter(|source| source.0 == CLASS_INTERFACE)?;
    let records = body.u32()?;
    for _ in 0..records {
        let format = body.u32()?;
        let length = body.u32()?;
        let mut record = body.opaque(length)?;
        if format != GENERIC {
            continue;
        }
        let index = record.u32()?;
        record.skip(BEFORE_INPUT - 1)?;
        let input = packets(&mut record)?;
        record.skip(BEFORE_OUTPUT)?;
        let output = packets(&mut record)?;
        return (index == source.1).then_some((source, Interface { input, output }));
    }
    None
}

/// Unicast, multicast and broadcast packets. A counter that the exporter does not have says so with all bits set; the
/// latter two may be counted among the first then.
fn packets(record: &mut Reader<'_>) -> Option<Option<u32>> {
    let (unicast, others) = (record.u32()?, [record.u32()?, record.u32()?]);
    let others = others.into_iter().filter(|&packets| packets != u32::MAX);
    Some((unicast != u32::MAX).then(|| others.fold(unicast, u32::wrapping_add)))
}
