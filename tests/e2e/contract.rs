//! The requests that receivers get, byte for byte.

use hookwright_proto::v1::{
    CompleteSigningSecretRotationRequest, GetWebhookRequest, ListWebhooksRequest, RotateSigningSecretRequest, Webhook,
    publish_event_request::Payload,
};
use hookwright_testkit::{Receiver, RecordedRequest};

use crate::{
    command_line,
    support::{ACME, CLOCKING, Installation, On, SECRET, event, id_of, on_both_stores, wait_for_events, webhook},
};

/// A request's head, with placeholders for the parts that differ between requests.
fn template(request: &RecordedRequest, port: u16) -> String {
    let mut head = request.head.replace(&format!(":{port}"), ":<port>");
    for (name, placeholder) in [
        ("TT-Hook-Delivery", "<delivery>"),
        ("webhook-id", "<event>"),
        ("webhook-timestamp", "<time>"),
        ("webhook-signature", "<v1>"),
        ("traceparent", "<trace>"),
    ] {
        let value = request
            .header(name)
            .unwrap_or_else(|| panic!("no {name} in {head}"))
            .to_owned();
        head = head.replacen(
            &format!("{name}: {value}\r\n"),
            &format!("{name}: {placeholder}\r\n"),
            1,
        );
    }
    head
}

on_both_stores! {
    async fn the_clocking_request_is_the_contracts(on: On) {
        let mut installation = Installation::start(on).await;
        let receiver = Receiver::start().await;
        installation.webhook(&receiver, &["clocking"]).await;
        let published = installation.publish("clocking", CLOCKING).await;
        assert_eq!(published.delivery_count, 1);
        let request = wait_for_events(&receiver, 1).await.remove(0);

        assert_eq!(request.body, CLOCKING.as_bytes(), "the payload arrives byte for byte");
        let expected = format!(
            "POST /payload HTTP/1.1\r\n\
             Host: 127.0.0.1:<port>\r\n\
             User-Agent: Hookwright/{version}\r\n\
             Accept-Encoding: identity\r\n\
             TT-Hook-Signature: sha1=5df13e99a4386c6213f241d7f2a5e5811dbe0595\r\n\
             TT-Hook-Signature-256: sha256={sha256}\r\n\
             Content-Type: application/json\r\n\
             TT-Hook-Event: clocking\r\n\
             TT-Hook-Delivery: <delivery>\r\n\
             webhook-id: <event>\r\n\
             webhook-timestamp: <time>\r\n\
             webhook-signature: <v1>\r\n\
             traceparent: <trace>\r\n\
             Content-Length: 142\r\n\
             \r\n",
            version = env!("CARGO_PKG_VERSION"),
            sha256 = request.header("TT-Hook-Signature-256").unwrap().trim_start_matches("sha256="),
        );
        assert_eq!(template(&request, receiver.address().port()).trim_end(), expected.trim_end());
        assert_eq!(request.header("webhook-id"), Some(id_of(&published.event)));
        assert!(!id_of(&published.event).contains('.'), "the event's id never contains a dot");
        let timestamp: u64 = request.header("webhook-timestamp").unwrap().parse().unwrap();
        assert!(timestamp > 1_700_000_000, "integer seconds since the epoch");
        assert!(request.header("webhook-signature").unwrap().starts_with("v1,"));
    }

    async fn each_webhook_gets_its_own_delivery_of_one_event(on: On) {
        let mut installation = Installation::start(on).await;
        let (one, two) = (Receiver::start().await, Receiver::start().await);
        installation.webhook(&one, &["clocking"]).await;
        installation.webhook(&two, &["*"]).await;
        let published = installation.publish("clocking", CLOCKING).await;
        assert_eq!(published.delivery_count, 2);
        let (first, second) = (wait_for_events(&one, 1).await.remove(0), wait_for_events(&two, 1).await.remove(0));
        assert_eq!(first.header("webhook-id"), second.header("webhook-id"));
        assert_ne!(first.header("TT-Hook-Delivery"), second.header("TT-Hook-Delivery"));
    }
}

#[tokio::test]
async fn a_retry_keeps_the_ids_and_has_a_new_signature() {
    // A delay has a jitter of 10 %, and timestamps are whole seconds: after 2 s they always differ.
    let mut installation = Installation::start_with(On::Sqlite, |server| server.arg("--retry-delay", "2s")).await;
    let receiver = Receiver::start().await;
    installation.webhook(&receiver, &["clocking"]).await;
    receiver.answer_in_turn([500, 200]);
    installation.publish("clocking", CLOCKING).await;
    let requests = wait_for_events(&receiver, 2).await;
    for name in ["webhook-id", "TT-Hook-Delivery", "TT-Hook-Signature", "TT-Hook-Event"] {
        assert_eq!(requests[0].header(name), requests[1].header(name), "{name}");
    }
    assert_ne!(
        requests[0].header("webhook-timestamp"),
        requests[1].header("webhook-timestamp")
    );
    assert_ne!(
        requests[0].header("webhook-signature"),
        requests[1].header("webhook-signature")
    );
    assert_ne!(requests[0].header("traceparent"), requests[1].header("traceparent"));
}

