//! `[[band]]` and `[holidays]`: every five minutes of every kind of day belong to exactly one band.

use core::ops::Range;

use jiff::civil::Date;
use toml::de::DeValue;

use super::section::{Problems, Section, Value, expected};
use super::word;
use crate::rate::band::{Bands, CELLS, DAY_KINDS, DAY_NAMES, HOLIDAY, Holidays};

/// Most bands of a tariff.
const BANDS_MAX: usize = 32;

/// What a band claims.
struct Claim {
    name: Option<String>,
    span: Range<usize>,
    otherwise: bool,
    /// `None`: what it says is wrong.
    cells: Option<Vec<bool>>,
}

/// The bands, and their names as far as they can be read; the first is `None` where something is wrong with them.
pub(super) fn read_bands(
    root: &Section<'_>,
    problems: &mut Problems,
) -> (Option<Bands>, Vec<Option<String>>) {
    let before = problems.0.len();
    let holidays = read_holidays(root, problems);
    let sections = root.tables("band", "[[band]]", problems);
    if sections.is_empty() {
        if let Some(value) = root.get("holidays") {
            problems.add(value.span(), "[holidays] without a [[band]] changes nothing", "");
        }
        let bands = (problems.0.len() == before).then(Bands::default);
        return (bands, vec![Some(String::new())]);
    }
    if let Some(many) = sections.get(BANDS_MAX) {
        problems.add(many.span.clone(), format!("a tariff has at most {BANDS_MAX} bands"), "");
    }
    let mut claims: Vec<Claim> = Vec::new();
    for section in &sections {
        let claim = read_band(section, root.get("holidays").is_some(), problems);
        if claim.name.is_some() && claims.iter().any(|other| other.name == claim.name) {
            let message = format!("band `{}` is there twice", claim.name.as_deref().unwrap_or_default());
            problems.add(section.span.clone(), message, "");
        }
        claims.push(claim);
    }
    let names: Vec<Option<String>> = claims.iter().map(|claim| claim.name.clone()).collect();
    if problems.0.len() > before {
        return (None, names);
    }
    let cells = assign(&claims, problems);
    let all: Option<Vec<String>> = names.iter().cloned().collect();
    let bands = all.zip(cells).map(|(all, cells)| Bands::new(all, cells, holidays));
    (bands, names)
}

/// The band of each cell. Notes cells of two bands, and cells of none.
fn assign(claims: &[Claim], problems: &mut Problems) -> Option<Vec<u8>> {
    let before = problems.0.len();
    let mut cells: Vec<Option<usize>> = vec![None; DAY_KINDS * CELLS];
    for (at, claim) in claims.iter().enumerate() {
        let Some(own) = &claim.cells else { continue };
        let taken: Vec<(usize, usize)> = (0..cells.len())
            .filter(|&cell| own[cell])
            .filter_map(|cell| Some((cell, cells[cell]?)))
            .collect();
        if let Some(&(cell, other)) = taken.first() {
            let message = format!(
                "bands `{}` and `{}` both have {} ({} of the week's five minutes)",
                claims[other].name.as_deref().unwrap_or_default(),
                claim.name.as_deref().unwrap_or_default(),
                cell_name(cell),
                taken.len()
            );
            problems.add(claim.span.clone(), message, "each five minutes belong to one band");
        }
        for cell in (0..own.len()).filter(|&cell| own[cell]) {
            cells[cell].get_or_insert(at);
        }
    }
    let mut others = (0..claims.len()).filter(|&at| claims[at].otherwise);
    let otherwise = others.next();
    for second in others {
        problems.add(claims[second].span.clone(), "only one band can be `otherwise`", "");
    }
    let free: Vec<usize> = (0..cells.len()).filter(|&cell| cells[cell].is_none()).collect();
    match (otherwise, free.first()) {
        (None, Some(&cell)) => {
            let message =
                format!("no band has {} ({} of the week's five minutes)", cell_name(cell), free.len());
            let span = claims.last().map_or(0..0, |claim| claim.span.clone());
            problems.add(span, message, "add a band with `otherwise = true`");
        }
        (Some(at), None) => {
            let message = "the other bands have every hour, so that this one is never reached";
            problems.add(claims[at].span.clone(), message, "");
        }
        _ => {}
    }
    if problems.0.len() > before {
        return None;
    }
    cells.into_iter().map(|cell| u8::try_from(cell.or(otherwise)?).ok()).collect()
}

/// `mon 08:00`.
fn cell_name(cell: usize) -> String {
    let minutes = cell % CELLS * 5;
    format!("{} {:02}:{:02}", DAY_NAMES[cell / CELLS], minutes / 60, minutes % 60)
}

