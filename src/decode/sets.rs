//! What NetFlow v9 and IPFIX have in common: a walk over sets, data sets read by a template, options data, holds.

use super::clock::Context;
use super::hold::Expired;
use super::layout::Places;
use super::options::{self, OptionsPlan};
use super::plan::{Counter, DataRow, Plan, Sums};
use super::sequence::{Count, Place, Unit, Uptime};
use super::template::{AnyPlan, Defined, Kind};
use super::total::{Added, Report, Times};
use super::{Domain, Error, IMPLAUSIBLE, IMPLAUSIBLE_TOTAL, Work, read};
use crate::exporter::OutCounters;
use crate::flow::{Address, FlowRecord, Observed, Order};
use crate::units::{Octets, Packets, UnixMillis};

/// Octets of a set's header.
const SET_HEADER: usize = 4;

/// By how much an exporter may differ in what it says of the instant at which it started.
const INIT_JITTER_MS: i64 = 60_000;

/// What the sets of a datagram came to.
#[derive(Debug)]
pub(super) struct Outcome {
    /// Data records, options data too; `None` where some could not be counted.
    pub(super) records: Option<u32>,
    /// How many at least, and at most.
    pub(super) bounds: Count,
    /// Of them, options data.
    pub(super) options: u32,
    pub(super) error: Option<Error>,
    /// Sets.
    pub(super) sets: u64,
    /// NetFlow v9, which does not say how long a datagram is: from there on there are only zeros.
    pub(super) padding: Option<usize>,
}

impl Outcome {
    pub(super) const NOTHING: Self =
        Self { records: Some(0), bounds: Count::exactly(0), options: 0, error: None, sets: 0, padding: None };

    fn count(&mut self, records: u32) {
        self.records = self.records.map(|sum| sum.saturating_add(records));
        self.bound(records, records);
    }

    /// A set waits: a record has an octet at least.
    fn wait(&mut self, octets: usize) {
        self.records = None;
        self.bound(1, saturated(octets));
    }

    fn bound(&mut self, least: u32, most: u32) {
        let Count { least: sum, most: sum_most } = self.bounds;
        self.bounds = Count { least: sum.saturating_add(least), most: sum_most.saturating_add(most) };
    }

    pub(super) fn fail(&mut self, error: Error) {
        self.note(error);
        self.records = None;
        self.bounds = Count { least: self.bounds.least.max(1), most: u32::MAX };
    }

    /// The same where all records could be counted nevertheless.
    fn note(&mut self, error: Error) {
        self.error.get_or_insert(error);
    }
}

/// A set that waited, and was read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settled {
    /// Of its message.
    pub(super) number: u32,
    pub(super) octets: u32,
    pub(super) records: u32,
    /// Of them, options data.
    pub(super) options: u32,
}

/// A piece of a datagram, by offsets, so that errors can name them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Piece<'a> {
    pub(super) data: &'a [u8],
    pub(super) at: usize,
    pub(super) end: usize,
}