#[tokio::test]
async fn own_headers_keep_their_case_and_the_prefix_can_be_branded() {
    let settings = |server: hookwright_testkit::server::TestServerBuilder| server.arg("--header-prefix", "Acme-");
    let mut installation = Installation::start_with(On::Sqlite, settings).await;
    let receiver = Receiver::start().await;
    let own = [("X-Tenant-ID".to_owned(), "Seven".to_owned())].into();
    installation
        .create_webhook(Webhook {
            headers: own,
            ..webhook(&receiver.url("/"), &["*"])
        })
        .await
        .unwrap();
    let ping = receiver.wait_for(1).await.remove(0);
    assert!(ping.head.contains("\r\nX-Tenant-ID: Seven\r\n"), "{}", ping.head);
    assert!(ping.head.contains("\r\nAcme-Event: ping\r\n"), "{}", ping.head);
    assert!(!ping.head.contains("TT-Hook"), "{}", ping.head);
}

#[tokio::test]
async fn the_publishers_trace_continues_at_the_receiver() {
    let mut installation = Installation::start(On::Sqlite).await;
    let receiver = Receiver::start().await;
    installation.webhook(&receiver, &["clocking"]).await;
    let mut request = tonic::Request::new(event("clocking", CLOCKING));
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    request.metadata_mut().insert("traceparent", parent.parse().unwrap());
    request
        .metadata_mut()
        .insert("tracestate", "vendor=opaque".parse().unwrap());
    installation.clients.events.publish_event(request).await.unwrap();
    let request = wait_for_events(&receiver, 1).await.remove(0);
    let trace = request.header("traceparent").unwrap();
    assert!(trace.starts_with("00-0af7651916cd43dd8448eb211c80319c-"), "{trace}");
    assert!(
        !trace.contains("b7ad6b7169203331"),
        "the attempt has its own span: {trace}"
    );
    assert_eq!(request.header("tracestate"), Some("vendor=opaque"));
}

