//! `hookwright deliveries ...`.

use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};
use hookwright_proto::v1::{
    Attempt, CancelDeliveryRequest, Delivery, DeliveryState, ErrorClass, GetDeliveryRequest, ListAttemptsRequest,
    ListAttemptsResponse, ListDeliveriesRequest, ListDeliveriesResponse, RetryDeliveryRequest, SkipDeliveryRequest,
};

use prost_types::Timestamp;

use crate::{
    client::{
        Client, input, names,
        pages::{LimitArgs, collect},
    },
    output::{self, List},
};

/// What to do with deliveries.
#[derive(Debug, Subcommand)]
pub(crate) enum DeliveriesCommand {
    /// Show one delivery
    Get(Which),
    /// List an organization's deliveries, newest first, for example: hookwright deliveries list --organization acme --state failed
    List(ListArgs),
    /// Show the attempts of one delivery, first to last, with request and response
    Attempts(Which),
    /// End a delivery that waits; the next one of its key goes on if its webhook is ordered
    Skip(Which),
    /// Cancel a delivery that waits for its next attempt, or is paused
    Cancel(Which),
    /// Make a delivery that waits or is paused due now
    Retry(Which),
}

/// One delivery.
#[derive(Args, Debug)]
pub(crate) struct Which {
    /// `dlv_...` with --organization, or the full resource name
    delivery: String,
    /// `acme` or `organizations/acme`
    #[arg(long, env = "HOOKWRIGHT_ORGANIZATION")]
    organization: Option<String>,
}

impl Which {
    fn name(&self) -> anyhow::Result<String> {
        Ok(names::within(
            self.organization.as_deref(),
            "deliveries",
            &self.delivery,
        )?)
    }
}

/// Where a delivery stands.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum State {
    /// Not attempted yet.
    Pending,
    /// At least one attempt failed, and another one is due.
    Retrying,
    /// The receiver answered with a 2xx status.
    Delivered,
    /// Every attempt failed, or the receiver answered 410.
    Failed,
    /// Ended without further attempts.
    Cancelled,
    /// Every attempt failed, and its ordered webhook holds up its key.
    Paused,
}

impl From<State> for DeliveryState {
    fn from(state: State) -> Self {
        match state {
            State::Pending => Self::Pending,
            State::Retrying => Self::Retrying,
            State::Delivered => Self::Delivered,
            State::Failed => Self::Failed,
            State::Cancelled => Self::Cancelled,
            State::Paused => Self::Paused,
        }
    }
}

/// Which deliveries to list.
#[derive(Args, Debug)]
pub(crate) struct ListArgs {
    /// `acme` or `organizations/acme`
    #[arg(long, env = "HOOKWRIGHT_ORGANIZATION")]
    organization: String,
    /// Only deliveries to this webhook: `wh_...` or a resource name
    #[arg(long, value_name = "WEBHOOK")]
    webhook: Option<String>,
    /// Only deliveries of this event: `evt_...` or a resource name
    #[arg(long, value_name = "EVENT")]
    event: Option<String>,
    /// Only deliveries in this state; repeatable
    #[arg(long = "state", value_name = "STATE", value_delimiter = ',')]
    states: Vec<State>,
    /// Only deliveries of events of this type; `ping` for pings
    #[arg(long, value_name = "TYPE", default_value = "")]
    event_type: String,
    /// Only deliveries whose last attempt failed for this reason, for example timeout; repeatable
    #[arg(long = "error", value_name = "CLASS", value_delimiter = ',', value_parser = error_class)]
    error_classes: Vec<ErrorClass>,
    /// Only deliveries of events published at or after this time (RFC 3339), or not longer ago than this (2h)
    #[arg(long, value_name = "TIME", value_parser = input::time)]
    since: Option<Timestamp>,
    /// Only deliveries of events published before this time (RFC 3339), or longer ago than this (2h)
    #[arg(long, value_name = "TIME", value_parser = input::time)]
    until: Option<Timestamp>,
    #[command(flatten)]
    limit: LimitArgs,
}

