//! The audit log: entries found by organization, actor, action and time, page by page.

use diesel::{Connection as _, connection::SimpleConnection as _};
use hookwright_storage::{AuditRow, OrganizationRow, audit::AuditFilter};

use crate::support::{Fixture, NOW, NOW_MS, ORGANIZATION, audit, on_both_stores, organization};

/// An entry that is written `after_ms` milliseconds after [`NOW`].
fn line(fixture: &Fixture, after_ms: i64, actor: &str, action: &str, organization_id: Option<i64>) -> AuditRow {
    AuditRow {
        id: fixture.ids.next(NOW_MS + after_ms),
        at: NOW + after_ms * 1_000,
        actor: actor.to_owned(),
        action: action.to_owned(),
        resource: "test".to_owned(),
        details: r#"{"a":1}"#.to_owned(),
        organization_id,
    }
}

/// Runs the migration's statement that fills the column, on existing entries.
async fn fill_in(fixture: &Fixture) {
    let update = |up: &'static str| &up[up.find("UPDATE").unwrap()..up.find("CREATE INDEX").unwrap()];
    match fixture.options.url.strip_prefix("sqlite://") {
        Some(path) => {
            let up = include_str!("../../migrations/sqlite/2026-11-25-000000_audit_organization/up.sql");
            let mut conn = diesel::SqliteConnection::establish(path).unwrap();
            conn.batch_execute(update(up)).unwrap();
        }
        None => {
            let up = include_str!("../../migrations/postgres/2026-11-25-000000_audit_organization/up.sql");
            let connecting = tokio_postgres::connect(&fixture.options.url, tokio_postgres::NoTls);
            let (client, connection) = connecting.await.unwrap();
            tokio::spawn(connection);
            client.batch_execute(update(up)).await.unwrap();
        }
    }
}

