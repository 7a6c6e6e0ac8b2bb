//! Tests of the rights of tokens and links, and of the end of their access.

use hookwright_storage::TokenRow;

use super::*;

fn tokens(scope: &str, organization_id: Option<i64>, expires_at: Option<i64>, revoked_at: Option<i64>) -> Tokens {
    let tokens = Tokens::default();
    tokens.replace(
        &[TokenRow {
            id: 1,
            hash: hash("hw_x").to_vec(),
            name: "test".to_owned(),
            scope: scope.to_owned(),
            organization_id,
            created_at: 0,
            expires_at,
            revoked_at,
        }],
        &[],
    );
    tokens
}

#[test]
fn g01_tokens_that_are_missing_malformed_wrong_revoked_or_expired() {
    let valid = tokens("admin", None, Some(10), None);
    assert!(valid.authenticate(Some("Bearer hw_x"), 9).is_ok());
    assert!(
        valid.authenticate(Some("bearer hw_x"), 9).is_ok(),
        "the scheme is case-insensitive"
    );
    for bad in [
        None,
        Some("hw_x"),
        Some("Basic hw_x"),
        Some("Bearer hw_y"),
        Some("Bearer "),
    ] {
        assert!(
            matches!(valid.authenticate(bad, 9), Err(AppError::Unauthenticated(_))),
            "{bad:?}"
        );
    }
    assert!(valid.authenticate(Some("Bearer hw_x"), 10).is_err(), "expired");
    assert!(
        tokens("admin", None, None, Some(1))
            .authenticate(Some("Bearer hw_x"), 9)
            .is_err(),
        "revoked"
    );
}

#[test]
fn a_caller_that_was_let_in_goes_when_its_token_does() {
    let tokens = tokens("read", Some(7), Some(10), None);
    let caller = tokens.authenticate(Some("Bearer hw_x"), 9).unwrap();
    assert!(tokens.check(&caller, 9).is_ok());
    assert!(tokens.check(&caller, 10).is_err(), "expired meanwhile");
    tokens.remove_organization(8);
    assert!(tokens.check(&caller, 9).is_ok(), "another organization's");
    tokens.remove(TokenId::from_raw(2));
    assert!(tokens.check(&caller, 9).is_ok(), "another token");
    tokens.remove(TokenId::from_raw(1));
    assert!(tokens.check(&caller, 9).is_err());
    assert!(tokens.authenticate(Some("Bearer hw_x"), 9).is_err());
}

#[test]
fn a_token_of_one_organization_is_good_for_no_other() {
    let caller = tokens("manage", Some(7), None, None)
        .authenticate(Some("Bearer hw_x"), 0)
        .unwrap();
    assert!(caller.require_for(Scope::Manage, 7).is_ok());
    assert!(caller.require_for(Scope::Read, 7).is_ok());
    assert!(caller.require_for(Scope::Read, 8).is_err());
    assert!(caller.require_for(Scope::Admin, 7).is_err());
    assert!(caller.require(Scope::Read).is_err());
}

#[test]
fn a_visitor_of_a_portal_link_has_its_organization_and_its_expiry() {
    let link = PortalLinkId::from_raw(17);
    let customer = |scope| Caller::by_link(link, TokenId::from_raw(1), scope, 7, 10);
    let manages = customer(Scope::Manage);
    assert!(manages.require_for(Scope::Manage, 7).is_ok() && manages.require_for(Scope::Read, 7).is_ok());
    assert!(manages.require_for(Scope::Read, 8).is_err(), "another organization");
    assert!(manages.require(Scope::Read).is_err(), "the installation");
    assert!(manages.require_for(Scope::Admin, 7).is_err(), "its tokens");
    assert!(manages.require_token().is_err(), "more links");
    let reads = customer(Scope::Read);
    assert!(reads.require_for(Scope::Read, 7).is_ok() && reads.require_for(Scope::Manage, 7).is_err());
    let tokens = tokens("manage", None, None, None);
    assert!(tokens.check(&manages, 9).is_ok());
    assert!(tokens.check(&manages, 10).is_err(), "its time is over");
    assert_eq!(manages.actor().to_string(), link.to_string());
    let other_link = PortalLinkId::from_raw(18);
    let other = Caller::by_link(other_link, TokenId::from_raw(1), Scope::Manage, 7, 10);
    tokens.revoke_link(8, other_link);
    assert!(tokens.check(&other, 9).is_ok(), "another organization's of that id");
    tokens.revoke_link(7, other_link);
    assert!(tokens.check(&other, 9).is_err() && tokens.check(&manages, 9).is_ok());
    tokens.remove(TokenId::from_raw(2));
    assert!(tokens.check(&manages, 9).is_ok(), "another token");
    tokens.remove(TokenId::from_raw(1));
    assert!(
        tokens.check(&manages, 9).is_err(),
        "the token that made the link is gone"
    );
}

#[test]
fn portal_includes_nothing_else_and_is_included_in_manage() {
    let scope = |scope| {
        tokens(scope, None, None, None)
            .authenticate(Some("Bearer hw_x"), 0)
            .unwrap()
    };
    let portal = scope("portal");
    assert!(portal.require(Scope::Portal).is_ok());
    for other in [Scope::Read, Scope::Publish, Scope::Manage, Scope::Admin] {
        assert!(portal.require(other).is_err(), "{other:?}");
    }
    for (name, allowed) in [("read", false), ("publish", false), ("manage", true), ("admin", true)] {
        assert_eq!(scope(name).require(Scope::Portal).is_ok(), allowed, "{name}");
    }
}

#[test]
fn publish_does_not_include_read() {
    let caller = tokens("publish", None, None, None)
        .authenticate(Some("Bearer hw_x"), 0)
        .unwrap();
    assert!(caller.require(Scope::Publish).is_ok());
    assert!(caller.require(Scope::Read).is_err());
}
