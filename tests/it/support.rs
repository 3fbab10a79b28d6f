//! What tests of the whole program share: a site (a directory with configuration and state), commands run on it, and
//! a daemon that is started, asked, signalled and killed. Everything is waited for with a bound; nothing is left behind.

#![expect(clippy::unwrap_used, reason = "what fails here fails a test")]

use std::fmt::Write;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, UdpSocket};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// The longest that anything here is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// The pause between two looks at something that another process brings about.
pub(crate) const MOMENT: Duration = Duration::from_millis(2);

/// The columns of usage that every grouping has.
pub(crate) const FIGURES: &str = "flows,packets,bytes,raw_packets,raw_bytes,relative_error";

/// Where a ledger is kept.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Dialect {
    Sqlite,
    /// On the server that `FLUXOSCOPE_TEST_POSTGRES` names (`postgres://user@host:port/postgres`).
    #[cfg(feature = "postgres")]
    Postgres,
}

/// SQLite, and PostgreSQL where there is a server.
pub(crate) fn dialects() -> Vec<Dialect> {
    #[cfg(feature = "postgres")]
    if postgres_server().is_some() {
        return vec![Dialect::Sqlite, Dialect::Postgres];
    }
    vec![Dialect::Sqlite]
}

#[cfg(feature = "postgres")]
#[expect(clippy::disallowed_methods, reason = "only the environment can say where a server is")]
fn postgres_server() -> Option<String> {
    std::env::var("FLUXOSCOPE_TEST_POSTGRES").ok()
}

/// A database of its own on the PostgreSQL server.
#[cfg(feature = "postgres")]
struct Database {
    server: String,
    name: String,
    url: String,
}

#[cfg(feature = "postgres")]
impl Database {
    fn create() -> Self {
        use diesel::connection::SimpleConnection;
        use std::sync::atomic::{AtomicU32, Ordering};
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let server = postgres_server().expect("the caller has seen that there is a server");
        let name = format!("fluxoscope_it_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let create = format!("CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8'");
        Self::connect(&server).unwrap().batch_execute(&create).unwrap();
        let (base, query) = server.split_once('?').map_or((&server[..], ""), |(base, query)| (base, query));
        let (host, _) = base.rsplit_once('/').expect("the server's URL names a database");
        let url = format!("{host}/{name}{}{query}", if query.is_empty() { "" } else { "?" });
        Self { server, name, url }
    }

    fn connect(server: &str) -> diesel::ConnectionResult<diesel::PgConnection> {
        diesel::Connection::establish(server)
    }
}

#[cfg(feature = "postgres")]
impl Drop for Database {
    fn drop(&mut self) {
        use diesel::connection::SimpleConnection;
        if let Ok(mut connection) = Self::connect(&self.server) {
            let _ = connection.batch_execute(&format!("DROP DATABASE {} WITH (FORCE)", self.name));
        }
    }
}

/// A directory with a configuration and a state of its own; a ledger of its own, too.
pub(crate) struct Site {
    directory: tempfile::TempDir,
    #[cfg(feature = "postgres")]
    database: Option<Database>,
}

impl Site {
    /// A site whose ledger is a SQLite file, with this configuration.
    pub(crate) fn new(config: &str) -> Self {
        Self::on(Dialect::Sqlite, config)
    }

    /// A site with a ledger of that dialect. The configuration is whole but for the place of the ledger.
    pub(crate) fn on(dialect: Dialect, config: &str) -> Self {
        let site = Self {
            directory: tempfile::tempdir().unwrap(),
            #[cfg(feature = "postgres")]
            database: (dialect == Dialect::Postgres).then(Database::create),
        };
        assert!(dialect == Dialect::Sqlite || !site.ledger_url().starts_with("sqlite"));
        site.configure(config);
        site
    }

    /// The `url` of `[ledger]`.
    pub(crate) fn ledger_url(&self) -> String {
        #[cfg(feature = "postgres")]
        if let Some(database) = &self.database {
            return database.url.clone();
        }
        "sqlite:ledger.sqlite".to_owned()
    }

