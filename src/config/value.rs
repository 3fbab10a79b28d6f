//! The small forms in a configuration: durations, sizes, rates, prefixes, instants, port ranges, protocols, names.
//!
//! Each function takes the text and returns the value, or a sentence that says what is wrong with it.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use jiff::Timestamp;
use jiff::civil::Date;

use crate::classify::rules::Prefix;
use crate::units::{RateSource, SamplingRate, UnixMillis};

/// Longest name of anything, in octets: it becomes an SNMP index and a column of every report.
pub(super) const NAME_OCTETS_MAX: usize = 64;

/// The address that an exporter's datagrams come from.
pub(super) fn source_address(text: &str) -> Result<IpAddr, String> {
    let address: IpAddr = text.parse().map_err(|_| {
        format!("`{text}` is not an address; write the one that the datagrams come from, without a port")
    })?;
    match address {
        IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => {
            Err(format!("`{text}` is an IPv4-mapped address; write the IPv4 address itself"))
        }
        address if address.is_unspecified() || address.is_multicast() => {
            Err(format!("`{text}` cannot be the source of a datagram"))
        }
        address => Ok(address),
    }
}

/// A duration in milliseconds: `500ms`, `10s`, `10m`, `2h`, `7d`.
pub(super) fn duration(text: &str) -> Result<i64, String> {
    let wrong =
        || format!("`{text}` is not a duration; write a number and its unit: 500ms, 10s, 10m, 2h, 7d");
    let (digits, unit) = split_number(text).ok_or_else(wrong)?;
    let factor = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(wrong()),
    };
    // A century is plenty, and keeps every sum with an instant inside its range.
    digits
        .parse::<i64>()
        .ok()
        .and_then(|n| n.checked_mul(factor))
        .filter(|&ms| ms <= 36_525 * 86_400_000)
        .ok_or_else(|| format!("`{text}` is longer than a century"))
}

/// A number of octets: `4096`, `4KiB`, `4MiB`, `1GiB`, or decimal `10kB`, `10MB`, `10GB`, `2TB`.
pub(super) fn size(text: &str) -> Result<u64, String> {
    let wrong = || format!("`{text}` is not a size; write octets, or a unit: 64KiB, 4MiB, 1GiB, 10MB, 10GB");
    let (digits, unit) = split_number(text).ok_or_else(wrong)?;
    let factor: u64 = match unit {
        "" | "B" => 1,
        "kB" | "KB" => 1000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "TB" => 1_000_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        _ => return Err(wrong()),
    };
    digits
        .parse::<u64>()
        .ok()
        .and_then(|n| n.checked_mul(factor))
        .filter(|&octets| i64::try_from(octets).is_ok())
        .ok_or_else(|| format!("`{text}` is too large"))
}

/// Digits, and what follows them after optional blanks.
fn split_number(text: &str) -> Option<(&str, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    (!digits.is_empty()).then(|| (digits, unit.trim_start()))
}

/// A sampling rate as operators write it: `1/1000` is one of a thousand packets.
pub(super) fn rate(text: &str, source: RateSource) -> Result<SamplingRate, String> {
    let wrong = || {
        format!(
            "`{text}` is not a sampling rate; write 1/1000 for one of a thousand packets, 1/1 for unsampled"
        )
    };
    let (looked_at, of) = text.split_once('/').ok_or_else(wrong)?;
    let looked_at: u64 = looked_at.trim().parse().map_err(|_| wrong())?;
    let of: u64 = of.trim().parse().map_err(|_| wrong())?;
    SamplingRate::new(of, looked_at, source).ok_or_else(wrong)
}

