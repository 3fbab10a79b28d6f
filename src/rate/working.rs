//! The working behind a line: every number that leads to its amount, step by step.
//!
//! Rating takes its numbers out of these steps: a step is written down and evaluated in one go, so that what is shown
//! is what was charged, and not a second calculation beside it. Values are exact; only print rounds them.

use core::fmt;
use std::borrow::Cow;

use crate::money::{Exact, Money};

/// Digits after the point of numbers in print, at most; what has more ends in `...`.
const PLACES: u32 = 12;

/// How a step comes to its value.
#[derive(Clone, Debug, PartialEq)]
pub enum How {
    /// It is as usage, the tariff or the calendar has it.
    Given(Exact),
    /// The product.
    Times(Vec<Exact>),
    /// The quotient; 0 of nothing.
    Over(Exact, Exact),
    /// The difference.
    Minus(Exact, Exact),
    /// The sum.
    Sum(Vec<Exact>),
    /// The smaller of the two.
    Least(Exact, Exact),
    /// The greater of the two.
    Greatest(Exact, Exact),
    /// The next whole number that is not below it.
    Up(Exact),
    /// Rounded half up to the currency's minor unit: the amount that it came to.
    Money(Exact, Money),
}

impl How {
    /// What it comes to.
    #[must_use]
    pub fn value(&self) -> Exact {
        match self {
            Self::Given(value) => value.clone(),
            Self::Times(factors) => factors.iter().fold(Exact::whole(1), |product, one| product.times(one)),
            Self::Over(of, by) => of.divided_by(by).unwrap_or_else(Exact::zero),
            Self::Minus(from, less) => from.minus(less),
            Self::Sum(parts) => parts.iter().fold(Exact::zero(), |sum, one| sum.plus(one)),
            Self::Least(one, other) => one.clone().least(other.clone()),
            Self::Greatest(one, other) if one < other => other.clone(),
            Self::Greatest(one, _) => one.clone(),
            Self::Up(of) => Exact::whole(of.rounded_up()),
            Self::Money(_, amount) => amount.exact(),
        }
    }
}

impl fmt::Display for How {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let joined = |numbers: &[Exact], by: &str| numbers.iter().map(shown).collect::<Vec<_>>().join(by);
        match self {
            Self::Given(_) => Ok(()),
            Self::Times(factors) => f.write_str(&joined(factors, " x ")),
            Self::Over(of, by) => write!(f, "{} / {}", shown(of), shown(by)),
            Self::Minus(from, less) => write!(f, "{} - {}", shown(from), shown(less)),
            Self::Sum(parts) if parts.is_empty() => f.write_str("nothing"),
            Self::Sum(parts) => f.write_str(&joined(parts, " + ")),
            Self::Least(one, other) => write!(f, "the smaller of {} and {}", shown(one), shown(other)),
            Self::Greatest(one, other) => write!(f, "the greater of {} and {}", shown(one), shown(other)),
            Self::Up(of) => write!(f, "{} rounded up", shown(of)),
            Self::Money(of, _) => write!(f, "{} rounded half up", shown(of)),
        }
    }
}

/// A step.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// What is worked out.
    pub what: Cow<'static, str>,
    /// From what.
    pub how: How,
    /// The unit of its value; may be empty.
    pub unit: Cow<'static, str>,
}

impl Step {
    /// Its value, as it is printed.
    #[must_use]
    pub fn shown(&self) -> String {
        match &self.how {
            How::Money(_, amount) => amount.to_string(),
            how => shown(&how.value()),
        }
    }
}

/// `what: from what = value unit`.
impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.what)?;
        if !matches!(self.how, How::Given(_)) {
            write!(f, "{} = ", self.how)?;
        }
        write!(f, "{}", self.shown())?;
        if self.unit.is_empty() { Ok(()) } else { write!(f, " {}", self.unit) }
    }
}

/// A number in print.
fn shown(number: &Exact) -> String {
    let text = number.to_decimal_string(PLACES);
    let is_all = crate::money::parse_decimal(&text).is_none_or(|read| Exact::from(read) == *number);
    if is_all { text } else { text + "..." }
}

/// The steps, in their order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Working {
    steps: Vec<Step>,
}

impl Working {
    /// The steps.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Writes a step down; its value.
    pub fn step(
        &mut self,
        what: impl Into<Cow<'static, str>>,
        how: How,
        unit: impl Into<Cow<'static, str>>,
    ) -> Exact {
        let value = how.value();
        self.steps.push(Step { what: what.into(), how, unit: unit.into() });
        value
    }

    /// Writes down what an exact number of money came to when it was rounded.
    pub fn money(&mut self, what: impl Into<Cow<'static, str>>, of: Exact, amount: Money) {
        self.step(what, How::Money(of, amount), amount.currency().code());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::money::Currency;

    #[test]
    fn steps_in_print() {
        let (five, third) = (Exact::whole(5), Exact::whole(1).over(3));
        let eur = Currency::from_code("EUR").expect("a currency");
        let said = |how: How, unit: &'static str| {
            let mut working = Working::default();
            working.step("x", how, unit);
            working.steps()[0].to_string()
        };
        assert_eq!(said(How::Given(five.clone()), "GB"), "x: 5 GB");
        let times = How::Times(vec![five.clone(), third.clone()]);
        assert_eq!(said(times, "GB"), "x: 5 x 0.333333333333... = 1.666666666667... GB");
        assert_eq!(said(How::Over(five.clone(), Exact::zero()), ""), "x: 5 / 0 = 0");
        assert_eq!(said(How::Minus(Exact::zero(), five.clone()), ""), "x: 0 - 5 = -5");
        assert_eq!(said(How::Up(third.clone()), ""), "x: 0.333333333333... rounded up = 1");
        assert_eq!(said(How::Sum(vec![]), ""), "x: nothing = 0");
        let least = How::Least(five.clone(), third.clone());
        assert_eq!(said(least, ""), "x: the smaller of 5 and 0.333333333333... = 0.333333333333...");
        assert_eq!(said(How::Greatest(third, five), ""), "x: the greater of 0.333333333333... and 5 = 5");
        let money = How::Money(Exact::whole(1).over(8), Money::new(13, eur));
        assert_eq!(said(money, "EUR"), "x: 0.125 rounded half up = 0.13 EUR");
    }
}
