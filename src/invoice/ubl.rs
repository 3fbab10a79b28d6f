//! An issued invoice or credit note as UBL 2.1, by the European norm EN 16931 and Peppol BIS Billing 3.0.
//!
//! The norm wants every line to be quantity times price, to the cent, and no negative price. A line that is so by the
//! document stays so; any other (a share of a total, a discount, late usage) is one unit of its amount, and its own
//! quantity and price stand in its note. What is taken back, or given off, has a negative quantity; on a credit note all
//! signs are turned, since the norm counts what is given back there.
//!
//! Amounts have at most two places there, so currencies with three are refused, as are several tax rates on one invoice:
//! the norm asks which line is taxed how, and the document does not say it.

use core::fmt::Write;

use super::issue::Contact;
use super::language::{Language, filled};
use super::page;
use super::{Invoice, Line, Party, Seller, State};
use crate::money::{Exact, Money, parse_decimal};

const CUSTOMIZATION: &str = "urn:cen.eu:en16931:2017#compliant#urn:fdc:peppol.eu:2017:poacc:billing:3.0";
const PROFILE: &str = "urn:fdc:peppol.eu:2017:poacc:billing:01:1.0";
const COMPONENTS: &str = "xmlns:cac=\"urn:oasis:names:specification:ubl:schema:xsd:CommonAggregateComponents-2\" \
    xmlns:cbc=\"urn:oasis:names:specification:ubl:schema:xsd:CommonBasicComponents-2\"";

/// Why a document has no such form.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Error {
    /// Drafts are not issued.
    #[error("{0} is a draft; an electronic invoice has a number and a date")]
    Draft(String),
    /// It was withdrawn, and asks nobody for money.
    #[error("{0} is void, and nothing to pay; there is no electronic invoice of it")]
    Void(String),
    /// Something that the norm asks for is not configured.
    #[error("{number}: an electronic invoice needs {what}")]
    Missing {
        /// The document.
        number: String,
        /// What, and where it belongs.
        what: &'static str,
    },
    /// The norm has no room for it.
    #[error("{number}: an electronic invoice cannot have {what}")]
    NoRoom {
        /// The document.
        number: String,
        /// What.
        what: &'static str,
    },
}

/// XML that is being written.
#[derive(Default)]
struct Xml {
    text: String,
    open: Vec<&'static str>,
}

impl Xml {
    fn begin(&mut self, name: &'static str) {
        self.indent();
        writeln!(self.text, "<{name}>").expect("writing to a string does not fail");
        self.open.push(name);
    }

    fn end(&mut self) {
        let name = self.open.pop().expect("something was begun");
        self.indent();
        writeln!(self.text, "</{name}>").expect("writing to a string does not fail");
    }

    fn indent(&mut self) {
        for _ in 0..=self.open.len() {
            self.text.push_str("  ");
        }
    }

    /// An element with text; nothing where the text is empty, since the norm forbids empty elements.
    fn put(&mut self, name: &str, text: &str) {
        self.put_with(name, "", text);
    }

    fn put_with(&mut self, name: &str, attribute: &str, text: &str) {
        if text.is_empty() {
            return;
        }
        self.indent();
        let (gap, text) = (if attribute.is_empty() { "" } else { " " }, escaped(text));
        writeln!(self.text, "<{name}{gap}{attribute}>{text}</{name}>")
            .expect("writing to a string does not fail");
    }

    fn amount(&mut self, name: &str, amount: Money) {
        let currency = format!("currencyID=\"{}\"", amount.currency());
        self.put_with(name, &currency, &amount.to_string());
    }
}

/// Text of XML 1.0, which has no control characters but three.
fn escaped(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '&' => "&amp;".to_owned(),
            '<' => "&lt;".to_owned(),
            '>' => "&gt;".to_owned(),
            '"' => "&quot;".to_owned(),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => " ".to_owned(),
            c => c.to_string(),
        })
        .collect()
}

