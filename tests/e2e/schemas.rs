//! Events that do not fit the schema of their type.

use hookwright_proto::v1::{
    BatchPublishEventsRequest, DeleteEventTypeRequest, DeleteWebhookRequest, EventType, GetEventTypeRequest,
    ListEventTypeSchemasRequest, ListEventTypesRequest, SchemaMode, TokenScope, UpdateEventTypeRequest,
    UpdateWebhookRequest, Webhook, publish_result::Result as Published,
};
use hookwright_testkit::Receiver;
use prost_types::FieldMask;
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::support::{ACME, Clients, Installation, On, event, on_both_stores, token, webhook};

const SCHEMA: &str = r#"{"type":"object","required":["id"],"properties":{"total":{"type":"number"}}}"#;
const MISFIT: &str = r#"{"total":"a lot"}"#;

async fn set_mode(installation: &mut Installation, mode: SchemaMode) {
    let request = UpdateEventTypeRequest {
        event_type: Some(EventType {
            name: "eventTypes/order".to_owned(),
            schema_mode: mode.into(),
            ..EventType::default()
        }),
        update_mask: Some(FieldMask {
            paths: vec!["schema_mode".to_owned()],
        }),
        ..UpdateEventTypeRequest::default()
    };
    let updated = installation
        .clients
        .event_types
        .update_event_type(request)
        .await
        .unwrap();
    assert_eq!(updated.into_inner().schema_mode(), mode);
}

