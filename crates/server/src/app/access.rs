//! Authentication: API tokens and their scopes.
//!
//! A token is `hw_` and 32 random bytes in hex. The store keeps only its SHA-256, because a random token needs no slow hash.
//! All active tokens are in memory, so a call costs one hash and one lookup. Long-lived calls and streams check again
//! whenever tokens change.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use hookwright_delivery::clock;
use hookwright_domain::id::{PortalLinkId, TokenId};
use hookwright_storage::{RevokedLinkRow, TokenRow};
use ring::rand::{SecureRandom, SystemRandom};
use sha2::{Digest as _, Sha256};
use tokio::sync::watch;

use super::{
    App,
    error::{AppError, AppResult},
};

/// The prefix of every token.
const PREFIX: &str = "hw_";
/// The error for a token that is not, or no longer, active.
const WRONG: &str = "the token is not valid; it may be mistyped, revoked or expired";
/// The maximum timer for a token's expiry, because the wall clock may be set in the meantime.
const LOOK_AHEAD_MAX: Duration = Duration::from_secs(60);

/// The scope of a token. `manage` and `admin` include the scopes before them; each of the others allows one thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// Read events, deliveries and configuration.
    Read,
    /// Publish events.
    Publish,
    /// Create and revoke portal links.
    Portal,
    /// Change webhooks.
    Manage,
    /// Everything, including organizations and event types.
    Admin,
}

impl Scope {
    /// The scope's text, as stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Publish => "publish",
            Self::Portal => "portal",
            Self::Manage => "manage",
            Self::Admin => "admin",
        }
    }

    /// The scope of a stored text.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Read, Self::Publish, Self::Portal, Self::Manage, Self::Admin]
            .into_iter()
            .find(|scope| scope.as_str() == text)
    }
}

/// The credential of a caller, for the audit log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Actor {
    /// A token.
    Token(TokenId),
    /// A portal link.
    PortalLink(PortalLinkId),
}

impl Actor {
    /// The raw id.
    pub const fn raw(self) -> i64 {
        match self {
            Self::Token(id) => id.raw(),
            Self::PortalLink(id) => id.raw(),
        }
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Token(id) => id.fmt(f),
            Self::PortalLink(id) => id.fmt(f),
        }
    }
}

/// An authenticated caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    actor: Actor,
    /// The underlying token: the actor's own, or the one that created the link.
    token: TokenId,
    scope: Scope,
    /// The organization that the caller is limited to, by raw id; `None` for all.
    organization: Option<i64>,
    /// When the access ends.
    expires_at: Option<i64>,
}

impl Caller {
    /// A caller with a portal link: access to one organization for a limited time.
    pub(super) fn by_link(
        link: PortalLinkId,
        token: TokenId,
        scope: Scope,
        organization: i64,
        expires_at: i64,
    ) -> Self {
        Self {
            actor: Actor::PortalLink(link),
            token,
            scope,
            organization: Some(organization),
            expires_at: Some(expires_at),
        }
    }

    /// The credential.
    pub fn actor(&self) -> Actor {
        self.actor
    }

    /// When the access ends; `None` for never.
    pub fn expires_at(&self) -> Option<i64> {
        self.expires_at
    }

    /// The scope.
    pub fn scope(&self) -> Scope {
        self.scope
    }

    /// The organization that the token is limited to, by raw id; `None` for all.
    pub fn organization(&self) -> Option<i64> {
        self.organization
    }

    /// Fails unless the caller has the scope for an organization or, for `None`, for the whole installation.
    pub fn require_at(&self, scope: Scope, organization: Option<i64>) -> AppResult<()> {
        match organization {
            Some(organization) => self.require_for(scope, organization),
            None => self.require(scope),
        }
    }

    /// Fails unless the token has the scope for the whole installation.
    pub fn require(&self, scope: Scope) -> AppResult<()> {
        if self.organization.is_some() {
            return Err(AppError::Denied("this token is limited to one organization".to_owned()));
        }
        self.require_scope(scope)
    }

