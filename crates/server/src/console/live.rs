//! Live deliveries for open pages: server-sent events, each with the current row of a list.

use std::{convert::Infallible, sync::Arc, time::Duration};

use askama::Template;
use axum::{
    extract::{Path, State},
    http::HeaderMap,
    response::{
        IntoResponse as _, Sse,
        sse::{Event, KeepAlive},
    },
};
use futures::stream;
use hookwright_delivery::clock;
use hookwright_storage::DeliveryFilter;

use super::{
    Answer, Console, Shared,
    deliveries::{Row, filter, row},
    fault::Fault,
    fields::Fields,
    page::Place,
    session::Visitor,
};
use crate::app::{
    error::{AppError, AppResult},
    watch::DeliveryWatch,
};

/// Delay before a browser reconnects.
const AGAIN: Duration = Duration::from_secs(2);

#[derive(Template)]
#[template(path = "delivery_row.html")]
struct RowPage<'a> {
    delivery: &'a Row,
    show_webhook: bool,
}

/// The stream of one reader.
struct Tail {
    console: Arc<Console>,
    visitor: Visitor,
    place: Place,
    watch: DeliveryWatch,
    /// The list's filter.
    listed: DeliveryFilter,
    show_webhook: bool,
    /// The queue of rows to send, last first.
    told: Vec<Event>,
}

/// The stream. A browser that lost it resumes after the last event id that it saw. A page that reopens it cannot send that
/// id as a header, and passes it as `after`.
pub(super) async fn deliveries(
    State(console): Shared,
    visitor: Visitor,
    Path(organization): Path<String>,
    fields: Fields,
    headers: HeaderMap,
) -> Answer {
    let place = console.enter(&visitor, &organization)?;
    let (asked, errors) = filter(&fields);
    if !errors.is_empty() {
        return Err(Fault::Form("The filter of this stream is malformed.".to_owned()));
    }
    let show_webhook = asked.webhook_id.is_none() || fields.has("webhook_column");
    let header = headers.get("last-event-id").and_then(|value| value.to_str().ok());
    let seen = header.unwrap_or_else(|| fields.get("after"));
    // Deliveries that leave the list by their state or error are sent too, because rows on the page show their current
    // state.
    let watched = DeliveryFilter {
        states: Vec::new(),
        error_classes: Vec::new(),
        ..asked.clone()
    };
    let (app, caller) = (&console.app, visitor.caller());
    let (watch, how) = match app.watch_deliveries(caller, &organization, watched.clone(), seen).await {
        // An unknown position: begins at the current one, and says so.
        Err(AppError::Invalid(_) | AppError::Precondition { .. }) if !seen.is_empty() => {
            let watch = app.watch_deliveries(caller, &organization, watched, "").await?;
            (watch, "anew")
        }
        watch => (watch?, "live"),
    };
    let begun = Event::default()
        .event("begun")
        .id(watch.resume_token())
        .retry(AGAIN)
        .data(how);
    let tail = Tail {
        console,
        visitor,
        place,
        watch,
        listed: asked,
        show_webhook,
        told: vec![begun],
    };
    let events = stream::unfold(tail, |mut tail| async move {
        let event = tail.next().await?;
        Some((Ok::<_, Infallible>(event), tail))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::default()).into_response())
}

impl Tail {
    /// The next event; `None` at the end.
    async fn next(&mut self) -> Option<Event> {
        let console = Arc::clone(&self.console);
        while self.told.is_empty() {
            let caller = self.visitor.caller().clone();
            let found = tokio::select! {
                found = self.look() => found,
                denied = console.app.until_denied(&caller) => Err(denied),
            };
            // The stream ends with the session, with the server, or when the store does not answer: the browser reconnects.
            self.told = found.ok()?;
            self.told.reverse();
        }
        self.told.pop()
    }

    async fn look(&mut self) -> AppResult<Vec<Event>> {
        let seen = self.watch.next().await?;
        if !self.visitor.is_signed_in(&self.console) {
            return Err(AppError::Unauthenticated("the session has ended"));
        }
        let targets = self.console.targets(&self.visitor, &self.place).unwrap_or_default();
        let now = clock::now_us();
        let count = seen.deliveries.len();
        let events = seen.deliveries.into_iter().enumerate().filter_map(|(index, record)| {
            let name = if self.listed.matches(&record) {
                "delivery"
            } else {
                "other"
            };
            let row = row(&self.place, &targets, record, now);
            let page = RowPage {
                delivery: &row,
                show_webhook: self.show_webhook,
            };
            let text = page.render().ok()?;
            let event = Event::default().event(name).data(text.trim());
            // Only the last event moves the resume position: a reader that is cut off before it gets all of them again.
            Some(if index + 1 == count {
                event.id(&seen.resume_token)
            } else {
                event
            })
        });
        Ok(events.collect())
    }
}
