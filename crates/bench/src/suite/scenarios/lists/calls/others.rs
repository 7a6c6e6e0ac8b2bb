//! The other lists: webhooks, replays, the audit log.

use hookwright_proto::v1::{
    ListAuditEntriesRequest, ListReplaysRequest, ListWebhooksRequest, audit_service_client::AuditServiceClient,
    replay_service_client::ReplayServiceClient, webhook_service_client::WebhookServiceClient,
};

use super::{super::filling::SMALL, Answer, Case, LARGE, Stopwatch, Stored, World, request};
use crate::suite::world::ORGANIZATION;

pub(super) async fn ask(world: &World, stored: &Stored, watch: &mut Stopwatch) -> anyhow::Result<()> {
    lists(world, watch).await?;
    audit(world, stored, watch).await
}

async fn lists(world: &World, watch: &mut Stopwatch) -> anyhow::Result<()> {
    watch
        .time("ListWebhooks", async || {
            let request = ListWebhooksRequest {
                parent: ORGANIZATION.to_owned(),
                page_size: LARGE,
                page_token: String::new(),
            };
            let mut client = WebhookServiceClient::new(world.channel());
            let page = client.list_webhooks(world.request(request)?).await?.into_inner();
            Ok(Answer::page(&page.webhooks, &page.next_page_token))
        })
        .await?;
    watch
        .time("ListReplays a large page", async || {
            let request = ListReplaysRequest {
                parent: ORGANIZATION.to_owned(),
                page_size: LARGE,
                page_token: String::new(),
            };
            let mut client = ReplayServiceClient::new(world.channel());
            let page = client.list_replays(world.request(request)?).await?.into_inner();
            Ok(Answer::page(&page.replays, &page.next_page_token))
        })
        .await
}

async fn audit(world: &World, stored: &Stored, watch: &mut Stopwatch) -> anyhow::Result<()> {
    let all = ListAuditEntriesRequest {
        parent: "organizations/-".to_owned(),
        ..ListAuditEntriesRequest::default()
    };
    for (what, change) in AUDIT_CASES {
        let asked = request(&all, *change, stored);
        watch
            .time(&format!("ListAuditEntries {what}"), async || {
                let mut client = AuditServiceClient::new(world.channel());
                let page = client
                    .list_audit_entries(world.request(asked.clone())?)
                    .await?
                    .into_inner();
                Ok(Answer::page(&page.audit_entries, &page.next_page_token))
            })
            .await?;
    }
    Ok(())
}

const AUDIT_CASES: &[Case<ListAuditEntriesRequest>] = &[
    ("all", |_, _| {}),
    ("a large page", |all, _| all.page_size = LARGE),
    ("a rare actor", |all, _| {
        all.actor = "tokens/tok_0000000000002".to_owned();
    }),
    ("a rare action", of_rare_action),
    ("an organization", |all, _| all.parent = ORGANIZATION.to_owned()),
    ("small organization", |all, _| all.parent = SMALL.to_owned()),
    ("small organization, a rare action", |all, stored| {
        all.parent = SMALL.to_owned();
        of_rare_action(all, stored);
    }),
];

fn of_rare_action(request: &mut ListAuditEntriesRequest, _: &Stored) {
    request.action_prefix = "organization.rename".to_owned();
}
