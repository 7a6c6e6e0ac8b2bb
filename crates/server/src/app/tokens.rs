//! Tokens: create, get, list, revoke. Admins of one organization manage only its tokens.

use hookwright_delivery::clock;
use hookwright_domain::id::TokenId;
use hookwright_storage::{
    OrganizationRow, TokenRow,
    tokens::{ListedToken, Revocation},
};
use serde_json::json;

use super::{
    App,
    access::{self, Caller, Scope},
    audit,
    error::{AppError, AppResult, Faults},
};

const KIND: &str = "hookwright.v1.Token";
const DISPLAY_NAME_CHARS_MAX: usize = 200;
/// Maximum number of active tokens of an organization, and of those without one: all of them are in memory.
const IN_FORCE_MAX: i64 = 1_000;

/// A token to create.
#[derive(Clone, Copy, Debug)]
pub struct NewToken<'a> {
    /// The display name.
    pub display_name: &'a str,
    /// The scope.
    pub scope: Scope,
    /// The name of the organization that it is limited to.
    pub organization: Option<&'a str>,
    /// When it expires.
    pub expires_at: Option<i64>,
}

/// The state of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenState {
    /// Valid.
    Active,
    /// Expired.
    Expired,
    /// Revoked.
    Revoked,
}

/// A token as callers see it.
#[derive(Clone, Debug)]
pub struct TokenView {
    /// The token.
    pub row: TokenRow,
    /// The name of the organization that it is limited to.
    pub organization: Option<String>,
    /// Its state.
    pub state: TokenState,
    /// The secret that callers send; only on creation.
    pub secret: Option<String>,
}

impl TokenView {
    fn new(token: ListedToken, now: i64) -> Self {
        let state = match (token.row.revoked_at, token.row.expires_at) {
            (Some(_), _) => TokenState::Revoked,
            (None, Some(expires_at)) if expires_at <= now => TokenState::Expired,
            (None, _) => TokenState::Active,
        };
        Self {
            row: token.row,
            organization: token.organization,
            state,
            secret: None,
        }
    }
}

impl App {
    /// Creates a token; only this answer contains its secret.
    ///
    /// # Errors
    /// With every invalid field, or when too many tokens are active.
    pub async fn create_token(&self, caller: &Caller, new: NewToken<'_>) -> AppResult<TokenView> {
        let now = clock::now_us();
        self.token_organization(caller, new.organization)?;
        check(&new, now)?;
        let mut changing = self.changing().await?;
        // Looked up again: it may have been deleted while this call waited for its turn.
        let organization = self.token_organization(caller, new.organization)?;
        let organization_id = organization.map(|row| row.id);
        self.check_token_count(organization_id, new.organization, now).await?;
        let secret = access::generate().map_err(|error| AppError::internal(&error))?;
        let id = TokenId::from_raw(self.next_id());
        let row = TokenRow {
            id: id.raw(),
            hash: access::hash(&secret).to_vec(),
            name: new.display_name.to_owned(),
            scope: new.scope.as_str().to_owned(),
            organization_id,
            created_at: now,
            expires_at: new.expires_at,
            revoked_at: None,
        };
        let audit = self.audit(
            Some(caller),
            "token.create",
            organization_id,
            resource(id),
            json!({
                "display_name": row.name,
                "scope": row.scope,
                "expire_time": row.expires_at.map(audit::time),
            }),
        );
        changing.store().insert_token(&row, &audit).await?;
        self.tokens.put(&row);
        changing.settle().await?;
        let listed = ListedToken {
            row,
            organization: new.organization.map(str::to_owned),
        };
        Ok(TokenView {
            secret: Some(secret),
            ..TokenView::new(listed, now)
        })
    }

    /// One token.
    ///
    /// # Errors
    /// When the caller may see no token with this id.
    pub async fn get_token(&self, caller: &Caller, id: TokenId) -> AppResult<TokenView> {
        Ok(TokenView::new(self.token_for(caller, id).await?, clock::now_us()))
    }

