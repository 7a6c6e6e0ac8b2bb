//! Callers: their tokens or portal links, and what each scope allows.

mod tokens;

use std::fmt;

use hookwright_domain::id::{PortalLinkId, TokenId};

pub use self::tokens::{Tokens, generate, hash};
use super::error::{AppError, AppResult};

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

#[cfg(test)]
mod tests;
