//! `hookwright event-types schemas`.

use hookwright_proto::v1::{EventTypeSchema, ListEventTypeSchemasRequest, ListEventTypeSchemasResponse};

use crate::{
    client::{
        Client, names,
        pages::{LimitArgs, collect},
    },
    output::{self, List},
};

/// Lists the schemas of one event type.
pub(super) async fn list(client: &Client, event_type: &str, limit: LimitArgs) -> anyhow::Result<()> {
    let service = client.event_types();
    let parent = names::event_type(event_type);
    let (schemas, rest) = collect(limit.limit, |page_size, page_token| {
        let mut service = service.clone();
        let request = ListEventTypeSchemasRequest {
            parent: parent.clone(),
            page_size,
            page_token,
        };
        async move {
            let page = service.list_event_type_schemas(request).await?.into_inner();
            Ok((page.schemas, page.next_page_token))
        }
    })
    .await?;
    let empty = format!(
        "{parent} has no schemas. Add one: hookwright event-types update {} --schema @schema.json",
        names::id(&parent)
    );
    let list = List {
        length: schemas.len(),
        rest: &rest.clone(),
        empty: &empty,
    };
    let response = ListEventTypeSchemasResponse {
        schemas,
        next_page_token: rest,
    };
    client
        .output
        .list("ListEventTypeSchemasResponse", &response, list, |response| {
            let shown: Vec<String> = response.schemas.iter().map(show).collect();
            shown.join("\n\n")
        })
}

fn show(schema: &EventTypeSchema) -> String {
    let text = if schema.json_schema.is_empty() {
        "(none: the schema was removed)"
    } else {
        &schema.json_schema
    };
    output::fields(vec![
        ("version", schema.version.to_string()),
        ("since", output::time(schema.create_time.as_ref())),
        ("schema", text.to_owned()),
    ])
}
