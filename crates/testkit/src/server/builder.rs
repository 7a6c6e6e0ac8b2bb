//! The description of a server before its start.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use tokio::process::Command;

use super::{Exited, TestServer};
use crate::server::process::Process;

/// Describes a server: SQLite in a temporary data directory by default.
#[derive(Clone, Debug)]
pub struct TestServerBuilder {
    binary: PathBuf,
    data_directory: Option<PathBuf>,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    open_files_max: Option<u32>,
}

impl TestServerBuilder {
    pub(super) fn new(binary: PathBuf) -> Self {
        Self {
            binary,
            data_directory: None,
            arguments: Vec::new(),
            environment: Vec::new(),
            open_files_max: None,
        }
    }

    /// Uses SQLite in the data directory, which is the server's default.
    #[must_use]
    pub fn sqlite(self) -> Self {
        self
    }

    /// Uses a PostgreSQL database.
    #[must_use]
    pub fn postgres(self, url: &str) -> Self {
        self.arg("--database-url", url)
    }

    /// Allows a target that the address rules refuse, such as `127.0.0.0/8` for receivers of a test.
    #[must_use]
    pub fn allow(self, rule: &str) -> Self {
        self.arg("--allow-target", rule)
    }

    /// Adds a flag with its value.
    #[must_use]
    pub fn arg(self, flag: &str, value: &str) -> Self {
        self.flag(flag).flag(value)
    }

    /// Adds a flag that has no value.
    #[must_use]
    pub fn flag(mut self, flag: &str) -> Self {
        self.arguments.push(flag.into());
        self
    }

    /// Sets an environment variable of the server.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Limits the server's open files: both the soft and the hard limit, like `ulimit -n`.
    #[must_use]
    pub fn open_files_max(mut self, limit: u32) -> Self {
        self.open_files_max = Some(limit);
        self
    }

    /// Uses a data directory of the test, which outlives the server.
    #[must_use]
    pub fn data_directory(mut self, path: impl Into<PathBuf>) -> Self {
        self.data_directory = Some(path.into());
        self
    }

    /// Starts the server and waits until it is ready.
    ///
    /// # Errors
    /// Fails if it exits or does not become ready in time. The error contains its standard error.
    pub async fn start(self) -> anyhow::Result<TestServer> {
        let directory = tempfile::tempdir().context("the server's directory")?;
        let launch = self.launch(directory.path());
        TestServer::launch(launch, directory).await
    }

    /// Starts a server that is expected to refuse, and returns how it exited.
    ///
    /// # Errors
    /// Fails if it becomes ready, or does not exit in time.
    pub async fn start_to_fail(self) -> anyhow::Result<Exited> {
        let directory = tempfile::tempdir().context("the server's directory")?;
        Process::start_to_fail(&self.launch(directory.path())).await
    }

    fn launch(self, directory: &Path) -> Launch {
        Launch {
            binary: self.binary,
            data_directory: self.data_directory.unwrap_or_else(|| directory.join("data")),
            ready_file: directory.join("ready.json"),
            stdout_file: directory.join("stdout"),
            stderr_file: directory.join("stderr"),
            arguments: self.arguments,
            environment: self.environment,
            open_files_max: self.open_files_max,
        }
    }
}

/// Everything that is needed to start the same server again.
#[derive(Debug)]
pub(super) struct Launch {
    pub(super) binary: PathBuf,
    pub(super) data_directory: PathBuf,
    pub(super) ready_file: PathBuf,
    pub(super) stdout_file: PathBuf,
    pub(super) stderr_file: PathBuf,
    pub(super) arguments: Vec<OsString>,
    pub(super) environment: Vec<(OsString, OsString)>,
    pub(super) open_files_max: Option<u32>,
}

impl Launch {
    /// The command that runs the server, without arguments. It keeps its process id if a shell sets the limit first.
    pub(super) fn command(&self) -> Command {
        let Some(limit) = self.open_files_max else {
            return Command::new(&self.binary);
        };
        let mut command = Command::new("/bin/sh");
        command.args(["-c", r#"ulimit -n "$0" && exec "$@""#, &limit.to_string()]);
        command.arg(&self.binary);
        command
    }

    pub(super) fn stderr(&self) -> String {
        let bytes = std::fs::read(&self.stderr_file).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}
