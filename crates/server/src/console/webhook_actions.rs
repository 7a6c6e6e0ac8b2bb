//! What can be done with a webhook: pause, resume, ping, rotate its secret, show it, delete it.

use askama::Template;
use axum::{
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse as _, Redirect, Response},
};
use hookwright_domain::id::WebhookId;

use super::{
    Answer, Console, Shared,
    cookies::{Once, OnceKind},
    errors::Errors,
    fault::Fault,
    page::{Frame, Place, html},
    session::{Sent, Visitor},
    show::Time,
    units,
    webhooks::{self, Rotation, target},
};
use crate::app::{error::AppError, webhooks::WebhookSpec};

type Which = Path<(String, String)>;

/// The organization and webhook of an address.
fn which(
    console: &Console,
    visitor: &Visitor,
    (organization, id): (String, String),
) -> Result<(Place, WebhookId), Fault> {
    let place = console.enter(visitor, &organization)?;
    let id = id.parse().map_err(|_| Fault::NotFound)?;
    Ok((place, id))
}

fn back(place: &Place, id: WebhookId, done: &str) -> Response {
    Redirect::to(&format!("{}/webhooks/{id}?done={done}", place.base())).into_response()
}

/// Stops sending.
pub(super) async fn pause(State(console): Shared, Path(which_one): Which, sent: Sent) -> Answer {
    let (place, id) = which(&console, &sent.visitor, which_one)?;
    let change = |spec| WebhookSpec { active: false, ..spec };
    console
        .app
        .update_webhook(sent.visitor.caller(), place.name(), id, None, change)
        .await?;
    Ok(back(&place, id, "paused"))
}

/// Sends again, with what waits or without.
pub(super) async fn resume(State(console): Shared, Path(which_one): Which, sent: Sent) -> Answer {
    let (place, id) = which(&console, &sent.visitor, which_one)?;
    let discard = sent.fields.get("backlog") == "discard";
    console
        .app
        .resume_webhook(sent.visitor.caller(), place.name(), id, discard)
        .await?;
    Ok(back(&place, id, if discard { "discarded" } else { "resumed" }))
}

/// Sends a ping, and leads to its delivery.
pub(super) async fn ping(State(console): Shared, Path(which_one): Which, sent: Sent) -> Answer {
    let (place, id) = which(&console, &sent.visitor, which_one)?;
    let delivery = console
        .app
        .ping_webhook(sent.visitor.caller(), place.name(), id)
        .await?;
    Ok(Redirect::to(&format!("{}/deliveries/{delivery}?done=pinged", place.base())).into_response())
}

/// Makes a new signing secret and shows it.
pub(super) async fn rotate(State(console): Shared, Path(which_one): Which, sent: Sent) -> Answer {
    let Sent { visitor, fields } = sent;
    let (place, id) = which(&console, &visitor, which_one)?;
    let overlap = fields.get("overlap");
    let rotated = match units::duration(overlap) {
        Ok(overlap) => {
            let caller = visitor.caller();
            let secret = fields.some("signing_secret");
            console
                .app
                .rotate_secret(caller, place.name(), id, secret, overlap)
                .await
        }
        Err(error) => Err(AppError::invalid("overlap", "INVALID_DURATION", error)),
    };
    match rotated {
        Ok(rotation) => {
            let once = Once {
                kind: OnceKind::Rotated,
                text: rotation.secret.expose().to_owned(),
                note: Time(rotation.old_expires_at).plain(),
            };
            Ok(console.show_once(&visitor, &webhooks::address(&place, id), &once))
        }
        Err(error) => {
            let rotation = Rotation {
                overlap: overlap.to_owned(),
                errors: Errors::of(error, "webhook")?,
            };
            webhooks::not_rotated(&console, &visitor, &place, id, rotation).await
        }
    }
}

/// Ends the overlap of a rotation.
pub(super) async fn complete_rotation(State(console): Shared, Path(which_one): Which, sent: Sent) -> Answer {
    let (place, id) = which(&console, &sent.visitor, which_one)?;
    console
        .app
        .complete_rotation(sent.visitor.caller(), place.name(), id)
        .await?;
    Ok(back(&place, id, "completed"))
}

/// Shows the signing secret.
pub(super) async fn reveal(State(console): Shared, Path(which_one): Which, sent: Sent) -> Answer {
    let (place, id) = which(&console, &sent.visitor, which_one)?;
    let secret = console
        .app
        .reveal_secret(sent.visitor.caller(), place.name(), id)
        .await?;
    let once = Once {
        kind: OnceKind::Revealed,
        text: secret.expose().to_owned(),
        note: String::new(),
    };
    Ok(console.show_once(&sent.visitor, &webhooks::address(&place, id), &once))
}

#[derive(Template)]
#[template(path = "webhook_delete.html")]
struct DeletePage {
    frame: Frame,
    id: String,
    target: String,
    errors: Errors,
}

/// Asks whether it is meant.
pub(super) async fn confirm_delete(State(console): Shared, visitor: Visitor, Path(which_one): Which) -> Answer {
    let (place, id) = which(&console, &visitor, which_one)?;
    Ok(html(&delete_page(&console, &visitor, &place, id, Errors::default())?))
}

fn delete_page(
    console: &Console,
    visitor: &Visitor,
    place: &Place,
    id: WebhookId,
    errors: Errors,
) -> Result<DeletePage, Fault> {
    let view = console.app.get_webhook(visitor.caller(), place.name(), id)?;
    Ok(DeletePage {
        frame: Frame::within(console, visitor, place, "webhooks", "Delete a webhook"),
        id: id.to_string(),
        target: target(&view.row.payload_url),
        errors,
    })
}

/// Deletes it, if that was confirmed.
pub(super) async fn delete(State(console): Shared, Path(which_one): Which, sent: Sent) -> Answer {
    let Sent { visitor, fields } = sent;
    let (place, id) = which(&console, &visitor, which_one)?;
    if !fields.has("confirmed") {
        let mut errors = Errors::default();
        errors.add("confirmed", "tick the box to say that you mean it");
        let page = delete_page(&console, &visitor, &place, id, errors)?;
        return Ok((StatusCode::UNPROCESSABLE_ENTITY, html(&page)).into_response());
    }
    console.app.delete_webhook(visitor.caller(), place.name(), id).await?;
    Ok(Redirect::to(&format!("{}/webhooks?done=deleted", place.base())).into_response())
}
