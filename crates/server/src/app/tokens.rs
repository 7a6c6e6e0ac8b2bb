//! Tokens: create, get, list, revoke. Whoever administers one organization works with the tokens of that organization alone.

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
/// How many tokens may be in force that are limited to an organization, or to none: all of them are in memory.
const IN_FORCE_MAX: i64 = 1_000;

/// A token to create.
#[derive(Clone, Copy, Debug)]
pub struct NewToken<'a> {
    /// A name for people.
    pub display_name: &'a str,
    /// What it allows.
    pub scope: Scope,
    /// The only organization that it is good for, by name.
    pub organization: Option<&'a str>,
    /// When it expires.
    pub expires_at: Option<i64>,
}

/// Whether a token is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenState {
    /// It is.
    Active,
    /// Its time is over.
    Expired,
    /// It was revoked.
    Revoked,
}

/// A token as shown to a caller.
#[derive(Clone, Debug)]
pub struct TokenView {
    /// The token.
    pub row: TokenRow,
    /// The name of the only organization that it is good for.
    pub organization: Option<String>,
    /// Whether it is good.
    pub state: TokenState,
    /// What callers send; on creation only.
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
    /// Creates a token; its secret is in the answer, and nowhere else from then on.
    ///
    /// # Errors
    /// With every field at fault, or when too many tokens are in force.
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
    /// When there is none of that id that the caller may see.
    pub async fn get_token(&self, caller: &Caller, id: TokenId) -> AppResult<TokenView> {
        Ok(TokenView::new(self.token_for(caller, id).await?, clock::now_us()))
    }

    /// Tokens with ids below `before`, newest first, of one organization if one is named; and the id to go on from, if there
    /// are more.
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

    /// Revokes a token. One that is revoked already stays as it is.
    ///
    /// # Errors
    /// When there is none of that id that the caller may see, or it is the last one that administers the installation.
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
                message: "it is the last token in force that administers the installation; create another one first"
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

    /// The organization whose tokens a caller wants to work with, if it may.
    fn token_organization(&self, caller: &Caller, name: Option<&str>) -> AppResult<Option<OrganizationRow>> {
        match name {
            Some(name) => self.organization_for(caller, Scope::Admin, name).map(Some),
            None => caller.require(Scope::Admin).map(|()| None),
        }
    }

    /// The token, if the caller may see it. Another organization's is answered as one that does not exist.
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
            message: format!("{IN_FORCE_MAX} tokens of `{subject}` are in force, the most there may be; revoke some"),
            subject,
        })
    }
}

/// The audit log's name for a token.
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
            "is required: 1 to {DISPLAY_NAME_CHARS_MAX} characters that tell people who uses the token, none of them a control character"
        );
        faults.add("display_name", "INVALID_DISPLAY_NAME", rule);
    }
    if new.expires_at.is_some_and(|expires_at| expires_at <= now) {
        faults.add("expire_time", "EXPIRE_TIME_PAST", "must be in the future");
    }
    faults.check()
}