impl Work<'_> {
    /// Decodes the sets of `message`. `templates` reads a template set: it is where the versions differ.
    pub(super) fn sets(
        &mut self,
        domain: &mut Domain,
        context: &Context,
        message: Piece<'_>,
        templates: impl Fn(&mut Self, &mut Domain, u16, Piece<'_>) -> Option<Result<(), Error>>,
    ) -> Outcome {
        let mut outcome = Outcome::NOTHING;
        let Piece { data, mut at, end } = message;
        while end - at >= SET_HEADER {
            let (id, length) =
                read::u16(data, at).zip(read::u16(data, at + 2)).expect("at least a set header is left");
            let next = at + usize::from(length);
            let is_cut = next > end;
            if (id, length) == (0, 0) && context.version == 9 && data[at..end].iter().all(|&octet| octet == 0)
            {
                outcome.padding = Some(at);
                return outcome;
            }
            outcome.sets += 1;
            if usize::from(length) < SET_HEADER || is_cut && id < 256 {
                outcome.fail(Error::SetLength { length, offset: at });
                return outcome;
            }
            let set = Piece { data, at: at + SET_HEADER, end: next.min(end) };
            if is_cut {
                // The last set claims more than there is. The records that are wholly there are as good as any.
                outcome.fail(Error::SetLength { length, offset: at });
                self.data_set(domain, context, id, set, &mut outcome);
                return outcome;
            }
            if id >= 256 {
                self.data_set(domain, context, id, set, &mut outcome);
            } else {
                match templates(self, domain, id, set) {
                    None => outcome.fail(Error::ReservedSet { id, offset: at }),
                    // No records are in a template set, so none is missing in the count.
                    Some(Err(error)) => outcome.note(error),
                    Some(Ok(())) => {}
                }
            }
            at = next;
        }
        if data[at..end].iter().any(|&octet| octet != 0) {
            outcome.fail(Error::Truncated { offset: end });
        }
        outcome
    }

    /// Decodes a data set, or holds it.
    fn data_set(
        &mut self,
        domain: &mut Domain,
        context: &Context,
        id: u16,
        set: Piece<'_>,
        outcome: &mut Outcome,
    ) {
        if self.is_former {
            self.former_set(domain, context, id, set, outcome);
            return;
        }
        let is_in_doubt = domain.sequence.is_in_doubt();
        let order = domain.sequence.order(context.stream(), context.mark());
        let Domain { session, templates, system_init, run, seen, .. } = domain;
        // Over TCP a template holds as long as its session (RFC 7011 section 8.3).
        let lifetime_ms = if session.is_none() { self.limits.template_lifetime_ms } else { i64::MAX };
        let template = templates.get_mut(id, context.received, lifetime_ms);
        let Some(template) = template.filter(|template| !is_in_doubt || template.is_in_doubt()) else {
            let octets = &set.data[set.at..set.end];
            if octets.is_empty() {
                return; // No record waits.
            }
            let waits_for = (id, is_in_doubt);
            let expired = self.hold.keep(*session, context, waits_for, octets, self.limits.hold_octets);
            self.counts.crowded_sets += expired.sets;
            self.counts.expired(expired, self.hold);
            outcome.wait(octets.len());
            return;
        };
        let (records, result) = match template.plan(&order) {
            AnyPlan::Data(plan) => {
                let in_run = run.and_then(|run| run.instant(context));
                let context = Context { system_init: *system_init, in_run, ..*context };
                let flows = self.flows((id, plan), &context, set);
                template.records += u64::from(flows.0);
                seen.records += u64::from(flows.0);
                flows
            }
            AnyPlan::Options(plan) => {
                let mut started = None;
                let (records, result) = self.options(plan, (context.domain, order), set, &mut started);
                outcome.options = outcome.options.saturating_add(records);
                template.records += u64::from(records);
                seen.records += u64::from(records);
                if let Some(started) = started {
                    self.started(domain, context, started);
                }
                (records, result)
            }
        };
        outcome.count(records);
        if let Err(error) = result {
            outcome.fail(error);
        }
    }

    /// Decodes a data set of the run of the exporter that has ended, by the layout of then. What is not known from then, or adds
    /// up with what was told then, cannot be read any more; what that run announced is over.
    fn former_set(
        &mut self,
        domain: &mut Domain,
        context: &Context,
        id: u16,
        set: Piece<'_>,
        outcome: &mut Outcome,
    ) {
        match domain.templates.former_plan(id) {
            Some(AnyPlan::Data(plan)) if plan.keys.is_none() => {
                let (records, result) = self.flows((id, plan), context, set);
                domain.seen.records += u64::from(records);
                outcome.count(records);
                if let Err(error) = result {
                    outcome.fail(error);
                }
            }
            Some(AnyPlan::Options(_)) => {}
            _ => self.counts.expired(Expired { sets: 1, octets: (set.end - set.at) as u64 }, self.hold),
        }
    }

    /// Takes in a template definition; sets that waited for it are decoded.
    pub(super) fn define(
        &mut self,
        domain: &mut Domain,
        id: u16,
        kind: Kind,
        offset: usize,
    ) -> Result<(), Error> {
        if self.is_former {
            return Ok(()); // Of a run that is over.
        }
        let room = self.counts.templates < self.limits.templates as u64;
        let time = (domain.last_seen, self.limits.template_lifetime_ms);
        match kind {
            Kind::Data => domain.seen.templates += 1,
            Kind::Options(_) => domain.seen.options_templates += 1,
        }
        let place = (&self.order, domain.sequence.is_in_doubt());
        match domain.templates.define(id, (kind, self.scratch), room, time, place) {
            Defined::Known => Ok(()),
            Defined::Refused => {
                self.counts.template_refusals += 1;
                Err(Error::TemplateRefused { offset })
            }
            Defined::New => {
                self.counts.templates += 1;
                self.release(domain, id)
            }
            Defined::Again => self.release(domain, id),
        }
    }

    /// Sees where a datagram stands among those of its domain, before anything in it is read. An error is one of sets that
    /// came before, and waited for it.
    pub(super) fn see_order(
        &mut self,
        domain: &mut Domain,
        context: &Context,
        uptime: Option<Uptime>,
        unit: Unit,
    ) -> Result<(), Error> {
        let was_in_doubt = domain.sequence.is_in_doubt();
        let place = domain.sequence.place(context.mark(), uptime, unit);
        self.order = domain.sequence.order(context.stream(), context.mark());
        self.is_former = place == Place::Former;
        match place {
            Place::Anew(told) => {
                self.counts.told(told);
                self.doubt_templates(domain);
            }
            Place::Known if was_in_doubt => return self.end_doubt(domain),
            Place::Known | Place::Doubtful | Place::Former => {}
        }
        Ok(())
    }

    /// Messages that were in doubt were late ones: what waited for that is read.
    fn end_doubt(&mut self, domain: &mut Domain) -> Result<(), Error> {
        domain.templates.end_doubt();
        let mut result = Ok(());
        for id in self.hold.end_doubt(domain.version, domain.id) {
            // The template may be one that nobody has defined.
            if domain.templates.get_mut(id, domain.last_seen, self.limits.template_lifetime_ms).is_some() {
                let released = self.release(domain, id);
                result = result.and(released);
            }
        }
        result
    }

    /// The exporter has started anew, and may have given the domain's template ids to other layouts: no template is
    /// used before it is sent again, and sets that wait for one of the time before wait in vain.
    pub(super) fn doubt_templates(&mut self, domain: &mut Domain) {
        domain.templates.doubt();
        self.out.restarts.push(domain.id);
        let expired = self.hold.forget(domain.version, domain.id);
        self.counts.expired(expired, self.hold);
    }

    /// The exporter says when it started. Where that is another run than the one it spoke of before, nothing that was
    /// said in that one is used any more, although no number may have shown the restart.
    fn started(&mut self, domain: &mut Domain, context: &Context, init: UnixMillis) {
        let stated = context.export.plus(-context.shift);
        let ran = Uptime::since(init, stated, context.received);
        let before = domain.ran.replace(ran);
        let was = domain.system_init.replace(init);
        let is_other = was.zip(before).is_some_and(|(was, before)| {
            // The same instant told again is the same run, wherever its clock has been set meanwhile.
            init.since(was).abs() > INIT_JITTER_MS && ran.began_after(before)
        });
        // Over TCP a session's templates are of one run.
        if !is_other || domain.session.is_some() || domain.sequence.is_shared() {
            return;
        }
        // What came since is of the new run; the header's whole seconds may make that a second longer.
        let begun = context.received.plus(-i64::from(ran.millis) - 1000);
        if domain.templates.doubt_before(begun) {
            self.counts.restarts += 1;
            domain.sequence.start_anew();
            self.out.restarts.push(domain.id);
        }
        let expired = self.hold.forget_before(domain.version, domain.id, begun);
        self.counts.expired(expired, self.hold);
    }

    /// Decodes the sets that waited for template `id`. Their offsets in an error count from the set's first record.
    fn release(&mut self, domain: &mut Domain, id: u16) -> Result<(), Error> {
        let mut result = Ok(());
        for held in self.hold.take(domain.session, domain.version, domain.id, id) {
            let mut outcome = Outcome::NOTHING;
            let set = Piece { data: &held.octets, at: 0, end: held.octets.len() };
            self.data_set(domain, &held.context, id, set, &mut outcome);
            if let (10, Some(records)) = (domain.version, outcome.records) {
                let (number, octets) = (held.context.number, saturated(held.octets.len()));
                self.settle(domain, Settled { number, octets, records, options: outcome.options });
            }
            let read = outcome.error.map_or(Ok(()), Err);
            result = result.and(read);
        }
        self.counts.held_sets = self.hold.sets() as u64;
        self.counts.held_octets = self.hold.octets() as u64;
        result
    }

    /// A set that waited has `records`, which IPFIX counts: now more is known of what is missing behind its message.
    fn settle(&mut self, domain: &mut Domain, set: Settled) {
        match domain.sequence.settle(set.number, set.octets, set.records) {
            Some(told) => self.counts.told(told),
            None => self.settled.push(set),
        }
    }

    /// The flows of a data set: how many records, and whether something was wrong behind them.
    fn flows(
        &mut self,
        (id, plan): (u16, &Plan),
        context: &Context,
        set: Piece<'_>,
    ) -> (u32, Result<(), Error>) {
        if plan.may_count_both_ways() && self.out_counters == OutCounters::Same {
            self.counts.out_counters_unsaid += 1;
        }
        let plan = plan.read_as(self.out_counters);
        let length = plan.layout.length();
        if length == 0 {
            return (0, Err(Error::EmptyRecord { offset: set.at }));
        }
        if plan.is_simple() {
            let count = (set.end - set.at) / length;
            if plan.counts_first((set.data, set.at), count) {
                self.simple_flows((id, plan), context, set, count);
                return (saturated(count), leftover(set, set.at + count * length));
            }
        }
        let (mut at, mut count) = (set.at, 0);
        let mut places = Places::new();
        while set.end - at >= length {
            let Some(next) = plan.layout.walk(set.data, at, set.end, &mut places) else {
                return (count, leftover(set, at));
            };
            self.record((id, plan), context, &places.row(set.data, at));
            (at, count) = (next, count + 1);
        }
        (count, leftover(set, at))
    }

    /// Records that are one flow each, without variable lengths: the common case.
    fn simple_flows(&mut self, (id, plan): (u16, &Plan), context: &Context, set: Piece<'_>, count: usize) {
        let from = self.out.records.len();
        let records = (set.data, set.at);
        let Sums { octets, packets, all_bits, clamped } =
            plan.flows(context, (self.exporter, id), records, count, &mut self.out.records);
        self.counts.records += count as u64;
        if all_bits < IMPLAUSIBLE {
            self.counts.flows_emitted += count as u64;
            self.counts.raw_octets = self.counts.raw_octets.saturating_add(octets);
            self.counts.raw_packets = self.counts.raw_packets.saturating_add(packets);
            self.counts.clamped += clamped;
            return;
        }
        // Rare: look at each again.
        let flows = self.out.records.split_off(from);
        for flow in flows {
            self.emit(flow, false);
        }
        self.counts.clamped += clamped;
    }

    /// One record of any kind.
    fn record(&mut self, (id, plan): (u16, &Plan), context: &Context, row: &DataRow<'_>) {
        use super::element::Slot;
        self.counts.records += 1;
        if plan.forward == Counter::Absent && plan.reverse == Counter::Absent {
            self.counts.not_volume += 1;
            return;
        }
        let (mut forward, moved) = plan.flow(context, (self.exporter, id), row);
        if !plan.read_section(row, &mut forward) {
            self.counts.not_volume += 1;
            return;
        }
        let own = plan.reverse_span(context, row, (forward.start, forward.end, moved));
        let mut reverse = FlowRecord {
            start: own.0,
            end: own.1,
            octets: Octets::new(row.number(Slot::ReverseOctets as usize)),
            packets: Packets::new(row.number(Slot::ReversePackets as usize)),
            ..turned(&forward)
        };
        let (counter, reverse_counter) = plan.counters(row, (&mut forward, &mut reverse));
        // Whichever side has volume is emitted; of two empty sides, the first one that is counted at all.
        let is_empty = |flow: &FlowRecord| flow.octets.as_u64() == 0 && flow.packets.as_u64() == 0;
        let two_sided = counter != Counter::Absent && reverse_counter != Counter::Absent;
        let skip_reverse = reverse_counter == Counter::Absent || two_sided && is_empty(&reverse);
        let skip_forward = counter == Counter::Absent || two_sided && is_empty(&forward) && !skip_reverse;
        let from = self.out.records.len();
        for (flow, counter, skip, is_reverse) in
            [(forward, counter, skip_forward, false), (reverse, reverse_counter, skip_reverse, true)]
        {
            if !skip {
                let (stated, moved) = if is_reverse {
                    (plan.states_reverse_start(context, row), own.2)
                } else {
                    (plan.states_start(context, row), moved)
                };
                let begun_by = stated.then_some(flow.start);
                // One that began earlier was moved there.
                let start = begun_by.filter(|&start| start > context.oldest());
                let times = Times { start, begun_by, end: flow.end };
                let flow = match counter {
                    Counter::Running { packets } => {
                        self.since_last(flow, packets, (id, plan), context, row, (is_reverse, times))
                    }
                    Counter::RunningPackets => {
                        // Of octets there is no total that could grow; those of the record, and its times, stay.
                        let total = FlowRecord { octets: Octets::ZERO, ..flow };
                        let added =
                            self.since_last(total, true, (id, plan), context, row, (is_reverse, times));
                        // Without octets there was no packet: what the total has grown by is of records that were lost.
                        let packets = if flow.octets == Octets::ZERO { Packets::ZERO } else { added.packets };
                        FlowRecord { packets, ..flow }
                    }
                    _ => flow,
                };
                let second = self.out.records.len() > from;
                self.emit(FlowRecord { second, ..flow }, moved);
            }
        }
    }

    /// Turns a running total into what was added since the last record of the flow. `total_packets`: its packets are a
    /// total, too.
    fn since_last(
        &mut self,
        mut flow: FlowRecord,
        total_packets: bool,
        (id, plan): (u16, &Plan),
        context: &Context,
        row: &DataRow<'_>,
        (is_reverse, times): (bool, Times),
    ) -> FlowRecord {
        use super::element::Slot;
        let Some(keys) = &plan.keys else { return flow };
        // A total may be greater than any flow; what was added to it since goes by the bound of flows.
        if flow.octets.as_u64() | flow.packets.as_u64() >= IMPLAUSIBLE_TOTAL {
            return flow;
        }
        // Element 136: 1 idle, 3 end of flow, 4 forced, 5 lack of resources (2, active timeout, goes on). YAF has 0x1f
        // for a flow of one packet, and marks what continues another flow in the highest bit.
        // Element 233: 2 flow deleted.
        let reason = row.number(Slot::EndReason as usize);
        let over =
            matches!(reason & 0x7f, 1 | 3 | 4 | 5 | 0x1f) || row.number(Slot::FirewallEvent as usize) == 2;
        let (key, detail) = keys.key((context.version, context.domain, is_reverse), id, row.whole());
        let report = Report {
            octets: flow.octets.as_u64(),
            packets: if total_packets { flow.packets.as_u64() } else { 0 },
            widths: Plan::total_widths(row, is_reverse),
            times,
            span: plan.own_span(context, row),
            tells_end: plan.states_end(context, row),
            told: context.export,
            over,
            continues: reason & 0x80 != 0,
            detail,
            shift: context.shift,
        };
        let Added { octets, packets, since } = self.totals.advance(key, &report, self.limits.running_totals);
        self.counts.totals_forgotten = self.totals.forgotten();
        let unclear = self.totals.unclear();
        (self.counts.totals_unclear, self.counts.totals_unclear_octets) = (unclear.records, unclear.octets);
        flow.octets = Octets::new(octets);
        if let Some(since) = since.filter(|&since| since <= flow.end) {
            flow.start = flow.start.max(since);
        }
        if total_packets {
            flow.packets = Packets::new(packets);
        }
        flow
    }

    /// Hands out a flow, unless its counters are impossible.
    fn emit(&mut self, flow: FlowRecord, moved: bool) {
        let octets = flow.octets.as_u64();
        if is_implausible(&flow) {
            self.counts.implausible += 1;
            self.counts.implausible_octets = self.counts.implausible_octets.saturating_add(octets);
            return;
        }
        self.counts.flows_emitted += 1;
        self.counts.raw_octets = self.counts.raw_octets.saturating_add(octets);
        self.counts.raw_packets = self.counts.raw_packets.saturating_add(flow.packets.as_u64());
        self.counts.clamped += u64::from(moved);
        self.out.records.push(flow);
    }

    /// The records of an options data set.
    fn options(
        &mut self,
        plan: &OptionsPlan,
        (domain, order): (u32, Order),
        set: Piece<'_>,
        started: &mut Option<UnixMillis>,
    ) -> (u32, Result<(), Error>) {
        let length = plan.layout.length();
        if length == 0 {
            return (0, Err(Error::EmptyRecord { offset: set.at }));
        }
        let (mut at, mut count) = (set.at, 0);
        let mut places = Places::new();
        while set.end - at >= length {
            let Some(next) = plan.layout.walk(set.data, at, set.end, &mut places) else {
                return (count, leftover(set, at));
            };
            let row = places.row(set.data, at);
            self.counts.options_records += 1;
            self.out.announcements.extend(plan.announcement(domain, &row, order));
            self.out.sequences.extend(options::sequence(domain, &row, order));
            *started = options::system_init(&row).or(*started);
            (at, count) = (next, count + 1);
        }
        (count, leftover(set, at))
    }
}

