//! What the operator says of an exporter.

use core::net::IpAddr;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::flow::{FlowRecord, Observed};
use crate::units::{IfIndex, RateSource, SamplingRate};

mod policies;

pub use policies::Policies;

/// From which side of its interfaces an exporter's records come.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Observes {
    /// Every flow once, where it enters.
    #[default]
    Ingress,
    /// Every flow once, where it leaves.
    Egress,
    /// Both sides; element 61 of each record tells which.
    Both,
}

/// What output interface 0 means for an exporter.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum OutputZero {
    /// Nothing is said.
    #[default]
    Unknown,
    /// The packets were dropped.
    Discarded,
}

/// What elements 23 and 24 (`postOctetDeltaCount`, `postPacketDeltaCount`; `OUT_BYTES` and `OUT_PKTS` of NetFlow v9) of an
/// exporter count.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum OutCounters {
    /// The packets of elements 1 and 2, behind the exporter: never counted beside those.
    #[default]
    Same,
    /// The packets of the other direction (nProbe).
    Reverse,
}

/// The operator's word on an exporter's sampling. `interfaces` beats `over`, which beats whatever the exporter says;
/// `default` fills in where nothing is announced.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct SamplingPolicy {
    /// `sampling.override`: the rate, whatever the exporter says.
    pub over: Option<SamplingRate>,
    /// `sampling.interfaces`: the rates of the interfaces that packets are looked at on, sorted by interface. A record
    /// is about its input interface, or its output interface where it was observed on the way out (element 61, or
    /// `observes = "egress"`).
    pub interfaces: Arc<[(IfIndex, SamplingRate)]>,
    /// Records that do not say where they were observed were observed on the way out.
    pub at_egress: bool,
    /// `sampling.default`: the rate where the exporter says nothing.
    pub default: Option<SamplingRate>,
    /// `sampling.require`: records wait until a rate is announced, however long that takes.
    pub require: bool,
    /// Records wait, whatever their rate: links have interfaces of the exporter by name, and nobody was told yet which
    /// these are.
    pub names_awaited: bool,
    /// The same for a while after the exporter has started anew, where interfaces of links have not shown yet: which they are
    /// may change with them. What finds no room meanwhile goes by what is known.
    pub interfaces_awaited: bool,
}

impl SamplingPolicy {
    /// True where records wait, whatever their rate.
    #[inline]
    #[must_use]
    pub const fn holds_all(&self) -> bool {
        self.names_awaited || self.interfaces_awaited
    }

    /// The operator's rate for a record, whatever the exporter says: that of the interface where it was observed, or
    /// the one for all.
    #[inline]
    #[must_use]
    pub fn ruling(&self, record: &FlowRecord) -> Option<SamplingRate> {
        if !self.interfaces.is_empty() {
            let (interface, _) = self.observation_point(record);
            if let Ok(at) = self.interfaces.binary_search_by_key(&interface, |&(interface, _)| interface) {
                return Some(self.interfaces[at].1.with_source(RateSource::Override));
            }
        }
        self.over.map(|rate| rate.with_source(RateSource::Override))
    }

    /// The interface where a record's packets were looked at, and whether that was on their way out.
    #[inline]
    #[must_use]
    pub fn observation_point(&self, record: &FlowRecord) -> (IfIndex, bool) {
        let is_egress = match record.observed {
            Observed::Unknown => self.at_egress,
            Observed::Ingress => false,
            Observed::Egress => true,
        };
        (if is_egress { record.output } else { record.input }, is_egress)
    }
}

/// An exporter as configured, or as accepted.
#[derive(Clone, Debug, PartialEq)]
pub struct Exporter {
    /// Its name; the address where the operator gave none.
    pub name: String,
    /// The source address of its datagrams.
    pub address: IpAddr,
    /// From which side its records come.
    pub observes: Observes,
    /// What output interface 0 means.
    pub output_zero: OutputZero,
    /// `out_counters`: what elements 23 and 24 count, where the operator says it.
    pub out_counters: Option<OutCounters>,
    /// Sampling.
    pub sampling: SamplingPolicy,
}

impl Exporter {
    /// An exporter that nobody configured: named after its address, with every default.
    #[must_use]
    pub fn unconfigured(address: IpAddr) -> Self {
        Self {
            name: address.to_string(),
            address,
            observes: Observes::default(),
            output_zero: OutputZero::default(),
            out_counters: None,
            sampling: SamplingPolicy::default(),
        }
    }
}
