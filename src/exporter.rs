//! What the operator says of an exporter.

use core::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::units::SamplingRate;

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

/// The operator's word on an exporter's sampling. `over` beats everything, `default` fills in where nothing is announced.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct SamplingPolicy {
    /// `sampling.override`: the rate, whatever the exporter says.
    pub over: Option<SamplingRate>,
    /// `sampling.default`: the rate where the exporter says nothing.
    pub default: Option<SamplingRate>,
    /// `sampling.require`: records wait until a rate is announced, however long that takes.
    pub require: bool,
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
            sampling: SamplingPolicy::default(),
        }
    }
}
