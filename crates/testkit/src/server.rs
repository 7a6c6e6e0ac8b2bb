//! The real server as a child process, on free ports, with a data directory of its own.
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
mod process;

use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use anyhow::Context as _;
use rustix::process::Signal;
use tempfile::TempDir;

pub use builder::TestServerBuilder;
pub use process::Exited;

use builder::Launch;
use process::{Process, Ready};

/// A running (or, between [`TestServer::kill9`] and [`TestServer::restart`], stopped) server, killed
/// when this value is dropped.
#[derive(Debug)]
pub struct TestServer {
    launch: Launch,
    process: Process,
    ready: Ready,
    /// Dropped last: the server's data is in it, unless the test brought a directory of its own.
    _directory: TempDir,
}

impl TestServer {
    /// Starts to describe a server. `binary` is `env!("CARGO_BIN_EXE_hookwright")`.
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

    /// Where the gRPC API listens, such as `127.0.0.1:4711`.
    #[must_use]
    pub fn grpc_address(&self) -> &str {
        &self.ready.grpc_address
    }

    /// Where the console, metrics and health checks listen.
    #[must_use]
    pub fn http_address(&self) -> &str {
        &self.ready.http_address
    }

    /// The admin token that the server made at its first start.
    ///
    /// # Errors
    /// When the server named no file, or it cannot be read.
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
    /// When the server has ended.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.pid().as_raw_nonzero().get().unsigned_abs()
    }

    /// What the server wrote to standard error since its first start.
    #[must_use]
    pub fn stderr(&self) -> String {
        self.launch.stderr()
    }

    /// Kills the server as a crash would, and waits until it is gone.
    ///
    /// # Errors
    /// When it cannot be killed.
    pub async fn kill9(&mut self) -> anyhow::Result<()> {
        self.process.kill().await
    }

    /// Asks the server to stop (SIGTERM), and waits until it has.
    ///
    /// # Errors
    /// When it does not stop in time.
    pub async fn terminate(&mut self) -> anyhow::Result<ExitStatus> {
        self.signal(Signal::TERM)?;
        self.wait().await
    }

    /// Waits until the server ends by itself.
    ///
    /// # Errors
    /// When it does not end in time.
    pub async fn wait(&mut self) -> anyhow::Result<ExitStatus> {
        self.process.wait().await
    }

    /// Whether the server is running.
    pub fn is_running(&mut self) -> bool {
        self.process.is_running()
    }

    /// Starts the server again (after it was ended, if it still runs, by [`Self::kill9`]) with the
    /// same data and settings. Its ports may be other ones then.
    ///
    /// # Errors
    /// When it does not become ready.
    pub async fn restart(&mut self) -> anyhow::Result<()> {
        self.kill9().await?;
        let (process, ready) = Process::start(&self.launch).await?;
        self.process = process;
        self.ready = ready;
        Ok(())
    }

    /// [`Self::restart`] with one more argument pair from now on (a setting that changed).
    ///
    /// # Errors
    /// When it does not become ready.
    pub async fn restart_with(&mut self, flag: &str, value: &str) -> anyhow::Result<()> {
        self.launch.arguments.push(flag.into());
        self.launch.arguments.push(value.into());
        self.restart().await
    }

    /// Stops the process in its tracks (SIGSTOP), as a machine that sleeps would.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn freeze(&self) -> anyhow::Result<()> {
        self.signal(Signal::STOP)
    }

    /// Lets a frozen process go on.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn thaw(&self) -> anyhow::Result<()> {
        self.signal(Signal::CONT)
    }

    /// Sends a signal and does not wait.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        rustix::process::kill_process(self.process.pid(), signal).with_context(|| format!("sending {signal:?}"))
    }
}

impl Drop for TestServer {
    #[expect(
        clippy::print_stderr,
        reason = "what the server said belongs to the report of the test that failed"
    )]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the server's standard error:\n{}---", self.stderr());
        }
    }
}

#[cfg(test)]
mod tests;
