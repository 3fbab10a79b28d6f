//! Pieces: nothing is lost, and nothing is taken for a section that is none.

use std::path::Path;

use super::*;
use crate::config::Config;

const TEXT: &str = r##"
[receive]
listen = ["127.0.0.1:2055"]
[[customer]]
name = "a" # [[customer]]
prefixes = ["192.0.2.0/25",
[[customer]]
]
  [[ customer ]]
name = 'b'
address = ["""
[[customer]]
\""" """"", "Main Street # 5"]
[customer.einvoice]
country = "DE"
[[customer.tariffs]]
tariff = "x"
valid_from = 2026-01-01
[[exporter]]
name = "[[customer]]"
address = "192.0.2.1"
[[customer]]
name = "c"
"##;

#[test]
fn only_sections_of_customers_are_cut_out() {
    let (rest, pieces) = split(TEXT, 1);
    let names: Vec<&str> = pieces
        .iter()
        .map(|piece| {
            TEXT[piece.clone()].split("name = ").nth(1).expect("a name").get(1..2).expect("a letter")
        })
        .collect();
    assert_eq!(names, ["a", "b", "c"]);
    assert!(TEXT[pieces[1].clone()].ends_with("valid_from = 2026-01-01\n"));
    assert_eq!(rest.trim().lines().count(), 5, "{rest}");
    // What is left stands where it stood, and with the pieces it is all.
    assert_eq!(rest.find("[[exporter]]"), TEXT.find("[[exporter]]"));
    let mut whole = rest.into_bytes();
    whole.resize(TEXT.len(), b' ');
    for piece in &pieces {
        whole[piece.clone()].copy_from_slice(TEXT[piece.clone()].as_bytes());
    }
    assert_eq!(whole, TEXT.as_bytes());
    // Greater pieces have more customers each, but for what stands between.
    assert_eq!(split(TEXT, TEXT.len()).1.len(), 2);
}

/// So many customers that they are read in pieces, the same as in one.
#[test]
fn a_large_file_is_read_as_a_small_one() {
    let parse = |text: &str| Config::parse(text, "flux.toml", Path::new(""));
    let remark = "x".repeat(3000);
    let customer = |n: usize| {
        let (a, b) = (n / 250, n % 250);
        format!("[[customer]]\nname = \"c{n}\"\nprefixes = [\"10.{a}.{b}.0/24\"] # {remark}\n\n")
    };
    let sections = "[[exporter]]\nname = \"e\"\naddress = \"192.0.2.1\"\n[[link]]\nname = \"l\"\ninterfaces = [{ exporter = \"e\" }]\n";
    let count = WHOLE_MAX / 3000 + 1;
    let mut text: String = (0..10).map(customer).collect();
    text += sections;
    text.extend((10..count).map(customer));
    assert!(text.len() > WHOLE_MAX && split_large(&text).1.len() > 3);
    let large = parse(&text).expect("no errors");
    // The same customers in fewer octets.
    let small = parse(&text.replace(&remark, "y")).expect("no errors");
    assert!(small.files == large.files && large.network.links.len() == 1 && large.exporters.len() == 1);
    assert_eq!(large.network.customers.len(), count);
    for (large, small) in large.network.customers.iter().zip(&small.network.customers) {
        assert_eq!((&large.name, &large.prefixes), (&small.name, &small.prefixes));
    }
    // Errors are told where they are, also between customers of two pieces.
    let wrong = text.replace("\"10.0.200.0/24\"", "\"10.0.3.0/24\"");
    let line = 1 + wrong[..wrong.rfind("10.0.3.0/24").expect("there")].matches('\n').count();
    let problems = parse(&wrong).expect_err("claimed twice").to_string();
    assert!(
        problems.contains("already belongs to `c3`") && problems.contains(&format!("{line}")),
        "{problems}"
    );
    for more in ["[[\"customer\"]]\nname = \"quoted\"\n", "[customer]\n", "[[customer]\n", "[custom]\n"] {
        let problems = parse(&(text.clone() + more)).map(|config| config.network.customers.len());
        let whole = parse(&(text.replace(&remark, "y") + more)).map(|config| config.network.customers.len());
        assert_eq!(problems.map_err(|them| them.count()), whole.map_err(|them| them.count()), "{more}");
    }
}
