//! Tokens: listed, counted, revoked, removed.

use hookwright_storage::{EndedSessionRow, RevokedLinkRow, TokenRow, tokens::Revocation};

use crate::support::{Fixture, NOW, ORGANIZATION, audit, on_both_stores, organization};

fn token(id: i64, scope: &str, organization_id: Option<i64>, expires_at: Option<i64>) -> TokenRow {
    TokenRow {
        id,
        hash: vec![u8::try_from(id).unwrap(); 32],
        name: format!("token {id}"),
        scope: scope.to_owned(),
        organization_id,
        created_at: NOW,
        expires_at,
        revoked_at: None,
    }
}

on_both_stores! {
    async fn ended_sessions_are_known_until_they_would_have_ended(fixture: &mut Fixture) {
        let store = fixture.store();
        let ended = |id: u8, began_at: i64| EndedSessionRow {
            id: vec![id; 16],
            token_id: 7,
            began_at,
            ended_until: began_at + 100,
            and_earlier: false,
        };
        let known = async || {
            let rows = store.load_catalogue().await.unwrap().ended_sessions;
            let mut known: Vec<_> = rows.into_iter().map(|row| (row.id[0], row.and_earlier)).collect();
            known.sort_unstable();
            known
        };
        for row in [ended(1, NOW), ended(1, NOW), ended(2, NOW + 4), EndedSessionRow { token_id: 8, ..ended(3, NOW + 1) }] {
            store.insert_ended_session(&row, None, NOW).await.unwrap();
        }
        assert_eq!(store.load_catalogue().await.unwrap().ended_sessions[0], ended(1, NOW));
        assert_eq!(known().await, [(1, false), (2, false), (3, false)]);
        store.insert_ended_session(&ended(4, NOW + 6), Some(NOW + 4), NOW).await.unwrap();
        assert_eq!(known().await, [(2, true), (3, false), (4, false)], "one record stands for the earlier ones, only \
                                                                        of its token");
        store.insert_ended_session(&ended(5, NOW + 7), None, NOW + 104).await.unwrap();
        assert_eq!(known().await, [(4, false), (5, false)]);
    }

    async fn revoked_links_are_known_until_they_would_have_ended(fixture: &mut Fixture) {
        let store = fixture.store();
        let link = |link_id, organization_id, revoked_until| RevokedLinkRow { link_id, organization_id, revoked_until };
        let revoke = async |row, most, over, line| store.insert_revoked_link(row, most, over, &audit(line)).await.unwrap();
        let known = async || {
            let rows = store.load_catalogue().await.unwrap().revoked_links;
            let mut known: Vec<_> = rows.into_iter().map(|row| (row.organization_id, row.link_id)).collect();
            known.sort_unstable();
            known
        };
        assert!(revoke(link(1, 7, NOW + 10), 2, NOW, 1).await);
        assert!(revoke(link(1, 7, NOW + 20), 2, NOW, 2).await, "again");
        assert!(revoke(link(1, 8, NOW + 30), 2, NOW, 3).await, "of another organization");
        assert!(revoke(link(2, 7, NOW + 20), 2, NOW, 4).await);
        assert!(!revoke(link(3, 7, NOW + 20), 2, NOW, 5).await, "two records are allowed");
        assert_eq!(known().await, [(7, 1), (7, 2), (8, 1)]);
        assert_eq!(store.load_catalogue().await.unwrap().revoked_links[0], link(1, 7, NOW + 10));
        assert!(revoke(link(3, 7, NOW + 20), 2, NOW + 10, 6).await, "one link would have expired");
        assert_eq!(known().await, [(7, 2), (7, 3), (8, 1)]);
    }

    async fn tokens_are_listed_with_their_organization(fixture: &mut Fixture) {
        let store = fixture.store();
        store.insert_organization(&organization(ORGANIZATION, "acme"), &audit(1)).await.unwrap();
        let rows = [
            token(11, "admin", None, None),
            token(12, "manage", Some(ORGANIZATION), None),
            token(13, "read", Some(ORGANIZATION), Some(NOW)),
        ];
        for (row, line) in rows.iter().zip(2..) {
            store.insert_token(row, &audit(line)).await.unwrap();
        }
        let list = async |organization, before, size| {
            let listed = store.list_tokens(organization, before, size).await.unwrap();
            listed.into_iter().map(|token| (token.row.id, token.organization)).collect::<Vec<_>>()
        };
        let acme = || Some("acme".to_owned());
        assert_eq!(list(None, i64::MAX, 10).await, [(13, acme()), (12, acme()), (11, None)]);
        assert_eq!(list(None, 13, 1).await, [(12, acme())]);
        assert_eq!(list(Some(ORGANIZATION), i64::MAX, 10).await, [(13, acme()), (12, acme())]);
        assert_eq!(store.get_token(12).await.unwrap().unwrap().row, rows[1]);
        assert_eq!(store.get_token(99).await.unwrap(), None);
        assert_eq!(store.count_tokens(None, NOW).await.unwrap(), 1);
        assert_eq!(store.count_tokens(Some(ORGANIZATION), NOW).await.unwrap(), 1, "one has expired");
        assert_eq!(store.count_tokens(Some(ORGANIZATION), NOW - 1).await.unwrap(), 2);
        store.delete_organization(ORGANIZATION, NOW, &audit(9)).await.unwrap();
        assert_eq!(store.count_tokens(Some(ORGANIZATION), NOW - 1).await.unwrap(), 0, "revoked with it");
        assert_eq!(store.get_token(12).await.unwrap().unwrap().organization, acme(), "still listed");
        let names = store.token_names(vec![11, 12, 99]).await.unwrap();
        assert_eq!(names, [(11, rows[0].name.clone()), (12, rows[1].name.clone())].into(), "its name is still known");
        assert_eq!(store.count_tokens(None, NOW).await.unwrap(), 1);
    }

    async fn the_last_admin_stays(fixture: &mut Fixture) {
        let store = fixture.store();
        let rows = [
            token(11, "admin", None, None),
            token(12, "admin", Some(ORGANIZATION), None),
            token(13, "admin", None, Some(NOW)),
            token(14, "manage", None, None),
            token(15, "admin", None, None),
        ];
        for (row, line) in rows.iter().zip(2..) {
            store.insert_token(row, &audit(line)).await.unwrap();
        }
        let revoke = async |id: i64, line: i64| store.revoke_token(id, "admin", NOW, &audit(line)).await.unwrap();
        assert_eq!(revoke(11, 21).await, Revocation::Done);
        assert_eq!(revoke(11, 22).await, Revocation::NothingToDo);
        assert_eq!(revoke(99, 22).await, Revocation::NothingToDo);
        assert_eq!(revoke(15, 22).await, Revocation::LastAdmin, "limited, expired and revoked ones do not count");
        for (id, line) in [(12, 22), (13, 23), (14, 24)] {
            assert_eq!(revoke(id, line).await, Revocation::Done, "{id}");
        }
        assert_eq!(store.get_token(14).await.unwrap().unwrap().row.revoked_at, Some(NOW));
        assert_eq!(store.get_token(15).await.unwrap().unwrap().row.revoked_at, None);
        assert_eq!(store.forget_tokens(NOW).await.unwrap(), 0);
        assert_eq!(store.forget_tokens(NOW + 1).await.unwrap(), 4, "the tokens that ended earlier");
        assert_eq!(store.load_catalogue().await.unwrap().tokens, [rows[4].clone()]);
    }
}
