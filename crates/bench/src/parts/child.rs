//! A child process, as the suite sees it.

use std::{process::Stdio, time::Duration};

use anyhow::Context as _;
use serde::{Serialize, de::DeserializeOwned};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    time::timeout,
};

/// The limit for every command.
const DEADLINE: Duration = Duration::from_secs(1_200);

/// A running child process.
pub(crate) struct Part {
    name: String,
    /// Killed when this value is dropped.
    _child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl Part {
    /// Starts this program again with another command.
    pub(crate) fn start(arguments: &[&str]) -> anyhow::Result<Self> {
        let program = std::env::current_exe()?;
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let input = child.stdin.take().context("standard input is piped")?;
        let output = child.stdout.take().context("standard output is piped")?;
        Ok(Self {
            name: arguments.first().copied().unwrap_or_default().to_owned(),
            _child: child,
            input,
            output: BufReader::new(output).lines(),
        })
    }

    pub(crate) async fn ask<A: DeserializeOwned>(&mut self, command: &impl Serialize) -> anyhow::Result<A> {
        let mut line = serde_json::to_vec(command)?;
        line.push(b'\n');
        self.input.write_all(&line).await?;
        self.hear().await
    }

    /// The next line that the process prints.
    pub(crate) async fn hear<A: DeserializeOwned>(&mut self) -> anyhow::Result<A> {
        let line = timeout(DEADLINE, self.output.next_line())
            .await
            .with_context(|| format!("`{}` does not answer", self.name))??;
        let line = line.with_context(|| format!("`{}` has ended", self.name))?;
        serde_json::from_str(&line).with_context(|| format!("`{}` said {line}", self.name))
    }
}