    /// Fails unless the token has the scope for the organization.
    pub fn require_for(&self, scope: Scope, organization: i64) -> AppResult<()> {
        if self.organization.is_some_and(|only| only != organization) {
            return Err(AppError::Denied(
                "this token is limited to another organization".to_owned(),
            ));
        }
        self.require_scope(scope)
    }

    /// Fails unless the token has the scope for some organization.
    pub fn require_any(&self, scope: Scope) -> AppResult<()> {
        self.require_scope(scope)
    }

    /// The token. Fails for portal links, because operators' resources, including links, are not for customers.
    pub fn require_token(&self) -> AppResult<TokenId> {
        match self.actor {
            Actor::Token(id) => Ok(id),
            Actor::PortalLink(_) => Err(AppError::Denied(
                "this needs a token; a portal link is not enough".to_owned(),
            )),
        }
    }

    /// Fails for a token of the scope `portal`. All other tokens can read what is not secret, such as the names of event
    /// types.
    pub(super) fn require_more_than_links(&self) -> AppResult<()> {
        match self.scope {
            Scope::Portal => self.require_scope(Scope::Read),
            _ => Ok(()),
        }
    }

    fn require_scope(&self, scope: Scope) -> AppResult<()> {
        // Receivers trust signed events: customers manage webhooks, but may not publish.
        if scope == Scope::Publish {
            self.require_token()?;
        }
        // `read`, `publish` and `portal` are independent: a publisher's token cannot read published events.
        let allowed = self.scope == scope || self.scope >= Scope::Manage && self.scope >= scope;
        if allowed {
            return Ok(());
        }
        let (needed, has) = (scope.as_str(), self.scope.as_str());
        Err(AppError::Denied(format!(
            "this call needs the scope `{needed}`; the token has `{has}`"
        )))
    }
}

/// The active tokens.
#[derive(Default)]
pub struct Tokens {
    in_force: ArcSwap<InForce>,
    changed: watch::Sender<()>,
}

#[derive(Clone, Default)]
struct InForce {
    by_hash: HashMap<[u8; 32], Caller>,
    hashes: HashMap<TokenId, [u8; 32]>,
    /// Revoked portal links, each with its organization.
    revoked_links: HashSet<(i64, PortalLinkId)>,
}

impl InForce {
    /// Adds a token, unless it is revoked or of an unknown scope.
    fn put(&mut self, row: &TokenRow) {
        let hash = <[u8; 32]>::try_from(row.hash.as_slice());
        let (Ok(hash), Some(scope), None) = (hash, Scope::parse(&row.scope), row.revoked_at) else {
            return;
        };
        let id = TokenId::from_raw(row.id);
        self.hashes.insert(id, hash);
        let caller = Caller {
            actor: Actor::Token(id),
            token: id,
            scope,
            organization: row.organization_id,
            expires_at: row.expires_at,
        };
        self.by_hash.insert(hash, caller);
    }

    fn retain(&mut self, keep: impl Fn(&Caller) -> bool) {
        self.by_hash.retain(|_, caller| keep(caller));
        let by_hash = &self.by_hash;
        self.hashes.retain(|_, hash| by_hash.contains_key(hash));
    }
}

impl Tokens {
    /// Replaces the active tokens with these, except revoked ones and those with an unknown scope, and the revoked portal
    /// links with these.
    pub fn replace(&self, rows: &[TokenRow], links: &[RevokedLinkRow]) {
        let revoked = links
            .iter()
            .map(|row| (row.organization_id, PortalLinkId::from_raw(row.link_id)));
        let mut in_force = InForce {
            revoked_links: revoked.collect(),
            ..InForce::default()
        };
        for row in rows {
            in_force.put(row);
        }
        self.store(in_force);
    }

    /// Adds a token. Callers must serialize.
    pub(super) fn put(&self, row: &TokenRow) {
        let mut in_force = InForce::clone(&self.in_force.load());
        in_force.put(row);
        self.store(in_force);
    }

    /// Removes a token. Callers must serialize.
    pub(super) fn remove(&self, id: TokenId) {
        let mut in_force = InForce::clone(&self.in_force.load());
        in_force.retain(|caller| caller.actor != Actor::Token(id));
        self.store(in_force);
    }

