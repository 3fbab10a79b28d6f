use super::*;

const BANDS: &str = "[[band]]\nname = \"peak\"\ndays = \"mon-fri\"\nhours = \"08:00-20:00\"\n[[band]]\nname = \"off\"\notherwise = true\n";

/// The problems of the good tariff with these sections behind it (from line 28 on).
fn behind(more: &str) -> Vec<String> {
    problems(&format!("{GOOD}{more}"))
}

#[track_caller]
fn only(more: &str, expected: &str) {
    assert_eq!(behind(more), [expected]);
}

#[test]
fn bands_cover_every_five_minutes_once() {
    assert!(parse("t", &format!("{GOOD}{BANDS}")).is_ok());
    let peak = |more: &str| format!("[[band]]\nname = \"peak\"\n{more}\n");
    let off = "[[band]]\nname = \"off\"\notherwise = true\n";
    // Eight kinds of days of 288, less five of 144.
    only(
        &peak("days = \"mon-fri\"\nhours = \"08:00-20:00\""),
        "28: [[band]]: no band has mon 00:00 (1584 of the week's five minutes)",
    );
    only(
        &format!("{}[[band]]\nname = \"noon\"\nhours = \"11:55-12:05\"\n{off}", peak("days = \"mon\"")),
        "31: [[band]]: bands `peak` and `noon` both have mon 11:55 (2 of the week's five minutes)",
    );
    only(
        &format!("{}{off}", peak("hours = [\"00:00-12:00\", \"12:00-24:00\"]")),
        "31: [[band]]: the other bands have every hour, so that this one is never reached",
    );
    assert!(
        parse(
            "t",
            &format!(
                "{GOOD}{}[[band]]\nname = \"b\"\nhours = \"12:00-24:00\"\n",
                peak("hours = \"00:00-12:00\"")
            )
        )
        .is_ok()
    );
    only(&format!("{off}{}", off.replace("off", "other")), "31: [[band]]: only one band can be `otherwise`");
    only(
        &format!("{BANDS}[[band]]\nname = \"off\"\notherwise = true\n"),
        "35: [[band]]: band `off` is there twice",
    );
    only(&peak(""), "28: [[band]]: a band needs `days`, `hours` or `otherwise = true`");
    only(&format!("{off}days = \"mon\"\n"), "31: \"mon\": a band that is `otherwise` has no `days`");
    for (hours, said) in [
        ("08:00", "`08:00` are no hours"),
        ("8:00-9:00", "`8:00-9:00` are no hours"),
        ("08:00-24:05", "`08:00-24:05` are no hours"),
        ("08:00-19:58", "hours begin and end at multiples of five minutes, where buckets do"),
        (
            "22:00-06:00",
            "hours end after they begin; over midnight, write two: \"22:00-24:00\", \"00:00-06:00\"",
        ),
    ] {
        only(&format!("{}{off}", peak(&format!("hours = \"{hours}\""))), &format!("30: \"{hours}\": {said}"));
    }
    only(&format!("{}{off}", peak("days = \"monday\"")), "30: \"monday\": `monday` are no days");
    only(
        &format!("{}{off}", peak("days = \"holiday\"")),
        "30: \"holiday\": there is no [holidays] that says when they are",
    );
    only(
        "[holidays]\ndates = [\"12-25\"]\n",
        "28: [holidays]: [holidays] without a [[band]] changes nothing",
    );
    only(&format!("[holidays]\ndates = [\"13-25\"]\n{BANDS}"), "29: \"13-25\": this is not a date");
}

/// Liberia was at -0:44:30 until 1972.
#[test]
fn a_zone_that_cuts_buckets_is_refused() {
    let text = GOOD.replace("Europe/Amsterdam", "Africa/Monrovia").replace("2026-07-01", "1971-07-01");
    let found = problems(&text);
    assert!(found[0].contains("is at an offset that is no multiple of five minutes"), "{found:?}");
    assert!(parse("t", &text.replace("1971", "1973")).is_ok());
    for zone in ["Asia/Kathmandu", "Australia/Lord_Howe", "America/St_Johns", "UTC", "America/New_York"] {
        assert!(parse("t", &GOOD.replace("Europe/Amsterdam", zone)).is_ok(), "{zone}");
    }
}

