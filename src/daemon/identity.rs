//! Whose journals they are: each state directory has an identity, which is part of its journals' names in the ledger.
//!
//! A position means something in one journal only. A standby has journals of its own, so what it commits must not move
//! those of the machine that it stands in for: they may hold what was never committed. The identity is a random number
//! in `journal/identity`. It goes where the journals go, so a state directory that moves to another machine goes on.
//!
//! Journals from before there were identities stand in the ledger under their index alone. Their directory goes on where
//! they stand, and only one directory may. Where the ledger knows journals of an identity, journals without one may be
//! those that lost theirs, and beginning with them anew would count all that they hold a second time: they are refused.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use super::Error;
use crate::ids::Position;
use crate::ledger::records::{Source, SourceKind};
use crate::ledger::{self, Ledger};

/// The identity of the journals below one directory.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Identity {
    directory: PathBuf,
    /// Hexadecimal digits.
    id: String,
    /// Journals that were there before the identity was.
    unnamed: Vec<usize>,
}

impl Identity {
    /// Reads the identity of the journals in `directory`, which have these numbers; gives them one where there is none.
    pub(super) fn of(directory: &Path, journals: &[usize]) -> io::Result<Self> {
        let path = directory.join("identity");
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let mut random = [0; 16];
                File::open("/dev/urandom")?.read_exact(&mut random)?;
                let id = u128::from_ne_bytes(random);
                let unnamed: String = journals.iter().map(|index| format!(" {index}")).collect();
                let text = format!("id {id:032x}\nunnamed{unnamed}\n");
                write(directory, &path, &text)?;
                text
            }
            Err(error) => return Err(error),
        };
        Self::parse(directory, &text).ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidData, format!("{} is damaged", path.display()))
        })
    }

    fn parse(directory: &Path, text: &str) -> Option<Self> {
        let (id, unnamed) = text.strip_prefix("id ")?.strip_suffix('\n')?.split_once("\nunnamed")?;
        let is_id = id.len() == 32 && id.bytes().all(|digit| digit.is_ascii_hexdigit());
        let unnamed = unnamed.split_whitespace().map(str::parse).collect::<Result<_, _>>().ok()?;
        is_id.then(|| Self { directory: directory.to_owned(), id: id.to_owned(), unnamed })
    }

    /// The journal with this number, as the ledger knows it.
    pub(super) fn source(&self, ledger: &mut Ledger, index: usize) -> Result<Source, Error> {
        if !self.unnamed.contains(&index) {
            return Ok(ledger.source(SourceKind::Journal, &format!("{}/{index}", self.id))?);
        }
        let unnamed = index.to_string();
        let own = format!("{unnamed}@{}", self.id);
        let sources = ledger.sources()?;
        let mut journals = sources.iter().filter(|source| source.kind == SourceKind::Journal);
        let is_known = journals.clone().any(|source| source.key == unnamed);
        let is_others = |source: &Source| match (source.key.split_once('@'), source.key.split_once('/')) {
            (Some((index, id)), _) => id != self.id && (index == unnamed || !is_known),
            (None, Some((id, _))) => id != self.id && !is_known,
            (None, None) => false,
        };
        if journals.any(is_others) {
            return Err(Error::OthersJournals { path: self.directory.clone() });
        }
        Ok(ledger.source_after(SourceKind::Journal, &own, Some(&unnamed))?)
    }
}

/// Up to where the journals in `directory` are committed, by their numbers; of those that the ledger knows.
///
/// # Errors
/// When the ledger cannot be used.
pub fn committed(directory: &Path, ledger: &mut Ledger) -> Result<HashMap<usize, Position>, ledger::Error> {
    let text = fs::read_to_string(directory.join("identity")).unwrap_or_default();
    let Some(Identity { id, .. }) = Identity::parse(directory, &text) else { return Ok(HashMap::new()) };
    let journals = ledger.sources()?.into_iter().filter(|source| source.kind == SourceKind::Journal);
    let own = journals.filter_map(|source| {
        let index = match (source.key.split_once('@'), source.key.split_once('/')) {
            (Some((index, of)), _) | (None, Some((of, index))) if of == id => index,
            _ => return None,
        };
        Some((index.parse().ok()?, source.position))
    });
    Ok(own.collect())
}

