//! What the running parts say of themselves: plain atomics, written by their owners once a batch, read by the SNMP
//! agent, the control socket and the log. Readers take no lock that a writer waits for.

use core::net::IpAddr;
use core::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, RwLock};

mod books;
mod memory;

pub use books::{Books, InvoiceState, Journal, PeriodRow, TariffRow};
pub use memory::{Field, Memory, Sampled, Sampler, Template, Transport, TransportCounts};

/// A bounded table and how contended it is (RDBMS-MIB's limited resource, RFC 1697, with waits added).
#[derive(Debug, Default)]
pub struct Table {
    /// The most it may hold.
    pub limit: AtomicU64,
    /// What it holds now.
    pub current: AtomicU64,
    /// The most it ever held.
    pub high_water: AtomicU64,
    /// How often something found no place in it.
    pub failures: AtomicU64,
    /// How often somebody had to wait for it.
    pub waits: AtomicU64,
    /// For how long, in all.
    pub wait_micros: AtomicU64,
}

impl Table {
    /// Says what it holds now, and raises the high-water mark.
    pub fn set_current(&self, current: u64) {
        self.current.store(current, Relaxed);
        self.high_water.fetch_max(current, Relaxed);
    }

    /// Counts a wait of `micros`.
    pub fn waited(&self, micros: u64) {
        self.waits.fetch_add(1, Relaxed);
        self.wait_micros.fetch_add(micros, Relaxed);
    }
}

/// One stream processor. The tables are its own; the agent adds up over processors.
#[derive(Debug, Default)]
pub struct Processor {
    /// Datagrams received, and those that a start has read back from the journals of the last run. Here and everywhere,
    /// a message that came over TCP counts as one.
    pub datagrams: AtomicU64,
    /// Octets of them (UDP payload, or message).
    pub octets: AtomicU64,
    /// Datagrams of exporters that are not allowed.
    pub rejected: AtomicU64,
    /// Datagrams that the kernel dropped because the socket was full (`SO_RXQ_OVFL`).
    pub kernel_drops: AtomicU64,
    /// Datagrams put into the journal, but for those that were rejected when they were read back.
    pub journalled: AtomicU64,
    /// Datagrams metered without a place in the journal (it could not be written).
    pub unjournalled: AtomicU64,
    /// Datagrams dropped: neither journal nor usage table could take them.
    pub dropped: AtomicU64,
    /// Datagrams decoded.
    pub decoded: AtomicU64,
    /// Datagrams that could not be decoded.
    pub malformed: AtomicU64,
    /// Datagrams seen before.
    pub duplicates: AtomicU64,
    /// Flow records decoded.
    pub records: AtomicU64,
    /// Their octets, before scaling.
    pub raw_octets: AtomicU64,
    /// Flow records metered.
    pub metered_records: AtomicU64,
    /// Their octets, before scaling.
    pub metered_octets: AtomicU64,
    /// Records held now: waiting for a template or a sampling rate (of held sets, the sets).
    pub held: AtomicU64,
    /// Records and sets that waited in vain (of sets, the sets).
    pub expired_records: AtomicU64,
    /// Of those, sets that waited for their template.
    pub expired_sets: AtomicU64,
    /// Octets of held sets and records that waited in vain.
    pub expired_octets: AtomicU64,
    /// Records without an octet counter.
    pub not_volume: AtomicU64,
    /// Records whose counters no exporter can have counted; not metered.
    pub implausible: AtomicU64,
    /// Octets, before scaling, of running totals that may be of flows of their own and were not billed, because no field tells
    /// these from another one.
    pub unclear_total_octets: AtomicU64,
    /// Records that are the other observation of a flow metered elsewhere.
    pub duplicate_observations: AtomicU64,
    /// Octets of those.
    pub duplicate_observation_octets: AtomicU64,
    /// Records of exporters that observe both sides and do not say which (element 61): their flows may count twice.
    pub unknown_observations: AtomicU64,
    /// Records classified by a later version of the configuration than the one in force at their end, because that could not
    /// be had from the ledger.
    pub by_other_version: AtomicU64,
    /// When the usage table was last drained into a flush: milliseconds since the epoch. 0 before the first.
    pub flushed_at: AtomicI64,
    /// When the oldest flush that the ledger has not committed was drained: milliseconds since the epoch; 0: none.
    pub uncommitted_since: AtomicI64,
    /// Journalled datagrams not yet decoded, in octets of the journal (start, or a ledger that takes no usage).
    pub backlog: AtomicU64,
    /// How long a template is used after it was last sent, in seconds.
    pub template_lifetime_seconds: AtomicU64,
    /// Templates kept.
    pub templates: Table,
    /// Rows in the usage table.
    pub usage: Table,
    /// Octets of memory that data sets waiting for their template take. A failure is a set that had to leave for want of
    /// room.
    pub holds: Table,
    /// Flows whose running total is remembered, over all exporters. A failure is one that was forgotten for want of
    /// room, or may have been: what it carried between two reports does not count, or, where its records do not say when it
    /// began, all of it counts once more.
    pub running_totals: Table,
    /// Octets of memory that records waiting for a sampling rate take, over all exporters. A failure is a record that
    /// had to leave for want of room: let go before its grace time was over, or expired.
    pub held_records: Table,
    /// Octets on the way to the journal's disk.
    pub journal_queue: Table,
    /// Its journal.
    pub journal: Journal,
    /// TCP connections; a failure is one that was closed for want of room.
    pub connections: Table,
    /// TCP connections taken in.
    pub connections_accepted: AtomicU64,
    /// TCP connections closed because their exporter is not allowed.
    pub connections_refused: AtomicU64,
    /// TCP connections that ended within a message, or where no message was.
    pub connections_broken: AtomicU64,
    /// TCP connections closed because nothing came.
    pub connections_idle: AtomicU64,
}