#[test]
fn prices_by_band_name_every_band_of_the_charge() {
    let with = |prices: &str, more: &str| {
        let text = GOOD.replace("allowance = { quantity = \"500\", rollover = \"none\" }", more);
        problems(&format!("{}{BANDS}", text.replacen("\"0.05\"", prices, 1)))
    };
    assert_eq!(with("{ peak = \"1\" }", ""), ["20: { peak = \"1\" }: there is no price for band `off`"]);
    assert_eq!(with("{ peak = \"1\", off = \"1\", x = \"1\" }", ""), ["20: x: unknown key `x` in `price`"]);
    assert_eq!(
        with("{ peak = \"1\", off = \"1\" }", "band = \"peak\""),
        ["20: \"1\": the charge is not about band `off`"]
    );
    assert_eq!(
        with("{ peak = \"1\", off = \"1\" }", "allowance = { quantity = \"5\" }"),
        [
            "19: { quantity = \"5\" }: `spend_order` is missing: prices differ by band, so that it matters which is free first"
        ]
    );
    assert_eq!(
        with("{ peak = \"1\", off = \"1\" }", "allowance = { quantity = \"5\", spend_order = [\"off\"] }"),
        ["19: [\"off\"]: `spend_order` leaves out band `peak`"]
    );
    assert_eq!(
        with(
            "{ peak = \"1\", off = \"1\" }",
            "allowance = { quantity = \"5\", spend_order = [\"off\", \"off\", \"x\"] }"
        ),
        ["19: \"off\": band `off` is there twice", "19: \"x\": the charge has no band `x`"]
    );
    refused(
        "\"0.05\"",
        "{ peak = \"1\" }",
        "20: { peak = \"1\" }: there is no [[band]], so that a price cannot be by band",
    );
    refused(
        "direction = \"sum\"",
        "direction = \"sum\"\nband = \"peak\"",
        "19: \"peak\": there is no [[band]] `peak`",
    );
}

#[test]
fn tiers_have_what_their_mode_needs() {
    let rows =
        "mode = \"graduated\", rows = [ { up_to = \"100.5\", price = \"0.05\" }, { price = \"0.03\" } ]";
    refused(
        rows,
        "mode = \"steps\", rows = [ { price = \"1\" } ]",
        "20: \"steps\": `steps` is not a mode of tiers",
    );
    refused(
        rows,
        "mode = \"package\", rows = [ { price = \"1\" } ]",
        "20: { price = \"1\" }: `block` is missing in a row of `tiers`",
    );
    refused(
        rows,
        "mode = \"package\", rows = [ { price = \"1\", block = \"0\" } ]",
        "20: \"0\": `block` must be above 0",
    );
    refused(
        rows,
        "mode = \"graduated\", rows = [ { price = \"1\", block = \"1\" } ]",
        "20: block: unknown key `block` in a row of `tiers`",
    );
    refused(rows, "mode = \"volume\", rows = [ { up_to = \"5\", fee = \"1\" } ]", {
        "20: \"5\": the last row must be without `up_to`, or volume above it would have no price"
    });
}

const P95: &str = "[[charge]]\nid = \"p\"\nkind = \"percentile\"\nclass = [\"up\"]\ncombine = \"max-of-p95\"\nrank = \"nearest\"\nmissing = \"exclude\"\nsource = \"snmp\"\ncommit = { quantity = \"100\", price = \"2.00\" }\noverage = { price = \"3.10\" }\n";

#[test]
fn percentiles_say_what_contracts_leave_open() {
    assert!(parse("t", &format!("{GOOD}{P95}")).is_ok());
    let changed = |from: &str, to: &str, expected: &str| only(&P95.replace(from, to), expected);
    for key in ["combine", "rank", "missing", "source"] {
        let line = P95.lines().find(|line| line.starts_with(key)).expect("there");
        changed(&format!("{line}\n"), "", &format!("28: [[charge]]: `{key}` is missing in [[charge]]"));
    }
    changed("\"nearest\"", "\"linear\"", "33: \"linear\": `linear` is not a rank");
    changed("\"exclude\"", "\"hold-if-below\"", "28: [[charge]]: `min_coverage` is missing in [[charge]]");
    changed(
        "\"snmp\"",
        "\"flow\"",
        "34: \"exclude\": flows cannot tell a missing sample from silence: with source \"flow\", missing is \"zero\"",
    );
    changed("overage = { price = \"3.10\" }", "", "28: [[charge]]: `overage` is missing in [[charge]]");
    changed("commit = { quantity = \"100\", price = \"2.00\" }\n", "", {
        "36: { price = \"3.10\" }: `overage` needs a `commit`; without one, use `price`"
    });
    changed(
        "commit",
        "price = \"1\"\ncommit",
        "36: \"1\": a charge has `price`, or `commit` and `overage`, not both",
    );
    changed("combine", "percentile = \"101\"\ncombine", {
        "32: \"101\": `percentile` is above 0, at most 100, with at most 4 digits after the point"
    });
    let by_family = GOOD.replace("match = { link = [\"transit-*\"] }", "match = { family = \"ipv4\" }");
    assert_eq!(
        problems(&format!("{by_family}{P95}")),
        [
            "31: [\"up\"]: interface counters know only links, and class `up` asks for more than `link` and `link_kind`"
        ]
    );
}