    /// Tokens with ids below `before`, newest first, of one organization if it is named; and the id to continue from, if
    /// there are more.
    ///
    /// # Errors
    /// When the organization does not exist, or the caller may not see its tokens.
    pub async fn list_tokens(
        &self,
        caller: &Caller,
        organization: Option<&str>,
        before: i64,
        size: usize,
    ) -> AppResult<(Vec<TokenView>, Option<String>)> {
        let organization = self.token_organization(caller, organization)?;
        let listed = self
            .store
            .list_tokens(organization.map(|row| row.id), before, size + 1)
            .await?;
        let (listed, next) = super::page(listed, size, |token| token.row.id.to_string());
        let now = clock::now_us();
        let views = listed.into_iter().map(|token| TokenView::new(token, now));
        Ok((views.collect(), next))
    }

    /// Revokes a token. A token that is already revoked does not change.
    ///
    /// # Errors
    /// When the caller may see no token with this id, or it is the last one that administers the installation.
    pub async fn revoke_token(&self, caller: &Caller, id: TokenId) -> AppResult<TokenView> {
        let mut changing = self.changing().await?;
        let token = self.token_for(caller, id).await?;
        if token.row.revoked_at.is_some() {
            return Ok(TokenView::new(token, clock::now_us()));
        }
        let now = clock::now_us();
        let audit = self.audit(
            Some(caller),
            "token.revoke",
            token.row.organization_id,
            resource(id),
            json!({ "display_name": token.row.name }),
        );
        let admin = Scope::Admin.as_str();
        let revocation = changing.store().revoke_token(id.raw(), admin, now, &audit).await?;
        if revocation == Revocation::LastAdmin {
            return Err(AppError::Precondition {
                reason: "LAST_ADMIN_TOKEN",
                subject: resource(id),
                message: "it is the last active token that administers the installation; create another one first"
                    .to_owned(),
            });
        }
        self.tokens.remove(id);
        changing.settle().await?;
        let row = TokenRow {
            revoked_at: Some(now),
            ..token.row
        };
        Ok(TokenView::new(ListedToken { row, ..token }, now))
    }

    /// The organization whose tokens a caller wants to manage, if it may.
    fn token_organization(&self, caller: &Caller, name: Option<&str>) -> AppResult<Option<OrganizationRow>> {
        match name {
            Some(name) => self.organization_for(caller, Scope::Admin, name).map(Some),
            None => caller.require(Scope::Admin).map(|()| None),
        }
    }

    /// The token, if the caller may see it. Another organization's token looks as if it did not exist.
    async fn token_for(&self, caller: &Caller, id: TokenId) -> AppResult<ListedToken> {
        caller.require_any(Scope::Admin)?;
        let token = self.store.get_token(id.raw()).await?;
        token
            .filter(|token| caller.require_at(Scope::Admin, token.row.organization_id).is_ok())
            .ok_or_else(|| AppError::not_found(KIND, resource(id)))
    }

    async fn check_token_count(&self, id: Option<i64>, name: Option<&str>, now: i64) -> AppResult<()> {
        if self.store.count_tokens(id, now).await? < IN_FORCE_MAX {
            return Ok(());
        }
        let subject = name.map_or_else(|| "tokens".to_owned(), |name| format!("organizations/{name}"));
        Err(AppError::Precondition {
            reason: "TOKEN_LIMIT_REACHED",
            message: format!("{IN_FORCE_MAX} tokens of `{subject}` are active, which is the limit; revoke some"),
            subject,
        })
    }
}

/// A token's name in the audit log.
fn resource(id: TokenId) -> String {
    format!("tokens/{id}")
}

fn check(new: &NewToken<'_>, now: i64) -> AppResult<()> {
    let mut faults = Faults::of("token.");
    let chars = new.display_name.chars().count();
    if new.display_name.trim().is_empty()
        || chars > DISPLAY_NAME_CHARS_MAX
        || new.display_name.contains(char::is_control)
    {
        let rule = format!(
            "is required: 1 to {DISPLAY_NAME_CHARS_MAX} characters, such as the token's user, without control characters"
        );
        faults.add("display_name", "INVALID_DISPLAY_NAME", rule);
    }
    if new.expires_at.is_some_and(|expires_at| expires_at <= now) {
        faults.add("expire_time", "EXPIRE_TIME_PAST", "must be in the future");
    }
    faults.check()
}
