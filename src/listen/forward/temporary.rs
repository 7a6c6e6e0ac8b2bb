//! The temporary webhook of a running command.

use std::time::Duration;

use anyhow::Context as _;
use hookwright_proto::v1::{
    CreateWebhookRequest, DeleteWebhookRequest, DeliveryMode, GetOrganizationRequest, ListWebhooksRequest, Webhook,
};
use tonic::{Code, Status};

use super::{
    args::ForwardArgs,
    session::{Abandoned, Left, Session, directory},
};
use crate::{
    client::{Client, failure::UsageError, input, pages, patience::Patience},
    output,
    settings::process_environment,
};

/// Timeout of the cleanup while the server does not answer.
const DELETION_MAX: Duration = Duration::from_secs(10);
/// Maximum length of the URL in the description, which has at most 1,000 characters.
const URL_CHARS_MAX: usize = 300;

/// See the module.
pub(super) struct Temporary {
    session: Session,
    /// Whether the server may have created the webhook.
    asked: bool,
}

impl Temporary {
    /// Prepares the cleanup, before there is anything to clean up.
    pub(super) fn prepare(client: &Client, args: &ForwardArgs) -> anyhow::Result<Self> {
        let organization = client.parent(&args.organization)?;
        let directory = directory(&process_environment).ok_or_else(|| {
            UsageError::new("set HOME or XDG_STATE_HOME: the command stores a cleanup record there for the next run")
        })?;
        let session = Session::begin(&directory, &client.address, &organization)?;
        Ok(Self { session, asked: false })
    }

    /// Creates the webhook, after it has deleted those of killed runs.
    pub(super) async fn make(&mut self, client: &Client, args: &ForwardArgs) -> anyhow::Result<Webhook> {
        // An unreachable server is an error now, and leaves nothing to clean up.
        let name = self.session.left.organization.clone();
        client
            .organizations()
            .get_organization(GetOrganizationRequest { name })
            .await?;
        delete_abandoned(client).await;
        let events = if args.events.is_empty() {
            vec!["*".to_owned()]
        } else {
            args.events.clone()
        };
        let webhook = Webhook {
            events,
            filter: args.filter.as_deref().map_or(Ok(String::new()), input::read_line)?,
            description: description(&self.session.left, args.forward_to.as_deref().unwrap_or_default()),
            delivery_mode: DeliveryMode::Pull.into(),
            ..Webhook::default()
        };
        let request = CreateWebhookRequest {
            parent: self.session.left.organization.clone(),
            webhook: Some(webhook),
        };
        self.asked = true;
        let webhook = client.webhooks().create_webhook(request).await;
        Ok(webhook.context("cannot create the temporary webhook")?.into_inner())
    }

    /// Deletes the webhook, even if it is unknown whether it was created.
    pub(super) async fn delete(self, client: &Client) {
        if !self.asked {
            return self.session.end();
        }
        let mut patience = Patience::default();
        let deleted = tokio::time::timeout(DELETION_MAX, async {
            while let Err(status) = delete(client, &self.session.left).await {
                patience.wait_after(status).await?;
            }
            Ok::<(), Status>(())
        });
        let why = match deleted.await {
            Ok(Ok(())) => return self.session.end(),
            Ok(Err(status)) => output::printable(status.message()),
            Err(_) => "the server does not answer".to_owned(),
        };
        output::note(&format!(
            "the temporary webhook of {} could not be deleted ({why}); the next `hookwright listen --forward-to` deletes it",
            self.session.left.organization
        ));
    }
}

fn description(left: &Left, url: &str) -> String {
    let url: String = url.chars().take(URL_CHARS_MAX).collect();
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    format!(
        "Temporary: `hookwright listen --forward-to {url}` on {host}, which deletes it when it ends. {}",
        mark(left)
    )
}

/// The mark that identifies a session's webhook.
fn mark(left: &Left) -> String {
    format!("Session {}.", left.session)
}

/// Deletes the webhooks of killed runs. A webhook that cannot be deleted now is left for a later run.
async fn delete_abandoned(client: &Client) {
    let Some(directory) = directory(&process_environment) else {
        return;
    };
    for abandoned in Abandoned::find(&directory, &client.address) {
        if delete(client, &abandoned.left).await.is_ok() {
            abandoned.done();
        }
    }
}

/// Deletes a session's webhook, if there is one.
async fn delete(client: &Client, left: &Left) -> Result<(), Status> {
    let mark = mark(left);
    let listed = pages::collect(usize::MAX, |page_size, page_token| {
        let mut service = client.webhooks();
        let request = ListWebhooksRequest {
            parent: left.organization.clone(),
            page_size,
            page_token,
        };
        async move {
            let page = service.list_webhooks(request).await?.into_inner();
            Ok((page.webhooks, page.next_page_token))
        }
    });
    let webhooks = match listed.await {
        Ok((webhooks, _)) => webhooks,
        // The webhooks of a deleted organization are gone.
        Err(status) if status.code() == Code::NotFound => return Ok(()),
        Err(status) => return Err(status),
    };
    for webhook in webhooks
        .into_iter()
        .filter(|webhook| webhook.description.ends_with(&mark))
    {
        let request = DeleteWebhookRequest { name: webhook.name };
        match client.webhooks().delete_webhook(request).await {
            Err(status) if status.code() != Code::NotFound => return Err(status),
            _ => {}
        }
    }
    Ok(())
}
