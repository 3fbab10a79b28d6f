//! Why a datagram could not be decoded: a small `Copy` error with the offset of the offending octet, counted by kind.

/// Why a datagram, or a part of it, could not be decoded.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Error {
    /// Shorter than its header, or a template definition that its set cuts off.
    #[error("truncated at offset {offset}")]
    Truncated {
        /// Where octets are missing.
        offset: usize,
    },
    /// The version word is none of 1, 5, 7, 8, 9, 10, nor sFlow's 5 in 32 bits.
    #[error("unknown version {version}")]
    UnknownVersion {
        /// The version word.
        version: u16,
    },
    /// A NetFlow v1, v5, v7 or v8 header that claims more records than the datagram holds. Nothing of it is taken.
    #[error("the header claims {count} records, the datagram ends at offset {offset}")]
    CountBeyondData {
        /// Records claimed.
        count: u16,
        /// Where the datagram ends.
        offset: usize,
    },
    /// The length in an IPFIX message header is less than the header, or more than the datagram.
    #[error("message length {length} in a datagram of {octets} octets")]
    MessageLength {
        /// The length claimed.
        length: u16,
        /// The length of the datagram.
        octets: usize,
    },
    /// Octets that are not zero behind what the datagram's header declares: a second IPFIX message, or more records of v5,
    /// v7 or v8 than the header counts. Nothing of them is taken. Zeros are padding.
    #[error("octets behind the end at offset {offset}")]
    Trailing {
        /// Where what the header declares ends.
        offset: usize,
    },
    /// A set length below 4, or beyond the end of the message or the datagram. Of a data set, the records that are wholly
    /// there are taken all the same.
    #[error("set length {length} at offset {offset}")]
    SetLength {
        /// The length claimed.
        length: u16,
        /// Where the set begins.
        offset: usize,
    },
    /// A set id that the protocol reserves.
    #[error("reserved set id {id} at offset {offset}")]
    ReservedSet {
        /// The set id.
        id: u16,
        /// Where the set begins.
        offset: usize,
    },
    /// A template id below 256.
    #[error("reserved template id {id} at offset {offset}")]
    TemplateId {
        /// The template id.
        id: u16,
        /// Where the definition begins.
        offset: usize,
    },
    /// A NetFlow v9 template without fields.
    #[error("template without fields at offset {offset}")]
    TemplateEmpty {
        /// Where the definition begins.
        offset: usize,
    },
    /// An IPFIX template withdrawal outside of a session, as over UDP, where it must not be sent and is ignored
    /// (RFC 7011 8.4).
    #[error("withdrawal of template {id} over UDP at offset {offset}, which is ignored")]
    Withdrawal {
        /// The template id, or 2 or 3 for all of a kind.
        id: u16,
        /// Where the withdrawal begins.
        offset: usize,
    },
    /// A template with more fields than the limit allows.
    #[error("template of {fields} fields at offset {offset}")]
    TemplateFields {
        /// Its number of fields.
        fields: u16,
        /// Where the definition begins.
        offset: usize,
    },
    /// No room for another template.
    #[error("no room for the template at offset {offset}")]
    TemplateRefused {
        /// Where the definition begins.
        offset: usize,
    },
    /// An options template whose scope makes no sense: none in IPFIX, more than its fields, or a length that is not a
    /// multiple of 4 in v9.
    #[error("bad options scope at offset {offset}")]
    Scope {
        /// Where the definition begins.
        offset: usize,
    },
    /// A data set whose template describes records of no length.
    #[error("records of no length at offset {offset}")]
    EmptyRecord {
        /// Where the set begins.
        offset: usize,
    },
    /// A record that the end of its set cuts off, or an sFlow sample that the end of the datagram does.
    #[error("record cut off at offset {offset}")]
    RecordCut {
        /// Where the record begins.
        offset: usize,
    },
    /// No room for another observation domain.
    #[error("no room for observation domain {domain}")]
    DomainRefused {
        /// The domain.
        domain: u32,
    },
    /// A NetFlow v8 aggregation scheme whose records are not known. Nothing of the datagram is taken.
    #[error("unknown aggregation scheme {scheme}")]
    UnknownAggregation {
        /// The scheme, 1 to 14 being known.
        scheme: u8,
    },
    /// A NetFlow v1 datagram whose length is not that of its records, of 48 or 52 octets. Nothing of it is taken.
    #[error("{count} records in a datagram of {octets} octets")]
    RecordLength {
        /// Records claimed.
        count: u16,
        /// The length of the datagram.
        octets: usize,
    },
    /// An sFlow agent address of a type that nobody knows the length of.
    #[error("unknown address type {kind} at offset {offset}")]
    AddressType {
        /// The type word.
        kind: u32,
        /// Where it stands.
        offset: usize,
    },
}