/// The document.
///
/// # Errors
/// [`Error`].
pub fn write(invoice: &Invoice) -> Result<String, Error> {
    let number = || invoice.number.clone();
    let missing = |what| Error::Missing { number: number(), what };
    let no_room = |what| Error::NoRoom { number: number(), what };
    let Some(date) = invoice.issuance.date.filter(|_| invoice.state != State::Draft) else {
        return Err(Error::Draft(number()));
    };
    if invoice.state == State::Void {
        return Err(Error::Void(number()));
    }
    if invoice.currency.exponent() > 2 {
        return Err(no_room("amounts with three places"));
    }
    let [tax] = &invoice.taxes[..] else { return Err(no_room("several tax rates")) };
    let seller = invoice.seller.as_ref().ok_or_else(|| missing("a seller (`[invoice] seller`)"))?;
    let (own, other) = (&invoice.issuance.seller, &invoice.issuance.buyer);
    if own.country.is_empty() || other.country.is_empty() {
        return Err(missing(
            "the countries of both parties (`einvoice = { country = \"NL\" }` in `[invoice]` and `[[customer]]`)",
        ));
    }
    if seller.tax_number.is_empty() && own.endpoint.is_empty() {
        return Err(missing("a number of the seller (`[invoice] tax_number`)"));
    }
    let is_credit = invoice.issuance.credits.is_some();
    let root = if is_credit { "CreditNote" } else { "Invoice" };
    let sign = |amount: Money| {
        if is_credit { Money::new(amount.minor().saturating_neg(), amount.currency()) } else { amount }
    };
    let mut xml = Xml::default();
    xml.put("cbc:CustomizationID", CUSTOMIZATION);
    xml.put("cbc:ProfileID", PROFILE);
    xml.put("cbc:ID", &invoice.number);
    xml.put("cbc:IssueDate", &date.to_string());
    let due = invoice.issuance.due.map(|due| due.to_string()).unwrap_or_default();
    if is_credit {
        xml.put("cbc:CreditNoteTypeCode", "381");
    } else {
        xml.put("cbc:DueDate", &due);
        xml.put("cbc:InvoiceTypeCode", "380");
    }
    xml.put(
        "cbc:Note",
        &filled(
            invoice.presentation.language.words().made_from,
            &[&invoice.usage_root, &invoice.tariff.id, &invoice.tariff.version.to_string()],
        ),
    );
    xml.put("cbc:DocumentCurrencyCode", invoice.currency.code());
    let reference = if other.reference.is_empty() { &invoice.customer.name } else { &other.reference };
    xml.put("cbc:BuyerReference", reference);
    xml.begin("cac:InvoicePeriod");
    xml.put("cbc:StartDate", &invoice.span.first_day.to_string());
    xml.put("cbc:EndDate", &invoice.span.end_day.yesterday().unwrap_or(invoice.span.end_day).to_string());
    xml.end();
    if let Some(other) = invoice.issuance.credits.as_ref().or(invoice.issuance.replaces.as_ref()) {
        xml.begin("cac:BillingReference");
        xml.begin("cac:InvoiceDocumentReference");
        xml.put("cbc:ID", other);
        xml.end();
        xml.end();
    }
    xml.begin("cac:AccountingSupplierParty");
    let Seller { name, address, tax_number, .. } = seller;
    let mut own = Contact { tax_number: tax_number.clone(), ..own.clone() };
    let mut other = other.clone();
    if tax.category == "O" {
        // Not subject to the tax, and then without numbers for it (BR-O-02 to -04).
        own.tax_number.clear();
        other.tax_number.clear();
    }
    // Without a number for the tax the norm wants another one to know the seller by (BR-CO-26).
    let known_by = match (own.tax_number.as_str(), tax_number.as_str(), own.endpoint.split_once(':')) {
        ("", "", Some((_, id))) => id,
        ("", number, _) => number,
        _ => "",
    };
    party(&mut xml, name, address, &own, known_by);
    xml.end();
    xml.begin("cac:AccountingCustomerParty");
    let Party { name, address, .. } = &invoice.customer;
    party(&mut xml, name, address, &other, "");
    xml.end();
    if !own.iban.is_empty() {
        xml.begin("cac:PaymentMeans");
        xml.put("cbc:PaymentMeansCode", "30");
        xml.begin("cac:PayeeFinancialAccount");
        xml.put("cbc:ID", &own.iban);
        xml.end();
        xml.end();
    }
    let category = (tax.category.as_str(), tax.percent.as_str());
    let why = Some(tax.exemption_reason.as_str());
    xml.begin("cac:TaxTotal");
    xml.amount("cbc:TaxAmount", sign(invoice.tax));
    xml.begin("cac:TaxSubtotal");
    xml.amount("cbc:TaxableAmount", sign(tax.base));
    xml.amount("cbc:TaxAmount", sign(tax.amount));
    tax_category(&mut xml, "cac:TaxCategory", category, why);
    xml.end();
    xml.end();
    xml.begin("cac:LegalMonetaryTotal");
    xml.amount("cbc:LineExtensionAmount", sign(invoice.net));
    xml.amount("cbc:TaxExclusiveAmount", sign(invoice.net));
    xml.amount("cbc:TaxInclusiveAmount", sign(invoice.gross));
    xml.amount("cbc:PayableAmount", sign(invoice.gross));
    xml.end();
    for (at, line) in (1_usize..).zip(&invoice.lines) {
        xml.begin(if is_credit { "cac:CreditNoteLine" } else { "cac:InvoiceLine" });
        xml.put("cbc:ID", &at.to_string());
        let language = invoice.presentation.language;
        put_line(&mut xml, (line, sign(line.amount)), is_credit, category, language);
        xml.end();
    }
    Ok(format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <{root} xmlns=\"urn:oasis:names:specification:ubl:schema:xsd:{root}-2\" {COMPONENTS}>\n{}</{root}>\n",
        xml.text
    ))
}