/// An address prefix, or an address for the prefix of that address alone.
pub(super) fn prefix(text: &str) -> Result<Prefix, String> {
    let wrong = || format!("`{text}` is not an address prefix; write 203.0.113.0/24 or 2001:db8:40::/48");
    let (address, length) = match text.split_once('/') {
        Some((address, length)) => (address, Some(length)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().map_err(|_| wrong())?;
    let bits: u8 = if address.is_ipv4() { 32 } else { 128 };
    let length = match length {
        None => bits,
        // A plus sign is a number to the parser, but not to people.
        Some(length) if !length.bytes().all(|octet| octet.is_ascii_digit()) => return Err(wrong()),
        // Octets of an address may not begin like that either: some programs take such numbers for octal ones.
        Some(length) if length.len() > 1 && length.starts_with('0') => {
            let plain = length.trim_start_matches('0');
            let plain = if plain.is_empty() { "0" } else { plain };
            return Err(format!("`{text}`: the length begins with a zero; write `{address}/{plain}`"));
        }
        Some(length) => length
            .parse::<u8>()
            .ok()
            .filter(|&length| length <= bits)
            .ok_or_else(|| format!("`{text}`: the length of such a prefix is 0 to {bits}"))?,
    };
    if let IpAddr::V6(v6) = address
        && v6.to_ipv4_mapped().is_some()
    {
        return Err(format!("`{text}` is an IPv4-mapped IPv6 address; write the IPv4 prefix itself"));
    }
    let network = network(address, length);
    if network != address {
        return Err(format!(
            "`{text}` has bits beyond its length: write `{network}/{length}` for the network, or `{address}/{bits}` for the one address"
        ));
    }
    Ok(Prefix { address, length })
}

/// `address` with all bits beyond `length` zero.
fn network(address: IpAddr, length: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
            Ipv4Addr::from(u32::from(v4) & mask).into()
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
            Ipv6Addr::from(u128::from(v6) & mask).into()
        }
    }
}

/// An instant: a date, which is its midnight in UTC, or RFC 3339 with its offset.
pub(super) fn instant(text: &str) -> Result<UnixMillis, String> {
    if let Ok(date) = text.parse::<Date>()
        && text.len() == 10
    {
        let zoned = date.to_zoned(jiff::tz::TimeZone::UTC);
        return zoned
            .map(|zoned| UnixMillis(zoned.timestamp().as_millisecond()))
            .map_err(|error| error.to_string());
    }
    text.parse::<Timestamp>().map(|timestamp| UnixMillis(timestamp.as_millisecond())).map_err(|_| {
        format!("`{text}` is not an instant; write 2026-01-31 (midnight UTC) or 2026-01-31T12:00:00+01:00")
    })
}

/// A port, or an inclusive range of ports: `443`, `6000-6063`.
pub(super) fn ports(text: &str) -> Result<(u16, u16), String> {
    let wrong = || format!("`{text}` is not a port; write 443, or a range such as \"6000-6063\"");
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let first: u16 = first.trim().parse().map_err(|_| wrong())?;
    let last: u16 = last.trim().parse().map_err(|_| wrong())?;
    if first > last {
        return Err(format!("`{text}`: the range ends before it begins; write {last}-{first}"));
    }
    Ok((first, last))
}

/// Protocols with a name (IANA protocol numbers).
const PROTOCOLS: [(&str, u8); 14] = [
    ("icmp", 1),
    ("igmp", 2),
    ("ipip", 4),
    ("tcp", 6),
    ("egp", 8),
    ("udp", 17),
    ("ipv6", 41),
    ("rsvp", 46),
    ("gre", 47),
    ("esp", 50),
    ("ah", 51),
    ("icmpv6", 58),
    ("ospf", 89),
    ("sctp", 132),
];

/// A protocol by name or number.
pub(super) fn protocol(text: &str) -> Result<u8, String> {
    let lower = text.to_ascii_lowercase();
    if let Some(&(_, number)) = PROTOCOLS.iter().find(|(name, _)| *name == lower) {
        return Ok(number);
    }
    text.parse::<u8>().map_err(|_| {
        let names: Vec<&str> = PROTOCOLS.iter().map(|&(name, _)| name).collect();
        format!("`{text}` is not a protocol; write its number or one of {}", names.join(", "))
    })
}

/// Whether `text` may be the name of something.
pub(super) fn check_name(text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Err("a name must not be empty".to_owned());
    }
    if text.len() > NAME_OCTETS_MAX {
        return Err(format!("a name has at most {NAME_OCTETS_MAX} octets, this one {}", text.len()));
    }
    if text.chars().any(char::is_control) {
        return Err("a name must not hold control characters".to_owned());
    }
    if text.trim() != text {
        return Err("a name must not begin or end with a blank".to_owned());
    }
    Ok(())
}

