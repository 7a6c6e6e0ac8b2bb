//! Guides for moving to Hookwright: from Svix, and from a table of webhooks.

use hookwright_proto::v1::{DeliveryState, EventTypeState, ListDeliveriesRequest, RevealSigningSecretRequest};
use hookwright_testkit::{Receiver, RecordedRequest, Response};
use serde_json::{Value, json};

use super::{Guide, bash, server};
use crate::{
    examples::{Example, text},
    support::{SECRET, postgres_database, wait_for_events},
};

/// The installed Python example, in a separate directory: the guides write files beside the programs.
async fn python_example() -> tempfile::TempDir {
    let example = Example::install("python").await;
    let directory = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(&example.directory).unwrap() {
        let entry = entry.unwrap();
        std::os::unix::fs::symlink(entry.path(), directory.path().join(entry.file_name())).unwrap();
    }
    directory
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_svix_installation_is_imported() {
    let (mut installation, address, token) = server().await;
    let customer = Receiver::start().await;
    let svix = imitate_svix(&customer).await;
    let directory = python_example().await;
    std::fs::write(directory.path().join("svix-token"), "testsk_1\n").unwrap();
    let commands = Guide::read("migrate-from-svix.md").commands();
    let script = commands.replace("https://api.eu.svix.com", svix.url("").trim_end_matches('/'));
    assert_ne!(script, commands);
    let environment = [
        ("HOOKWRIGHT_ADDRESS", &*format!("http://{address}")),
        ("HOOKWRIGHT_TOKEN", &token),
    ];
    let printed = bash(&script, directory.path(), &environment).await;
    assert!(printed.contains("created eventTypes/invoice.paid"), "{printed}");
    assert!(printed.ends_with("\n4 created\n"), "{printed}");
    assert!(
        !directory.path().join("installation.jsonl").exists(),
        "the file contains secrets"
    );
    let again = bash(&script, directory.path(), &environment).await;
    assert!(again.ends_with("\n4 exists\n"), "{again}");
    let authorized = |request: &RecordedRequest| request.header("authorization") == Some("Bearer testsk_1");
    assert!(svix.requests().iter().all(authorized));

    let webhooks = installation.webhooks("organizations/acme-ltd-7").await;
    let [first, second] = webhooks.as_slice() else {
        panic!("{webhooks:#?}")
    };
    assert_eq!((first.active, second.active), (Some(false), Some(false)));
    assert_eq!(first.events, ["invoice.paid"]);
    assert_eq!(first.headers["x-customer"], "7");
    assert_eq!(first.requests_per_second, Some(10.0));
    assert_eq!(first.retry_schedule.as_ref().unwrap().delays.len(), 7);
    assert_eq!(second.events, ["*"]);
    assert_eq!(second.filter, r#"attributes.channel in ["eu", "uk"]"#);
    assert_eq!(
        customer.request_count(),
        0,
        "nothing is sent before the webhooks are active"
    );

    // The next command of the switch: the ping arrives, signed with the receiver's existing secret.
    for webhook in &webhooks {
        installation.activate(webhook).await;
    }
    let pings = customer.wait_for(2).await;
    assert!(pings.iter().all(|ping| ping.header("tt-hook-event") == Some("ping")));
    let reveal = RevealSigningSecretRequest {
        name: first.name.clone(),
    };
    let revealed = installation
        .clients
        .webhooks
        .reveal_signing_secret(reveal)
        .await
        .unwrap();
    assert_eq!(revealed.into_inner().signing_secret, SECRET);
}

/// The signing secret of the second endpoint.
const OTHER_SECRET: &str = "whsec_T3RoZXIgc2VjcmV0IG9mIHRoZSBzYW1lIFVSTCE=";

/// A Svix installation: two endpoints with one URL, names with hyphens, an archived type that still has a subscription, and
/// a rate limit.
async fn svix_with_two_endpoints() -> Receiver {
    let svix = Receiver::start().await;
    let endpoint =
        |id: &str, events: &[&str]| json!({"id": id, "url": "https://93.184.216.34/hook", "filterTypes": events});
    let page = |data: Value| json!({"data": data, "iterator": "next", "done": true});
    let mut answers = vec![
        (
            "/event-type?limit=100&include_archived=true",
            page(json!([
                {"name": "order-created", "description": "", "archived": false},
                {"name": "order-cancelled", "description": "Old", "archived": true},
            ])),
        ),
        (
            "/app?",
            page(json!([{"id": "app_1", "uid": "acme", "name": "Acme Ltd"}])),
        ),
        (
            "/app/app_1/endpoint?",
            page(json!([
                endpoint("ep_1", &["order-created"]),
                endpoint("ep_2", &["order-cancelled", "order-created"]),
            ])),
        ),
        ("/app/app_1/endpoint/ep_1/secret?", json!({"key": SECRET})),
        ("/app/app_1/endpoint/ep_2/secret?", json!({"key": OTHER_SECRET})),
    ];
    let none = json!({"headers": {}, "sensitive": []});
    answers.push(("/app/app_1/endpoint/ep_1/headers?", none.clone()));
    answers.push(("/app/app_1/endpoint/ep_2/headers?", none));
    let mut limited = std::collections::HashSet::new();
    svix.answer_with(move |request| {
        let path = request.target().strip_prefix("/api/v1").unwrap_or_default().to_owned();
        let answer = answers.iter().find(|(start, _)| path.starts_with(start));
        match answer {
            // Each path is rate-limited once.
            _ if limited.insert(path.clone()) => Response::new(429).header("Retry-After", "0"),
            Some((_, answer)) => Response::new(200).body(answer.to_string()),
            None => Response::new(404),
        }
    });
    svix
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b15_nothing_of_a_svix_installation_is_lost_silently() {
    let (mut installation, address, token) = server().await;
    let svix = svix_with_two_endpoints().await;
    let directory = python_example().await;
    let url = svix.url("");
    let environment = [
        ("HOOKWRIGHT_ADDRESS", &*format!("http://{address}")),
        ("HOOKWRIGHT_TOKEN", &token),
        ("SVIX_URL", url.trim_end_matches('/')),
        ("SVIX_TOKEN", "testsk_1"),
    ];
    let export = ".venv/bin/python export_svix.py 2>&1 >installation.jsonl";
    let said = bash(export, directory.path(), &environment).await;
    let summary =
        "exported 2 event types (1 of them archived), 1 organizations, 2 webhooks; 0 warnings, 0 not exported";
    assert!(said.contains("429") && said.trim_end().ends_with(summary), "{said}");
    let import = ".venv/bin/python import_webhooks.py < installation.jsonl";
    let check = import.replace(".py", ".py --check");
    let checked = bash(&check, directory.path(), &environment).await;
    assert!(checked.ends_with("\n5 accepted\n"), "{checked}");
    let printed = bash(import, directory.path(), &environment).await;
    assert!(
        printed.ends_with("\narchived eventTypes/order-cancelled\n5 created\n"),
        "{printed}"
    );
    let again = bash(import, directory.path(), &environment).await;
    assert!(again.ends_with("\n5 exists\n"), "{again}");

    let webhooks = installation.webhooks("organizations/acme").await;
    let mut found = Vec::new();
    for webhook in &webhooks {
        let request = RevealSigningSecretRequest {
            name: webhook.name.clone(),
        };
        let service = &mut installation.clients.webhooks;
        let revealed = service.reveal_signing_secret(request).await.unwrap().into_inner();
        found.push((webhook.events.join(" "), revealed.signing_secret));
    }
    found.sort();
    let expected = [
        ("order-cancelled order-created", OTHER_SECRET),
        ("order-created", SECRET),
    ];
    assert_eq!(
        found,
        expected.map(|(events, secret)| (events.to_owned(), secret.to_owned()))
    );
    let archived = hookwright_proto::v1::GetEventTypeRequest {
        name: "eventTypes/order-cancelled".to_owned(),
    };
    let archived = installation.clients.event_types.get_event_type(archived).await.unwrap();
    assert_eq!(archived.into_inner().state(), EventTypeState::Archived);

    // The script names everything that it cannot export, and exits with an error. It prints nothing of an export that
    // broke off.
    let refused = "! .venv/bin/python import_webhooks.py 2>&1 <<< '{\"eventTypeId\": \"a..b\"}'";
    let refused = bash(refused, directory.path(), &environment).await;
    assert!(
        refused.contains("line 1") && refused.ends_with("\n1 refused\n"),
        "{refused}"
    );
    svix.answer(Response::new(404));
    let broken = "! .venv/bin/python export_svix.py 2>said; cat said >&2";
    assert_eq!(bash(broken, directory.path(), &environment).await, "");
    let said = std::fs::read_to_string(directory.path().join("said")).unwrap();
    assert!(said.contains("broke off"), "{said}");
}

/// Imitates the Svix API's responses to the export, according to its documentation.
async fn imitate_svix(customer: &Receiver) -> Receiver {
    let endpoint = |id: &str, more: Value| {
        let mut endpoint = json!({
            "id": id, "url": customer.url(&format!("/{id}")), "description": "", "metadata": {}, "disabled": false,
            "createdAt": "2026-01-01T00:00:00Z", "updatedAt": "2026-01-01T00:00:00Z",
        });
        endpoint
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        endpoint
    };
    let page = |data: Value| json!({"data": data, "iterator": "next", "prevIterator": null, "done": true});
    let first = endpoint("ep_1", json!({"eventTypes": ["invoice.paid"], "throttleRate": 10}));
    let second = endpoint(
        "ep_2",
        json!({"filterTypes": null, "channels": ["eu", "uk"], "disabled": true}),
    );
    let mut endpoints = page(json!([first]));
    endpoints["done"] = json!(false);
    let headers = json!({"headers": {"x-customer": "7"}, "sensitive": ["x-secret"]});
    let answers = [
        (
            "/event-type?",
            page(json!([{"name": "invoice.paid", "description": "Paid", "deprecated": false}])),
        ),
        (
            "/app?",
            page(json!([{"id": "app_1", "uid": "Acme_Ltd.7", "name": "Acme Ltd", "metadata": {}}])),
        ),
        ("/app/app_1/endpoint?limit=100&iterator=next", page(json!([second]))),
        ("/app/app_1/endpoint?", endpoints),
        ("/app/app_1/endpoint/ep_1/headers?", headers.clone()),
        (
            "/app/app_1/endpoint/ep_2/headers?",
            json!({"headers": {}, "sensitive": []}),
        ),
        ("/app/app_1/endpoint/ep_1/secret?", json!({"key": SECRET})),
        (
            "/app/app_1/endpoint/ep_2/secret?",
            json!({"key": SECRET.trim_start_matches("whsec_")}),
        ),
    ];
    let svix = Receiver::start().await;
    svix.answer_with(move |request| {
        let path = request.target().strip_prefix("/api/v1").unwrap_or_default();
        match answers.iter().find(|(start, _)| path.starts_with(start)) {
            Some((_, answer)) => Response::new(200).body(answer.to_string()),
            None => Response::new(404),
        }
    });
    svix
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_of_webhooks_is_imported_and_its_backlog_published() {
    let (mut installation, address, token) = server().await;
    let customer = Receiver::start().await;
    let directory = python_example().await;
    let guide = Guide::read("migrate-from-a-table.md");
    let [tables, export, backlog] = guide.quoted("sql")[..] else {
        panic!("three pieces of SQL")
    };
    std::fs::write(directory.path().join("export.sql"), export).unwrap();
    std::fs::write(directory.path().join("backlog.sql"), backlog).unwrap();
    let database = postgres_database().await;
    let rows = format!(
        "INSERT INTO webhooks VALUES
            (1, 'acme', 'Acme Ltd', '{url}', 'clocking', '{SECRET}', true, 'Bearer x'),
            (2, 'acme', 'Acme Ltd', '{url}', 'checksheet,clocking', '{SECRET}', true, null),
            (3, 'globex', null, '{url}', null, 'correct horse battery staple', true, null),
            (4, 'globex', null, 'http://127.0.0.1:1/off', null, '{SECRET}', false, null),
            (5, 'initech', null, '{url}', null, '{SECRET}', true, null),
            (6, 'initech', null, '{url}', null, 'another secret of the same URL', true, null);
         INSERT INTO webhook_jobs VALUES
            (1, 1, 'clocking', E'{{\"action\":\\n\"created\",\"clocking\":{{\"id\":\"C-1\"}}}}', 3, null),
            (2, 1, 'clocking', '{{\"action\":\"updated\"}}', 1, now()),
            (3, 1, 'checksheet', '{{\"action\":\"created\"}}', 0, null);",
        url = customer.url("/hook")
    );
    std::fs::write(directory.path().join("prepare.sql"), format!("{tables}\n{rows}")).unwrap();
    let environment = [
        ("HOOKWRIGHT_ADDRESS", &*format!("http://{address}")),
        ("HOOKWRIGHT_TOKEN", &token),
        ("DATABASE_URL", database.url()),
    ];
    let prepare = "psql \"$DATABASE_URL\" --no-psqlrc --quiet --set ON_ERROR_STOP=1 --file prepare.sql";
    bash(prepare, directory.path(), &environment).await;
    let commands = guide.commands();
    let (import, publish) = commands.split_once("rm installation.jsonl").unwrap();
    let printed = bash(import, directory.path(), &environment).await;
    assert!(printed.ends_with("\n2 created\n"), "{printed}");

    let acme = installation.webhooks("organizations/acme").await.remove(0);
    assert_eq!(acme.events, ["checksheet", "clocking"], "of both rows");
    assert_eq!((acme.active, &*acme.description), (Some(false), "webhooks.id 1, 2"));
    assert_eq!(acme.headers["Authorization"], "Bearer x");
    let globex = installation.webhooks("organizations/globex").await;
    assert_eq!(globex.len(), 1);
    assert_eq!(globex[0].events, ["*"]);

    installation.activate(&acme).await;
    let published = bash(publish, directory.path(), &environment).await;
    assert_eq!(published, "published 1, repeated 0, refused 0\n");
    let moved = wait_for_events(&customer, 1).await;
    assert_eq!(text(&moved[0].body), r#"{"action": "created","clocking":{"id":"C-1"}}"#);
    let list = ListDeliveriesRequest {
        parent: "organizations/acme".to_owned(),
        event_type: "clocking".to_owned(),
        ..ListDeliveriesRequest::default()
    };
    let listed = installation.clients.deliveries.list_deliveries(list).await.unwrap();
    let delivery = listed.into_inner().deliveries.remove(0);
    assert_eq!(
        installation.delivered(&delivery.name).await.state(),
        DeliveryState::Delivered
    );
}