    /// Revokes a portal link. Callers must serialize.
    pub(super) fn revoke_link(&self, organization: i64, link: PortalLinkId) {
        let mut in_force = InForce::clone(&self.in_force.load());
        in_force.revoked_links.insert((organization, link));
        self.store(in_force);
    }

    /// Removes the tokens of an organization. Callers must serialize.
    pub(super) fn remove_organization(&self, organization: i64) {
        let mut in_force = InForce::clone(&self.in_force.load());
        in_force.retain(|caller| caller.organization != Some(organization));
        self.store(in_force);
    }

    fn store(&self, in_force: InForce) {
        self.in_force.store(Arc::new(in_force));
        self.changed.send_replace(());
    }

    /// The caller with this value of `authorization`.
    pub fn authenticate(&self, authorization: Option<&str>, now_us: i64) -> AppResult<Caller> {
        const MISSING: &str = "no token; send the metadata `authorization: Bearer <token>`";
        let header = authorization.ok_or(AppError::Unauthenticated(MISSING))?;
        let token = header
            .split_once(' ')
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, token)| token.trim())
            .ok_or(AppError::Unauthenticated(MISSING))?;
        let in_force = self.in_force.load();
        // The lookup is by hash, so its duration reveals nothing about tokens.
        let caller = in_force
            .by_hash
            .get(&hash(token))
            .ok_or(AppError::Unauthenticated(WRONG))?;
        self.check(caller, now_us)?;
        Ok(caller.clone())
    }

    /// Fails if an admitted caller may not continue: its token or portal link was revoked, or has expired. A link ends with
    /// its token at the latest, so one expiry is enough.
    pub fn check(&self, caller: &Caller, now_us: i64) -> AppResult<()> {
        let in_force = self.in_force.load();
        let revoked = match (caller.actor, caller.organization) {
            (Actor::PortalLink(link), Some(organization)) => in_force.revoked_links.contains(&(organization, link)),
            _ => false,
        };
        let known = in_force.hashes.contains_key(&caller.token) && !revoked;
        if known && caller.expires_at.is_none_or(|expires_at| now_us < expires_at) {
            Ok(())
        } else {
            Err(AppError::Unauthenticated(WRONG))
        }
    }

    /// The caller with the token of this id, if it is active.
    pub(super) fn caller(&self, token: TokenId, now_us: i64) -> Option<Caller> {
        let in_force = self.in_force.load();
        let caller = in_force.by_hash.get(in_force.hashes.get(&token)?)?;
        self.check(caller, now_us).is_ok().then(|| caller.clone())
    }
}

impl App {
    /// Fails if an admitted caller may not continue.
    ///
    /// # Errors
    /// When its token was revoked or has expired.
    pub fn recheck(&self, caller: &Caller) -> AppResult<()> {
        self.tokens.check(caller, clock::now_us())
    }

    /// Waits until an admitted caller may not continue, and returns the reason.
    pub async fn until_denied(&self, caller: &Caller) -> AppError {
        let mut changed = self.tokens.changed.subscribe();
        loop {
            if let Err(error) = self.recheck(caller) {
                return error;
            }
            let left = caller.expires_at.map(|expires_at| expires_at - clock::now_us());
            let left = left.map_or(LOOK_AHEAD_MAX, |left| {
                Duration::from_micros(left.max(1_000).unsigned_abs())
            });
            tokio::select! {
                // The sender lives as long as `self`.
                _ = changed.changed() => {}
                () = tokio::time::sleep(left.min(LOOK_AHEAD_MAX)) => {}
            }
        }
    }
}

/// The stored hash of a token.
pub fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

/// Generates a token.
///
/// # Errors
/// When the operating system provides no randomness.
pub fn generate() -> anyhow::Result<String> {
    let mut bytes = [0; 32];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| anyhow::anyhow!("the operating system provides no randomness"))?;
    Ok(format!("{PREFIX}{}", hex::encode(bytes)))
}

#[cfg(test)]
mod tests {
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
    fn who_came_by_a_portal_link_has_its_organization_and_its_time() {
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
}
