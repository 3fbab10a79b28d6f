//! Discounts, the minimum, credits, one-off charges, fees, tiers by volume, exemptions and overrides.

use super::*;

/// The tariff by the gigabyte with more sections.
fn with(more: &str) -> Tariff {
    tariff(&format!("{TRANSIT}\n{more}"))
}

/// 1000 GB in (50.00) and 500 out (10.00).
fn used() -> PeriodUsage {
    let mut usage = PeriodUsage::default();
    usage.add(key("a", "upstream", Direction::In), &octets(1000 * GB), unsampled());
    usage.add(key("a", "upstream", Direction::Out), &octets(500 * GB), unsampled());
    usage
}

fn lines(more: &str) -> Vec<String> {
    bill(&with(more), &used()).0.split_off(2)
}

#[test]
fn discounts_are_of_the_charges_as_they_stand() {
    let ten = "[[discount]]\nid = \"a\"\npercent = \"10\"\n";
    assert_eq!(lines(ten), ["a -1 6.00 -6.00"]);
    let both = format!("{ten}on = [\"in\"]\n[[discount]]\nid = \"b\"\npercent = \"7.5\"\n");
    assert_eq!(lines(&both), ["a -1 5.00 -5.00", "b -1 4.50 -4.50"], "not of what the first left");
    assert_eq!(lines("[[discount]]\nid = \"a\"\namount = \"12.34\"\n"), ["a -1 12.34 -12.34"]);
    assert_eq!(
        lines("[[discount]]\nid = \"a\"\namount = \"99.00\"\non = [\"out\"]\n"),
        ["a -1 10.00 -10.00"]
    );
    assert_eq!(lines("[[discount]]\nid = \"a\"\npercent = \"0.001\"\n"), [""; 0], "less than half a cent");
}

/// 50.00 in and 10.00 out. 30.00 off all are 25.00 off the one and 5.00 off the other.
#[test]
fn discounts_together_are_never_more_than_the_charges() {
    let off = |id: &str, what: &str| format!("[[discount]]\nid = \"{id}\"\n{what}\n");
    let thirty = off("a", "amount = \"30.00\"");
    let again = lines(&format!("{thirty}{}{}", off("b", "amount = \"40.00\""), off("c", "percent = \"10\"")));
    assert_eq!(again, ["a -1 30.00 -30.00", "b -1 30.00 -30.00"], "nothing is left for the third");
    let of_one = lines(&format!(
        "{thirty}{}{}{}",
        off("b", "amount = \"9.00\"\non = [\"out\"]"),
        off("c", "percent = \"100\"\non = [\"in\"]"),
        off("d", "percent = \"50\"\non = [\"out\"]"),
    ));
    assert_eq!(of_one, ["a -1 30.00 -30.00", "b -1 5.00 -5.00", "c -1 25.00 -25.00"]);
    // Of 10.00 out, 1.67 are gone with the first (10 x 10/60, and the cent that is over): 8.33 are left.
    let ten = off("a", "amount = \"10.00\"") + &off("b", "amount = \"10.00\"\non = [\"out\"]");
    assert_eq!(lines(&ten), ["a -1 10.00 -10.00", "b -1 8.33 -8.33"]);
    assert!(charges(&with(&ten), &used())[3].description.ends_with(", as far as it goes"));
}

#[test]
fn the_minimum_counts_after_discounts_and_before_credits() {
    let more = "[minimum]\namount = \"58.00\"\n[[discount]]\nid = \"a\"\npercent = \"10\"\n\
                [[credit]]\nid = \"c\"\namount = \"20.00\"\ndate = 2026-03-31\n";
    assert_eq!(lines(more), ["a -1 6.00 -6.00", "minimum 1 4.00 4.00", "c -1 20.00 -20.00"]);
    assert_eq!(lines("[minimum]\namount = \"30.00\"\non = [\"out\"]\n"), ["minimum 1 20.00 20.00"]);
    assert_eq!(lines("[minimum]\namount = \"60.00\"\n"), [""; 0]);
}

#[test]
fn what_is_due_once_is_due_on_its_day() {
    let credit = |date: &str| lines(&format!("[[credit]]\nid = \"c\"\namount = \"99.00\"\ndate = {date}\n"));
    assert_eq!(credit("2026-03-01"), ["c -1 99.00 -99.00"]);
    assert_eq!(credit("2026-03-31"), ["c -1 99.00 -99.00"]);
    assert_eq!(credit("2026-04-01"), [""; 0]);
    assert_eq!(credit("2026-02-28"), [""; 0]);
    let once = "[[charge]]\nid = \"o\"\nkind = \"one-off\"\namount = \"7.00\"\nquantity = \"3\"\ndate = 2026-03-15\n";
    assert_eq!(lines(once), ["o 3 7.00 21.00"]);
    let tariff = with(once);
    let usage = used();
    let mut part = whole(&tariff, &usage);
    part.term.presence.to = Some(tariff.zone.start_of(jiff::civil::date(2026, 3, 15)));
    assert_eq!(bill_parts(&[part]).0.len(), 2, "no customer any more");
    part.term.presence.to = Some(tariff.zone.start_of(jiff::civil::date(2026, 3, 16)));
    assert_eq!(bill_parts(&[part]).0.len(), 3);
}