fn party(xml: &mut Xml, name: &str, address: &[String], contact: &Contact, known_by: &str) {
    xml.begin("cac:Party");
    if let Some((scheme, id)) = contact.endpoint.split_once(':') {
        xml.put_with("cbc:EndpointID", &format!("schemeID=\"{}\"", escaped(scheme)), id);
    }
    if !known_by.is_empty() {
        xml.begin("cac:PartyIdentification");
        xml.put("cbc:ID", known_by);
        xml.end();
    }
    xml.begin("cac:PartyName");
    xml.put("cbc:Name", name);
    xml.end();
    xml.begin("cac:PostalAddress");
    xml.put("cbc:StreetName", address.first().map_or("", String::as_str));
    xml.put("cbc:AdditionalStreetName", &address.get(1..).unwrap_or_default().join(", "));
    xml.put("cbc:CityName", &contact.city);
    xml.put("cbc:PostalZone", &contact.postcode);
    xml.begin("cac:Country");
    xml.put("cbc:IdentificationCode", &contact.country);
    xml.end();
    xml.end();
    if !contact.tax_number.is_empty() {
        xml.begin("cac:PartyTaxScheme");
        xml.put("cbc:CompanyID", &contact.tax_number);
        vat(xml);
        xml.end();
    }
    xml.begin("cac:PartyLegalEntity");
    xml.put("cbc:RegistrationName", name);
    xml.end();
    xml.end();
}

fn vat(xml: &mut Xml) {
    xml.begin("cac:TaxScheme");
    xml.put("cbc:ID", "VAT");
    xml.end();
}

/// A category of UNCL 5305. Where nothing is taxed, the norm wants to know why (once, with the totals: `why`, in the words
/// of the tariff): as text (BT-120), and as a code of the VATEX list (BT-121) where the category has one of its own. The
/// standard rate and the zero rate must not give a reason (BR-S-10, BR-Z-10).
fn tax_category(xml: &mut Xml, name: &'static str, (category, percent): (&str, &str), why: Option<&str>) {
    xml.begin(name);
    xml.put("cbc:ID", category);
    if category != "O" {
        xml.put("cbc:Percent", percent);
    }
    let (code, reason) = match category {
        "AE" => ("VATEX-EU-AE", "Reverse charge"),
        "E" => ("", "Exempt from VAT"),
        "G" => ("VATEX-EU-G", "Export outside the EU"),
        "K" => ("VATEX-EU-IC", "Intra-Community supply"),
        "O" => ("VATEX-EU-O", "Not subject to VAT"),
        _ => ("", ""),
    };
    if let Some(why) = why.filter(|_| !reason.is_empty()) {
        xml.put("cbc:TaxExemptionReasonCode", code);
        xml.put("cbc:TaxExemptionReason", if why.is_empty() { reason } else { why });
    }
    vat(xml);
    xml.end();
}

/// The code of a unit (UN/ECE Recommendation 20).
fn unit_code(unit: &str) -> &'static str {
    match unit {
        "GB" => "E34",
        "GiB" => "E62",
        "TB" => "E35",
        "TiB" => "E61",
        "Mb/s" => "E20",
        "Gb/s" => "B80",
        _ => "C62",
    }
}

