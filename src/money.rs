//! Money: integers of a currency's minor unit, and the exact numbers that become money by being rounded once.
//!
//! An amount is an `i64` of minor units (cents) beside its currency; amounts of different currencies never meet.
//! What lies between a quantity and an amount is an [`Exact`] fraction, which no step rounds: prices, quantities,
//! shares and percentages multiply out in full, and [`Money::round`] is the only way from there to money. Half a
//! minor unit goes away from zero ("half up", in the words of contracts).
//!
//! Fractions are of big integers and not of `Decimal` or `i128`: a decimal of 28 digits cannot hold the third of
//! an octet (a sampling rate of 4/3), and a volume times a share of a volume times a price outgrows 128 bits.
//! Decimals are what people write: prices, quantities and percentages are parsed as such.
#![deny(clippy::float_arithmetic)]

use core::cmp::Ordering;
use core::fmt;

use num_bigint::{BigInt, Sign};
use rust_decimal::Decimal;

/// Currencies (ISO 4217) by the number of digits after the point. Legal tender only: no metals, funds or test codes.
const CURRENCIES: [(u8, &str); 3] = [
    (0, "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF"),
    (
        2,
        "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF CNY \
         COP CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR \
         ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK \
         MXN MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP \
         SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD UYU UZS VED VES WST XCD XCG YER \
         ZAR ZMW ZWG",
    ),
    (3, "BHD IQD JOD KWD LYD OMR TND"),
];

/// A currency of ISO 4217, with the number of decimal digits of its minor unit.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Currency {
    code: &'static str,
    exponent: u8,
}

impl Currency {
    /// The currency with this code, in capitals. `None` for anything that one cannot be billed in.
    #[must_use]
    pub fn from_code(code: &str) -> Option<Self> {
        CURRENCIES.iter().find_map(|&(exponent, codes)| {
            codes.split(' ').find(|&known| known == code).map(|code| Self { code, exponent })
        })
    }

    /// Its code: `EUR`.
    #[must_use]
    pub const fn code(self) -> &'static str {
        self.code
    }

    /// Digits after the point: 2 for EUR, 0 for JPY.
    #[must_use]
    pub const fn exponent(self) -> u8 {
        self.exponent
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code)
    }
}

/// Why an amount cannot be had.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Error {
    /// Two currencies in one sum.
    #[error("{0} and {1} cannot be added")]
    Currencies(Currency, Currency),
    /// The amount does not fit into 64 bits of minor units.
    #[error("the amount is beyond 64 bits of minor units")]
    OutOfRange,
    /// The text is no amount of the currency.
    #[error("not an amount in {currency}: expected digits, and at most {} after the point", .currency.exponent())]
    NotAnAmount {
        /// The currency it was to be in.
        currency: Currency,
    },
}

/// An amount of money.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Money {
    minor: i64,
    currency: Currency,
}

impl Money {
    /// So many minor units (cents).
    #[must_use]
    pub const fn new(minor: i64, currency: Currency) -> Self {
        Self { minor, currency }
    }

    /// Nothing.
    #[must_use]
    pub const fn zero(currency: Currency) -> Self {
        Self::new(0, currency)
    }

    /// Minor units.
    #[must_use]
    pub const fn minor(self) -> i64 {
        self.minor
    }

    /// The currency.
    #[must_use]
    pub const fn currency(self) -> Currency {
        self.currency
    }

    /// The amount nearest to `major` units (euros); half a minor unit goes away from zero.
    ///
    /// # Errors
    /// [`Error::OutOfRange`].
    pub fn round(major: &Exact, currency: Currency) -> Result<Self, Error> {
        let minor = major.rounded(u32::from(currency.exponent));
        i64::try_from(minor).map(|minor| Self::new(minor, currency)).map_err(|_| Error::OutOfRange)
    }

    /// The sum.
    ///
    /// # Errors
    /// [`Error::Currencies`] and [`Error::OutOfRange`].
    pub fn checked_add(self, other: Self) -> Result<Self, Error> {
        if self.currency != other.currency {
            return Err(Error::Currencies(self.currency, other.currency));
        }
        let minor = self.minor.checked_add(other.minor).ok_or(Error::OutOfRange)?;
        Ok(Self::new(minor, self.currency))
    }

    /// The difference.
    ///
    /// # Errors
    /// [`Error::Currencies`] and [`Error::OutOfRange`].
    pub fn checked_sub(self, other: Self) -> Result<Self, Error> {
        if self.currency != other.currency {
            return Err(Error::Currencies(self.currency, other.currency));
        }
        let minor = self.minor.checked_sub(other.minor).ok_or(Error::OutOfRange)?;
        Ok(Self::new(minor, self.currency))
    }