/// The kinds of [`Error`], for counting.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[repr(u8)]
pub enum ErrorKind {
    /// [`Error::Truncated`].
    Truncated = 0,
    /// [`Error::UnknownVersion`].
    UnknownVersion = 1,
    /// [`Error::CountBeyondData`].
    CountBeyondData = 2,
    /// [`Error::MessageLength`] and [`Error::Trailing`]: another length than the datagram's.
    MessageLength = 3,
    /// [`Error::SetLength`].
    SetLength = 4,
    /// [`Error::ReservedSet`].
    ReservedSet = 5,
    /// [`Error::TemplateId`].
    TemplateId = 6,
    /// [`Error::TemplateEmpty`] and [`Error::Withdrawal`]: no fields where there must be some.
    TemplateEmpty = 7,
    /// [`Error::TemplateFields`].
    TemplateFields = 8,
    /// [`Error::TemplateRefused`].
    TemplateRefused = 9,
    /// [`Error::Scope`].
    Scope = 10,
    /// [`Error::EmptyRecord`].
    EmptyRecord = 11,
    /// [`Error::RecordCut`].
    RecordCut = 12,
    /// [`Error::DomainRefused`].
    DomainRefused = 13,
    /// [`Error::UnknownAggregation`].
    UnknownAggregation = 14,
    /// [`Error::RecordLength`].
    RecordLength = 15,
    /// [`Error::AddressType`].
    AddressType = 16,
}

impl ErrorKind {
    /// How many kinds there are.
    pub const COUNT: usize = 17;

    /// All kinds, in the order of their numbers.
    pub const ALL: [Self; Self::COUNT] = [
        Self::Truncated,
        Self::UnknownVersion,
        Self::CountBeyondData,
        Self::MessageLength,
        Self::SetLength,
        Self::ReservedSet,
        Self::TemplateId,
        Self::TemplateEmpty,
        Self::TemplateFields,
        Self::TemplateRefused,
        Self::Scope,
        Self::EmptyRecord,
        Self::RecordCut,
        Self::DomainRefused,
        Self::UnknownAggregation,
        Self::RecordLength,
        Self::AddressType,
    ];

    /// Its name in reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Truncated => "truncated",
            Self::UnknownVersion => "unknown-version",
            Self::CountBeyondData => "count-beyond-data",
            Self::MessageLength => "message-length",
            Self::SetLength => "set-length",
            Self::ReservedSet => "reserved-set",
            Self::TemplateId => "template-id",
            Self::TemplateEmpty => "template-empty",
            Self::TemplateFields => "template-fields",
            Self::TemplateRefused => "template-refused",
            Self::Scope => "scope",
            Self::EmptyRecord => "empty-record",
            Self::RecordCut => "record-cut",
            Self::DomainRefused => "domain-refused",
            Self::UnknownAggregation => "unknown-aggregation",
            Self::RecordLength => "record-length",
            Self::AddressType => "address-type",
        }
    }
}

impl Error {
    /// The kind under which it is counted.
    #[must_use]
    pub const fn kind(self) -> ErrorKind {
        match self {
            Self::Truncated { .. } => ErrorKind::Truncated,
            Self::UnknownVersion { .. } => ErrorKind::UnknownVersion,
            Self::CountBeyondData { .. } => ErrorKind::CountBeyondData,
            Self::MessageLength { .. } | Self::Trailing { .. } => ErrorKind::MessageLength,
            Self::SetLength { .. } => ErrorKind::SetLength,
            Self::ReservedSet { .. } => ErrorKind::ReservedSet,
            Self::TemplateId { .. } => ErrorKind::TemplateId,
            Self::TemplateEmpty { .. } | Self::Withdrawal { .. } => ErrorKind::TemplateEmpty,
            Self::TemplateFields { .. } => ErrorKind::TemplateFields,
            Self::TemplateRefused { .. } => ErrorKind::TemplateRefused,
            Self::Scope { .. } => ErrorKind::Scope,
            Self::EmptyRecord { .. } => ErrorKind::EmptyRecord,
            Self::RecordCut { .. } => ErrorKind::RecordCut,
            Self::DomainRefused { .. } => ErrorKind::DomainRefused,
            Self::UnknownAggregation { .. } => ErrorKind::UnknownAggregation,
            Self::RecordLength { .. } => ErrorKind::RecordLength,
            Self::AddressType { .. } => ErrorKind::AddressType,
        }
    }
}
