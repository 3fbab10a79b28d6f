//! The SNMP engine: who answers (snmpEngineID), how often it has started (snmpEngineBoots), for how long it runs, and
//! the salts of what it encrypts (RFC 3411, 5; RFC 3414, 2.2; RFC 3826, 3.1.2.1).
//!
//! Identifier and boots are in the file `snmp/engine` of the state directory. Boots count up with each start and are on
//! disk before the engine says anything: two starts with the same number would let old messages be replayed, and let
//! initialization vectors repeat. A damaged file is an error and never replaced: with a fresh identifier all keys
//! would be worthless, with boots from 1 old messages would pass.

use core::time::Duration;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use tracing::error;

use super::owner;

/// Where a state directory keeps what belongs to SNMP.
pub(super) const DIRECTORY: &str = "snmp";

/// The enterprise that allotted the identifier; see `objects::ROOT`.
const ENTERPRISE: u32 = 32473;

/// Boots stay at this number, and nothing authenticated passes any more (RFC 3414, 2.2.3).
pub(super) const BOOTS_MAX: u32 = i32::MAX as u32;

/// The engine of an agent.
#[derive(Debug)]
pub(super) struct Engine {
    id: Vec<u8>,
    boots: u32,
    salt: u64,
}

impl Engine {
    /// The engine of a state directory, which has started once more: boots are written before this returns.
    ///
    /// # Errors
    /// Where the file cannot be read or written, or is damaged.
    pub(super) fn start(state_dir: &Path) -> io::Result<Self> {
        let file = EngineFile::open_or_create(state_dir)?;
        let boots = file.boots.saturating_add(1).min(BOOTS_MAX);
        if boots == BOOTS_MAX {
            error!(
                "The SNMP engine has started as often as can be counted: nothing authenticated is taken any more (RFC \
                 3414, 2.2.3). Remove `snmp/engine` and `snmp/users` of the state directory, and add the users again."
            );
        }
        EngineFile { boots, ..file.clone() }.write()?;
        Ok(Self::new(file.id, boots))
    }

    /// An engine that nothing is kept of: it has an identifier of its own each time.
    pub(super) fn ephemeral() -> io::Result<Self> {
        Ok(Self::new(random_id()?, 1))
    }

    pub(super) fn new(id: Vec<u8>, boots: u32) -> Self {
        // As DES wants it (RFC 3414, 8.1.1.1): boots, then a count. 2^32 messages at 1000 a second are fifty days; what is
        // more takes salts of the next start, which does AES no harm: its vectors have boots and time as well.
        Self { id, boots, salt: u64::from(boots) << 32 }
    }

    pub(super) fn id(&self) -> &[u8] {
        &self.id
    }

    /// snmpEngineBoots and snmpEngineTime. Time begins anew, and boots go up, every 68 years.
    pub(super) fn clock(&self, uptime: Duration) -> (u32, u32) {
        let rounds = uptime.as_secs() >> 31;
        let boots = u32::try_from(rounds).ok().and_then(|rounds| self.boots.checked_add(rounds));
        let time = u32::try_from(uptime.as_secs() & u64::from(BOOTS_MAX)).expect("31 bits");
        (boots.unwrap_or(BOOTS_MAX).min(BOOTS_MAX), time)
    }

    /// A salt that was never used before by this engine.
    pub(super) fn next_salt(&mut self) -> [u8; 8] {
        self.salt = self.salt.wrapping_add(1);
        self.salt.to_be_bytes()
    }
}

/// The identifier of a state directory's engine, which is given one where it has none. The number of starts stays.
///
/// # Errors
/// Where the file cannot be read or written, or is damaged.
pub(super) fn identifier(state_dir: &Path) -> io::Result<Vec<u8>> {
    Ok(EngineFile::open_or_create(state_dir)?.id)
}

/// What the file says.
#[derive(Clone, Debug, Eq, PartialEq)]
struct EngineFile {
    path: PathBuf,
    id: Vec<u8>,
    boots: u32,
}

impl EngineFile {
    fn open_or_create(state_dir: &Path) -> io::Result<Self> {
        let path = directory(state_dir)?.join("engine");
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let file = Self { path, id: random_id()?, boots: 0 };
                file.write()?;
                return Ok(file);
            }
            Err(error) => return Err(owner::explained(state_dir, &path, error)),
        };
        Self::parse(path, &text).ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidData, format!("`{DIRECTORY}/engine` is damaged"))
        })
    }

    fn parse(path: PathBuf, text: &str) -> Option<Self> {
        let (id, boots) = text.strip_prefix("id ")?.strip_suffix('\n')?.split_once("\nboots ")?;
        let id = from_hex(id).filter(|id| (5..=32).contains(&id.len()))?;
        let boots = boots.parse().ok().filter(|&boots| boots <= BOOTS_MAX)?;
        Some(Self { path, id, boots })
    }

    fn write(&self) -> io::Result<()> {
        replace(&self.path, &format!("id {}\nboots {}\n", to_hex(&self.id), self.boots))
    }
}

