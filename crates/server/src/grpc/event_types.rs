//! `EventTypeService`.

use hookwright_domain::{name::EventTypeName, outcome};
use hookwright_proto::v1::{
    ArchiveEventTypeRequest, CreateEventTypeRequest, DeleteEventTypeRequest, EventType, EventTypeSchema,
    EventTypeState, GetEventTypeRequest, ListEventTypeSchemasRequest, ListEventTypeSchemasResponse,
    ListEventTypesRequest, ListEventTypesResponse, SchemaMode, UnarchiveEventTypeRequest, UpdateEventTypeRequest,
    event_type_service_server::EventTypeService,
};
use hookwright_storage::{EventTypeRow, SchemaRow};
use tonic::{Request, Response, Status};

use super::{Api, mask, name, page, time::timestamp};
use crate::app::{
    access::Caller,
    error::{AppError, AppResult},
    event_types::{EventTypePatch, NOBODY, UpdateOptions},
    texts::NamePrefix,
};

const FIELDS: [&str; 5] = ["description", "json_schema", "example", "schema_mode", "visible_to"];

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
        Ok(Response::new(self.event_type(&caller, row)))
    }

    async fn get_event_type(&self, request: Request<GetEventTypeRequest>) -> Result<Response<EventType>, Status> {
        let caller = self.caller(&request)?;
        let id = name::event_type("name", &request.get_ref().name)?;
        let row = self.app.get_event_type(&caller, id)?;
        Ok(Response::new(self.event_type(&caller, row)))
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
            .list_event_types(&caller, prefix, &after, size, request.show_archived)?;
        let place = |row: &EventTypeRow| row.name.clone();
        let (event_types, next) = page::fit(rows, next, place, |row| self.event_type(&caller, row));
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
            !given.visible_to.is_empty(),
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
        Ok(Response::new(self.event_type(&caller, row)))
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
        let row = self.app.archive_event_type(&caller, id, true).await?;
        Ok(Response::new(self.event_type(&caller, row)))
    }

    async fn unarchive_event_type(
        &self,
        request: Request<UnarchiveEventTypeRequest>,
    ) -> Result<Response<EventType>, Status> {
        let caller = self.caller(&request)?;
        let id = name::event_type("name", &request.get_ref().name)?;
        let row = self.app.archive_event_type(&caller, id, false).await?;
        Ok(Response::new(self.event_type(&caller, row)))
    }

    async fn delete_event_type(&self, request: Request<DeleteEventTypeRequest>) -> Result<Response<()>, Status> {
        let caller = self.caller(&request)?;
        let id = name::event_type("name", &request.get_ref().name)?;
        self.app.delete_event_type(&caller, id).await?;
        Ok(Response::new(()))
    }
}

impl Api {
    /// An event type as the caller sees it.
    fn event_type(&self, caller: &Caller, row: EventTypeRow) -> EventType {
        let visible_to = self.app.visible_to(caller, &row);
        EventType {
            visible_to: visible_to.iter().map(|name| format!("organizations/{name}")).collect(),
            ..event_type(row)
        }
    }
}

/// The names of organizations; one may mean none.
fn organizations(names: &[String]) -> AppResult<Vec<String>> {
    let field = "event_type.visible_to";
    let id = |text: &String| match text.strip_prefix("organizations/") {
        Some(NOBODY) => Ok(NOBODY.to_owned()),
        _ => name::organization(field, text).map(str::to_owned),
    };
    names.iter().map(id).collect()
}

fn patch(given: EventType, fields: &[&str]) -> AppResult<EventTypePatch> {
    let take = |field: &str, text: String| fields.contains(&field).then_some(text);
    let mode = match SchemaMode::try_from(given.schema_mode) {
        Ok(SchemaMode::Unspecified | SchemaMode::Reject) => outcome::SchemaMode::Reject,
        Ok(SchemaMode::Warn) => outcome::SchemaMode::Warn,
        Ok(SchemaMode::Off) => outcome::SchemaMode::Off,
        Err(_) => {
            let rule = format!("{} is not one of its values", given.schema_mode);
            return Err(AppError::invalid("event_type.schema_mode", "UNKNOWN_VALUE", rule));
        }
    };
    Ok(EventTypePatch {
        description: take("description", given.description),
        json_schema: take("json_schema", given.json_schema),
        example: take("example", given.example),
        schema_mode: fields.contains(&"schema_mode").then_some(mode),
        visible_to: fields
            .contains(&"visible_to")
            .then(|| organizations(&given.visible_to))
            .transpose()?,
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
        visible_to: Vec::new(),
    }
}

fn schema(row: SchemaRow) -> EventTypeSchema {
    EventTypeSchema {
        version: row.version,
        json_schema: row.json_schema.unwrap_or_default(),
        create_time: Some(timestamp(row.created_at)),
    }
}
