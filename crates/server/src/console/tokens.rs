//! Tokens: of the installation or of one organization; created, shown once, revoked.

use std::time::Duration;

use askama::Template;
use axum::{
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse as _, Redirect},
};
use hookwright_delivery::clock;
use hookwright_domain::id::TokenId;

use super::{
    Answer, Console, ROWS, Shared,
    cookies::{Once, OnceKind},
    errors::Errors,
    fault::Fault,
    fields::Fields,
    page::{Frame, Place, html, refused},
    session::{Sent, Visitor},
    show::{Badge, Time},
    units,
};
use crate::app::{
    access::{Actor, Scope},
    error::{AppError, AppResult},
    tokens::{NewToken, TokenState, TokenView},
};

/// The longest time for which a token is made, if it is not for ever.
const TTL_MAX: Duration = Duration::from_secs(36_500 * 86_400);

#[derive(Template)]
#[template(path = "tokens.html")]
struct ListPage {
    frame: Frame,
    tokens: Vec<Row>,
    next: Option<String>,
    /// The organization whose tokens these are; `None` for all.
    organization: Option<String>,
    errors: Errors,
    display_name: String,
    scope: String,
    for_organization: String,
    ttl: String,
    /// A token that was just made: its name and what callers send.
    made: Option<(String, String)>,
}

/// A token in the list.
struct Row {
    id: String,
    name: String,
    scope: String,
    organization: String,
    state: Badge,
    created: Time,
    expires: Option<Time>,
    /// Whether it is the one that the visitor signed in with.
    own: bool,
    active: bool,
}

fn row(visitor: &Visitor, view: TokenView) -> Row {
    let id = TokenId::from_raw(view.row.id);
    Row {
        id: id.to_string(),
        name: view.row.name,
        scope: view.row.scope,
        organization: view.organization.unwrap_or_default(),
        state: match view.state {
            TokenState::Active => Badge::new("check", "good", "in force"),
            TokenState::Expired => Badge::new("clock", "calm", "expired"),
            TokenState::Revoked => Badge::new("ban", "calm", "revoked"),
        },
        created: Time(view.row.created_at),
        expires: view.row.expires_at.map(Time),
        own: visitor.caller().actor() == Actor::Token(id),
        active: view.state == TokenState::Active,
    }
}

/// Those of the installation.
pub(super) async fn list(State(console): Shared, visitor: Visitor, fields: Fields, headers: HeaderMap) -> Answer {
    if visitor.caller().organization().is_some() {
        return Err(Fault::NotFound);
    }
    shown(&console, &visitor, None, &fields, &headers).await
}

/// The list, with a token that was just made.
async fn shown(
    console: &Console,
    visitor: &Visitor,
    place: Option<&Place>,
    fields: &Fields,
    headers: &HeaderMap,
) -> Answer {
    let mut page = page(console, visitor, place, fields, Errors::default()).await?;
    page.made = console.once(visitor, headers).map(|once| (once.note, once.text));
    let shows = page.made.is_some();
    Ok(console.shown_once(visitor, &address(place), html(&page), shows))
}

fn address(place: Option<&Place>) -> String {
    place.map_or_else(
        || "/console/tokens".to_owned(),
        |place| format!("{}/tokens", place.base()),
    )
}

/// Those of an organization.
pub(super) async fn list_of_organization(
    State(console): Shared,
    visitor: Visitor,
    Path(organization): Path<String>,
    fields: Fields,
    headers: HeaderMap,
) -> Answer {
    let place = console.enter(&visitor, &organization)?;
    shown(&console, &visitor, Some(&place), &fields, &headers).await
}

async fn page(
    console: &Console,
    visitor: &Visitor,
    place: Option<&Place>,
    fields: &Fields,
    errors: Errors,
) -> AppResult<ListPage> {
    let before = fields.some("before").and_then(|before| before.parse().ok());
    let organization = place.map(Place::name);
    let (views, next) = console
        .app
        .list_tokens(visitor.caller(), organization, before.unwrap_or(i64::MAX), ROWS)
        .await?;
    let frame = match place {
        Some(place) => Frame::within(console, visitor, place, "tokens", "Tokens"),
        None => Frame::new(console, visitor, "tokens", "Tokens"),
    };
    Ok(ListPage {
        frame: frame.after(fields),
        tokens: views.into_iter().map(|view| row(visitor, view)).collect(),
        next,
        organization: organization.map(str::to_owned),
        errors,
        display_name: fields.get("display_name").to_owned(),
        scope: fields.some("scope").unwrap_or("manage").to_owned(),
        for_organization: fields.get("for_organization").to_owned(),
        ttl: fields.get("ttl").to_owned(),
        made: None,
    })
}

