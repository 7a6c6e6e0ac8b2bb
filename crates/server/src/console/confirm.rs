//! Confirmation pages for actions that cancel deliveries, with the number of deliveries concerned.

use askama::Template;
use axum::{
    extract::{Path, State},
    response::{IntoResponse as _, Redirect},
};
use hookwright_domain::id::{DeliveryId, WebhookId};

use super::{
    Answer, Shared,
    page::{Frame, html},
    session::{Sent, Visitor},
    show::count,
    webhooks,
};
use crate::app::{access::Scope, webhooks::resume::COUNTED_MAX};

type Which = Path<(String, String)>;

const NOT_SENT: &str = "Cancelled deliveries are not sent; you can replay them later.";

#[derive(Template)]
#[template(path = "confirm.html")]
struct ConfirmPage {
    frame: Frame,
    /// The action, up to the webhook's name.
    sentence: String,
    target: String,
    /// The consequence.
    rest: &'static str,
    action: String,
    fields: Vec<(&'static str, &'static str)>,
    button: String,
    back: String,
    keep: &'static str,
}

/// Asks whether to cancel a webhook's backlog when it is resumed.
pub(super) async fn discard(State(console): Shared, visitor: Visitor, Path(which): Which) -> Answer {
    let (place, id) = console.enter_at::<WebhookId>(&visitor, which)?;
    let caller = visitor.caller();
    caller.require_for(Scope::Manage, place.row.id)?;
    let view = console.app.get_webhook(caller, place.name(), id)?;
    let back = webhooks::address(&place, id);
    if view.row.active {
        return Ok(Redirect::to(&back).into_response());
    }
    let waiting = console.app.count_waiting_for(caller, place.name(), id).await?;
    let (sentence, rest, button) = match waiting {
        0 => (
            "This resumes the webhook. There is no backlog for".to_owned(),
            "",
            "Resume".to_owned(),
        ),
        _ => {
            let waiting = deliveries(waiting);
            let sentence = format!("This resumes the webhook and cancels {waiting} to");
            (sentence, NOT_SENT, format!("Resume and cancel {waiting}"))
        }
    };
    let page = ConfirmPage {
        frame: Frame::within(&console, &visitor, &place, "webhooks", "Resume and discard backlog"),
        sentence,
        target: console.target(&visitor, &place, id)?,
        rest,
        action: format!("{back}/resume"),
        fields: vec![("backlog", "discard"), ("confirmed", "yes")],
        button,
        back,
        keep: "Keep paused",
    };
    Ok(html(&page))
}

fn deliveries(waiting: usize) -> String {
    match waiting {
        1 => "1 pending delivery".to_owned(),
        ..=COUNTED_MAX => format!(
            "{} pending deliveries",
            count(i64::try_from(waiting).unwrap_or(i64::MAX))
        ),
        _ => format!("more than {} pending deliveries", count(COUNTED_MAX as i64)),
    }
}

/// How a delivery is ended before it is delivered.
#[derive(Clone, Copy)]
enum Ending {
    Cancel,
    Skip,
}

impl Ending {
    const fn name(self) -> &'static str {
        match self {
            Self::Cancel => "cancel",
            Self::Skip => "skip",
        }
    }

    /// Title, verb, and button text.
    const fn words(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Cancel => ("Cancel a delivery", "cancels", "Cancel delivery"),
            Self::Skip => ("Skip a delivery", "skips", "Skip delivery"),
        }
    }

    const fn rest(self) -> &'static str {
        match self {
            Self::Cancel => NOT_SENT,
            Self::Skip => {
                "A skipped delivery is not sent, and the next delivery of its key is; you can replay it later."
            }
        }
    }
}

/// Asks whether to cancel a delivery.
pub(super) async fn cancel(console: Shared, visitor: Visitor, which: Which) -> Answer {
    ask(console, visitor, which, Ending::Cancel).await
}

/// Asks whether to skip a delivery.
pub(super) async fn skip(console: Shared, visitor: Visitor, which: Which) -> Answer {
    ask(console, visitor, which, Ending::Skip).await
}

async fn ask(State(console): Shared, visitor: Visitor, Path(which): Which, ending: Ending) -> Answer {
    let (place, id) = console.enter_at::<DeliveryId>(&visitor, which)?;
    let caller = visitor.caller();
    caller.require_for(Scope::Manage, place.row.id)?;
    let record = console.app.get_delivery(caller, place.name(), id).await?;
    let back = format!("{}/deliveries/{id}", place.base());
    if record.state.is_final() {
        return Ok(Redirect::to(&back).into_response());
    }
    let (title, does, button) = ending.words();
    let page = ConfirmPage {
        frame: Frame::within(&console, &visitor, &place, "deliveries", title),
        sentence: format!("This {does} delivery {id} of {} to", record.event_type),
        target: console.target(&visitor, &place, WebhookId::from_raw(record.webhook_id))?,
        rest: ending.rest(),
        action: format!("{back}/{}", ending.name()),
        fields: vec![("confirmed", "yes")],
        button: button.to_owned(),
        back,
        keep: "Back",
    };
    Ok(html(&page))
}

/// Cancels a delivery, if confirmed.
pub(super) async fn cancel_delivery(console: Shared, which: Which, sent: Sent) -> Answer {
    end(console, which, sent, Ending::Cancel).await
}

/// Skips a delivery, if confirmed.
pub(super) async fn skip_delivery(console: Shared, which: Which, sent: Sent) -> Answer {
    end(console, which, sent, Ending::Skip).await
}

async fn end(State(console): Shared, Path(which): Which, sent: Sent, ending: Ending) -> Answer {
    let (place, id) = console.enter_at::<DeliveryId>(&sent.visitor, which)?;
    let (app, caller, name) = (&console.app, sent.visitor.caller(), ending.name());
    let address = format!("{}/deliveries/{id}", place.base());
    if !sent.fields.has("confirmed") {
        app.get_delivery(caller, place.name(), id).await?;
        return Ok(Redirect::to(&format!("{address}/{name}")).into_response());
    }
    match ending {
        Ending::Cancel => app.cancel_delivery(caller, place.name(), id).await?,
        Ending::Skip => app.skip_delivery(caller, place.name(), id).await?,
    };
    Ok(Redirect::to(&format!("{address}?done={name}")).into_response())
}