fn read_band(section: &Section<'_>, has_holidays: bool, problems: &mut Problems) -> Claim {
    section.only(&["name", "days", "hours", "otherwise"], problems);
    let name = section.need_text("name", problems).and_then(|found| word(found, "name", problems));
    let otherwise = match section.get("otherwise").map(|value| (value, value.get_ref())) {
        None => false,
        Some((_, DeValue::Boolean(otherwise))) => *otherwise,
        Some((value, other)) => {
            expected("otherwise", "true", other, value.span(), problems);
            true
        }
    };
    let mut claim = Claim { name, span: section.span.clone(), otherwise, cells: None };
    if otherwise {
        for key in ["days", "hours"] {
            if let Some(value) = section.get(key) {
                problems.add(value.span(), format!("a band that is `otherwise` has no `{key}`"), "");
            }
        }
        return claim;
    }
    if section.get("days").is_none() && section.get("hours").is_none() {
        let message = "a band needs `days`, `hours` or `otherwise = true`";
        problems.add(section.span.clone(), message, "");
        return claim;
    }
    let days = read_days(section, has_holidays, problems);
    let hours = read_hours(section, problems);
    if let Some((days, hours)) = days.zip(hours) {
        let mut cells = vec![false; DAY_KINDS * CELLS];
        for day in (0..DAY_KINDS).filter(|&day| days[day]) {
            for &(from, to) in &hours {
                cells[day * CELLS + from..day * CELLS + to].fill(true);
            }
        }
        claim.cells = Some(cells);
    }
    claim
}

/// Which kinds of days; all where nothing is said.
fn read_days(
    section: &Section<'_>,
    has_holidays: bool,
    problems: &mut Problems,
) -> Option<[bool; DAY_KINDS]> {
    if section.get("days").is_none() {
        return Some([true; DAY_KINDS]);
    }
    let (mut days, mut right) = ([false; DAY_KINDS], true);
    for (text, span) in section.texts("days", problems) {
        let number = |name: &str| DAY_NAMES.iter().position(|&known| known == name);
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let Some((first, last)) = number(first).zip(number(last)) else {
            let label = "expected mon, tue, wed, thu, fri, sat, sun, holiday, or a range such as mon-fri";
            problems.add(span, format!("`{text}` are no days"), label);
            right = false;
            continue;
        };
        if first == HOLIDAY || last == HOLIDAY {
            if first != last {
                problems.add(span, "a range of days cannot have `holiday`", "");
                right = false;
                continue;
            }
            if !has_holidays {
                problems.add(span, "there is no [holidays] that says when they are", "");
                right = false;
            }
            days[HOLIDAY] = true;
            continue;
        }
        let mut day = first;
        days[day] = true;
        while day != last {
            day = (day + 1) % 7;
            days[day] = true;
        }
    }
    right.then_some(days)
}

/// Cells of a day, half-open; the whole day where nothing is said.
fn read_hours(section: &Section<'_>, problems: &mut Problems) -> Option<Vec<(usize, usize)>> {
    if section.get("hours").is_none() {
        return Some(vec![(0, CELLS)]);
    }
    let (mut hours, mut right) = (Vec::new(), true);
    for (text, span) in section.texts("hours", problems) {
        let parts = text.split_once('-').and_then(|(from, to)| minutes(from).zip(minutes(to)));
        match parts {
            None => {
                problems.add(
                    span,
                    format!("`{text}` are no hours"),
                    "expected HH:MM-HH:MM, such as 08:00-20:00",
                );
                right = false;
            }
            Some((from, to)) if from % 5 != 0 || to % 5 != 0 => {
                let message = "hours begin and end at multiples of five minutes, where buckets do";
                problems.add(span, message, "");
                right = false;
            }
            Some((from, to)) if from >= to => {
                let message =
                    "hours end after they begin; over midnight, write two: \"22:00-24:00\", \"00:00-06:00\"";
                problems.add(span, message, "");
                right = false;
            }
            Some((from, to)) => hours.push((from / 5, to / 5)),
        }
    }
    right.then_some(hours)
}

/// `HH:MM`, up to `24:00`.
fn minutes(text: &str) -> Option<usize> {
    let (hour, minute) = text.split_once(':')?;
    let number = |part: &str| {
        (part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit())).then(|| part.parse::<usize>().ok())?
    };
    let (hour, minute) = (number(hour)?, number(minute)?);
    let minutes = hour * 60 + minute;
    (minute < 60 && minutes <= 24 * 60).then_some(minutes)
}

fn read_holidays(root: &Section<'_>, problems: &mut Problems) -> Holidays {
    let mut holidays = Holidays::default();
    let Some(section) = root.get("holidays").and_then(|value| Section::of(value, "[holidays]", problems))
    else {
        return holidays;
    };
    section.only(&["dates"], problems);
    let Some(dates) = section.need("dates", problems) else { return holidays };
    let Some(array) = dates.get_ref().as_array() else {
        expected("dates", "an array of dates", dates.get_ref(), dates.span(), problems);
        return holidays;
    };
    for item in array.iter() {
        if !read_holiday(item, &mut holidays) {
            let label = "expected \"MM-DD\" (every year) or YYYY-MM-DD";
            problems.add(item.span(), "this is not a date", label);
        }
    }
    holidays
}

fn read_holiday(item: &Value<'_>, holidays: &mut Holidays) -> bool {
    let written = match item.get_ref() {
        DeValue::String(text) => text.to_string(),
        DeValue::Datetime(date) => date.to_string(),
        _ => return false,
    };
    if let Some((month, day)) = written.split_once('-').filter(|_| written.len() == 5) {
        // In a leap year, so that there is a 29th of February.
        let date = format!("2024-{month}-{day}").parse::<Date>();
        return date.is_ok_and(|date| {
            holidays.yearly.push((date.month(), date.day()));
            true
        });
    }
    let date = (written.len() == 10).then(|| written.parse::<Date>().ok()).flatten();
    holidays.dates.extend(date);
    date.is_some()
}
