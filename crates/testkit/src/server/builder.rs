//! The description of a server before its start.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use anyhow::Context as _;

use super::{Exited, TestServer, launch::Launch, process::Process};

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
