//! Who may call: API tokens and their scopes.
//!
//! A token is `hw_` and 32 random bytes in hex; the store keeps only its SHA-256 (a random token needs no slow hash). All
//! tokens in force are in memory, so that a call costs one hash and one look-up.

use std::{collections::HashMap, sync::Arc};

use arc_swap::ArcSwap;
use hookwright_domain::id::TokenId;
use hookwright_storage::TokenRow;
use ring::rand::{SecureRandom, SystemRandom};
use sha2::{Digest as _, Sha256};

use super::error::{AppError, AppResult};

/// What every token begins with.
const PREFIX: &str = "hw_";

/// What a token allows. Each scope allows what those after it allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// Look at events, deliveries and configuration.
    Read,
    /// Publish events.
    Publish,
    /// Change webhooks.
    Manage,
    /// Everything, organizations and event types included.
    Admin,
}

impl Scope {
    /// The scope as stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Publish => "publish",
            Self::Manage => "manage",
            Self::Admin => "admin",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::Read, Self::Publish, Self::Manage, Self::Admin]
            .into_iter()
            .find(|scope| scope.as_str() == text)
    }
}

/// Who calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The token used; written to the audit log.
    pub token: TokenId,
    scope: Scope,
    /// The only organization that the token is good for, by raw id; `None` for all.
    organization: Option<i64>,
}

impl Caller {
    /// What the token allows.
    pub fn scope(&self) -> Scope {
        self.scope
    }

    /// The only organization that the token is good for, by raw id; `None` for all.
    pub fn organization(&self) -> Option<i64> {
        self.organization
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
            return Err(AppError::Denied("this token is for another organization".to_owned()));
        }
        self.require_scope(scope)
    }

    /// Fails unless the token has the scope for some organization.
    pub fn require_any(&self, scope: Scope) -> AppResult<()> {
        self.require_scope(scope)
    }

    fn require_scope(&self, scope: Scope) -> AppResult<()> {
        // `publish` and `read` stand beside each other: a publisher's token does not open what was published.
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

/// The tokens in force.
#[derive(Default)]
pub struct Tokens {
    by_hash: ArcSwap<HashMap<[u8; 32], Entry>>,
}

struct Entry {
    caller: Caller,
    expires_at: Option<i64>,
}

impl Tokens {
    /// Puts exactly these tokens in force; revoked ones and those with an unknown scope are left out.
    pub fn replace(&self, rows: &[TokenRow]) {
        let entries = rows.iter().filter(|row| row.revoked_at.is_none()).filter_map(|row| {
            let hash: [u8; 32] = row.hash.as_slice().try_into().ok()?;
            let caller = Caller {
                token: TokenId::from_raw(row.id),
                scope: Scope::parse(&row.scope)?,
                organization: row.organization_id,
            };
            Some((
                hash,
                Entry {
                    caller,
                    expires_at: row.expires_at,
                },
            ))
        });
        self.by_hash.store(Arc::new(entries.collect()));
    }

    /// Who calls with this value of `authorization`.
    pub fn authenticate(&self, authorization: Option<&str>, now_us: i64) -> AppResult<Caller> {
        const MISSING: &str = "no token; send the metadata `authorization: Bearer <token>`";
        const WRONG: &str = "the token is not valid; it may be mistyped, revoked or expired";
        let header = authorization.ok_or(AppError::Unauthenticated(MISSING))?;
        let token = header
            .split_once(' ')
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, token)| token.trim())
            .ok_or(AppError::Unauthenticated(MISSING))?;
        let tokens = self.by_hash.load();
        // The look-up is by hash: how long it takes tells nothing about tokens.
        let entry = tokens.get(&hash(token)).ok_or(AppError::Unauthenticated(WRONG))?;
        if entry.expires_at.is_some_and(|expires_at| expires_at <= now_us) {
            return Err(AppError::Unauthenticated(WRONG));
        }
        Ok(entry.caller.clone())
    }

    /// Who calls with the token of this id, if that is in force.
    pub fn caller(&self, token: TokenId, now_us: i64) -> Option<Caller> {
        let tokens = self.by_hash.load();
        let entry = tokens.values().find(|entry| entry.caller.token == token)?;
        let expired = entry.expires_at.is_some_and(|expires_at| expires_at <= now_us);
        (!expired).then(|| entry.caller.clone())
    }
}

/// The hash under which a token is stored.
pub fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

/// Makes a token.
///
/// # Errors
/// When the operating system gives no randomness.
pub fn generate() -> anyhow::Result<String> {
    let mut bytes = [0; 32];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| anyhow::anyhow!("the operating system gives no randomness"))?;
    Ok(format!("{PREFIX}{}", hex::encode(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(scope: &str, organization_id: Option<i64>, expires_at: Option<i64>, revoked_at: Option<i64>) -> Tokens {
        let tokens = Tokens::default();
        tokens.replace(&[TokenRow {
            id: 1,
            hash: hash("hw_x").to_vec(),
            name: "test".to_owned(),
            scope: scope.to_owned(),
            organization_id,
            created_at: 0,
            expires_at,
            revoked_at,
        }]);
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
    fn publish_does_not_include_read() {
        let caller = tokens("publish", None, None, None)
            .authenticate(Some("Bearer hw_x"), 0)
            .unwrap();
        assert!(caller.require(Scope::Publish).is_ok());
        assert!(caller.require(Scope::Read).is_err());
    }
}
