//! The example clients in `clients/`, installed as their READMEs describe, and the programs in them.

use std::{
    path::PathBuf,
    process::{Output, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use hookwright_testkit::{DEADLINE, RecordedRequest, workspace_directory};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    process::{Child, Command},
    sync::watch,
    time::timeout,
};

use crate::support::SECRET;

/// How long an installation may take on a machine without caches: downloads and a first build.
const SETUP_DEADLINE: Duration = Duration::from_secs(200);

/// An installed example.
pub(crate) struct Example {
    pub(crate) language: String,
    pub(crate) directory: PathBuf,
    pub(crate) readme: String,
}

impl Example {
    pub(crate) async fn install(language: &str) -> Self {
        let mut setup = Command::new(workspace_directory().join("scripts/setup-clients"));
        let setup = setup.arg(language).kill_on_drop(true).output();
        let output = timeout(SETUP_DEADLINE, setup)
            .await
            .expect("the installation did not end in time")
            .unwrap();
        assert!(output.status.success(), "{language}: {}", text(&output.stderr));
        let directory = workspace_directory().join("target/examples/clients").join(language);
        Self {
            language: language.to_owned(),
            readme: std::fs::read_to_string(directory.join("README.md")).unwrap(),
            directory,
        }
    }

    /// The commands of one section of the README: the lines that are indented by four spaces.
    pub(crate) fn commands(&self, section: &str) -> Vec<String> {
        let heading = format!("## {section}");
        let lines = self.readme.lines().skip_while(|line| *line != heading).skip(1);
        let within = lines.take_while(|line| !line.starts_with("## "));
        within
            .filter_map(|line| line.strip_prefix("    "))
            .map(str::to_owned)
            .collect()
    }

    pub(crate) fn command(&self, command: &str, environment: &Environment) -> Command {
        let mut bash = Command::new("bash");
        bash.args(["-euo", "pipefail", "-c", command])
            .current_dir(&self.directory)
            .envs(environment.0.iter().map(|(name, value)| (name, value)))
            .kill_on_drop(true);
        bash
    }

    pub(crate) async fn run(&self, command: &str, environment: &Environment) -> Output {
        let output = self.command(command, environment).output();
        timeout(DEADLINE, output)
            .await
            .unwrap_or_else(|_| panic!("{command} did not end"))
            .unwrap()
    }

    /// Runs a command that succeeds, and returns its standard output.
    pub(crate) async fn succeeds(&self, command: &str, environment: &Environment) -> String {
        let output = self.run(command, environment).await;
        assert!(
            output.status.success(),
            "{}: {command}: {}",
            self.language,
            text(&output.stderr)
        );
        text(&output.stdout).trim().to_owned()
    }

    /// Runs a command that fails, and returns its standard error.
    pub(crate) async fn fails(&self, command: &str, environment: &Environment) -> String {
        let output = self.run(command, environment).await;
        assert_eq!(output.status.code(), Some(1), "{}: {command}", self.language);
        text(&output.stderr)
    }

    /// Starts the receiver on a free port.
    pub(crate) async fn start_receiver(&self, command: &str, environment: &Environment) -> Listening {
        let mut command = self.command(&format!("exec {command}"), environment);
        let mut process = command.stdout(Stdio::piped()).spawn().unwrap();
        let (said, heard) = watch::channel(Vec::new());
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                said.send_modify(|said| said.push(line));
            }
        });
        let mut receiver = Listening {
            process: Mutex::new(process),
            heard,
            port: String::new(),
        };
        let line = receiver.line("listening on http://127.0.0.1:").await;
        receiver.port = line.rsplit(':').next().unwrap().to_owned();
        receiver
    }
}

/// The environment variables that a README tells its readers to set.
#[derive(Clone)]
pub(crate) struct Environment(Vec<(String, String)>);

impl Environment {
    /// Checks that the README sets the variables that the programs read, and gives them the test's values.
    pub(crate) fn of(exports: &[String], address: &str, token: &str) -> Self {
        let values = [
            ("HOOKWRIGHT_ADDRESS", address),
            ("HOOKWRIGHT_TOKEN", token),
            ("HOOKWRIGHT_SIGNING_SECRET", SECRET),
            ("PORT", "0"),
        ];
        let names: Vec<_> = exports
            .iter()
            .filter_map(|line| line.strip_prefix("export ")?.split('=').next())
            .collect();
        assert_eq!(names, values.map(|(name, _)| name), "{exports:?}");
        Self(
            values
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
        )
    }

    pub(crate) fn get(&self, wanted: &str) -> &str {
        &self.0.iter().find(|(name, _)| name == wanted).unwrap().1
    }

    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.0.retain(|(known, _)| known != name);
        self.0.push((name.to_owned(), value.to_owned()));
    }
}

/// A running receiver, with the lines that it has printed.
pub(crate) struct Listening {
    process: Mutex<Child>,
    heard: watch::Receiver<Vec<String>>,
    pub(crate) port: String,
}

impl Listening {
    pub(crate) fn lines(&self) -> Vec<String> {
        self.heard.borrow().clone()
    }

    pub(crate) fn is_running(&self) -> bool {
        matches!(self.process.lock().unwrap().try_wait(), Ok(None))
    }

    pub(crate) async fn until(&self, what: &str, condition: impl Fn(&[String]) -> bool) -> Vec<String> {
        let mut heard = self.heard.clone();
        let waited = timeout(DEADLINE, heard.wait_for(|lines| condition(lines))).await;
        match waited {
            Ok(Ok(lines)) => lines.clone(),
            _ => panic!("no {what} in {:#?}", self.lines()),
        }
    }

    /// Waits for a line with this beginning.
    pub(crate) async fn line(&self, start: &str) -> String {
        let lines = self
            .until(start, |lines| lines.iter().any(|line| line.starts_with(start)))
            .await;
        lines.into_iter().find(|line| line.starts_with(start)).unwrap()
    }

    /// Posts a request that Hookwright sent to another receiver, with this body, and returns the status.
    pub(crate) async fn post(&self, request: &RecordedRequest, body: &[u8]) -> u16 {
        let mut head = String::from("POST /payload HTTP/1.1\r\n");
        for (name, value) in &request.headers {
            if !name.eq_ignore_ascii_case("content-length") {
                head.push_str(&format!("{name}: {value}\r\n"));
            }
        }
        head.push_str(&format!("Content-Length: {}\r\nConnection: close\r\n\r\n", body.len()));
        let exchange = async {
            let mut stream = TcpStream::connect(format!("127.0.0.1:{}", self.port)).await?;
            stream.write_all(&[head.as_bytes(), body].concat()).await?;
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).await?;
            Ok::<_, std::io::Error>(text(&answer))
        };
        let answer = timeout(DEADLINE, exchange).await.expect("it answers").unwrap();
        let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
        status.unwrap_or_else(|| panic!("{answer}"))
    }
}

/// Forwards connections to `target`, except the first ones, which it closes. Returns its address.
pub(crate) async fn breaking_proxy(target: String, to_break: usize, broken: Arc<AtomicUsize>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            if broken.load(Ordering::Relaxed) < to_break {
                broken.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            let target = target.clone();
            tokio::spawn(async move {
                let mut server = TcpStream::connect(target).await?;
                tokio::io::copy_bidirectional(&mut client, &mut server).await
            });
        }
    });
    address
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
