//! Authentication: the active API tokens.
//!
//! A token is `hw_` and 32 random bytes in hex. The store keeps only its SHA-256, because a random token needs no slow hash.
//! All active tokens are in memory, so a call costs one hash and one lookup. Long-lived calls and streams check again
//! whenever tokens change.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use hookwright_delivery::clock;
use hookwright_domain::{
    id::{PortalLinkId, TokenId},
    random,
};
use hookwright_storage::{RevokedLinkRow, TokenRow};
use sha2::{Digest as _, Sha256};
use tokio::sync::watch;

use super::{Actor, Caller, Scope};
use crate::app::{
    App,
    error::{AppError, AppResult},
};

/// The prefix of every token.
const PREFIX: &str = "hw_";
/// The error for a token that is not, or no longer, active.
const WRONG: &str = "the token is not valid; it may be mistyped, revoked or expired";
/// The maximum timer for a token's expiry, because the wall clock may be set in the meantime.
const LOOK_AHEAD_MAX: Duration = Duration::from_secs(60);

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
    pub(in crate::app) fn put(&self, row: &TokenRow) {
        let mut in_force = InForce::clone(&self.in_force.load());
        in_force.put(row);
        self.store(in_force);
    }

    /// Removes a token. Callers must serialize.
    pub(in crate::app) fn remove(&self, id: TokenId) {
        let mut in_force = InForce::clone(&self.in_force.load());
        in_force.retain(|caller| caller.actor != Actor::Token(id));
        self.store(in_force);
    }

    /// Revokes a portal link. Callers must serialize.
    pub(in crate::app) fn revoke_link(&self, organization: i64, link: PortalLinkId) {
        let mut in_force = InForce::clone(&self.in_force.load());
        in_force.revoked_links.insert((organization, link));
        self.store(in_force);
    }

    /// Removes the tokens of an organization. Callers must serialize.
    pub(in crate::app) fn remove_organization(&self, organization: i64) {
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
    pub(in crate::app) fn caller(&self, token: TokenId, now_us: i64) -> Option<Caller> {
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
    let bytes = random::bytes::<32>()?;
    Ok(format!("{PREFIX}{}", hex::encode(bytes)))
}
