//! The audit log: what changed, who changed it, and which callers may read it.

use hookwright_proto::v1::{
    AuditEntry, CreateWebhookRequest, DeleteWebhookRequest, GetWebhookRequest, ListAuditEntriesRequest,
    RevealSigningSecretRequest, RotateSigningSecretRequest, TokenScope, UpdateWebhookRequest, Webhook,
};
use hookwright_testkit::Receiver;
use prost_types::{FieldMask, Struct, Value, value::Kind};
use tonic::{Code, Status};

use crate::support::{ACME, Clients, Installation, On, SECRET, on_both_stores, token, webhook};

const ALL: &str = "organizations/-";

async fn list(clients: &mut Clients, request: ListAuditEntriesRequest) -> Result<Vec<AuditEntry>, Status> {
    let page = clients.audit.list_audit_entries(request).await?.into_inner();
    Ok(page.audit_entries)
}

fn of(parent: &str) -> ListAuditEntriesRequest {
    ListAuditEntriesRequest {
        parent: parent.to_owned(),
        ..ListAuditEntriesRequest::default()
    }
}

fn actions(entries: &[AuditEntry]) -> Vec<&str> {
    entries.iter().map(|entry| entry.action.as_str()).collect()
}

fn field<'a>(details: &'a Struct, path: &[&str]) -> &'a Value {
    let (last, inner) = path.split_last().unwrap();
    let inner = inner.iter().fold(details, |at, name| match &at.fields[*name].kind {
        Some(Kind::StructValue(inner)) => inner,
        other => panic!("{name} is {other:?}"),
    });
    &inner.fields[*last]
}

fn texts(value: &Value) -> Vec<String> {
    match &value.kind {
        Some(Kind::ListValue(list)) => list.values.iter().flat_map(texts).collect(),
        Some(Kind::StringValue(text)) => vec![text.clone()],
        other => panic!("{other:?}"),
    }
}

