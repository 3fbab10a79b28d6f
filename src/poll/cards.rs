//! Flow tables of routers: how full they are, and what found no place in them. A flow that found none is volume that no
//! record tells.
//!
//! Known are CISCO-SWITCH-ENGINE-MIB (cards of Catalyst 6500 and 7600), CISCO-SWITCH-NETFLOW-MIB's successor below 737
//! (Sup2T), CISCO-SWITCH-HARDWARE-CAPACITY-MIB below 663 (Nexus 7000) and CISCO-NETFLOW-MIB below 387. A router without
//! them answers one request with nothing, and is not asked again before its names are read again. What `show mls netflow
//! table-contention` prints tells what no object does (ICAM, aliases); [`read_text`] reads it.

use std::collections::BTreeMap;

use super::client::{Error, Session};
use super::columns::{Oid, Value, Walk};
use crate::ledger::records::interfaces::Card;

/// `enterprises.cisco.ciscoMgmt`.
const CISCO: [u32; 8] = [1, 3, 6, 1, 4, 1, 9, 9];

/// Columns, below [`CISCO`].
const COLUMNS: [&[u32]; 14] = [
    &[97, 1, 4, 1, 1, 5],     // cseL3ActiveFlows
    &[97, 1, 4, 1, 1, 6],     // cseL3FlowLearnFailures
    &[97, 1, 4, 4, 1, 1],     // cseCacheUtilization
    &[97, 1, 4, 4, 1, 2],     // cseCacheEntriesCreated
    &[97, 1, 4, 4, 1, 3],     // cseCacheEntriesFailed
    &[737, 1, 1, 4, 1, 1, 1], // csnUtilization
    &[737, 1, 1, 5, 1, 1, 1], // csnNetflowTableTotalEntries
    &[663, 1, 6, 1, 1, 2],    // cshcNetflowResourceUsageDescr
    &[663, 1, 6, 1, 1, 3],    // ...Util
    &[663, 1, 6, 1, 1, 4],    // ...Used
    &[663, 1, 6, 1, 1, 5],    // ...Free
    &[663, 1, 6, 1, 1, 6],    // ...Fail; -1: not told
    &[387, 1, 1, 2, 1, 4],    // cnfCIActiveFlows
    &[387, 1, 1, 2, 1, 5],    // cnfCIInactiveFlows
];

/// Rows that are read, at most: a chassis has some ten cards.
const ROWS_MAX: usize = 256;

/// Numbers of the cards of each MIB begin here, so that what two of them tell of one card stays apart.
const BLOCK: u32 = 1_000_000;

/// The flow tables of a router, by card; none where it has none of the known MIBs.
pub(super) async fn read(session: &Session) -> Result<BTreeMap<u32, Card>, Error> {
    let columns = COLUMNS.map(|column| [&CISCO[..], column].concat()).to_vec();
    let Walk { rows, .. } = session.walk(columns, ROWS_MAX).await?;
    Ok(from_rows(&rows))
}

/// Cards from the rows of a walk over [`COLUMNS`].
fn from_rows(rows: &BTreeMap<Oid, Vec<Option<Value>>>) -> BTreeMap<u32, Card> {
    let mut cards = BTreeMap::new();
    for (index, values) in rows {
        let at = |n: usize| values.get(n).and_then(Option::as_ref).and_then(Value::number);
        let percent = |n: usize| at(n).and_then(|percent| u32::try_from(percent).ok());
        // An index of several numbers becomes one: card 3, direction 1 is 301.
        let number =
            index.iter().fold(0_u32, |number, part| number.wrapping_mul(100).wrapping_add(*part)) % BLOCK;
        let place = index.first().copied().unwrap_or(0);
        let mut add = |block: u32, card: Card| {
            let is_told = card.utilisation.is_some() || card.active.is_some() || card.failures.is_some();
            if is_told {
                cards.insert(block * BLOCK + number, card);
            }
        };
        let name = |what: &str| format!("{what} {place}");
        add(
            0,
            Card {
                name: name("flow table of card"),
                utilisation: percent(2),
                active: at(0),
                capacity: None,
                // Of those that have both, the second counts all failures, the first only learning in full tables.
                failures: at(4).or_else(|| at(1)),
            },
        );
        add(
            1,
            Card {
                name: name("flow table of module"),
                utilisation: percent(5),
                active: at(6),
                ..Card::default()
            },
        );
        let described = values.get(7).and_then(Option::as_ref).and_then(Value::text);
        add(
            2,
            Card {
                name: described.unwrap_or_else(|| name("flow resource of module")),
                utilisation: percent(8),
                active: at(9),
                capacity: at(9).zip(at(10)).and_then(|(used, free)| used.checked_add(free)),
                failures: at(11),
            },
        );
        add(3, Card { name: name("flow cache"), active: at(12), ..Card::default() });
    }
    cards
}

