//! `hookwright deliveries watch`.

use std::{process::ExitCode, time::Duration};

use clap::Args;
use hookwright_proto::v1::{Delivery, WatchDeliveriesRequest, WatchDeliveriesResponse};
use tokio::time::timeout;
use tonic::{Status, Streaming};

use super::{choice::Choice, show};
use crate::{
    client::{Client, names, patience::Patience},
    interrupt::Interrupt,
    output::{self, printable},
};

/// The server sends a message at least every 10 seconds. The stream is considered lost after three silent intervals.
const SILENCE_MAX: Duration = Duration::from_secs(30);

const EXAMPLES: &str = "\
Examples:
  hookwright deliveries watch --organization acme
  hookwright deliveries watch --organization acme --state failed,retrying
  hookwright deliveries watch --organization acme --webhook wh_... --output json | jq .lastErrorClass

Resumes by itself when the server restarts; a delivery may then be shown twice. With --output json each delivery is one \
             line, with --output yaml one document.";

/// Filters of the watch.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct WatchArgs {
    #[command(flatten)]
    choice: Choice,
    /// Exit after this many deliveries [default: never]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
}

/// Prints deliveries until it is interrupted.
pub(super) async fn run(client: &Client, args: WatchArgs) -> anyhow::Result<ExitCode> {
    let mut interrupt = Interrupt::watch()?;
    let chosen = args.choice.read(client)?;
    let request = WatchDeliveriesRequest {
        parent: chosen.parent,
        webhook: chosen.webhook,
        states: chosen.states,
        event_type: chosen.event_type,
        error_classes: chosen.error_classes,
        resume_token: String::new(),
    };
    tokio::select! {
        ended = follow(client, request, args.count) => ended?,
        () = interrupt.told() => {}
    }
    Ok(ExitCode::SUCCESS)
}

async fn follow(client: &Client, mut request: WatchDeliveriesRequest, count: Option<u64>) -> anyhow::Result<()> {
    let mut left = count.unwrap_or(u64::MAX);
    // An unreachable server is an error at the start; later the command waits for it.
    let mut stream = open(client, &request).await?;
    if client.output.for_people() {
        output::print(&header())?;
    }
    let mut patience = Patience::default();
    loop {
        match next(&mut stream, SILENCE_MAX).await {
            Ok(response) => {
                patience.succeeded();
                for delivery in &response.deliveries {
                    client.output.record("Delivery", delivery, row)?;
                    left -= 1;
                    if left == 0 {
                        return Ok(());
                    }
                }
                request.resume_token = response.resume_token;
            }
            Err(status) => {
                let mut lost = status;
                stream = loop {
                    patience.wait_after(lost).await?;
                    match open(client, &request).await {
                        Ok(stream) => break stream,
                        Err(status) => lost = status,
                    }
                };
            }
        }
    }
}

async fn open(client: &Client, request: &WatchDeliveriesRequest) -> Result<Streaming<WatchDeliveriesResponse>, Status> {
    let mut service = client.deliveries();
    let opening = timeout(client.timeout, service.watch_deliveries(request.clone()));
    let response = opening
        .await
        .map_err(|_| Status::deadline_exceeded("the server did not answer"))?;
    Ok(response?.into_inner())
}

/// The next message. The end of the stream counts as a temporary failure, because the server never ends it on purpose.
async fn next(
    stream: &mut Streaming<WatchDeliveriesResponse>,
    silence_max: Duration,
) -> Result<WatchDeliveriesResponse, Status> {
    match timeout(silence_max, stream.message()).await {
        Ok(Ok(Some(response))) => Ok(response),
        Ok(Ok(None)) => Err(Status::unavailable("the server ended the stream")),
        Ok(Err(status)) => Err(status),
        Err(_) => Err(Status::unavailable("no message arrived for 30s")),
    }
}

/// Rows arrive one by one, so columns have fixed widths.
fn line(cells: [&str; 7]) -> String {
    let [time, state, attempts, last, event_type, delivery, webhook] = cells;
    format!("{time:<21} {state:<10} {attempts:<8} {last:<22} {event_type:<20} {delivery:<21} {webhook}")
}

fn header() -> String {
    line([
        "TIME",
        "STATE",
        "ATTEMPTS",
        "LAST RESULT",
        "TYPE",
        "DELIVERY",
        "WEBHOOK",
    ])
}

fn row(delivery: &Delivery) -> String {
    let time = delivery.last_attempt_time.as_ref().or(delivery.create_time.as_ref());
    line([
        &output::time(time),
        &show::state(delivery),
        &delivery.attempt_count.to_string(),
        &show::last(delivery),
        &printable(&delivery.event_type),
        names::id(&delivery.name),
        names::id(&delivery.webhook),
    ])
}
