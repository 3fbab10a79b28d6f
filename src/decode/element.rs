//! Information elements, by their numbers in IANA's "IPFIX Information Elements" registry (NetFlow v9 field types up
//! to 127 have the same numbers), and the places of a record that they fill.
//!
//! Several elements may say the same thing; [`DATA`] and [`OPTIONS`] list them in the order in which they are believed.

use super::template::FieldSpec;

/// Private enterprise number of the reverse elements (RFC 5103 6.1).
pub(super) const REVERSE: u32 = 29305;

/// Private enterprise number of ntop, whose nProbe counts with elements 23 and 24 what comes back.
const NTOP: u32 = 35632;

/// The same elements in NetFlow v9, which has no enterprises: their numbers there begin with this one. (In IPFIX, no element
/// of IANA's is greater than 32767.)
const NTOP_V9: core::ops::Range<u16> = 57_472..58_496;

/// True for an element that only nProbe sends.
pub(super) fn is_ntop(field: &FieldSpec) -> bool {
    field.enterprise == NTOP || field.enterprise == 0 && NTOP_V9.contains(&field.element)
}

/// Private enterprise number of CERT, whose YAF says how long after the first packet the first one back came (element 21,
/// `reverseFlowDeltaMilliseconds`).
pub(super) const CERT: u32 = 6871;

/// Declares the places of a record: an index, and the elements that can fill it, most trusted first.
macro_rules! slots {
    ($(#[$doc:meta])* $name:ident, $table:ident, $count:ident { $($slot:ident = $elements:expr,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        #[repr(u8)]
        pub(super) enum $name { $($slot,)* }

        /// The elements that can fill each place, most trusted first.
        pub(super) const $table: &[($name, &[u16])] = &[$(($name::$slot, &$elements),)*];

        /// How many places there are.
        pub(super) const $count: usize = $table.len();
    };
}

slots! {
    /// The places of a data record. Counters and times are chosen by rule (see `plan`), so they list no elements here.
    Slot, DATA, SLOTS {
        Octets = [],
        Packets = [],
        Start = [],
        End = [],
        SourcePort = [7, 180, 182],
        DestinationPort = [11, 181, 183],
        Protocol = [4],
        Tos = [5],
        TcpFlags = [6],
        Input = [10, 252],
        Output = [14, 253],
        SourceAs = [16],
        DestinationAs = [17],
        SourceMask = [9, 29],
        DestinationMask = [13, 30],
        Source4 = [8, 44],
        Destination4 = [12, 45],
        NextHop4 = [15, 18],
        Source6 = [27, 170],
        Destination6 = [28, 169],
        NextHop6 = [62, 63],
        // From here on the rare ones: a plan without any of them skips them all.
        IcmpTypeCode = [32, 139],
        IcmpType = [176, 178],
        IcmpCode = [177, 179],
        Vlan = [58, 243],
        Status = [89],
        ObservedAt = [61],
        Interval = [34],
        Sampler = [48],
        Selector = [302],
        Sequence = [301],
        // What else a record can say of its own sampling, as an options record does.
        RandomInterval = [50],
        Algorithm = [304],
        PacketInterval = [305],
        PacketSpace = [306],
        Size = [309],
        Population = [310],
        Probability = [311],
        TimeInterval = [307],
        TimeSpace = [308],
        Duration = [],
        SystemInit = [160],
        IpVersion = [60],
        FlowId = [148],
        EndReason = [136],
        // The second one is what ASA firewalls had before there was a first one.
        FirewallEvent = [233, 40005],
        ReverseOctets = [],
        ReversePackets = [],
        ReverseStart = [],
        ReverseEnd = [],
        ReverseDuration = [],
        ReverseDelay = [],
        // 104 and 102 are what 315 and 409 were called before (and in NetFlow v9).
        FrameSection = [315, 104],
        // 316: from behind the labels on.
        PacketSection = [313, 316],
        FrameType = [408],
        SectionOffset = [409, 102],
        SectionOctets = [410],
        // Second places, for records that leave the first one empty (see `plan`).
        OtherStart = [],
        OtherEnd = [],
        PhysicalInput = [252],
        PhysicalOutput = [253],
        InitiatorOctets = [231],
        InitiatorPackets = [298],
        ResponderOctets = [232],
        ResponderPackets = [299],
        Layer2Octets = [352],
    }
}

slots! {
    /// The places of an options record.
    OptionSlot, OPTIONS, OPTION_SLOTS {
        Sampler = [48],
        // A selection sequence has several: which one is which place is chosen by rule.
        Selector = [],
        SecondSelector = [],
        ThirdSelector = [],
        FourthSelector = [],
        FurtherSelector = [],
        Sequence = [301],
        Interval = [34],
        IntervalAlgorithm = [35],
        RandomInterval = [50],
        Algorithm = [304],
        PacketInterval = [305],
        PacketSpace = [306],
        Size = [309],
        Population = [310],
        Probability = [311],
        // Microseconds in which packets are taken, and in which they are not.
        TimeInterval = [307],
        TimeSpace = [308],
        // Selection of whole flows (RFC 7014): algorithm, flows taken, flows left out; and both by time.
        FlowAlgorithm = [390],
        FlowInterval = [396],
        FlowSpacing = [397],
        FlowTimeInterval = [398],
        FlowTimeSpacing = [399],
        SystemInit = [160],
        Domain = [149],
        // Which way the packets of an interface pass: an interface with it is one side of it.
        Direction = [61],
        // What part of the exporter a statement is about, where it is not a whole domain. Each counts for itself.
        Ingress = [10],
        Egress = [14],
        PhysicalIngress = [252],
        PhysicalEgress = [253],
        LineCard = [141],
        Port = [142],
        Template = [145],
        IngressVrf = [234],
        EgressVrf = [235],
        CommonProperties = [137],
        ObservationPoint = [138],
        MeteringProcess = [143],
        ExportingProcess = [144],
        Vlan = [58],
        // The same by scope types of v9, which are no elements.
        Interface = [],
        Cache = [],
    }
}

/// The first of `elements` that `fields` has, with a length that its place can hold: its index.
pub(super) fn find(fields: &[FieldSpec], enterprise: u32, elements: &[u16], width: Width) -> Option<usize> {
    elements.iter().find_map(|&element| {
        fields.iter().position(|field| {
            field.enterprise == enterprise && field.element == element && width.allows(field.length)
        })
    })
}

/// All fields of `element` whose length `width` allows: their indices.
pub(super) fn find_all(fields: &[FieldSpec], element: u16, width: Width) -> impl Iterator<Item = usize> {
    let is_one = move |field: &FieldSpec| {
        field.enterprise == 0 && field.element == element && width.allows(field.length)
    };
    fields.iter().enumerate().filter(move |(_, field)| is_one(field)).map(|(at, _)| at)
}

/// The lengths that a place can hold.
#[derive(Clone, Copy, Debug)]
pub(super) enum Width {
    /// A number of 1 to 8 octets (reduced-size encoding, RFC 7011 6.2), or of variable length.
    Number,
    /// Exactly so many octets.
    Exact(u16),
    /// An address of so many octets, or of variable length: then each record says whether it has one (RFC 7011 7).
    Address(u16),
    /// Any number of octets, or of variable length.
    Any,
}

impl Width {
    fn allows(self, length: u16) -> bool {
        match self {
            Self::Number => matches!(length, 1..=8 | super::template::VARIABLE),
            Self::Exact(octets) => length == octets,
            Self::Address(octets) => length == octets || length == super::template::VARIABLE,
            Self::Any => length > 0,
        }
    }
}
