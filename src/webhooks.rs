//! `hookwright webhooks ...`.

mod fields;
mod filter;
mod show;

use std::{process::ExitCode, time::Duration};

use clap::{Args, Subcommand};
use fields::{CreateFields, UpdateFields};
use filter::TestFilter;
use hookwright_proto::v1::{
    CheckWebhookUrlRequest, CompleteSigningSecretRotationRequest, CreateWebhookRequest, DeleteWebhookRequest,
    GetWebhookRequest, ListWebhooksRequest, ListWebhooksResponse, PingWebhookRequest, RevealSigningSecretRequest,
    RotateSigningSecretRequest, UpdateWebhookRequest,
};
use prost_types::FieldMask;

use crate::{
    client::{
        Client, input, names,
        pages::{LimitArgs, collect},
    },
    deliveries,
    output::{self, List},
    units::parse_duration,
};

/// What to do with webhooks.
#[derive(Debug, Subcommand)]
pub(crate) enum WebhooksCommand {
    /// Install a webhook; it is sent a `ping` at once, and its signing secret is shown
    Create {
        /// `acme` or `organizations/acme`
        #[arg(long, env = "HOOKWRIGHT_ORGANIZATION")]
        organization: String,
        #[command(flatten)]
        fields: CreateFields,
    },
    /// Show one webhook, without its signing secret
    Get(Which),
    /// List an organization's webhooks, oldest first
    List {
        /// `acme` or `organizations/acme`
        #[arg(long, env = "HOOKWRIGHT_ORGANIZATION")]
        organization: String,
        #[command(flatten)]
        limit: LimitArgs,
    },
    /// Change the fields that are given; a webhook that is active afterwards is sent a `ping`
    Update {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        fields: UpdateFields,
    },
    /// Delete a webhook; what is pending for it is cancelled
    Delete(Which),
    /// Send a `ping` through the ordinary delivery path
    Ping {
        #[command(flatten)]
        which: Which,
        /// Wait for the first attempt, and exit with 1 unless it succeeded
        #[arg(long)]
        wait: bool,
    },
    /// Replace the signing secret; the old one stays valid beside it for the overlap
    ///
    /// During the overlap `webhook-signature` carries a signature of each secret, newest first; the TT-Hook-Signature pair,
    /// which holds one value, uses the OLD secret until the overlap ends or `complete-rotation` is called.
    RotateSecret {
        #[command(flatten)]
        which: Which,
        /// The new secret: text, @FILE, or - for standard input; generated when absent
        #[arg(long, value_name = "SECRET|@FILE|-")]
        signing_secret: Option<String>,
        /// How long the old secret stays valid: 0 to 7d; 0 ends it at once [default: 24h]
        #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
        overlap: Option<Duration>,
    },
    /// End the overlap of a rotation now: only the newest secret signs from here on
    CompleteRotation(Which),
    /// Show the signing secret in use; every call is written to the audit log
    RevealSecret(Which),
    /// Tell whether a payload URL would be accepted, and by which rule; exits with 1 where it would not
    CheckUrl {
        /// The URL, for example `https://www.example.com/api/listener`
        payload_url: String,
    },
    /// Tell whether a filter is accepted, and whether an event matches it; nothing is changed
    TestFilter(TestFilter),
}

/// One webhook.
#[derive(Args, Debug)]
pub(crate) struct Which {
    /// `wh_...` with --organization, or the full resource name
    webhook: String,
    /// `acme` or `organizations/acme`
    #[arg(long, env = "HOOKWRIGHT_ORGANIZATION")]
    organization: Option<String>,
}

impl Which {
    fn name(&self) -> anyhow::Result<String> {
        Ok(names::within(self.organization.as_deref(), "webhooks", &self.webhook)?)
    }
}

/// Runs the command.
pub(crate) async fn run(client: Client, command: WebhooksCommand) -> anyhow::Result<ExitCode> {
    let mut service = client.webhooks();
    let webhook = match command {
        WebhooksCommand::Create { organization, fields } => {
            let parent = names::organization(&organization)?;
            service
                .create_webhook(CreateWebhookRequest {
                    parent,
                    webhook: Some(fields.read()?),
                })
                .await?
        }
        WebhooksCommand::Get(which) => service.get_webhook(GetWebhookRequest { name: which.name()? }).await?,
        WebhooksCommand::Update { which, fields } => {
            let (mut webhook, paths) = fields.read()?;
            webhook.name = which.name()?;
            let update_mask = Some(FieldMask { paths });
            service
                .update_webhook(UpdateWebhookRequest {
                    webhook: Some(webhook),
                    update_mask,
                })
                .await?
        }
        WebhooksCommand::CompleteRotation(which) => {
            let request = CompleteSigningSecretRotationRequest { name: which.name()? };
            service.complete_signing_secret_rotation(request).await?
        }
        other => return run_other(client, other).await,
    };
    client.output.message("Webhook", &webhook.into_inner(), show::webhook)?;
    Ok(ExitCode::SUCCESS)
}