/// A credit may be more than the charges: the invoice then owes the customer.
#[test]
fn credits_are_never_lost() {
    let tariff = with("[[credit]]\nid = \"c\"\namount = \"100.00\"\ndate = 2026-03-10\n");
    // 60 - 100 = -40; 21 % are -8.40.
    assert_eq!(bill(&tariff, &used()).1, ["-40.00", "-8.40", "-48.40"]);
}

#[test]
fn fees_are_paid_where_a_tier_is_reached() {
    let text = TRANSIT.replace(
        "price = \"0.05\"",
        "tiers = { mode = \"graduated\", rows = [ { up_to = \"999\", price = \"0.01\", fee = \"5.00\" }, { up_to = \"1000\", price = \"0\", fee = \"2.00\" }, { price = \"1\", fee = \"9.00\" } ] }",
    );
    let shown = bill(&tariff(&text), &used()).0;
    assert_eq!(shown[..4], ["in 999 0.01 9.99", "in 1 0 0.00", "in 1 5.00 5.00", "in 1 2.00 2.00"]);
    assert!(shown[4].starts_with("out"), "the last tier is not reached: {shown:?}");
}

#[test]
fn volume_tiers_price_all_of_it() {
    let text = TRANSIT.replace(
        "price = \"0.05\"",
        "tiers = { mode = \"volume\", rows = [ { up_to = \"999\", price = \"0.05\" }, { up_to = \"1000\", price = \"0.04\" }, { price = \"0.03\" } ] }",
    );
    let tariff = tariff(&text);
    let mut usage = used();
    assert_eq!(bill(&tariff, &usage).0[0], "in 1000 0.04 40.00");
    usage.add(key("a", "upstream", Direction::In), &octets(1), unsampled());
    assert_eq!(bill(&tariff, &usage).0[0], "in 1000.000000001 0.03 30.00");
    assert_eq!(bill(&tariff, &PeriodUsage::default()).0[0], "in 0 0.05 0.00");
}

#[test]
fn exempt_usage_is_in_no_charge_or_in_some() {
    let mut usage = used();
    let backup = GroupKey { traffic_class: "backup".into(), ..key("a", "upstream", Direction::In) };
    let v6 = GroupKey { family: Family::V6, ..key("a", "upstream", Direction::Out) };
    usage.add(backup, &octets(300 * GB), unsampled());
    usage.add(v6, &octets(100 * GB), unsampled());
    let of = |more: &str| bill(&with(more), &usage).0;
    assert_eq!(of(""), ["in 1300 0.05 65.00", "out 600 0.02 12.00"]);
    let backup = "[[exempt]]\nname = \"b\"\nmatch = { traffic_class = \"backup\" }\n";
    assert_eq!(of(backup), ["in 1000 0.05 50.00", "out 600 0.02 12.00"]);
    assert_eq!(of(&format!("{backup}charge = [\"out\"]\n"))[0], "in 1300 0.05 65.00");
    let v6 = "[[exempt]]\nname = \"six\"\nmatch = { family = \"ipv6\" }\ncharge = [\"out\"]\n";
    assert_eq!(of(&format!("{backup}{v6}")), ["in 1000 0.05 50.00", "out 500 0.02 10.00"]);
}

#[test]
fn overrides_and_charges_of_some_hold_for_them_alone() {
    let text = format!(
        "{TRANSIT}\n[[override]]\ncustomer = [\"lab-*\"]\ncharge = \"in\"\nprice = \"0.01\"\ndescription = \"As agreed\"\n\
         [[override]]\ncustomer = [\"lab-7\"]\ncharge = \"in\"\ntiers = {{ mode = \"flat\", rows = [ {{ price = \"9\" }} ] }}\n\
         [[override]]\ncustomer = [\"museum\"]\ntax = {{ category = \"AE\", percent = \"0\" }}\n\
         [[charge]]\nid = \"desk\"\nkind = \"recurring\"\namount = \"3.00\"\ncustomer = \"museum\"\n"
    );
    let tariff = tariff(&text);
    let usage = used();
    let of = |customer: &str| bill(&tariff.for_customer(customer), &usage);
    assert_eq!(of("campus").0, ["in 1000 0.05 50.00", "out 500 0.02 10.00"]);
    assert_eq!(of("lab-7").0, ["in 1000 0.01 10.00", "out 500 0.02 10.00"], "the first that names it");
    assert_eq!(charges(&tariff.for_customer("lab-7"), &usage)[0].description, "As agreed");
    let (lines, totals) = of("museum");
    assert_eq!(lines[2], "desk 1 3.00 3.00");
    assert_eq!(totals, ["63.00", "0.00", "63.00"]);
}