/// What `show mls netflow table-contention` told of a card.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Contention {
    /// The module.
    pub module: u32,
    /// Percent of the main table in use.
    pub tcam: Option<u32>,
    /// Percent of the table for collisions in use.
    pub icam: Option<u32>,
    /// Flows in the main table ...
    pub tcam_count: Option<u64>,
    /// ... and in that for collisions, which has room for 128.
    pub icam_count: Option<u64>,
    /// Flows that found no place: since the last reading (`detailed`), or since the router started (`aggregate`).
    pub failures: Option<u64>,
    /// Collisions.
    pub aliases: Option<u64>,
    /// The counts are since the router started.
    pub is_aggregate: bool,
}

/// A line whose number cannot be read. Passed over, it would look like a table that has lost nothing.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("line {line}: `{text}`: {why}")]
pub struct Unreadable {
    /// From 1.
    pub line: usize,
    /// What stands there.
    pub text: String,
    /// What is wrong with it.
    pub why: &'static str,
}

/// A number as routers print it, with or without thousands separators. None counts beyond 63 bits.
fn number(text: &str) -> Result<u64, &'static str> {
    let groups: Vec<&str> = text.split(',').collect();
    let is_grouped =
        groups.len() == 1 || groups[0].len() <= 3 && groups[1..].iter().all(|group| group.len() == 3);
    let is_digits = groups.iter().all(|group| !group.is_empty() && group.bytes().all(|b| b.is_ascii_digit()));
    if !is_grouped || !is_digits {
        return Err("this is no whole number");
    }
    let number = groups.concat().parse().ok().filter(|&number: &u64| i64::try_from(number).is_ok());
    number.ok_or("no counter goes so far")
}

fn percentage(text: &str) -> Result<u32, &'static str> {
    let percent = number(text.strip_suffix('%').unwrap_or(text).trim_end())?;
    u32::try_from(percent).ok().filter(|&percent| percent <= 100).ok_or("this is no percentage")
}

