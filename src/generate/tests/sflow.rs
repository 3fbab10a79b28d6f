//! Another reader of sFlow: of what is generated, and nothing else. Lengths, counts and pools are checked on the way.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Decoded, Record};

struct Words<'a>(&'a [u8]);

impl<'a> Words<'a> {
    fn take(&mut self, octets: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(octets);
        self.0 = rest;
        taken
    }

    fn word(&mut self) -> u32 {
        u32::from_be_bytes(self.take(4).try_into().unwrap())
    }

    fn words<const N: usize>(&mut self) -> [u32; N] {
        core::array::from_fn(|_| self.word())
    }

    /// A part that begins with its length; what pads it is zero.
    fn part(&mut self) -> Self {
        let octets = self.word() as usize;
        let part = Self(self.take(octets));
        assert!(self.take(octets.next_multiple_of(4) - octets).iter().all(|&octet| octet == 0));
        part
    }

    fn address(&mut self) -> IpAddr {
        match self.word() {
            1 => IpAddr::V4(Ipv4Addr::from(self.word())),
            2 => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(self.take(16)).unwrap())),
            kind => panic!("address of kind {kind}"),
        }
    }
}

/// The samples of a datagram received at `time` are added to `out`; its sequence number.
pub(super) fn datagram(exporter: IpAddr, time: i64, payload: &[u8], out: &mut Decoded) -> u32 {
    let mut words = Words(payload);
    assert_eq!(words.word(), 5, "the version");
    assert_eq!(words.address(), exporter, "the agent");
    let [_, sequence, _, samples] = words.words();
    for _ in 0..samples {
        assert_eq!(words.word(), 3, "an expanded flow sample");
        let mut sample = words.part();
        let [number, class, source, rate, pool, drops, 0, input, 0, output, 2] = sample.words() else {
            panic!()
        };
        assert_eq!(
            (class, drops, pool),
            (0, 0, number.wrapping_mul(rate)),
            "so many of the packets were looked at"
        );
        out.announced.push(rate.into());
        assert_eq!(sample.word(), 1, "a raw header");
        let mut raw = sample.part();
        let [1, octets, 4] = raw.words() else { panic!("an Ethernet frame without its check sequence") };
        let (source_ip, destination) = ends(raw.part().0, octets);
        assert_eq!(sample.word(), 1003, "an extended gateway");
        let mut gateway = sample.part();
        assert_eq!(gateway.address(), exporter);
        let [_, source_as, _, 1, 2, 1, destination_as, 0, _] = gateway.words() else {
            panic!("a path of one")
        };
        assert!(gateway.0.is_empty() && sample.0.is_empty() && raw.0.is_empty());
        assert!(source == input || source == output);
        out.records.push(Record {
            exporter,
            source: source_ip,
            destination,
            input: input.into(),
            output: output.into(),
            source_as: source_as.into(),
            destination_as: destination_as.into(),
            packets: 1,
            octets: octets.into(),
            start: time,
            end: time,
            observed: u64::from(source != input),
        });
    }
    assert!(words.0.is_empty());
    sequence
}

/// The ends of the packet in a frame of so many octets, whose IP header must fit it.
fn ends(frame: &[u8], octets: u32) -> (IpAddr, IpAddr) {
    let half = |at: usize| u16::from_be_bytes([frame[at], frame[at + 1]]);
    let length = match half(12) {
        0x0800 => {
            let sum = (14..34).step_by(2).map(|at| u32::from(half(at))).sum::<u32>();
            assert_eq!(sum % 0xffff, 0, "the checksum");
            half(16)
        }
        0x86dd => half(18) + 40,
        kind => panic!("ethertype {kind:x}"),
    };
    assert_eq!(u32::from(length) + 18, octets);
    let ip = |at: usize| match half(12) {
        0x0800 => IpAddr::from(<[u8; 4]>::try_from(&frame[26 + at * 4..30 + at * 4]).unwrap()),
        _ => IpAddr::from(<[u8; 16]>::try_from(&frame[22 + at * 16..38 + at * 16]).unwrap()),
    };
    (ip(0), ip(1))
}
