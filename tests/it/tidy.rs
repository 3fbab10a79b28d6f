//! The architecture and the house rules, as tests: they read the project's own files. `docs/ARCHITECTURE.md` says why
//! the rules are as they are.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use fluxoscope::config::{Config, Intake};

/// The words that all modules share. They import nothing of the crate but each other.
const VOCABULARY: [&str; 10] =
    ["counters", "diagnostic", "exporter", "flow", "ids", "money", "period", "units", "usage", "lib"];
/// Parts of modules that are plain data: vocabulary, kept beside the code that it belongs to.
const PLAIN_DATA: [&str; 2] = ["classify::rules", "ledger::records"];

/// What each module may import besides vocabulary, and why. Whatever is not here is not allowed.
const IMPORTS: [(&str, &[&str], &str); 23] = [
    ("receive", &[], "the way in: knows nobody"),
    ("journal", &[], "keeps datagrams, whatever is in them"),
    ("decode", &[], "a stage: datagrams in, records and announcements out, both vocabulary"),
    ("sampling", &[], "a stage: works on records"),
    ("classify", &[], "a stage: records in"),
    ("meter", &["classify::Classified"], "a stage: records and what classification found of them"),
    ("ledger", &[], "commits plain data, whoever made it"),
    ("rate", &[], "pure: usage and a tariff in, charges out"),
    ("invoice", &["rate"], "documents are made of what rating gives"),
    (
        "audit",
        &["invoice", "ledger", "processor::Kept", "processor::kept", "rate::parse", "reconcile"],
        "compares what a ledger holds with itself, checkpoints among it",
    ),
    ("processor", &["classify", "decode", "meter", "sampling"], "runs the stages"),
    (
        "commit",
        &["ledger", "processor", "setup::InForce"],
        "from what a processor drained to a flush in the ledger",
    ),
    (
        "config",
        &[
            "decode::Limits",
            "invoice::language::Language",
            "journal",
            "meter",
            "poll",
            "reconcile",
            "sampling",
            "snmp",
        ],
        "each section becomes the struct of the module that it configures",
    ),
    ("poll", &[], "asks routers; knows nobody"),
    (
        "reconcile",
        &["classify::named", "ledger", "rate::calibrate"],
        "flows against counters, both as the ledger has them, by what names meant then",
    ),
    ("setup", &["classify", "config", "ledger", "processor"], "puts a configuration in force"),
    (
        "replay",
        &["commit", "config", "ledger", "processor", "receive::pcap", "setup"],
        "a capture through the processor to the ledger",
    ),
    (
        "claims",
        &["classify::Classified", "config", "journal", "processor", "receive::pcap", "setup"],
        "captures and journals through the processor, without a ledger",
    ),
    (
        "reclassify",
        &["config", "journal", "ledger", "processor", "setup"],
        "journals through the processor; a ledger only gives the numbers of names",
    ),
    (
        "generate",
        &["config", "meter::BucketRule", "meter::Config", "receive::pcap_write"],
        "writes captures; its truth owes nothing to the metering code",
    ),
    (
        "snmp",
        &["receive::socket"],
        "a reader of the counters; answers leave by system calls without a safe wrapper",
    ),
    (
        "daemon",
        &[
            "classify::named",
            "commit",
            "config",
            "decode::ErrorKind",
            "journal",
            "ledger",
            "poll",
            "processor",
            "reconcile",
            "receive::socket",
            "receive::tcp",
            "setup",
            "snmp",
        ],
        "wires the parts together; knows whether named interfaces show, and names the kinds of malformed datagrams in its status",
    ),
    (
        "cli",
        &[
            "audit",
            "claims",
            "classify::named",
            "config",
            "daemon",
            "generate",
            "invoice",
            "ledger",
            "poll::cards",
            "rate",
            "receive::Capture",
            "reclassify",
            "reconcile",
            "replay",
            "snmp",
        ],
        "one file a verb; nobody imports it",
    ),
];

