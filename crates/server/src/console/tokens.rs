//! Tokens of the installation or of one organization: create, show once, revoke.

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
    page::{self, Frame, Place, html, refused},
    pages::{Cursor, Pages},
    session::{Sent, Visitor},
    show::{Badge, Time},
    units,
};
use crate::app::{
    access::{Actor, Scope},
    error::{AppError, AppResult},
    tokens::{NewToken, TokenState, TokenView},
};

/// The maximum lifetime of a token with an expiry.
const TTL_MAX: Duration = Duration::from_secs(36_500 * 86_400);

#[derive(Template)]
#[template(path = "tokens.html")]
struct ListPage {
    frame: Frame,
    tokens: Vec<Row>,
    pages: Pages,
    /// The organization of the tokens; `None` for all.
    organization: Option<String>,
    errors: Errors,
    display_name: String,
    scope: String,
    for_organization: String,
    ttl: String,
    /// A new token: its name and its secret.
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
    /// Whether it is the visitor's own.
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
            TokenState::Active => Badge::new("check", "good", "active"),
            TokenState::Expired => Badge::new("clock", "calm", "expired"),
            TokenState::Revoked => Badge::new("ban", "calm", "revoked"),
        },
        created: Time(view.row.created_at),
        expires: view.row.expires_at.map(Time),
        own: visitor.caller().actor() == Actor::Token(id),
        active: view.state == TokenState::Active,
    }
}

/// The installation's tokens.
pub(super) async fn list(State(console): Shared, visitor: Visitor, fields: Fields, headers: HeaderMap) -> Answer {
    console.enter_installation(&visitor)?;
    shown(&console, &visitor, None, &fields, &headers).await
}

/// The list, with a new token.
async fn shown(
    console: &Console,
    visitor: &Visitor,
    place: Option<&Place>,
    fields: &Fields,
    headers: &HeaderMap,
) -> Answer {
    let mut page = list_page(console, visitor, place, fields, Errors::default()).await?;
    page.made = console.once(visitor, headers).map(|once| (once.note, once.text));
    let shows = page.made.is_some();
    Ok(console.shown_once(visitor, &address(place), html(&page), shows))
}

fn address(place: Option<&Place>) -> String {
    page::address(place, "tokens")
}

/// An organization's tokens.
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

/// The list, with the errors of a form if there are any.
async fn list_page(
    console: &Console,
    visitor: &Visitor,
    place: Option<&Place>,
    fields: &Fields,
    errors: Errors,
) -> AppResult<ListPage> {
    visitor.caller().require_any(Scope::Admin)?;
    // A form with errors is shown above the first page of the list.
    let of_list = if errors.is_empty() { fields } else { &Fields::default() };
    let mut wrong = Errors::default();
    let cursor = Cursor::before(of_list, &mut wrong);
    let organization = place.map(Place::name);
    let asked = console
        .app
        .list_tokens(visitor.caller(), organization, cursor.below(), ROWS);
    let (views, next) = wrong.found(asked, "token").await?;
    let address = address(place);
    Ok(ListPage {
        frame: Frame::at(console, visitor, place, "tokens", "Tokens").after(fields),
        tokens: views.into_iter().map(|view| row(visitor, view)).collect(),
        pages: cursor.pages(&address, of_list, next),
        organization: organization.map(str::to_owned),
        errors: errors.or(wrong),
        display_name: fields.get("display_name").to_owned(),
        scope: fields.some("scope").unwrap_or("manage").to_owned(),
        for_organization: fields.get("for_organization").to_owned(),
        ttl: fields.get("ttl").to_owned(),
        made: None,
    })
}

/// Creates a token, and shows it once.
pub(super) async fn create(State(console): Shared, sent: Sent) -> Answer {
    let Sent { visitor, fields } = sent;
    let named = fields.some("organization");
    let place = named.map(|name| console.enter(&visitor, name)).transpose()?;
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
            let errors = Errors::of_missing(error, "token", "for_organization", "does not exist")?;
            let page = list_page(&console, &visitor, place.as_ref(), &fields, errors).await?;
            let frame = page.frame.with_address(address(place.as_ref()));
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
        return Err(invalid("must be at most 36500d; leave empty for no expiry".to_owned()));
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
    /// The list to return to: its address, and its organization.
    list: String,
    organization: Option<String>,
    errors: Errors,
}

/// Asks for confirmation.
pub(super) async fn confirm_revoke(
    State(console): Shared,
    visitor: Visitor,
    Path(id): Path<String>,
    fields: Fields,
) -> Answer {
    let page = revoke_page(&console, &visitor, &id, &fields, Errors::default());
    Ok(html(&page.await?))
}

async fn revoke_page(
    console: &Console,
    visitor: &Visitor,
    id: &str,
    fields: &Fields,
    errors: Errors,
) -> Result<RevokePage, Fault> {
    let id = id.parse().map_err(|_| Fault::NotFound)?;
    let view = console.app.get_token(visitor.caller(), id).await?;
    let place = list_of(console, visitor, fields)?;
    Ok(RevokePage {
        frame: Frame::at(console, visitor, place.as_ref(), "tokens", "Revoke token"),
        token: row(visitor, view),
        list: address(place.as_ref()),
        organization: place.map(|place| place.name().to_owned()),
        errors,
    })
}

/// The organization of the list from which a token is revoked, if it is not the installation's.
fn list_of(console: &Console, visitor: &Visitor, fields: &Fields) -> Result<Option<Place>, Fault> {
    let own = console.app.own_organization(visitor.caller()).map(|row| row.name);
    let named = fields.some("organization").map(str::to_owned).or(own);
    named.map(|name| console.enter(visitor, &name)).transpose()
}

/// Revokes the token.
pub(super) async fn revoke(State(console): Shared, Path(id): Path<String>, sent: Sent) -> Answer {
    let token: TokenId = id.parse().map_err(|_| Fault::NotFound)?;
    let list = list_of(&console, &sent.visitor, &sent.fields)?;
    match console.app.revoke_token(sent.visitor.caller(), token).await {
        Ok(_) => {
            let list = address(list.as_ref());
            Ok(Redirect::to(&format!("{list}?done=revoked")).into_response())
        }
        Err(error) => {
            let errors = match error {
                AppError::NotFound { .. } => return Err(Fault::NotFound),
                error => Errors::of(error, "token")?,
            };
            let page = revoke_page(&console, &sent.visitor, &id, &sent.fields, errors).await?;
            Ok((StatusCode::CONFLICT, html(&page)).into_response())
        }
    }
}
