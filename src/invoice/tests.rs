use super::collect::{Collected, Collector, Names};
use super::kinds::LinkKinds;
use super::run::{Inputs, Outcome, Reason, run};
use super::*;
use crate::classify::rules::{CustomerRule, LinkRule, Network, Validity};
use crate::flow::Family;
use crate::ids::{ClassId, CustomerId, ExporterId, LinkId};
use crate::ledger::records::UsageFilter;
use crate::rate::parse::parse;
use crate::rate::version;
use crate::units::{RateSource, SamplingRate, UnixMillis};
use crate::usage::{BucketStart, UsageKey, UsageRow, UsageSums};

mod shown;

const TRANSIT: &str = include_str!("../../tariffs/transit-per-gb.toml");
const REGIONAL: &str = include_str!("../../tariffs/regional-isp.toml");

/// 2026-02-28T23:00:00Z and 2026-03-31T22:00:00Z: March in Amsterdam.
const MARCH: (i64, i64) = (1_772_319_600, 1_774_994_400);

fn tariff(text: &str) -> Tariff {
    parse("test.toml", text).unwrap_or_else(|problems| panic!("{problems:?}"))
}

/// The HTML page, by the template that is built in; slashes as they are.
pub(super) fn page_of(invoice: &Invoice) -> String {
    let page = html::write(invoice, &presentation::Assets::default()).expect("the template is good");
    page.replace("&#x2f;", "/")
}

fn names(shift: u32) -> Names {
    let table = |names: &[&str], first: u32| -> std::collections::HashMap<u32, String> {
        names.iter().zip(first..).map(|(name, id)| (id, (*name).to_owned())).collect()
    };
    let mut names = Names {
        customers: table(&["campus", "museum", "gone", "free"], 16 + shift),
        links: table(&["transit-a", "ix"], 1 + shift),
        classes: table(&["web"], 1 + shift),
        exporters: table(&["ce1"], 1 + shift),
    };
    names.customers.insert(3, "local".to_owned());
    names
}

fn customer(name: &str, tariff: Option<&str>) -> CustomerRule {
    CustomerRule {
        name: name.to_owned(),
        prefixes: vec![],
        asns: vec![],
        interfaces: vec![],
        validity: Validity::default(),
        tariff: tariff.map(str::to_owned),
        address: vec!["1 Main Street".to_owned()],
    }
}

fn network(customers: Vec<CustomerRule>) -> Network {
    let link = |name: &str, kind: &str| LinkRule {
        name: name.into(),
        kind: kind.into(),
        points: vec![],
        overhead: None,
    };
    Network {
        links: vec![link("transit-a", "upstream"), link("ix", "peering")],
        customers,
        ..Network::default()
    }
}

/// The kinds of a network that has always been.
fn kinds(network: &Network) -> LinkKinds {
    let mut kinds = LinkKinds::default();
    kinds.push(UnixMillis(0), network);
    kinds
}

fn row(bucket: i64, customer: u32, link: u16, direction: Direction, octets: u64) -> UsageRow {
    UsageRow {
        key: UsageKey {
            bucket: BucketStart(bucket),
            customer: CustomerId(customer),
            link: LinkId(link),
            direction,
            class: ClassId::DEFAULT,
            family: Family::V4,
            exporter: ExporterId(1),
            rate: SamplingRate::NOT_ANNOUNCED,
        },
        sums: UsageSums { octets, packets: 2, flows: 1, squares_low: 3, squares_high: 4 },
    }
}

/// The rows that a ledger with `rows` would give.
fn reader(
    rows: &[UsageRow],
) -> impl FnOnce(&UsageFilter, &mut dyn FnMut(UsageRow)) -> Result<(), std::io::Error> + '_ {
    move |filter, each| {
        let mut rows = rows.to_vec();
        rows.sort_by_key(|row| row.key);
        let wanted = |row: &&UsageRow| {
            filter.from.is_none_or(|from| row.key.bucket >= from)
                && filter.to.is_none_or(|to| row.key.bucket < to)
                && filter.customer.is_none_or(|customer| row.key.customer == customer)
        };
        rows.iter().filter(wanted).for_each(|row| each(*row));
        Ok(())
    }
}

