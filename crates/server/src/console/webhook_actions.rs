//! Actions on a webhook: pause, resume, ping, rotate and reveal its secret, delete.

use askama::Template;
use axum::{
    extract::{Path, State},
    response::{IntoResponse as _, Redirect, Response},
};
use hookwright_delivery::clock;
use hookwright_domain::id::WebhookId;

use super::{
    Answer, Console, Shared,
    cookies::{Once, OnceKind},
    errors::Errors,
    fault::Fault,
    fields::Fields,
    operations,
    page::{Frame, Place, html, refused},
    session::{Sent, Visitor},
    units,
    webhooks::{self, Rotation},
};
use crate::app::{
    access::Scope,
    error::{AppError, AppResult},
    webhooks::{
        WebhookSpec,
        rotation::{self, IN_PROGRESS, NewSecret},
    },
};

type Which = Path<(String, String)>;

/// Redirects to the webhook's page, which shows the result.
pub(super) fn back(place: &Place, id: WebhookId, done: &str) -> Response {
    Redirect::to(&format!("{}?done={done}", webhooks::address(place, id))).into_response()
}

/// Pauses the webhook.
pub(super) async fn pause(State(console): Shared, Path(which): Which, sent: Sent) -> Answer {
    let (place, id) = console.enter_at::<WebhookId>(&sent.visitor, which)?;
    let change = |spec| WebhookSpec { active: false, ..spec };
    console
        .app
        .update_webhook(sent.visitor.caller(), place.name(), id, None, change)
        .await?;
    Ok(back(&place, id, "paused"))
}

/// Resumes the webhook, with or without its backlog.
pub(super) async fn resume(State(console): Shared, Path(which): Which, sent: Sent) -> Answer {
    let (place, id) = console.enter_at::<WebhookId>(&sent.visitor, which)?;
    let discard = sent.fields.get("backlog") == "discard";
    if discard && !sent.fields.has("confirmed") {
        return Ok(Redirect::to(&format!("{}/discard", webhooks::address(&place, id))).into_response());
    }
    let (view, _) = console
        .app
        .resume_webhook(sent.visitor.caller(), place.name(), id, discard)
        .await?;
    let done = match (discard, view.operation) {
        (false, _) => "resumed",
        (true, None) => "discarded",
        (true, Some(_)) => "discarding",
    };
    Ok(back(&place, id, done))
}

/// Sends a ping, and redirects to its delivery.
pub(super) async fn ping(State(console): Shared, Path(which): Which, sent: Sent) -> Answer {
    let (place, id) = console.enter_at::<WebhookId>(&sent.visitor, which)?;
    let delivery = console
        .app
        .ping_webhook(sent.visitor.caller(), place.name(), id)
        .await?;
    Ok(Redirect::to(&format!("{}/deliveries/{delivery}?done=pinged", place.base())).into_response())
}

/// Rotates the signing secret and shows the new one.
pub(super) async fn rotate(State(console): Shared, Path(which): Which, sent: Sent) -> Answer {
    let Sent { visitor, fields } = sent;
    let (place, id) = console.enter_at::<WebhookId>(&visitor, which)?;
    let overlap = fields.get("overlap");
    match rotated(&console, &visitor, &place, id, &fields).await {
        Ok(rotation) => {
            let signs_on = rotation.old_expires_at > clock::now_us();
            let once = Once {
                kind: OnceKind::Rotated,
                text: rotation.secret.expose().to_owned(),
                note: if signs_on {
                    rotation.old_expires_at.to_string()
                } else {
                    String::new()
                },
            };
            Ok(console.show_once(&visitor, &webhooks::address(&place, id), &once))
        }
        Err(error) => {
            let errors = match error {
                AppError::Precondition {
                    reason: IN_PROGRESS, ..
                } => Errors::one(
                    "ends_older",
                    "a rotation is in progress: tick the box to end the older secret now, or complete the rotation first",
                ),
                error => Errors::of(error, "webhook")?,
            };
            let rotation = Rotation {
                overlap: overlap.to_owned(),
                errors,
            };
            webhooks::not_rotated(&console, &visitor, &place, id, rotation).await
        }
    }
}

async fn rotated(
    console: &Console,
    visitor: &Visitor,
    place: &Place,
    id: WebhookId,
    fields: &Fields,
) -> AppResult<rotation::Rotation> {
    let overlap = units::duration(fields.get("overlap"));
    let overlap = overlap.map_err(|error| AppError::invalid("overlap", "INVALID_DURATION", error))?;
    let new = NewSecret {
        secret: fields.untrimmed("signing_secret"),
        overlap,
        ends_older: fields.has("ends_older"),
    };
    console.app.rotate_secret(visitor.caller(), place.name(), id, new).await
}

/// Ends the overlap of a rotation.
pub(super) async fn complete_rotation(State(console): Shared, Path(which): Which, sent: Sent) -> Answer {
    let (place, id) = console.enter_at::<WebhookId>(&sent.visitor, which)?;
    console
        .app
        .complete_rotation(sent.visitor.caller(), place.name(), id)
        .await?;
    Ok(back(&place, id, "completed"))
}

/// Reveals the signing secret.
pub(super) async fn reveal(State(console): Shared, Path(which): Which, sent: Sent) -> Answer {
    let (place, id) = console.enter_at::<WebhookId>(&sent.visitor, which)?;
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

/// Asks for confirmation.
pub(super) async fn confirm_delete(State(console): Shared, visitor: Visitor, Path(which): Which) -> Answer {
    let (place, id) = console.enter_at::<WebhookId>(&visitor, which)?;
    Ok(html(&delete_page(&console, &visitor, &place, id, Errors::default())?))
}

fn delete_page(
    console: &Console,
    visitor: &Visitor,
    place: &Place,
    id: WebhookId,
    errors: Errors,
) -> Result<DeletePage, Fault> {
    visitor.caller().require_for(Scope::Manage, place.row.id)?;
    console.app.get_webhook(visitor.caller(), place.name(), id)?;
    Ok(DeletePage {
        frame: Frame::within(console, visitor, place, "webhooks", "Delete webhook"),
        id: id.to_string(),
        target: console.target(visitor, place, id)?,
        errors,
    })
}

/// Deletes the webhook, if confirmed.
pub(super) async fn delete(State(console): Shared, Path(which): Which, sent: Sent) -> Answer {
    let Sent { visitor, fields } = sent;
    let (place, id) = console.enter_at::<WebhookId>(&visitor, which)?;
    if !fields.has("confirmed") {
        let errors = Errors::one("confirmed", "tick the box to confirm");
        return Ok(refused(&delete_page(&console, &visitor, &place, id, errors)?));
    }
    let operation = console.app.delete_webhook(visitor.caller(), place.name(), id).await?;
    let done = operations::deleted(operation);
    Ok(Redirect::to(&format!("{}/webhooks?done={done}", place.base())).into_response())
}