    /// Replaces the configuration. `LEDGER` in it becomes the ledger's URL.
    pub(crate) fn configure(&self, config: &str) {
        std::fs::write(self.path("fluxoscope.toml"), config.replace("LEDGER", &self.ledger_url())).unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.path("state")
    }

    /// The program with the site's configuration and state, and these arguments.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fluxoscope"));
        command.arg("--config").arg(self.path("fluxoscope.toml")).arg("--state-dir").arg(self.state());
        command.args(args).current_dir(self.directory.path()).env_remove("FLUXOSCOPE_LOG");
        command.stdin(Stdio::null());
        command
    }

    /// Runs a command to its end.
    pub(crate) fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// The standard output of a command that must succeed.
    pub(crate) fn ok(&self, args: &[&str]) -> String {
        let output = self.run(args);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{args:?}: {}\n{errors}", output.status);
        String::from_utf8(output.stdout).unwrap()
    }

    /// `usage` by these keys, as CSV.
    pub(crate) fn usage(&self, by: &str) -> String {
        self.ok(&["usage", "--by", by, "--format", "csv"])
    }

    /// One answer on the control socket, without a process of its own; nothing where nobody answers.
    fn ask(&self, request: &str) -> Option<Value> {
        use std::io::Write as _;
        let mut stream = UnixStream::connect(self.state().join("control.sock")).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        writeln!(stream, "{request}").ok()?;
        let mut answer = String::new();
        BufReader::new(stream).read_line(&mut answer).ok()?;
        serde_json::from_str(&answer).ok()
    }
}

/// Sends a signal, by its name without SIG. The shell has `kill` built in, where no program of that name is installed.
#[track_caller]
pub(crate) fn signal(process: u32, name: &str) {
    let status = Command::new("sh")
        .args(["-c", "kill -s \"$0\" \"$1\"", name, &process.to_string()])
        .status()
        .unwrap();
    assert!(status.success(), "{name}: {status}");
}

/// A process that is killed when dropped.
pub(crate) struct Running(Child);

impl Running {
    pub(crate) fn start(command: &mut Command) -> Self {
        Self(command.spawn().unwrap())
    }

    /// SIGKILL, and waits for the end. True: it was still running.
    pub(crate) fn kill(&mut self) -> bool {
        let _ = self.0.kill();
        use std::os::unix::process::ExitStatusExt;
        self.0.wait().unwrap().signal() == Some(libc::SIGKILL)
    }

    /// Waits for its end by itself.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        until("a process to end", || self.0.try_wait().unwrap())
    }

    /// Sends SIGTERM and waits for the end.
    pub(crate) fn terminate(&mut self) -> ExitStatus {
        signal(self.0.id(), "TERM");
        self.wait()
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }
}

impl From<Child> for Running {
    fn from(child: Child) -> Self {
        Self(child)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A daemon that has caught up with its journals.
pub(crate) struct Daemon<'a> {
    site: &'a Site,
    process: Running,
    /// Where it takes export datagrams.
    pub(crate) listening: SocketAddr,
}

impl<'a> Daemon<'a> {
    /// Starts it and waits until it meters what comes. What it says goes to `daemon.log`.
    pub(crate) fn start(site: &'a Site) -> Self {
        let mut process = Self::spawn(site);
        let listening = until("the daemon to catch up", || {
            assert!(process.is_running(), "the daemon has ended: {}", log(site));
            let status = site.ask("status")?;
            (status["caught_up"] == true).then(|| status["listening"][0].as_str().unwrap().parse().unwrap())
        });
        Self { site, process, listening }
    }

    /// Starts it without waiting for anything.
    pub(crate) fn spawn(site: &Site) -> Running {
        let log = std::fs::File::options().create(true).append(true).open(site.path("daemon.log")).unwrap();
        Running::start(site.command(&["run"]).stdout(Stdio::null()).stderr(log))
    }

    /// SIGKILL.
    pub(crate) fn kill(mut self) {
        assert!(self.process.kill(), "the daemon had ended before: {}", log(self.site));
    }