fn march(network: &Network, tariffs: &[Tariff], only: Option<&str>, rows: &[UsageRow]) -> Outcome {
    march_with(&kinds(network), network, tariffs, only, rows)
}

fn march_with(
    kinds: &LinkKinds,
    network: &Network,
    tariffs: &[Tariff],
    only: Option<&str>,
    rows: &[UsageRow],
) -> Outcome {
    let (names, period) = (names(0), Period::new(2026, 3).expect("a month"));
    let (seller, customer, late) = (None, only, &[]);
    let inputs = Inputs { network, kinds, tariffs, names: &names, seller, period, customer, late };
    run(&inputs, reader(rows)).expect("runs")
}

/// 1234.567890123 GB in at 0.05 and 987.654321 GB out at 0.02, as in the rating tests.
pub(super) fn sample() -> Invoice {
    let rows = [
        row(MARCH.0, 16, 1, Direction::In, 1_000_000_000_000),
        row(MARCH.1 - 300, 16, 1, Direction::In, 234_567_890_123),
        row(MARCH.0 + 300, 16, 1, Direction::Out, 987_654_321_000),
    ];
    let network = network(vec![customer("campus", Some("transit-per-gb"))]);
    let mut outcome = march(&network, &[tariff(TRANSIT)], None, &rows);
    assert_eq!(outcome.problems, []);
    outcome.invoices.pop().expect("an invoice")
}

