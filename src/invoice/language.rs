//! The language of an invoice for people: its labels, what the program says in its lines, and how numbers and dates are
//! written in it. What a tariff calls its charges, classes and bands, and what the configuration calls links, stays as it is.
//! JSON and CSV have no language; of UBL only what is for people has.

use core::fmt;

use jiff::civil::Date;
use serde::Serialize;

use super::Line;
use crate::money::parse_decimal;
use crate::rate::percentile::Combine;
use crate::rate::saying::{self, Piece, Said};
use crate::units::RateSource;

/// A language, with the country where that decides how numbers are written.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Language {
    /// English; dates as in ISO 8601.
    #[default]
    English,
    /// German.
    German,
    /// German in Switzerland.
    SwissGerman,
    /// French.
    French,
    /// French in Switzerland.
    SwissFrench,
    /// Italian.
    Italian,
    /// Italian in Switzerland.
    SwissItalian,
}

impl Language {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::English,
        Self::German,
        Self::SwissGerman,
        Self::French,
        Self::SwissFrench,
        Self::Italian,
        Self::SwissItalian,
    ];

    /// Its tag (BCP 47).
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::German => "de",
            Self::SwissGerman => "de-CH",
            Self::French => "fr",
            Self::SwissFrench => "fr-CH",
            Self::Italian => "it",
            Self::SwissItalian => "it-CH",
        }
    }

    /// The language of this tag.
    #[must_use]
    pub fn from_tag(tag: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|language| language.as_str() == tag)
    }

    /// Its labels.
    #[must_use]
    pub const fn words(self) -> &'static Words {
        match self {
            Self::English => &ENGLISH,
            Self::German | Self::SwissGerman => &GERMAN,
            Self::French | Self::SwissFrench => &FRENCH,
            Self::Italian | Self::SwissItalian => &ITALIAN,
        }
    }

    /// What stands between the whole and the fraction.
    #[must_use]
    pub const fn point(self) -> char {
        match self {
            Self::German | Self::French | Self::Italian => ',',
            Self::English | Self::SwissGerman | Self::SwissFrench | Self::SwissItalian => '.',
        }
    }

    /// What stands between groups of three digits: in Switzerland the apostrophe, elsewhere a narrow no-break space
    /// (ISO 80000-1, 7.3.1), which cannot be taken for a point.
    #[must_use]
    pub const fn group(self) -> char {
        match self {
            Self::SwissGerman | Self::SwissFrench | Self::SwissItalian => '\u{2019}',
            _ => '\u{202f}',
        }
    }

    /// A decimal of the document, in this language: grouped, with a real minus sign.
    #[must_use]
    pub fn number(self, number: &str) -> String {
        let digits_at = number.find(|c: char| c.is_ascii_digit()).unwrap_or(0);
        let (sign, rest) = number.split_at(digits_at);
        let (whole, fraction) = rest.split_once('.').unwrap_or((rest, ""));
        let mut text = sign.replace('-', "\u{2212}");
        for (at, digit) in whole.chars().enumerate() {
            if at > 0 && (whole.len() - at).is_multiple_of(3) {
                text.push(self.group());
            }
            text.push(digit);
        }
        if !fraction.is_empty() {
            text.push(self.point());
            text.push_str(fraction);
        }
        text
    }

    /// The description of a line. Documents that were made before the pieces were kept have the English one alone.
    #[must_use]
    pub fn says(self, line: &Line) -> String {
        let said = &line.detail.said;
        if self == Self::English || said.is_empty() {
            return line.description.clone();
        }
        let is_number = |text: &str| parse_decimal(text).is_some();
        let value = |text: &str| if is_number(text) { self.number(text) } else { text.to_owned() };
        let piece = |piece: &Piece| match piece {
            Piece::Own(between) if between == saying::COLON => self.words().colon.to_owned(),
            Piece::Words(words) if words.first().is_some_and(|key| key == Said::Percentile.key()) => {
                piece.text(|said| self.words().said(said), |text| value(self.combine(text)))
            }
            piece => piece.text(|said| self.words().said(said), value),
        };
        said.iter().map(piece).collect()
    }

    /// The unit of a line.
    #[must_use]
    pub fn unit(self, unit: &str) -> &str {
        let words = self.words();
        match unit {
            "package" => words.unit_package,
            "period" => words.unit_period,
            "piece" => words.unit_piece,
            other => other,
        }
    }

    /// What the two directions come to in a percentile ([`Combine`]).
    fn combine(self, code: &str) -> &str {
        let words = self.words();
        let Some(combine) = Combine::ALL.into_iter().find(|one| one.as_str() == code) else {
            return code;
        };
        match combine {
            Combine::In => words.combine_in,
            Combine::Out => words.combine_out,
            Combine::MaxOfP95 => words.combine_max_of_p95,
            Combine::P95OfMax => words.combine_p95_of_max,
            Combine::P95OfSum => words.combine_p95_of_sum,
            Combine::SumOfP95 => words.combine_sum_of_p95,
            Combine::Pooled => words.combine_pooled,
        }
    }

    /// Where a sampling rate was learnt from ([`RateSource`]).
    #[must_use]
    pub fn rate_source(self, source: &str) -> &str {
        let words = self.words();
        let Some(source_of) = RateSource::ALL.into_iter().find(|one| one.as_str() == source) else {
            return source;
        };
        match source_of {
            RateSource::NotAnnounced => words.rate_not_announced,
            RateSource::Override => words.rate_override,
            RateSource::Record => words.rate_record,
            RateSource::Sampler => words.rate_sampler,
            RateSource::Domain => words.rate_domain,
            RateSource::Exporter => words.rate_exporter,
            RateSource::Default => words.rate_default,
            RateSource::Header => words.rate_header,
            RateSource::Pool => words.rate_pool,
            RateSource::FlowSelection => words.rate_selection,
        }
    }

    /// A day.
    #[must_use]
    pub fn date(self, day: Date) -> String {
        let (year, month, day_) = (day.year(), day.month(), day.day());
        match self {
            Self::English => day.to_string(),
            Self::French | Self::Italian => format!("{day_:02}/{month:02}/{year}"),
            _ => format!("{day_:02}.{month:02}.{year}"),
        }
    }
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Puts numbers into a sentence: `{0}`, `{1}`, ...
#[must_use]
pub fn filled(sentence: &str, with: &[&str]) -> String {
    with.iter()
        .enumerate()
        .fold(sentence.to_owned(), |text, (at, one)| text.replace(&format!("{{{at}}}"), one))
}

