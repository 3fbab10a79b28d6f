//! From a configuration version, as the operator wrote it, to a [`Classifier`]. All problems are reported at once.

use core::fmt;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::class::Classes;
use super::customer::{Claim, Holder, Holders, sort_claims};
use super::interface::{AsTable, ExporterSetup, Interfaces, Port};
use super::named::Resolved;
use super::prefix::PrefixTable;
use super::rules::{InterfaceRef, LinkPoint, Network, Prefix};
use super::{Classifier, Names};
use crate::ids::{CustomerId, ExporterId, LinkId};
use crate::units::{Asn, IfIndex};

/// Why a configuration version cannot be compiled: every reason.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub struct CompileError {
    /// The reasons, in the order of the configuration.
    pub problems: Vec<Problem>,
}

impl fmt::Display for CompileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, problem) in self.problems.iter().enumerate() {
            let separator = if n == 0 { "" } else { "; " };
            write!(f, "{separator}{problem}")?;
        }
        Ok(())
    }
}

/// One reason.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Problem {
    /// A name that has no number: nothing of that name is configured.
    #[error("{used_by} names the {kind} `{name}`, which is not known")]
    UnknownName {
        /// What the name should be of.
        kind: &'static str,
        /// The name.
        name: String,
        /// Where it stands.
        used_by: String,
    },
    /// An interface is on two links, or an exporter is two links as a whole.
    #[error("{what} is on two links, `{first}` and `{second}`")]
    TwoLinks {
        /// The interface or exporter.
        what: String,
        /// One link.
        first: String,
        /// The other.
        second: String,
    },
    /// Two customers hold the same at the same time.
    #[error("{what} belongs to `{first}` and `{second}` at the same time")]
    TwoCustomers {
        /// The prefix, interface or AS number.
        what: String,
        /// One customer.
        first: String,
        /// The other.
        second: String,
    },
    /// Interface 0 stands for "none or unknown" in flow records.
    #[error("{used_by} names interface 0 of `{exporter}`, which stands for no interface")]
    InterfaceZero {
        /// The exporter.
        exporter: String,
        /// Where it stands.
        used_by: String,
    },
    /// More traffic classes than can be told apart.
    #[error("{count} traffic classes are more than {max}")]
    TooManyClasses {
        /// How many.
        count: usize,
        /// How many there may be.
        max: usize,
    },
}

impl Classifier {
    /// Compiles a configuration version. An exporter that it does not name gets the default rules.
    ///
    /// # Errors
    /// Names without a number, and statements that contradict each other; all of them.
    pub fn compile(network: &Network, names: &Names) -> Result<Self, CompileError> {
        Self::compile_resolved(network, names, &Resolved::default())
    }

    /// As [`Self::compile`], with what the names of interfaces mean.
    ///
    /// # Errors
    /// As there.
    pub fn compile_resolved(
        network: &Network,
        names: &Names,
        resolved: &Resolved,
    ) -> Result<Self, CompileError> {
        let mut compiler =
            Compiler { names, problems: Vec::new(), customers: HashMap::new(), holders: Holders::default() };
        let claims = compiler.claims(network);
        let interface_holders = compiler.settle(claims.interfaces, |interface| {
            format!("interface {} of `{}`", interface.1.0, exporter_name(names, interface.0))
        });
        let as_holders = compiler.settle(claims.as_numbers, |asn| format!("AS {}", asn.0));
        let prefixes = compiler.prefixes(claims.prefixes, &claims.spans);
        let exporters = compiler.exporters(network, resolved, &interface_holders);
        let classes = compiler.classes(network);
        if !compiler.problems.is_empty() {
            return Err(CompileError { problems: compiler.problems });
        }
        let mut as_numbers = AsTable::default();
        for (asn, holder) in as_holders {
            as_numbers.insert(asn, holder);
        }
        Ok(Self {
            interfaces: Interfaces::build(&exporters),
            ports: Arc::new(interface_holders),
            prefixes: Arc::new(prefixes),
            as_numbers: Arc::new(as_numbers),
            holders: Arc::new(compiler.holders),
            classes: Arc::new(classes),
        })
    }

    /// The same version where names of interfaces mean something else. All but the interfaces is shared: it may be large.
    ///
    /// # Errors
    /// As [`Self::compile`].
    pub fn resolved_anew(
        &self,
        network: &Network,
        names: &Names,
        resolved: &Resolved,
    ) -> Result<Self, CompileError> {
        let mut compiler =
            Compiler { names, problems: Vec::new(), customers: HashMap::new(), holders: Holders::default() };
        let exporters = compiler.exporters(network, resolved, &self.ports);
        if !compiler.problems.is_empty() {
            return Err(CompileError { problems: compiler.problems });
        }
        Ok(Self {
            interfaces: Interfaces::build(&exporters),
            ports: Arc::clone(&self.ports),
            prefixes: Arc::clone(&self.prefixes),
            as_numbers: Arc::clone(&self.as_numbers),
            holders: Arc::clone(&self.holders),
            classes: Arc::clone(&self.classes),
        })
    }
}