#[test]
fn what_changes_the_sum_is_checked() {
    let discount = "[[discount]]\nid = \"d\"\npercent = \"60\"\n";
    assert!(parse("t", &format!("{GOOD}{discount}")).is_ok());
    only(&format!("{discount}on = [\"vool\"]\n"), "31: \"vool\": there is no [[charge]] `vool`");
    only(&format!("{discount}amount = \"1\"\n"), "31: \"1\": a discount has `percent` or `amount`, not both");
    only("[[discount]]\nid = \"d\"\n", "28: [[discount]]: `percent` or `amount` is missing in [[discount]]");
    only("[[discount]]\nid = \"vol\"\npercent = \"1\"\n", "29: \"vol\": discount `vol` is there twice");
    only(
        &format!("{discount}{}", discount.replace("\"d\"", "\"e\"\non = [\"port\"]")),
        "31: [[discount]]: with this, charge `port` is discounted by 120 %",
    );
    let credit = "[[credit]]\nid = \"c\"\namount = \"5.00\"\ndate = 2026-06-30\n";
    only(
        credit,
        "31: 2026-06-30: 2026-06-30 is before the tariff begins (2026-07-01), so that it would never be due",
    );
    assert!(parse("t", &format!("{GOOD}{}", credit.replace("06-30", "07-01"))).is_ok());
    only("[minimum]\namount = \"1\"\non = \"x\"\n", "30: \"x\": there is no [[charge]] `x`");
    let once = "[[charge]]\nid = \"o\"\nkind = \"one-off\"\namount = \"5.00\"\n";
    only(once, "28: [[charge]]: `date`, or `at = \"start\"`, is missing in [[charge]]");
    only(
        &format!("{once}at = \"end\"\n"),
        "32: \"end\": `at` is \"start\": the day on which the customer begins to be one",
    );
    refused(
        "[[class]]",
        "[period]\ngrace = \"P1M\"\n[[class]]",
        "9: \"P1M\": `grace` is not a number of days",
    );
    refused(
        "[[class]]",
        "[period]\nproration = \"days\"\n[[class]]",
        "9: \"days\": `days` is not a proration",
    );
}

#[test]
fn exemptions_are_by_what_usage_knows() {
    let exempt = |matches: &str| format!("[[exempt]]\nname = \"e\"\nmatch = {matches}\n");
    assert!(
        parse("t", &format!("{GOOD}{}", exempt("{ traffic_class = \"dns\", family = \"ipv6\" }"))).is_ok()
    );
    only(
        &exempt("{ protocol = \"udp\" }"),
        "30: \"udp\": `protocol` is not kept with usage: give such flows a [[traffic_class]] in the configuration, and match that",
    );
    only(&exempt("{}"), "28: [[exempt]]: this exempts everything; leave the charge out instead");
    let of_port = format!("{}charge = [\"port\"]\n", exempt("{ link = \"a\" }"));
    only(&of_port, "31: \"port\": there is no charge `port` by volume or percentile");
    refused("match = {}", "match = { link = [\"transit-*\"] }\n[[class]]\nname = \"x\"\nmatch = {}", {
        "11: [[class]]: this class is never reached: class `up` matches the same"
    });
}

#[test]
fn an_override_is_checked_as_the_charge_it_makes() {
    let own = |more: &str| format!("[[override]]\ncustomer = [\"campus\"]\n{more}\n");
    assert!(parse("t", &format!("{GOOD}{}", own("charge = \"vol\"\nprice = \"0.01\""))).is_ok());
    only(&own("charge = \"vool\""), "30: \"vool\": there is no [[charge]] `vool`");
    only(
        &own("charge = \"vol\"\nprice = 1"),
        "31: 1: `price` must be a string, so that no digit of it is changed",
    );
    only(&own("charge = \"vol\"\namount = \"1\""), "31: amount: unknown key `amount` in [[override]]");
    only(
        &own("charge = \"vol\"\nkind = \"recurring\""),
        "31: \"recurring\": an override cannot change the `kind` of a charge",
    );
    only(&own(""), "28: [[override]]: an override changes a `charge`, the `minimum` or the `tax`");
    only("[[override]]\ncharge = \"vol\"\n", "28: [[override]]: `customer` is missing in [[override]]");
    only(
        &own("tax = { category = \"E\", percent = \"1\" }"),
        "30: \"1\": category E has no rate: percent must be \"0\"",
    );
}