    /// The sum of amounts, all in `currency`.
    ///
    /// # Errors
    /// [`Error::Currencies`] and [`Error::OutOfRange`].
    pub fn sum(currency: Currency, amounts: impl IntoIterator<Item = Self>) -> Result<Self, Error> {
        amounts.into_iter().try_fold(Self::zero(currency), Self::checked_add)
    }

    /// Reads a decimal string: `12`, `12.5`, `-0.05`. More digits than the currency has are refused, not rounded.
    ///
    /// # Errors
    /// [`Error::NotAnAmount`] and [`Error::OutOfRange`].
    pub fn parse(text: &str, currency: Currency) -> Result<Self, Error> {
        let refused = Error::NotAnAmount { currency };
        let (negative, digits) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let decimal = parse_decimal(digits).ok_or(refused)?;
        if decimal.scale() > u32::from(currency.exponent) {
            return Err(refused);
        }
        let amount = Self::round(&Exact::from(decimal), currency)?;
        Ok(if negative { Self::new(-amount.minor, currency) } else { amount })
    }

    /// The exact number of major units.
    #[must_use]
    pub fn exact(self) -> Exact {
        Exact::new(self.minor.into(), power_of_ten(u32::from(self.currency.exponent)))
    }
}

impl fmt::Display for Money {
    /// A decimal string with all digits of the currency, without its code: `1061.24`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&point_shifted(&BigInt::from(self.minor), u32::from(self.currency.exponent)))
    }
}

/// Reads a decimal as people write prices: digits, and digits after a point if there is one. No sign, no exponent,
/// no separators, nothing beyond 28 digits; the number of digits after the point is kept.
#[must_use]
pub fn parse_decimal(text: &str) -> Option<Decimal> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(fraction) {
        return None;
    }
    Decimal::from_str_exact(text).ok()
}

/// An exact number: a fraction of integers of any size. The denominator is positive; the fraction is not reduced.
#[derive(Clone, Debug)]
pub struct Exact {
    numerator: BigInt,
    denominator: BigInt,
}

impl Exact {
    /// The fraction. A denominator of zero or less is a defect of the caller.
    #[must_use]
    pub fn new(numerator: BigInt, denominator: BigInt) -> Self {
        assert!(denominator.sign() == Sign::Plus, "denominators are positive");
        Self { numerator, denominator }
    }

    /// A whole number.
    #[must_use]
    pub fn whole(n: impl Into<BigInt>) -> Self {
        Self::new(n.into(), BigInt::from(1))
    }

    /// Nothing.
    #[must_use]
    pub fn zero() -> Self {
        Self::whole(0)
    }

    /// The sum.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        if self.denominator == other.denominator {
            return Self::new(&self.numerator + &other.numerator, self.denominator.clone());
        }
        Self::new(
            &self.numerator * &other.denominator + &other.numerator * &self.denominator,
            &self.denominator * &other.denominator,
        )
    }

    /// The difference.
    #[must_use]
    pub fn minus(&self, other: &Self) -> Self {
        self.plus(&Self::new(-&other.numerator, other.denominator.clone()))
    }

    /// The product.
    #[must_use]
    pub fn times(&self, other: &Self) -> Self {
        Self::new(&self.numerator * &other.numerator, &self.denominator * &other.denominator)
    }

    /// The quotient by a positive whole number.
    #[must_use]
    pub fn over(&self, divisor: impl Into<BigInt>) -> Self {
        Self::new(self.numerator.clone(), &self.denominator * divisor.into())
    }

    /// The quotient by a positive number; `None` where it is not positive.
    #[must_use]
    pub fn divided_by(&self, divisor: &Self) -> Option<Self> {
        divisor.is_positive().then(|| {
            Self::new(&self.numerator * &divisor.denominator, &self.denominator * &divisor.numerator)
        })
    }

    /// Itself, or zero where it is negative.
    #[must_use]
    pub fn or_zero(self) -> Self {
        if self.is_positive() { self } else { Self::zero() }
    }

    /// The smaller of the two.
    #[must_use]
    pub fn least(self, other: Self) -> Self {
        if other < self { other } else { self }
    }

    /// True above zero.
    #[must_use]
    pub fn is_positive(&self) -> bool {
        self.numerator.sign() == Sign::Plus
    }

    /// The number times 10^`places`, rounded to a whole one, half away from zero.
    #[must_use]
    pub fn rounded(&self, places: u32) -> BigInt {
        let twice = self.numerator.magnitude() * power_of_ten(places).magnitude() * 2_u32;
        let divisor = self.denominator.magnitude();
        let magnitude = (twice + divisor) / (divisor * 2_u32);
        BigInt::from_biguint(self.numerator.sign(), magnitude)
    }

    /// The greatest whole number that is not above it.
    #[must_use]
    pub fn rounded_down(&self) -> BigInt {
        -Self::new(-&self.numerator, self.denominator.clone()).rounded_up()
    }

    /// The least whole number that is not below it.
    #[must_use]
    pub fn rounded_up(&self) -> BigInt {
        let whole = &self.numerator / &self.denominator;
        if self.is_positive() && &whole * &self.denominator < self.numerator { whole + 1 } else { whole }
    }

    /// The number as a decimal string, rounded half away from zero to exactly `places`.
    #[must_use]
    pub fn to_fixed_string(&self, places: u32) -> String {
        point_shifted(&self.rounded(places), places)
    }

    /// The number as a decimal string, rounded half away from zero to at most `places`, without trailing zeros.
    #[must_use]
    pub fn to_decimal_string(&self, places: u32) -> String {
        let text = self.to_fixed_string(places);
        if places == 0 {
            return text;
        }
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    }
}

