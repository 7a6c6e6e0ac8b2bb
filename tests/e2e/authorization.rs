//! The authorization that each call requires. Every call of the API refuses a caller without a token, with a token of a
//! lesser scope, and with a token of another organization. A call that is not listed here fails the test.

use hookwright_domain::id::{OperationId, PortalLinkId, ReplayId};
use hookwright_proto::v1::{ListDeliveriesRequest, TokenScope};
use hookwright_testkit::{Receiver, python::run_python_json};
use serde_json::{Map, Value, json};

use crate::support::{ACME, CLOCKING, Installation, On, id_of, token};

/// The organization's objects that the calls name.
struct Names {
    webhook: String,
    event: String,
    delivery: String,
    token: String,
}

/// Calls with their required authorization, and a request that would succeed with sufficient rights.
#[derive(Default)]
struct Calls(Map<String, Value>);

impl Calls {
    fn add(&mut self, scope: &str, service: &str, methods: &[&str], request: Value) {
        for method in methods {
            let call = json!({ "scope": scope, "request": request });
            self.0.insert(format!("{service}.{method}"), call);
        }
    }
}

/// Every call that names an organization.
fn calls(names: &Names) -> Map<String, Value> {
    let mut calls = Calls::default();
    add_deliveries(&mut calls, names);
    add_events(&mut calls, names);
    add_webhooks(&mut calls, names);
    add_long_work(&mut calls);
    add_organization(&mut calls, names);
    calls.0
}

fn add_deliveries(calls: &mut Calls, names: &Names) {
    let delivery = json!({ "name": names.delivery });
    calls.add("read", "DeliveryService", &["GetDelivery"], delivery.clone());
    let steering = ["SkipDelivery", "CancelDelivery", "RetryDelivery", "ReplayDelivery"];
    calls.add("manage", "DeliveryService", &steering, delivery);
    calls.add(
        "read",
        "DeliveryService",
        &["ListAttempts"],
        json!({ "parent": names.delivery }),
    );
    let lists = ["ListDeliveries", "WatchDeliveries"];
    calls.add("read", "DeliveryService", &lists, json!({ "parent": ACME }));
    let stats = json!({ "name": ACME, "period": "STATS_PERIOD_HOUR" });
    calls.add("read", "DeliveryService", &["QueryDeliveryStats"], stats);
}

fn add_events(calls: &mut Calls, names: &Names) {
    let publish = json!({ "organization": ACME, "eventType": "clocking", "json": "e30=" });
    calls.add("publish", "EventService", &["PublishEvent"], publish.clone());
    let batch = json!({ "organization": ACME, "requests": [publish] });
    calls.add("publish", "EventService", &["BatchPublishEvents"], batch);
    calls.add(
        "publish",
        "EventService",
        &["PublishStream"],
        json!({ "sequence": "1", "event": publish }),
    );
    let event = json!({ "name": names.event });
    calls.add("read", "EventService", &["GetEvent", "ExplainEvent"], event);
    calls.add("read", "EventService", &["ListEvents"], json!({ "parent": ACME }));
}

fn add_webhooks(calls: &mut Calls, names: &Names) {
    let webhook = names.webhook.as_str();
    calls.add(
        "manage",
        "WebhookService",
        &["CreateWebhook"],
        json!({ "parent": ACME, "webhook": { "payloadUrl": "https://example.com/", "events": ["clocking"] } }),
    );
    calls.add(
        "manage",
        "WebhookService",
        &["UpdateWebhook"],
        json!({ "webhook": { "name": webhook }, "updateMask": "active" }),
    );
    calls.add("read", "WebhookService", &["GetWebhook"], json!({ "name": webhook }));
    calls.add("read", "WebhookService", &["ListWebhooks"], json!({ "parent": ACME }));
    let changes = [
        "ResumeWebhook",
        "DeleteWebhook",
        "PingWebhook",
        "RotateSigningSecret",
        "CompleteSigningSecretRotation",
        "RevealSigningSecret",
    ];
    calls.add("manage", "WebhookService", &changes, json!({ "name": webhook }));
    calls.add(
        "manage",
        "PullService",
        &["PullDeliveries"],
        json!({ "webhook": webhook }),
    );
    let ack = format!("{}-1", id_of(&names.delivery));
    let fetched = json!({ "webhook": webhook, "ackIds": [ack] });
    let methods = ["AcknowledgeDeliveries", "ExtendDeliveries"];
    calls.add("manage", "PullService", &methods, fetched);
}

/// Replays and operations, and reads of the whole organization.
fn add_long_work(calls: &mut Calls) {
    let replay = format!("{ACME}/replays/{}", ReplayId::from_raw(77));
    let operation = format!("operations/{}", OperationId::from_raw(77));
    calls.add(
        "manage",
        "ReplayService",
        &["ReplayDeliveries"],
        json!({ "parent": ACME }),
    );
    calls.add("manage", "ReplayService", &["CancelReplay"], json!({ "name": replay }));
    calls.add("read", "ReplayService", &["GetReplay"], json!({ "name": replay }));
    calls.add("read", "ReplayService", &["ListReplays"], json!({ "parent": ACME }));
    calls.add(
        "read",
        "OperationService",
        &["GetOperation"],
        json!({ "name": operation }),
    );
    calls.add(
        "manage",
        "OperationService",
        &["CancelOperation"],
        json!({ "name": operation }),
    );
    calls.add(
        "read",
        "OperationService",
        &["ListOperations"],
        json!({ "organization": ACME }),
    );
    calls.add(
        "read",
        "InstallationService",
        &["ListProblems"],
        json!({ "organization": ACME }),
    );
    calls.add(
        "manage",
        "AuditService",
        &["ListAuditEntries"],
        json!({ "parent": ACME }),
    );
}