/// The caret is under the value, or under the class that has no interfaces.
#[test]
fn calibration_is_of_links_and_has_a_bound() {
    let with = |calibrate: &str| format!("direction = \"sum\"\ncalibrate = {calibrate}\n");
    let millionths = |calibrate: &str| {
        let tariff = parse("t", &GOOD.replace("direction = \"sum\"\n", &with(calibrate))).expect("good");
        assert_eq!(tariff.calibrates(), calibrate != "false");
        let ChargeKind::Volume(rule) = &tariff.charges[0].kind else { panic!("volume") };
        rule.calibrate.map(|calibrate| (calibrate.max_difference, calibrate.share().to_string()))
    };
    assert_eq!(millionths("true"), Some((100_000, "0.1".to_owned())));
    assert_eq!(millionths("{}"), millionths("true"));
    assert_eq!(millionths("{ max_difference = \"0.5\" }"), Some((500_000, "0.5".to_owned())));
    assert_eq!(millionths("{ max_difference = \"0.000001\" }"), Some((1, "0.000001".to_owned())));
    assert_eq!(millionths("false"), None);
    for share in ["0", "0.500001", "1", "0.0000001"] {
        refused(
            "direction = \"sum\"\n",
            &with(&format!("{{ max_difference = \"{share}\" }}")),
            &format!(
                "19: \"{share}\": `max_difference` is a share of what interfaces counted: above 0, at most 0.5, with at \
                 most 6 digits after the point"
            ),
        );
    }
    refused(
        "direction = \"sum\"\n",
        &with("\"yes\""),
        "19: \"yes\": `calibrate` must be true, false or a table, not a string",
    );
    refused(
        "direction = \"sum\"\n",
        &with("{ most = \"1\" }"),
        "19: most: unknown key `most` in `calibrate`",
    );
    refused(
        "class = [\"up\"]\n",
        "class = [\"up\", \"rest\"]\ncalibrate = true\n",
        "17: \"rest\": class `rest` is not about links, so that there are no interfaces to calibrate it by",
    );
    refused(
        "amount = ",
        "calibrate = true\namount = ",
        "24: calibrate: unknown key `calibrate` in [[charge]]",
    );
    let own = "[[override]]\ncustomer = [\"a\"]\ncharge = \"vol\"\ncalibrate = true\n";
    let tariff = parse("t", &format!("{GOOD}{own}")).expect("good");
    assert!(
        tariff.calibrates()
            && tariff.for_customer("a").calibrates()
            && !tariff.for_customer("b").calibrates()
    );
}

/// What a tariff may need is asked of overrides, too: they may be the only ones to need it.
#[test]
fn an_override_alone_may_need_what_no_charge_does() {
    const PERCENTILE: &str = "[[charge]]\nid = \"p95\"\nkind = \"percentile\"\nclass = [\"up\"]\ncombine = \"max-of-p95\"\n\
        rank = \"nearest\"\nmissing = \"zero\"\nsource = \"flow\"\nprice = \"1.00\"\n";
    let needs = |tariff: &Tariff| [tariff.has_allowance(), tariff.rolls_over(), tariff.ranks_counters()];
    let free = |tariff: &Tariff| tariff.free_classes().map(str::to_owned).collect::<Vec<_>>();
    let bare = GOOD.replace("allowance = { quantity = \"500\", rollover = \"none\" }\n", "");
    let plain = format!("{bare}{PERCENTILE}");
    let with = |charge: &str, change: &str| {
        let own = format!("[[override]]\ncustomer = [\"a\"]\ncharge = \"{charge}\"\n{change}\n");
        let tariff = parse("t", &format!("{plain}{own}")).expect("good");
        let (whole, others) = (needs(&tariff), needs(&tariff.for_customer("b")));
        assert_eq!(whole, needs(&tariff.for_customer("a")), "{change}");
        (whole, others, free(&tariff))
    };
    let base = parse("t", &plain).expect("good");
    let (none, rest) = ([false; 3], vec!["rest".to_owned()]);
    assert_eq!((needs(&base), free(&base)), (none, rest.clone()));
    let allowance = |rollover: &str| format!("allowance = {{ quantity = \"3\", rollover = \"{rollover}\" }}");
    assert_eq!(with("vol", &allowance("none")), ([true, false, false], none, rest.clone()));
    assert_eq!(with("vol", &allowance("next-period")), ([true, true, false], none, rest.clone()));
    assert_eq!(with("p95", "source = \"snmp\"\nmissing = \"exclude\""), ([false, false, true], none, rest));
    assert_eq!(with("vol", "class = [\"up\", \"rest\"]"), (none, none, vec![]));
}