/// Kinds of malformed datagrams, at most.
pub const MALFORMED_KINDS_MAX: usize = 24;

/// One exporter.
#[derive(Debug)]
pub struct Exporter {
    /// Its name.
    pub name: String,
    /// Its address.
    pub address: IpAddr,
    /// The ledger's number of its name: the SNMP index. 0 until the ledger has given it one.
    pub ledger_id: AtomicU32,
    /// Datagrams.
    pub datagrams: AtomicU64,
    /// Octets of them.
    pub octets: AtomicU64,
    /// Flow records.
    pub records: AtomicU64,
    /// Options records.
    pub options_records: AtomicU64,
    /// Octets of the flow records, before scaling.
    pub raw_octets: AtomicU64,
    /// Datagrams that could not be decoded.
    pub malformed: AtomicU64,
    /// The same by kind, in the order of `decode::ErrorKind::ALL`; there is room for more kinds than there are.
    pub malformed_by_kind: [AtomicU64; MALFORMED_KINDS_MAX],
    /// Records that the headers of torn datagrams count; nothing of them is billed.
    pub torn_records: AtomicU64,
    /// Octets of these datagrams, as far as they came.
    pub torn_octets: AtomicU64,
    /// Datagrams seen before.
    pub duplicates: AtomicU64,
    /// What sequence numbers say is missing, in the protocol's unit (v5 and IPFIX records, v9 and sFlow datagrams), since
    /// the exporter was first heard. Falls when late datagrams come.
    pub lost: AtomicU64,
    /// The same since the daemon began, as a counter that never falls: loss that a flush showed stays in it.
    pub lost_told: AtomicU64,
    /// Datagrams whose export time was after their reception.
    pub clock_ahead: AtomicU64,
    /// Datagrams whose export time was more than an hour before their reception: their usage is booked there.
    pub clock_behind: AtomicU64,
    /// Datagrams whose export time was too long before their reception to be believed: that ruled.
    pub clock_shifted: AtomicU64,
    /// Times that its sampling rates of before were used again after it started anew, since it announced none.
    pub rates_taken_up: AtomicU64,
    /// Records whose sampling rate was rounded, because it states too many different ones.
    pub rates_rounded: AtomicU64,
    /// Records that do not say on which side of it they were observed (element 61), though it observes both: their flows
    /// may count twice.
    pub unknown_observations: AtomicU64,
    /// Times that it was seen to start anew.
    pub restarts: AtomicU64,
    /// Times that two exporters were found to use one domain of this address, where numbers then tell nothing.
    pub shared_domains: AtomicU64,
    /// Records of running totals that may be of a flow of their own, which no field tells from another one, and added less than
    /// they claim.
    pub unclear_totals: AtomicU64,
    /// Octets, before scaling, that these claim and did not add.
    pub unclear_total_octets: AtomicU64,
    /// Records and sets held now.
    pub held: AtomicU64,
    /// Records that waited in vain.
    pub expired_records: AtomicU64,
    /// Sampling rate of the newest record, numerator ...
    pub rate_numerator: AtomicU32,
    /// ... and denominator. 0 before the first record.
    pub rate_denominator: AtomicU32,
    /// When its last datagram came, milliseconds since the epoch. 0 before the first.
    pub last_seen: AtomicI64,
    /// Whether an earlier process has heard it: a checkpoint was left of it.
    pub was_heard: AtomicBool,
    /// Whether the operator has taken it out of the configuration, or moved its name to another address.
    pub is_taken_out: AtomicBool,
    /// What only sFlow has.
    pub sflow: Sflow,
    /// What is remembered of it, as of the start or the last flush that it was part of. Replaced whole.
    pub memory: arc_swap::ArcSwap<Memory>,
}

