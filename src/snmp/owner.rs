//! Whose the files of SNMP are: those of whom the state directory is, whoever makes them.
//!
//! The daemon runs as a user of its own, and root adds SNMP users. What root makes or replaces is given to the owner of the
//! directory that it lies in, or the daemon could not read the keys any more. Given away is only what was made just now
//! and is held open: a name might mean another file by then.

use std::fs::{self, File, Metadata};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, fchown};
use std::path::Path;

/// Gives the open file that was just made at `path` the owner and group of `directory`. Nothing is done where it has that
/// owner already: groups then are what the directory says of new files.
///
/// # Errors
/// Where that is not permitted; the message says what to do.
pub(super) fn give(file: &File, path: &Path, directory: &Path) -> io::Result<()> {
    let (made, wanted) = (file.metadata()?, fs::metadata(directory)?);
    if made.uid() == wanted.uid() {
        return Ok(());
    }
    fchown(file, Some(wanted.uid()), Some(wanted.gid())).map_err(|error| {
        let problem = format!(
            "{} cannot be given to the user {}, whose {} is: {error}; do this as that user",
            path.display(),
            wanted.uid(),
            directory.display()
        );
        io::Error::new(error.kind(), problem)
    })
}

/// Gives the directory that was just made at `path` the owner and group of `parent`; where that cannot be, it is removed.
///
/// # Errors
/// As [`give`].
pub(super) fn give_directory(path: &Path, parent: &Path) -> io::Result<()> {
    let given = fs::OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_DIRECTORY)
        .open(path)
        .and_then(|made| give(&made, path, parent));
    if given.is_err() {
        // It is empty; if not, somebody uses it.
        let _ = fs::remove_dir(path);
    }
    given
}

/// Whether a file is of the user of this process, or of root, who may everything. Root takes everybody's.
///
/// # Errors
/// Where it is not.
pub(super) fn check(state_dir: &Path, path: &Path, found: &Metadata) -> io::Result<()> {
    let Some(own) = own() else { return Ok(()) };
    if [own, 0].contains(&found.uid()) || own == 0 {
        return Ok(());
    }
    let why = whose(state_dir, path).unwrap_or_else(|| "it belongs to another user".to_owned());
    Err(io::Error::new(ErrorKind::PermissionDenied, format!("{}: {why}", path.display())))
}

/// The error of something at `path` that cannot be opened or made: where permissions are missing, with whose it is and what
/// to do.
pub(super) fn explained(state_dir: &Path, path: &Path, error: io::Error) -> io::Error {
    match whose(state_dir, path) {
        Some(whose) if error.kind() == ErrorKind::PermissionDenied => {
            io::Error::new(error.kind(), format!("{}: {error}; {whose}", path.display()))
        }
        _ => error,
    }
}

/// Whose `path` is, or what it lies in where it cannot be seen, and what to do about it.
fn whose(state_dir: &Path, path: &Path) -> Option<String> {
    let seen = |path: &Path| fs::symlink_metadata(path).ok().map(|found| (path.to_owned(), found));
    let (shown, found) = path.ancestors().find_map(seen)?;
    let state = fs::metadata(state_dir).ok()?;
    let (shown, owner) = (shown.display(), found.uid());
    let runs = own().map_or_else(String::new, |own| format!(", and this runs as user {own}"));
    // Users by number: a name may be missing, and chown takes both.
    Some(if owner == state.uid() {
        format!("{shown} belongs to user {owner}{runs}: do this as user {owner}, or as root")
    } else {
        format!(
            "{shown} belongs to user {owner}{runs}: as root, `chown -R {}:{} {}`",
            state.uid(),
            state.gid(),
            state_dir.join(super::engine::DIRECTORY).display()
        )
    })
}

/// What of `snmp/` is not of the owner of the state directory, and what to do: a daemon that runs as that owner cannot use
/// it. `None` where all is well, or nothing can be seen.
#[must_use]
pub fn misplaced(state_dir: &Path) -> Option<String> {
    let directory = state_dir.join(super::engine::DIRECTORY);
    let wanted = fs::metadata(state_dir).ok()?.uid();
    let all = ["engine", "users", "lock"].map(|name| directory.join(name));
    let is_other = |path: &&Path| fs::symlink_metadata(path).is_ok_and(|found| found.uid() != wanted);
    let first =
        core::iter::once(directory.as_path()).chain(all.iter().map(|path| path.as_path())).find(is_other)?;
    whose(state_dir, first)
}