impl From<Decimal> for Exact {
    fn from(decimal: Decimal) -> Self {
        Self::new(decimal.mantissa().into(), power_of_ten(decimal.scale()))
    }
}

impl Ord for Exact {
    fn cmp(&self, other: &Self) -> Ordering {
        (&self.numerator * &other.denominator).cmp(&(&other.numerator * &self.denominator))
    }
}

impl PartialOrd for Exact {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Exact {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Exact {}

fn power_of_ten(places: u32) -> BigInt {
    BigInt::from(10).pow(places)
}

/// The decimal string of `n / 10^places`, with all places.
fn point_shifted(n: &BigInt, places: u32) -> String {
    let places = places as usize;
    let mut digits = n.magnitude().to_string();
    if digits.len() <= places {
        digits.insert_str(0, &"0".repeat(places + 1 - digits.len()));
    }
    if places > 0 {
        digits.insert(digits.len() - places, '.');
    }
    if n.sign() == Sign::Minus {
        digits.insert(0, '-');
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::*;

    fn currency(code: &str) -> Currency {
        Currency::from_code(code).expect("a currency")
    }

    fn ratio(n: i64, d: i64) -> Exact {
        Exact::new(n.into(), d.into())
    }

    #[test]
    fn currencies_have_their_exponents() {
        for (code, exponent) in
            [("EUR", 2), ("JPY", 0), ("KWD", 3), ("CHF", 2), ("ISK", 0), ("ZWG", 2), ("AED", 2)]
        {
            assert_eq!(currency(code).exponent(), exponent, "{code}");
        }
        for code in ["XXX", "XTS", "XAU", "eur", "EURO", "", " ", "EUR USD", "DEM"] {
            assert_eq!(Currency::from_code(code), None, "{code}");
        }
        let all: Vec<&str> = CURRENCIES.iter().flat_map(|(_, codes)| codes.split(' ')).collect();
        let mut unique = all.clone();
        unique.sort_unstable();
        unique.dedup();
        assert_eq!(unique.len(), all.len(), "none twice");
        assert!(all.iter().all(|code| code.len() == 3), "{all:?}");
    }

    #[test]
    fn amounts_are_written_and_read_with_all_digits() {
        for (minor, code, text) in [
            (106_124, "EUR", "1061.24"),
            (-4358, "EUR", "-43.58"),
            (5, "EUR", "0.05"),
            (-5, "EUR", "-0.05"),
            (0, "EUR", "0.00"),
            (1234, "JPY", "1234"),
            (0, "JPY", "0"),
            (1, "KWD", "0.001"),
            (i64::MAX, "EUR", "92233720368547758.07"),
            (-i64::MAX, "EUR", "-92233720368547758.07"),
        ] {
            let money = Money::new(minor, currency(code));
            assert_eq!(money.to_string(), text);
            assert_eq!(Money::parse(text, currency(code)), Ok(money));
        }
        assert_eq!(Money::new(i64::MIN, currency("EUR")).to_string(), "-92233720368547758.08");
        assert_eq!(Money::parse("7", currency("EUR")), Ok(Money::new(700, currency("EUR"))));
        assert_eq!(Money::parse("7.5", currency("EUR")), Ok(Money::new(750, currency("EUR"))));
    }

    #[test]
    fn what_is_no_amount_is_refused() {
        let eur = currency("EUR");
        for text in ["", ".", "1.", ".5", "1.005", "1,00", "1e2", "+1", "--1", "1_000", " 1", "1.0.0", "١"] {
            assert_eq!(Money::parse(text, eur), Err(Error::NotAnAmount { currency: eur }), "{text:?}");
        }
        assert_eq!(
            Money::parse("0.5", currency("JPY")),
            Err(Error::NotAnAmount { currency: currency("JPY") })
        );
        assert_eq!(Money::parse("92233720368547758.08", eur), Err(Error::OutOfRange));
        assert_eq!(
            Money::parse("99999999999999999999999999999999999", eur),
            Err(Error::NotAnAmount { currency: eur })
        );
    }

    #[test]
    fn currencies_do_not_mix_and_sums_do_not_wrap() {
        let (eur, usd) = (currency("EUR"), currency("USD"));
        let one = Money::new(1, eur);
        assert_eq!(one.checked_add(Money::new(2, eur)), Ok(Money::new(3, eur)));
        assert_eq!(one.checked_sub(Money::new(2, eur)), Ok(Money::new(-1, eur)));
        assert_eq!(one.checked_add(Money::new(1, usd)), Err(Error::Currencies(eur, usd)));
        assert_eq!(one.checked_sub(Money::new(1, usd)), Err(Error::Currencies(eur, usd)));
        assert_eq!(one.checked_add(Money::new(i64::MAX, eur)), Err(Error::OutOfRange));
        assert_eq!(Money::sum(eur, [one, one, one]), Ok(Money::new(3, eur)));
    }

    #[test]
    fn half_a_cent_goes_away_from_zero_once() {
        let eur = currency("EUR");
        for (n, d, minor) in [
            (1, 200, 1),                     // 0.005
            (-1, 200, -1),                   // -0.005
            (49_999, 10_000_000, 0),         // 0.0049999
            (5, 1000, 1),                    // 0.005, not reduced
            (1, 3, 33),                      // 0.333...
            (2, 3, 67),                      // 0.666...
            (100_499_999, 100_000_000, 100), // 1.00499999
            (1005, 1000, 101),               // 1.005, which binary floating point rounds down
            (0, 7, 0),
        ] {
            assert_eq!(Money::round(&ratio(n, d), eur), Ok(Money::new(minor, eur)), "{n}/{d}");
        }
        assert_eq!(Money::round(&ratio(5, 2), currency("JPY")), Ok(Money::new(3, currency("JPY"))));
        assert_eq!(Money::round(&Exact::whole(i64::MAX), eur), Err(Error::OutOfRange));
    }

    #[test]
    fn exact_numbers_compare_and_calculate() {
        assert_eq!(ratio(1, 3).plus(&ratio(1, 6)), ratio(1, 2));
        assert_eq!(ratio(1, 3).minus(&ratio(1, 2)), ratio(-1, 6));
        assert_eq!(ratio(2, 3).times(&ratio(3, 4)), ratio(1, 2));
        assert_eq!(ratio(1, 2).over(3), ratio(1, 6));
        assert_eq!(ratio(1, 2).divided_by(&ratio(2, 3)), Some(ratio(3, 4)));
        assert_eq!(ratio(1, 2).divided_by(&Exact::zero()), None);
        assert_eq!(ratio(1, 2).least(ratio(1, 3)), ratio(1, 3));
        assert!(ratio(1, 3) > ratio(333_333_333, 1_000_000_000));
        assert!(ratio(1, 9).is_positive() && !Exact::zero().is_positive() && !ratio(-1, 9).is_positive());
        assert_eq!(Money::new(150, currency("EUR")).exact(), ratio(3, 2));
    }

    #[test]
    fn whole_numbers_are_reached_from_below() {
        for (n, d, up) in [(0, 3, 0), (1, 3, 1), (3, 3, 1), (4, 3, 2), (6, 3, 2), (-1, 3, 0), (-4, 3, -1)] {
            assert_eq!(ratio(n, d).rounded_up(), BigInt::from(up), "{n}/{d}");
            assert_eq!(ratio(-n, d).rounded_down(), BigInt::from(-up), "{n}/{d}");
        }
    }

    #[test]
    fn decimal_strings_are_short_and_rounded_half_up() {
        for (n, d, places, text) in [
            (9_200_123_456_789, 1_000_000_000, 9, "9200.123456789"),
            (1, 3, 6, "0.333333"),
            (2, 3, 6, "0.666667"),
            (5, 2, 9, "2.5"),
            (500, 1, 9, "500"),
            (500, 1, 0, "500"),
            (0, 1, 9, "0"),
            (-1, 8, 2, "-0.13"),
        ] {
            assert_eq!(ratio(n, d).to_decimal_string(places), text);
        }
    }
}
