//! What pages hold: large payloads in part, commands that work, forms that lose nothing.

use hookwright_proto::v1::{GetWebhookRequest, UpdateWebhookRequest, Webhook};
use hookwright_testkit::{Receiver, Response};

use super::{Reader, delivery_of, unescaped};
use crate::{
    support::{Installation, On, SECRET, event, id_of, webhook},
    verifiers::{header_map, verify},
};

const PAGES: &str = "/console/organizations/acme";

#[tokio::test]
async fn c04_a_page_stays_small_and_offers_the_rest() {
    let mut installation = Installation::start(On::Sqlite).await;
    installation.register("export.ready").await;
    let receiver = Receiver::start().await;
    receiver.answer(Response::new(200).body(vec![0xff; 16 << 10]));
    installation.webhook(&receiver, &["*"]).await;
    let json = format!(r#"{{"text":"{}"}}"#, "x".repeat((5 << 20) - 100));
    let published = installation.publish("export.ready", &json).await;
    let delivery = delivery_of(&mut installation, &published.event).await;
    installation.delivered(&delivery).await;
    let reader = Reader::sign_in(&installation, &installation.server.token().unwrap()).await;
    let (event, delivery) = (id_of(&published.event), id_of(&delivery));
    for page in [
        format!("{PAGES}/events"),
        format!("{PAGES}/events/{event}"),
        format!("{PAGES}/deliveries/{delivery}"),
    ] {
        let shown = reader.get(&page).await;
        assert_eq!(shown.status, 200, "{page}");
        assert!(shown.body.len() < 64 << 10, "{page} has {} bytes", shown.body.len());
    }
    let payload = reader.get(&format!("{PAGES}/events/{event}/payload")).await;
    assert_eq!(payload.body, json.as_bytes());
    let disposition = payload.header("content-disposition").unwrap();
    assert_eq!(disposition, format!("attachment; filename=\"{event}.json\""));
    let response = reader
        .get(&format!("{PAGES}/deliveries/{delivery}/attempts/1/response"))
        .await;
    assert_eq!(response.body, vec![0xff; 16 << 10]);
    assert_eq!(response.header("content-type"), Some("application/octet-stream"));
    assert_eq!(response.header("x-content-type-options"), Some("nosniff"));
}

#[tokio::test]
async fn the_command_of_an_attempt_makes_its_request_again_and_signs_it() {
    let mut installation = Installation::start(On::Sqlite).await;
    installation.register("note.taken").await;
    let receiver = Receiver::start().await;
    let made = Webhook {
        headers: [("X-Team".to_owned(), "it's ours".to_owned())].into(),
        ..webhook(&receiver.url("/in?a=$(b)&c='d'"), &["*"])
    };
    installation.create_webhook(made).await.unwrap();
    let reader = Reader::sign_in(&installation, &installation.server.token().unwrap()).await;
    let large = format!(r#"{{"text":"{}"}}"#, "é".repeat(2_000));
    for json in [r#"{"quote":"it's $HOME `x` \\ \"y\""}"#, &large] {
        let published = installation.try_publish(event("note.taken", json)).await.unwrap();
        let delivery = delivery_of(&mut installation, &published.event).await;
        installation.delivered(&delivery).await;
        let sent = receiver.requests().pop().unwrap();
        let page = reader
            .get(&format!("{PAGES}/deliveries/{}", id_of(&delivery)))
            .await
            .text();
        let (_, command) = page.split_once("<code>secret=").expect("a command is shown");
        let command = format!("secret={}", unescaped(command.split("</code>").next().unwrap()));
        let command = command.replacen("the signing secret", SECRET, 1);
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join(format!("{}.json", id_of(&published.event)));
        let payload = reader
            .get(&format!("{PAGES}/events/{}/payload", id_of(&published.event)))
            .await;
        std::fs::write(file, payload.body).unwrap();
        let before = receiver.request_count();
        let run = tokio::process::Command::new("sh")
            .args(["-ec", &command])
            .current_dir(&directory)
            .output();
        let run = run.await.unwrap();
        assert!(
            run.status.success(),
            "{command}\n{}",
            String::from_utf8_lossy(&run.stderr)
        );
        let again = receiver.wait_for(before + 1).await.pop().unwrap();
        assert_eq!(again.body, sent.body, "{command}");
        assert_eq!(again.target(), sent.target());
        for name in [
            "TT-Hook-Signature",
            "TT-Hook-Signature-256",
            "TT-Hook-Event",
            "webhook-id",
            "Content-Type",
        ] {
            assert_eq!(again.header(name), sent.header(name), "{name}: {command}");
        }
        let verified = verify(SECRET, &header_map(&again), &again.body);
        assert!(verified.is_ok(), "{verified:?}: {command}");
    }
}

#[tokio::test]
async fn the_command_of_an_empty_list_publishes() {
    let installation = Installation::start(On::Sqlite).await;
    let reader = Reader::sign_in(&installation, &installation.server.token().unwrap()).await;
    let page = reader.get(&format!("{PAGES}/events")).await.text();
    let (_, command) = page.split_once("<code>hookwright ").expect("a command is told");
    let command = unescaped(command.split("</code>").next().unwrap());
    let script = format!("\"$0\" {command}");
    let run = tokio::process::Command::new("sh")
        .args(["-ec", &script, env!("CARGO_BIN_EXE_hookwright")])
        .env(
            "HOOKWRIGHT_ADDRESS",
            format!("http://{}", installation.server.grpc_address()),
        )
        .env("HOOKWRIGHT_TOKEN", installation.server.token().unwrap())
        .env("XDG_CONFIG_HOME", "/nonexistent")
        .output();
    let run = run.await.unwrap();
    assert!(
        run.status.success(),
        "{command}\n{}",
        String::from_utf8_lossy(&run.stderr)
    );
    let page = reader.get(&format!("{PAGES}/events")).await.text();
    assert!(page.contains("clocking</td>"), "{page}");
}

#[tokio::test]
async fn a_form_keeps_what_it_cannot_list_and_what_others_changed() {
    let mut installation = Installation::start(On::Sqlite).await;
    let receiver = Receiver::start().await;
    // More types than a form lists.
    for number in 0..500 {
        installation.register(&format!("a.type-{number:03}")).await;
    }
    installation.register("zeta.paid").await;
    let made = installation.webhook(&receiver, &["zeta.paid", "a.type-007"]).await;
    let reader = Reader::sign_in(&installation, &installation.server.token().unwrap()).await;
    let edit = format!("{PAGES}/webhooks/{}/edit", id_of(&made.name));
    let form = reader.get(&edit).await.text();
    let ticked: Vec<&str> = form
        .split("name=\"event\" value=\"")
        .skip(1)
        .filter_map(|part| part.split_once('"'))
        .filter(|(_, rest)| rest.starts_with(" checked"))
        .map(|(name, _)| name)
        .collect();
    assert_eq!(ticked, ["a.type-007", "zeta.paid"]);
    let version = form.split("name=\"version\" value=\"").nth(1).unwrap();
    let version = version.split('"').next().unwrap();
    // Somebody else changes it meanwhile.
    let request = UpdateWebhookRequest {
        webhook: Some(Webhook {
            name: made.name.clone(),
            description: "theirs".to_owned(),
            ..Webhook::default()
        }),
        update_mask: Some(prost_types::FieldMask {
            paths: vec!["description".to_owned()],
        }),
    };
    installation.clients.webhooks.update_webhook(request).await.unwrap();
    let url = url_encoded(&receiver.url("/payload"));
    let fields = |version: &str| {
        format!(
            "version={version}&payload_url={url}&event=zeta.paid&event=a.type-007&timeout=7s&active=yes&description=mine&intent=save"
        )
    };
    let overtaken = reader.post_from(&edit, &edit, &fields(version)).await;
    assert_eq!(overtaken.status, 422);
    let text = overtaken.text();
    assert!(
        text.contains("Somebody else changed the webhook") && text.contains("value=\"7s\"") && text.contains("mine"),
        "{text}"
    );
    let again = text.split("name=\"version\" value=\"").nth(1).unwrap();
    let again = again.split('"').next().unwrap();
    assert_ne!(again, version);
    assert_eq!(reader.post_from(&edit, &edit, &fields(again)).await.status, 303);
    let request = GetWebhookRequest { name: made.name };
    let webhook = installation
        .clients
        .webhooks
        .get_webhook(request)
        .await
        .unwrap()
        .into_inner();
    assert_eq!((webhook.description.as_str(), webhook.events.len()), ("mine", 2));
}

fn url_encoded(text: &str) -> String {
    text.replace(':', "%3A").replace('/', "%2F")
}
