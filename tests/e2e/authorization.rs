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

/// Each call with its required authorization, and a request that would succeed with sufficient rights.
fn calls(names: &Names) -> Map<String, Value> {
    let (acme, webhook) = (ACME, names.webhook.as_str());
    let publish = json!({ "organization": acme, "eventType": "clocking", "json": "e30=" });
    let replay = format!("{acme}/replays/{}", ReplayId::from_raw(77));
    let operation = format!("operations/{}", OperationId::from_raw(77));
    let link = format!("portalLinks/{}", PortalLinkId::from_raw(77));
    let mut calls = Map::new();
    let mut add = |scope: &str, service: &str, methods: &[&str], request: Value| {
        for method in methods {
            let call = json!({ "scope": scope, "request": request });
            calls.insert(format!("{service}.{method}"), call);
        }
    };

    let delivery = json!({ "name": names.delivery });
    add("read", "DeliveryService", &["GetDelivery"], delivery.clone());
    let steering = ["SkipDelivery", "CancelDelivery", "RetryDelivery", "ReplayDelivery"];
    add("manage", "DeliveryService", &steering, delivery);
    add(
        "read",
        "DeliveryService",
        &["ListAttempts"],
        json!({ "parent": names.delivery }),
    );
    let lists = ["ListDeliveries", "WatchDeliveries"];
    add("read", "DeliveryService", &lists, json!({ "parent": acme }));
    let stats = json!({ "name": acme, "period": "STATS_PERIOD_HOUR" });
    add("read", "DeliveryService", &["QueryDeliveryStats"], stats);

    add("publish", "EventService", &["PublishEvent"], publish.clone());
    let batch = json!({ "organization": acme, "requests": [publish] });
    add("publish", "EventService", &["BatchPublishEvents"], batch);
    add(
        "publish",
        "EventService",
        &["PublishStream"],
        json!({ "sequence": "1", "event": publish }),
    );
    let event = json!({ "name": names.event });
    add("read", "EventService", &["GetEvent", "ExplainEvent"], event);
    add("read", "EventService", &["ListEvents"], json!({ "parent": acme }));

    add(
        "manage",
        "WebhookService",
        &["CreateWebhook"],
        json!({ "parent": acme, "webhook": { "payloadUrl": "https://example.com/", "events": ["clocking"] } }),
    );
    add(
        "manage",
        "WebhookService",
        &["UpdateWebhook"],
        json!({ "webhook": { "name": webhook }, "updateMask": "active" }),
    );
    add("read", "WebhookService", &["GetWebhook"], json!({ "name": webhook }));
    add("read", "WebhookService", &["ListWebhooks"], json!({ "parent": acme }));
    let changes = [
        "ResumeWebhook",
        "DeleteWebhook",
        "PingWebhook",
        "RotateSigningSecret",
        "CompleteSigningSecretRotation",
        "RevealSigningSecret",
    ];
    add("manage", "WebhookService", &changes, json!({ "name": webhook }));
    add(
        "manage",
        "PullService",
        &["PullDeliveries"],
        json!({ "webhook": webhook }),
    );
    let ack = format!("{}-1", id_of(&names.delivery));
    let fetched = json!({ "webhook": webhook, "ackIds": [ack] });
    let methods = ["AcknowledgeDeliveries", "ExtendDeliveries"];
    add("manage", "PullService", &methods, fetched);

    add(
        "manage",
        "ReplayService",
        &["ReplayDeliveries"],
        json!({ "parent": acme }),
    );
    add("manage", "ReplayService", &["CancelReplay"], json!({ "name": replay }));
    add("read", "ReplayService", &["GetReplay"], json!({ "name": replay }));
    add("read", "ReplayService", &["ListReplays"], json!({ "parent": acme }));
    add(
        "read",
        "OperationService",
        &["GetOperation"],
        json!({ "name": operation }),
    );
    add(
        "manage",
        "OperationService",
        &["CancelOperation"],
        json!({ "name": operation }),
    );
    add(
        "read",
        "OperationService",
        &["ListOperations"],
        json!({ "organization": acme }),
    );
    add(
        "read",
        "InstallationService",
        &["ListProblems"],
        json!({ "organization": acme }),
    );
    add(
        "manage",
        "AuditService",
        &["ListAuditEntries"],
        json!({ "parent": acme }),
    );

    add(
        "portal",
        "PortalService",
        &["CreatePortalLink"],
        json!({ "organization": acme }),
    );
    let revoked = json!({ "name": link, "organization": acme });
    add("portal", "PortalService", &["RevokePortalLink"], revoked);

    add(
        "read",
        "OrganizationService",
        &["GetOrganization"],
        json!({ "name": acme }),
    );
    let renamed = json!({ "organization": { "name": acme, "displayName": "x" } });
    add("admin", "OrganizationService", &["UpdateOrganization"], renamed);
    add(
        "admin",
        "OrganizationService",
        &["DeleteOrganization"],
        json!({ "name": acme }),
    );
    let named = json!({ "displayName": "x", "scope": "TOKEN_SCOPE_READ", "organization": acme });
    add("admin", "TokenService", &["CreateToken"], json!({ "token": named }));
    add(
        "admin",
        "TokenService",
        &["GetToken", "RevokeToken"],
        json!({ "name": names.token }),
    );
    add(
        "admin",
        "TokenService",
        &["ListTokens"],
        json!({ "organization": acme }),
    );
    calls
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
