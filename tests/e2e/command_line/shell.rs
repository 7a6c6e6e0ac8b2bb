//! A user's shell: its own home, its variables, and the program.

use std::{
    path::{Path, PathBuf},
    process::{ExitStatus, Output, Stdio},
    sync::{Arc, Mutex},
};

use hookwright_testkit::{DEADLINE, until};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader, Lines},
    process::{Child, ChildStdout, Command},
    task::JoinHandle,
    time::timeout,
};

use crate::support::Installation;

pub(super) const BINARY: &str = env!("CARGO_BIN_EXE_hookwright");

/// A shell for one test. It ignores the home and the variables of the user who runs the tests.
pub(super) struct Shell {
    home: TempDir,
    variables: Vec<(String, String)>,
}

impl Shell {
    /// A shell in an empty home.
    pub(super) fn new() -> Self {
        Self {
            home: tempfile::tempdir().unwrap(),
            variables: Vec::new(),
        }
    }

    /// A shell whose variables name the installation.
    pub(super) fn at(installation: &Installation) -> Self {
        Self::at_address(installation, installation.server.grpc_address())
    }

    /// A shell that reaches the installation at another address.
    pub(super) fn at_address(installation: &Installation, address: &str) -> Self {
        Self::new()
            .with("HOOKWRIGHT_ADDRESS", &format!("http://{address}"))
            .with("HOOKWRIGHT_TOKEN", &installation.server.token().unwrap())
            .with("HOOKWRIGHT_ORGANIZATION", "acme")
    }

    pub(super) fn with(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// A path in the home directory.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// The program, ready to be started.
    pub(super) fn command(&self, arguments: &[&str]) -> Command {
        self.program(BINARY, arguments)
    }

    pub(super) fn program(&self, program: impl AsRef<Path>, arguments: &[&str]) -> Command {
        let mut command = Command::new(program.as_ref());
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy();
            if name.starts_with("HOOKWRIGHT_") || name.starts_with("XDG_") {
                command.env_remove(&*name);
            }
        }
        command
            .args(arguments)
            .env("HOME", self.home.path())
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .current_dir(self.home.path())
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command
    }

    /// Runs a command until it exits, with any status.
    pub(super) async fn run(&self, arguments: &[&str]) -> Output {
        timeout(DEADLINE, self.command(arguments).output())
            .await
            .unwrap_or_else(|_| panic!("{arguments:?} did not end"))
            .unwrap()
    }

    /// Runs a command that succeeds and returns its standard output.
    pub(super) async fn text(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments).await;
        assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
        text(&output.stdout)
    }

    /// Runs a command that succeeds and returns its answer.
    pub(super) async fn json(&self, arguments: &[&str]) -> Value {
        let shown = self.text(&[arguments, &["--output", "json"]].concat()).await;
        serde_json::from_str(&shown).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {shown}"))
    }

    /// Runs a command that succeeds and returns its answer, as YAML.
    pub(super) async fn yaml(&self, arguments: &[&str]) -> Value {
        let shown = self.text(&[arguments, &["--output", "yaml"]].concat()).await;
        serde_saphyr::from_str(&shown).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {shown}"))
    }

    /// Runs a command that fails with this status and returns its standard error.
    pub(super) async fn failure(&self, status: i32, arguments: &[&str]) -> String {
        let output = self.run(arguments).await;
        let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
        assert_eq!(output.status.code(), Some(status), "{arguments:?}: {stdout}\n{stderr}");
        stderr
    }

    /// Starts a command that keeps running.
    pub(super) fn start(&self, arguments: &[&str]) -> Running {
        let mut command = self.command(arguments);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut pipe = child.stderr.take().unwrap();
        let stderr = Arc::new(Mutex::new(Vec::new()));
        let into = Arc::clone(&stderr);
        let reader = tokio::spawn(async move {
            let mut chunk = [0; 4_096];
            while let Ok(length @ 1..) = pipe.read(&mut chunk).await {
                into.lock().unwrap().extend_from_slice(&chunk[..length]);
            }
        });
        Running {
            child,
            stdout,
            stderr,
            reader,
        }
    }
}

/// A command that keeps running. It is killed when it is dropped.
pub(super) struct Running {
    child: Child,
    stdout: Lines<BufReader<ChildStdout>>,
    stderr: Arc<Mutex<Vec<u8>>>,
    reader: JoinHandle<()>,
}

impl Running {
    /// The next line of standard output.
    pub(super) async fn line(&mut self) -> String {
        match timeout(DEADLINE, self.stdout.next_line()).await {
            Ok(Ok(Some(line))) => line,
            other => panic!("no line came ({other:?}): {}", self.stderr()),
        }
    }

    /// The next line that contains this text.
    pub(super) async fn line_with(&mut self, part: &str) -> String {
        let what = format!("a line with `{part}`");
        until(&what, async || {
            let line = self.line().await;
            if line.contains(part) { Ok(line) } else { Err(line) }
        })
        .await
    }

    /// The standard error so far.
    pub(super) fn stderr(&self) -> String {
        text(&self.stderr.lock().unwrap())
    }

    /// Waits until the standard error contains this text.
    pub(super) async fn said(&self, part: &str) {
        until(part, async || {
            let said = self.stderr();
            if said.contains(part) { Ok(()) } else { Err(said) }
        })
        .await;
    }

    pub(super) fn signal(&self, signal: Signal) {
        let id = self.child.id().expect("it runs");
        kill_process(Pid::from_raw(id.cast_signed()).unwrap(), signal).unwrap();
    }

    /// Waits until it exits.
    pub(super) async fn wait(&mut self) -> ExitStatus {
        let status = timeout(DEADLINE, self.child.wait()).await;
        let status = status
            .unwrap_or_else(|_| panic!("it did not end: {}", self.stderr()))
            .unwrap();
        let _ = timeout(DEADLINE, &mut self.reader).await;
        status
    }

    /// Interrupts it as Ctrl-C does, and returns its exit status.
    pub(super) async fn interrupt(&mut self) -> Option<i32> {
        self.signal(Signal::INT);
        self.wait().await.code()
    }
}

pub(super) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