/// Words that may stand in a few places only: the word, where, and why there.
const ONLY_IN: [(&str, &[&str], &str); 13] = [
    ("async_snmp", &["poll/client.rs", "cli.rs"], "it is behind one file; the log is kept free of it"),
    ("diesel", &["ledger"], "the database library is behind the ledger's interface"),
    ("diesel_migrations", &["ledger"], "the same"),
    ("unsafe", &["receive/socket.rs", "cli/heap.rs"], "system calls without a safe wrapper"),
    (
        "tokio",
        &["daemon/control.rs", "poll/cycle.rs"],
        "async only at the edge, never where something is counted",
    ),
    ("thread::spawn", &["daemon", "replay"], "threads have an owner who waits for them"),
    ("thread::scope", &["daemon", "replay", "cli/ahead.rs"], "the same"),
    ("thread::Builder", &["daemon", "replay"], "the same"),
    (
        "f32",
        &["decode/options.rs", "invoice/pdf.rs", "invoice/pdf/sheet.rs", "invoice/pdf/file.rs"],
        "elements of float type, and places on a page; no quantity is one",
    ),
    ("f64", &["decode/options.rs"], "the same"),
    ("SystemTime::now", &["cli", "daemon"], "time is an argument"),
    ("Timestamp::now", &["cli", "daemon"], "time is an argument"),
    ("Zoned::now", &["cli", "daemon"], "time is an argument"),
];

/// Longest file of `src` and `tests`, in lines.
const LINES_MAX: usize = 700;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// A Rust file: its path below the folder it was looked for in, and its text.
struct Source {
    path: String,
    text: String,
}

impl Source {
    /// The top-level module that it is, or is part of.
    fn module(&self) -> &str {
        let end = self.path.find('/').unwrap_or(self.path.len() - ".rs".len());
        &self.path[..end]
    }

    /// Tests beside the code may look at anything.
    fn is_test(&self) -> bool {
        self.path.ends_with("/tests.rs") || self.path.contains("/tests/")
    }

    /// The code without comments and without the tests at its end.
    fn code(&self) -> String {
        let text = self.text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        let uncommented = |line: &str| line.split(" // ").next().unwrap_or_default().to_owned() + "\n";
        text.lines().filter(|line| !line.trim_start().starts_with("//")).map(uncommented).collect()
    }

    /// Whether it is in one of `places`: a module, or a file.
    fn is_in(&self, places: &[&str]) -> bool {
        places.iter().any(|place| self.path == *place || self.module() == *place)
    }
}

