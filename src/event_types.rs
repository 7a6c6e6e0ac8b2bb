//! `hookwright event-types ...`.

mod schemas;

use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};
use hookwright_proto::v1::{
    ArchiveEventTypeRequest, CreateEventTypeRequest, DeleteEventTypeRequest, EventType, GetEventTypeRequest,
    ListEventTypesRequest, ListEventTypesResponse, SchemaMode, UnarchiveEventTypeRequest, UpdateEventTypeRequest,
};
use prost_types::FieldMask;

use crate::{
    client::{
        Client,
        failure::UsageError,
        input, names,
        pages::{LimitArgs, collect},
    },
    output::{self, List},
};

const CREATE_EXAMPLES: &str = "\
Examples:
  hookwright event-types create invoice.paid --description 'An invoice was paid'
  hookwright event-types create invoice --schema @invoice.schema.json --example @invoice.json
  hookwright event-types create acme.import --visible-to acme,globex
      Only these organizations can see, subscribe to and publish it.";

const UPDATE_EXAMPLES: &str = "\
Examples:
  hookwright event-types update clocking --schema @clocking.schema.json --validate-only
      Check whether receivers that expect the current schema can handle everything that the new one allows.
  hookwright event-types update clocking --schema @clocking.schema.json --allow-breaking-schema
  hookwright event-types update clocking --schema-mode warn
  hookwright event-types update invoice --visible-to acme,globex
      Only these organizations can see, subscribe to and publish it.";

/// The event type commands.
#[derive(Debug, Subcommand)]
pub(crate) enum EventTypesCommand {
    /// Register an event type
    #[command(after_help = CREATE_EXAMPLES)]
    Create {
        /// Its id, which receivers see in TT-Hook-Event: letters, digits, `_`, `-` and `.`; at most 128 characters, and `-` not at the start
        id: String,
        #[command(flatten)]
        fields: Fields,
    },
    /// Show one event type with its schema and example
    Get {
        /// `clocking` or `eventTypes/clocking`
        event_type: String,
    },
    /// List event types, sorted by name
    List {
        /// Include archived event types
        #[arg(long)]
        show_archived: bool,
        /// Only event types whose id begins with this prefix, for example `invoice.`
        #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
        prefix: String,
        #[command(flatten)]
        limit: LimitArgs,
    },
    /// Change an event type: only the given fields, including empty ones
    #[command(after_help = UPDATE_EXAMPLES)]
    Update {
        /// `clocking` or `eventTypes/clocking`
        event_type: String,
        #[command(flatten)]
        fields: Fields,
        /// Accept a schema that allows payloads which the former one did not, and which receivers may not understand
        #[arg(long)]
        allow_breaking_schema: bool,
        /// Validate and change nothing: shows the event type as it would be
        #[arg(long)]
        validate_only: bool,
    },
    /// List the current and former schemas of an event type, newest first
    Schemas {
        /// `clocking` or `eventTypes/clocking`
        event_type: String,
        #[command(flatten)]
        limit: LimitArgs,
    },
    /// Archive an event type: it can no longer be published or newly subscribed to
    Archive {
        /// `clocking` or `eventTypes/clocking`
        event_type: String,
    },
    /// Restore an archived event type
    Unarchive {
        /// `clocking` or `eventTypes/clocking`
        event_type: String,
    },
    /// Delete an event type that no webhook names; its events stay in the history
    Delete {
        /// `clocking` or `eventTypes/clocking`
        event_type: String,
    },
}

/// The fields of an event type.
#[derive(Args, Debug)]
pub(crate) struct Fields {
    /// Description, at most 1,000 characters
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// JSON Schema that payloads must fit: text, @FILE, or - for standard input; at most 64 KiB; empty for none
    #[arg(long, value_name = "JSON|@FILE|-")]
    schema: Option<String>,
    /// What happens to an event that does not fit the schema [default: reject]
    #[arg(long, value_name = "MODE")]
    schema_mode: Option<Mode>,
    /// Example payload: text, @FILE, or - for standard input; must fit the schema
    #[arg(long, value_name = "JSON|@FILE|-")]
    example: Option<String>,
    /// Organizations that can see, subscribe to and publish it: `acme`; repeatable; replaces the list; `-` alone for none
    /// [default: all]
    #[arg(long, value_name = "ORGANIZATION", value_delimiter = ',', allow_hyphen_values = true)]
    visible_to: Vec<String>,
    /// Make it visible to all organizations
    #[arg(long, conflicts_with = "visible_to")]
    visible_to_all: bool,
}

