//! Runs the built binary and waits for what it says, never longer than a deadline.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// Far longer than anything takes on a loaded machine.
const DEADLINE: Duration = Duration::from_secs(60);

/// What a finished command left.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    /// Checks the exit code; shows everything if it is another one.
    #[track_caller]
    pub(crate) fn gives(self, code: i32) -> Self {
        assert_eq!(self.code, code, "stdout:\n{}\nstderr:\n{}", self.out, self.err);
        self
    }
    /// Checks that stderr holds each of `parts`.
    #[track_caller]
    pub(crate) fn says(self, parts: &[&str]) -> Self {
        for part in parts {
            assert!(self.err.contains(part), "'{part}' is not in stderr:\n{}", self.err);
        }
        self
    }
    /// A usage error: nothing on stdout, exit code 2.
    #[track_caller]
    pub(crate) fn fails_as_usage(self, parts: &[&str]) {
        let ran = self.gives(2).says(parts);
        assert_eq!(ran.out, "");
    }
}

/// A directory of its own for each test, in which the commands run.
pub(crate) struct Place(tempfile::TempDir);

impl Place {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
    pub(crate) fn put(&self, name: &str, content: impl AsRef<[u8]>) -> &Self {
        std::fs::write(self.path(name), content).unwrap();
        self
    }
    pub(crate) fn append(&self, name: &str, content: &str) {
        let mut file = std::fs::OpenOptions::new().append(true).open(self.path(name)).unwrap();
        file.write_all(content.as_bytes()).unwrap();
    }
    /// The content of a file; empty if it is not there yet.
    pub(crate) fn get(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_default()
    }
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_millstream"));
        for (name, _) in std::env::vars().filter(|(n, _)| n.starts_with("MILLSTREAM_")) {
            command.env_remove(name);
        }
        command.args(args).current_dir(self.0.path()).stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }
    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        Running::of(self.command(args)).finish()
    }
    pub(crate) fn run_env(&self, args: &[&str], env: &[(&str, &str)]) -> Ran {
        let mut command = self.command(args);
        command.envs(env.iter().copied());
        Running::of(command).finish()
    }
    pub(crate) fn run_with_input(&self, args: &[&str], input: &str) -> Ran {
        let mut command = self.command(args);
        command.stdin(Stdio::piped());
        let mut running = Running::of(command);
        let mut stdin = running.child.stdin.take().unwrap();
        stdin.write_all(input.as_bytes()).unwrap();
        drop(stdin);
        running.finish()
    }
    pub(crate) fn start(&self, args: &[&str]) -> Running {
        Running::of(self.command(args))
    }
}

/// A command that runs. It is killed when it is dropped.
pub(crate) struct Running {
    pub(crate) child: Child,
    out: Receiver<String>,
    err: Receiver<String>,
    seen_out: String,
    seen_err: String,
}

/// Passes on what comes out of a pipe, line by line.
fn pump(pipe: impl Read + Send + 'static) -> Receiver<String> {
    let (send, receive) = channel();
    std::thread::spawn(move || {
        let mut pipe = BufReader::new(pipe);
        let mut line = Vec::new();
        while pipe.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
            if send.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                break;
            }
            line.clear();
        }
    });
    receive
}

impl Running {
    pub(crate) fn of(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        // The command's copies of the pipes' ends go, so that only the child holds them.
        drop(command);
        let out = child.stdout.take().map_or_else(|| pump(std::io::empty()), pump);
        let err = child.stderr.take().map_or_else(|| pump(std::io::empty()), pump);
        Self { child, out, err, seen_out: String::new(), seen_err: String::new() }
    }
    /// Waits until stdout has given a line that holds `part`.
    #[track_caller]
    pub(crate) fn wait_for_row(&mut self, part: &str) {
        wait_in(&self.out, &mut self.seen_out, part);
    }
    /// The same for stderr.
    #[track_caller]
    pub(crate) fn wait_for_message(&mut self, part: &str) {
        wait_in(&self.err, &mut self.seen_err, part);
    }
    /// Sends a signal by name: INT, TERM, KILL.
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }
    fn exit(&mut self) -> ExitStatus {
        let mut status = None;
        wait_until("the end of the command", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }
    /// Waits for the end.
    pub(crate) fn finish(mut self) -> Ran {
        use std::os::unix::process::ExitStatusExt;
        let status = self.exit();
        self.seen_out.extend(self.out.iter());
        self.seen_err.extend(self.err.iter());
        Ran {
            code: status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0)),
            out: std::mem::take(&mut self.seen_out),
            err: std::mem::take(&mut self.seen_err),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Ended already in most tests.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[track_caller]
fn wait_in(lines: &Receiver<String>, seen: &mut String, part: &str) {
    let end = Instant::now() + DEADLINE;
    while !seen.contains(part) {
        match lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok(line) => seen.push_str(&line),
            Err(e) => panic!("no '{part}' ({e}) in:\n{seen}"),
        }
    }
}

/// Asks again and again, until a deadline.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut true_now: impl FnMut() -> bool) {
    let end = Instant::now() + DEADLINE;
    while !true_now() {
        assert!(Instant::now() < end, "waited in vain for {what}");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// A file of the repository's sample data.
pub(crate) fn sample(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/data").join(name).display().to_string()
}

/// The lines of a text as JSON objects.
pub(crate) fn objects(text: &str) -> Vec<serde_json::Value> {
    text.lines().map(|l| serde_json::from_str(l).unwrap_or_else(|e| panic!("{e}: {l}"))).collect()
}