/// Whose this process is: there is no safer way to ask, and no /proc means that nobody knows.
fn own() -> Option<u32> {
    fs::metadata("/proc/self").ok().map(|process| process.uid())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, chown};

    use super::*;
    use crate::snmp::{Authentication, Users, lock};

    /// Of no process here.
    const NOBODY: u32 = 65534;

    /// A state directory and its owner: somebody else's where this runs as root, one's own elsewhere.
    fn state_of_a_service() -> (tempfile::TempDir, u32) {
        let state = tempfile::tempdir().unwrap();
        let own = fs::metadata(state.path()).unwrap().uid();
        let given = chown(state.path(), Some(NOBODY), Some(NOBODY));
        // Root may; where it may not, nothing can be given away, and nothing is to be.
        (state, if given.is_ok() { NOBODY } else { own })
    }

    fn add(state: &Path, name: &str) {
        let _lock = lock(state).unwrap();
        let mut users = Users::open(state).unwrap();
        users.add(name, (Authentication::Sha256, b"long enough"), None).unwrap();
    }

    #[test]
    fn what_root_makes_or_replaces_is_of_the_owner_of_the_state_directory() {
        let (state, owner) = state_of_a_service();
        add(state.path(), "first");
        let made = |name: &str| fs::symlink_metadata(state.path().join(name)).unwrap();
        let all = ["snmp", "snmp/engine", "snmp/users", "snmp/lock"];
        assert_eq!(all.map(|name| made(name).uid()), [owner; 4]);
        let group = fs::metadata(state.path()).unwrap().gid();
        assert_eq!(all.map(|name| made(name).gid()), [group; 4]);
        assert_eq!(made("snmp/users").permissions().mode() & 0o777, 0o600);
        // It is replaced, and another file by then.
        let before = made("snmp/users").ino();
        fs::hard_link(state.path().join("snmp/users"), state.path().join("kept")).unwrap();
        add(state.path(), "second");
        assert_ne!(made("snmp/users").ino(), before);
        assert_eq!(made("snmp/users").uid(), owner);
        assert_eq!(Users::names(state.path()).unwrap(), ["first", "second"]);
        assert_eq!(misplaced(state.path()), None);
    }

    #[test]
    fn a_lock_that_was_there_is_not_given_away() {
        let (state, owner) = state_of_a_service();
        Users::open(state.path()).unwrap();
        let other = tempfile::NamedTempFile::new_in(state.path()).unwrap();
        let its_owner = other.as_file().metadata().unwrap().uid();
        fs::hard_link(other.path(), state.path().join("snmp/lock")).unwrap();
        drop(lock(state.path()).unwrap());
        assert_eq!(other.as_file().metadata().unwrap().uid(), its_owner);
        assert_eq!(fs::metadata(state.path().join("snmp")).unwrap().uid(), owner);
    }

    #[test]
    fn what_cannot_be_opened_says_whose_it_is_and_what_to_do() {
        let (state, owner) = state_of_a_service();
        let snmp = state.path().join("snmp");
        fs::create_dir(&snmp).unwrap();
        let own = fs::metadata(&snmp).unwrap().uid();
        assert_eq!(misplaced(state.path()).is_some(), owner != own);
        // There is no such file: what it lies in is told.
        let users = snmp.join("users");
        let error = explained(state.path(), &users, io::Error::from(ErrorKind::PermissionDenied));
        assert_eq!(error.kind(), ErrorKind::PermissionDenied);
        let begins =
            format!("{}: permission denied; {} belongs to user {own}, ", users.display(), snmp.display());
        let ends = if owner == own {
            format!(": do this as user {own}, or as root")
        } else {
            format!(": as root, `chown -R {NOBODY}:{NOBODY} {}`", snmp.display())
        };
        let text = error.to_string();
        assert!(text.starts_with(&begins) && text.ends_with(&ends), "{text}");
        // What is not about permissions stays as it is.
        let other = explained(state.path(), &users, io::Error::from(ErrorKind::NotFound));
        assert_eq!(other.to_string(), io::Error::from(ErrorKind::NotFound).to_string());
    }
}
