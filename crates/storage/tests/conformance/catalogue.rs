//! Configuration, and the effect of its changes on owed deliveries.

use hookwright_domain::outcome::DeliveryState;
use hookwright_storage::{
    AuditRow, Batch, EventTypeRow, NewEvent, OrganizationRow, UpdateOutcome, WebhookRow, operations::Begun,
};

use crate::support::{
    Fixture, NOW, NOW_MS, ORGANIZATION, audit, delivery, event_type, on_both_stores, organization, pending, secret,
    webhook,
};

on_both_stores! {
    async fn rows_come_back_as_they_went_in(fixture: &mut Fixture) {
        let store = fixture.store();
        store.insert_organization(&organization(ORGANIZATION, "acme"), &audit(1)).await.unwrap();
        store.insert_event_type(&event_type(2, "clocking"), &audit(3)).await.unwrap();
        store.insert_webhook(&webhook(11), &secret(21, 11), None, &audit(4)).await.unwrap();
        let rows = store.load_catalogue().await.unwrap();
        assert_eq!(rows.organizations, [organization(ORGANIZATION, "acme")]);
        assert_eq!(rows.event_types, [event_type(2, "clocking")]);
        assert_eq!(rows.webhooks, [webhook(11)]);
        assert_eq!(rows.signing_secrets, [secret(21, 11)]);
        let mut changed = event_type(2, "clocking");
        changed.json_schema = None;
        changed.archived = true;
        store.update_event_type(&changed, &audit(5)).await.unwrap();
        assert_eq!(store.load_catalogue().await.unwrap().event_types, [changed], "a schema can be removed");
        assert!(store.insert_organization(&organization(8, "acme"), &audit(6)).await.is_err(), "names are unique");
    }

    async fn a_stale_update_writes_nothing(fixture: &mut Fixture) {
        let store = fixture.store();
        store.insert_organization(&organization(ORGANIZATION, "acme"), &audit(1)).await.unwrap();
        store.insert_webhook(&webhook(11), &secret(21, 11), None, &audit(2)).await.unwrap();
        let next = WebhookRow { version: 2, rate_limit: None, active: false, ..webhook(11) };
        assert_eq!(store.update_webhook(&next, 1, None, &audit(3)).await.unwrap(), UpdateOutcome::Updated);
        let stale = WebhookRow { version: 2, description: "stale".to_owned(), ..webhook(11) };
        assert_eq!(store.update_webhook(&stale, 1, None, &audit(4)).await.unwrap(), UpdateOutcome::Stale);
        assert_eq!(store.load_catalogue().await.unwrap().webhooks, [next]);
    }

    async fn a_ping_is_stored_with_its_webhook_or_not_at_all(fixture: &mut Fixture) {
        let store = fixture.store();
        store.insert_organization(&organization(ORGANIZATION, "acme"), &audit(1)).await.unwrap();
        let ping = NewEvent { spilled: vec![0], ..fixture.event_of(&[11], "ping", "{}") };
        store.insert_webhook(&webhook(11), &secret(21, 11), Some(&ping), &audit(2)).await.unwrap();
        assert_eq!(store.due(11, i64::MAX, 10, 1 << 20).await.unwrap().rows.len(), 1);
        let other = NewEvent { spilled: vec![0], ..fixture.event_of(&[12], "ping", "{}") };
        // The audit entry's id is taken, so the whole change is rolled back.
        assert!(store.insert_webhook(&webhook(12), &secret(22, 12), Some(&other), &audit(2)).await.is_err());
        assert_eq!(store.events_exist(&[other.event.id]).await.unwrap(), [0i64; 0]);
        assert_eq!(store.load_catalogue().await.unwrap().webhooks.len(), 1);
    }

    async fn deleting_cancels_pending_deliveries(fixture: &mut Fixture) {
        let store = fixture.store();
        store.insert_organization(&organization(ORGANIZATION, "acme"), &audit(1)).await.unwrap();
        store.insert_webhook(&webhook(11), &secret(21, 11), None, &audit(2)).await.unwrap();
        store.insert_webhook(&webhook(12), &secret(22, 12), None, &audit(3)).await.unwrap();
        let event = fixture.event(&[11, 12]);
        let pend = vec![pending(&event, 0, NOW, 1), pending(&event, 1, NOW, 1)];
        store.commit(&Batch { events: vec![event.clone()], pend, ..Batch::default() }).await.unwrap();
        store.delete_webhook(11, NOW, &audit(4)).await.unwrap();
        assert_eq!(store.pending_webhooks().await.unwrap(), [(12, NOW)]);
        let record = store.get_delivery(ORGANIZATION, delivery(&event, 0)).await.unwrap().unwrap();
        assert_eq!(record.state, DeliveryState::Cancelled);
        assert_eq!(record.ending.unwrap().reason, "webhook_deleted");
        store.delete_organization(ORGANIZATION, NOW, &audit(5)).await.unwrap();
        assert_eq!(store.pending_webhooks().await.unwrap(), []);
        let rows = store.load_catalogue().await.unwrap();
        assert_eq!((rows.organizations.len(), rows.webhooks.len()), (0, 0));
        store.insert_organization(&organization(8, "acme"), &audit(6)).await.unwrap();
    }

    async fn a_rotation_keeps_two_secrets_at_most(fixture: &mut Fixture) {
        let store = fixture.store();
        store.insert_organization(&organization(ORGANIZATION, "acme"), &audit(1)).await.unwrap();
        store.insert_webhook(&webhook(11), &secret(21, 11), None, &audit(2)).await.unwrap();
        store.rotate_secret(&secret(22, 11), NOW + 5, &audit(3)).await.unwrap();
        store.rotate_secret(&secret(23, 11), NOW + 9, &audit(4)).await.unwrap();
        let mut secrets = store.load_catalogue().await.unwrap().signing_secrets;
        secrets.sort_by_key(|secret| secret.id);
        let expiries: Vec<_> = secrets.iter().map(|secret| (secret.id, secret.expires_at)).collect();
        assert_eq!(expiries, [(22, Some(NOW + 9)), (23, None)]);
        store.expire_secrets(11, &audit(5)).await.unwrap();
        assert_eq!(store.load_catalogue().await.unwrap().signing_secrets, [secret(23, 11)]);
    }

    async fn the_schemas_of_an_event_type_are_kept(fixture: &mut Fixture) {
        let store = fixture.store();
        let at = |schema_version, schema: Option<&str>| EventTypeRow {
            json_schema: schema.map(str::to_owned),
            schema_version,
            updated_at: NOW + i64::from(schema_version),
            ..event_type(2, "clocking")
        };
        store.insert_event_type(&at(1, Some("{}")), &audit(1)).await.unwrap();
        store.insert_event_type(&EventTypeRow { name: "bare".to_owned(), id: 3, ..at(0, None) }, &audit(2)).await.unwrap();
        store.update_event_type(&at(2, Some(r#"{"type":"object"}"#)), &audit(3)).await.unwrap();
        let described = EventTypeRow { description: "again".to_owned(), ..at(2, Some(r#"{"type":"object"}"#)) };
        store.update_event_type(&described, &audit(4)).await.unwrap();
        store.update_event_type(&at(3, None), &audit(5)).await.unwrap();
        let kept = store.event_type_schemas(2, i32::MAX, 10).await.unwrap();
        let kept: Vec<_> = kept.iter().map(|row| (row.version, row.json_schema.as_deref(), row.created_at)).collect();
        assert_eq!(kept, [(3, None, NOW + 3), (2, Some(r#"{"type":"object"}"#), NOW + 2), (1, Some("{}"), NOW + 1)]);
        let page = store.event_type_schemas(2, 3, 1).await.unwrap();
        assert_eq!(page.iter().map(|row| row.version).collect::<Vec<_>>(), [2]);
        assert_eq!(store.event_type_schemas(3, i32::MAX, 10).await.unwrap(), []);
    }

    async fn an_event_type_is_hidden_and_deleted_with_its_schemas(fixture: &mut Fixture) {
        let store = fixture.store();
        store.insert_event_type(&event_type(2, "clocking"), &audit(1)).await.unwrap();
        store.insert_event_type(&event_type(3, "other"), &audit(2)).await.unwrap();
        let hidden = EventTypeRow { visible_to: Some("[7]".to_owned()), ..event_type(2, "clocking") };
        store.update_event_type(&hidden, &audit(3)).await.unwrap();
        let known = store.load_catalogue().await.unwrap().event_types;
        assert_eq!(known.iter().find(|row| row.id == 2), Some(&hidden));
        store.update_event_type(&event_type(2, "clocking"), &audit(4)).await.unwrap();
        let known = store.load_catalogue().await.unwrap().event_types;
        assert_eq!(known.iter().find(|row| row.id == 2), Some(&event_type(2, "clocking")), "visible to all again");
        store.delete_event_type(2, &audit(5)).await.unwrap();
        assert_eq!(store.load_catalogue().await.unwrap().event_types, [event_type(3, "other")]);
        assert_eq!(store.event_type_schemas(2, i32::MAX, 10).await.unwrap(), []);
        store.insert_event_type(&event_type(4, "clocking"), &audit(6)).await.unwrap();
    }

    async fn an_organization_is_renamed(fixture: &mut Fixture) {
        let store = fixture.store();
        store.insert_organization(&organization(ORGANIZATION, "acme"), &audit(1)).await.unwrap();
        let renamed = OrganizationRow {
            display_name: "Acme".to_owned(),
            updated_at: NOW + 1,
            ..organization(ORGANIZATION, "acme")
        };
        store.update_organization(&renamed, &audit(2)).await.unwrap();
        assert_eq!(store.load_catalogue().await.unwrap().organizations, [renamed]);
    }

    async fn a_webhook_is_resumed_with_its_backlog_or_without(fixture: &mut Fixture) {
        let store = fixture.store();
        store.insert_organization(&organization(ORGANIZATION, "acme"), &audit(1)).await.unwrap();
        store.insert_webhook(&WebhookRow { active: false, ..webhook(11) }, &secret(21, 11), None, &audit(2)).await.unwrap();
        let event = fixture.event(&[11]);
        let pend = vec![pending(&event, 0, NOW, 1)];
        store.commit(&Batch { events: vec![event.clone()], pend, ..Batch::default() }).await.unwrap();
        let ping = || NewEvent { spilled: vec![0], ..fixture.event_of(&[11], "ping", "{}") };
        let at = |version| WebhookRow { version, ..webhook(11) };
        // Discarded deliveries have ids below that of the change's audit entry.
        let line = AuditRow { id: fixture.ids.next(NOW_MS), ..audit(5) };
        let stale = store.resume_webhook(&at(9), 8, true, &ping(), &audit(3)).await.unwrap();
        assert_eq!(stale, None);
        let waiting = async || store.due(11, i64::MAX / 2, 10, 1 << 20).await.unwrap().rows.len();
        let kept = store.resume_webhook(&at(2), 1, false, &ping(), &audit(4)).await.unwrap();
        assert_eq!((kept, waiting().await), (Some(Begun::default()), 3), "the delivery and two pings");
        let discarded = store.resume_webhook(&at(3), 2, true, &ping(), &line).await.unwrap();
        let discarded = discarded.unwrap();
        assert_eq!((discarded.rows, discarded.operation), (1, false), "the deliveries from before the change");
        assert_eq!(waiting().await, 3, "only the pings are left");
        let record = store.get_delivery(ORGANIZATION, delivery(&event, 0)).await.unwrap().unwrap();
        assert_eq!(record.ending.unwrap().reason, "backlog_discarded");
    }

    async fn settings_are_replaced(fixture: &mut Fixture) {
        let store = fixture.store();
        assert_eq!(store.setting("a").await.unwrap(), None);
        store.put_setting("a", b"1").await.unwrap();
        store.put_setting("a", b"2").await.unwrap();
        assert_eq!(store.setting("a").await.unwrap().as_deref(), Some(&b"2"[..]));
    }
}