/// What happens to an event that does not fit the schema.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Mode {
    /// Reject it
    Reject,
    /// Publish it with warnings
    Warn,
    /// Publish it without validation
    Off,
}

impl Fields {
    /// The event type, and the paths of the given fields.
    fn read(self) -> anyhow::Result<(EventType, Vec<String>)> {
        let mut event_type = EventType::default();
        let mut paths = Vec::new();
        if let Some(description) = self.description {
            event_type.description = description;
            paths.push("description".to_owned());
        }
        if let Some(schema) = self.schema {
            event_type.json_schema = input::read_text(&schema)?;
            paths.push("json_schema".to_owned());
        }
        if let Some(mode) = self.schema_mode {
            event_type.set_schema_mode(match mode {
                Mode::Reject => SchemaMode::Reject,
                Mode::Warn => SchemaMode::Warn,
                Mode::Off => SchemaMode::Off,
            });
            paths.push("schema_mode".to_owned());
        }
        if let Some(example) = self.example {
            event_type.example = input::read_text(&example)?;
            paths.push("example".to_owned());
        }
        if !self.visible_to.is_empty() || self.visible_to_all {
            let names = self.visible_to.iter().map(|name| names::organization(name));
            event_type.visible_to = names.collect::<Result<_, _>>()?;
            paths.push("visible_to".to_owned());
        }
        Ok((event_type, paths))
    }
}

/// Runs the command.
pub(crate) async fn run(client: Client, command: EventTypesCommand) -> anyhow::Result<ExitCode> {
    let mut service = client.event_types();
    let event_type = match command {
        EventTypesCommand::List {
            show_archived,
            prefix,
            limit,
        } => {
            list(&client, show_archived, &prefix, limit).await?;
            return Ok(ExitCode::SUCCESS);
        }
        EventTypesCommand::Create { id, fields } => {
            let (event_type, _) = fields.read()?;
            let request = CreateEventTypeRequest {
                event_type_id: id,
                event_type: Some(event_type),
            };
            service.create_event_type(request).await?
        }
        EventTypesCommand::Get { event_type } => {
            let name = names::event_type(&event_type);
            service.get_event_type(GetEventTypeRequest { name }).await?
        }
        EventTypesCommand::Schemas { event_type, limit } => {
            schemas::list(&client, &event_type, limit).await?;
            return Ok(ExitCode::SUCCESS);
        }
        EventTypesCommand::Update {
            event_type,
            fields,
            allow_breaking_schema,
            validate_only,
        } => {
            let request = UpdateEventTypeRequest {
                allow_breaking_schema,
                validate_only,
                ..update(&event_type, fields)?
            };
            let updated = service.update_event_type(request).await?;
            if validate_only {
                return show_validated(&client, updated.get_ref());
            }
            updated
        }
        EventTypesCommand::Delete { event_type } => {
            let name = names::event_type(&event_type);
            service
                .delete_event_type(DeleteEventTypeRequest { name: name.clone() })
                .await?;
            client.output.done(&format!("Deleted {name}."))?;
            return Ok(ExitCode::SUCCESS);
        }
        EventTypesCommand::Archive { event_type } => {
            let name = names::event_type(&event_type);
            service.archive_event_type(ArchiveEventTypeRequest { name }).await?
        }
        EventTypesCommand::Unarchive { event_type } => {
            let name = names::event_type(&event_type);
            service.unarchive_event_type(UnarchiveEventTypeRequest { name }).await?
        }
    };
    client.output.message("EventType", &event_type.into_inner(), show)?;
    Ok(ExitCode::SUCCESS)
}

