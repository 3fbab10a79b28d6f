//! The logic of `fluxoscope tariff ...`, on plain data: reading tariff files, what an activation does, rows to print.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::diagnostic::FileProblems;
use crate::ledger::records::TariffVersion;
use crate::period::{Period, rfc3339};
use crate::rate::parse::parse;
use crate::rate::tariff::Tariff;
use crate::rate::version;
use crate::rate::words;
use crate::units::UnixMillis;

/// Why a tariff file or version is not to be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("cannot read `{path}`")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is no tariff. Exit code 2.
    #[error("{0}")]
    Wrong(FileProblems),
    /// It cannot follow the versions that are active. Exit code 2.
    #[error(transparent)]
    Version(#[from] version::Error),
    /// It would hold in periods that are closed.
    #[error(
        "version {} of tariff `{}`, effective {}, would hold in periods that are closed:\n{}what is closed keeps the version \
         that it was closed with. Give the new one a later date; or activate it with --retroactive, which changes none of \
         these, and rate again what is meant: {}",
        version.version, version.id, version.effective, in_words(touched), way_out(touched)
    )]
    Touches {
        /// The version.
        version: Box<TariffVersion>,
        /// Of whom.
        touched: Vec<Touched>,
    },
    /// A version in the ledger is not understood: a newer program may have activated it.
    #[error("version {version} of tariff `{id}` in the ledger is not understood by this program: {problems}")]
    Stored {
        /// The tariff's id.
        id: String,
        /// The version.
        version: i64,
        /// What is wrong.
        problems: FileProblems,
    },
    /// There is no such tariff in the ledger.
    #[error("there is no active tariff `{0}`")]
    NoTariff(String),
    /// There is no such version of it in the ledger.
    #[error("there is no active version {version} of tariff `{id}`")]
    NoVersion {
        /// The tariff's id.
        id: String,
        /// The version.
        version: i64,
    },
}

/// Reads a tariff file: the tariff, and its text.
///
/// # Errors
/// [`Error::Read`] and [`Error::Wrong`].
pub fn load(path: &Path) -> Result<(Tariff, String), Error> {
    let text =
        std::fs::read_to_string(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
    let tariff = parse(&path.display().to_string(), &text).map_err(Error::Wrong)?;
    Ok((tariff, text))
}

/// `tariff check FILE`: what the file says, in a few lines.
///
/// # Errors
/// As [`load`]; the writer's in a [`std::io::Error`].
pub fn check(path: &Path, out: &mut dyn Write) -> anyhow::Result<Tariff> {
    let (tariff, _) = load(path)?;
    describe(&tariff, out)?;
    Ok(tariff)
}

/// Says what a tariff charges.
///
/// # Errors
/// The writer's.
pub fn describe(tariff: &Tariff, out: &mut dyn Write) -> std::io::Result<()> {
    writeln!(
        out,
        "{} version {}, effective {}, {}, periods from day {} in {}",
        tariff.id,
        tariff.version,
        tariff.effective,
        tariff.currency,
        tariff.anchor.day(),
        tariff.zone.name()
    )?;
    for line in words::clauses(tariff) {
        writeln!(out, "  {line}")?;
    }
    for class in tariff.free_classes() {
        writeln!(out, "  free of charge: {class}")?;
    }
    writeln!(out, "  tax: {} % ({})", tariff.tax.percent, tariff.tax.category)
}

/// The tariffs behind stored versions.
///
/// # Errors
/// [`Error::Stored`].
pub fn understand(versions: &[TariffVersion]) -> Result<Vec<Tariff>, Error> {
    let each = versions.iter().map(|stored| {
        let file = format!("{} version {}", stored.id, stored.version);
        parse(&file, &stored.toml).map_err(|problems| Error::Stored {
            id: stored.id.clone(),
            version: stored.version,
            problems,
        })
    });
    each.collect()
}

/// A customer's period that is closed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Touched {
    /// The period.
    pub period: Period,
    /// The customer.
    pub customer: String,
    /// The number of its invoice that stands, if there is one.
    pub invoice: Option<String>,
}