/// Quantity and price of a line such that their product is its amount.
fn put_line(
    xml: &mut Xml,
    (line, amount): (&Line, Money),
    is_credit: bool,
    category: (&str, &str),
    language: Language,
) {
    let digits = |text: &str| text.trim_start_matches('-').to_owned();
    let (quantity, price) = (digits(&line.quantity), digits(&line.price));
    let product = parse_decimal(&quantity).zip(parse_decimal(&price)).and_then(|(quantity, price)| {
        Money::round(&Exact::from(quantity).times(&Exact::from(price)), amount.currency()).ok()
    });
    let is_product = product.is_some_and(|product| product.minor() == amount.minor().saturating_abs());
    let (quantity, unit, price, note) = if is_product {
        (quantity, unit_code(&line.unit), price, String::new())
    } else {
        let words = language.words().at_price;
        let [quantity, price] = [&line.quantity, &line.price].map(|number| match language {
            Language::English => number.clone(),
            other => other.number(number),
        });
        let note = filled(words, &[&quantity, language.unit(&line.unit), &price]);
        ("1".to_owned(), "C62", digits(&amount.to_string()), note)
    };
    let minus = if amount.minor() < 0 { "-" } else { "" };
    // The norm has one note a line.
    let calibrated = line.detail.calibration.as_ref().map(|of| page::calibrated(of, language));
    let notes: Vec<String> = [note].into_iter().filter(|note| !note.is_empty()).chain(calibrated).collect();
    xml.put("cbc:Note", &notes.join("; "));
    let name = if is_credit { "cbc:CreditedQuantity" } else { "cbc:InvoicedQuantity" };
    xml.put_with(name, &format!("unitCode=\"{unit}\""), &format!("{minus}{quantity}"));
    xml.amount("cbc:LineExtensionAmount", amount);
    xml.begin("cac:Item");
    xml.put("cbc:Name", &language.says(line));
    xml.begin("cac:SellersItemIdentification");
    xml.put("cbc:ID", &line.charge);
    xml.end();
    tax_category(xml, "cac:ClassifiedTaxCategory", category, None);
    xml.end();
    xml.begin("cac:Price");
    xml.put_with("cbc:PriceAmount", &format!("currencyID=\"{}\"", amount.currency()), &price);
    xml.end();
}

#[cfg(test)]
mod tests {
    use jiff::civil::Date;

    use super::*;
    use crate::invoice::draft;
    use crate::invoice::issue::{credit_note, finalized};
    use crate::money::Currency;
    use crate::period::Period;
    use crate::rate::parse::parse;
    use crate::rate::tariff::RateUnit;
    use crate::rate::usage::PeriodUsage;

    /// The port for 150.00, and 21 % of tax.
    fn invoice() -> Invoice {
        let tariff = parse("t", include_str!("../../tariffs/regional-isp.toml")).expect("good");
        let period = Period::new(2026, 3).expect("a month");
        let party = Party { name: "campus".into(), ..Party::default() };
        let seller = Seller { name: "Net".into(), tax_number: "NL1".into(), ..Seller::default() };
        let usage = PeriodUsage::default();
        let mut draft = draft(party, Some(seller), period, &tariff, &usage, String::new()).expect("rates");
        draft.issuance.seller.country = "NL".into();
        draft.issuance.buyer.country = "NL".into();
        finalized(&draft, "R-1", Date::constant(2026, 4, 2), None, None)
    }

    /// Quantity and price of the first line, with that description of its amount.
    fn line(quantity: &str, price: &str, minor: i64, is_credit: bool) -> (String, String) {
        let mut invoice = invoice();
        let eur = invoice.currency;
        invoice.lines[0].quantity = quantity.into();
        invoice.lines[0].price = price.into();
        invoice.lines[0].amount = Money::new(minor, eur);
        if is_credit {
            invoice.issuance.credits = Some("R-0".into());
        }
        let text = write(&invoice).expect("has the form");
        let inside = |tag: &str| {
            let (_, rest) = text.split_once(tag).expect("there");
            let (_, rest) = rest.split_once('>').expect("a tag ends");
            rest.split('<').next().unwrap_or_default().to_owned()
        };
        (
            inside(if is_credit { "<cbc:CreditedQuantity" } else { "<cbc:InvoicedQuantity" }),
            inside("<cbc:PriceAmount"),
        )
    }

    #[test]
    fn quantity_times_price_is_the_amount() {
        let of = |quantity: &str, price: &str| (quantity.to_owned(), price.to_owned());
        assert_eq!(line("2.5", "0.0430", 11, false), of("2.5", "0.0430"), "0.1075, half up");
        assert_eq!(line("2.5", "0.0430", 10, false), of("1", "0.10"), "not the product: one unit of it");
        // A discount of 10 % on 435.79; late usage that lowers a charge.
        assert_eq!(line("10", "435.79", -4358, false), of("-1", "43.58"));
        assert_eq!(line("1", "-12.00", -1200, false), of("-1", "12.00"));
        // A credit note has what it takes back in the document as negative.
        assert_eq!(line("-2.5", "0.0430", -11, true), of("2.5", "0.0430"));
        assert_eq!(line("1", "12.00", 1200, true), of("-1", "12.00"), "a discount, taken back");
    }