on_both_stores! {
    async fn lines_of_before_get_their_organization(fixture: &mut Fixture) {
        let store = fixture.store();
        let at = |at: i64, line: AuditRow, resource: &str| AuditRow { at, resource: resource.to_owned(), ..line };
        let first = OrganizationRow { created_at: NOW, ..organization(ORGANIZATION, "acme") };
        store.insert_organization(&first, &at(NOW, audit(1), "organizations/acme")).await.unwrap();
        store.append_audit(&at(NOW + 1, audit(2), "organizations/acme/webhooks/wh_1")).await.unwrap();
        store.delete_organization(ORGANIZATION, NOW + 5, &at(NOW + 4, audit(3), "organizations/acme")).await.unwrap();
        let again = OrganizationRow { created_at: NOW + 9, ..organization(8, "acme") };
        store.insert_organization(&again, &at(NOW + 9, audit(4), "organizations/acme")).await.unwrap();
        store.append_audit(&at(NOW + 10, audit(5), "organizations/acme/webhooks/wh_2")).await.unwrap();
        for (id, resource) in [(6, "organizations/acme-two"), (7, "eventTypes/acme"), (8, "webhooks/wh_1")] {
            store.append_audit(&at(NOW + 11, audit(id), resource)).await.unwrap();
        }
        fill_in(fixture).await;
        let (found, _) = store.list_audit(&AuditFilter::default(), i64::MAX, 10).await.unwrap();
        let mut of: Vec<_> = found.iter().map(|found| (found.row.id, found.row.organization_id)).collect();
        of.sort_unstable();
        let (old, new) = (Some(ORGANIZATION), Some(8));
        let expected = [(1, old), (2, old), (3, old), (4, new), (5, new), (6, None), (7, None), (8, None)];
        assert_eq!(of, expected, "by name and time");
    }

    async fn lines_are_found_by_what_they_say(fixture: &mut Fixture) {
        let store = fixture.store();
        store.insert_organization(&organization(ORGANIZATION, "acme"), &audit(1)).await.unwrap();
        let lines = [
            line(fixture, 0, "tok_1", "organization.create", Some(ORGANIZATION)),
            line(fixture, 10, "tok_2", "webhook.create", Some(ORGANIZATION)),
            line(fixture, 20, "tok_1", "webhook.update", Some(8)),
            line(fixture, 30, "tok_1", "token.create", None),
        ];
        for line in &lines {
            store.append_audit(line).await.unwrap();
        }
        store.delete_organization(ORGANIZATION, NOW, &audit(2)).await.unwrap();
        let list = async |filter: AuditFilter, before: i64, size: usize| {
            let (found, next) = store.list_audit(&filter, before, size).await.unwrap();
            (found.into_iter().map(|found| found.row.id).collect::<Vec<_>>(), next)
        };
        let id = |index: usize| lines[index].id;
        let (found, _) = store.list_audit(&AuditFilter::default(), i64::MAX, 10).await.unwrap();
        assert_eq!(found[3].row, lines[0]);
        assert_eq!(found[3].organization.as_deref(), Some("acme"), "the name outlives the organization");
        assert_eq!(found[1].organization, None, "of one that is not known");
        let all = AuditFilter::default;
        for (filter, expected) in [
            (AuditFilter { organization_id: Some(ORGANIZATION), ..all() }, vec![id(1), id(0)]),
            (AuditFilter { actor: Some("tok_2".to_owned()), ..all() }, vec![id(1)]),
            (AuditFilter { action_prefix: "webhook.".to_owned(), ..all() }, vec![id(2), id(1)]),
            (AuditFilter { action_prefix: "webhook.update".to_owned(), ..all() }, vec![id(2)]),
            (AuditFilter { start_us: Some(NOW + 20_000), ..all() }, vec![id(3), id(2)]),
            (AuditFilter { start_us: Some(NOW), end_us: Some(NOW + 20_000), ..all() }, vec![id(1), id(0)]),
        ] {
            assert_eq!(list(filter.clone(), i64::MAX, 10).await, (expected, None), "{filter:?}");
        }
        let (page, next) = list(all(), i64::MAX, 3).await;
        assert_eq!((page, next), (vec![id(3), id(2), id(1)], Some(id(1))));
        assert_eq!(list(all(), id(1), 3).await, (vec![id(0), 2, 1], Some(1)));
        assert_eq!(list(all(), 1, 3).await, (vec![], None));
        store.forget_audit(NOW + 20_000).await.unwrap();
        assert_eq!(list(all(), i64::MAX, 10).await.0, [id(3), id(2)]);
    }

    async fn a_large_log_is_forgotten_in_steps(fixture: &mut Fixture) {
        let store = fixture.store();
        for at in 0..2_500 {
            store.append_audit(&line(fixture, at, "tok_1", "many", None)).await.unwrap();
        }
        for _ in 0..5 {
            assert_eq!(store.forget_audit(i64::MAX / 2).await.unwrap(), 500);
        }
        assert_eq!(store.forget_audit(i64::MAX / 2).await.unwrap(), 0);
    }

    async fn a_rare_line_is_found_page_by_page(fixture: &mut Fixture) {
        let store = fixture.store();
        let rare = line(fixture, 0, "tok_1", "rare", None);
        store.append_audit(&rare).await.unwrap();
        // More entries than one call reads.
        let mut pages = 0;
        for _ in 0..1_050 {
            store.append_audit(&line(fixture, 1, "tok_1", "common", None)).await.unwrap();
        }
        let filter = AuditFilter { action_prefix: "rare".to_owned(), ..AuditFilter::default() };
        let (mut found, mut before) = (Vec::new(), Some(i64::MAX));
        while let Some(below) = before {
            let (page, next) = store.list_audit(&filter, below, 10).await.unwrap();
            found.extend(page);
            before = next;
            pages += 1;
        }
        assert_eq!(pages, 2, "each call reads a bounded number of entries");
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].row, rare);
    }
}
