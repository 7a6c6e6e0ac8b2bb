//! `hookwright webhooks ...`.

mod fields;
mod filter;
mod show;

use std::{process::ExitCode, time::Duration};

use clap::Subcommand;
use fields::{CreateFields, UpdateFields};
use filter::TestFilter;
use hookwright_proto::v1::{
    CheckWebhookUrlRequest, CompleteSigningSecretRotationRequest, CreateWebhookRequest, DeleteWebhookRequest,
    GetWebhookRequest, ListWebhooksRequest, ListWebhooksResponse, PingWebhookRequest, ResumeWebhookRequest,
    RevealSigningSecretRequest, RotateSigningSecretRequest, UpdateWebhookRequest, Webhook,
};
use prost_types::FieldMask;

use crate::{
    client::{
        Client, input,
        names::{self, OrganizationArgs, WebhookArgs},
        pages::{LimitArgs, collect},
    },
    deliveries,
    operations::{self, WaitArgs},
    output::{self, List},
    units::parse_duration,
};

const CREATE_EXAMPLES: &str = "\
Examples:
  hookwright webhooks create --organization acme --event-type clocking \\
      --payload-url https://www.example.com/api/listener
  hookwright webhooks create --organization acme --event-type '*' --payload-url https://www.example.com/hook \\
      --filter \"attributes.region == 'eu'\" --header 'X-Key: 17' --ordering ordered
  hookwright webhooks create --organization acme --event-type clocking --pull
      The receiver pulls its deliveries, see `hookwright deliveries pull`.";

const UPDATE_EXAMPLES: &str = "\
Examples:
  hookwright webhooks update wh_... --organization acme --event-type clocking,checksheet
  hookwright webhooks update wh_... --organization acme --payload-url https://www.example.com/hook --etag ETAG
      Change the URL, unless the webhook has changed since this etag was read.
  hookwright webhooks update wh_... --organization acme --clear filter";