    /// SIGTERM; it must end well.
    pub(crate) fn stop(mut self) {
        let status = self.process.terminate();
        assert!(status.success(), "{status}: {}", log(self.site));
    }

    /// `ctl flush`.
    pub(crate) fn flush(&self) {
        assert!(self.site.ok(&["ctl", "flush"]).contains("true"));
    }

    pub(crate) fn status(&self) -> Value {
        self.site.ask("status").expect("the daemon answers")
    }

    pub(crate) fn site(&self) -> &'a Site {
        self.site
    }
}

fn log(site: &Site) -> String {
    std::fs::read_to_string(site.path("daemon.log")).unwrap_or_default()
}

/// nfcapd, which stores in a new directory what it receives on this UDP port of 127.0.0.1, once it says that it has
/// started; and the path of what it says. That somebody has opened the port would not be enough: it may not be nfcapd.
pub(crate) fn nfcapd(directory: &Path, port: u16) -> (Running, PathBuf) {
    std::fs::create_dir(directory).unwrap();
    let said = directory.with_extension("log");
    let running = Running::start(
        Command::new("nfcapd")
            .args(["-b", "127.0.0.1", "-p", &port.to_string(), "-t", "3600"])
            .args(["-w", directory.to_str().unwrap()])
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(&said).unwrap()),
    );
    until("nfcapd to start", || {
        std::fs::read_to_string(&said).unwrap().contains("Startup nfcapd").then_some(())
    });
    (running, said)
}

/// Octets that wait in the receive buffers of a UDP port of this machine, over all its sockets; none where nobody has
/// opened it.
pub(crate) fn queued(port: u16) -> Option<u64> {
    let table = std::fs::read_to_string("/proc/net/udp").unwrap();
    let ours = format!(":{port:04X}");
    let lines =
        table.lines().filter(|line| line.split_whitespace().nth(1).is_some_and(|a| a.ends_with(&ours)));
    lines
        .map(|line| u64::from_str_radix(line.split_whitespace().nth(4)?.split_once(':')?.1, 16).ok())
        .reduce(|all, one| Some(all? + one?))
        .flatten()
}

/// A UDP port that nobody has, and that the kernel gives to nobody who leaves the choice to it: so it is free still when
/// a daemon that had it is started again, whatever other tests open meanwhile.
pub(crate) fn free_port() -> u16 {
    // Below 32768, where the ports for those begin. The tests that run at the same time have other numbers.
    let first = std::process::id().wrapping_mul(61);
    (0..20_000)
        .map(|n| 10_000 + u16::try_from(first.wrapping_add(n) % 20_000).unwrap())
        .find(|port| UdpSocket::bind(("0.0.0.0", *port)).is_ok())
        .expect("a free port")
}

/// Looks again and again until there is something.
pub(crate) fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "waited in vain for {what}");
        std::thread::sleep(MOMENT);
    }
}

/// Rows of CSV without quotes, the header apart.
pub(crate) fn rows(csv: &str) -> Vec<Vec<&str>> {
    csv.lines().skip(1).map(|line| line.split(',').collect()).collect()
}

/// Fails with the first lines that differ, since whole files would bury them.
pub(crate) fn assert_same(found: &str, expected: &str, what: &str) {
    if found == expected {
        return;
    }
    let mut differences = String::new();
    let pairs = found.lines().map(Some).chain(std::iter::repeat(None));
    let lines = found.lines().count().max(expected.lines().count());
    let expected = expected.lines().map(Some).chain(std::iter::repeat(None));
    for (found, expected) in pairs.zip(expected).take(lines).filter(|(a, b)| a != b).take(10) {
        writeln!(differences, "found    {found:?}\nexpected {expected:?}").unwrap();
    }
    panic!("{what}\n{differences}");
}

/// Pseudo-random numbers (SplitMix64), the same on every machine.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 to `limit` - 1.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}

/// The configuration as the library reads it.
pub(crate) fn parsed(config: &str) -> fluxoscope::config::Config {
    fluxoscope::config::Config::parse(config, "test.toml", Path::new("")).unwrap_or_else(|e| panic!("{e}"))
}