/// Makes one, and shows it this once.
pub(super) async fn create(State(console): Shared, sent: Sent) -> Answer {
    let Sent { visitor, fields } = sent;
    let place = fields
        .some("organization")
        .map(|name| console.enter(&visitor, name))
        .transpose()?;
    match make(&console, &visitor, place.as_ref(), &fields).await {
        Ok(view) => {
            let once = Once {
                kind: OnceKind::Token,
                text: view.secret.unwrap_or_default(),
                note: view.row.name,
            };
            Ok(console.show_once(&visitor, &address(place.as_ref()), &once))
        }
        Err(error) => {
            let errors = Errors::of_missing(error, "token", "for_organization", "there is no such organization")?;
            let page = page(&console, &visitor, place.as_ref(), &fields, errors).await?;
            let frame = page.frame.at(address(place.as_ref()));
            Ok(refused(&ListPage { frame, ..page }))
        }
    }
}

async fn make(console: &Console, visitor: &Visitor, place: Option<&Place>, fields: &Fields) -> AppResult<TokenView> {
    let scope = Scope::parse(fields.get("scope"));
    let scope = scope.ok_or_else(|| AppError::invalid("scope", "UNKNOWN_VALUE", "choose one"))?;
    let invalid = |rule: String| AppError::invalid("expire_time", "INVALID_DURATION", rule);
    let ttl = fields.some("ttl").map(units::duration).transpose().map_err(invalid)?;
    if ttl.is_some_and(|ttl| ttl > TTL_MAX) {
        return Err(invalid("must be at most 36500d; empty for ever".to_owned()));
    }
    let expires_at = ttl.map(|ttl| clock::now_us().saturating_add(i64::try_from(ttl.as_micros()).unwrap_or(i64::MAX)));
    let new = NewToken {
        display_name: fields.get("display_name"),
        scope,
        organization: place.map(Place::name).or(fields.some("for_organization")),
        expires_at,
    };
    console.app.create_token(visitor.caller(), new).await
}

#[derive(Template)]
#[template(path = "token_revoke.html")]
struct RevokePage {
    frame: Frame,
    token: Row,
    errors: Errors,
}

/// Asks whether it is meant.
pub(super) async fn confirm_revoke(State(console): Shared, visitor: Visitor, Path(id): Path<String>) -> Answer {
    Ok(html(&revoke_page(&console, &visitor, &id, Errors::default()).await?))
}

async fn revoke_page(console: &Console, visitor: &Visitor, id: &str, errors: Errors) -> Result<RevokePage, Fault> {
    let id = id.parse().map_err(|_| Fault::NotFound)?;
    let view = console.app.get_token(visitor.caller(), id).await?;
    Ok(RevokePage {
        frame: Frame::new(console, visitor, "tokens", "Revoke a token"),
        token: row(visitor, view),
        errors,
    })
}

/// Revokes it.
pub(super) async fn revoke(State(console): Shared, Path(id): Path<String>, sent: Sent) -> Answer {
    let token: TokenId = id.parse().map_err(|_| Fault::NotFound)?;
    match console.app.revoke_token(sent.visitor.caller(), token).await {
        Ok(view) => {
            let all = "/console/tokens".to_owned();
            let own = sent.visitor.caller().organization().and(view.organization);
            let list = own.map_or(all, |name| format!("/console/organizations/{name}/tokens"));
            Ok(Redirect::to(&format!("{list}?done=revoked")).into_response())
        }
        Err(error) => {
            let errors = match error {
                AppError::NotFound { .. } => return Err(Fault::NotFound),
                error => Errors::of(error, "token")?,
            };
            let page = revoke_page(&console, &sent.visitor, &id, errors).await?;
            Ok((StatusCode::CONFLICT, html(&page)).into_response())
        }
    }
}
