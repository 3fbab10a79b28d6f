//! Exporters and their interfaces: which interface is on which link, and which is a customer's.
//!
//! Routers mostly number interfaces from 1, so small numbers are looked up in an array; the large ones that some
//! platforms use go through a hash table.

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use super::customer::Holder;
use crate::exporter::{Observes, OutputZero};
use crate::ids::{ExporterId, LinkId};
use crate::units::{Asn, IfIndex};

/// What is at an interface.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Port {
    /// The link it is part of, or [`LinkId::NONE`].
    pub(super) link: LinkId,
    /// Whose it is.
    pub(super) holder: Holder,
}

impl Port {
    /// An interface that nothing is known of.
    pub(super) const UNKNOWN: Self = Self { link: LinkId::NONE, holder: Holder::NOBODY };

    /// True where the interface is on a link.
    pub(super) fn is_on_link(self) -> bool {
        self.link != LinkId::NONE
    }
}

/// An exporter's rules. The default is that of an exporter which nobody configured.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    pub(super) observes: Observes,
    pub(super) output_zero: OutputZero,
    /// The link that the whole exporter is, or [`LinkId::NONE`].
    pub(super) whole: LinkId,
    /// True where the interfaces decide on everything: no whole-exporter link, no copies of the same flow.
    pub(super) is_plain: bool,
    /// Where its array begins, how long it is without the place at its end that is nobody's, and whether it has
    /// interfaces beyond.
    near_from: u32,
    near_len: u32,
    has_far: bool,
}

impl Plan {
    const UNCONFIGURED: Self = Self {
        observes: Observes::Ingress,
        output_zero: OutputZero::Unknown,
        whole: LinkId::NONE,
        is_plain: true,
        near_from: 0,
        near_len: 0,
        has_far: false,
    };
}

/// What the configuration says of one exporter.
#[derive(Debug)]
pub(super) struct ExporterSetup {
    pub(super) id: ExporterId,
    pub(super) observes: Observes,
    pub(super) output_zero: OutputZero,
    pub(super) whole: LinkId,
    /// Interfaces, none twice.
    pub(super) ports: Vec<(IfIndex, Port)>,
}

/// All exporters and interfaces.
#[derive(Clone, Debug)]
pub(super) struct Interfaces {
    /// By exporter id.
    plans: Vec<Plan>,
    /// Arrays of the exporters, one behind the other, by interface number. Each ends with [`Port::UNKNOWN`], where
    /// greater numbers are looked up; the first, of nothing else, is that of exporters that nobody configured.
    near: Vec<Port>,
    /// Interfaces with large numbers.
    far: HashMap<(ExporterId, IfIndex), Port, RandomState>,
}

impl Interfaces {
    /// Interface numbers below this are looked up in an array: at most 32 KiB an exporter.
    const NEAR: u32 = 4096;

    /// Compiles the exporters.
    pub(super) fn build(exporters: &[ExporterSetup]) -> Self {
        let mut table = Self { plans: Vec::new(), near: vec![Port::UNKNOWN], far: HashMap::default() };
        for setup in exporters {
            let near_len = setup
                .ports
                .iter()
                .map(|(index, _)| index.0.saturating_add(1))
                .filter(|n| *n <= Self::NEAR)
                .max()
                .unwrap_or(0);
            let near_from = table.near.len();
            table.near.resize(near_from + near_len as usize + 1, Port::UNKNOWN);
            let mut has_far = false;
            for &(index, port) in &setup.ports {
                if index.0 < near_len {
                    table.near[near_from + index.0 as usize] = port;
                } else {
                    table.far.insert((setup.id, index), port);
                    has_far = true;
                }
            }
            let place = usize::from(setup.id.0);
            if table.plans.len() <= place {
                table.plans.resize(place + 1, Plan::UNCONFIGURED);
            }
            table.plans[place] = Plan {
                observes: setup.observes,
                output_zero: setup.output_zero,
                whole: setup.whole,
                is_plain: setup.whole == LinkId::NONE && setup.observes != Observes::Both,
                near_from: u32::try_from(near_from).expect("65536 exporters of 4096 interfaces fit"),
                near_len,
                has_far,
            };
        }
        table
    }

    /// The rules and the interfaces of an exporter.
    #[inline]
    pub(super) fn of(&self, exporter: ExporterId) -> Ports<'_> {
        let plan = self.plans.get(usize::from(exporter.0)).unwrap_or(&Plan::UNCONFIGURED);
        let (from, len) = (plan.near_from as usize, plan.near_len as usize);
        let far = plan.has_far.then_some(&self.far);
        Ports { plan, near: &self.near[from..=from + len], exporter, far }
    }
}

/// The interfaces of one exporter.
pub(super) struct Ports<'a> {
    pub(super) plan: &'a Plan,
    /// Its array, with the place at its end that is nobody's.
    near: &'a [Port],
    exporter: ExporterId,
    far: Option<&'a HashMap<(ExporterId, IfIndex), Port, RandomState>>,
}

impl Ports<'_> {
    /// What is at an interface.
    #[inline(always)]
    pub(super) fn at(&self, index: IfIndex) -> Port {
        // Customers' interfaces often have numbers beyond the links': whether this one has is no matter for a branch.
        let beyond = self.near.len() - 1;
        let place = (index.0 as usize).min(beyond);
        match self.far {
            Some(far) if place == beyond => {
                far.get(&(self.exporter, index)).copied().unwrap_or(Port::UNKNOWN)
            }
            _ => self.near[place],
        }
    }
}

impl Default for Interfaces {
    /// No exporters.
    fn default() -> Self {
        Self::build(&[])
    }
}

/// A table from AS numbers to holders, for the few customers that are known by theirs.
#[derive(Debug, Default)]
pub(super) struct AsTable(HashMap<u32, Holder, RandomState>);

impl AsTable {
    /// Says whose an AS number is.
    pub(super) fn insert(&mut self, asn: Asn, holder: Holder) {
        self.0.insert(asn.0, holder);
    }

    /// Whose an AS number is. 0 is nobody's: it is what exporters say when they do not know.
    #[inline]
    pub(super) fn holder(&self, asn: Asn) -> Holder {
        if asn.0 == 0 || self.0.is_empty() {
            return Holder::NOBODY;
        }
        self.0.get(&asn.0).copied().unwrap_or(Holder::NOBODY)
    }
}
