//! `hookwright audit ...`.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use hookwright_proto::v1::{AuditEntry, ListAuditEntriesRequest, ListAuditEntriesResponse};
use prost_types::{Struct, Timestamp, Value, value::Kind};

use crate::{
    client::{
        Client, input, names,
        pages::{LimitArgs, collect},
    },
    output::{self, List},
};

const EXAMPLES: &str = "\
Examples:
  hookwright audit list --since 2d
  hookwright audit list --organization acme --action webhook.
  hookwright audit list --actor tokens/tok_0amebxsmg0000 --output json";

/// The audit log commands.
#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// List who changed what, newest first
    List(ListArgs),
}

/// Which entries to list.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ListArgs {
    /// Only entries of this organization: `acme` or `organizations/acme`; all organizations without it
    #[arg(long, value_name = "ORGANIZATION")]
    organization: Option<String>,
    /// Only changes by this actor: `tokens/tok_...`, `portalLinks/lnk_...` or `hookwright`
    #[arg(long, value_name = "ACTOR", default_value = "", hide_default_value = true)]
    actor: String,
    /// Only actions that begin with this prefix, for example `webhook.`
    #[arg(long, value_name = "PREFIX", default_value = "", hide_default_value = true)]
    action: String,
    /// Only changes at or after this time: RFC 3339, or an age such as 2h
    #[arg(long, value_name = "TIME", value_parser = input::time)]
    since: Option<Timestamp>,
    /// Only changes before this time: RFC 3339, or an age such as 2h
    #[arg(long, value_name = "TIME", value_parser = input::time)]
    until: Option<Timestamp>,
    #[command(flatten)]
    limit: LimitArgs,
}

/// Runs the command.
pub(crate) async fn run(client: Client, command: AuditCommand) -> anyhow::Result<ExitCode> {
    let AuditCommand::List(args) = command;
    let service = client.audit();
    let filter = ListAuditEntriesRequest {
        parent: match &args.organization {
            Some(text) => names::organization(text)?,
            None => "organizations/-".to_owned(),
        },
        actor: args.actor,
        action_prefix: args.action,
        start_time: args.since,
        end_time: args.until,
        ..ListAuditEntriesRequest::default()
    };
    let (audit_entries, rest) = collect(args.limit.limit, |page_size, page_token| {
        let mut service = service.clone();
        let request = ListAuditEntriesRequest {
            page_size,
            page_token,
            ..filter.clone()
        };
        async move {
            let page = service.list_audit_entries(request).await?.into_inner();
            Ok((page.audit_entries, page.next_page_token))
        }
    })
    .await?;
    let list = List {
        length: audit_entries.len(),
        rest: &rest.clone(),
        empty: "No matching entries.",
    };
    let response = ListAuditEntriesResponse {
        audit_entries,
        next_page_token: rest,
    };
    client
        .output
        .list("ListAuditEntriesResponse", &response, list, |response| {
            let headings = ["TIME", "ACTOR", "ACTION", "RESOURCE", "DETAILS"];
            output::table(&headings, response.audit_entries.iter().map(row).collect())
        })?;
    Ok(ExitCode::SUCCESS)
}

fn row(entry: &AuditEntry) -> Vec<String> {
    vec![
        output::time(entry.create_time.as_ref()),
        actor(entry),
        entry.action.clone(),
        entry.resource.clone(),
        entry.details.as_ref().map(members).unwrap_or_default(),
    ]
}

/// An id and its display name.
fn actor(entry: &AuditEntry) -> String {
    let id = names::id(&entry.actor);
    match entry.actor_display_name.as_str() {
        "" => id.to_owned(),
        _ if id == entry.actor => id.to_owned(),
        name => format!("{id} ({name})"),
    }
}

/// `a=1 b=x`, sorted.
fn members(details: &Struct) -> String {
    let mut members: Vec<String> = details
        .fields
        .iter()
        .filter(|(_, value)| !matches!(value.kind, None | Some(Kind::NullValue(_))))
        .map(|(name, value)| format!("{name}={}", text(value)))
        .collect();
    members.sort();
    members.join(" ")
}

/// A change as `from→to`, a list in brackets.
fn text(value: &Value) -> String {
    match &value.kind {
        None | Some(Kind::NullValue(_)) => "none".to_owned(),
        Some(Kind::BoolValue(value)) => value.to_string(),
        Some(Kind::NumberValue(number)) => number.to_string(),
        Some(Kind::StringValue(text)) => text.replace('\n', "\\n"),
        Some(Kind::ListValue(list)) => format!("[{}]", list.values.iter().map(text).collect::<Vec<_>>().join(", ")),
        Some(Kind::StructValue(inner)) => match (inner.fields.get("from"), inner.fields.get("to")) {
            (Some(from), Some(to)) => format!("{}→{}", text(from), text(to)),
            _ => format!("{{{}}}", members(inner)),
        },
    }
}