/// An error class by the name that tables show.
fn error_class(text: &str) -> Result<ErrorClass, String> {
    let name = format!("ERROR_CLASS_{}", text.to_uppercase().replace('-', "_"));
    match ErrorClass::from_str_name(&name) {
        Some(class) if class != ErrorClass::Unspecified => Ok(class),
        _ => {
            let known = (1..).map_while(|number| ErrorClass::try_from(number).ok());
            let known: Vec<_> = known
                .map(|class| output::enum_name(class.as_str_name(), "ERROR_CLASS_"))
                .collect();
            Err(format!("write one of {}", known.join(", ")))
        }
    }
}

/// Runs the command.
pub(crate) async fn run(client: Client, command: DeliveriesCommand) -> anyhow::Result<ExitCode> {
    match command {
        DeliveriesCommand::Get(which) => {
            let request = GetDeliveryRequest { name: which.name()? };
            let delivery = client.deliveries().get_delivery(request).await?.into_inner();
            client.output.message("Delivery", &delivery, show)?;
        }
        DeliveriesCommand::List(args) => list(&client, args).await?,
        DeliveriesCommand::Skip(which) => {
            let request = SkipDeliveryRequest { name: which.name()? };
            let response = client.deliveries().skip_delivery(request).await?.into_inner();
            let delivery = response.delivery.unwrap_or_default();
            client.output.message("Delivery", &delivery, show)?;
        }
        DeliveriesCommand::Cancel(which) => {
            let request = CancelDeliveryRequest { name: which.name()? };
            let response = client.deliveries().cancel_delivery(request).await?.into_inner();
            let delivery = response.delivery.unwrap_or_default();
            client.output.message("Delivery", &delivery, show)?;
        }
        DeliveriesCommand::Retry(which) => {
            let request = RetryDeliveryRequest { name: which.name()? };
            let response = client.deliveries().retry_delivery(request).await?.into_inner();
            let delivery = response.delivery.unwrap_or_default();
            client.output.message("Delivery", &delivery, show)?;
        }
        DeliveriesCommand::Attempts(which) => {
            let request = ListAttemptsRequest { parent: which.name()? };
            let response = client.deliveries().list_attempts(request).await?.into_inner();
            let list = List {
                length: response.attempts.len(),
                rest: "",
                empty: "No attempt was made yet.",
            };
            client.output.list("ListAttemptsResponse", &response, list, attempts)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(client: &Client, args: ListArgs) -> anyhow::Result<()> {
    let service = client.deliveries();
    let organization = Some(args.organization.as_str());
    let full = |collection, id: Option<String>| {
        id.map_or(Ok(String::new()), |id| names::within(organization, collection, &id))
    };
    let filter = ListDeliveriesRequest {
        parent: names::organization(&args.organization)?,
        webhook: full("webhooks", args.webhook)?,
        event: full("events", args.event)?,
        states: args
            .states
            .iter()
            .map(|state| DeliveryState::from(*state).into())
            .collect(),
        event_type: args
            .event_type
            .strip_prefix("eventTypes/")
            .unwrap_or(&args.event_type)
            .to_owned(),
        error_classes: args.error_classes.iter().map(|class| i32::from(*class)).collect(),
        start_time: args.since,
        end_time: args.until,
        ..ListDeliveriesRequest::default()
    };
    let (deliveries, rest) = collect(args.limit.limit, |page_size, page_token| {
        let mut service = service.clone();
        let request = ListDeliveriesRequest {
            page_size,
            page_token,
            ..filter.clone()
        };
        async move {
            let page = service.list_deliveries(request).await?.into_inner();
            Ok((page.deliveries, page.next_page_token))
        }
    })
    .await?;
    let list = List {
        length: deliveries.len(),
        rest: &rest.clone(),
        empty: "No such deliveries. An event is delivered to the active webhooks subscribed to its type when it is \
                published: see `hookwright webhooks list`.",
    };
    let response = ListDeliveriesResponse {
        deliveries,
        next_page_token: rest,
    };
    client
        .output
        .list("ListDeliveriesResponse", &response, list, |response| {
            let rows = response.deliveries.iter().map(|one| {
                vec![
                    names::id(&one.name).to_owned(),
                    one.event_type.clone(),
                    state(one),
                    one.attempt_count.to_string(),
                    last(one),
                    output::time(one.create_time.as_ref()),
                    names::id(&one.webhook).to_owned(),
                ]
            });
            output::table(
                &["DELIVERY", "TYPE", "STATE", "ATTEMPTS", "LAST", "PUBLISHED", "WEBHOOK"],
                rows.collect(),
            )
        })
}

fn state(delivery: &Delivery) -> String {
    output::enum_name(delivery.state().as_str_name(), "DELIVERY_STATE_")
}

/// What came of the last attempt: a status, an error class, or both.
fn last(delivery: &Delivery) -> String {
    let class = output::enum_name(delivery.last_error_class().as_str_name(), "ERROR_CLASS_");
    match (delivery.last_response_status, class) {
        (0, class) => class,
        (status, class) if class.is_empty() || class == "status" => status.to_string(),
        (status, class) => format!("{status} {class}"),
    }
}

/// One delivery, for people.
pub(crate) fn show(delivery: &Delivery) -> String {
    output::fields(vec![
        ("delivery", names::id(&delivery.name).to_owned()),
        ("name", delivery.name.clone()),
        ("state", state(delivery)),
        ("event", names::id(&delivery.event).to_owned()),
        ("type", delivery.event_type.clone()),
        ("webhook", names::id(&delivery.webhook).to_owned()),
        ("attempts", delivery.attempt_count.to_string()),
        ("last outcome", last(delivery)),
        ("last attempt", output::time(delivery.last_attempt_time.as_ref())),
        ("next attempt", output::time(delivery.next_attempt_time.as_ref())),
        ("cancelled", delivery.cancel_reason.clone()),
        ("published", output::time(delivery.create_time.as_ref())),
    ])
}

fn attempts(response: &ListAttemptsResponse) -> String {
    response.attempts.iter().map(attempt).collect::<Vec<_>>().join("\n\n")
}

fn attempt(attempt: &Attempt) -> String {
    let class = output::enum_name(attempt.error_class().as_str_name(), "ERROR_CLASS_");
    let outcome = match (attempt.response_status, class.as_str()) {
        (0, class) => class.to_owned(),
        (status, "") => status.to_string(),
        (status, class) => format!("{status} ({class})"),
    };
    let headers = |headers: &[hookwright_proto::v1::Header]| {
        headers
            .iter()
            .map(|header| format!("{}: {}", header.name, header.value))
            .collect::<Vec<_>>()
            .join("\n")
    };
    let mut body = String::from_utf8_lossy(&attempt.response_body).into_owned();
    if attempt.response_body_truncated {
        body.push_str("\n(cut off: the rest was not kept)");
    }
    let mut rows = vec![
        ("attempt", attempt.number.to_string()),
        ("outcome", outcome),
        ("error", attempt.error_message.clone()),
        ("began", output::time(attempt.start_time.as_ref())),
        ("took", output::milliseconds(attempt.duration.as_ref())),
    ];
    if let Some(phases) = &attempt.phases {
        let phases = [
            ("dns", &phases.dns),
            ("connect", &phases.connect),
            ("tls", &phases.tls),
            ("wait", &phases.wait),
            ("body", &phases.body),
        ];
        let phases = phases.into_iter().filter_map(|(name, duration)| {
            duration
                .as_ref()
                .map(|duration| format!("{name} {}", output::milliseconds(Some(duration))))
        });
        rows.push(("phases", phases.collect::<Vec<_>>().join(", ")));
    }
    rows.extend([
        ("url", attempt.url.clone()),
        ("remote address", attempt.remote_address.clone()),
        ("request headers", headers(&attempt.request_headers)),
        ("response headers", headers(&attempt.response_headers)),
        ("response body", body),
    ]);
    output::fields(rows)
}
