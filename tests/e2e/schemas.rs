//! What becomes of an event that does not fit its type's schema.

use hookwright_proto::v1::{
    BatchPublishEventsRequest, EventType, ListEventTypeSchemasRequest, SchemaMode, UpdateEventTypeRequest,
    publish_result::Result as Published,
};
use prost_types::FieldMask;
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::support::{ACME, Installation, On, event, on_both_stores};

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
        assert_eq!(created.schema_mode(), SchemaMode::Reject, "the strictest unless told");
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
        assert!(installation.try_publish(event("order", r#"{"total":1}"#)).await.is_err(), "the schema is as it was");

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
}
