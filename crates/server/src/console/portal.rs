//! The portal: links that let a customer into the pages of one organization, made here and opened here.

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

/// Begins the session that a link opens, and leads to its organization.
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
    errors: Errors,
    made: Option<Made>,
}

/// A link that was just made.
struct Made {
    url: String,
    expires: Time,
}

/// The form.
pub(super) async fn form(
    State(console): Shared,
    visitor: Visitor,
    Path(organization): Path<String>,
    headers: HeaderMap,
) -> Answer {
    let place = console.enter(&visitor, &organization)?;
    visitor.caller().require_token()?;
    visitor.caller().require_for(Scope::Manage, place.row.id)?;
    let mut page = page(&console, &visitor, &place, &Fields::default(), Errors::default());
    page.made = console.once(&visitor, &headers).map(|once| Made {
        url: once.text,
        expires: Time(once.note.parse().unwrap_or_default()),
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
        errors,
        made: None,
    }
}

/// Makes a link, and shows it.
pub(super) async fn create(State(console): Shared, Path(organization): Path<String>, sent: Sent) -> Answer {
    let Sent { visitor, fields } = sent;
    let place = console.enter(&visitor, &organization)?;
    match make(&console, &visitor, &place, &fields).await {
        Ok(link) => {
            let once = Once {
                kind: OnceKind::PortalLink,
                text: link.url,
                note: link.expires_at.to_string(),
            };
            Ok(console.show_once(&visitor, &address(&place), &once))
        }
        Err(error) => {
            let errors = Errors::of(error, "portal_link")?;
            Ok(refused(&page(&console, &visitor, &place, &fields, errors)))
        }
    }
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