/// What customers claim, by thing. Ordered maps, so that problems come in one order.
#[derive(Default)]
struct Claims {
    /// With the place of the claim among `spans`: nearly all prefixes of a customer are its own at the same times, and there
    /// may be a million of them.
    prefixes: Vec<(Prefix, u32)>,
    spans: Vec<Claim>,
    interfaces: BTreeMap<(ExporterId, IfIndex), Vec<Claim>>,
    as_numbers: BTreeMap<Asn, Vec<Claim>>,
}

/// Whose interfaces are.
pub(super) type InterfaceHolders = BTreeMap<(ExporterId, IfIndex), Holder>;

struct Compiler<'a> {
    names: &'a Names,
    problems: Vec<Problem>,
    /// Names of customers, for messages.
    customers: HashMap<CustomerId, &'a str>,
    holders: Holders,
}

impl<'a> Compiler<'a> {
    /// The number of a name; a problem where it has none.
    fn number<T: Copy>(
        &mut self,
        map: &HashMap<String, T>,
        kind: &'static str,
        name: &str,
        used_by: impl FnOnce() -> String,
    ) -> Option<T> {
        let number = map.get(name).copied();
        if number.is_none() {
            self.problems.push(Problem::UnknownName { kind, name: name.to_owned(), used_by: used_by() });
        }
        number
    }

    fn interface(&mut self, at: &InterfaceRef, used_by: &str) -> Option<(ExporterId, IfIndex)> {
        let exporter = self.number(&self.names.exporters, "exporter", &at.exporter, || used_by.to_owned())?;
        if at.ifindex == IfIndex(0) {
            let (exporter, used_by) = (at.exporter.clone(), used_by.to_owned());
            self.problems.push(Problem::InterfaceZero { exporter, used_by });
            return None;
        }
        Some((exporter, at.ifindex))
    }

    fn claims(&mut self, network: &'a Network) -> Claims {
        let mut claims = Claims::default();
        claims.prefixes.reserve_exact(network.customers.iter().map(|rule| rule.prefixes.len()).sum());
        for rule in &network.customers {
            let used_by = format!("customer `{}`", rule.name);
            let known = self.number(&self.names.customers, "customer", &rule.name, || used_by.clone());
            // With a number of no meaning the rest can still be checked.
            let customer = known.unwrap_or_default();
            self.customers.insert(customer, &rule.name);
            for held in &rule.prefixes {
                let Some(claim) = Claim::new(customer, [rule.validity, held.validity]) else { continue };
                if claims.spans.last() != Some(&claim) {
                    claims.spans.push(claim);
                }
                let span =
                    u32::try_from(claims.spans.len() - 1).expect("memory holds fewer than 2^32 prefixes");
                claims.prefixes.push((held.prefix, span));
            }
            let claim = Claim::new(customer, [rule.validity, rule.validity]);
            for at in &rule.interfaces {
                if let Some(place) = self.interface(at, &used_by) {
                    claims.interfaces.entry(place).or_default().extend(claim);
                }
            }
            for asn in &rule.asns {
                claims.as_numbers.entry(*asn).or_default().extend(claim);
            }
        }
        claims
    }

    /// Holders of things that do not nest.
    fn settle<K: Ord>(
        &mut self,
        claims: BTreeMap<K, Vec<Claim>>,
        describe: impl Fn(&K) -> String,
    ) -> BTreeMap<K, Holder> {
        let mut settled = BTreeMap::new();
        for (thing, mut claims) in claims {
            let holder = self.holder(&mut claims, Holder::NOBODY, || describe(&thing));
            settled.insert(thing, holder);
        }
        settled
    }

    fn holder(
        &mut self,
        claims: &mut Vec<Claim>,
        otherwise: Holder,
        describe: impl FnOnce() -> String,
    ) -> Holder {
        if let Err([first, second]) = sort_claims(claims) {
            let name = |id| self.customers.get(&id).copied().unwrap_or_default().to_owned();
            let (first, second) = (name(first), name(second));
            self.problems.push(Problem::TwoCustomers { what: describe(), first, second });
        }
        self.holders.add(claims, otherwise)
    }

    /// The prefix table. A prefix comes after all that hold it, so their holders are known when it falls back on them.
    fn prefixes(&mut self, mut claims: Vec<(Prefix, u32)>, spans: &[Claim]) -> PrefixTable {
        claims.sort_unstable_by_key(|(prefix, span)| (prefix.address, prefix.length, *span));
        let mut around: Vec<(Prefix, Holder)> = Vec::new();
        let mut mine = Vec::new();
        // Holders take the places of the claims that they come from: another list would be as large as this one.
        let (mut next, mut kept) = (0, 0);
        while let Some(&(prefix, _)) = claims.get(next) {
            while around.pop_if(|outer| !outer.0.contains(prefix.address)).is_some() {}
            let otherwise = around.last().map_or(Holder::NOBODY, |outer| outer.1);
            let same = claims[next..].iter().take_while(|claim| claim.0 == prefix);
            mine.clear();
            mine.extend(same.map(|claim| spans[claim.1 as usize]));
            next += mine.len();
            let holder = self.holder(&mut mine, otherwise, || format!("prefix {prefix}"));
            claims[kept] = (prefix, holder.as_u32());
            kept += 1;
            around.push((prefix, holder));
        }
        claims.truncate(kept);
        PrefixTable::build(claims)
    }