/// An instant in RFC 3339, in UTC; as a plain date where it is midnight.
pub(super) fn show_instant(instant: UnixMillis) -> String {
    let Ok(timestamp) = Timestamp::from_millisecond(instant.0) else { return instant.0.to_string() };
    let text = timestamp.to_string();
    text.strip_suffix("T00:00:00Z").map_or_else(|| text.clone(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes() {
        for (text, ms) in
            [("500ms", 500), ("10s", 10_000), ("10m", 600_000), ("2 h", 7_200_000), ("7d", 604_800_000)]
        {
            assert_eq!(duration(text), Ok(ms), "{text}");
        }
        for text in ["", "10", "s", "10 days", "-1s", "1.5h", "99999999999999999999s", "40000d"] {
            assert!(duration(text).is_err(), "{text}");
        }
        for (text, octets) in
            [("4096", 4096), ("4MiB", 4_194_304), ("10GB", 10_000_000_000), ("1 KiB", 1024), ("7kB", 7000)]
        {
            assert_eq!(size(text), Ok(octets), "{text}");
        }
        for text in ["", "MiB", "4Mib", "-4MiB", "99999999TiB", "4.5GiB"] {
            assert!(size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn rates() {
        let thousand = rate("1/1000", RateSource::Override).expect("a rate");
        assert_eq!((thousand.numerator(), thousand.denominator()), (1000, 1));
        assert!(!rate("1/1", RateSource::Default).expect("a rate").is_sampled());
        for text in ["1000", "1000/1", "0/5", "1/0", "a/b", "1/99999999999"] {
            assert!(rate(text, RateSource::Override).is_err(), "{text}");
        }
    }

    #[test]
    fn prefixes() {
        assert_eq!(prefix("0.0.0.0/0").expect("all").length, 0);
        assert_eq!(prefix("::/0").expect("all").length, 0);
        assert_eq!(prefix("192.0.2.7").expect("one").length, 32);
        let host_bits = prefix("203.0.113.77/24").expect_err("host bits");
        assert!(host_bits.contains("203.0.113.0/24") && host_bits.contains("203.0.113.77/32"), "{host_bits}");
        let host_bits = prefix("2001:db8:40::1/48").expect_err("host bits");
        assert!(host_bits.contains("2001:db8:40::/48"), "{host_bits}");
        for text in [
            "203.0.113.0/33",
            "2001:db8::/129",
            "203.0.113/24",
            "x",
            "1.2.3.0/+24",
            "1.2.3.0/",
            "::ffff:1.2.3.0/120",
        ] {
            assert!(prefix(text).is_err(), "{text}");
        }
    }

    #[test]
    fn numbers_of_prefixes_do_not_begin_with_zeros() {
        for (text, plain) in [
            ("10.0.0.0/08", "10.0.0.0/8"),
            ("10.1.0.0/016", "10.1.0.0/16"),
            ("0.0.0.0/00", "0.0.0.0/0"),
            ("2001:db8::/032", "2001:db8::/32"),
        ] {
            let wrong = prefix(text).expect_err(text);
            assert!(wrong.contains("begins with a zero") && wrong.contains(&format!("`{plain}`")), "{wrong}");
            assert!(prefix(plain).is_ok(), "{plain}");
        }
        for text in ["010.0.0.0/8", "10.00.0.0/8", "10.0.0.01", "10.0.0.000/24"] {
            assert!(prefix(text).is_err() && source_address(text).is_err(), "{text}");
        }
        // Groups of IPv6 may.
        assert!(prefix("2001:0db8:0000::/48").is_ok());
    }

    #[test]
    fn instants_are_utc_midnight_or_say_their_offset() {
        assert_eq!(instant("1970-01-02"), Ok(UnixMillis(86_400_000)));
        assert_eq!(instant("1970-01-02T01:00:00+01:00"), Ok(UnixMillis(86_400_000)));
        assert_eq!(show_instant(UnixMillis(86_400_000)), "1970-01-02");
        assert_eq!(show_instant(UnixMillis(86_401_500)), "1970-01-02T00:00:01.5Z");
        for text in ["", "2026", "2026-02-30", "2026-01-01T00:00:00", "yesterday"] {
            assert!(instant(text).is_err(), "{text}");
        }
    }

    #[test]
    fn names_ports_protocols() {
        assert!(check_name(&"x".repeat(64)).is_ok());
        for bad in ["", &"x".repeat(65), "a\nb", "a\u{9b}b", " a", "a "] {
            assert!(check_name(bad).is_err(), "{bad:?}");
        }
        assert_eq!(ports("6000-6063"), Ok((6000, 6063)));
        assert_eq!(ports("0"), Ok((0, 0)));
        for bad in ["", "-", "70000", "5-4", "http"] {
            assert!(ports(bad).is_err(), "{bad}");
        }
        assert_eq!((protocol("TCP"), protocol("58")), (Ok(6), Ok(58)));
        assert!(protocol("quic").is_err());
    }
}