fn is_implausible(flow: &FlowRecord) -> bool {
    flow.octets.as_u64() | flow.packets.as_u64() >= IMPLAUSIBLE
}

fn saturated(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// Octets behind the last record of a set are padding if they are zero, or fewer than four (RFC 7011 3.3.1).
fn leftover(set: Piece<'_>, at: usize) -> Result<(), Error> {
    let rest = &set.data[at..set.end];
    if rest.len() < 4 || rest.iter().all(|&octet| octet == 0) {
        return Ok(());
    }
    Err(Error::RecordCut { offset: at })
}

/// The other direction of a biflow: ends and interfaces swapped (RFC 5103 3). What was ingress at one interface is, for
/// the packets that come back, egress at the same one. Next hop and forwarding status belong to the forward direction.
fn turned(forward: &FlowRecord) -> FlowRecord {
    let is_icmp = matches!(forward.protocol, 1 | 58);
    let ports = if is_icmp {
        (forward.source_port, forward.destination_port)
    } else {
        (forward.destination_port, forward.source_port)
    };
    FlowRecord {
        source: forward.destination,
        destination: forward.source,
        next_hop: Address(0),
        input: forward.output,
        output: forward.input,
        source_as: forward.destination_as,
        destination_as: forward.source_as,
        source_port: ports.0,
        destination_port: ports.1,
        source_mask: forward.destination_mask,
        destination_mask: forward.source_mask,
        forwarding_status: 0,
        observed: match forward.observed {
            Observed::Ingress => Observed::Egress,
            Observed::Egress => Observed::Ingress,
            Observed::Unknown => Observed::Unknown,
        },
        ..*forward
    }
}