/// The directory of everything here, which only its owner may look into. One that others may write to is refused: they
/// could put a key of theirs, or an older number of starts, in the place of ours. One that is made here is of the owner of
/// the state directory.
///
/// # Errors
/// Where it cannot be made, is none, or is not ours alone.
pub(super) fn directory(state_dir: &Path) -> io::Result<PathBuf> {
    use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
    let path = state_dir.join(DIRECTORY);
    match fs::DirBuilder::new().mode(0o700).create(&path) {
        Ok(()) => owner::give_directory(&path, state_dir)?,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(owner::explained(state_dir, &path, error)),
    }
    // Not through a link: it would be somebody else's directory.
    let found = fs::symlink_metadata(&path).map_err(|error| owner::explained(state_dir, &path, error))?;
    if !found.is_dir() {
        return Err(refused(&path, "is no directory"));
    }
    if found.permissions().mode() & 0o022 != 0 {
        return Err(refused(&path, "others may write to it; look at what is in it, and chmod 700"));
    }
    owner::check(state_dir, &path, &found)?;
    Ok(path)
}

fn refused(path: &Path, why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, format!("{}: {why}", path.display()))
}

/// Puts `text` into a file of [`directory`] that only its owner may read, who is that of the directory. It is whole or as
/// before, and on disk when this returns.
pub(super) fn replace(path: &Path, text: &str) -> io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let directory = path.parent().unwrap_or_else(|| Path::new("."));
    let state_dir = directory.parent().unwrap_or(directory);
    let new = path.with_extension("new");
    // What a crash left may have other permissions.
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(owner::explained(state_dir, &new, error));
        }
        _ => {}
    }
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&new)
        .map_err(|error| owner::explained(state_dir, &new, error))?;
    // Before anything is in it, and before it has its name: the daemon never sees one that it may not read.
    if let Err(error) = owner::give(&file, &new, directory) {
        let _ = fs::remove_file(&new);
        return Err(error);
    }
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    File::open(directory)?.sync_all()
}

/// RFC 3411, SnmpEngineID: the enterprise with the first bit set, format 5 ("octets, administratively assigned"), and
/// random octets, so that engines never share one.
fn random_id() -> io::Result<Vec<u8>> {
    let mut id = (ENTERPRISE | 1 << 31).to_be_bytes().to_vec();
    id.push(5);
    id.resize(17, 0);
    File::open("/dev/urandom")?.read_exact(&mut id[5..])?;
    Ok(id)
}

pub(super) fn to_hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

pub(super) fn from_hex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn each_start_counts_and_the_identifier_stays() {
        let directory = tempfile::tempdir().unwrap();
        let given = identifier(directory.path()).unwrap();
        assert_eq!((given.len(), &given[..5]), (17, &[0x80, 0, 0x7e, 0xd9, 5][..]));
        for boots in 1..4 {
            let engine = Engine::start(directory.path()).unwrap();
            assert_eq!((engine.id(), engine.boots), (&given[..], boots));
            // On disk already, not only when it ends.
            let text = fs::read_to_string(directory.path().join("snmp/engine")).unwrap();
            assert_eq!(text, format!("id {}\nboots {boots}\n", to_hex(&given)));
        }
        let mode = |path: &str| fs::metadata(directory.path().join(path)).unwrap().permissions().mode();
        assert_eq!((mode("snmp") & 0o777, mode("snmp/engine") & 0o777), (0o700, 0o600));
        assert_ne!(Engine::ephemeral().unwrap().id(), &given[..]);
    }

    #[test]
    fn boots_stay_at_their_end_and_damage_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        identifier(directory.path()).unwrap();
        let path = directory.path().join("snmp/engine");
        let put = |text: &str| fs::write(&path, text).unwrap();
        put("id 8000000001\nboots 2147483646\n");
        assert_eq!(Engine::start(directory.path()).unwrap().boots, BOOTS_MAX);
        assert_eq!(Engine::start(directory.path()).unwrap().boots, BOOTS_MAX);
        for text in [
            "",
            "id 8000000001\nboots 2147483648\n",
            "id 80000000\nboots 1\n",
            "id 8000000001\nboots 1",
            "id 800000000g\nboots 1\n",
            "id 8000000001\nboots -1\n",
        ] {
            put(text);
            let error = Engine::start(directory.path()).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{text:?}");
            // Whoever asks says in which directory.
            assert_eq!(error.to_string(), "`snmp/engine` is damaged");
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
    }

    #[test]
    fn salts_are_unique_over_starts_and_time_wraps_into_boots() {
        let mut seen = std::collections::HashSet::new();
        for boots in 1..5 {
            let mut engine = Engine::new(vec![0x80, 0, 0, 0, 1], boots);
            assert!((0..1000).all(|_| seen.insert(engine.next_salt())));
        }
        let engine = Engine::new(vec![0x80, 0, 0, 0, 1], 7);
        assert_eq!(engine.clock(Duration::from_secs(149)), (7, 149));
        assert_eq!(engine.clock(Duration::from_secs((1 << 31) - 1)), (7, BOOTS_MAX));
        assert_eq!(engine.clock(Duration::from_secs(1 << 31)), (8, 0));
        assert_eq!(engine.clock(Duration::MAX), (BOOTS_MAX, BOOTS_MAX));
    }
}