/// Shows an event type as an update would leave it, and that nothing was changed.
fn show_validated(client: &Client, event_type: &EventType) -> anyhow::Result<ExitCode> {
    client.output.message("EventType", event_type, |event_type| {
        format!(
            "Valid; nothing was changed. The event type would be:\n\n{}",
            show(event_type)
        )
    })?;
    Ok(ExitCode::SUCCESS)
}

/// The update that changes the given fields.
fn update(event_type: &str, fields: Fields) -> anyhow::Result<UpdateEventTypeRequest> {
    let (changed, paths) = fields.read()?;
    if paths.is_empty() {
        return Err(UsageError::new(
            "nothing to change: give --description, --schema, --schema-mode, --example, --visible-to or --visible-to-all",
        )
        .into());
    }
    let event_type = EventType {
        name: names::event_type(event_type),
        ..changed
    };
    Ok(UpdateEventTypeRequest {
        event_type: Some(event_type),
        update_mask: Some(FieldMask { paths }),
        ..UpdateEventTypeRequest::default()
    })
}

async fn list(client: &Client, show_archived: bool, prefix: &str, limit: LimitArgs) -> anyhow::Result<()> {
    let service = client.event_types();
    let (event_types, rest) = collect(limit.limit, |page_size, page_token| {
        let mut service = service.clone();
        let request = ListEventTypesRequest {
            page_size,
            page_token,
            show_archived,
            event_type_id_prefix: prefix.to_owned(),
        };
        async move {
            let page = service.list_event_types(request).await?.into_inner();
            Ok((page.event_types, page.next_page_token))
        }
    })
    .await?;
    let list = List {
        length: event_types.len(),
        rest: &rest.clone(),
        empty: if prefix.is_empty() {
            "No active event types. Register one: hookwright event-types create NAME; list archived ones with --show-archived"
        } else {
            "No active event type has an id with this prefix."
        },
    };
    let response = ListEventTypesResponse {
        event_types,
        next_page_token: rest,
    };
    client
        .output
        .list("ListEventTypesResponse", &response, list, |response| {
            let rows = response.event_types.iter().map(|one| {
                let schema = if one.json_schema.is_empty() {
                    "no".to_owned()
                } else {
                    mode(one)
                };
                vec![
                    names::id(&one.name).to_owned(),
                    state(one),
                    schema,
                    version(one.schema_version),
                    one.description.clone(),
                ]
            });
            output::table(
                &["EVENT TYPE", "STATE", "SCHEMA", "VERSION", "DESCRIPTION"],
                rows.collect(),
            )
        })
}

fn state(event_type: &EventType) -> String {
    output::enum_name(event_type.state().as_str_name(), "EVENT_TYPE_STATE_")
}

fn mode(event_type: &EventType) -> String {
    output::enum_name(event_type.schema_mode().as_str_name(), "SCHEMA_MODE_")
}

/// A schema's version; empty if there is none.
fn version(version: i32) -> String {
    if version == 0 {
        String::new()
    } else {
        version.to_string()
    }
}

/// The organizations that can see it; empty for all.
fn visible_to(event_type: &EventType) -> String {
    let names = event_type.visible_to.iter().map(|name| names::id(name));
    names.collect::<Vec<_>>().join(", ")
}

fn show(event_type: &EventType) -> String {
    output::fields(vec![
        ("event type", names::id(&event_type.name).to_owned()),
        ("state", state(event_type)),
        ("description", event_type.description.clone()),
        ("example", event_type.example.clone()),
        (
            "schema mode",
            if event_type.json_schema.is_empty() {
                String::new()
            } else {
                mode(event_type)
            },
        ),
        ("schema version", version(event_type.schema_version)),
        ("schema", event_type.json_schema.clone()),
        ("visible to", visible_to(event_type)),
        ("created", output::time(event_type.create_time.as_ref())),
        ("updated", output::time(event_type.update_time.as_ref())),
    ])
}
