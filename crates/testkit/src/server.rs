//! The real server as a child process, on free ports, with its own data directory.
//!
//! ```no_run
//! # async fn example() -> anyhow::Result<()> {
//! # let binary = "hookwright"; // env!("CARGO_BIN_EXE_hookwright") in a test of the binary's package
//! use hookwright_testkit::TestServer;
//!
//! let mut server = TestServer::builder(binary).sqlite().allow("127.0.0.0/8").start().await?;
//! // ... publish to server.grpc_address() with server.token()? ...
//! server.kill9().await?;
//! server.restart().await?;
//! # Ok(())
//! # }
//! ```

mod builder;
mod launch;
mod process;

use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use anyhow::Context as _;
use rustix::process::Signal;
use tempfile::TempDir;

pub use builder::TestServerBuilder;
pub use process::Exited;

use launch::Launch;
use process::{Process, Ready};

/// A server that runs, or is stopped between [`TestServer::kill9`] and [`TestServer::restart`]. It is killed when this
/// value is dropped.
#[derive(Debug)]
pub struct TestServer {
    launch: Launch,
    process: Process,
    ready: Ready,
    /// Dropped last: it contains the server's data, unless the test provided a directory.
    _directory: TempDir,
}

impl TestServer {
    /// Begins the description of a server. `binary` is `env!("CARGO_BIN_EXE_hookwright")`.
    #[must_use]
    pub fn builder(binary: impl Into<PathBuf>) -> TestServerBuilder {
        TestServerBuilder::new(binary.into())
    }

    async fn launch(launch: Launch, directory: TempDir) -> anyhow::Result<Self> {
        let (process, ready) = Process::start(&launch).await?;
        Ok(Self {
            launch,
            process,
            ready,
            _directory: directory,
        })
    }

    /// The address of the gRPC API, such as `127.0.0.1:4711`.
    #[must_use]
    pub fn grpc_address(&self) -> &str {
        &self.ready.grpc_address
    }

    /// The address of the console, metrics and health checks.
    #[must_use]
    pub fn http_address(&self) -> &str {
        &self.ready.http_address
    }

    /// The admin token that the server created at its first start.
    ///
    /// # Errors
    /// Fails if the server named no file, or the file cannot be read.
    pub fn token(&self) -> anyhow::Result<String> {
        let path = self
            .ready
            .admin_token_file
            .as_ref()
            .context("the ready file names no admin_token_file")?;
        let token = std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
        Ok(token.trim().to_owned())
    }

    /// The directory that holds the server's data.
    #[must_use]
    pub fn data_directory(&self) -> &Path {
        &self.launch.data_directory
    }

    /// The process id, for reading /proc.
    ///
    /// # Panics
    /// Panics if the server has exited.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.pid().as_raw_nonzero().get().unsigned_abs()
    }

    /// The server's standard error since its first start.
    #[must_use]
    pub fn stderr(&self) -> String {
        self.launch.stderr()
    }

    /// Kills the server like a crash, and waits until it has exited.
    ///
    /// # Errors
    /// Fails if it cannot be killed.
    pub async fn kill9(&mut self) -> anyhow::Result<()> {
        self.process.kill().await
    }

    /// Asks the server to stop (SIGTERM), and waits until it has exited.
    ///
    /// # Errors
    /// Fails if it does not exit in time.
    pub async fn terminate(&mut self) -> anyhow::Result<ExitStatus> {
        self.signal(Signal::TERM)?;
        self.wait().await
    }

    /// Waits until the server exits by itself.
    ///
    /// # Errors
    /// Fails if it does not exit in time.
    pub async fn wait(&mut self) -> anyhow::Result<ExitStatus> {
        self.process.wait().await
    }

    /// Whether the server is running.
    pub fn is_running(&mut self) -> bool {
        self.process.is_running()
    }

    /// Restarts the server with the same data and settings. A running server is stopped by [`Self::kill9`] first. Its
    /// ports may change.
    ///
    /// # Errors
    /// Fails if it does not become ready.
    pub async fn restart(&mut self) -> anyhow::Result<()> {
        self.kill9().await?;
        let (process, ready) = Process::start(&self.launch).await?;
        self.process = process;
        self.ready = ready;
        Ok(())
    }

    /// [`Self::restart`] with one more argument from now on, such as a changed setting.
    ///
    /// # Errors
    /// Fails if it does not become ready.
    pub async fn restart_with(&mut self, flag: &str, value: &str) -> anyhow::Result<()> {
        self.launch.arguments.push(flag.into());
        self.launch.arguments.push(value.into());
        self.restart().await
    }

    /// Suspends the process (SIGSTOP), like a machine that sleeps.
    ///
    /// # Errors
    /// Fails if the process is gone.
    pub fn freeze(&self) -> anyhow::Result<()> {
        self.signal(Signal::STOP)
    }

    /// Resumes a frozen process.
    ///
    /// # Errors
    /// Fails if the process is gone.
    pub fn thaw(&self) -> anyhow::Result<()> {
        self.signal(Signal::CONT)
    }

    /// Sends a signal without waiting for its effect.
    ///
    /// # Errors
    /// Fails if the process is gone.
    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        rustix::process::kill_process(self.process.pid(), signal).with_context(|| format!("sending {signal:?}"))
    }
}

impl Drop for TestServer {
    #[expect(
        clippy::print_stderr,
        reason = "the server's output belongs to the report of the test that failed"
    )]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the server's standard error:\n{}---", self.stderr());
        }
    }
}

#[cfg(test)]
mod tests;
