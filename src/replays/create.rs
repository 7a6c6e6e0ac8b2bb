//! `hookwright replays create`.

use std::{
    io::{self, BufRead as _, IsTerminal as _, Write as _},
    process::ExitCode,
};

use clap::Args;
use hookwright_proto::v1::{ReplayDeliveriesRequest, ReplaySelection};
use prost_types::Timestamp;

use super::{follow, show};
use crate::{
    client::{Client, failure::UsageError, input, names::OrganizationArgs},
    deliveries::choice::{self, Class, State},
    output,
};

const EXAMPLES: &str = "\
Examples:
  hookwright replays create --organization acme --webhook wh_... --since 24h --dry-run
      Count the failed and cancelled deliveries of the last day; nothing is sent.
  hookwright replays create --organization acme --webhook wh_... --state delivered --since 2h --rate 50
      The receiver lost deliveries: send them again, 50 a second.
  hookwright replays create --organization acme --webhook wh_... --missed --since 2026-01-31T09:00:00Z
      Send events published while the webhook was paused or disabled, or before it was created.

If a delivery was replayed before, only the state of the last replay counts: a failed delivery whose replay succeeded is
not selected again.

Without --since the replay covers everything that is kept: the command counts first and asks for confirmation.
Ctrl-C ends the command but not the replay, which continues in the server; the exit status is then 130. It is 1 if the \
             replay was cancelled or failed.";

/// Selection of the replay.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct CreateArgs {
    #[command(flatten)]
    organization: OrganizationArgs,
    /// Events that were never delivered because the webhook was paused, disabled or did not exist; needs --webhook
    #[arg(long, requires = "webhook", conflicts_with_all = ["states", "errors"])]
    missed: bool,
    /// Only deliveries to this webhook: `wh_...` or a resource name
    #[arg(long, value_name = "WEBHOOK")]
    webhook: Option<String>,
    /// Only deliveries of events of this type; repeatable
    #[arg(long = "event-type", value_name = "TYPE", value_delimiter = ',')]
    event_types: Vec<String>,
    /// Only deliveries in this final state; repeatable [default: failed, cancelled]
    #[arg(long = "state", value_name = "STATE", value_delimiter = ',', value_parser = choice::final_state())]
    states: Vec<State>,
    /// Only deliveries whose last attempt failed with this error class, for example timeout; repeatable
    #[arg(long = "error", value_name = "CLASS", value_delimiter = ',')]
    errors: Vec<Class>,
    /// Only deliveries of events published at or after this time: RFC 3339, or an age such as 2h
    #[arg(long, value_name = "TIME", value_parser = input::time)]
    since: Option<Timestamp>,
    /// Only deliveries of events published before this time: RFC 3339, or an age such as 2h [default: now]
    #[arg(long, value_name = "TIME", value_parser = input::time)]
    until: Option<Timestamp>,
    /// Count only; send nothing
    #[arg(long)]
    dry_run: bool,
    /// Maximum number of deliveries per second, 0.01 to 10000 [default: limited by the server only]
    #[arg(long, value_name = "RATE")]
    rate: Option<f64>,
    /// Makes the call idempotent: at most 128 characters
    #[arg(long, value_name = "ID", default_value = "", hide_default_value = true)]
    request_id: String,
    /// Replay everything that is kept without confirmation, if --since is not given
    #[arg(long)]
    yes: bool,
    /// Return at once; the replay continues in the server
    #[arg(long)]
    no_wait: bool,
}

/// Starts a replay, and follows it.
pub(super) async fn run(client: &Client, args: CreateArgs) -> anyhow::Result<ExitCode> {
    let webhook = args.webhook.as_deref();
    let selection = if args.missed {
        ReplaySelection::Missed
    } else {
        ReplaySelection::Made
    };
    let mut request = ReplayDeliveriesRequest {
        parent: client.parent(&args.organization)?,
        selection: selection.into(),
        webhook: webhook.map_or(Ok(String::new()), |id| {
            client.within(&args.organization, "webhooks", id)
        })?,
        event_types: args
            .event_types
            .iter()
            .map(|name| choice::event_type_id(name))
            .collect(),
        states: choice::states(&args.states),
        error_classes: choice::classes(&args.errors),
        start_time: args.since,
        end_time: args.until,
        dry_run: args.dry_run,
        deliveries_per_second: args.rate,
        request_id: args.request_id,
    };
    if request.start_time.is_none() && !request.dry_run && !args.yes {
        match confirmed(client, &request).await? {
            Some(counted_at) => request.end_time = Some(counted_at),
            None => return Ok(ExitCode::FAILURE),
        }
    }
    let replay = client.replays().replay_deliveries(request).await?.into_inner();
    if args.no_wait {
        client.output.message("Replay", &replay, show::replay)?;
        return Ok(ExitCode::SUCCESS);
    }
    follow::run(client, replay).await
}

/// Counts what a replay of everything would select, and asks for confirmation. Returns the time of the count if confirmed:
/// later deliveries are not replayed.
async fn confirmed(client: &Client, request: &ReplayDeliveriesRequest) -> anyhow::Result<Option<Timestamp>> {
    if !io::stdin().is_terminal() {
        return Err(UsageError::new(
            "this replays everything that is kept: give --since, count with --dry-run, or add --yes to skip the confirmation",
        )
        .into());
    }
    let count = ReplayDeliveriesRequest {
        dry_run: true,
        request_id: String::new(),
        deliveries_per_second: None,
        ..request.clone()
    };
    let begun = client.replays().replay_deliveries(count).await?.into_inner();
    let begun_at = begun.create_time;
    let Some(counted) = follow::to_the_end(client, begun).await? else {
        return Ok(None);
    };
    let end_time = request.end_time.or(begun_at);
    output::note(&format!(
        "Without --since the replay covers everything that is kept: {}, published before {}.",
        show::so_far(&counted),
        output::time(end_time.as_ref())
    ));
    let yes = tokio::task::spawn_blocking(|| asks("Continue? [y/N] ")).await??;
    if !yes {
        output::note("Nothing was replayed.");
    }
    Ok(end_time.filter(|_| yes))
}

/// Whether the answer to a question is yes.
fn asks(question: &str) -> io::Result<bool> {
    write!(io::stderr().lock(), "{question}")?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}
