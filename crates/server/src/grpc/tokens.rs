//! `TokenService`.

use std::time::Duration;

use hookwright_delivery::clock;
use hookwright_domain::id::TokenId;
use hookwright_proto::v1::{
    CreateTokenRequest, GetTokenRequest, ListTokensRequest, ListTokensResponse, RevokeTokenRequest,
    RevokeTokenResponse, Token, TokenScope, TokenState, token::Expiration, token_service_server::TokenService,
};
use tonic::{Request, Response, Status};

use super::{
    Api, name, page,
    time::{micros, std_duration, timestamp},
};
use crate::app::{
    access::Scope,
    error::{AppError, AppResult},
    tokens::{self, NewToken, TokenView},
};

const TTL_MIN: Duration = Duration::from_secs(1);
/// Longer than any sensible lifetime; unlimited tokens have no expiration.
const TTL_MAX: Duration = Duration::from_secs(50 * 366 * 86_400);

#[tonic::async_trait]
impl TokenService for Api {
    async fn create_token(&self, request: Request<CreateTokenRequest>) -> Result<Response<Token>, Status> {
        let caller = self.caller(&request)?;
        let wanted = request.into_inner().token.unwrap_or_default();
        let new = NewToken {
            display_name: &wanted.display_name,
            scope: scope(wanted.scope)?,
            organization: optional_organization("token.organization", &wanted.organization)?,
            expires_at: expires_at(wanted.expiration.as_ref())?,
        };
        Ok(Response::new(token(self.app.create_token(&caller, new).await?)))
    }

    async fn get_token(&self, request: Request<GetTokenRequest>) -> Result<Response<Token>, Status> {
        let caller = self.caller(&request)?;
        let id = name::token("name", &request.get_ref().name)?;
        Ok(Response::new(token(self.app.get_token(&caller, id).await?)))
    }

    async fn list_tokens(&self, request: Request<ListTokensRequest>) -> Result<Response<ListTokensResponse>, Status> {
        let caller = self.caller(&request)?;
        let request = request.get_ref();
        let organization = optional_organization("organization", &request.organization)?;
        let arguments = page::Arguments::new(&["ListTokens", &request.organization]);
        let before = arguments.before(&request.page_token)?;
        let size = page::size(request.page_size)?;
        let (views, next) = self.app.list_tokens(&caller, organization, before, size).await?;
        let (tokens, next) = page::fit(views, next, |view| view.row.id.to_string(), token);
        Ok(Response::new(ListTokensResponse {
            tokens,
            next_page_token: arguments.token(next.as_deref()),
        }))
    }

    async fn revoke_token(
        &self,
        request: Request<RevokeTokenRequest>,
    ) -> Result<Response<RevokeTokenResponse>, Status> {
        let caller = self.caller(&request)?;
        let id = name::token("name", &request.get_ref().name)?;
        let revoked = self.app.revoke_token(&caller, id).await?;
        Ok(Response::new(RevokeTokenResponse {
            token: Some(token(revoked)),
        }))
    }
}

/// An optional organization.
pub(super) fn optional_organization<'a>(field: &str, name: &'a str) -> AppResult<Option<&'a str>> {
    if name.is_empty() {
        Ok(None)
    } else {
        name::organization(field, name).map(Some)
    }
}

fn scope(number: i32) -> AppResult<Scope> {
    match TokenScope::try_from(number) {
        Ok(TokenScope::Read) => Ok(Scope::Read),
        Ok(TokenScope::Publish) => Ok(Scope::Publish),
        Ok(TokenScope::Portal) => Ok(Scope::Portal),
        Ok(TokenScope::Manage) => Ok(Scope::Manage),
        Ok(TokenScope::Admin) => Ok(Scope::Admin),
        Ok(TokenScope::Unspecified) | Err(_) => {
            let rule = "is required: TOKEN_SCOPE_READ, TOKEN_SCOPE_PUBLISH, TOKEN_SCOPE_PORTAL, TOKEN_SCOPE_MANAGE or \
                        TOKEN_SCOPE_ADMIN";
            Err(AppError::invalid("token.scope", "INVALID_SCOPE", rule))
        }
    }
}

fn expires_at(expiration: Option<&Expiration>) -> AppResult<Option<i64>> {
    match expiration {
        None => Ok(None),
        Some(Expiration::ExpireTime(time)) => micros("token.expire_time", time).map(Some),
        Some(Expiration::Ttl(ttl)) => {
            let ttl = std_duration("token.ttl", ttl)?;
            if !(TTL_MIN..=TTL_MAX).contains(&ttl) {
                let rule = "must be 1 s to 50 years; omit it for a token that does not expire";
                return Err(AppError::invalid("token.ttl", "INVALID_TTL", rule));
            }
            Ok(Some(
                clock::now_us() + i64::try_from(ttl.as_micros()).unwrap_or_default(),
            ))
        }
    }
}

fn token(view: TokenView) -> Token {
    let row = view.row;
    let scope = match Scope::parse(&row.scope) {
        Some(Scope::Read) => TokenScope::Read,
        Some(Scope::Publish) => TokenScope::Publish,
        Some(Scope::Portal) => TokenScope::Portal,
        Some(Scope::Manage) => TokenScope::Manage,
        Some(Scope::Admin) => TokenScope::Admin,
        None => TokenScope::Unspecified,
    };
    let state = match view.state {
        tokens::TokenState::Active => TokenState::Active,
        tokens::TokenState::Expired => TokenState::Expired,
        tokens::TokenState::Revoked => TokenState::Revoked,
    };
    Token {
        name: format!("tokens/{}", TokenId::from_raw(row.id)),
        display_name: row.name,
        scope: scope.into(),
        organization: view
            .organization
            .map(|name| format!("organizations/{name}"))
            .unwrap_or_default(),
        expiration: row.expires_at.map(|at| Expiration::ExpireTime(timestamp(at))),
        state: state.into(),
        create_time: Some(timestamp(row.created_at)),
        revoke_time: row.revoked_at.map(timestamp),
        secret: view.secret.unwrap_or_default(),
    }
}
