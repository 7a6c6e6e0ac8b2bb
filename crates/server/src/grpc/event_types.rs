//! `EventTypeService`.

use hookwright_domain::{name::EventTypeName, outcome};
use hookwright_proto::v1::{
    ArchiveEventTypeRequest, CreateEventTypeRequest, EventType, EventTypeSchema, EventTypeState, GetEventTypeRequest,
    ListEventTypeSchemasRequest, ListEventTypeSchemasResponse, ListEventTypesRequest, ListEventTypesResponse,
    SchemaMode, UnarchiveEventTypeRequest, UpdateEventTypeRequest, event_type_service_server::EventTypeService,
};
use hookwright_storage::{EventTypeRow, SchemaRow};
use tonic::{Request, Response, Status};

use super::{Api, mask, name, page, time::timestamp};
use crate::app::{
    error::{AppError, AppResult},
    event_types::{EventTypePatch, UpdateOptions},
    texts::NamePrefix,
};

const FIELDS: [&str; 4] = ["description", "json_schema", "example", "schema_mode"];

#[tonic::async_trait]
impl EventTypeService for Api {
    async fn create_event_type(&self, request: Request<CreateEventTypeRequest>) -> Result<Response<EventType>, Status> {
        let caller = self.caller(&request)?;
        let request = request.into_inner();
        EventTypeName::parse(&request.event_type_id)
            .map_err(|error| AppError::invalid("event_type_id", error.rule(), error.to_string()))?;
        let patch = patch(request.event_type.unwrap_or_default(), &FIELDS)?;
        let row = self
            .app
            .create_event_type(&caller, &request.event_type_id, patch)
            .await?;
        Ok(Response::new(event_type(row)))
    }

    async fn get_event_type(&self, request: Request<GetEventTypeRequest>) -> Result<Response<EventType>, Status> {
        let caller = self.caller(&request)?;
        let id = name::event_type("name", &request.get_ref().name)?;
        Ok(Response::new(event_type(self.app.get_event_type(&caller, id)?)))
    }

    async fn list_event_types(
        &self,
        request: Request<ListEventTypesRequest>,
    ) -> Result<Response<ListEventTypesResponse>, Status> {
        let caller = self.caller(&request)?;
        let request = request.get_ref();
        let archived_too = if request.show_archived { "archived" } else { "" };
        let prefix = NamePrefix::new("event_type_id_prefix", &request.event_type_id_prefix)?;
        let arguments = page::Arguments::new(&["ListEventTypes", archived_too, &request.event_type_id_prefix]);
        let after = arguments.place(&request.page_token)?.unwrap_or_default();
        let size = page::size(request.page_size)?;
        let (rows, next) = self
            .app
            .list_event_types(&caller, prefix, &after, size, request.show_archived);
        let place = |row: &EventTypeRow| row.name.clone();
        let (event_types, next) = page::fit(rows, next, place, event_type);
        Ok(Response::new(ListEventTypesResponse {
            event_types,
            next_page_token: arguments.token(next.as_deref()),
        }))
    }

    async fn update_event_type(&self, request: Request<UpdateEventTypeRequest>) -> Result<Response<EventType>, Status> {
        let caller = self.caller(&request)?;
        let request = request.into_inner();
        let given = request
            .event_type
            .ok_or_else(|| AppError::invalid("event_type", "FIELD_REQUIRED", "is required, with its name set"))?;
        let id = name::event_type("event_type.name", &given.name)?.to_owned();
        let given_fields = [
            !given.description.is_empty(),
            !given.json_schema.is_empty(),
            !given.example.is_empty(),
            given.schema_mode() != SchemaMode::Unspecified,
        ];
        let set: Vec<_> = FIELDS
            .iter()
            .zip(given_fields)
            .filter(|(_, set)| *set)
            .map(|(field, _)| *field)
            .collect();
        let fields = mask::fields(request.update_mask.as_ref(), &FIELDS, &set)?;
        let options = UpdateOptions {
            allow_breaking_schema: request.allow_breaking_schema,
            validate_only: request.validate_only,
        };
        let patch = patch(given, &fields)?;
        let row = self.app.update_event_type(&caller, &id, patch, options).await?;
        Ok(Response::new(event_type(row)))
    }