/// A line a period: who has it closed, and by which invoice.
#[must_use]
pub fn in_words(touched: &[Touched]) -> String {
    /// Customers that are named of a period; of more only the number.
    const NAMES_MAX: usize = 20;
    let mut periods: BTreeMap<Period, Vec<String>> = BTreeMap::new();
    for Touched { period, customer, invoice } in touched {
        let number = invoice.as_ref().map_or_else(|| "closed".to_owned(), Clone::clone);
        periods.entry(*period).or_default().push(format!("`{customer}` ({number})"));
    }
    let line = |(period, names): (Period, Vec<String>)| {
        let more = names.len().saturating_sub(NAMES_MAX);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let shown: Vec<&str> = names.iter().take(NAMES_MAX).map(String::as_str).collect();
        format!("  {period}: {}{more}\n", shown.join(", "))
    };
    periods.into_iter().map(line).collect()
}

/// The command that rates the first of them again.
#[must_use]
pub fn way_out(touched: &[Touched]) -> String {
    let Some(first) = touched.iter().find(|one| one.invoice.is_some()).or_else(|| touched.first()) else {
        return String::new();
    };
    let own = touched.iter().filter(|one| one.customer == first.customer).map(|one| one.period);
    let (from, to) = (own.clone().min().unwrap_or(first.period), own.max().unwrap_or(first.period));
    format!("`fluxoscope rerate --customer '{}' --from {from} --to {to}`", first.customer)
}

/// What an activation comes to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Activation {
    /// To be put into the ledger.
    New(TariffVersion),
    /// Already there, with the same content; by whom and when stays.
    AlreadyActive(TariffVersion),
}

/// `tariff activate FILE`: whether the file may become active beside the `active` versions.
///
/// # Errors
/// As [`load`] and [`understand`]; [`Error::Version`] where it changes or contradicts an active version.
pub fn activation(
    active: &[TariffVersion],
    path: &Path,
    who: &str,
    now: UnixMillis,
) -> Result<Activation, Error> {
    let (tariff, toml) = load(path)?;
    let same_id: Vec<TariffVersion> =
        active.iter().filter(|version| version.id == tariff.id).cloned().collect();
    if version::may_follow(&understand(&same_id)?, &tariff)? {
        return Ok(Activation::New(TariffVersion {
            id: tariff.id,
            version: tariff.version,
            toml,
            sha256: tariff.sha256,
            effective: tariff.effective.to_string(),
            activated_at: now.0,
            activated_by: who.to_owned(),
        }));
    }
    let there = same_id.into_iter().find(|version| version.version == tariff.version);
    let (id, version) = (tariff.id, tariff.version);
    there.map(Activation::AlreadyActive).ok_or(Error::NoVersion { id, version })
}

/// Columns of `tariff list` and `tariff history`.
pub const COLUMNS: [&str; 6] = ["id", "version", "effective", "sha256", "activated_at", "activated_by"];

/// A row a version, by id and version.
#[must_use]
pub fn rows(versions: &[TariffVersion]) -> Vec<[String; 6]> {
    let row = |version: &TariffVersion| {
        [
            version.id.clone(),
            version.version.to_string(),
            version.effective.clone(),
            version.sha256.clone(),
            rfc3339(UnixMillis(version.activated_at)),
            version.activated_by.clone(),
        ]
    };
    let mut sorted: Vec<&TariffVersion> = versions.iter().collect();
    sorted.sort_by(|a, b| (&a.id, a.version).cmp(&(&b.id, b.version)));
    sorted.into_iter().map(row).collect()
}

/// The newest version of each tariff, for `tariff list`.
#[must_use]
pub fn newest(versions: &[TariffVersion]) -> Vec<TariffVersion> {
    let is_newest = |version: &&TariffVersion| {
        !versions.iter().any(|other| other.id == version.id && other.version > version.version)
    };
    versions.iter().filter(is_newest).cloned().collect()
}

