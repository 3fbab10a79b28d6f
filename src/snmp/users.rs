//! The keys of SNMPv3 users at rest: `snmp/users` in the state directory, one line a user.
//!
//! Keys are localised to the engine (RFC 3414, 2.6), so the file serves nobody at another agent, and passphrases are
//! nowhere. Only its owner may read it; a file that others may read is refused, since they may have. Whoever writes it, its
//! owner is that of the directory: the daemon is to read what root has added.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::engine::{self, from_hex, to_hex};
use super::owner;
use super::usm::{self, Authentication, Key, Privacy};

/// Longest user name in octets (RFC 3414, usmUserName).
const NAME_OCTETS_MAX: usize = 32;
/// Shortest passphrase in octets (RFC 3414, 11.2).
const PASSPHRASE_OCTETS_MIN: usize = 8;

/// A user's protocols and keys.
#[derive(Clone, Debug)]
pub(super) struct Credentials {
    pub(super) name: String,
    pub(super) authentication: (Authentication, Key),
    pub(super) privacy: Option<(Privacy, Key)>,
}

/// A user, as shown to people.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Listed {
    /// The name.
    pub name: String,
    /// How its messages are authenticated.
    pub authentication: Authentication,
    /// How its messages are encrypted; `None`: not at all.
    pub privacy: Option<Privacy>,
}

/// The users of a state directory, for the commands that change them.
#[derive(Debug)]
pub struct Users {
    path: PathBuf,
    engine: Vec<u8>,
    all: Vec<Credentials>,
}

/// Keeps others from changing what is kept here for as long as it is held: commands, and a daemon that starts.
///
/// # Errors
/// The state directory cannot be written.
pub fn lock(state_dir: &Path) -> io::Result<fs::File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let directory = engine::directory(state_dir)?;
    let path = directory.join("lock");
    // Not through a link, and never emptied: it is opened to be locked.
    let mut options = fs::OpenOptions::new();
    options.read(true).write(true).mode(0o600).custom_flags(libc::O_NOFOLLOW);
    // Only one that was made here is given away: what is there already might be another name of somebody else's file.
    let file = match options.clone().create_new(true).open(&path) {
        Ok(file) => owner::give(&file, &path, &directory).map(|()| file),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            options.open(&path).map_err(|error| owner::explained(state_dir, &path, error))
        }
        Err(error) => Err(owner::explained(state_dir, &path, error)),
    }?;
    file.lock()?;
    Ok(file)
}

impl Users {
    /// Reads them; where there is no engine yet, the state directory gets one.
    ///
    /// # Errors
    /// Where a file cannot be used, is damaged, may be read by others, or has keys of another engine.
    pub fn open(state_dir: &Path) -> io::Result<Self> {
        let engine = engine::identifier(state_dir)?;
        Self::of_engine(state_dir, engine)
    }