macro_rules! words {
    ($($name:ident: $doc:literal, $en:literal, $de:literal, $fr:literal, $it:literal;)*) => {
        /// The labels of a language.
        #[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
        pub struct Words {
            $(#[doc = $doc] pub $name: &'static str,)*
        }
        const ENGLISH: Words = Words { $($name: $en,)* };
        const GERMAN: Words = Words { $($name: $de,)* };
        const FRENCH: Words = Words { $($name: $fr,)* };
        const ITALIAN: Words = Words { $($name: $it,)* };

        #[cfg(test)]
        const TABLE: &[(&str, [&str; 4])] = &[$((stringify!($name), [$en, $de, $fr, $it]),)*];
    };
}

words! {
    invoice: "Title.", "Invoice", "Rechnung", "Facture", "Fattura";
    draft_invoice: "Title.", "Draft invoice", "Rechnungsentwurf", "Projet de facture", "Bozza di fattura";
    provisional_invoice: "Title of a draft of a period that has not ended.", "Provisional draft of an invoice",
        "Vorläufiger Rechnungsentwurf", "Projet provisoire de facture", "Bozza provvisoria di fattura";
    credit_note: "Title.", "Credit note", "Gutschrift", "Avoir", "Nota di credito";
    draft: "State.", "draft", "Entwurf", "projet", "bozza";
    credited: "State.", "credited", "gutgeschrieben", "annulée par avoir", "stornata";
    void: "State.", "void", "ungültig", "annulée", "annullata";
    recipient: "Before the customer.", "For", "An", "Pour", "Per";
    date: "Of the document.", "Date", "Datum", "Date", "Data";
    due: "Of payment.", "To be paid by", "Zahlbar bis", "À payer jusqu’au", "Da pagare entro il";
    takes_back: "Before the number of the credited invoice.", "Takes back", "Zu Rechnung", "Annule", "Storna";
    replaces: "Before the number of the replaced invoice.", "Takes the place of", "Ersetzt", "Remplace", "Sostituisce";
    period: "What the invoice covers.", "Period", "Zeitraum", "Période", "Periodo";
    until: "Between two days.", "to", "bis", "au", "al";
    time_zone: "Of the period.", "Time zone", "Zeitzone", "Fuseau horaire", "Fuso orario";
    tariff: "Of the invoice.", "Tariff", "Tarif", "Tarif", "Tariffa";
    version: "Of the tariff.", "version", "Version", "version", "versione";
    currency: "Of the amounts.", "Currency", "Währung", "Monnaie", "Valuta";
    tax_number: "Of the seller.", "Tax number", "Steuernummer", "Numéro fiscal", "Numero fiscale";
    charge: "Column.", "Charge", "Leistung", "Prestation", "Prestazione";
    quantity: "Column.", "Quantity", "Menge", "Quantité", "Quantità";
    unit: "Column.", "Unit", "Einheit", "Unité", "Unità";
    price: "Column.", "Price", "Preis", "Prix", "Prezzo";
    amount: "Column.", "Amount", "Betrag", "Montant", "Importo";
    band: "Of a line.", "band", "Zeitband", "plage", "fascia";
    part: "Of a line.", "part", "Teil", "partie", "parte";
    estimate: "Of a line, from samples.", "estimate", "Schätzwert", "estimation", "stima";
    standard_error: "Of a line, from samples.", "standard error", "Standardfehler", "erreur type", "errore standard";
    billed: "Of a line, from samples.", "billed", "berechnet", "facturé", "fatturato";
    basis_estimate: "What is billed.", "by the estimate", "nach dem Schätzwert", "selon l’estimation", "secondo la stima";
    basis_lower: "What is billed.", "by its lower bound", "nach der unteren Schranke", "selon la borne inférieure",
        "secondo il limite inferiore";
    basis_insensitive: "What is billed.", "by the least volume that counts", "nach der kleinsten zählenden Menge",
        "selon le volume minimal", "secondo il volume minimo";
    samples: "Of a line, coverage.", "of the samples are there", "der Messwerte liegen vor",
        "des mesures sont disponibles", "delle misure sono disponibili";
    calibrated: "Of a line: intervals, of how many, percentage, volume by flows, unit.",
        "calibrated by interface counters in {0} of {1} five-minute intervals ({2} % of the volume; by flows alone {3} {4})",
        "nach Schnittstellenzählern kalibriert in {0} von {1} Abschnitten zu fünf Minuten ({2} % der Menge; nach Flows allein {3} {4})",
        "calibré d’après les compteurs des interfaces dans {0} intervalles de cinq minutes sur {1} ({2} % du volume ; selon les seuls flux {3} {4})",
        "calibrato secondo i contatori delle interfacce in {0} intervalli di cinque minuti su {1} ({2} % del volume; secondo i soli flussi {3} {4})";
    net: "Before tax.", "Net", "Netto", "Net", "Netto";
    tax: "Before its percentage.", "Tax", "Steuer", "Taxe", "Imposta";
    of: "Tax of a base.", "of", "von", "sur", "su";
    total: "What is to be paid.", "Total", "Gesamtbetrag", "Total", "Totale";
    volumes: "Heading.", "Volumes of the period", "Datenmengen des Zeitraums", "Volumes de la période",
        "Volumi del periodo";
    link: "Column.", "Link", "Anbindung", "Lien", "Collegamento";
    kind: "Column.", "Kind", "Art", "Type", "Tipo";
    direction: "Column.", "Direction", "Richtung", "Sens", "Direzione";
    class: "Column.", "Class", "Klasse", "Classe", "Classe";
    octets: "Column.", "Octets", "Oktette", "Octets", "Ottetti";
    packets: "Column.", "Packets", "Pakete", "Paquets", "Pacchetti";
    error: "Column.", "Std. error", "Std.-Fehler", "Err. type", "Err. std.";
    inward: "Direction.", "in", "ein", "entrant", "in entrata";
    outward: "Direction.", "out", "aus", "sortant", "in uscita";
    measured: "Heading.", "How it was measured", "Wie gemessen wurde", "Mode de mesure", "Come è stato misurato";
    sampled: "Octets, percentage.", "{0} octets, of which {1} % estimated from sampled packets",
        "{0} Oktette, davon {1} % aus Stichproben geschätzt", "{0} octets, dont {1} % estimés par échantillonnage",
        "{0} ottetti, di cui {1} % stimati da campioni";
    whole_error: "Percentage.", "standard error of the whole ±{0} %", "Standardfehler im Ganzen ±{0} %",
        "erreur type de l’ensemble ±{0} %", "errore standard complessivo ±{0} %";
    coverage: "Percentage.", "Samples for percentiles: {0} % are there.", "Messwerte für Perzentile: {0} % liegen vor.",
        "Mesures pour percentiles : {0} % sont disponibles.", "Misure per i percentili: {0} % sono disponibili.";
    lost: "Records.", "Flow records lost on the way: {0}; nothing is charged for them.",
        "Unterwegs verlorene Flow-Datensätze: {0}; sie werden nicht berechnet.",
        "Enregistrements de flux perdus en route : {0} ; ils ne sont pas facturés.",
        "Record di flusso persi durante la trasmissione: {0}; non vengono fatturati.";
    lost_by: "Exporter, lost, records that arrived.", "{0}: {1} lost, {2} arrived, of all its customers together.",
        "{0}: {1} verloren, {2} angekommen, von allen seinen Kunden zusammen.",
        "{0} : {1} perdus, {2} arrivés, de tous ses clients ensemble.",
        "{0}: {1} persi, {2} arrivati, di tutti i suoi clienti insieme.";
    reconciled: "Link, intervals compared, intervals, intervals that differ.",
        "{0}: held against its interface counters in {1} of {2} five-minute intervals; {3} of these differ.",
        "{0}: in {1} von {2} Abschnitten zu fünf Minuten mit den Zählern der Schnittstellen verglichen; {3} davon weichen ab.",
        "{0} : comparé aux compteurs des interfaces dans {1} intervalles de cinq minutes sur {2} ; {3} d’entre eux diffèrent.",
        "{0}: confrontato con i contatori delle interfacce in {1} intervalli di cinque minuti su {2}; {3} di essi differiscono.";
    sampling: "Column.", "Sampling", "Stichprobe", "Échantillonnage", "Campionamento";
    rate_source: "Column.", "Rate learnt from", "Rate bekannt aus", "Source du taux", "Fonte del tasso";
    every_packet: "A rate.", "every packet", "jedes Paket", "chaque paquet", "ogni pacchetto";
    of_packets: "A rate: 1/1000 ...", "packets", "der Pakete", "des paquets", "dei pacchetti";
    proof: "Root of usage, hash of the tariff.",
        "Made from the usage rows with SHA-256 {0} by the tariff file with SHA-256 {1}.",
        "Erstellt aus den Nutzungsdaten mit SHA-256 {0} nach der Tarifdatei mit SHA-256 {1}.",
        "Établie à partir des données d’utilisation de SHA-256 {0} selon le fichier tarifaire de SHA-256 {1}.",
        "Emessa dai dati di utilizzo con SHA-256 {0} secondo il file tariffario con SHA-256 {1}.";
    rounding: "How it is rounded.",
        "Amounts are rounded once a line, half up; quantities are shown with at most nine places and charged exactly.",
        "Beträge werden je Zeile einmal kaufmännisch gerundet; Mengen sind mit höchstens neun Stellen gezeigt und genau berechnet.",
        "Les montants sont arrondis une fois par ligne, au plus proche ; les quantités sont affichées avec neuf décimales au plus et facturées exactement.",
        "Gli importi sono arrotondati una volta per riga, per eccesso da metà; le quantità sono mostrate con al massimo nove decimali e fatturate esattamente.";
    no_request: "On drafts.", "This is a draft and not a request for payment.",
        "Dies ist ein Entwurf und keine Zahlungsaufforderung.",
        "Ceci est un projet et non une demande de paiement.",
        "Questa è una bozza e non una richiesta di pagamento.";
    page: "At the foot.", "Page", "Seite", "Page", "Pagina";
    page_of: "At the foot, before the number of pages.", "of", "von", "sur", "di";
    colon: "Between the tariff's words and the program's.", ":\u{20}", ":\u{20}", "\u{202f}:\u{20}", ":\u{20}";
    late: "The charge of a line for late usage that costs nothing.", "late", "Nachtrag", "tardif", "tardivo";
    minimum: "The charge of the line that lifts to the minimum.", "minimum", "Mindestbetrag", "minimum", "minimo";
    unit_package: "Unit.", "package", "Paket", "lot", "pacchetto";
    unit_period: "Unit.", "period", "Zeitraum", "période", "periodo";
    unit_piece: "Unit.", "piece", "Stück", "pièce", "pezzo";
    made_from: "Root of usage, tariff, version.", "Usage {0}, tariff {1} version {2}",
        "Nutzung {0}, Tarif {1} Version {2}", "Utilisation {0}, tarif {1} version {2}",
        "Utilizzo {0}, tariffa {1} versione {2}";
    at_price: "Quantity, unit, price.", "{0} {1} at {2}", "{0} {1} zu {2}", "{0} {1} à {2}", "{0} {1} a {2}";
    combine_in: "Of a percentile.", "in", "eingehend", "entrant", "in entrata";
    combine_out: "Of a percentile.", "out", "ausgehend", "sortant", "in uscita";
    combine_max_of_p95: "Of a percentile.", "max-of-p95", "das größere der Perzentile beider Richtungen",
        "le plus grand des percentiles des deux sens", "il maggiore dei percentili delle due direzioni";
    combine_p95_of_max: "Of a percentile.", "p95-of-max", "Perzentil der jeweils größeren Richtung",
        "percentile du plus grand des deux sens", "percentile della maggiore delle due direzioni";
    combine_p95_of_sum: "Of a percentile.", "p95-of-sum", "Perzentil der Summe beider Richtungen",
        "percentile de la somme des deux sens", "percentile della somma delle due direzioni";
    combine_sum_of_p95: "Of a percentile.", "sum-of-p95", "Summe der Perzentile beider Richtungen",
        "somme des percentiles des deux sens", "somma dei percentili delle due direzioni";
    combine_pooled: "Of a percentile.", "pooled", "alle Messwerte beider Richtungen zusammen",
        "toutes les mesures des deux sens ensemble", "tutte le misure delle due direzioni insieme";
    rate_not_announced: "Source of a rate.", "not-announced", "nicht angekündigt", "non annoncé", "non annunciato";
    rate_override: "Source of a rate.", "override", "vom Betreiber festgelegt", "imposé par l’opérateur",
        "imposto dall’operatore";
    rate_record: "Source of a rate.", "record", "Datensatz", "enregistrement", "singolo record";
    rate_sampler: "Source of a rate.", "sampler", "Stichprobennehmer", "échantillonneur", "campionatore";
    rate_domain: "Source of a rate.", "domain", "Beobachtungsbereich", "domaine d’observation", "dominio di osservazione";
    rate_exporter: "Source of a rate.", "exporter", "Router", "routeur", "instradatore";
    rate_default: "Source of a rate.", "default", "Vorgabe des Betreibers", "valeur par défaut de l’opérateur",
        "valore predefinito dell’operatore";
    rate_header: "Source of a rate.", "header", "Kopf des Datagramms", "en-tête du datagramme",
        "intestazione del datagramma";
    rate_pool: "Source of a rate.", "sample-pool", "Stichprobenvorrat", "réservoir d’échantillons",
        "riserva di campioni";
    rate_selection: "Source of a rate.", "flow-selection", "Auswahl von Flows", "sélection de flux",
        "selezione di flussi";
    said_above: "In a line.", "above {0} {1}", "über {0} {1}", "au-delà de {0} {1}", "oltre {0} {1}";
    said_all: "In a line.", "all", "alles", "tout", "tutto";
    said_as_far: "In a line.", "as far as it goes", "soweit es reicht", "dans la limite disponible",
        "fino a esaurimento";
    said_at_most: "In a line.", "at most {0} {1}", "höchstens {0} {1}", "au plus {0} {1}", "al massimo {0} {1}";
    said_between: "In a line.", "{0} to {1} {2}", "{0} bis {1} {2}", "de {0} à {1} {2}", "da {0} a {1} {2}";
    said_committed: "In a line.", "{0} {1} committed", "{0} {1} fest zugesagt", "{0} {1} souscrits",
        "{0} {1} impegnati";
    said_credit: "A credit without a name.", "Credit {0}", "Gutschrift {0}", "Avoir {0}", "Accredito {0}";
    said_discount: "A discount without a name.", "Discount {0}", "Rabatt {0}", "Remise {0}", "Sconto {0}";
    said_percentile: "A charge without a name.", "Percentile {0} ({1}), {2}", "Perzentil {0} ({1}), {2}",
        "Percentile {0} ({1}), {2}", "Percentile {0} ({1}), {2}";
    said_traffic_in: "A charge without a name.", "Traffic in, {0}", "Verkehr ein, {0}", "Trafic entrant, {0}",
        "Traffico in entrata, {0}";
    said_traffic_max: "A charge without a name.", "Traffic in or out, whichever is more, {0}",
        "Verkehr ein oder aus, der größere, {0}", "Trafic entrant ou sortant, le plus élevé, {0}",
        "Traffico in entrata o in uscita, il maggiore, {0}";
    said_traffic_out: "A charge without a name.", "Traffic out, {0}", "Verkehr aus, {0}", "Trafic sortant, {0}",
        "Traffico in uscita, {0}";
    said_traffic_sum: "A charge without a name.", "Traffic in and out, {0}", "Verkehr ein und aus, {0}",
        "Trafic entrant et sortant, {0}", "Traffico in entrata e in uscita, {0}";
    said_fee: "In a line.", "fee", "Grundpreis", "redevance", "canone";
    said_included: "In a line.", "{0} {1} included", "{0} {1} enthalten", "{0} {1} compris", "{0} {1} inclusi";
    said_in_packages: "In a line.", "{0} {1} in packages of {2}", "{0} {1} in Paketen zu {2}",
        "{0} {1} par lots de {2}", "{0} {1} a pacchetti di {2}";
    said_late: "In a line.", "Late usage of {0}", "Nachtrag zu {0}", "Utilisation tardive de {0}",
        "Utilizzo tardivo di {0}";
    said_left_before: "In a line.", "{0} {1} left from the period before", "{0} {1} übrig aus dem vorigen Zeitraum",
        "{0} {1} restants de la période précédente", "{0} {1} residui del periodo precedente";
    said_left_period: "In a line.", "{0} {1} left of the rest of the period",
        "{0} {1} übrig vom Rest des Zeitraums", "{0} {1} restants du reste de la période",
        "{0} {1} residui del resto del periodo";
    said_less: "In a line.", "less", "abzüglich", "en moins", "in meno";
    said_minimum: "In a line.", "Minimum charge of {0} {1}", "Mindestbetrag von {0} {1}",
        "Montant minimum de {0} {1}", "Importo minimo di {0} {1}";
    said_nothing: "In a line.", "nothing to charge", "nichts zu berechnen", "rien à facturer",
        "niente da addebitare";
    said_over_commit: "In a line.", "above {0} {1}, of {2} {1}", "über {0} {1}, von {2} {1}",
        "au-delà de {0} {1}, sur {2} {1}", "oltre {0} {1}, su {2} {1}";
    said_percent_of: "In a line.", "{0} % of {1} {2}", "{0} % von {1} {2}", "{0} % de {1} {2}", "{0} % di {1} {2}";
    said_rate: "In a line.", "{0} {1}", "{0} {1}", "{0} {1}", "{0} {1}";
    said_up_to: "In a line.", "up to {0} {1}", "bis {0} {1}", "jusqu’à {0} {1}", "fino a {0} {1}";
}

impl Words {
    /// What the program says in a line.
    #[must_use]
    pub const fn said(&self, said: Said) -> &'static str {
        match said {
            Said::Above => self.said_above,
            Said::All => self.said_all,
            Said::AsFarAsItGoes => self.said_as_far,
            Said::AtMost => self.said_at_most,
            Said::Between => self.said_between,
            Said::Committed => self.said_committed,
            Said::Credit => self.said_credit,
            Said::Discount => self.said_discount,
            Said::Percentile => self.said_percentile,
            Said::TrafficIn => self.said_traffic_in,
            Said::TrafficMax => self.said_traffic_max,
            Said::TrafficOut => self.said_traffic_out,
            Said::TrafficSum => self.said_traffic_sum,
            Said::Fee => self.said_fee,
            Said::Included => self.said_included,
            Said::InPackages => self.said_in_packages,
            Said::Late => self.said_late,
            Said::LeftFromBefore => self.said_left_before,
            Said::LeftOfPeriod => self.said_left_period,
            Said::Less => self.said_less,
            Said::Minimum => self.said_minimum,
            Said::Nothing => self.said_nothing,
            Said::OverCommit => self.said_over_commit,
            Said::PercentOf => self.said_percent_of,
            Said::Rate => self.said_rate,
            Said::UpTo => self.said_up_to,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_dates_by_language() {
        let day = jiff::civil::date(2026, 3, 1);
        let of = |tag: &str| {
            let language = Language::from_tag(tag).expect("known");
            (language.number("-1234567.50"), language.date(day))
        };
        let is = |number: &str, date: &str| (number.to_owned(), date.to_owned());
        assert_eq!(of("en"), is("\u{2212}1\u{202f}234\u{202f}567.50", "2026-03-01"));
        assert_eq!(of("de"), is("\u{2212}1\u{202f}234\u{202f}567,50", "01.03.2026"));
        assert_eq!(of("de-CH"), is("\u{2212}1\u{2019}234\u{2019}567.50", "01.03.2026"));
        assert_eq!(of("fr"), is("\u{2212}1\u{202f}234\u{202f}567,50", "01/03/2026"));
        assert_eq!(of("it-CH"), is("\u{2212}1\u{2019}234\u{2019}567.50", "01.03.2026"));
        assert_eq!(Language::German.number("999"), "999");
        assert_eq!(Language::German.number("0.031"), "0,031");
        assert_eq!(Language::from_tag("nl"), None);
        for language in Language::ALL {
            assert_eq!(Language::from_tag(&language.to_string()), Some(language));
        }
    }

    #[test]
    fn every_language_says_everything_with_the_same_numbers() {
        for (name, texts) in TABLE {
            let holes =
                |text: &str| (0..5).filter(|n| text.contains(&format!("{{{n}}}"))).collect::<Vec<_>>();
            for text in texts {
                let is_mark = *name == "colon";
                assert!(is_mark || !text.is_empty() && text.trim() == *text, "{name}: {text:?}");
                assert_eq!(holes(text), holes(texts[0]), "{name}: {text}");
            }
        }
        assert_eq!(
            filled(Language::English.words().lost_by, &["ce1", "3", "9"]),
            "ce1: 3 lost, 9 arrived, of all its customers together."
        );
    }

    /// The definition of a percentile is a code in documents, and words in the customer's language.
    #[test]
    fn the_definition_of_a_percentile_is_in_the_language_of_the_line() {
        let said = vec![Piece::said(Said::Percentile, ["95", "p95-of-sum", "transit"].map(str::to_owned))];
        let line = Line {
            charge: "p95".into(),
            description: saying::english(&said),
            quantity: "1".into(),
            unit: "Mbit/s".into(),
            price: "1".into(),
            amount: crate::money::Money::new(100, crate::money::Currency::from_code("EUR").expect("known")),
            relative_error: "0.000000".into(),
            detail: crate::invoice::Detail { said, ..Default::default() },
        };
        let of = |language: Language| language.says(&line);
        assert_eq!(of(Language::English), "Percentile 95 (p95-of-sum), transit");
        assert!(of(Language::German).contains("(Perzentil der Summe beider Richtungen), transit"));
        for language in Language::ALL.into_iter().filter(|language| *language != Language::English) {
            for combine in Combine::ALL {
                assert_ne!(language.combine(combine.as_str()), combine.as_str(), "{language}");
            }
        }
    }
}
