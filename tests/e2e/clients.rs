//! The example clients in `clients/`, used as their READMEs describe: installed by the commands under "Install"
//! (`scripts/setup-clients`) and run by the commands under "Run", against the real server.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use hookwright_proto::v1::{ListDeliveriesRequest, ListEventsRequest, Webhook};
use hookwright_testkit::{Authority, Receiver, TestServer};

use crate::{
    examples::{Environment, Example, Listening, breaking_proxy, text},
    support::{ACME, Installation, On, builder, id_of, wait_for_events, webhook},
};

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

/// Runs every command of a README in its order, including the failures that it describes.
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
    assert_eq!(
        events, 4,
        "{language}: one event published alone, three over the stream"
    );

    let refused = example.fails(bad, &environment).await;
    assert!(refused.contains("PAYLOAD_NOT_OBJECT"), "{language}: {refused}");
    assert!(
        refused.contains("\n  json: must be a JSON object"),
        "{language}: {refused}"
    );
    assert_eq!(installation.events().await, 4, "{language}: nothing was stored");

    retries(&example, publish, &environment).await;
    trusts_an_authority(&example, publish, &environment).await;
    refuses_another_secret(&mut installation, &receiver).await;
    knows_a_repeat(&mut installation, &receiver).await;
    assert!(receiver.is_running(), "{language}: {:?}", receiver.lines());
}

/// Checks that `manage` installs a webhook, and does not change it when it runs again.
async fn installs_once(example: &Example, manage: &str, environment: &Environment) {
    let created = example.succeeds(manage, environment).await;
    let name = created.strip_prefix("created ").unwrap_or_else(|| panic!("{created}"));
    assert!(name.starts_with("organizations/acme/webhooks/wh_"), "{created}");
    assert_eq!(example.succeeds(manage, environment).await, format!("exists {name}"));
}

/// Checks that each of the two publishers publishes its events once, even if it runs several times.
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
        .and_then(|rest| rest.strip_suffix(", to be sent to 1 webhook"))
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

/// Checks that a publisher whose first connections break retries until its event is published.
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

/// Checks that over TLS a publisher trusts the authority that it was given, and no other.
async fn trusts_an_authority(example: &Example, publish: &str, environment: &Environment) {
    let authority = Authority::new();
    let identity = authority.certificate(&["127.0.0.1"]);
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, pem: &str| {
        let path = directory.path().join(name).to_str().unwrap().to_owned();
        std::fs::write(&path, pem).unwrap();
        path
    };
    let (certificate, key) = identity.files(directory.path());
    let server = TestServer::builder(env!("CARGO_BIN_EXE_hookwright"))
        .arg("--tls-certificate", &certificate)
        .arg("--tls-private-key", &key)
        .start()
        .await
        .unwrap();
    let mut environment = environment.clone();
    environment.set("HOOKWRIGHT_ADDRESS", &format!("https://{}", server.grpc_address()));
    environment.set("HOOKWRIGHT_TOKEN", &server.token().unwrap());
    let others = Authority::new().pem();
    for (trusted, answer) in [(authority.pem(), "RESOURCE_NOT_FOUND"), (others, "CERTIFICATE")] {
        let trusted = file("authority.pem", &trusted);
        for variable in [
            "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
            "NODE_EXTRA_CA_CERTS",
            "SSL_CERT_FILE",
        ] {
            environment.set(variable, &trusted);
        }
        let failed = example.fails(publish, &environment).await;
        assert!(failed.to_uppercase().contains(answer), "{}: {failed}", example.language);
    }
}

/// Checks that the receiver refuses a request that was signed with a secret it does not have, and that the server
/// records the response.
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

/// Checks that the receiver answers a repeated request with success without processing it again, and refuses a request
/// that was changed in transit.
async fn knows_a_repeat(installation: &mut Installation, receiver: &Listening) {
    let recorder = Receiver::start().await;
    installation.webhook(&recorder, &["clocking"]).await;
    let published = installation
        .publish("clocking", r#"{"action":"created","clocking":{"id":"C-9"}}"#)
        .await;
    let event = id_of(&published.event).to_owned();
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
    /// The number of clocking events that the organization has.
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
