//! The example clients in `clients/`, used as their READMEs tell to use them: installed by the commands under "Install"
//! (`scripts/setup-clients`), run by the commands under "Run", against the real server.

use std::{
    path::PathBuf,
    process::{Output, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use hookwright_proto::v1::{ListDeliveriesRequest, ListEventsRequest, Webhook};
use hookwright_testkit::{DEADLINE, Receiver, RecordedRequest, workspace_directory};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    process::{Child, Command},
    sync::watch,
    time::timeout,
};

use crate::support::{ACME, Installation, On, SECRET, builder, wait_for_events, webhook};

/// How long an installation may take on a machine where nothing is cached: downloads and a first build.
const SETUP_DEADLINE: Duration = Duration::from_secs(200);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn python() {
    walk_through("python").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn typescript() {
    walk_through("typescript").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn go() {
    walk_through("go").await;
}

/// Every command of a README, in its order, and what can go wrong on the way.
async fn walk_through(language: &str) {
    let example = Example::install(language).await;
    let commands = example.commands("Run");
    let [exports @ .., receiver, manage, publish, stream, bad] = commands.as_slice() else {
        panic!("{language}: the section Run has other commands than these five: {commands:#?}");
    };
    let (builder, _database) = builder(On::Sqlite).await;
    let mut installation = Installation::of(builder.start().await.unwrap()).await;
    let address = format!("http://{}", installation.server.grpc_address());
    let token = installation.server.token().unwrap();
    let mut environment = Environment::of(exports, &address, &token);

    let receiver = example.start_receiver(receiver, &environment).await;
    environment.set("PORT", &receiver.port);
    installs_once(&example, manage, &environment).await;
    receiver.line("verified ping evt_").await;
    publishes_once(&example, publish, stream, &environment, &receiver).await;
    let events = installation.events().await;
    assert_eq!(events, 4, "{language}: one published alone, three over the stream");

    let refused = example.fails(bad, &environment).await;
    assert!(refused.contains("PAYLOAD_NOT_OBJECT"), "{language}: {refused}");
    assert!(
        refused.contains("\n  json: must be a JSON object"),
        "{language}: {refused}"
    );
    assert_eq!(installation.events().await, 4, "{language}: nothing was stored");

    retries(&example, publish, &environment).await;
    refuses_another_secret(&mut installation, &receiver).await;
    knows_a_repeat(&mut installation, &receiver).await;
    assert!(receiver.is_running(), "{language}: {:?}", receiver.lines());
}

/// `manage` installs a webhook, and leaves it alone when it is called again.
async fn installs_once(example: &Example, manage: &str, environment: &Environment) {
    let created = example.succeeds(manage, environment).await;
    let name = created.strip_prefix("created ").unwrap_or_else(|| panic!("{created}"));
    assert!(name.starts_with("organizations/acme/webhooks/wh_"), "{created}");
    assert_eq!(example.succeeds(manage, environment).await, format!("exists {name}"));
}

/// Each of the two publishers publishes once, however often it is called.
async fn publishes_once(
    example: &Example,
    publish: &str,
    stream: &str,
    environment: &Environment,
    receiver: &Listening,
) {
    let published = example.succeeds(publish, environment).await;
    let event = published
        .strip_prefix("published organizations/acme/events/")
        .and_then(|rest| rest.strip_suffix(", owed to 1 webhooks"))
        .unwrap_or_else(|| panic!("{published}"));
    receiver.line(&format!("verified clocking {event}")).await;
    let again = example.succeeds(publish, environment).await;
    assert_eq!(again, published.replacen("published", "repeated", 1));
    let streamed = example.succeeds(stream, environment).await;
    assert_eq!(streamed, "published 3, repeated 0, refused 0");
    let streamed = example.succeeds(stream, environment).await;
    assert_eq!(streamed, "published 0, repeated 3, refused 0");
    receiver
        .until("four clockings", |lines| {
            lines
                .iter()
                .filter(|line| line.starts_with("verified clocking"))
                .count()
                == 4
        })
        .await;
}

/// A publisher whose first connections break tries again, and gets its event through.
async fn retries(example: &Example, publish: &str, environment: &Environment) {
    let broken = Arc::new(AtomicUsize::new(0));
    let target = environment.get("HOOKWRIGHT_ADDRESS").replace("http://", "");
    let address = breaking_proxy(target, 2, Arc::clone(&broken)).await;
    let mut environment = environment.clone();
    environment.set("HOOKWRIGHT_ADDRESS", &format!("http://{address}"));
    let output = example.run(publish, &environment).await;
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{}: {stdout}\n{stderr}", example.language);
    assert!(stdout.starts_with("repeated "), "{stdout}");
    assert!(stderr.contains("again in "), "{stderr}");
    assert_eq!(broken.load(Ordering::Relaxed), 2);
}

/// What is signed with a secret that the receiver does not have is refused, and the server is told so.
async fn refuses_another_secret(installation: &mut Installation, receiver: &Listening) {
    let wanted = Webhook {
        signing_secret: "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA".to_owned(),
        ..webhook(&format!("http://127.0.0.1:{}/other", receiver.port), &["checksheet"])
    };
    let created = installation.create_webhook(wanted).await.unwrap();
    let list = ListDeliveriesRequest {
        parent: ACME.to_owned(),
        webhook: created.name,
        ..ListDeliveriesRequest::default()
    };
    let listed = installation.clients.deliveries.list_deliveries(list).await.unwrap();
    let ping = listed.into_inner().deliveries[0].name.clone();
    let refused = installation
        .delivery_until(&ping, |delivery| delivery.attempt_count > 0)
        .await;
    assert_eq!(refused.last_response_status, 401);
    receiver.line("refused: ").await;
}

/// What was received before is answered with success and not worked on again; what was changed on the way is refused.
async fn knows_a_repeat(installation: &mut Installation, receiver: &Listening) {
    let recorder = Receiver::start().await;
    installation.webhook(&recorder, &["clocking"]).await;
    let published = installation
        .publish("clocking", r#"{"action":"created","clocking":{"id":"C-9"}}"#)
        .await;
    let event = crate::support::id_of(&published.event).to_owned();
    let recorded = wait_for_events(&recorder, 1).await.remove(0);
    receiver.line(&format!("verified clocking {event}")).await;
    assert_eq!(receiver.post(&recorded, &recorded.body).await, 204);
    receiver.line(&format!("repeated clocking {event}")).await;

    let refusals = || {
        receiver
            .lines()
            .iter()
            .filter(|line| line.starts_with("refused: "))
            .count()
    };
    let before = refusals();
    let altered = text(&recorded.body).replace("created", "deleted");
    assert_eq!(receiver.post(&recorded, altered.as_bytes()).await, 401);
    let mut unsigned = recorded.clone();
    unsigned.headers.retain(|(name, _)| name != "webhook-signature");
    assert_eq!(receiver.post(&unsigned, &recorded.body).await, 401);
    let mut no_signature = unsigned;
    no_signature
        .headers
        .push(("webhook-signature".to_owned(), "v1,% nonsense v1".to_owned()));
    assert_eq!(receiver.post(&no_signature, b"\xff\xfe").await, 401);
    receiver
        .until("three refusals", |lines| {
            lines.iter().filter(|line| line.starts_with("refused: ")).count() == before + 3
        })
        .await;
}

impl Installation {
    /// How many clocking events the organization has.
    async fn events(&mut self) -> usize {
        let list = ListEventsRequest {
            parent: ACME.to_owned(),
            event_type: "clocking".to_owned(),
            ..ListEventsRequest::default()
        };
        let listed = self.clients.events.list_events(list).await.unwrap();
        listed.into_inner().events.len()
    }
}

/// An installed example.
struct Example {
    language: String,
    directory: PathBuf,
    readme: String,
}

impl Example {
    async fn install(language: &str) -> Self {
        let mut setup = Command::new(workspace_directory().join("scripts/setup-clients"));
        let setup = setup.arg(language).kill_on_drop(true).output();
        let output = timeout(SETUP_DEADLINE, setup)
            .await
            .expect("it is installed in time")
            .unwrap();
        assert!(output.status.success(), "{language}: {}", text(&output.stderr));
        let directory = workspace_directory().join("target/examples/clients").join(language);
        Self {
            language: language.to_owned(),
            readme: std::fs::read_to_string(directory.join("README.md")).unwrap(),
            directory,
        }
    }

    /// The commands of one section of the README: its lines that are indented by four spaces.
    fn commands(&self, section: &str) -> Vec<String> {
        let heading = format!("## {section}");
        let lines = self.readme.lines().skip_while(|line| *line != heading).skip(1);
        let within = lines.take_while(|line| !line.starts_with("## "));
        within
            .filter_map(|line| line.strip_prefix("    "))
            .map(str::to_owned)
            .collect()
    }

    fn command(&self, command: &str, environment: &Environment) -> Command {
        let mut bash = Command::new("bash");
        bash.args(["-euo", "pipefail", "-c", command])
            .current_dir(&self.directory)
            .envs(environment.0.iter().map(|(name, value)| (name, value)))
            .kill_on_drop(true);
        bash
    }

    async fn run(&self, command: &str, environment: &Environment) -> Output {
        let output = self.command(command, environment).output();
        timeout(DEADLINE, output)
            .await
            .unwrap_or_else(|_| panic!("{command} did not end"))
            .unwrap()
    }

    /// What a command prints that succeeds.
    async fn succeeds(&self, command: &str, environment: &Environment) -> String {
        let output = self.run(command, environment).await;
        assert!(
            output.status.success(),
            "{}: {command}: {}",
            self.language,
            text(&output.stderr)
        );
        text(&output.stdout).trim().to_owned()
    }

    /// What a command says that fails.
    async fn fails(&self, command: &str, environment: &Environment) -> String {
        let output = self.run(command, environment).await;
        assert_eq!(output.status.code(), Some(1), "{}: {command}", self.language);
        text(&output.stderr)
    }

    /// Starts the receiver on a free port.
    async fn start_receiver(&self, command: &str, environment: &Environment) -> Listening {
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

/// The variables that a README has its readers set.
#[derive(Clone)]
struct Environment(Vec<(String, String)>);

impl Environment {
    /// Checks that a README sets what the programs read, and gives it the test's values.
    fn of(exports: &[String], address: &str, token: &str) -> Self {
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

    fn get(&self, wanted: &str) -> &str {
        &self.0.iter().find(|(name, _)| name == wanted).unwrap().1
    }

    fn set(&mut self, wanted: &str, value: &str) {
        self.0.iter_mut().find(|(name, _)| name == wanted).unwrap().1 = value.to_owned();
    }
}

/// A receiver that runs, with what it has printed.
struct Listening {
    process: Mutex<Child>,
    heard: watch::Receiver<Vec<String>>,
    port: String,
}

impl Listening {
    fn lines(&self) -> Vec<String> {
        self.heard.borrow().clone()
    }

    fn is_running(&self) -> bool {
        matches!(self.process.lock().unwrap().try_wait(), Ok(None))
    }

    async fn until(&self, what: &str, condition: impl Fn(&[String]) -> bool) -> Vec<String> {
        let mut heard = self.heard.clone();
        let waited = timeout(DEADLINE, heard.wait_for(|lines| condition(lines))).await;
        match waited {
            Ok(Ok(lines)) => lines.clone(),
            _ => panic!("no {what} in {:#?}", self.lines()),
        }
    }

    /// Waits for a line that begins like this.
    async fn line(&self, start: &str) -> String {
        let lines = self
            .until(start, |lines| lines.iter().any(|line| line.starts_with(start)))
            .await;
        lines.into_iter().find(|line| line.starts_with(start)).unwrap()
    }

    /// Posts what Hookwright sent to somebody else, with this body, and returns the status.
    async fn post(&self, request: &RecordedRequest, body: &[u8]) -> u16 {
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

/// Forwards connections to `target`, but for the first ones, which it closes. Returns its address.
async fn breaking_proxy(target: String, to_break: usize, broken: Arc<AtomicUsize>) -> String {
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

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