/// The file is whole or not there, whatever happens.
fn write(directory: &Path, path: &Path, text: &str) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut file = File::create(&new)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Url;
    use crate::ledger::records::{Advance, FlushTotals};

    fn ledger(directory: &Path) -> Ledger {
        let url = Url::parse("sqlite:ledger.sqlite", directory).expect("a place");
        Ledger::open(&url).expect("a ledger")
    }

    fn advance(ledger: &mut Ledger, source: &Source, to: u64) {
        let totals = FlushTotals::default();
        let (from, to) = (source.position, Position(to));
        let advances = vec![Advance { source: source.id, from, to, complete: false, totals }];
        let flush = ledger::records::Flush { advances, ..Default::default() };
        ledger.commit_flush(&flush).expect("it stands there");
    }

    #[test]
    fn an_identity_is_given_once() {
        let [one, two] = [(); 2].map(|()| tempfile::tempdir().expect("a directory"));
        let first = Identity::of(one.path(), &[]).expect("written");
        assert_eq!(Identity::of(one.path(), &[0, 1]).expect("read"), first);
        assert_ne!(Identity::of(two.path(), &[]).expect("written").id, first.id);
        fs::write(one.path().join("identity"), "id 12\nunnamed\n").expect("writable");
        assert_eq!(Identity::of(one.path(), &[]).map_err(|e| e.kind()), Err(io::ErrorKind::InvalidData));
    }

    #[test]
    fn journals_of_two_directories_are_apart() {
        let [one, two, place] = [(); 3].map(|()| tempfile::tempdir().expect("a directory"));
        let mut ledger = ledger(place.path());
        let [one, two] = [one, two].map(|at| Identity::of(at.path(), &[]).expect("written"));
        let source = one.source(&mut ledger, 0).expect("new");
        advance(&mut ledger, &source, 100);
        assert_eq!(two.source(&mut ledger, 0).expect("new").position, Position(0));
        assert_eq!(one.source(&mut ledger, 0).expect("known").position, Position(100));
        assert_eq!(one.source(&mut ledger, 1).expect("new").position, Position(0));
    }

    /// A ledger from before there were identities goes on with the first directory that comes, and with no other.
    #[test]
    fn journals_without_an_identity_go_on_in_one_directory() {
        let [one, two, place] = [(); 3].map(|()| tempfile::tempdir().expect("a directory"));
        let mut ledger = ledger(place.path());
        let before = ledger.source(SourceKind::Journal, "0").expect("new");
        advance(&mut ledger, &before, 100);
        let [one, two] = [one, two].map(|at| Identity::of(at.path(), &[0]).expect("written"));
        let after = one.source(&mut ledger, 0).expect("it goes on");
        assert_eq!((after.position, after.id == before.id), (Position(100), false));
        advance(&mut ledger, &after, 250);
        assert_eq!(one.source(&mut ledger, 0).expect("known").position, Position(250));
        assert!(matches!(two.source(&mut ledger, 0), Err(Error::OthersJournals { .. })));
        // What the other one has beside them is new in any case.
        assert_eq!(two.source(&mut ledger, 1).expect("new").position, Position(0));
    }

    /// A directory whose identity is lost must not begin anew with all that its journals hold: that is counted already.
    #[test]
    fn journals_that_lost_their_identity_are_refused() {
        let [one, place] = [(); 2].map(|()| tempfile::tempdir().expect("a directory"));
        let mut ledger = ledger(place.path());
        let before = Identity::of(one.path(), &[]).expect("written");
        let source = before.source(&mut ledger, 0).expect("new");
        advance(&mut ledger, &source, 100);
        fs::remove_file(one.path().join("identity")).expect("it is there");
        let after = Identity::of(one.path(), &[0]).expect("written");
        assert!(matches!(after.source(&mut ledger, 0), Err(Error::OthersJournals { .. })));
        // Also the next time, and also one whose number the ledger has never met.
        let again = Identity::of(one.path(), &[0]).expect("read");
        assert!(matches!(again.source(&mut ledger, 0), Err(Error::OthersJournals { .. })));
        let [two] = [tempfile::tempdir().expect("a directory")];
        let two = Identity::of(two.path(), &[7]).expect("written");
        assert!(matches!(two.source(&mut ledger, 7), Err(Error::OthersJournals { .. })));
        // A ledger that knows no journal takes them from their beginning on.
        let new = tempfile::tempdir().expect("a directory");
        let mut new = self::ledger(new.path());
        assert_eq!(after.source(&mut new, 0).expect("new").position, Position(0));
        assert_eq!(after.source(&mut new, 0).expect("known").position, Position(0));
    }

    /// A directory's own journals and no others, by both forms of their names.
    #[test]
    fn up_to_where_the_journals_of_a_directory_are_committed() {
        let [one, two, place] = [(); 3].map(|()| tempfile::tempdir().expect("a directory"));
        let mut ledger = ledger(place.path());
        assert_eq!(committed(one.path(), &mut ledger).expect("read"), HashMap::new());
        let before = ledger.source(SourceKind::Journal, "0").expect("new");
        advance(&mut ledger, &before, 70);
        let own = Identity::of(one.path(), &[0]).expect("written");
        for (index, to) in [(0, 100), (1, 30)] {
            let source = own.source(&mut ledger, index).expect("it goes on");
            advance(&mut ledger, &source, to);
        }
        let other = Identity::of(two.path(), &[]).expect("written");
        let source = other.source(&mut ledger, 1).expect("new");
        advance(&mut ledger, &source, 900);
        ledger.source(SourceKind::Capture, &format!("{}/2", own.id)).expect("new");
        let own = HashMap::from([(0, Position(100)), (1, Position(30))]);
        assert_eq!(committed(one.path(), &mut ledger).expect("read"), own);
        assert_eq!(committed(two.path(), &mut ledger).expect("read"), HashMap::from([(1, Position(900))]));
    }
}
