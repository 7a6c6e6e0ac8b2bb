//! The child process: its start, readiness and end.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

use anyhow::{Context as _, bail};
use rustix::process::Pid;
use tokio::process::Child;
use tokio::time::{Instant, sleep, timeout};

use super::launch::Launch;
use crate::{DEADLINE, POLL};

/// The exit of a server that did not become ready.
#[derive(Clone, Debug)]
pub struct Exited {
    /// Its exit status.
    pub status: ExitStatus,
    /// Its standard error.
    pub stderr: String,
}

/// The content of a server's ready file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ready {
    pub(super) grpc_address: String,
    pub(super) http_address: String,
    pub(super) admin_token_file: Option<PathBuf>,
}

impl Ready {
    /// `None` while the file is missing or incomplete.
    fn read(path: &Path) -> Option<Self> {
        let text = std::fs::read(path).ok()?;
        let value: serde_json::Value = serde_json::from_slice(&text).ok()?;
        let field = |name: &str| value.get(name)?.as_str().map(str::to_owned);
        Some(Self {
            grpc_address: field("grpc_address")?,
            http_address: field("http_address")?,
            admin_token_file: field("admin_token_file").map(PathBuf::from),
        })
    }
}

#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    pid: Pid,
}

/// The state of a process that was just started.
enum Beginning {
    Ready(Ready),
    Exited(ExitStatus),
    Neither,
}

impl Process {
    pub(super) async fn start(launch: &Launch) -> anyhow::Result<(Self, Ready)> {
        let mut process = Self::spawn(launch)?;
        match process.beginning(launch).await? {
            Beginning::Ready(ready) => Ok((process, ready)),
            Beginning::Exited(status) => bail!("the server ended before it was ready: {status}\n{}", launch.stderr()),
            Beginning::Neither => bail!("the server was not ready after {DEADLINE:?}\n{}", launch.stderr()),
        }
    }

    pub(super) async fn start_to_fail(launch: &Launch) -> anyhow::Result<Exited> {
        let mut process = Self::spawn(launch)?;
        let what = match process.beginning(launch).await? {
            Beginning::Exited(status) => {
                return Ok(Exited {
                    status,
                    stderr: launch.stderr(),
                });
            }
            Beginning::Ready(_) => "became ready",
            Beginning::Neither => "neither ended nor became ready",
        };
        bail!("the server was expected to refuse, but {what}\n{}", launch.stderr());
    }

    fn spawn(launch: &Launch) -> anyhow::Result<Self> {
        // The file of an earlier start must not be taken for the new one.
        let _ = std::fs::remove_file(&launch.ready_file);
        let mut command = launch.command();
        command
            .args(["serve", "--grpc-address", "127.0.0.1:0"])
            .args(["--http-address", "127.0.0.1:0"])
            .arg("--ready-file")
            .arg(&launch.ready_file)
            .arg("--data-dir")
            .arg(&launch.data_directory)
            .args(&launch.arguments)
            .stdin(Stdio::null())
            .stdout(append(&launch.stdout_file)?)
            .stderr(append(&launch.stderr_file)?)
            .kill_on_drop(true);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("HOOKWRIGHT_") {
                command.env_remove(name);
            }
        }
        command.envs(launch.environment.iter().map(|(name, value)| (name, value)));
        let child = command
            .spawn()
            .with_context(|| format!("starting {}", launch.binary.display()))?;
        let pid = child
            .id()
            .and_then(|id| Pid::from_raw(id.cast_signed()))
            .context("a new process has an id")?;
        Ok(Self { child, pid })
    }

    async fn beginning(&mut self, launch: &Launch) -> anyhow::Result<Beginning> {
        let end = Instant::now() + DEADLINE;
        while Instant::now() < end {
            if let Some(ready) = Ready::read(&launch.ready_file) {
                return Ok(Beginning::Ready(ready));
            }
            if let Some(status) = self.child.try_wait()? {
                return Ok(Beginning::Exited(status));
            }
            sleep(POLL).await;
        }
        Ok(Beginning::Neither)
    }

    pub(super) fn pid(&self) -> Pid {
        assert!(self.child.id().is_some(), "the server has ended");
        self.pid
    }

    pub(super) fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    pub(super) async fn wait(&mut self) -> anyhow::Result<ExitStatus> {
        let status = timeout(DEADLINE, self.child.wait())
            .await
            .context("the server did not end")??;
        Ok(status)
    }

    /// Kills the process, unless it has exited already.
    pub(super) async fn kill(&mut self) -> anyhow::Result<()> {
        if self.is_running() {
            self.child.start_kill()?;
        }
        self.wait().await?;
        Ok(())
    }
}

fn append(path: &Path) -> anyhow::Result<File> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .with_context(|| format!("opening {}", path.display()))
}
