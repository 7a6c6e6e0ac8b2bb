//! The inventory of an installation, and what its audit log must say of it.

use std::collections::BTreeSet;

use hookwright_proto::v1::{
    AuditEntry, ListAuditEntriesRequest, ListEventTypesRequest, ListOrganizationsRequest, ListTokensRequest,
    ListWebhooksRequest,
};
use tonic::Status;

use crate::support::Clients;

/// The names of all resources of an installation.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Inventory {
    pub(super) organizations: Vec<String>,
    pub(super) webhooks: Vec<(String, String, bool)>,
    pub(super) event_types: Vec<(String, String, i32)>,
    pub(super) tokens: Vec<(String, i32)>,
}

pub(super) async fn inventory(clients: &mut Clients) -> Result<Inventory, Status> {
    let mut found = Inventory::default();
    let request = ListOrganizationsRequest {
        page_size: 1_000,
        ..Default::default()
    };
    for organization in clients
        .organizations
        .list_organizations(request)
        .await?
        .into_inner()
        .organizations
    {
        let request = ListWebhooksRequest {
            parent: organization.name.clone(),
            page_size: 1_000,
            ..Default::default()
        };
        for webhook in clients.webhooks.list_webhooks(request).await?.into_inner().webhooks {
            found
                .webhooks
                .push((webhook.name.clone(), webhook.description.clone(), webhook.active()));
        }
        found.organizations.push(organization.name);
    }
    let request = ListEventTypesRequest {
        page_size: 1_000,
        show_archived: true,
        ..Default::default()
    };
    for one in clients
        .event_types
        .list_event_types(request)
        .await?
        .into_inner()
        .event_types
    {
        found.event_types.push((one.name, one.description, one.state));
    }
    let request = ListTokensRequest {
        page_size: 1_000,
        ..Default::default()
    };
    for token in clients.tokens.list_tokens(request).await?.into_inner().tokens {
        found.tokens.push((token.name, token.state));
    }
    Ok(found)
}

pub(super) async fn audit_lines(clients: &mut Clients) -> Vec<AuditEntry> {
    let mut found = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = ListAuditEntriesRequest {
            parent: "organizations/-".to_owned(),
            page_size: 1_000,
            page_token,
            ..Default::default()
        };
        let page = clients.audit.list_audit_entries(request).await.unwrap().into_inner();
        found.extend(page.audit_entries);
        if page.next_page_token.is_empty() {
            return found;
        }
        page_token = page.next_page_token;
    }
}

/// Checks that each resource has an audit entry of its creation, and that the resource of each such entry exists unless
/// another entry records its deletion.
pub(super) fn check_audit(lines: &[AuditEntry], found: &Inventory) {
    let of = |action: &str| -> BTreeSet<&str> {
        let lines = lines.iter().filter(|line| line.action == action);
        lines.map(|line| line.resource.as_str()).collect()
    };
    let left = |made: &str, gone: &[&str]| -> BTreeSet<String> {
        let gone: Vec<&str> = gone.iter().flat_map(|action| of(action)).collect();
        let is_gone = |name: &str| {
            gone.iter()
                .any(|gone| name == *gone || name.starts_with(&format!("{gone}/")))
        };
        of(made)
            .into_iter()
            .filter(|name| !is_gone(name))
            .map(str::to_owned)
            .collect()
    };
    let names = |names: &mut dyn Iterator<Item = &String>| names.cloned().collect::<BTreeSet<String>>();
    assert_eq!(
        names(&mut found.organizations.iter()),
        left("organization.create", &["organization.delete"])
    );
    let webhooks = names(&mut found.webhooks.iter().map(|webhook| &webhook.0));
    assert_eq!(
        webhooks,
        left("webhook.create", &["webhook.delete", "organization.delete"])
    );
    let ours = found
        .event_types
        .iter()
        .map(|one| &one.0)
        .filter(|name| name.contains("/type_"));
    let made = left("event_type.create", &["event_type.delete"])
        .into_iter()
        .filter(|name| name.contains("/type_"));
    assert_eq!(ours.cloned().collect::<BTreeSet<_>>(), made.collect());
}