/// What an exporter of sFlow sent besides records, and how its samples went.
#[derive(Debug, Default)]
pub struct Sflow {
    /// Flow samples; each is a record.
    pub flow_samples: AtomicU64,
    /// Counter samples; never volume.
    pub counter_samples: AtomicU64,
    /// Notifications of discarded packets; never volume.
    pub discard_notifications: AtomicU64,
    /// Samples and flow records of formats that accounting does not know or need.
    pub skipped_formats: AtomicU64,
    /// Flow samples missing by their sources' sequence numbers.
    pub samples_lost: AtomicU64,
    /// Flow samples that the exporter says it dropped itself.
    pub samples_dropped: AtomicU64,
    /// Spans in which the sample pool contradicted the stated rate, or more was dropped than anything bears out.
    pub pool_contradictions: AtomicU64,
    /// Packets that dropped samples stood for and that no sample made up for.
    pub packets_unpaid: AtomicU64,
    /// Datagrams of another agent than the first: a relay.
    pub other_agents: AtomicU64,
}

impl Exporter {
    /// An exporter nothing has come from.
    #[must_use]
    pub fn new(name: String, address: IpAddr) -> Self {
        Self {
            name,
            address,
            ledger_id: AtomicU32::new(0),
            datagrams: AtomicU64::new(0),
            octets: AtomicU64::new(0),
            records: AtomicU64::new(0),
            options_records: AtomicU64::new(0),
            raw_octets: AtomicU64::new(0),
            malformed: AtomicU64::new(0),
            malformed_by_kind: Default::default(),
            torn_records: AtomicU64::new(0),
            torn_octets: AtomicU64::new(0),
            duplicates: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            lost_told: AtomicU64::new(0),
            clock_ahead: AtomicU64::new(0),
            clock_behind: AtomicU64::new(0),
            clock_shifted: AtomicU64::new(0),
            rates_taken_up: AtomicU64::new(0),
            rates_rounded: AtomicU64::new(0),
            unknown_observations: AtomicU64::new(0),
            restarts: AtomicU64::new(0),
            shared_domains: AtomicU64::new(0),
            unclear_totals: AtomicU64::new(0),
            unclear_total_octets: AtomicU64::new(0),
            held: AtomicU64::new(0),
            expired_records: AtomicU64::new(0),
            rate_numerator: AtomicU32::new(0),
            rate_denominator: AtomicU32::new(0),
            last_seen: AtomicI64::new(0),
            was_heard: AtomicBool::new(false),
            is_taken_out: AtomicBool::new(false),
            sflow: Sflow::default(),
            memory: arc_swap::ArcSwap::default(),
        }
    }
}

