//! The configuration that a node reads after another node changed it.

use std::collections::BTreeMap;

use hookwright_storage::{
    CatalogueRows, ChangedRows, EndedSessionRow, Missing, OrganizationRow, RevokedLinkRow, Store, TokenRow, WebhookRow,
};

use crate::{
    nodes::Shared,
    support::{NOW, ORGANIZATION, audit, event_type, organization, secret, session, webhook},
};

const LEASE: std::time::Duration = std::time::Duration::from_secs(60);

/// A node that follows another one's changes.
struct Follower {
    store: Store,
    version: i64,
    rows: CatalogueRows,
}

impl Follower {
    async fn of(store: Store) -> Self {
        let (version, _) = store.missing_configuration(0).await.unwrap();
        let rows = sorted(store.load_catalogue().await.unwrap());
        Self { store, version, rows }
    }

    /// Applies the changes, which must be parts, and compares the result with the stored configuration.
    async fn follow(&mut self, what: &str) -> ChangedParts {
        let (version, missing) = self.store.missing_configuration(self.version).await.unwrap();
        assert_eq!(version, self.version + 1, "{what}");
        let Missing::Parts(rows) = missing else {
            panic!("{what}: {missing:?}")
        };
        let told = ChangedParts::of(&rows);
        self.version = version;
        apply(&mut self.rows, *rows);
        let stored = sorted(self.store.load_catalogue().await.unwrap());
        assert_eq!(format!("{:#?}", self.rows), format!("{stored:#?}"), "{what}");
        told
    }
}

/// How much was read.
#[derive(Debug, Default, PartialEq, Eq)]
struct ChangedParts {
    organizations: usize,
    webhooks: usize,
    tables: usize,
}

impl ChangedParts {
    fn of(rows: &ChangedRows) -> Self {
        let tables = [
            rows.event_types.is_some(),
            rows.tokens.is_some(),
            rows.ended_sessions.is_some(),
        ];
        Self {
            organizations: rows.organizations.len(),
            webhooks: rows.webhooks.len(),
            tables: tables.into_iter().filter(|there| *there).count(),
        }
    }
}

fn apply(known: &mut CatalogueRows, changed: ChangedRows) {
    let mut organizations: BTreeMap<_, _> = known.organizations.drain(..).map(|row| (row.id, Some(row))).collect();
    organizations.extend(changed.organizations);
    known.organizations = organizations.into_values().flatten().collect();
    let mut webhooks: BTreeMap<_, _> = known.webhooks.drain(..).map(|row| (row.id, Some(row))).collect();
    for (id, rows) in changed.webhooks {
        // The secrets of a deleted webhook stay in the store without effect.
        if let Some((row, secrets)) = rows {
            known.signing_secrets.retain(|secret| secret.webhook_id != id);
            known.signing_secrets.extend(secrets);
            webhooks.insert(id, Some(row));
        } else {
            webhooks.insert(id, None);
        }
    }
    known.webhooks = webhooks.into_values().flatten().collect();
    if let Some(event_types) = changed.event_types {
        known.event_types = event_types;
    }
    if let Some((tokens, links)) = changed.tokens {
        (known.tokens, known.revoked_links) = (tokens, links);
    }
    if let Some(sessions) = changed.ended_sessions {
        known.ended_sessions = sessions;
    }
    known.discards = changed.discards;
    *known = sorted(std::mem::take(known));
}

fn sorted(mut rows: CatalogueRows) -> CatalogueRows {
    rows.organizations.sort_by_key(|row| row.id);
    rows.event_types.sort_by_key(|row| row.id);
    rows.webhooks.sort_by_key(|row| row.id);
    rows.signing_secrets.sort_by_key(|row| row.id);
    rows.tokens.sort_by_key(|row| row.id);
    rows.ended_sessions.sort_by(|one, other| one.id.cmp(&other.id));
    rows.revoked_links.sort_by_key(|row| row.link_id);
    rows
}