    async fn list_event_type_schemas(
        &self,
        request: Request<ListEventTypeSchemasRequest>,
    ) -> Result<Response<ListEventTypeSchemasResponse>, Status> {
        let caller = self.caller(&request)?;
        let request = request.get_ref();
        let id = name::event_type("parent", &request.parent)?;
        let arguments = page::Arguments::new(&["ListEventTypeSchemas", id]);
        let before = arguments
            .place(&request.page_token)?
            .and_then(|place| place.parse().ok())
            .unwrap_or(i32::MAX);
        let size = page::size(request.page_size)?;
        let (rows, next) = self.app.list_event_type_schemas(&caller, id, before, size).await?;
        let (schemas, next) = page::fit(rows, next, |row| row.version.to_string(), schema);
        Ok(Response::new(ListEventTypeSchemasResponse {
            schemas,
            next_page_token: arguments.token(next.as_deref()),
        }))
    }

    async fn archive_event_type(
        &self,
        request: Request<ArchiveEventTypeRequest>,
    ) -> Result<Response<EventType>, Status> {
        let caller = self.caller(&request)?;
        let id = name::event_type("name", &request.get_ref().name)?;
        Ok(Response::new(event_type(
            self.app.archive_event_type(&caller, id, true).await?,
        )))
    }

    async fn unarchive_event_type(
        &self,
        request: Request<UnarchiveEventTypeRequest>,
    ) -> Result<Response<EventType>, Status> {
        let caller = self.caller(&request)?;
        let id = name::event_type("name", &request.get_ref().name)?;
        Ok(Response::new(event_type(
            self.app.archive_event_type(&caller, id, false).await?,
        )))
    }
}

fn patch(given: EventType, fields: &[&str]) -> AppResult<EventTypePatch> {
    let take = |field: &str, text: String| fields.contains(&field).then_some(text);
    let mode = match SchemaMode::try_from(given.schema_mode) {
        Ok(SchemaMode::Unspecified | SchemaMode::Reject) => outcome::SchemaMode::Reject,
        Ok(SchemaMode::Warn) => outcome::SchemaMode::Warn,
        Ok(SchemaMode::Off) => outcome::SchemaMode::Off,
        Err(_) => {
            let rule = format!("{} is none of its values", given.schema_mode);
            return Err(AppError::invalid("event_type.schema_mode", "UNKNOWN_VALUE", rule));
        }
    };
    Ok(EventTypePatch {
        description: take("description", given.description),
        json_schema: take("json_schema", given.json_schema),
        example: take("example", given.example),
        schema_mode: fields.contains(&"schema_mode").then_some(mode),
    })
}

fn event_type(row: EventTypeRow) -> EventType {
    let state = if row.archived {
        EventTypeState::Archived
    } else {
        EventTypeState::Active
    };
    let mode = match row.schema_mode.parse() {
        Ok(outcome::SchemaMode::Warn) => SchemaMode::Warn,
        Ok(outcome::SchemaMode::Off) => SchemaMode::Off,
        Ok(outcome::SchemaMode::Reject) | Err(_) => SchemaMode::Reject,
    };
    EventType {
        name: format!("eventTypes/{}", row.name),
        description: row.description,
        json_schema: row.json_schema.unwrap_or_default(),
        example: row.example.unwrap_or_default(),
        state: state.into(),
        schema_mode: mode.into(),
        schema_version: row.schema_version,
        create_time: Some(timestamp(row.created_at)),
        update_time: Some(timestamp(row.updated_at)),
    }
}

fn schema(row: SchemaRow) -> EventTypeSchema {
    EventTypeSchema {
        version: row.version,
        json_schema: row.json_schema.unwrap_or_default(),
        create_time: Some(timestamp(row.created_at)),
    }
}
