//! Deliveries as they change, for pages that are open: server-sent events, each with the row of a list as it is now.

use std::{convert::Infallible, sync::Arc, time::Duration};

use askama::Template;
use axum::{
    extract::{OriginalUri, Path, State},
    http::HeaderMap,
    response::{
        IntoResponse as _, Sse,
        sse::{Event, KeepAlive},
    },
};
use futures::stream;
use hookwright_delivery::clock;

use super::{
    Answer, Console, Shared,
    deliveries::{self, Row, filter, row},
    fault::Fault,
    fields::Fields,
    page::Place,
    session::Visitor,
};
use crate::app::{
    error::{AppError, AppResult},
    watch::DeliveryWatch,
};

/// How long a browser waits before it connects again.
const AGAIN: Duration = Duration::from_secs(2);

#[derive(Template)]
#[template(path = "delivery_row.html")]
struct RowPage<'a> {
    delivery: &'a Row,
    show_webhook: bool,
}

/// What one reader is told.
struct Tail {
    console: Arc<Console>,
    visitor: Visitor,
    place: Place,
    watch: DeliveryWatch,
    show_webhook: bool,
    /// What is told next, last first.
    told: Vec<Event>,
}

/// The stream. A browser that lost it goes on where it was, by the id of what it saw last.
pub(super) async fn deliveries(
    State(console): Shared,
    visitor: Visitor,
    Path(organization): Path<String>,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
) -> Answer {
    let place = console.enter(&visitor, &organization)?;
    let fields = Fields::parse(uri.query().unwrap_or_default().as_bytes());
    let (asked, errors) = filter(&fields);
    if !errors.is_empty() {
        return Err(Fault::Form("The filter of this stream means nothing.".to_owned()));
    }
    let show_webhook = asked.webhook_id.is_none() || fields.has("webhook_column");
    let seen = headers
        .get("last-event-id")
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let watch = match console
        .app
        .watch_deliveries(visitor.caller(), &organization, asked.clone(), seen)
        .await
    {
        // A place that is no longer known: begin where everything is now.
        Err(AppError::Invalid(_) | AppError::Precondition { .. }) if !seen.is_empty() => {
            console
                .app
                .watch_deliveries(visitor.caller(), &organization, asked, "")
                .await?
        }
        watch => watch?,
    };
    let begun = Event::default()
        .event("begun")
        .id(watch.resume_token())
        .retry(AGAIN)
        .data("live");
    let tail = Tail {
        console,
        visitor,
        place,
        watch,
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
    /// What is told next; `None` when nothing more is.
    async fn next(&mut self) -> Option<Event> {
        let console = Arc::clone(&self.console);
        while self.told.is_empty() {
            let caller = self.visitor.caller().clone();
            let found = tokio::select! {
                found = self.look() => found,
                denied = console.app.until_denied(&caller) => Err(denied),
            };
            // The stream ends with the session, with the server, or where the store does not answer: the browser asks again.
            self.told = found.ok()?;
            self.told.reverse();
        }
        self.told.pop()
    }

    async fn look(&mut self) -> AppResult<Vec<Event>> {
        let seen = self.watch.next().await?;
        if !self.visitor.is_signed_in(&self.console) {
            return Err(AppError::Unauthenticated("the session is over"));
        }
        let targets = match self.console.targets(&self.visitor, &self.place) {
            Ok(targets) => targets,
            Err(_) => deliveries::Targets::new(),
        };
        let now = clock::now_us();
        let count = seen.deliveries.len();
        let events = seen.deliveries.into_iter().enumerate().filter_map(|(index, record)| {
            let row = row(&self.place, &targets, record, now);
            let page = RowPage {
                delivery: &row,
                show_webhook: self.show_webhook,
            };
            let text = page.render().ok()?;
            let event = Event::default().event("delivery").data(text.trim());
            // Only the last one moves the place to go on from: whoever is cut off before it is told all of them again.
            Some(if index + 1 == count {
                event.id(&seen.resume_token)
            } else {
                event
            })
        });
        Ok(events.collect())
    }
}