on_both_stores! {
    async fn every_change_of_a_webhook_is_told_without_its_secrets(on: On) {
        let mut installation = Installation::start(on).await;
        let receiver = Receiver::start().await;
        let address = installation.server.grpc_address().to_owned();
        let manager = installation.clients.create_token(token(TokenScope::Manage, ACME)).await.unwrap();
        let mut clients = Clients::connect(&address, &manager.secret).await;
        let wanted = Webhook {
            headers: [("X-Key".to_owned(), "concealed-in-header".to_owned())].into(),
            ..webhook(&receiver.url("/payload?key=concealed-in-query"), &["clocking"])
        };
        let request = CreateWebhookRequest { parent: ACME.to_owned(), webhook: Some(wanted) };
        let created = clients.webhooks.create_webhook(request).await.unwrap().into_inner();
        let name = created.name.clone();
        let changed = Webhook {
            name: name.clone(),
            events: vec!["*".to_owned()],
            headers: [("X-Key".to_owned(), "concealed-and-new".to_owned())].into(),
            ..Webhook::default()
        };
        let mask = FieldMask { paths: vec!["events".to_owned(), "headers".to_owned()] };
        let request = UpdateWebhookRequest { webhook: Some(changed), update_mask: Some(mask) };
        clients.webhooks.update_webhook(request).await.unwrap();
        let request = RotateSigningSecretRequest { name: name.clone(), ..Default::default() };
        let rotated = clients.webhooks.rotate_signing_secret(request).await.unwrap().into_inner();
        let request = RevealSigningSecretRequest { name: name.clone() };
        clients.webhooks.reveal_signing_secret(request).await.unwrap();
        // A call that changes nothing adds no entry.
        clients.webhooks.get_webhook(GetWebhookRequest { name: name.clone() }).await.unwrap();
        clients.webhooks.delete_webhook(DeleteWebhookRequest { name: name.clone() }).await.unwrap();

        let request = ListAuditEntriesRequest { action_prefix: "webhook.".to_owned(), ..of(ACME) };
        let entries = list(&mut clients, request).await.unwrap();
        let expected = ["webhook.delete", "webhook.reveal_secret", "webhook.rotate_secret", "webhook.update", "webhook.create"];
        assert_eq!(actions(&entries), expected, "newest first");
        for entry in &entries {
            assert_eq!((entry.actor.as_str(), entry.organization.as_str()), (manager.name.as_str(), ACME));
            assert_eq!(entry.actor_display_name, "test");
            assert_eq!(entry.resource, name);
            assert!(entry.name.starts_with("auditEntries/aud_"), "{}", entry.name);
            assert!(entry.create_time.is_some());
            let told = format!("{entry:?}");
            for secret in ["concealed", SECRET, &rotated.signing_secret, &manager.secret] {
                assert!(!told.contains(secret), "{secret}: {told}");
            }
        }
        let update = entries[3].details.as_ref().unwrap();
        assert_eq!(texts(field(update, &["events", "from"])), ["clocking"]);
        assert_eq!(texts(field(update, &["events", "to"])), ["*"]);
        assert_eq!(texts(field(update, &["headers", "to"])), ["X-Key"], "the log shows that the value changed, without \
                                                                         the value");
        assert_eq!(update.fields.len(), 2, "nothing else changed: {update:?}");
        let created = entries[4].details.as_ref().unwrap();
        assert_eq!(texts(field(created, &["payload_url"])), [receiver.url("/payload")]);
    }

    async fn entries_are_found_by_organization_actor_action_and_time(on: On) {
        let mut installation = Installation::start(on).await;
        installation.create_organization("globex").await;
        let address = installation.server.grpc_address().to_owned();
        installation.register("order").await;
        let manager = installation.clients.create_token(token(TokenScope::Manage, ACME)).await.unwrap();
        let admin = &mut installation.clients;
        let all = list(admin, of(ALL)).await.unwrap();
        assert_eq!(
            actions(&all)[..4],
            ["token.create", "event_type.create", "organization.create", "organization.create"]
        );
        assert_eq!(all.last().unwrap().actor, "hookwright", "the entry of the first start");
        assert_eq!(all.last().unwrap().actor_display_name, "Hookwright");
        assert_eq!(actions(&list(admin, of(ACME)).await.unwrap()), ["token.create", "organization.create"]);
        let by_admin = ListAuditEntriesRequest { actor: all[0].actor.clone(), ..of(ALL) };
        assert_eq!(list(admin, by_admin).await.unwrap(), all[..4]);
        let of_service = ListAuditEntriesRequest { actor: "hookwright".to_owned(), ..of(ALL) };
        assert_eq!(list(admin, of_service).await.unwrap(), all[4..]);
        let organizations = ListAuditEntriesRequest { action_prefix: "organization.".to_owned(), ..of(ALL) };
        assert_eq!(list(admin, organizations).await.unwrap(), all[2..4]);
        let later = ListAuditEntriesRequest { start_time: all[0].create_time, ..of(ACME) };
        assert_eq!(list(admin, later.clone()).await.unwrap()[..1], all[..1]);
        let earlier = ListAuditEntriesRequest { end_time: all[3].create_time, ..of(ACME) };
        assert_eq!(list(admin, earlier).await.unwrap(), []);

        let mut paged = Vec::new();
        let mut request = ListAuditEntriesRequest { page_size: 2, ..of(ALL) };
        loop {
            let page = admin.audit.list_audit_entries(request.clone()).await.unwrap().into_inner();
            assert!(page.audit_entries.len() <= 2);
            paged.extend(page.audit_entries);
            if page.next_page_token.is_empty() {
                break;
            }
            request.page_token = page.next_page_token;
        }
        assert_eq!(paged, all);

        let mut manages = Clients::connect(&address, &manager.secret).await;
        assert_eq!(list(&mut manages, of(ACME)).await.unwrap().len(), 2);
        for parent in [ALL, "organizations/globex"] {
            let denied = list(&mut manages, of(parent)).await.unwrap_err();
            assert_eq!(denied.code(), Code::PermissionDenied, "{parent}");
        }
        let reader = installation.clients.create_token(token(TokenScope::Read, "")).await.unwrap();
        let mut reads = Clients::connect(&address, &reader.secret).await;
        for parent in [ALL, ACME] {
            assert_eq!(list(&mut reads, of(parent)).await.unwrap_err().code(), Code::PermissionDenied, "{parent}");
        }
        let admin = &mut installation.clients;
        for bad in [
            of(""),
            of("organizations"),
            ListAuditEntriesRequest { actor: "somebody".to_owned(), ..of(ALL) },
            ListAuditEntriesRequest { actor: "tokens/wh_1".to_owned(), ..of(ALL) },
            ListAuditEntriesRequest { action_prefix: "x".repeat(101), ..of(ALL) },
        ] {
            assert_eq!(list(admin, bad.clone()).await.unwrap_err().code(), Code::InvalidArgument, "{bad:?}");
        }
        assert_eq!(list(admin, of("organizations/nobody")).await.unwrap_err().code(), Code::NotFound);
    }
}