/// Reads what `show mls netflow table-contention detailed`, `aggregate` or `summary` printed, for one or more modules.
/// Lines that say something else are passed over. Nothing is found where no module is named.
///
/// # Errors
/// [`Unreadable`] where a line should have a number and has none, or one that cannot be.
pub fn read_text(text: &str) -> Result<Vec<Contention>, Unreadable> {
    let mut found: Vec<Contention> = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let line = line.trim();
        let unreadable = |why| Unreadable { line: at + 1, text: line.to_owned(), why };
        if let Some(module) = line.strip_prefix("Earl in Module ") {
            // Passed over, what follows would be the module's before it.
            let module = module.trim().parse().map_err(|_| unreadable("this is no module's number"))?;
            found.push(Contention { module, ..Contention::default() });
            continue;
        }
        let Some(last) = found.last_mut() else { continue };
        if line.starts_with("Aggregate ") {
            last.is_aggregate = true;
        }
        let Some((what, told)) = line.split_once(':') else { continue };
        let told = told.trim();
        let number = || number(told).map(Some).map_err(unreadable);
        let percent = || percentage(told).map(Some).map_err(unreadable);
        match what.trim() {
            "TCAM Utilization" => last.tcam = percent()?,
            "ICAM Utilization" => last.icam = percent()?,
            "Netflow TCAM count" => last.tcam_count = number()?,
            "Netflow ICAM count" => last.icam_count = number()?,
            "Netflow Creation Failures" => last.failures = number()?,
            "Netflow CAM aliases" | "Netflow Hash Aliases" => last.aliases = number()?,
            _ => {}
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cards_of_a_catalyst_and_a_nexus() {
        // Card 5 of a Catalyst, as entPhysicalIndex 5000: 97 % full, 254161 flows, 4078719 failures.
        let mut catalyst = vec![None; COLUMNS.len()];
        for (n, value) in [
            (0, Value::Number(254_161)),
            (1, Value::Counter32(7)),
            (2, Value::Number(97)),
            (4, Value::Number(4_078_719)),
        ] {
            catalyst[n] = Some(value);
        }
        // Module 3 of a Nexus, resource 2: 100 of 400 in use, which does not tell failures.
        let mut nexus = vec![None; COLUMNS.len()];
        for (n, value) in [
            (7, Value::Text(b"Netflow ingress".to_vec())),
            (8, Value::Number(25)),
            (9, Value::Number(100)),
            (10, Value::Number(300)),
            (11, Value::Number(-1)),
        ] {
            nexus[n] = Some(value);
        }
        let cards = from_rows(&[(vec![5000], catalyst), (vec![3, 2], nexus)].into());
        let card = Card {
            name: "flow table of card 5000".to_owned(),
            utilisation: Some(97),
            active: Some(254_161),
            capacity: None,
            failures: Some(4_078_719),
        };
        assert_eq!(cards[&5000], card);
        let resource = Card {
            name: "Netflow ingress".to_owned(),
            utilisation: Some(25),
            active: Some(100),
            capacity: Some(400),
            failures: None,
        };
        assert_eq!(cards[&2_000_302], resource);
        assert_eq!(cards.len(), 2);
        assert_eq!(from_rows(&BTreeMap::new()), BTreeMap::new());
    }

    #[test]
    fn what_the_router_prints() {
        let text = "r1#sh mls netflow table-contention detailed\r\nEarl in Module 5\r\n\
            Detailed Netflow CAM (TCAM and ICAM) Utilization\r\n\
            ================================================\r\n\
            TCAM Utilization             :   30%\r\nICAM Utilization             :   59%\r\n\
            Netflow TCAM count           :   80763\r\nNetflow ICAM count           :   76\r\n\
            Netflow Creation Failures    :   19\r\nNetflow CAM aliases          :   3\r\n\
            Earl in Module 6\nAggregate Netflow CAM Contention Information\n\
            Netflow Creation Failures    :   255709412414\nNetflow Hash Aliases         :   6\n";
        let five = Contention {
            module: 5,
            tcam: Some(30),
            icam: Some(59),
            tcam_count: Some(80_763),
            icam_count: Some(76),
            failures: Some(19),
            aliases: Some(3),
            is_aggregate: false,
        };
        let six = Contention {
            module: 6,
            failures: Some(255_709_412_414),
            aliases: Some(6),
            is_aggregate: true,
            ..Contention::default()
        };
        assert_eq!(read_text(text), Ok(vec![five, six]));
        assert_eq!(
            read_text("TCAM Utilization : 3%\nNetflow Creation Failures : many\n"),
            Ok(vec![]),
            "of no module"
        );
    }

    /// A number that is not understood is told with its line: nothing is lost in silence.
    #[test]
    fn a_number_that_cannot_be_read_is_no_empty_place() {
        let failures = |told: &str| {
            let text =
                format!("Earl in Module 5\nTCAM Utilization : 30%\nNetflow Creation Failures : {told}\n");
            read_text(&text).map(|found| found[0].failures)
        };
        assert_eq!(failures("1,234"), Ok(Some(1_234)));
        assert_eq!(failures("12,345,678"), Ok(Some(12_345_678)));
        assert_eq!(failures("9223372036854775807"), Ok(Some((1 << 63) - 1)));
        for told in [
            "99999999999999999999",
            "9223372036854775808",
            "1,23",
            "1234,567",
            ",123",
            "1.234",
            "-1",
            "n/a",
            "",
        ] {
            let wrong = failures(told).expect_err(told);
            let text = format!("Netflow Creation Failures : {told}");
            assert_eq!((wrong.line, wrong.text.as_str()), (3, text.trim()), "{told}");
        }
        for (text, line) in [
            ("Earl in Module x\n", 1),
            ("Earl in Module 5\nEarl in Module 99999999999\n", 2),
            ("Earl in Module 5\n\nTCAM Utilization : 400%\n", 3),
            ("Earl in Module 5\nICAM Utilization : %\n", 2),
        ] {
            assert_eq!(read_text(text).expect_err(text).line, line, "{text}");
        }
    }
}