/// The commands whose result is something else than the webhook.
async fn run_other(client: Client, command: WebhooksCommand) -> anyhow::Result<ExitCode> {
    let mut service = client.webhooks();
    match command {
        WebhooksCommand::List { organization, limit } => list(&client, &organization, limit).await?,
        WebhooksCommand::Delete(which) => {
            let name = which.name()?;
            service
                .delete_webhook(DeleteWebhookRequest { name: name.clone() })
                .await?;
            client.output.done(&format!("Deleted {name}."))?;
        }
        WebhooksCommand::Ping { which, wait } => return ping(&client, &which, wait).await,
        WebhooksCommand::RotateSecret {
            which,
            signing_secret,
            overlap,
        } => {
            let request = RotateSigningSecretRequest {
                name: which.name()?,
                signing_secret: signing_secret.map_or(Ok(String::new()), |value| input::read_line(&value))?,
                overlap: overlap.map(fields::duration),
            };
            let rotated = service.rotate_signing_secret(request).await?.into_inner();
            client
                .output
                .message("RotateSigningSecretResponse", &rotated, show::rotated)?;
        }
        WebhooksCommand::RevealSecret(which) => {
            let request = RevealSigningSecretRequest { name: which.name()? };
            let revealed = service.reveal_signing_secret(request).await?.into_inner();
            client
                .output
                .message("RevealSigningSecretResponse", &revealed, show::revealed)?;
        }
        WebhooksCommand::TestFilter(args) => return filter::run(&client, args).await,
        WebhooksCommand::CheckUrl { payload_url } => {
            let check = service
                .check_webhook_url(CheckWebhookUrlRequest { payload_url })
                .await?
                .into_inner();
            client.output.message("CheckWebhookUrlResponse", &check, show::check)?;
            return Ok(if check.allowed {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            });
        }
        WebhooksCommand::Create { .. }
        | WebhooksCommand::Get(_)
        | WebhooksCommand::Update { .. }
        | WebhooksCommand::CompleteRotation(_) => unreachable!("handled by run"),
    }
    Ok(ExitCode::SUCCESS)
}

async fn ping(client: &Client, which: &Which, wait: bool) -> anyhow::Result<ExitCode> {
    let request = PingWebhookRequest {
        name: which.name()?,
        wait,
    };
    let response = client.webhooks().ping_webhook(request).await?.into_inner();
    client.output.message("PingWebhookResponse", &response, |response| {
        response.delivery.as_ref().map(deliveries::show).unwrap_or_default()
    })?;
    let delivered = response
        .delivery
        .is_some_and(|delivery| delivery.state() == hookwright_proto::v1::DeliveryState::Delivered);
    Ok(if wait && !delivered {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

async fn list(client: &Client, organization: &str, limit: LimitArgs) -> anyhow::Result<()> {
    let service = client.webhooks();
    let parent = names::organization(organization)?;
    let (webhooks, rest) = collect(limit.limit, |page_size, page_token| {
        let mut service = service.clone();
        let request = ListWebhooksRequest {
            parent: parent.clone(),
            page_size,
            page_token,
        };
        async move {
            let page = service.list_webhooks(request).await?.into_inner();
            Ok((page.webhooks, page.next_page_token))
        }
    })
    .await?;
    let empty = format!(
        "{parent} has no webhooks yet. Install one: hookwright webhooks create --organization {} --payload-url URL \
         --event clocking",
        names::id(&parent)
    );
    let list = List {
        length: webhooks.len(),
        rest: &rest.clone(),
        empty: &empty,
    };
    let response = ListWebhooksResponse {
        webhooks,
        next_page_token: rest,
    };
    client.output.list("ListWebhooksResponse", &response, list, |response| {
        let rows = response.webhooks.iter().map(|one| {
            vec![
                names::id(&one.name).to_owned(),
                show::state(one),
                one.events.join(","),
                show::url(one),
                output::time(one.create_time.as_ref()),
            ]
        });
        output::table(
            &["WEBHOOK", "STATE", "EVENTS", "PAYLOAD URL", "CREATED"],
            rows.collect(),
        )
    })
}
