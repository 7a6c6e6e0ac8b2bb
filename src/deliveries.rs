//! `hookwright deliveries ...`.

pub(crate) mod choice;
mod list;
mod pull;
mod show;
mod stats;
mod watch;

use std::process::ExitCode;

use clap::{Args, Subcommand};
use hookwright_proto::v1::{
    CancelDeliveryRequest, Delivery, GetDeliveryRequest, ListAttemptsRequest, ListAttemptsResponse,
    ReplayDeliveryRequest, RetryDeliveryRequest, SkipDeliveryRequest,
};
use list::ListArgs;
use pull::{AcknowledgeArgs, ExtendArgs, PullArgs};
use stats::StatsArgs;
use watch::WatchArgs;

pub(crate) use show::show;

use crate::{
    client::{
        Client,
        names::OrganizationArgs,
        pages::{LimitArgs, collect},
    },
    output::List,
};

const LIST_EXAMPLES: &str = "\
Examples:
  hookwright deliveries list --organization acme --state failed --since 24h
  hookwright deliveries list --organization acme --state failed --hide-replayed
      Failures that have not been replayed.
  hookwright deliveries list --organization acme --webhook wh_... --error timeout,connect --output json
  hookwright deliveries list --organization acme --event evt_...";

/// The delivery commands.
#[derive(Debug, Subcommand)]
pub(crate) enum DeliveriesCommand {
    /// Show one delivery
    Get(Which),
    /// List an organization's deliveries, newest first
    #[command(after_help = LIST_EXAMPLES)]
    List(ListArgs),
    /// Show the attempts of one delivery, first to last, with their requests and responses
    Attempts {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        limit: LimitArgs,
    },
    /// Watch deliveries live, until Ctrl-C
    Watch(WatchArgs),
    /// Show counts and durations of attempts and deliveries over time
    Stats(StatsArgs),
    /// Replay a final delivery: send the same event to the same webhook again
    Replay {
        #[command(flatten)]
        which: Which,
        /// Makes the call idempotent: at most 100 characters
        #[arg(long, value_name = "ID", default_value = "", hide_default_value = true)]
        request_id: String,
    },
    /// Make a pending or paused delivery due now
    Retry(Which),
    /// Skip a delivery that is not final; if its webhook is ordered, the next one of its key is sent
    Skip(Which),
    /// Cancel a delivery that waits for its next attempt or is paused
    Cancel(Which),
    /// Pull deliveries of a pull webhook
    Pull(PullArgs),
    /// Acknowledge pulled deliveries, which marks them as delivered
    Acknowledge(AcknowledgeArgs),
    /// Move the deadline of pulled deliveries, or release them
    Extend(ExtendArgs),
}

/// One delivery.
#[derive(Args, Debug)]
pub(crate) struct Which {
    /// `dlv_...` with --organization, or the full resource name
    delivery: String,
    #[command(flatten)]
    organization: OrganizationArgs,
}

/// Runs the command.
pub(crate) async fn run(client: Client, command: DeliveriesCommand) -> anyhow::Result<ExitCode> {
    let mut service = client.deliveries();
    let name = |which: &Which| client.within(&which.organization, "deliveries", &which.delivery);
    let delivery = match command {
        DeliveriesCommand::Get(which) => {
            let request = GetDeliveryRequest { name: name(&which)? };
            Some(service.get_delivery(request).await?.into_inner())
        }
        DeliveriesCommand::Skip(which) => {
            let request = SkipDeliveryRequest { name: name(&which)? };
            service.skip_delivery(request).await?.into_inner().delivery
        }
        DeliveriesCommand::Cancel(which) => {
            let request = CancelDeliveryRequest { name: name(&which)? };
            service.cancel_delivery(request).await?.into_inner().delivery
        }
        DeliveriesCommand::Retry(which) => {
            let request = RetryDeliveryRequest { name: name(&which)? };
            service.retry_delivery(request).await?.into_inner().delivery
        }
        DeliveriesCommand::Replay { which, request_id } => {
            let request = ReplayDeliveryRequest {
                name: name(&which)?,
                request_id,
            };
            service.replay_delivery(request).await?.into_inner().delivery
        }
        other => return run_other(client, other).await,
    };
    let delivery: Delivery = delivery.unwrap_or_default();
    client.output.message("Delivery", &delivery, show)?;
    Ok(ExitCode::SUCCESS)
}

/// The commands whose result is not a delivery.
async fn run_other(client: Client, command: DeliveriesCommand) -> anyhow::Result<ExitCode> {
    match command {
        DeliveriesCommand::List(args) => list::run(&client, args).await?,
        DeliveriesCommand::Attempts { which, limit } => {
            let parent = client.within(&which.organization, "deliveries", &which.delivery)?;
            let service = client.deliveries();
            let (attempts, rest) = collect(limit.limit, |page_size, page_token| {
                let mut service = service.clone();
                let request = ListAttemptsRequest {
                    parent: parent.clone(),
                    page_size,
                    page_token,
                };
                async move {
                    let page = service.list_attempts(request).await?.into_inner();
                    Ok((page.attempts, page.next_page_token))
                }
            })
            .await?;
            let list = List {
                length: attempts.len(),
                rest: &rest.clone(),
                empty: "No attempts yet.",
            };
            let response = ListAttemptsResponse {
                attempts,
                next_page_token: rest,
            };
            client
                .output
                .list("ListAttemptsResponse", &response, list, show::attempts)?;
        }
        DeliveriesCommand::Watch(args) => return watch::run(&client, args).await,
        DeliveriesCommand::Stats(args) => stats::run(&client, args).await?,
        DeliveriesCommand::Pull(args) => pull::pull(&client, args).await?,
        DeliveriesCommand::Acknowledge(args) => return pull::acknowledge(&client, args).await,
        DeliveriesCommand::Extend(args) => return pull::extend(&client, args).await,
        DeliveriesCommand::Get(_)
        | DeliveriesCommand::Skip(_)
        | DeliveriesCommand::Cancel(_)
        | DeliveriesCommand::Retry(_)
        | DeliveriesCommand::Replay { .. } => unreachable!("handled by run"),
    }
    Ok(ExitCode::SUCCESS)
}
