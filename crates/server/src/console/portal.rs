//! Portal links: creates, opens and revokes links to the pages of one organization.

use askama::Template;
use axum::{
    extract::{Path, State},
    http::HeaderMap,
    response::{IntoResponse as _, Redirect},
};

use super::{
    Answer, Console, Shared,
    cookies::{Once, OnceKind},
    errors::Errors,
    fault::Fault,
    fields::Fields,
    page::{Frame, Place, html, refused},
    session::{Sent, Visitor},
    show::Time,
    site::Site,
    units,
};
use crate::app::{
    access::Scope,
    error::{AppError, AppResult},
    portal::{NewPortalLink, PortalLink},
};

/// Begins the session of a link, and redirects to its organization.
pub(super) async fn open(State(console): Shared, Path(link): Path<String>) -> Answer {
    let session = console
        .app
        .sign_in_by_link(&link, console.options.is_https())
        .map_err(|error| match error {
            AppError::Unauthenticated(message) => Fault::Link(message),
            error => error.into(),
        })?;
    let own = console.app.own_organization(&session.caller).ok_or(Fault::NotFound)?;
    let mut response = Redirect::to(&Site::Portal.organization(&own.name)).into_response();
    console.keep(&mut response, &session);
    Ok(response)
}

#[derive(Template)]
#[template(path = "portal_links.html")]
struct FormPage {
    frame: Frame,
    ttl: String,
    read_only: bool,
    return_url: String,
    /// The name of a link to revoke.
    link: String,
    errors: Errors,
    made: Option<Made>,
}

/// A new link.
struct Made {
    url: String,
    /// The name to revoke it with.
    id: String,
    expires: Time,
}

/// The form.
pub(super) async fn form(
    State(console): Shared,
    visitor: Visitor,
    Path(organization): Path<String>,
    fields: Fields,
    headers: HeaderMap,
) -> Answer {
    let place = console.enter(&visitor, &organization)?;
    visitor.caller().require_token()?;
    visitor.caller().require_for(Scope::Portal, place.row.id)?;
    let mut page = page(&console, &visitor, &place, &Fields::default(), Errors::default());
    page.frame = page.frame.after(&fields);
    page.made = console.once(&visitor, &headers).map(|once| {
        let (id, expires) = once.note.split_once(' ').unwrap_or_default();
        Made {
            url: once.text,
            id: id.to_owned(),
            expires: Time(expires.parse().unwrap_or_default()),
        }
    });
    let shows = page.made.is_some();
    Ok(console.shown_once(&visitor, &address(&place), html(&page), shows))
}

fn address(place: &Place) -> String {
    format!("{}/portal-links", place.base())
}

fn page(console: &Console, visitor: &Visitor, place: &Place, fields: &Fields, errors: Errors) -> FormPage {
    FormPage {
        frame: Frame::within(console, visitor, place, "portal", "Portal links"),
        ttl: fields.some("ttl").unwrap_or("1h").to_owned(),
        read_only: fields.has("read_only"),
        return_url: fields.get("return_url").to_owned(),
        link: fields.get("portal_link").to_owned(),
        errors,
        made: None,
    }
}

/// Creates a link, and shows it.
pub(super) async fn create(State(console): Shared, Path(organization): Path<String>, sent: Sent) -> Answer {
    let Sent { visitor, fields } = sent;
    let place = console.enter(&visitor, &organization)?;
    match make(&console, &visitor, &place, &fields).await {
        Ok(link) => {
            let once = Once {
                kind: OnceKind::PortalLink,
                text: link.url,
                note: format!("{} {}", link.id, link.expires_at),
            };
            Ok(console.show_once(&visitor, &address(&place), &once))
        }
        Err(error) => {
            let errors = Errors::of(error, "portal_link")?;
            Ok(refused(&page(&console, &visitor, &place, &fields, errors)))
        }
    }
}

/// Revokes a link by its name, as the audit log shows it.
pub(super) async fn revoke(State(console): Shared, Path(organization): Path<String>, sent: Sent) -> Answer {
    let Sent { visitor, fields } = sent;
    let place = console.enter(&visitor, &organization)?;
    match revoke_link(&console, &visitor, &place, &fields).await {
        Ok(()) => Ok(Redirect::to(&format!("{}?done=link-revoked", address(&place))).into_response()),
        Err(error) => {
            let errors = Errors::of(error, "portal_link")?;
            let page = page(&console, &visitor, &place, &fields, errors);
            let frame = page.frame.with_address(address(&place));
            Ok(refused(&FormPage { frame, ..page }))
        }
    }
}

async fn revoke_link(console: &Console, visitor: &Visitor, place: &Place, fields: &Fields) -> AppResult<()> {
    let id = fields.get("portal_link");
    let id = id.strip_prefix("portalLinks/").unwrap_or(id).parse();
    let id = id.map_err(|_| {
        let rule = "is not the name of a link; names begin with lnk_ and are in the audit log";
        AppError::invalid("portal_link", "INVALID_ID", rule)
    })?;
    console.app.revoke_portal_link(visitor.caller(), place.name(), id).await
}

async fn make(console: &Console, visitor: &Visitor, place: &Place, fields: &Fields) -> AppResult<PortalLink> {
    let ttl =
        units::duration(fields.get("ttl")).map_err(|error| AppError::invalid("ttl", "INVALID_DURATION", error))?;
    let new = NewPortalLink {
        organization: place.name(),
        ttl,
        read_only: fields.has("read_only"),
        return_url: fields.get("return_url"),
    };
    console.app.create_portal_link(visitor.caller(), new).await
}
