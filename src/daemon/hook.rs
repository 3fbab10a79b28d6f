//! Runs an operator's command once for each of several messages: without a shell, a bounded number at a time, each for a
//! bounded time. The message is its standard input; what it prints goes to the log.
//!
//! Its output goes to an unnamed file and not to a pipe, so that nobody has to read it while the command runs, and a child
//! of its that lives on cannot keep anybody waiting.

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use core::time::Duration;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::process::{Child, Stdio};
use std::thread;
use std::time::Instant;

use tracing::info;

/// Octets of output that go to the log.
const OUTPUT_MAX: u64 = 4096;
/// The pause between two looks at the commands that run.
const PAUSE: Duration = Duration::from_millis(10);

/// A command.
pub(super) struct Command<'a> {
    /// The program.
    pub(super) program: &'a str,
    /// Its arguments.
    pub(super) arguments: &'a [String],
    /// It is killed after so long.
    pub(super) timeout: Duration,
    /// So many run at a time.
    pub(super) at_a_time: usize,
}

/// One that runs.
struct Running {
    message: usize,
    child: Child,
    output: File,
    begun: Instant,
}

/// Runs the command for each message, and tells what became of it: its place, and the outcome. No further one is begun
/// once `is_over` says so.
pub(super) fn run(
    command: &Command<'_>,
    messages: &[&str],
    is_over: &dyn Fn() -> bool,
    ended: &mut dyn FnMut(usize, Result<(), String>),
) {
    let mut waiting = messages.iter().enumerate();
    let mut running: Vec<Running> = Vec::new();
    loop {
        while running.len() < command.at_a_time.max(1) && !is_over() {
            let Some((message, text)) = waiting.next() else { break };
            match start(command, text) {
                Ok((child, output)) => {
                    running.push(Running { message, child, output, begun: Instant::now() });
                }
                Err(error) => ended(message, Err(format!("it could not be run: {error}"))),
            }
        }
        if running.is_empty() {
            return;
        }
        running.retain_mut(|one| match outcome(one, command.timeout) {
            None => true,
            Some(outcome) => {
                log_output(command.program, &mut one.output);
                ended(one.message, outcome);
                false
            }
        });
        if !running.is_empty() {
            thread::sleep(PAUSE);
        }
    }
}

fn start(command: &Command<'_>, message: &str) -> io::Result<(Child, File)> {
    let output = unnamed_file()?;
    let mut input = unnamed_file()?;
    writeln!(input, "{message}")?;
    input.rewind()?;
    let child = std::process::Command::new(command.program)
        .args(command.arguments)
        .stdin(Stdio::from(input))
        .stdout(Stdio::from(output.try_clone()?))
        .stderr(Stdio::from(output.try_clone()?))
        .spawn()?;
    Ok((child, output))
}

/// A file that nobody else can open, and that is gone with whoever has it.
fn unnamed_file() -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let name = format!("fluxoscope-{}-{}", std::process::id(), NEXT.fetch_add(1, Relaxed));
    let path = std::env::temp_dir().join(name);
    let file = File::options().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
    std::fs::remove_file(path)?;
    Ok(file)
}

/// How it ended; nothing while it runs and still may.
fn outcome(one: &mut Running, timeout: Duration) -> Option<Result<(), String>> {
    match one.child.try_wait() {
        Ok(Some(status)) if status.success() => Some(Ok(())),
        Ok(Some(status)) => Some(Err(status.to_string())),
        Ok(None) if one.begun.elapsed() < timeout => None,
        Ok(None) => {
            let _ = one.child.kill();
            let _ = one.child.wait();
            Some(Err(format!("it took longer than {} ms", timeout.as_millis())))
        }
        Err(error) => Some(Err(error.to_string())),
    }
}

fn log_output(program: &str, output: &mut File) {
    let mut text = Vec::new();
    if output.rewind().is_ok() && output.take(OUTPUT_MAX).read_to_end(&mut text).is_ok() && !text.is_empty() {
        let text = String::from_utf8_lossy(&text);
        info!(%program, output = %text.trim_end(), "A command has said something.");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The outcomes of a shell script, by message.
    fn outcomes(
        script: &str,
        messages: &[&str],
        timeout_ms: u64,
        at_a_time: usize,
    ) -> Vec<Result<(), String>> {
        let arguments = ["-c".to_owned(), script.to_owned()];
        let timeout = Duration::from_millis(timeout_ms);
        let command = Command { program: "/bin/sh", arguments: &arguments, timeout, at_a_time };
        let mut outcomes = vec![Err("never".to_owned()); messages.len()];
        run(&command, messages, &|| false, &mut |at, outcome| outcomes[at] = outcome);
        outcomes
    }

    #[test]
    fn each_message_is_the_input_of_a_run_of_its_own() {
        let found = outcomes("read -r line; [ \"$line\" = good ]", &["good", "bad", "good"], 60_000, 2);
        assert_eq!((&found[0], &found[2]), (&Ok(()), &Ok(())));
        assert_eq!(found[1], Err("exit status: 1".to_owned()));
    }

    #[test]
    fn one_that_takes_too_long_is_killed_and_keeps_nobody_from_running() {
        // What it left behind would keep a pipe open.
        let found = outcomes("sleep 60 & [ \"$(cat)\" != slow ] || sleep 60", &["slow", "quick"], 300, 1);
        assert_eq!(found, [Err("it took longer than 300 ms".to_owned()), Ok(())]);
    }

    #[test]
    fn arguments_are_no_shell_s_and_what_is_not_there_is_told() {
        let arguments = ["$(false); exit 7".to_owned()];
        let timeout = Duration::from_secs(60);
        let mut told = Vec::new();
        let command = Command { program: "/bin/echo", arguments: &arguments, timeout, at_a_time: 1 };
        run(&command, &["x"], &|| false, &mut |_, outcome| told.push(outcome.is_ok()));
        let command = Command { program: "/no/such/program", ..command };
        run(&command, &["x"], &|| false, &mut |_, outcome| told.push(outcome.is_ok()));
        run(&command, &["x"], &|| true, &mut |_, outcome| told.push(outcome.is_ok()));
        assert_eq!(told, [true, false]);
    }

    #[test]
    fn no_more_run_at_a_time_than_may() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().display();
        // Each leaves a file while it runs, and fails where it finds more than two.
        let script = format!("f={path}/$$; : > $f; n=$(ls {path} | wc -l); sleep 0.05; rm $f; [ $n -le 2 ]");
        assert!(outcomes(&script, &["x"; 8], 60_000, 2).iter().all(Result::is_ok));
    }
}
