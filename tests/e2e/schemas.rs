//! What becomes of an event that does not fit its type's schema.

use hookwright_proto::v1::{
    BatchPublishEventsRequest, CreateEventTypeRequest, EventType, SchemaMode, UpdateEventTypeRequest,
    publish_result::Result as Published,
};
use prost_types::FieldMask;
use tonic::Code;

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
        let request = CreateEventTypeRequest {
            event_type_id: "order".to_owned(),
            event_type: Some(EventType { json_schema: SCHEMA.to_owned(), ..EventType::default() }),
        };
        let created = installation.clients.event_types.create_event_type(request).await.unwrap().into_inner();
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
}