#[tokio::test]
async fn a_payload_of_exactly_five_megabytes_arrives() {
    let mut installation = Installation::start(On::Sqlite).await;
    let receiver = Receiver::start().await;
    installation.webhook(&receiver, &["*"]).await;
    installation.register("big").await;
    let json = format!(r#"{{"filler":"{}"}}"#, "x".repeat(5_242_880 - 13));
    assert_eq!(json.len(), 5_242_880);
    installation.publish("big", &json).await;
    let request = wait_for_events(&receiver, 1).await.remove(0);
    assert_eq!(request.header("Content-Length"), Some("5242880"));
    assert!(request.body == json.as_bytes());
}

#[tokio::test]
async fn an_ed25519_key_adds_a_signature_and_a_rotation_signs_with_both_secrets() {
    let mut installation = Installation::start(On::Sqlite).await;
    let receiver = Receiver::start().await;
    let wanted = Webhook {
        ed25519_signing: true,
        ..webhook(&receiver.url("/"), &["clocking"])
    };
    let created = installation.create_webhook(wanted).await.unwrap();
    assert!(created.ed25519_public_key.starts_with("whpk_"));
    assert_eq!(created.signing_secret, SECRET);
    let ping = receiver.wait_for(1).await.remove(0);
    let schemes = |request: &RecordedRequest| -> Vec<String> {
        let value = request.header("webhook-signature").unwrap();
        value
            .split(' ')
            .map(|part| part.split(',').next().unwrap().to_owned())
            .collect()
    };
    assert_eq!(schemes(&ping), ["v1", "v1a"]);

    let rotate = hookwright_proto::v1::RotateSigningSecretRequest {
        name: created.name.clone(),
        signing_secret: "correct horse battery staple".to_owned(),
        overlap: None,
        force: false,
    };
    installation
        .clients
        .webhooks
        .rotate_signing_secret(rotate)
        .await
        .unwrap();
    installation.publish("clocking", CLOCKING).await;
    let during = wait_for_events(&receiver, 1).await.remove(0);
    assert_eq!(schemes(&during), ["v1", "v1", "v1a"]);
    let old = Some("sha1=5df13e99a4386c6213f241d7f2a5e5811dbe0595");
    assert_eq!(
        during.header("TT-Hook-Signature"),
        old,
        "the old secret, until the overlap ends"
    );

    let complete = hookwright_proto::v1::CompleteSigningSecretRotationRequest { name: created.name };
    installation
        .clients
        .webhooks
        .complete_signing_secret_rotation(complete)
        .await
        .unwrap();
    installation.publish("clocking", CLOCKING).await;
    let after = wait_for_events(&receiver, 2).await.remove(1);
    assert_eq!(schemes(&after), ["v1", "v1a"]);
    let new = Some("sha1=0a8a921357e8f34e3b01d5a3e1ef0978b684172f");
    assert_eq!(after.header("TT-Hook-Signature"), new);
}

on_both_stores! {
    async fn a_rotation_is_shown_while_it_lasts_and_another_one_needs_force(on: On) {
        let mut installation = Installation::start(on).await;
        let receiver = Receiver::start().await;
        let name = installation.webhook(&receiver, &["clocking"]).await.name;
        let webhooks = &mut installation.clients.webhooks;
        let get = || GetWebhookRequest { name: name.clone() };
        assert_eq!(webhooks.get_webhook(get()).await.unwrap().into_inner().rotation, None);
        let rotate = RotateSigningSecretRequest { name: name.clone(), ..Default::default() };
        let first = webhooks.rotate_signing_secret(rotate.clone()).await.unwrap().into_inner();
        let shown = webhooks.get_webhook(get()).await.unwrap().into_inner();
        assert_eq!(shown.rotation.unwrap().expire_time, first.old_secret_expire_time);
        let list = ListWebhooksRequest { parent: ACME.to_owned(), ..Default::default() };
        let listed = webhooks.list_webhooks(list).await.unwrap().into_inner().webhooks;
        assert_eq!(listed[0].rotation, shown.rotation);

        let refused = webhooks.rotate_signing_secret(rotate.clone()).await.unwrap_err();
        assert_eq!(refused.code(), tonic::Code::FailedPrecondition, "{refused}");
        let until = shown.rotation.unwrap().expire_time.unwrap();
        let day = until.to_string()[..10].to_owned();
        for part in ["`force`", "--force", day.as_str(), "would end it at once"] {
            assert!(refused.message().contains(part), "{part}: {refused}");
        }
        let details = tonic_types::StatusExt::get_error_details(&refused);
        assert_eq!(details.error_info().unwrap().reason, "ROTATION_IN_PROGRESS");
        let forced = RotateSigningSecretRequest { force: true, ..rotate };
        webhooks.rotate_signing_secret(forced).await.unwrap();

        let address = format!("http://{}", installation.server.grpc_address());
        let token = installation.server.token().unwrap();
        let environment = [("HOOKWRIGHT_ADDRESS", &*address), ("HOOKWRIGHT_TOKEN", &*token)];
        let command = ["webhooks", "rotate-secret", &*name];
        let output = command_line::run(&command, &environment).await;
        assert!(!output.status.success());
        assert!(String::from_utf8_lossy(&output.stderr).contains("--force"), "{output:?}");
        let output = command_line::run(&[&command[..], &["--force"]].concat(), &environment).await;
        assert!(output.status.success(), "{output:?}");
        let output = command_line::run(&["webhooks", "get", &*name], &environment).await;
        let shown = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(shown.contains("rotation") && shown.contains("complete-rotation"), "{shown}");

        let webhooks = &mut installation.clients.webhooks;
        let complete = CompleteSigningSecretRotationRequest { name: name.clone() };
        let completed = webhooks.complete_signing_secret_rotation(complete).await.unwrap().into_inner();
        assert_eq!(completed.rotation, None);
        let at_once = RotateSigningSecretRequest {
            name: name.clone(),
            overlap: Some(prost_types::Duration::default()),
            ..Default::default()
        };
        for _ in 0..2 {
            webhooks.rotate_signing_secret(at_once.clone()).await.unwrap();
            assert_eq!(webhooks.get_webhook(get()).await.unwrap().into_inner().rotation, None, "nothing overlaps");
        }
    }
}

#[tokio::test]
async fn a_struct_payload_becomes_json_text() {
    let mut installation = Installation::start(On::Sqlite).await;
    let receiver = Receiver::start().await;
    installation.webhook(&receiver, &["checksheet"]).await;
    let text = |text: &str| prost_types::Value {
        kind: Some(prost_types::value::Kind::StringValue(text.to_owned())),
    };
    let inner = prost_types::Struct {
        fields: [("id".to_owned(), text("C-1"))].into(),
    };
    let inner = prost_types::Value {
        kind: Some(prost_types::value::Kind::StructValue(inner)),
    };
    let object = prost_types::Struct {
        fields: [("action".to_owned(), text("created")), ("checksheet".to_owned(), inner)].into(),
    };
    let mut request = event("checksheet", "");
    request.payload = Some(Payload::Object(object));
    installation.try_publish(request).await.unwrap();
    let request = wait_for_events(&receiver, 1).await.remove(0);
    assert_eq!(request.body, &br#"{"action":"created","checksheet":{"id":"C-1"}}"#[..]);
}