/// One version of a tariff: the one asked for, or the newest.
///
/// # Errors
/// [`Error::NoTariff`] and [`Error::NoVersion`].
pub fn find<'a>(
    versions: &'a [TariffVersion],
    id: &str,
    version: Option<i64>,
) -> Result<&'a TariffVersion, Error> {
    let of_id = || versions.iter().filter(|stored| stored.id == id);
    let newest = of_id().max_by_key(|stored| stored.version).ok_or_else(|| Error::NoTariff(id.to_owned()))?;
    match version {
        None => Ok(newest),
        Some(version) => of_id()
            .find(|stored| stored.version == version)
            .ok_or_else(|| Error::NoVersion { id: id.to_owned(), version }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRANSIT: &str = include_str!("../../tariffs/transit-per-gb.toml");

    fn file(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), text).expect("writes");
        file
    }

    fn activate(active: &[TariffVersion], text: &str) -> Result<Activation, Error> {
        activation(active, file(text).path(), "ann", UnixMillis(1_767_225_600_000))
    }

    #[test]
    fn an_activation_keeps_the_file_as_it_was_and_happens_once() {
        let Ok(Activation::New(stored)) = activate(&[], TRANSIT) else { panic!("new") };
        assert_eq!(
            (stored.id.as_str(), stored.version, stored.effective.as_str()),
            ("transit-per-gb", 1, "2026-01-01")
        );
        assert_eq!((stored.toml.as_str(), stored.activated_by.as_str()), (TRANSIT, "ann"));
        assert_eq!(rows(std::slice::from_ref(&stored))[0][4], "2026-01-01T00:00:00Z");
        let again = activate(std::slice::from_ref(&stored), TRANSIT).expect("the same");
        assert_eq!(again, Activation::AlreadyActive(stored.clone()));
        let changed = activate(std::slice::from_ref(&stored), &TRANSIT.replace("0.05", "0.06"));
        assert!(matches!(changed, Err(Error::Version(version::Error::Changed { .. }))));
        let second = TRANSIT.replace("version = 1", "version = 2");
        let Ok(Activation::New(second)) = activate(std::slice::from_ref(&stored), &second) else {
            panic!("new")
        };
        let both = [stored, second];
        assert_eq!(newest(&both), both[1..]);
        assert_eq!(find(&both, "transit-per-gb", None).expect("there").version, 2);
        assert_eq!(find(&both, "transit-per-gb", Some(1)).expect("there").version, 1);
        assert!(matches!(find(&both, "transit-per-gb", Some(3)), Err(Error::NoVersion { .. })));
        assert!(matches!(find(&both, "other", None), Err(Error::NoTariff(_))));
        assert_eq!(understand(&both).expect("understood").len(), 2);
    }

    #[test]
    fn a_wrong_file_shows_its_problems() {
        let Err(Error::Wrong(problems)) = activate(&[], "[tariff]\nid = 1\n") else { panic!("wrong") };
        assert!(problems.problems.len() > 5);
        assert!(matches!(load(Path::new("/nonexistent/t.toml")), Err(Error::Read { .. })));
    }

    #[test]
    fn every_example_passes_its_check() {
        let check = |name: &str| {
            let mut out = Vec::new();
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tariffs").join(name);
            check(&path, &mut out).unwrap_or_else(|error| panic!("{name}: {error}"));
            String::from_utf8(out).expect("UTF-8")
        };
        assert_eq!(
            check("regional-isp.toml"),
            "regional-isp version 1, effective 2026-01-01, EUR, periods from day 1 in Europe/Amsterdam\n  \
             port: 150.00 a period\n  \
             transit: 0.0430 up to 10000 GB then 0.0310 up to 50000 GB then 0.0215 a GB, in and out, of transit\n  \
             free of charge: peering\n  \
             tax: 21 % (S)\n"
        );
        assert!(check("transit-per-gb.toml").contains("  in: 0.05 a GB, in, of all\n"));
        assert!(
            check("research-network.toml")
                .contains("  minimum: 50.00 a period\n  free of charge: research\n")
        );
    }
}