on_both_stores! {
    async fn a_misfit_is_refused_told_of_or_let_through_as_the_type_says(on: On) {
        let mut installation = Installation::start(on).await;
        let order = EventType { json_schema: SCHEMA.to_owned(), ..EventType::default() };
        let created = installation.register_as("order", order).await;
        assert_eq!(created.schema_mode(), SchemaMode::Reject, "the strictest mode is the default");
        let refused = installation.try_publish(event("order", MISFIT)).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);

        set_mode(&mut installation, SchemaMode::Warn).await;
        installation.restart().await;
        let mut fields: Vec<_> = installation.publish("order", MISFIT).await.schema_warnings;
        fields.sort_by(|a, b| a.field.cmp(&b.field));
        let fields: Vec<_> = fields.iter().map(|one| (one.field.as_str(), one.reason.as_str())).collect();
        assert_eq!(fields, [("json", "SCHEMA_MISMATCH"), ("json/total", "SCHEMA_MISMATCH")]);
        assert_eq!(installation.publish("order", r#"{"id":1}"#).await.schema_warnings, []);
        let batch = BatchPublishEventsRequest {
            organization: ACME.to_owned(),
            requests: vec![event("order", r#"{"id":1}"#), event("order", MISFIT)],
        };
        let results = installation.clients.events.batch_publish_events(batch).await.unwrap().into_inner().results;
        let warned: Vec<usize> = results
            .into_iter()
            .map(|result| match result.result {
                Some(Published::Published(published)) => published.schema_warnings.len(),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(warned, [0, 2]);

        set_mode(&mut installation, SchemaMode::Off).await;
        assert_eq!(installation.publish("order", MISFIT).await.schema_warnings, []);
        set_mode(&mut installation, SchemaMode::Reject).await;
        assert!(installation.try_publish(event("order", MISFIT)).await.is_err());
    }

    async fn a_schema_that_receivers_may_not_understand_is_refused_unless_told_to(on: On) {
        let mut installation = Installation::start(on).await;
        let order = EventType { json_schema: SCHEMA.to_owned(), ..EventType::default() };
        let created = installation.register_as("order", order).await;
        assert_eq!(created.schema_version, 1);
        let update = |schema: &str| UpdateEventTypeRequest {
            event_type: Some(EventType {
                name: "eventTypes/order".to_owned(),
                json_schema: schema.to_owned(),
                ..EventType::default()
            }),
            update_mask: Some(FieldMask { paths: vec!["json_schema".to_owned()] }),
            ..UpdateEventTypeRequest::default()
        };
        let looser = r#"{"type":"object","properties":{"total":{"type":["number","string"]}}}"#;
        let refused = installation.clients.event_types.update_event_type(update(looser)).await.unwrap_err();
        assert_eq!(refused.code(), Code::FailedPrecondition);
        let details = refused.get_error_details();
        let mut places: Vec<_> = details
            .precondition_failure()
            .unwrap()
            .violations
            .iter()
            .map(|violation| violation.subject.clone())
            .collect();
        places.sort();
        assert_eq!(places, ["eventTypes/order", "eventTypes/order/total"]);
        assert_eq!(details.error_info().unwrap().reason, "SCHEMA_BREAKS_RECEIVERS");
        assert!(installation.try_publish(event("order", r#"{"total":1}"#)).await.is_err(), "the schema is unchanged");

        let stricter = r#"{"type":"object","required":["id"],"properties":{"total":{"type":"integer"}}}"#;
        let dry = UpdateEventTypeRequest { validate_only: true, ..update(stricter) };
        let told = installation.clients.event_types.update_event_type(dry).await.unwrap().into_inner();
        assert_eq!((told.schema_version, told.json_schema.as_str()), (2, stricter));
        let updated = installation.clients.event_types.update_event_type(update(stricter)).await.unwrap().into_inner();
        assert_eq!(updated.schema_version, 2);
        let forced = UpdateEventTypeRequest { allow_breaking_schema: true, ..update("") };
        let updated = installation.clients.event_types.update_event_type(forced).await.unwrap().into_inner();
        assert_eq!((updated.schema_version, updated.json_schema.as_str()), (3, ""));
        installation.publish("order", "{}").await;

        let mut versions = Vec::new();
        let mut page_token = String::new();
        loop {
            let list = ListEventTypeSchemasRequest { parent: "eventTypes/order".to_owned(), page_size: 2, page_token };
            let page = installation.clients.event_types.list_event_type_schemas(list).await.unwrap().into_inner();
            versions.extend(page.schemas.into_iter().map(|schema| (schema.version, schema.json_schema)));
            page_token = page.next_page_token;
            if page_token.is_empty() {
                break;
            }
        }
        let expected = [(3, String::new()), (2, stricter.to_owned()), (1, SCHEMA.to_owned())];
        assert_eq!(versions, expected);
    }

    async fn an_event_type_is_deleted_once_no_webhook_names_it(on: On) {
        let mut installation = Installation::start(on).await;
        let receiver = Receiver::start().await;
        installation.register("order").await;
        let named = installation.webhook(&receiver, &["order"]).await;
        let all = installation.webhook(&receiver, &["*"]).await;
        let event = installation.publish("order", "{}").await.event;
        let delete = || DeleteEventTypeRequest { name: "eventTypes/order".to_owned() };
        let refused = installation.clients.event_types.delete_event_type(delete()).await.unwrap_err();
        assert_eq!(refused.code(), Code::FailedPrecondition);
        assert_eq!(refused.get_error_details().error_info().unwrap().reason, "EVENT_TYPE_IN_USE");
        assert!(refused.message().contains(&named.name) && !refused.message().contains(&all.name), "{refused}");
        let request = DeleteWebhookRequest { name: named.name };
        installation.clients.webhooks.delete_webhook(request).await.unwrap();
        installation.clients.event_types.delete_event_type(delete()).await.unwrap();

        let missing = installation.clients.event_types.delete_event_type(delete()).await.unwrap_err();
        assert_eq!(missing.code(), Code::NotFound);
        let refused = installation.try_publish(crate::support::event("order", "{}")).await.unwrap_err();
        assert_eq!(refused.code(), Code::NotFound);
        let get = hookwright_proto::v1::GetEventRequest { name: event };
        let kept = installation.clients.events.get_event(get).await.unwrap().into_inner();
        assert_eq!(kept.event_type, "order", "its events stay");
        installation.restart().await;
        installation.register("order").await;
        installation.publish("order", "{}").await;
    }

    async fn an_event_type_is_for_the_organizations_that_it_names(on: On) {
        let mut installation = Installation::start(on).await;
        let receiver = Receiver::start().await;
        installation.create_organization("globex").await;
        let only = EventType { visible_to: vec!["organizations/globex".to_owned()], ..EventType::default() };
        let created = installation.register_as("order", only).await;
        assert_eq!(created.visible_to, ["organizations/globex"]);
        let address = installation.server.grpc_address().to_owned();
        let mut clients = Vec::new();
        for organization in [ACME, "organizations/globex"] {
            let made = installation.clients.create_token(token(TokenScope::Manage, organization)).await.unwrap();
            clients.push(Clients::connect(&address, &made.secret).await);
        }
        let [acme, globex] = &mut clients[..] else { unreachable!() };
        let get = || GetEventTypeRequest { name: "eventTypes/order".to_owned() };
        let schemas = || ListEventTypeSchemasRequest { parent: "eventTypes/order".to_owned(), ..Default::default() };
        assert_eq!(globex.event_types.get_event_type(get()).await.unwrap().into_inner().visible_to, ["organizations/globex"]);
        globex.event_types.list_event_type_schemas(schemas()).await.unwrap();
        assert_eq!(acme.event_types.get_event_type(get()).await.unwrap_err().code(), Code::NotFound);
        assert_eq!(acme.event_types.list_event_type_schemas(schemas()).await.unwrap_err().code(), Code::NotFound);
        for (clients, seen) in [(&mut *acme, false), (&mut *globex, true), (&mut installation.clients, true)] {
            let listed = clients.event_types.list_event_types(ListEventTypesRequest::default()).await.unwrap().into_inner();
            let has = listed.event_types.iter().any(|one| one.name == "eventTypes/order");
            assert_eq!(has, seen);
        }

        // An organization cannot guess a hidden type from the nearest names either.
        let refused = acme.events.publish_event(event("orde", "{}")).await.unwrap_err();
        assert!(refused.code() == Code::NotFound && !refused.message().contains("`order`"), "{refused}");
        let refused = acme.events.publish_event(event("order", "{}")).await.unwrap_err();
        assert_eq!(refused.code(), Code::NotFound, "{refused}");
        let refused = installation.try_publish(event("order", "{}")).await.unwrap_err();
        assert_eq!(refused.get_error_details().error_info().unwrap().reason, "EVENT_TYPE_NOT_VISIBLE");
        let of_globex = hookwright_proto::v1::PublishEventRequest {
            organization: "organizations/globex".to_owned(),
            ..event("order", "{}")
        };
        installation.try_publish(of_globex).await.unwrap();
        let subscribe = webhook(&receiver.url("/payload"), &["order"]);
        let refused = installation.create_webhook(subscribe).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");

        // An existing subscription to a type that becomes hidden stays, and other changes of the webhook still succeed.
        let update = |visible_to: &[&str]| UpdateEventTypeRequest {
            event_type: Some(EventType {
                name: "eventTypes/order".to_owned(),
                visible_to: visible_to.iter().map(|one| (*one).to_owned()).collect(),
                ..EventType::default()
            }),
            update_mask: Some(FieldMask { paths: vec!["visible_to".to_owned()] }),
            ..UpdateEventTypeRequest::default()
        };
        installation.clients.event_types.update_event_type(update(&[])).await.unwrap();
        let hook = installation.webhook(&receiver, &["order"]).await;
        installation.clients.event_types.update_event_type(update(&["organizations/globex"])).await.unwrap();
        installation.restart().await;
        let described = Webhook { name: hook.name, description: "again".to_owned(), ..Webhook::default() };
        let request = UpdateWebhookRequest { webhook: Some(described), update_mask: None };
        let updated = installation.clients.webhooks.update_webhook(request).await.unwrap().into_inner();
        assert_eq!(updated.events, ["order"]);

        let unknown = installation.clients.event_types.update_event_type(update(&["organizations/nobody"])).await.unwrap_err();
        assert_eq!(unknown.code(), Code::InvalidArgument);
        // When the only organization that saw the type is deleted, the type does not become visible to all.
        let gone = hookwright_proto::v1::DeleteOrganizationRequest { name: "organizations/globex".to_owned(), force: true };
        installation.clients.organizations.delete_organization(gone).await.unwrap();
        let left = installation.clients.event_types.get_event_type(get()).await.unwrap().into_inner();
        assert_eq!(left.visible_to, ["organizations/-"]);
        assert!(installation.try_publish(event("order", "{}")).await.is_err());
        installation.clients.event_types.update_event_type(update(&["organizations/-"])).await.unwrap();
    }
}