    /// The names of the users of a state directory, where it can be read; nothing is made there.
    ///
    /// # Errors
    /// Where there is a file that cannot be read.
    pub fn names(state_dir: &Path) -> io::Result<Vec<String>> {
        let path = state_dir.join(engine::DIRECTORY).join("users");
        match fs::read_to_string(&path) {
            Ok(text) => {
                let name = |line: &str| Some(line.strip_prefix("user ")?.split(' ').next()?.to_owned());
                Ok(text.lines().filter_map(name).collect())
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(owner::explained(state_dir, &path, error)),
        }
    }

    pub(super) fn of_engine(state_dir: &Path, engine: Vec<u8>) -> io::Result<Self> {
        let path = engine::directory(state_dir)?.join("users");
        let all = match fs::read_to_string(&path) {
            Ok(text) => {
                check_mode(state_dir, &path)?;
                parse(&text, &engine).map_err(|problem| invalid(format!("{}: {problem}", path.display())))?
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(owner::explained(state_dir, &path, error)),
        };
        Ok(Self { path, engine, all })
    }

    pub(super) fn all(&self) -> &[Credentials] {
        &self.all
    }

    /// What there is, by name.
    #[must_use]
    pub fn list(&self) -> Vec<Listed> {
        let listed = |one: &Credentials| Listed {
            name: one.name.clone(),
            authentication: one.authentication.0,
            privacy: one.privacy.as_ref().map(|privacy| privacy.0),
        };
        self.all.iter().map(listed).collect()
    }

    /// Adds a user, or gives one new keys, and writes the file. True where there was one of that name.
    ///
    /// # Errors
    /// Where name or passphrases will not do, or the file cannot be written.
    pub fn add(
        &mut self,
        name: &str,
        authentication: (Authentication, &[u8]),
        privacy: Option<(Privacy, &[u8])>,
    ) -> io::Result<bool> {
        check_name(name).map_err(invalid)?;
        let passphrases = [Some(authentication.1), privacy.map(|privacy| privacy.1)];
        if passphrases.into_iter().flatten().any(|passphrase| passphrase.len() < PASSPHRASE_OCTETS_MIN) {
            return Err(invalid(format!("a passphrase has at least {PASSPHRASE_OCTETS_MIN} octets")));
        }
        let (protocol, passphrase) = authentication;
        let user = Credentials {
            name: name.to_owned(),
            authentication: (protocol, usm::authentication_key(protocol, passphrase, &self.engine)),
            privacy: privacy.map(|(privacy, passphrase)| {
                (privacy, usm::privacy_key(protocol, privacy, passphrase, &self.engine))
            }),
        };
        let was = self.remove_from_memory(name);
        self.all.push(user);
        self.all.sort_by(|a, b| a.name.cmp(&b.name));
        self.write()?;
        Ok(was)
    }

    /// Removes a user and writes the file. False where there is none of that name.
    ///
    /// # Errors
    /// Where the file cannot be written.
    pub fn remove(&mut self, name: &str) -> io::Result<bool> {
        let was = self.remove_from_memory(name);
        if was {
            self.write()?;
        }
        Ok(was)
    }

    fn remove_from_memory(&mut self, name: &str) -> bool {
        let before = self.all.len();
        self.all.retain(|user| user.name != name);
        self.all.len() < before
    }

    fn write(&self) -> io::Result<()> {
        let mut text = format!("engine {}\n", to_hex(&self.engine));
        for user in &self.all {
            let (protocol, key) = &user.authentication;
            text.push_str(&format!("user {} {} {}", user.name, protocol.name(), to_hex(key.octets())));
            if let Some((protocol, key)) = &user.privacy {
                text.push_str(&format!(" {} {}", protocol.name(), to_hex(key.octets())));
            }
            text.push('\n');
        }
        let text = zeroize::Zeroizing::new(text);
        engine::replace(&self.path, &text)
    }
}

/// Whether `name` may be that of a user: a word of at most 32 octets.
///
/// # Errors
/// What is wrong with it.
pub fn check_name(name: &str) -> Result<(), String> {
    if name.is_empty() || name.len() > NAME_OCTETS_MAX {
        return Err(format!("the name of an SNMP user has 1 to {NAME_OCTETS_MAX} octets"));
    }
    if name.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err("the name of an SNMP user holds neither blanks nor control characters".to_owned());
    }
    Ok(())
}

fn invalid(problem: String) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, problem)
}

fn check_mode(state_dir: &Path, path: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let found = fs::metadata(path)?;
    owner::check(state_dir, path, &found)?;
    if found.permissions().mode() & 0o077 != 0 {
        let problem =
            format!("{}: others may read the keys; take them for lost, or chmod 600", path.display());
        return Err(io::Error::new(ErrorKind::PermissionDenied, problem));
    }
    Ok(())
}

/// The users of a file's text. Problems name lines, never keys.
fn parse(text: &str, engine: &[u8]) -> Result<Vec<Credentials>, String> {
    let mut lines = text.lines();
    match lines.next().and_then(|line| line.strip_prefix("engine ")) {
        Some(id) if from_hex(id).is_some_and(|id| id == engine) => {}
        Some(id) => {
            return Err(format!(
                "these keys belong to engine {id}, this one is {}; remove the file and add the users again",
                to_hex(engine)
            ));
        }
        None => return Err("line 1: damaged".to_owned()),
    }
    let mut all = Vec::new();
    for (number, line) in lines.enumerate() {
        all.push(user(line).ok_or_else(|| format!("line {}: damaged", number + 2))?);
    }
    Ok(all)
}