/// Scaled volume of a link or a customer, by direction.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Volume {
    /// Octets toward the customer.
    pub in_octets: u64,
    /// Octets from the customer.
    pub out_octets: u64,
    /// Packets toward the customer.
    pub in_packets: u64,
    /// Packets from the customer.
    pub out_packets: u64,
}

/// A link, as committed to the ledger.
#[derive(Clone, Debug)]
pub struct LinkRow {
    /// The ledger's number of its name: the SNMP index.
    pub id: u32,
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: String,
    /// All committed volume.
    pub volume: Volume,
}

/// A customer, or a reserved name, as committed to the ledger.
#[derive(Clone, Debug)]
pub struct CustomerRow {
    /// The ledger's number of its name: the SNMP index.
    pub id: u32,
    /// Its name.
    pub name: String,
    /// All committed volume.
    pub volume: Volume,
    /// Octets toward the customer in the UTC month of the newest commit.
    pub month_in_octets: u64,
    /// Octets from the customer in that month.
    pub month_out_octets: u64,
}

/// Committed volumes: replaced whole by the ledger's writer after each commit. Rows ascend by id.
#[derive(Clone, Debug, Default)]
pub struct Volumes {
    /// Links.
    pub links: Vec<LinkRow>,
    /// Customers, reserved names first.
    pub customers: Vec<CustomerRow>,
}

/// Where a customer stands with what its tariff includes, in the period of now.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct AllowanceRow {
    /// The ledger's number of the customer; 0 where it has none yet.
    pub customer_id: u32,
    /// The customer's name.
    pub customer: String,
    /// The tariff's charge that has the allowance.
    pub charge: String,
    /// The period, `YYYY-MM`.
    pub period: String,
    /// Used of the allowance, in percent, rounded down.
    pub used_percent: u64,
    /// What it comes to at the period's end if it goes on as it did, in percent; `None` before the period has begun.
    pub projected_percent: Option<u64>,
    /// The greatest of the tariff's alerts that is reached, in percent; empty where none is.
    pub alert: String,
}

/// What the daemon bills by itself.
#[derive(Debug, Default)]
pub struct Billing {
    /// Allowances as of the last look; by customer and charge. Replaced whole.
    pub allowances: arc_swap::ArcSwap<Vec<AllowanceRow>>,
    /// Alerts raised since the start.
    pub alerts: AtomicU64,
    /// Alerts told since the start.
    pub alerts_told: AtomicU64,
    /// Alerts that the configured command could not be told, each attempt.
    pub alert_failures: AtomicU64,
    /// When periods were last looked at, milliseconds since the epoch; 0: not yet.
    pub looked_at: AtomicI64,
    /// Customers' periods that were due and could not be billed at the last look.
    pub due: AtomicU64,
    /// Drafts made since the start.
    pub drafts: AtomicU64,
    /// Invoices made final since the start.
    pub finals: AtomicU64,
    /// Failures since the start; each is tried again.
    pub failures: AtomicU64,
    /// The first failure of the last look, in words; empty where there was none.
    pub problem: arc_swap::ArcSwap<String>,
}

/// An exporter that is polled over SNMP.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct PolledRow {
    /// Its name.
    pub exporter: String,
    /// Polls since the start, answered or not.
    pub polls: u64,
    /// Of those, without an answer.
    pub failures: u64,
    /// When it last answered, milliseconds since the epoch; 0: never.
    pub answered_at: i64,
    /// Why the last poll failed; empty where it did not.
    pub failure: String,
    /// Interfaces whose counters are read.
    pub interfaces: u64,
    /// Spans between readings in which nobody knows what crossed an interface.
    pub gaps: u64,
}

/// A flow table of a router, as its SNMP agent or an operator told it. -1: not told.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct CardRow {
    /// The exporter's name.
    pub exporter: String,
    /// The ledger's number of the exporter.
    pub exporter_id: u32,
    /// The card's number at the router.
    pub card: u32,
    /// The card's name.
    pub name: String,
    /// Percent in use.
    pub utilisation: i64,
    /// Flows in it.
    pub current: i64,
    /// Flows that it can hold.
    pub limit: i64,
    /// The most flows in it since the start.
    pub high_water: i64,
    /// Flows that found no place since the start: lost volume.
    pub failures: u64,
    /// When it was read, milliseconds since the epoch.
    pub read_at: i64,
}