fn token(id: i64) -> TokenRow {
    TokenRow {
        id,
        hash: vec![u8::try_from(id).unwrap(); 32],
        name: "one".to_owned(),
        scope: "read".to_owned(),
        organization_id: None,
        created_at: NOW,
        expires_at: None,
        revoked_at: None,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_node_reads_only_what_another_one_changed() {
    let shared = Shared::new().await;
    let (a, b) = (shared.join("a", LEASE).await, shared.join("b", LEASE).await);
    a.insert_organization(&organization(ORGANIZATION, "acme"), &audit(1))
        .await
        .unwrap();
    let mut follower = Follower::of(b).await;
    let one = |organizations, webhooks, tables| ChangedParts {
        organizations,
        webhooks,
        tables,
    };

    a.insert_organization(&organization(8, "other"), &audit(2))
        .await
        .unwrap();
    assert_eq!(follower.follow("a new organization").await, one(1, 0, 0));
    let renamed = OrganizationRow {
        display_name: "Other".to_owned(),
        ..organization(8, "other")
    };
    a.update_organization(&renamed, &audit(3)).await.unwrap();
    assert_eq!(follower.follow("a renamed organization").await, one(1, 0, 0));
    a.insert_event_type(&event_type(2, "clocking"), &audit(4))
        .await
        .unwrap();
    assert_eq!(follower.follow("an event type").await, one(0, 0, 1));
    a.delete_event_type(2, &audit(5)).await.unwrap();
    assert_eq!(follower.follow("a deleted event type").await, one(0, 0, 1));
    for id in [11, 12] {
        a.insert_webhook(&webhook(id), &secret(10 + id, id), None, &audit(id))
            .await
            .unwrap();
        assert_eq!(follower.follow("a webhook").await, one(0, 1, 0));
    }
    let next = WebhookRow {
        version: 2,
        description: "next".to_owned(),
        ..webhook(11)
    };
    a.update_webhook(&next, 1, None, &audit(20)).await.unwrap();
    assert_eq!(follower.follow("a changed webhook").await, one(0, 1, 0));
    a.rotate_secret(&secret(23, 11), NOW + 9, &audit(21)).await.unwrap();
    assert_eq!(follower.follow("a rotated secret").await, one(0, 1, 0));
    a.expire_secrets(11, &audit(22)).await.unwrap();
    assert_eq!(follower.follow("an ended rotation").await, one(0, 1, 0));
    a.delete_webhook(12, NOW, &audit(23)).await.unwrap();
    assert_eq!(follower.follow("a deleted webhook").await, one(0, 1, 0));
    a.insert_token(&token(30), &audit(24)).await.unwrap();
    assert_eq!(follower.follow("a token").await, one(0, 0, 1));
    a.revoke_token(30, "admin", NOW, &audit(25)).await.unwrap();
    assert_eq!(follower.follow("a revoked token").await, one(0, 0, 1));
    let link = RevokedLinkRow {
        link_id: 1,
        organization_id: ORGANIZATION,
        revoked_until: NOW + 5,
    };
    a.insert_revoked_link(link, 10, NOW, &audit(26)).await.unwrap();
    assert_eq!(follower.follow("a revoked link").await, one(0, 0, 1));
    let ended = EndedSessionRow {
        id: vec![1; 16],
        token_id: 30,
        began_at: NOW,
        ended_until: NOW + 100,
        and_earlier: false,
    };
    a.insert_ended_session(&ended, None, NOW).await.unwrap();
    assert_eq!(follower.follow("an ended session").await, one(0, 0, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_node_reads_everything_where_it_cannot_know_what_changed() {
    let shared = Shared::new().await;
    let (a, b) = (shared.join("a", LEASE).await, shared.join("b", LEASE).await);
    a.insert_organization(&organization(ORGANIZATION, "acme"), &audit(1))
        .await
        .unwrap();
    let (known, _) = b.missing_configuration(0).await.unwrap();
    let missing = async |store: &Store| store.missing_configuration(known).await.unwrap().1;
    assert!(matches!(missing(&b).await, Missing::Nothing));
    let sql = session(shared.url()).await;
    // A server of an older version records no parts.
    sql.batch_execute("UPDATE configuration SET version = version + 1")
        .await
        .unwrap();
    a.insert_organization(&organization(8, "other"), &audit(2))
        .await
        .unwrap();
    assert!(matches!(missing(&b).await, Missing::Everything));
    // A newer version may change parts that this version does not know.
    sql.batch_execute("INSERT INTO configuration_changes SELECT version - 1, 'quotas', 7 FROM configuration")
        .await
        .unwrap();
    assert!(matches!(missing(&b).await, Missing::Everything));
    sql.batch_execute("UPDATE configuration_changes SET part = 'organization'")
        .await
        .unwrap();
    assert!(matches!(missing(&b).await, Missing::Parts(_)));
    // Old records are deleted.
    sql.batch_execute(
        "UPDATE configuration SET version = version + 2000;
         INSERT INTO configuration_changes SELECT n, 'tokens', 0 FROM configuration, generate_series(3, version) n
         ON CONFLICT DO NOTHING",
    )
    .await
    .unwrap();
    assert!(matches!(missing(&b).await, Missing::Everything));
    a.insert_token(&token(30), &audit(3)).await.unwrap();
    let (version, _) = b.missing_configuration(0).await.unwrap();
    for line in 0..100 - version % 100 {
        a.insert_token(&token(31 + line), &audit(10 + line)).await.unwrap();
    }
    let rows = sql
        .query_one("SELECT count(*) FROM configuration_changes", &[])
        .await
        .unwrap();
    assert_eq!(rows.get::<_, i64>(0), 1_000);
}