fn user(line: &str) -> Option<Credentials> {
    let words: Vec<&str> = line.split(' ').collect();
    let (&["user", name, authentication, hex], rest) = words.split_at_checked(4)? else { return None };
    check_name(name).ok()?;
    let key = |hex: &str, octets: usize| from_hex(hex).filter(|key| key.len() == octets).map(Key::new);
    let protocol = Authentication::named(authentication)?;
    let authentication = (protocol, key(hex, protocol.key_octets())?);
    let privacy = match rest {
        [] => None,
        [privacy, hex] => {
            let protocol = Privacy::named(privacy)?;
            Some((protocol, key(hex, protocol.key_octets())?))
        }
        _ => return None,
    };
    Some(Credentials { name: name.to_owned(), authentication, privacy })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn users_are_kept_localised_and_private() {
        let directory = tempfile::tempdir().unwrap();
        let mut users = Users::open(directory.path()).unwrap();
        assert_eq!(users.list(), []);
        let sha = |passphrase: &'static str| (Authentication::Sha256, passphrase.as_bytes());
        assert!(!users.add("flux", sha("open sesame"), Some((Privacy::Aes128, b"close sesame"))).unwrap());
        assert!(!users.add("auditor", sha("maplesyrup"), None).unwrap());
        let path = directory.path().join("snmp/users");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let text = fs::read_to_string(&path).unwrap();
        assert!(!text.contains("sesame") && text.contains("user flux SHA-256 "), "{text}");

        let mut again = Users::open(directory.path()).unwrap();
        assert_eq!(again.list(), users.list());
        let privacy: Vec<_> = again.list().iter().map(|user| user.privacy).collect();
        assert_eq!(privacy, [None, Some(Privacy::Aes128)]);
        assert_eq!(again.all()[0].authentication.1.octets(), users.all()[0].authentication.1.octets());
        // New keys take the place of the old ones.
        assert!(again.add("flux", sha("other words"), None).unwrap());
        assert_eq!(Users::open(directory.path()).unwrap().list().len(), 2);
        assert!(again.remove("flux").unwrap() && !again.remove("flux").unwrap());
        assert_eq!(Users::open(directory.path()).unwrap().list().len(), 1);
    }

    #[test]
    fn what_will_not_do_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let mut users = Users::open(directory.path()).unwrap();
        for name in ["", "a b", "a\n", &"x".repeat(33)] {
            assert!(users.add(name, (Authentication::Sha256, b"long enough"), None).is_err(), "{name:?}");
        }
        assert!(users.add("x", (Authentication::Sha256, b"7 short"), None).is_err());
        let privacy: Option<(Privacy, &[u8])> = Some((Privacy::Aes128, b"short"));
        assert!(users.add("x", (Authentication::Sha256, b"long enough"), privacy).is_err());
        users.add("x", (Authentication::Sha256, b"long enough"), None).unwrap();

        let path = directory.path().join("snmp/users");
        let good = fs::read_to_string(&path).unwrap();
        let kind = |text: &str| {
            fs::write(&path, text).unwrap();
            Users::open(directory.path()).map(|users| users.list()).unwrap_err().to_string()
        };
        // One octet less, another protocol, a word more, an unknown one.
        for (from, to) in
            [("SHA-256 ", "SHA-256 0"), ("SHA-256", "SHA-512"), ("user x", "user x y"), ("SHA-256", "SHA-3")]
        {
            assert!(kind(&good.replace(from, to)).ends_with("line 2: damaged"));
        }
        let others = kind(&good.replace("engine 8", "engine 9"));
        assert!(others.contains("these keys belong to engine 9"), "{others}");
        fs::write(&path, &good).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert_eq!(Users::open(directory.path()).unwrap_err().kind(), ErrorKind::PermissionDenied);
    }

    #[test]
    fn a_directory_of_others_is_refused_and_a_lock_is_no_way_out_of_it() {
        let directory = tempfile::tempdir().unwrap();
        Users::open(directory.path()).unwrap();
        assert_eq!(Users::names(directory.path()).unwrap(), Vec::<String>::new());
        let own = directory.path().join("snmp");
        for (mode, is_taken) in [(0o777, false), (0o720, false), (0o702, false), (0o755, true), (0o700, true)]
        {
            fs::set_permissions(&own, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(Users::open(directory.path()).is_ok(), is_taken, "{mode:o}");
            assert_eq!(lock(directory.path()).is_ok(), is_taken, "{mode:o}");
        }
        // The lock keeps what somebody wrote into it, and is not opened through a link.
        fs::write(own.join("lock"), "something").unwrap();
        drop(lock(directory.path()).unwrap());
        assert_eq!(fs::read_to_string(own.join("lock")).unwrap(), "something");
        let precious = directory.path().join("precious");
        fs::write(&precious, "something").unwrap();
        fs::remove_file(own.join("lock")).unwrap();
        std::os::unix::fs::symlink(&precious, own.join("lock")).unwrap();
        assert!(lock(directory.path()).is_err());
        assert_eq!(fs::read_to_string(&precious).unwrap(), "something");
        // Nor is the directory.
        let elsewhere = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(&own, elsewhere.path().join("snmp")).unwrap();
        assert_eq!(Users::open(elsewhere.path()).unwrap_err().kind(), ErrorKind::PermissionDenied);
    }
}