/// The webhook commands.
#[derive(Debug, Subcommand)]
pub(crate) enum WebhooksCommand {
    /// Create a webhook, which receives a `ping` at once, and show its signing secret
    #[command(after_help = CREATE_EXAMPLES)]
    Create {
        #[command(flatten)]
        organization: OrganizationArgs,
        #[command(flatten)]
        fields: CreateFields,
    },
    /// Show one webhook, without its signing secret
    Get(WebhookArgs),
    /// List an organization's webhooks, oldest first
    List {
        #[command(flatten)]
        organization: OrganizationArgs,
        #[command(flatten)]
        limit: LimitArgs,
    },
    /// Change the given fields; if the webhook is active afterwards, it receives a `ping`
    #[command(after_help = UPDATE_EXAMPLES)]
    Update {
        #[command(flatten)]
        which: WebhookArgs,
        #[command(flatten)]
        fields: UpdateFields,
    },
    /// Pause a webhook: it receives nothing, and its pending deliveries stay pending
    ///
    /// Events published meanwhile are not queued for it. `hookwright webhooks resume` reactivates it, and `hookwright
    /// replays create --missed` delivers the events that it missed.
    Pause(WebhookArgs),
    /// Resume a webhook that is paused, or that the service disabled; it receives a `ping`
    ///
    /// Deliveries that were pending when it was paused or disabled are sent. Events published in the meantime were not
    /// queued: see `hookwright replays create --missed`.
    Resume {
        #[command(flatten)]
        which: WebhookArgs,
        /// Cancel pending deliveries instead of sending them
        #[arg(long)]
        discard_backlog: bool,
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// Delete a webhook, and cancel its pending deliveries
    Delete {
        #[command(flatten)]
        which: WebhookArgs,
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// Send a `ping` through the ordinary delivery path
    Ping {
        #[command(flatten)]
        which: WebhookArgs,
        /// Wait for the first attempt, and exit with 1 unless it succeeded
        #[arg(long)]
        wait: bool,
    },
    /// Replace the signing secret; the old one stays valid for the overlap
    ///
    /// During the overlap `webhook-signature` carries a signature of each secret, newest first. The TT-Hook-Signature pair
    /// has one value, made with the OLD secret until the overlap ends or `complete-rotation` is called.
    RotateSecret {
        #[command(flatten)]
        which: WebhookArgs,
        /// The new secret: text, @FILE, or - for standard input; generated if absent
        #[arg(long, value_name = "SECRET|@FILE|-")]
        signing_secret: Option<String>,
        /// How long the old secret stays valid: 0 to 7d; 0 ends it at once [default: 24h]
        #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
        overlap: Option<Duration>,
        /// Rotate even while a rotation is in progress; the older secret ends at once
        #[arg(long)]
        force: bool,
    },
    /// End the overlap of a rotation now: from then on only the newest secret signs
    CompleteRotation(WebhookArgs),
    /// Show the current signing secret; the audit log records every call
    RevealSecret(WebhookArgs),
    /// Check whether a payload URL would be accepted, and show the rule; exits with 1 if not
    CheckUrl {
        /// The URL, for example `https://www.example.com/api/listener`
        payload_url: String,
    },
    /// Check whether a filter is accepted and matches an event; changes nothing
    TestFilter(TestFilter),
}

/// Runs the command.
pub(crate) async fn run(client: Client, command: WebhooksCommand) -> anyhow::Result<ExitCode> {
    let mut service = client.webhooks();
    let webhook = match command {
        WebhooksCommand::Create { organization, fields } => {
            let parent = client.parent(&organization)?;
            service
                .create_webhook(CreateWebhookRequest {
                    parent,
                    webhook: Some(fields.read()?),
                })
                .await?
        }
        WebhooksCommand::Get(which) => {
            service
                .get_webhook(GetWebhookRequest {
                    name: which.name(&client)?,
                })
                .await?
        }
        WebhooksCommand::Update { which, fields } => {
            let (mut webhook, paths) = fields.read()?;
            webhook.name = which.name(&client)?;
            let update_mask = Some(FieldMask { paths });
            service
                .update_webhook(UpdateWebhookRequest {
                    webhook: Some(webhook),
                    update_mask,
                })
                .await?
        }
        WebhooksCommand::Pause(which) => {
            let webhook = Webhook {
                name: which.name(&client)?,
                active: Some(false),
                ..Webhook::default()
            };
            let update_mask = Some(FieldMask {
                paths: vec!["active".to_owned()],
            });
            let request = UpdateWebhookRequest {
                webhook: Some(webhook),
                update_mask,
            };
            let paused = service.update_webhook(request).await?.into_inner();
            client.output.message("Webhook", &paused, show::paused)?;
            return Ok(ExitCode::SUCCESS);
        }
        WebhooksCommand::CompleteRotation(which) => {
            let request = CompleteSigningSecretRotationRequest {
                name: which.name(&client)?,
            };
            service.complete_signing_secret_rotation(request).await?
        }
        other => return run_other(client, other).await,
    };
    client.output.message("Webhook", &webhook.into_inner(), show::webhook)?;
    Ok(ExitCode::SUCCESS)
}

/// The commands whose result is not the webhook.
async fn run_other(client: Client, command: WebhooksCommand) -> anyhow::Result<ExitCode> {
    let mut service = client.webhooks();
    match command {
        WebhooksCommand::List { organization, limit } => list(&client, &organization, limit).await?,
        WebhooksCommand::Delete { which, wait } => {
            let name = which.name(&client)?;
            let deleted = service
                .delete_webhook(DeleteWebhookRequest { name: name.clone() })
                .await?;
            client.output.done(&format!("Deleted {name}."))?;
            return operations::after(&client, deleted.metadata(), wait).await;
        }
        WebhooksCommand::Resume {
            which,
            discard_backlog,
            wait,
        } => {
            let request = ResumeWebhookRequest {
                name: which.name(&client)?,
                discard_backlog,
            };
            let resumed = service.resume_webhook(request).await?;
            client
                .output
                .message("ResumeWebhookResponse", resumed.get_ref(), show::resumed)?;
            return operations::after(&client, resumed.metadata(), wait).await;
        }
        WebhooksCommand::Ping { which, wait } => return ping(&client, &which, wait).await,
        WebhooksCommand::RotateSecret {
            which,
            signing_secret,
            overlap,
            force,
        } => {
            let name = which.name(&client)?;
            let request = RotateSigningSecretRequest {
                name: name.clone(),
                signing_secret: signing_secret.map_or(Ok(String::new()), |value| input::read_line(&value))?,
                overlap: overlap.map(input::duration),
                force,
            };
            let rotated = service.rotate_signing_secret(request).await?.into_inner();
            client
                .output
                .message("RotateSigningSecretResponse", &rotated, |rotated| {
                    show::rotated(&name, rotated)
                })?;
        }
        WebhooksCommand::RevealSecret(which) => {
            let request = RevealSigningSecretRequest {
                name: which.name(&client)?,
            };
            let revealed = service.reveal_signing_secret(request).await?.into_inner();
            client
                .output
                .message("RevealSigningSecretResponse", &revealed, show::revealed)?;
        }
        WebhooksCommand::TestFilter(args) => return filter::run(&client, args).await,
        WebhooksCommand::CheckUrl { payload_url } => return check_url(&client, payload_url).await,
        WebhooksCommand::Create { .. }
        | WebhooksCommand::Get(_)
        | WebhooksCommand::Update { .. }
        | WebhooksCommand::Pause(_)
        | WebhooksCommand::CompleteRotation(_) => unreachable!("handled by run"),
    }
    Ok(ExitCode::SUCCESS)
}

async fn check_url(client: &Client, payload_url: String) -> anyhow::Result<ExitCode> {
    let request = CheckWebhookUrlRequest { payload_url };
    let check = client.webhooks().check_webhook_url(request).await?.into_inner();
    client.output.message("CheckWebhookUrlResponse", &check, show::check)?;
    Ok(if check.allowed {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

async fn ping(client: &Client, which: &WebhookArgs, wait: bool) -> anyhow::Result<ExitCode> {
    let request = PingWebhookRequest {
        name: which.name(client)?,
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

async fn list(client: &Client, organization: &OrganizationArgs, limit: LimitArgs) -> anyhow::Result<()> {
    let service = client.webhooks();
    let parent = client.parent(organization)?;
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
        "{parent} has no webhooks yet. Create one: hookwright webhooks create --organization {} --payload-url URL \
         --event-type clocking",
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
