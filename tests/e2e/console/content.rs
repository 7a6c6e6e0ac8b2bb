//! The content of pages: large payloads in part, commands that work, forms that keep their input.

use hookwright_proto::v1::{DeliveryMode, EventType, GetWebhookRequest, UpdateWebhookRequest, Webhook};
use hookwright_testkit::{Receiver, Response};

use super::{Reader, cookie_of, delivery_of, unescaped};
use crate::{
    support::{CLOCKING, Installation, On, SECRET, event, id_of, webhook},
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
    let (_, command) = page.split_once("<code>hookwright ").expect("a command is shown");
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
    // Another user changes it meanwhile.
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

#[tokio::test]
async fn the_part_of_a_field_that_is_wrong_is_named() {
    let mut installation = Installation::start(On::Sqlite).await;
    let schema = r#"{"type":"object","properties":{"order":{"type":"string"}}}"#;
    let event_type = EventType {
        json_schema: schema.to_owned(),
        ..EventType::default()
    };
    installation.register_as("order.paid", event_type).await;
    let reader = Reader::sign_in(&installation, &installation.server.token().unwrap()).await;
    let publish = format!("{PAGES}/events/new");
    let fields = "event_type=order.paid&payload=%7B%22order%22%3A17%7D";
    let refused = unescaped(&reader.post_from(&publish, &publish, fields).await.text());
    for told in ["Payload /order: ", "/order: does not fit", "17 is not of type"] {
        assert!(refused.contains(told), "{told} is not in\n{refused}");
    }
    let new = format!("{PAGES}/webhooks/new");
    let fields = "payload_url=https%3A%2F%2Fexample.com%2F&event=*&timeout=10s&headers=Host%3A%20a&intent=save";
    let refused = reader
        .post_from(&new, &format!("{PAGES}/webhooks"), fields)
        .await
        .text();
    for told in ["Headers Host: cannot be set", "</svg>Host: cannot be set"] {
        assert!(refused.contains(told), "{told} is not in\n{refused}");
    }
}

#[tokio::test]
async fn a_filter_is_tried_on_a_payload_of_a_type() {
    let installation = Installation::start(On::Sqlite).await;
    let reader = Reader::sign_in(&installation, &installation.server.token().unwrap()).await;
    let new = format!("{PAGES}/webhooks/new");
    assert!(reader.get(&new).await.text().contains("name=\"sample_type\""));
    for (event_type, told) in [("order.paid", "The filter matches"), ("order.sent", "does not match")] {
        let fields = format!(
            "filter=event_type%20%3D%3D%20'order.paid'&sample=%7B%7D&sample_type={event_type}&intent=test_filter"
        );
        let tried = reader.post_from(&new, &format!("{PAGES}/webhooks"), &fields).await;
        let text = tried.text();
        assert!(
            text.contains(told) && text.contains(&format!("value=\"{event_type}\"")),
            "{text}"
        );
    }
    let fields = "filter=true&sample=evt_0000000000001&intent=test_filter";
    let tried = reader.post_from(&new, &format!("{PAGES}/webhooks"), fields).await;
    assert_eq!(tried.status, 422);
    assert!(
        tried.text().contains("This organization has no such event"),
        "{}",
        tried.text()
    );
}

#[tokio::test]
async fn webhooks_are_told_apart() {
    let mut installation = Installation::start(On::Sqlite).await;
    let receiver = Receiver::start().await;
    let same = receiver.url("/same");
    let noted = |description: &str| Webhook {
        description: description.to_owned(),
        ..webhook(&same, &["*"])
    };
    let fetched = |description: &str| Webhook {
        delivery_mode: DeliveryMode::Pull.into(),
        payload_url: String::new(),
        ..noted(description)
    };
    let mut ids = Vec::new();
    for webhook in [noted("the shop"), noted(""), fetched("stock"), fetched("")] {
        let made = installation.create_webhook(webhook).await.unwrap();
        ids.push(id_of(&made.name).to_owned());
    }
    let called = [
        format!("{same} (the shop)"),
        format!("{same} ({})", ids[1]),
        "stock (pull)".to_owned(),
        format!("{} (pull)", ids[3]),
    ];
    let published = installation.publish("clocking", CLOCKING).await;
    let reader = Reader::sign_in(&installation, &installation.server.token().unwrap()).await;
    for page in [
        "".to_owned(),
        "/webhooks".to_owned(),
        "/deliveries".to_owned(),
        "/replays/new".to_owned(),
        format!("/events/{}", id_of(&published.event)),
    ] {
        let text = reader.get(&format!("{PAGES}{page}")).await.text();
        for called in &called {
            assert!(
                text.contains(&format!(">{called}<")),
                "{called} is not on {page}\n{text}"
            );
        }
    }
    for (id, called) in ids.iter().zip(&called) {
        let text = reader.get(&format!("{PAGES}/webhooks/{id}")).await.text();
        assert!(text.contains(&format!("<h1>{called}</h1>")), "{text}");
    }
}

#[tokio::test]
async fn a_new_secret_says_until_when_the_old_one_signs() {
    let mut installation = Installation::start(On::Sqlite).await;
    let made = installation.webhook(&Receiver::start().await, &["*"]).await;
    let reader = Reader::sign_in(&installation, &installation.server.token().unwrap()).await;
    let page = format!("{PAGES}/webhooks/{}", id_of(&made.name));
    for (overlap, told) in [("0s", "now signed with it alone"), ("1d", "Until <time datetime=")] {
        let rotated = reader
            .post_from(&page, &format!("{page}/rotate"), &format!("overlap={overlap}"))
            .await;
        assert_eq!(rotated.status, 303, "{}", rotated.text());
        let both = Reader {
            address: reader.address.clone(),
            cookie: format!("{}; {}", reader.cookie, cookie_of(&rotated)),
        };
        let shown = both.get(&page).await.text();
        let (_, shown) = shown.split_once("New signing secret").expect("it is shown");
        let (told_of_it, _) = shown.split_once("</p>").unwrap();
        assert!(told_of_it.contains(told), "{told_of_it}");
    }
}

fn url_encoded(text: &str) -> String {
    text.replace(':', "%3A").replace('/', "%2F")
}