#[test]
fn the_document_has_the_keys_that_others_rely_on() {
    let text = json::write(&sample());
    let value: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(value["number"], "DRAFT-2026-03-campus");
    assert_eq!(value["state"], "draft");
    assert_eq!(value["customer"], "campus");
    assert_eq!(value["currency"], "EUR");
    assert_eq!(value["period"]["from"], "2026-02-28T23:00:00Z");
    assert_eq!(value["period"]["to"], "2026-03-31T22:00:00Z");
    let line = serde_json::json!({
        "charge": "in", "description": "Traffic to the customer", "quantity": "1234.567890123", "unit": "GB",
        "price": "0.05", "amount": "61.73", "relative_error": "0.000000",
        "detail": { "kind": "volume", "clause": 15, "part": 0, "tier": 0, "classes": ["all"], "direction": "in" },
    });
    assert_eq!(value["lines"][0], line);
    assert_eq!(
        (&value["net"], &value["tax"], &value["gross"]),
        (&"81.48".into(), &"17.11".into(), &"98.59".into())
    );
    assert_eq!(value["quality"]["octets"], "2222222211123");
    assert_eq!(value["quality"]["sampled_share"], "0.000000");
    assert_eq!(value["volumes"][0]["octets"], "1234567890123");
    assert!(text.starts_with(r#"{"number":"DRAFT-2026-03-campus","state":"draft","customer":"campus","#));
    assert!(text.ends_with("}\n") && text.matches('\n').count() == 1);
}

#[test]
fn documents_are_the_same_bytes_every_time_and_are_read_back() {
    let mut invoice = sample();
    assert_eq!(json::write(&invoice), json::write(&sample()));
    invoice.seller = Some(Seller {
        name: "Network \"Ltd\"\n".into(),
        address: vec!["ü <b>".into()],
        tax_number: "NL \"1\"".into(),
        footer: vec!["IBAN".into(), "30 days".into()],
    });
    invoice.quality.lost_records = Some(7);
    invoice.quality.coverage = Some("0.980000".into());
    invoice.quality.loss = vec![LossLine { exporter: "ce1".into(), lost: 3, records: 9 }];
    invoice.quality.reconciled =
        vec![ReconciledLine { link: "up".into(), buckets: 8928, compared: 8900, differences: 2 }];
    invoice.taxes[0].exemption_reason = "Because".into();
    invoice.presentation = presentation::Presentation {
        language: language::Language::SwissGerman,
        logo: Some("ab".into()),
        template: None,
    };
    assert_eq!(json::read(&json::write(&invoice)).expect("reads"), invoice);
    let stored = stored(&invoice);
    assert_eq!(
        (stored.gross_minor, stored.period.as_str(), stored.state.as_str()),
        (9859, "2026-03", "draft")
    );
}

#[test]
fn a_document_that_does_not_add_up_is_refused() {
    let text = json::write(&sample());
    for (from, to) in [
        ("\"net\":\"81.48\"", "\"net\":\"81.49\""),
        ("\"tax\":\"17.11\"", "\"tax\":\"17.12\""),
        ("\"gross\":\"98.59\"", "\"gross\":\"98.58\""),
        ("\"amount\":\"61.73\"", "\"amount\":\"61.72\""),
        ("\"amount\":\"61.73\"", "\"amount\":\"61.735\""),
        ("\"currency\":\"EUR\"", "\"currency\":\"XXX\""),
        ("\"state\":\"draft\"", "\"state\":\"paid\""),
        ("\"name\":\"2026-03\"", "\"name\":\"2026-13\""),
    ] {
        assert!(text.contains(from), "{from}");
        assert!(json::read(&text.replacen(from, to, 1)).is_err(), "{to}");
    }
    for end in 0..text.len() - 1 {
        if text.is_char_boundary(end) {
            assert!(json::read(&text[..end]).is_err());
        }
    }
}

#[test]
fn csv_has_a_row_a_line_and_quotes_what_it_must() {
    let mut invoice = sample();
    invoice.customer.name = "Camp, \"us\"".into();
    let text = csv::write(&invoice);
    let rows: Vec<&str> = text.split_terminator("\r\n").collect();
    assert_eq!(
        rows,
        [
            "number,state,customer,period,from,to,currency,line,charge,description,quantity,unit,price,amount,relative_error,kind,part,band,tier,estimate,standard_error,billed,basis,coverage,late_period,tax_category,tax_percent,tax_exemption_reason,sampled_share,volume_relative_error,least_coverage,lost_records,loss,reconciled,calibration_intervals,calibrated_intervals,calibrated_share,volume_by_flows",
            "DRAFT-2026-03-campus,draft,\"Camp, \"\"us\"\"\",2026-03,2026-02-28T23:00:00Z,2026-03-31T22:00:00Z,EUR,1,in,Traffic to the customer,1234.567890123,GB,0.05,61.73,0.000000,volume,1,,1,,,,,,,S,21,,0.000000,0.000000,,,,,,,,",
            "DRAFT-2026-03-campus,draft,\"Camp, \"\"us\"\"\",2026-03,2026-02-28T23:00:00Z,2026-03-31T22:00:00Z,EUR,2,out,Traffic from the customer,987.654321,GB,0.02,19.75,0.000000,volume,1,,1,,,,,,,S,21,,0.000000,0.000000,,,,,,,,",
        ]
    );
}

#[test]
fn the_page_escapes_names_and_marks_drafts() {
    let mut invoice = sample();
    invoice.customer.name = "<script>alert('x')</script> & \"Söhne\"".into();
    invoice.number = draft_number(invoice.period, &invoice.customer.name) + "</style>\"";
    let page = page_of(&invoice);
    assert!(!page.contains("<script"), "{page}");
    assert!(page.contains("&lt;script&gt;alert") && page.contains("Söhne"));
    assert_eq!(page.matches("</style").count(), 1, "the number in the page's foot cannot end the style");
    assert!(page.contains("class=\"mark\"") && page.contains("not a request for payment"));
    assert!(
        page.contains("1\u{202f}234.567890123<") && page.contains(">98.59<") && page.contains("2026-03-31")
    );
    for outside in ["http:", "https:", "url(", "<link", "<img", "@import"] {
        assert!(!page.contains(outside), "{outside}");
    }
    invoice.state = State::Final;
    let page = page_of(&invoice);
    assert!(!page.contains("class=\"mark\"") && !page.contains("not a request for payment"));
}

#[test]
fn the_seller_s_tax_number_and_footer_are_no_part_of_its_address() {
    let mut invoice = sample();
    invoice.seller = Some(Seller {
        name: "Net".into(),
        address: vec!["1 Exchange".into()],
        tax_number: "NL<1".into(),
        footer: vec!["IBAN & more".into(), "30 days".into()],
    });
    let text = json::write(&invoice);
    let seller = r#""seller":{"name":"Net","address":["1 Exchange"],"tax_number":"NL<1","footer":["IBAN & more","30 days"]}"#;
    assert!(text.contains(seller), "{text}");
    let page = page_of(&invoice);
    assert!(page.contains("1 Exchange<br>\nTax number NL&lt;1<br>\n</address>"), "{page}");
    assert!(page.contains("<footer>\nIBAN &amp; more<br>\n30 days<br>\n</footer>"), "{page}");
    // What it does not have is left out, and documents without the keys are read.
    invoice.seller = Some(Seller { name: "Net".into(), ..Seller::default() });
    let text = json::write(&invoice);
    assert!(text.contains(r#""seller":{"name":"Net","address":[]}"#), "{text}");
    assert_eq!(json::read(&text).expect("reads"), invoice);
    let page = page_of(&invoice);
    assert!(!page.contains("Tax number") && !page.contains("<footer"), "{page}");
}

#[test]
fn every_view_shows_the_quantity_of_the_document() {
    let invoice = sample();
    let page = page_of(&invoice);
    for line in &invoice.lines {
        assert!(csv::write(&invoice).contains(&line.quantity));
        assert!(page.replace('\u{202f}', "").contains(&format!(">{}", line.quantity)), "{}", line.quantity);
    }
}

#[test]
fn file_names_are_safe_and_unlike() {
    assert_eq!(file_name("2026-03", "campus-1.a_b", "json"), "2026-03-campus-1.a_b.json");
    assert_eq!(file_name("2026-03", "../etc/passwd", "csv"), "2026-03-..%2Fetc%2Fpasswd.csv");
    assert_eq!(file_name("2026-03", "Söhne & Co", "html"), "2026-03-S%C3%B6hne%20%26%20Co.html");
    assert_eq!(file_name("2026-03", "100%", "html"), "2026-03-100%25.html");
    let long = file_name("2026-03", &"ö".repeat(300), "html");
    assert!(long.len() < 255 && long != file_name("2026-03", &"ö".repeat(301), "html"));
}

/// The lines of the module's text, hashed by sha256sum.
#[test]
fn the_usage_root_is_that_of_the_documented_lines() {
    let mut web = row(600, 16, 2, Direction::Out, 7);
    web.key.class = ClassId(1);
    web.key.family = Family::V6;
    web.key.rate = SamplingRate::new(1000, 1, RateSource::Sampler).expect("a rate");
    // 300 local, to be passed over; 600 twice in an order of numbers that is not the order of names; 900.
    let rows = [
        row(600, 16, 1, Direction::In, 5),
        web,
        row(900, 16, 0, Direction::None, 9),
        row(600, 3, 0, Direction::None, 1),
    ];
    let collected = collect(&rows, &names(0));
    // printf '600\tix\tout\tweb\tipv6\tce1\t1000\t1\tsampler\t7\t2\t1\t3\t4\n600\ttransit-a\tin\tdefault\tipv4\tce1\t1\t1\tnot-announced\t5\t2\t1\t3\t4\n900\t\t\tdefault\tipv4\tce1\t1\t1\tnot-announced\t9\t2\t1\t3\t4\n' | sha256sum
    assert_eq!(collected.root, "d4f7f75e26f3cbe2c66511ac8cd94ea948122e6113f18dbb48d9e81b4dfa401b");
    assert_eq!(collected.octets(), 7014);

    // Another ledger, with other numbers for the same names.
    let renumbered: Vec<UsageRow> = rows
        .iter()
        .map(|row| {
            let mut row = *row;
            let shift = |id: u16| if id == 0 { 0 } else { id + 5 };
            row.key.customer =
                if row.key.customer.0 >= 16 { CustomerId(row.key.customer.0 + 5) } else { row.key.customer };
            row.key.link = LinkId(shift(row.key.link.0));
            row.key.class = ClassId(shift(row.key.class.0));
            row.key.exporter = ExporterId(shift(row.key.exporter.0));
            row
        })
        .collect();
    assert_eq!(collect(&renumbered, &names(5)), collected);
}

fn collect(rows: &[UsageRow], names: &Names) -> Collected {
    let id = names.customer("campus").expect("known");
    let mut collector = Collector::default();
    collector.expect(id, BucketStart(300), BucketStart(1200));
    for row in rows {
        collector.add(row, names).expect("in order");
    }
    collector.finish(names, &kinds(&network(vec![]))).remove(&id).expect("expected")
}

#[test]
fn rows_out_of_order_are_an_error_and_not_another_root() {
    let names = names(0);
    let mut collector = Collector::default();
    collector.expect(CustomerId(16), BucketStart(0), BucketStart(9000));
    collector.add(&row(600, 16, 1, Direction::In, 1), &names).expect("first");
    assert!(collector.add(&row(300, 16, 1, Direction::In, 1), &names).is_err());
    assert!(collector.add(&row(300, 17, 1, Direction::In, 1), &names).is_ok(), "nobody asked for 17");
}

#[test]
fn a_period_takes_its_own_buckets_and_no_others() {
    let rows = [
        row(MARCH.0 - 300, 16, 1, Direction::In, 1_000_000_000_000),
        row(MARCH.0, 16, 1, Direction::In, 1_000_000_000),
        row(MARCH.1 - 300, 16, 1, Direction::In, 2_000_000_000),
        row(MARCH.1, 16, 1, Direction::In, 1_000_000_000_000),
    ];
    let network = network(vec![customer("campus", Some("transit-per-gb"))]);
    let outcome = march(&network, &[tariff(TRANSIT)], None, &rows);
    assert_eq!(outcome.invoices[0].lines[0].quantity, "3");
}

#[test]
fn who_gets_an_invoice_and_who_is_a_problem() {
    let part = |from: i64, to: i64| Validity {
        from: Some(UnixMillis::from_seconds(from)),
        to: Some(UnixMillis::from_seconds(to)),
    };
    let mut leaver = customer("leaver", Some("regional-isp"));
    leaver.validity = part(MARCH.0 - 86_400, MARCH.0 + 1);
    let mut former = customer("former", Some("regional-isp"));
    former.validity = part(MARCH.0 - 86_400, MARCH.0);
    let network = network(vec![
        customer("campus", Some("transit-per-gb")), // usage, tariff
        customer("idle", Some("transit-per-gb")),   // no usage, nothing recurring
        customer("port", Some("regional-isp")),     // no usage, a recurring charge
        leaver,                                     // was a customer for a second of the period
        former,                                     // no longer
        customer("museum", None),                   // usage, no tariff
        customer("quiet", None),                    // neither
        customer("lost", Some("nobody-knows")),     // a tariff that was never activated
    ]);
    let rows = [
        row(MARCH.0 + 7200, 16, 1, Direction::In, 10_000_000_000),
        row(MARCH.0 + 7200, 17, 1, Direction::In, 7),
        row(MARCH.0 + 7200, 18, 1, Direction::In, 8), // "gone": known to the ledger alone
        row(MARCH.0 + 7200, 3, 0, Direction::None, 99),
    ];
    let tariffs = [tariff(TRANSIT), tariff(REGIONAL)];
    let outcome = march(&network, &tariffs, None, &rows);
    let made: Vec<(&str, String)> = outcome
        .invoices
        .iter()
        .map(|invoice| (invoice.customer.name.as_str(), invoice.net.to_string()))
        .collect();
    assert_eq!(made, [("campus", "0.50".into()), ("leaver", "150.00".into()), ("port", "150.00".into())]);
    let problems: Vec<(&str, &Reason)> =
        outcome.problems.iter().map(|problem| (problem.customer.as_str(), &problem.reason)).collect();
    assert_eq!(
        problems,
        [
            ("gone", &Reason::NotConfigured { octets: 8 }),
            ("lost", &Reason::Tariff(version::Error::Unknown("nobody-knows".into()))),
            ("museum", &Reason::NoTariff { octets: 7 }),
        ]
    );
    assert_eq!(outcome.problems[2].to_string(), "customer `museum`: has usage of 7 octets and no tariff");
    assert_eq!(march(&network, &tariffs, None, &rows), outcome, "again: the same");

    // One customer alone gets the same invoice as among all.
    let alone = march(&network, &tariffs, Some("campus"), &rows);
    assert_eq!(alone.invoices, outcome.invoices[..1]);
    assert_eq!(alone.problems, []);
}

/// March in Amsterdam begins an hour before its first midnight in UTC and ends two before its last, in New York five and
/// four hours after them. Who comes or goes with a month pays for its months, and for no other.
#[test]
fn dates_of_customers_are_days_of_the_tariff_where_it_charges_by_the_month() {
    const MIDNIGHTS: [i64; 2] = [1_772_323_200, 1_775_001_600]; // 2026-03-01 and 2026-04-01, in UTC
    let until = |to: i64| Validity { to: Some(UnixMillis::from_seconds(to)), ..Validity::default() };
    let since = |from: i64| Validity { from: Some(UnixMillis::from_seconds(from)), ..Validity::default() };
    let new_york = REGIONAL.replace("Europe/Amsterdam", "America/New_York");
    for (text, validity, pays) in [
        (REGIONAL, until(MIDNIGHTS[0]), false),
        (REGIONAL, until(MIDNIGHTS[0] + 1), true), // no date, but an instant within the month
        (REGIONAL, until(MIDNIGHTS[0] + 86_400), true),
        (REGIONAL, since(MIDNIGHTS[1]), false),
        (REGIONAL, since(MIDNIGHTS[1] - 86_400), true),
        (new_york.as_str(), since(MIDNIGHTS[1]), false),
        (new_york.as_str(), since(MIDNIGHTS[1] - 86_400), true),
        (new_york.as_str(), until(MIDNIGHTS[0]), false),
        (new_york.as_str(), until(MIDNIGHTS[0] + 86_400), true),
    ] {
        let one = CustomerRule { validity, ..customer("campus", Some("regional-isp")) };
        let outcome = march(&network(vec![one]), &[tariff(text)], None, &[]);
        let amounts: Vec<String> = outcome.invoices.iter().map(|invoice| invoice.net.to_string()).collect();
        assert_eq!(amounts, if pays { vec!["150.00"] } else { vec![] }, "{validity:?}");
    }
    // In the hour between, until its end in UTC, the one who left still used 10 GB, at 0.0430.
    let left = CustomerRule { validity: until(MIDNIGHTS[0]), ..customer("campus", Some("regional-isp")) };
    let rows = [row(MARCH.0, 16, 1, Direction::In, 10_000_000_000)];
    let outcome = march(&network(vec![left]), &[tariff(REGIONAL)], None, &rows);
    assert_eq!(outcome.invoices[0].net.to_string(), "0.43");
}

/// Transit costs 0.0430 a GB by the regional tariff, and peering nothing: 100 GB are 4.30, and the port 150.00.
#[test]
fn editing_links_does_not_price_anew_what_was_metered() {
    let rows = [
        row(MARCH.0, 16, 1, Direction::In, 100_000_000_000),
        row(MARCH.0, 16, 2, Direction::In, 200_000_000_000),
    ];
    let tariffs = [tariff(REGIONAL)];
    let net = |kinds: &LinkKinds, network: &Network| {
        let outcome = march_with(kinds, network, &tariffs, None, &rows);
        assert_eq!(outcome.problems, []);
        outcome.invoices[0].net.to_string()
    };
    let first = network(vec![customer("campus", Some("regional-isp"))]);
    let before = kinds(&first);
    assert_eq!(net(&before, &first), "154.30");
    let mut removed = first.clone();
    removed.links.clear();
    let mut renamed = first.clone();
    renamed.links[1].name = "exchange".into();
    let mut swapped = first.clone();
    swapped.links[0].kind = "peering".into();
    swapped.links[1].kind = "upstream".into();
    let end = UnixMillis::from_seconds(MARCH.1);
    for edited in [&removed, &renamed, &swapped] {
        let mut kinds = before.clone();
        kinds.push(end, edited);
        assert_eq!(net(&kinds, edited), "154.30");
    }
    // In force before the end, the new kind counts for all of the period.
    let mut free = first;
    free.links[0].kind = "peering".into();
    let mut kinds_in_period = before;
    kinds_in_period.push(UnixMillis(end.0 - 1), &free);
    assert_eq!(net(&kinds_in_period, &free), "150.00");
    // No version knows the link: there is no price, and no invoice.
    let outcome = march_with(&kinds(&renamed), &renamed, &tariffs, None, &rows);
    assert_eq!(outcome.invoices, []);
    let problems: Vec<String> = outcome.problems.iter().map(ToString::to_string).collect();
    assert_eq!(problems, ["customer `campus`: has traffic over `ix`, which no configuration version knows"]);
}

#[test]
fn an_unknown_customer_is_an_error() {
    let (names, network, period) = (names(0), network(vec![]), Period::new(2026, 3).expect("a month"));
    for name in ["nobody", "local"] {
        let inputs = Inputs {
            network: &network,
            kinds: &kinds(&network),
            tariffs: &[],
            names: &names,
            seller: None,
            period,
            customer: Some(name),
            late: &[],
        };
        assert!(matches!(run(&inputs, reader(&[])), Err(run::Error::UnknownCustomer(_))), "{name}");
    }
}

#[test]
fn half_of_the_octets_sampled_is_said_so() {
    let mut sampled = row(MARCH.0, 16, 1, Direction::In, 1_000_000);
    sampled.key.rate = SamplingRate::new(1000, 1, RateSource::Sampler).expect("a rate");
    // Upper sum of squares 1.5e9: SE = sqrt(1000 * 999 * 1.5e9) = 38710463; over 2e9 octets 0.019355.
    sampled.sums.squares_high = 1_500_000_000;
    let rows = [sampled, row(MARCH.0, 16, 2, Direction::In, 1_000_000_000)];
    let network = network(vec![customer("campus", Some("transit-per-gb"))]);
    let invoice = march(&network, &[tariff(TRANSIT)], None, &rows).invoices.remove(0);
    assert_eq!(invoice.quality.octets, 2_000_000_000);
    assert_eq!(invoice.quality.sampled_octets, 1_000_000_000);
    assert_eq!(invoice.quality.sampled_share, "0.500000");
    assert_eq!(invoice.quality.standard_error, 38_710_463);
    assert_eq!(invoice.quality.relative_error, "0.019355");
    assert_eq!(invoice.lines[0].relative_error, "0.019355");
    let kinds: Vec<(&str, &str)> =
        invoice.volumes.iter().map(|volume| (volume.link.as_str(), volume.kind.as_str())).collect();
    assert_eq!(kinds, [("ix", "peering"), ("transit-a", "upstream")]);
    let page = page_of(&invoice);
    assert!(page.contains("\u{b1}1.9355\u{202f}%") && page.contains("50\u{202f}% estimated"), "{page}");
    assert!(page.contains("1/1000 packets") && page.contains("every packet"));
}

#[test]
fn a_problem_tells_what_is_behind_it() {
    use crate::invoice::run::{Problem, Reason};
    let source = crate::money::Error::OutOfRange;
    let error = rate::Error::Amount { tariff: "t".into(), charge: "vol".into(), source };
    let problem = Problem { customer: "campus".into(), reason: Reason::Rating(error) };
    assert_eq!(
        problem.to_string(),
        "customer `campus`: charge `vol` of tariff `t` cannot be rated: the amount is beyond 64 bits of minor units"
    );
}

/// A credited invoice of `a`, and a customer whose name looks like its file.
#[test]
fn no_two_exported_documents_share_a_file() {
    let of_number = file_name_of("2026-03", "a", "R-000001", "json");
    assert_eq!(of_number, "2026-03-a+R-000001.json");
    assert_ne!(of_number, file_name("2026-03", "a-R-000001", "json"));
    assert_eq!(file_name("2026-03", "a+R-000001", "json"), "2026-03-a%2BR-000001.json");
}

/// Only of exporters that saw the usage; what late datagrams took back beyond the period is no loss.
#[test]
fn loss_is_printed_of_the_exporters_that_saw_the_usage() {
    let loss =
        |exporter: &str, records: u64, lost: i64| Loss { exporter: exporter.into(), day: 0, records, lost };
    let seen_by = ["ce1".to_owned()].into();
    let mut invoice = sample();
    invoice.quality.set_loss(&seen_by, &[loss("aa", 1, 1), loss("ce1", 90, 10)]);
    assert_eq!(invoice.quality.lost_records, Some(10));
    assert_eq!(invoice.quality.loss, [LossLine { exporter: "ce1".into(), lost: 10, records: 90 }]);
    let text = json::write(&invoice);
    assert!(
        text.contains(r#""lost_records":10,"loss":[{"exporter":"ce1","lost":"10","records":"90"}]"#),
        "{text}"
    );
    assert_eq!(json::read(&text).expect("reads"), invoice);
    assert!(page_of(&invoice).contains("ce1: 10 lost, 90 arrived"), "{}", page_of(&invoice));
    assert!(csv::write(&invoice).contains(",10,ce1 10/90,,,,,\r\n"));
    let mut invoice = sample();
    invoice.quality.set_loss(&seen_by, &[loss("ce1", 90, -3)]);
    assert_eq!(invoice.quality.lost_records, Some(0));
    let mut invoice = sample();
    invoice.quality.set_loss(&seen_by, &[]);
    assert_eq!((invoice.quality.lost_records, invoice.quality.loss.len()), (None, 0));
}

/// 100 Mb/s committed at 2.00, what is above at 3.10. March in Amsterdam has 8916 buckets; 150 Mb/s are 5.625 * 10^9
/// octets of a bucket.
#[test]
fn a_percentile_of_interface_counters_reads_what_the_links_interfaces_counted() {
    use crate::rate::percentile::{Count, Sample};
    let tariff = tariff(include_str!("../../tariffs/transit-95th.toml"));
    let network = network(vec![customer("campus", Some("transit-95th"))]);
    let counted = |link: &str, missing: i64| {
        let sample = Sample { inward: Count::octets(5_625_000_000), outward: Count::octets(1) };
        let buckets = (MARCH.0 - 300..MARCH.1 + 600)
            .step_by(300)
            .filter(|bucket| *bucket >= MARCH.0 + missing * 300 || *bucket < MARCH.0);
        let samples = buckets.map(|bucket| (BucketStart(bucket), sample)).collect();
        let mut kinds = kinds(&network);
        kinds.count([(link.to_owned(), samples)].into());
        march_with(&kinds, &network, core::slice::from_ref(&tariff), None, &[])
    };
    // 178 of 8916 buckets are just less than two hundredths; without 179 there are 8737 / 8916 = 0.9799237, a share
    // that is rounded down.
    for missing in [0, 178] {
        let outcome = counted("transit-a", missing);
        assert_eq!(outcome.problems, []);
        assert_eq!(outcome.invoices[0].net.minor(), 100 * 200 + 50 * 310, "{missing} missing");
    }
    let refused = |outcome: Outcome| outcome.problems.iter().map(ToString::to_string).collect::<String>();
    assert!(
        refused(counted("transit-a", 179)).contains("0.979923"),
        "{}",
        refused(counted("transit-a", 179))
    );
    // A link that the class is not about has no say.
    let said = refused(counted("ix", 0));
    assert!(said.contains("there are no samples of interface counters in the period"), "{said}");
}