fn add_organization(calls: &mut Calls, names: &Names) {
    let link = format!("portalLinks/{}", PortalLinkId::from_raw(77));
    calls.add(
        "portal",
        "PortalService",
        &["CreatePortalLink"],
        json!({ "organization": ACME }),
    );
    let revoked = json!({ "name": link, "organization": ACME });
    calls.add("portal", "PortalService", &["RevokePortalLink"], revoked);

    calls.add(
        "read",
        "OrganizationService",
        &["GetOrganization"],
        json!({ "name": ACME }),
    );
    let renamed = json!({ "organization": { "name": ACME, "displayName": "x" } });
    calls.add("admin", "OrganizationService", &["UpdateOrganization"], renamed);
    calls.add(
        "admin",
        "OrganizationService",
        &["DeleteOrganization"],
        json!({ "name": ACME }),
    );
    let named = json!({ "displayName": "x", "scope": "TOKEN_SCOPE_READ", "organization": ACME });
    calls.add("admin", "TokenService", &["CreateToken"], json!({ "token": named }));
    calls.add(
        "admin",
        "TokenService",
        &["GetToken", "RevokeToken"],
        json!({ "name": names.token }),
    );
    calls.add(
        "admin",
        "TokenService",
        &["ListTokens"],
        json!({ "organization": ACME }),
    );
}

/// Calls that name no organization. A token that is limited to one organization is refused where the call concerns all
/// of them.
fn calls_of_all() -> Map<String, Value> {
    let event_type = json!({ "name": "eventTypes/clocking" });
    let mut calls = Map::new();
    let mut add = |scope: &str, call: &str, request: Value, shared: bool| {
        let value = json!({ "scope": scope, "request": request, "shared": shared });
        calls.insert(call.to_owned(), value);
    };
    add("read", "OrganizationService.ListOrganizations", json!({}), false);
    add(
        "admin",
        "OrganizationService.CreateOrganization",
        json!({ "organizationId": "new" }),
        false,
    );
    add(
        "admin",
        "EventTypeService.CreateEventType",
        json!({ "eventTypeId": "new" }),
        false,
    );
    add(
        "admin",
        "EventTypeService.UpdateEventType",
        json!({ "eventType": event_type }),
        false,
    );
    for method in ["ArchiveEventType", "UnarchiveEventType", "DeleteEventType"] {
        add(
            "admin",
            &format!("EventTypeService.{method}"),
            event_type.clone(),
            false,
        );
    }
    add("any", "EventTypeService.GetEventType", event_type, true);
    add("any", "EventTypeService.ListEventTypes", json!({}), true);
    add(
        "any",
        "EventTypeService.ListEventTypeSchemas",
        json!({ "parent": "eventTypes/clocking" }),
        true,
    );
    add(
        "admin",
        "InstallationService.GetInstallation",
        json!({ "name": "installation" }),
        false,
    );
    add("admin", "NodeService.ListNodes", json!({}), false);
    let url = json!({ "payloadUrl": "https://example.com/" });
    add("manage", "WebhookService.CheckWebhookUrl", url, true);
    let sample = json!({ "filter": "true", "draft": { "json": "e30=", "eventType": "clocking" } });
    add("manage", "WebhookService.TestWebhookFilter", sample, true);
    calls
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_call_refuses_who_may_not_make_it() {
    let mut installation = Installation::start(On::Sqlite).await;
    installation.create_organization("globex").await;
    let receiver = Receiver::start().await;
    receiver.answer(500);
    let webhook = installation.webhook(&receiver, &["clocking"]).await.name;
    let event = installation.publish("clocking", CLOCKING).await.event;
    let of_event = ListDeliveriesRequest {
        event: event.clone(),
        ..ListDeliveriesRequest::default()
    };
    let delivery = installation.deliveries_until(of_event, 1).await.remove(0).name;
    let mut tokens = Map::new();
    let scopes = [
        ("read", TokenScope::Read),
        ("publish", TokenScope::Publish),
        ("portal", TokenScope::Portal),
        ("manage", TokenScope::Manage),
        ("admin", TokenScope::Admin),
    ];
    let mut names = Vec::new();
    for (name, scope) in scopes {
        let created = installation.clients.create_token(token(scope, "")).await.unwrap();
        names.push(created.name);
        tokens.insert(name.to_owned(), created.secret.into());
    }
    let stranger = token(TokenScope::Admin, "organizations/globex");
    let stranger = installation.clients.create_token(stranger).await.unwrap();
    tokens.insert("stranger".to_owned(), stranger.secret.into());
    let names = Names {
        webhook,
        event,
        delivery,
        token: names.remove(0),
    };
    let mut listed = calls(&names);
    listed.extend(calls_of_all());
    let input = json!({
        "address": installation.server.grpc_address(),
        "tokens": tokens,
        "calls": listed,
    });
    let answer = run_python_json("tests/python/authorization.py", &input).await.unwrap();
    for found in ["faults", "unlisted", "unknown"] {
        assert_eq!(answer[found], json!([]), "{found}");
    }
}