    fn exporters(
        &mut self,
        network: &Network,
        resolved: &Resolved,
        holders: &InterfaceHolders,
    ) -> Vec<ExporterSetup> {
        let mut on_links: BTreeMap<(ExporterId, IfIndex), (LinkId, &str)> = BTreeMap::new();
        let mut whole: BTreeMap<ExporterId, (LinkId, &str)> = BTreeMap::new();
        for (position, rule) in network.links.iter().enumerate() {
            let used_by = format!("link `{}`", rule.name);
            let link =
                self.number(&self.names.links, "link", &rule.name, || used_by.clone()).unwrap_or_default();
            for at in resolved.of(position) {
                if let Some(place) = self.interface(at, &used_by) {
                    on_links.entry(place).or_insert((link, &rule.name));
                }
            }
            for point in &rule.points {
                let (before, what) = match point {
                    LinkPoint::Named(name) => {
                        // Also where it means nothing now.
                        self.number(&self.names.exporters, "exporter", &name.exporter, || used_by.clone());
                        continue;
                    }
                    LinkPoint::Interface(at) => {
                        let Some(place) = self.interface(at, &used_by) else { continue };
                        let what = format!("interface {} of `{}`", at.ifindex.0, at.exporter);
                        (on_links.insert(place, (link, &rule.name)), what)
                    }
                    LinkPoint::WholeExporter(name) => {
                        let number = self.number(&self.names.exporters, "exporter", name, || used_by.clone());
                        let Some(id) = number else { continue };
                        (whole.insert(id, (link, &rule.name)), format!("exporter `{name}`"))
                    }
                };
                if let Some((_, first)) = before.filter(|(_, first)| *first != rule.name) {
                    let (first, second) = (first.to_owned(), rule.name.clone());
                    self.problems.push(Problem::TwoLinks { what, first, second });
                }
            }
        }
        let mut ports: BTreeMap<(ExporterId, IfIndex), Port> = BTreeMap::new();
        for (place, (link, _)) in &on_links {
            ports.entry(*place).or_insert(Port::UNKNOWN).link = *link;
        }
        for (place, holder) in holders {
            ports.entry(*place).or_insert(Port::UNKNOWN).holder = *holder;
        }
        let mut setups = Vec::new();
        for rule in &network.exporters {
            let used_by = || format!("exporter `{}`", rule.name);
            let Some(id) = self.number(&self.names.exporters, "exporter", &rule.name, used_by) else {
                continue;
            };
            let (first, last) = ((id, IfIndex(0)), (id, IfIndex(u32::MAX)));
            setups.push(ExporterSetup {
                id,
                observes: rule.observes,
                output_zero: rule.output_zero,
                whole: whole.get(&id).map_or(LinkId::NONE, |link| link.0),
                ports: ports.range(first..=last).map(|(place, port)| (place.1, *port)).collect(),
            });
        }
        self.unconfigured(
            &setups,
            on_links.keys().chain(holders.keys()).map(|at| at.0).chain(whole.into_keys()),
        );
        setups
    }

    /// Links and customers may be at configured exporters only: an accepted one has no name to refer to.
    fn unconfigured(&mut self, setups: &[ExporterSetup], used: impl Iterator<Item = ExporterId>) {
        let configured: BTreeSet<ExporterId> = setups.iter().map(|setup| setup.id).collect();
        let missing: BTreeSet<ExporterId> = used.filter(|id| !configured.contains(id)).collect();
        for id in missing {
            self.problems.push(Problem::UnknownName {
                kind: "exporter",
                name: exporter_name(self.names, id).to_owned(),
                used_by: "a link or customer".to_owned(),
            });
        }
    }

    fn classes(&mut self, network: &Network) -> Classes {
        let mut rules = Vec::with_capacity(network.classes.len());
        for rule in &network.classes {
            let used_by = || format!("traffic class `{}`", rule.name);
            let class = self.number(&self.names.classes, "traffic class", &rule.name, used_by);
            for name in &rule.matches.exporter {
                self.number(&self.names.exporters, "exporter", name, used_by);
            }
            rules.push((rule.matches.clone(), class.unwrap_or_default()));
        }
        if rules.len() > Classes::RULES_MAX {
            let (count, max) = (rules.len(), Classes::RULES_MAX);
            self.problems.push(Problem::TooManyClasses { count, max });
        }
        Classes::build(&rules, &self.names.exporters)
    }
}

fn exporter_name(names: &Names, id: ExporterId) -> &str {
    names.exporters.iter().find(|entry| *entry.1 == id).map_or("", |entry| entry.0)
}