/// Flows against the interface counters of a link, in the newest five minutes that were compared.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ReconciledRow {
    /// The ledger's number of the link.
    pub link: u32,
    /// Its name.
    pub name: String,
    /// Start of the bucket, seconds since the epoch.
    pub bucket: i64,
    /// Toward the customers, and from them.
    pub inward: Reconciled,
    /// From the customers.
    pub outward: Reconciled,
}

/// One direction of a [`ReconciledRow`].
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Reconciled {
    /// Octets of flows, scaled.
    pub flow_octets: u64,
    /// Octets of the interfaces without framing: at most so many.
    pub interface_octets: u64,
    /// By how much they may differ.
    pub tolerance: u64,
    /// Percent of the bucket that the counters cover.
    pub coverage: u32,
    /// 1 agrees, 2 flows are missing, 3 too many flows, 4 no counters.
    pub verdict: u32,
    /// Buckets out of tolerance since the start.
    pub differences: u64,
}

/// What the SNMP manager shows: replaced whole.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Managed {
    /// Routers, by name.
    pub polled: Vec<PolledRow>,
    /// Their flow tables, by exporter and card.
    pub cards: Vec<CardRow>,
    /// Links, by number.
    pub reconciled: Vec<ReconciledRow>,
}

/// All counters of a process.
#[derive(Debug)]
pub struct Counters {
    /// When the process started, milliseconds since the epoch.
    pub started_at: i64,
    /// By processor index.
    pub processors: Vec<Processor>,
    /// By [`crate::ids::ExporterId`]; only ever grows.
    pub exporters: RwLock<Vec<Arc<Exporter>>>,
    /// Those that a reload has given another name: what they counted still belongs to the old one.
    pub renamed: RwLock<Vec<Arc<Exporter>>>,
    /// Volumes as of the last commit.
    pub volumes: arc_swap::ArcSwap<Volumes>,
    /// Billing by the daemon.
    pub billing: Billing,
    /// Tariffs, periods and versions, as the ledger had them a moment ago. Replaced whole.
    pub books: arc_swap::ArcSwap<Books>,
    /// What routers say of themselves, and how flows compare with it.
    pub managed: arc_swap::ArcSwap<Managed>,
    /// Flushes on their way into the ledger.
    pub ledger_writer: Table,
    /// Exporters known, and how many may be.
    pub exporter_table: Table,
    /// Commits.
    pub commits: AtomicU64,
    /// Failed attempts to commit, retried.
    pub commit_failures: AtomicU64,
    /// Duration of the last commit in microseconds.
    pub commit_micros: AtomicU64,
    /// Configuration versions loaded since the start.
    pub reloads: AtomicU64,
    /// Configurations refused since the start.
    pub reload_failures: AtomicU64,
}

impl Counters {
    /// Counters for `processors` stream processors.
    #[must_use]
    pub fn new(processors: usize, started_at: i64) -> Self {
        Self {
            started_at,
            processors: (0..processors).map(|_| Processor::default()).collect(),
            exporters: RwLock::new(Vec::new()),
            renamed: RwLock::new(Vec::new()),
            volumes: arc_swap::ArcSwap::default(),
            billing: Billing::default(),
            books: arc_swap::ArcSwap::default(),
            managed: arc_swap::ArcSwap::default(),
            ledger_writer: Table::default(),
            exporter_table: Table::default(),
            commits: AtomicU64::new(0),
            commit_failures: AtomicU64::new(0),
            commit_micros: AtomicU64::new(0),
            reloads: AtomicU64::new(0),
            reload_failures: AtomicU64::new(0),
        }
    }

    /// The exporters known now.
    #[must_use]
    pub fn exporters(&self) -> Vec<Arc<Exporter>> {
        self.exporters.read().expect("no holder of this lock panics").clone()
    }
}
