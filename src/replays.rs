//! `hookwright replays ...`.

mod create;
mod follow;
mod show;

use std::process::ExitCode;

use clap::{Args, Subcommand};
use create::CreateArgs;
use hookwright_proto::v1::{CancelReplayRequest, GetReplayRequest, ListReplaysRequest, ListReplaysResponse};

use crate::{
    client::{
        Client,
        names::OrganizationArgs,
        pages::{LimitArgs, collect},
    },
    output::List,
};

/// The replay commands.
#[derive(Debug, Subcommand)]
pub(crate) enum ReplaysCommand {
    /// Replay many deliveries, or the events that a webhook missed, and follow the progress
    Create(CreateArgs),
    /// Show one replay with its progress
    Get(Which),
    /// Follow a replay until it ends; exits with 1 if it was cancelled or failed
    Follow(Which),
    /// List an organization's replays, newest first
    List {
        #[command(flatten)]
        organization: OrganizationArgs,
        #[command(flatten)]
        limit: LimitArgs,
    },
    /// Stop a running replay; deliveries that it has created stay
    Cancel(Which),
}

/// One replay.
#[derive(Args, Debug)]
pub(crate) struct Which {
    /// `rpl_...` with --organization, or the full resource name
    replay: String,
    #[command(flatten)]
    organization: OrganizationArgs,
}

/// Runs the command.
pub(crate) async fn run(client: Client, command: ReplaysCommand) -> anyhow::Result<ExitCode> {
    let mut service = client.replays();
    let name = |which: &Which| client.within(&which.organization, "replays", &which.replay);
    let replay = match command {
        ReplaysCommand::Create(args) => return create::run(&client, args).await,
        ReplaysCommand::Follow(which) => {
            let request = GetReplayRequest { name: name(&which)? };
            let replay = service.get_replay(request).await?.into_inner();
            return follow::run(&client, replay).await;
        }
        ReplaysCommand::List { organization, limit } => {
            list(&client, &organization, limit).await?;
            return Ok(ExitCode::SUCCESS);
        }
        ReplaysCommand::Get(which) => {
            let request = GetReplayRequest { name: name(&which)? };
            service.get_replay(request).await?.into_inner()
        }
        ReplaysCommand::Cancel(which) => {
            let request = CancelReplayRequest { name: name(&which)? };
            let response = service.cancel_replay(request).await?.into_inner();
            response.replay.unwrap_or_default()
        }
    };
    client.output.message("Replay", &replay, show::replay)?;
    Ok(ExitCode::SUCCESS)
}

async fn list(client: &Client, organization: &OrganizationArgs, limit: LimitArgs) -> anyhow::Result<()> {
    let service = client.replays();
    let parent = client.parent(organization)?;
    let (replays, rest) = collect(limit.limit, |page_size, page_token| {
        let mut service = service.clone();
        let request = ListReplaysRequest {
            parent: parent.clone(),
            page_size,
            page_token,
        };
        async move {
            let page = service.list_replays(request).await?.into_inner();
            Ok((page.replays, page.next_page_token))
        }
    })
    .await?;
    let list = List {
        length: replays.len(),
        rest: &rest.clone(),
        empty: "No replays. Start one: hookwright replays create --organization acme --state failed --since 24h --dry-run",
    };
    let response = ListReplaysResponse {
        replays,
        next_page_token: rest,
    };
    client.output.list("ListReplaysResponse", &response, list, |response| {
        show::table(&response.replays)
    })
}
