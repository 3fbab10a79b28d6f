//! What a line says: the words of whoever wrote the tariff, and words of the program, which are kept apart so that a document
//! can be read in any language. The description of a line is the English of it.

use serde::{Deserialize, Serialize};

use crate::money::Money;

macro_rules! said {
    ($($name:ident $key:literal $english:literal: $doc:literal;)*) => {
        /// Words of the program in the description of a line. `{0}`, `{1}` ... are what is put into them.
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        pub enum Said {
            $(#[doc = $doc] $name,)*
        }

        impl Said {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// Its name in documents.
            #[must_use]
            pub const fn key(self) -> &'static str {
                match self { $(Self::$name => $key,)* }
            }

            /// In English.
            #[must_use]
            pub const fn english(self) -> &'static str {
                match self { $(Self::$name => $english,)* }
            }
        }
    };
}

said! {
    Above "above" "above {0} {1}": "A tier without end.";
    All "all" "all": "The only tier.";
    AsFarAsItGoes "as-far-as-it-goes" "as far as it goes": "A discount that is more than there is.";
    AtMost "at-most" "at most {0} {1}": "A cap.";
    Between "between" "{0} to {1} {2}": "A tier.";
    Committed "committed" "{0} {1} committed": "A rate that is paid in any case.";
    Credit "credit" "Credit {0}": "A credit that the tariff does not name.";
    Discount "discount" "Discount {0}": "A discount that the tariff does not name.";
    Fee "fee" "fee": "Of a tier.";
    Included "included" "{0} {1} included": "An allowance.";
    InPackages "in-packages" "{0} {1} in packages of {2}": "What was used, in blocks.";
    Late "late" "Late usage of {0}": "Of a former period.";
    LeftFromBefore "left-from-before" "{0} {1} left from the period before": "What rolled over.";
    LeftOfPeriod "left-of-period" "{0} {1} left of the rest of the period": "What other parts left of an allowance.";
    Less "less" "less": "Late usage that takes something off.";
    Minimum "minimum" "Minimum charge of {0} {1}": "What lifts the sum.";
    Nothing "nothing" "nothing to charge": "Late usage that changes no charge.";
    OverCommit "over-commit" "above {0} {1}, of {2} {1}": "What of a rate is beyond the commit.";
    Percentile "percentile" "Percentile {0} ({1}), {2}": "A charge that the tariff does not name: percent, definition, classes.";
    PercentOf "percent-of" "{0} % of {1} {2}": "A discount.";
    Rate "rate" "{0} {1}": "A percentile.";
    TrafficIn "traffic-in" "Traffic in, {0}": "A charge that the tariff does not name, of classes.";
    TrafficMax "traffic-max" "Traffic in or out, whichever is more, {0}": "The same.";
    TrafficOut "traffic-out" "Traffic out, {0}": "The same.";
    TrafficSum "traffic-sum" "Traffic in and out, {0}": "The same.";
    UpTo "up-to" "up to {0} {1}": "The first tier.";
}

/// A piece of a line's description, one after the other.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Piece {
    /// As it is: words of the tariff, and what stands between pieces.
    Own(String),
    /// Words of the program: the name ([`Said::key`]), and what is put into them.
    Words(Vec<String>),
}

/// What stands between the tariff's words and the first of the program's.
pub const COLON: &str = ": ";
/// What stands between the others.
pub const COMMA: &str = ", ";

impl Piece {
    /// Words of the program.
    #[must_use]
    pub fn said<const N: usize>(said: Said, with: [String; N]) -> Self {
        Self::Words(core::iter::once(said.key().to_owned()).chain(with).collect())
    }

    /// Words of the program about an amount.
    #[must_use]
    pub fn money(said: Said, amount: Money) -> Self {
        Self::said(said, [amount.to_string(), amount.currency().to_string()])
    }

    /// In words: `words` says the program's, with `{0}` ... for `number`s that are put in.
    #[must_use]
    pub fn text(&self, words: impl Fn(Said) -> &'static str, number: impl Fn(&str) -> String) -> String {
        match self {
            Self::Own(text) => text.clone(),
            Self::Words(words_of) => {
                let Some((key, with)) = words_of.split_first() else { return String::new() };
                let Some(&said) = Said::ALL.iter().find(|said| said.key() == key) else {
                    // A newer program said something that this one does not know.
                    return words_of.join(" ");
                };
                let mut text = words(said).to_owned();
                for (at, value) in with.iter().enumerate() {
                    text = text.replace(&format!("{{{at}}}"), &number(value));
                }
                text
            }
        }
    }
}

/// What a charge, a discount or a credit is called: as the tariff says, or in words of the program.
#[must_use]
pub fn named(description: &str, said: Option<&Piece>) -> Piece {
    said.cloned().unwrap_or_else(|| Piece::Own(description.to_owned()))
}

/// What a charge is called, then words about the line, with what stands between them.
#[must_use]
pub fn of_charge(name: Piece, words: Vec<Piece>) -> Vec<Piece> {
    let mut pieces = vec![name];
    for (at, word) in words.into_iter().enumerate() {
        pieces.push(Piece::Own(if at == 0 { COLON } else { COMMA }.to_owned()));
        pieces.push(word);
    }
    pieces
}

/// The English of it.
#[must_use]
pub fn english(pieces: &[Piece]) -> String {
    pieces.iter().map(|piece| piece.text(Said::english, str::to_owned)).collect()
}

/// True where nothing of it is of the program.
#[must_use]
pub fn is_own(pieces: &[Piece]) -> bool {
    pieces.iter().all(|piece| matches!(piece, Piece::Own(_)))
}
