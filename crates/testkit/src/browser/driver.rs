//! chromedriver as a child process, and one session with it.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context as _, bail};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
    time::timeout,
};

use crate::{DEADLINE, http};

/// How long a browser may take to exit.
const END: Duration = Duration::from_secs(5);
/// Arguments that make Chromium run without a screen, and keep it from using the network by itself.
const ARGUMENTS: &[&str] = &[
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--hide-scrollbars",
    "--disable-lcd-text",
    "--lang=en-US",
];

/// A chromedriver process with its session.
pub(super) struct Driver {
    address: String,
    session: String,
    _child: Child,
    _profile: TempDir,
}

impl Driver {
    pub(super) async fn start(more: &[&str]) -> anyhow::Result<Self> {
        let mut child = Command::new("chromedriver")
            .arg("--port=0")
            .env("TZ", "Europe/Amsterdam")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .context("starting chromedriver; `make test-setup` installs it")?;
        let stdout = child.stdout.take().context("its output")?;
        let port = timeout(DEADLINE, port(BufReader::new(stdout)));
        let port = port.await.context("chromedriver did not print its port")??;
        let profile = tempfile::tempdir()?;
        let directory = format!("--user-data-dir={}", profile.path().display());
        let arguments: Vec<&str> = ARGUMENTS
            .iter()
            .chain(more)
            .copied()
            .chain([directory.as_str()])
            .collect();
        let wanted = json!({ "alwaysMatch": {
            "browserName": "chrome",
            "goog:chromeOptions": { "args": arguments },
            "timeouts": { "script": 60_000, "pageLoad": 60_000 },
        } });
        let mut driver = Self {
            address: format!("127.0.0.1:{port}"),
            session: String::new(),
            _child: child,
            _profile: profile,
        };
        let begun = driver.send("POST", "/session", json!({ "capabilities": wanted })).await;
        let begun = begun.context("starting Chromium; `make test-setup` installs it")?;
        begun["sessionId"]
            .as_str()
            .context("a session")?
            .clone_into(&mut driver.session);
        Ok(driver)
    }

    /// Runs one command of the session.
    pub(super) async fn call(&self, method: &str, command: &str, body: Value) -> anyhow::Result<Value> {
        self.send(method, &format!("/session/{}{command}", self.session), body)
            .await
    }

    async fn send(&self, method: &str, path: &str, body: Value) -> anyhow::Result<Value> {
        let body = if method == "GET" {
            String::new()
        } else {
            body.to_string()
        };
        let kind = [("Content-Type", "application/json; charset=utf-8")];
        let answer = http::request(&self.address, method, path, &kind, body.as_bytes()).await?;
        let mut value: Value = serde_json::from_slice(&answer.body)?;
        let value = value["value"].take();
        if answer.status != 200 {
            bail!("{}: {}", value["error"], value["message"]);
        }
        Ok(value)
    }
}

impl Drop for Driver {
    /// Chromium ends with its session; chromedriver is killed afterwards.
    fn drop(&mut self) {
        if let Ok(address) = self.address.parse::<SocketAddr>()
            && !self.session.is_empty()
            && let Ok(mut stream) = TcpStream::connect_timeout(&address, END)
        {
            let path = format!("/session/{}", self.session);
            let _ = stream.set_read_timeout(Some(END));
            let _ = stream.write_all(&http::head(&self.address, "DELETE", &path, &[], 0));
            let _ = stream.read(&mut [0; 256]);
        }
    }
}

async fn port(mut output: BufReader<tokio::process::ChildStdout>) -> anyhow::Result<u16> {
    let mut line = String::new();
    while output.read_line(&mut line).await? > 0 {
        if let Some((_, port)) = line.trim_end().rsplit_once("started successfully on port ") {
            return Ok(port.trim_end_matches('.').parse()?);
        }
        line.clear();
    }
    bail!("chromedriver ended before it was ready")
}