    /// What people read of it is in the language of the customer; the line is one unit of its amount.
    #[test]
    fn names_and_notes_are_in_the_language_of_the_customer() {
        let mut invoice = invoice();
        invoice.presentation.language = Language::German;
        let line = &mut invoice.lines[1];
        (line.quantity, line.price, line.amount) =
            ("1234.5".into(), "0.0430".into(), Money::new(7, invoice.currency));
        line.detail.calibration = Some(crate::invoice::Calibration {
            max_difference: "0.1".into(),
            intervals: 9,
            shared: 7,
            flows: "1200".into(),
            unit: "GB".into(),
            share: "0.500000".into(),
        });
        let text = write(&invoice).expect("has the form");
        for part in [
            "<cbc:Note>1\u{202f}234,5 GB zu 0,0430; nach Schnittstellenzählern kalibriert in 7 von 9 Abschnitten",
            "<cbc:Name>Transit, in and out: bis 10\u{202f}000 GB</cbc:Name>",
            ", Tarif regional-isp Version 1</cbc:Note>",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
    }

    /// The codes are those of Recommendation 20: gigabyte, gibibyte, terabyte, tebibyte, megabit and gigabit a second.
    #[test]
    fn units_have_their_codes() {
        for (unit, code) in [
            ("GB", "E34"),
            (RateUnit::Megabit.as_str(), "E20"),
            (RateUnit::Gigabit.as_str(), "B80"),
            ("GiB", "E62"),
            ("TB", "E35"),
            ("TiB", "E61"),
            ("piece", "C62"),
        ] {
            let mut invoice = invoice();
            invoice.lines[0].unit = unit.into();
            let text = write(&invoice).expect("has the form");
            assert!(text.contains(&format!("<cbc:InvoicedQuantity unitCode=\"{code}\">")), "{unit}\n{text}");
        }
    }

    #[test]
    fn what_the_norm_has_no_room_for_is_refused() {
        let said = |change: &dyn Fn(&mut Invoice)| {
            let mut invoice = invoice();
            change(&mut invoice);
            write(&invoice).expect_err("refused").to_string()
        };
        assert!(said(&|invoice| invoice.state = State::Draft).contains("is a draft"));
        assert!(said(&|invoice| invoice.state = State::Void).contains("is void"));
        assert!(said(&|invoice| invoice.seller = None).contains("needs a seller"));
        assert!(said(&|invoice| invoice.issuance.buyer.country.clear()).contains("countries"));
        let dinar = Currency::from_code("KWD").expect("a currency");
        assert!(said(&|invoice| invoice.currency = dinar).contains("three places"));
        assert!(said(&|invoice| invoice.taxes.push(invoice.taxes[0].clone())).contains("several tax rates"));
    }

    #[test]
    fn a_credit_note_counts_what_is_given_back() {
        let note = credit_note(&invoice(), "R-2", Date::constant(2026, 4, 3)).expect("fits");
        let text = write(&note).expect("has the form");
        assert!(text.contains("<cbc:PayableAmount currencyID=\"EUR\">181.50</cbc:PayableAmount>"), "{text}");
        assert!(!text.contains(">-"), "{text}");
    }

    #[test]
    fn a_category_without_tax_says_why_in_the_words_of_the_tariff() {
        let reasons = |category: &str, why: &str| {
            let mut invoice = invoice();
            invoice.taxes[0].category = category.into();
            invoice.taxes[0].exemption_reason = why.into();
            let text = write(&invoice).expect("has the form");
            let lines = text.lines().filter(|line| line.contains("TaxExemptionReason"));
            lines.map(|line| line.trim().to_owned()).collect::<Vec<_>>()
        };
        let reason = |text: &str| format!("<cbc:TaxExemptionReason>{text}</cbc:TaxExemptionReason>");
        let code = |text: &str| format!("<cbc:TaxExemptionReasonCode>{text}</cbc:TaxExemptionReasonCode>");
        assert_eq!(reasons("E", "Article 132"), [reason("Article 132")]);
        assert_eq!(reasons("E", ""), [reason("Exempt from VAT")]);
        assert_eq!(reasons("AE", "Steuerschuld"), [code("VATEX-EU-AE"), reason("Steuerschuld")]);
        assert_eq!(reasons("O", ""), [code("VATEX-EU-O"), reason("Not subject to VAT")]);
        for taxed in ["S", "Z"] {
            assert_eq!(reasons(taxed, "Because"), [""; 0], "the norm forbids a reason here");
        }
    }

    #[test]
    fn text_is_escaped_and_has_no_control_characters() {
        assert_eq!(escaped("a<b>&\"c\u{1}\u{7f}é"), "a&lt;b&gt;&amp;&quot;c  é");
    }
}