/// All Rust files below `folder`.
fn sources(folder: &str) -> Vec<Source> {
    fn walk(directory: &Path, below: &Path, found: &mut Vec<Source>) {
        let entries = fs::read_dir(directory).expect("a folder of the project");
        let mut entries: Vec<PathBuf> = entries.map(|entry| entry.expect("readable").path()).collect();
        entries.sort();
        for path in entries {
            if path.is_dir() {
                walk(&path, below, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let shown = path.strip_prefix(below).expect("found below it").display().to_string();
                let text = fs::read_to_string(&path).expect("source files are UTF-8");
                found.push(Source { path: shown, text });
            }
        }
    }
    let mut found = Vec::new();
    let directory = root().join(folder);
    walk(&directory, &directory, &mut found);
    found
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Whether `word` stands in `text` as a word of its own.
fn has_word(text: &str, word: &str) -> bool {
    text.match_indices(word)
        .any(|(at, _)| !text[..at].ends_with(is_word) && !text[at + word.len()..].starts_with(is_word))
}

/// The paths of a `use` tree or of a path in an expression: `a::{b, c::D}` is `a::b` and `a::c::D`.
fn paths(tree: &str, prefix: &str, found: &mut BTreeSet<String>) {
    let tree = tree.trim_start();
    if let Some(list) = tree.strip_prefix('{') {
        let (mut depth, mut from) = (0, 0);
        for (at, c) in list.char_indices() {
            match c {
                '{' => depth += 1,
                ',' | '}' if depth == 0 => {
                    paths(&list[from..at], prefix, found);
                    from = at + 1;
                    if c == '}' {
                        return;
                    }
                }
                '}' => depth -= 1,
                _ => {}
            }
        }
        return;
    }
    let end = tree.find(|c| !is_word(c)).unwrap_or(tree.len());
    let path = match (prefix, &tree[..end]) {
        (_, "" | "self") => prefix.to_owned(),
        ("", name) => name.to_owned(),
        (prefix, name) => format!("{prefix}::{name}"),
    };
    match tree[end..].strip_prefix("::") {
        Some(rest) => paths(rest, &path, found),
        None if path.is_empty() => {}
        None => {
            found.insert(path);
        }
    }
}

/// What a file takes from other modules of the crate.
fn imports(source: &Source) -> BTreeSet<String> {
    let code = source.code();
    let mut found = BTreeSet::new();
    // `super` as often as the file is deep is the crate, too.
    let up = "super::".repeat(source.path.split('/').count());
    for name in ["crate::", up.as_str()] {
        for (at, _) in code.match_indices(name) {
            let rest = &code[at + name.len()..];
            if !code[..at].ends_with(|c| is_word(c) || c == ':') && !rest.starts_with("super") {
                paths(rest, "", &mut found);
            }
        }
    }
    found
}

fn is_below(path: &str, module: &str) -> bool {
    path.strip_prefix(module).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

#[test]
fn use_trees_are_understood() {
    let of = |text: &str| {
        let source = Source { path: "a/b.rs".to_owned(), text: text.to_owned() };
        imports(&source).into_iter().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(of("use crate::a::{self, b::{C, D}, e};\nuse crate::f::G;"), "a a::b::C a::b::D a::e f::G");
    assert_eq!(of("use crate::{\n    a as b,\n    c::d,\n};"), "a c::d");
    assert_eq!(
        of("let x = crate::daemon::now() + 1; super::super::snmp::y; super::z"),
        "daemon::now snmp::y"
    );
    assert_eq!(of("//! [`crate::x`]\nf(); // crate::y\n#[cfg(test)]\nmod tests {\n    use crate::z;"), "");
    assert_eq!(of("use dollar_crate::a; pub(in crate::b) fn c()"), "b");
}

#[test]
fn modules_import_what_the_architecture_allows() {
    let mut wrong = Vec::new();
    let mut used = BTreeSet::new();
    for source in sources("src").iter().filter(|source| !source.is_test()) {
        let own = source.module();
        let allowed: &[&str] = match IMPORTS.iter().find(|(module, ..)| *module == own) {
            Some((_, allowed, _)) => allowed,
            None => {
                assert!(own == "main" || VOCABULARY.contains(&own), "{own}: no rule says what it may import");
                &[]
            }
        };
        for path in imports(source) {
            let first = path.split("::").next().unwrap_or_default();
            let is_free = first == own
                || VOCABULARY.contains(&first)
                || (!VOCABULARY.contains(&own) && PLAIN_DATA.iter().any(|data| is_below(&path, data)));
            match allowed.iter().find(|module| is_below(&path, module)) {
                Some(module) => drop(used.insert((own.to_owned(), *module))),
                None if is_free => {}
                None => wrong.push(format!("src/{} imports {path}", source.path)),
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    for (module, allowed, _) in IMPORTS {
        let is_unused = |other: &&&str| !used.contains(&(module.to_owned(), **other));
        let unused: Vec<_> = allowed.iter().filter(is_unused).filter(|_| module != "cli").collect();
        assert!(unused.is_empty(), "{module} no longer imports {unused:?}: take it out of the table");
    }
}

#[test]
fn some_words_stand_in_few_places() {
    let mut wrong = Vec::new();
    for source in sources("src").iter().filter(|source| !source.is_test()) {
        let code = source.code();
        for (word, places, why) in ONLY_IN {
            if has_word(&code, word) && !source.is_in(places) {
                wrong.push(format!("src/{} says `{word}`; only {places:?} may: {why}", source.path));
            }
        }
        if code.contains(".unwrap()") {
            wrong.push(format!("src/{} unwraps; `expect` says why it holds", source.path));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn nothing_is_left_undone_or_switched_off() {
    // In two halves, so that this file does not find itself.
    let forbidden =
        [("to", "do!("), ("unimplemen", "ted!("), ("#[ign", "ore"), ("#[should", "_panic"), ("db", "g!(")];
    let mut wrong = Vec::new();
    for folder in ["src", "tests", "benches"] {
        for source in sources(folder) {
            for (a, b) in forbidden {
                if source.text.contains(&format!("{a}{b}")) {
                    wrong.push(format!("{folder}/{} has {a}{b}", source.path));
                }
            }
            let lines = source.text.lines().count();
            if lines > LINES_MAX && folder != "benches" {
                wrong.push(format!("{folder}/{} has {lines} lines; split it", source.path));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_code_map_is_complete() {
    let map = read("docs/ARCHITECTURE.md");
    let mut missing = Vec::new();
    for source in sources("src").iter().filter(|source| !source.path.contains('/')) {
        let module = source.module();
        if !map.contains(&format!("`{module}`")) {
            missing.push(format!("src/{}", source.path));
        }
    }
    let ignored = read(".gitignore");
    for entry in fs::read_dir(root()).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().to_str().unwrap().to_owned();
        let is_ours = !name.starts_with('.') && !ignored.lines().any(|line| line.trim_matches('/') == name);
        if entry.path().is_dir() && is_ours && !map.contains(&format!("`{name}/`")) {
            missing.push(format!("{name}/"));
        }
    }
    assert!(missing.is_empty(), "docs/ARCHITECTURE.md does not name {missing:?}");
}

/// The code blocks of a page that say they are `language`.
fn blocks<'a>(page: &'a str, language: &str) -> Vec<&'a str> {
    let fence = format!("```{language}\n");
    page.split(&fence).skip(1).filter_map(|rest| rest.split("\n```").next()).collect()
}

#[test]
fn the_readmes_commands_exist() {
    let page = read("README.md");
    let commands = blocks(&page, "sh").join("\n");
    assert!(commands.contains("cargo run --release -- demo"), "{commands}");
    for script in ["ops/test", "ops/bench"] {
        assert!(commands.contains(script), "the README shows {script}");
        let mode = fs::metadata(root().join(script)).expect("the script is there").permissions().mode();
        assert_eq!(mode & 0o111, 0o111, "{script} is executable");
    }

    let mut verbs = BTreeSet::from(["demo".to_owned()]);
    for line in commands.lines() {
        let Some((_, arguments)) = line.split_once("fluxoscope ") else { continue };
        let mut words = arguments.split_whitespace();
        while let Some(word) = words.next() {
            if word.starts_with("--") {
                words.next();
            } else {
                verbs.insert(word.to_owned());
                break;
            }
        }
    }
    // And those of the table.
    for line in page.lines() {
        if let Some(row) = line.strip_prefix("| `") {
            verbs.extend(row.split(['`', ' ']).next().map(str::to_owned));
        }
    }
    assert!(verbs.len() > 8, "{verbs:?}");
    for verb in verbs {
        let output = Command::new(env!("CARGO_BIN_EXE_fluxoscope")).args([&verb, "--help"]).output().unwrap();
        assert!(output.status.success(), "README: there is no verb `{verb}`");
    }
}

#[test]
fn the_readmes_first_configuration_is_one() {
    let page = read("README.md");
    let [text, agent] = blocks(&page, "toml")[..] else {
        panic!("the README shows one, and an agent's section")
    };
    assert!(text.lines().filter(|line| !line.trim().is_empty()).count() <= 12, "about ten lines:\n{text}");
    let config =
        Config::parse(text, "README.md", Path::new("")).unwrap_or_else(|problems| panic!("{problems}"));
    let network = &config.network;
    assert_eq!((config.exporters.len(), network.links.len(), network.customers.len()), (1, 1, 1));
    assert!(!config.accepts_unknown_exporters(Intake::Network));
    let both = Config::parse(&format!("{text}\n{agent}"), "README.md", Path::new(""))
        .unwrap_or_else(|problems| panic!("{problems}"));
    let snmp = both.snmp.expect("an agent");
    let walk = format!("snmpwalk -v2c -c {} -On {} ", snmp.communities[0], snmp.listen);
    assert!(page.contains(&walk), "the README's manager asks that agent: {walk}");
}

#[test]
fn links_between_pages_hold() {
    for page in ["README.md", "CHANGELOG.md", "docs/ARCHITECTURE.md", "docs/OPERATION.md"] {
        let text = read(page);
        let folder = root().join(page).parent().expect("a file is in a folder").to_owned();
        for (at, _) in text.match_indices("](") {
            let target = text[at + 2..].split([')', '#']).next().unwrap_or_default();
            if !target.is_empty() && !target.contains("://") {
                assert!(folder.join(target).exists(), "{page} links to {target}, which is not there");
            }
        }
    }
}

#[test]
fn files_that_the_pages_name_are_there() {
    const FOLDERS: [&str; 8] =
        ["src/", "tests/", "docs/", "ops/", "mibs/", "tariffs/", "schema/", "benches/"];
    let mut named = 0;
    for page in ["README.md", "CHANGELOG.md", "docs/ARCHITECTURE.md", "docs/OPERATION.md"] {
        let text = read(page);
        // In code and in text. NAME stands for any.
        for word in text.split(|c: char| !c.is_ascii_alphanumeric() && !"/._-".contains(c)) {
            let word = word.trim_end_matches('.');
            let is_placeholder = word.starts_with("src/NAME");
            if FOLDERS.iter().any(|folder| word.starts_with(folder)) && !is_placeholder {
                assert!(root().join(word).exists(), "{page} names {word}, which is not there");
                named += 1;
            }
        }
    }
    assert!(named > 8, "{named}");
    let manifest = read("Cargo.toml");
    let (_, include) = manifest.split_once("\ninclude = [").expect("the package says what is in it");
    for entry in include.split(']').next().unwrap_or_default().split('"').skip(1).step_by(2) {
        let path = root().join(entry.trim_matches(['/', '*', '-']));
        let is_there = path.exists() || entry == "/LICENSE-*" && root().join("LICENSE-MIT").exists();
        assert!(is_there, "Cargo.toml includes {entry}, which is not there");
    }
}
