//! One delivery: its attempts, and one of them with request and response.

mod curl;

use askama::Template;
use axum::extract::{Path, State};
use hookwright_delivery::{clock, details::AttemptDetails};
use hookwright_domain::{
    id::{DeliveryId, EventId},
    outcome::DeliveryState,
};
use hookwright_storage::{AttemptRow, AttemptSummary, BLOCKED_COUNTED, DeliveryRecord};

use super::{
    Answer, ROWS, Shared,
    deliveries::{Row, row},
    downloads::payload_file,
    fault::Fault,
    fields::Fields,
    page::{Frame, html},
    session::Visitor,
    show::{Badge, Time, beginning, counted_up_to, duration, size},
};
use crate::app::error::{AppError, AppResult};

/// Maximum bytes of a body on a page.
pub(super) const BODY_SHOWN: usize = 4 << 10;

#[derive(Template)]
#[template(path = "delivery.html")]
struct ShowPage {
    frame: Frame,
    delivery: Row,
    next_at: Option<Time>,
    ordering_key: String,
    /// The deliveries that it blocks, if it is paused.
    behind: Option<String>,
    /// Some attempts, in order.
    attempts: Vec<Line>,
    /// The addresses of the lists of earlier and of the latest attempts, if those differ from this one.
    earlier: Option<String>,
    last: Option<String>,
    attempt: Option<Shown>,
    payload: Body,
    payload_gone: bool,
    /// Maximum size of a payload in the command itself.
    inline_max: String,
    may: May,
    /// Whether the delivery can still change, so that the page refreshes.
    open: bool,
}

/// The possible actions.
struct May {
    retry: bool,
    skip: bool,
    cancel: bool,
    replay: bool,
}

/// An attempt in the list.
struct Line {
    number: i32,
    outcome: Badge,
    words: String,
    started: Time,
    duration: String,
    /// The address of its page; `None` on that page.
    address: Option<String>,
}

/// An attempt with all details.
struct Shown {
    number: i32,
    url: String,
    remote: String,
    message: Option<String>,
    request: Vec<(String, String)>,
    status: Option<i32>,
    response: Vec<(String, String)>,
    body: Body,
    truncated: bool,
    phases: Vec<Phase>,
    curl: String,
}

/// A phase of an attempt, with its position on a scale of 1,000.
struct Phase {
    name: &'static str,
    time: String,
    x: i64,
    width: i64,
}

/// The beginning of a body.
pub(super) struct Body {
    pub(super) text: String,
    pub(super) size: String,
    pub(super) cut: bool,
    pub(super) binary: bool,
    pub(super) is_empty: bool,
}

impl Body {
    /// As text if it is text, else as hexadecimal bytes.
    pub(super) fn new(bytes: &[u8]) -> Self {
        Self::of_size(bytes, i64::try_from(bytes.len()).unwrap_or(i64::MAX))
    }

    /// The beginning of a body of which only these first bytes are known.
    pub(super) fn of_size(bytes: &[u8], full_size: i64) -> Self {
        let rest = i64::try_from(bytes.len()).unwrap_or(i64::MAX) < full_size;
        let (text, cut, binary) = match text_of(bytes, rest) {
            Some(text) => {
                let (text, cut) = beginning(text, BODY_SHOWN);
                (text.to_owned(), cut || rest, false)
            }
            None => {
                let shown = &bytes[..bytes.len().min(BODY_SHOWN / 4)];
                let lines = shown.chunks(16).map(|line| {
                    let line: Vec<String> = line.iter().map(|byte| format!("{byte:02x}")).collect();
                    line.join(" ")
                });
                let cut = rest || shown.len() < bytes.len();
                (lines.collect::<Vec<_>>().join("\n"), cut, true)
            }
        };
        Self {
            text,
            size: size(full_size),
            cut,
            binary,
            is_empty: full_size == 0,
        }
    }
}

/// Bytes as text; if more follow, without an incomplete last character.
fn text_of(bytes: &[u8], more_follow: bool) -> Option<&str> {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) if more_follow && error.error_len().is_none() => {
            std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default()
        }
        Err(_) => return None,
    };
    (!text.contains('\0')).then_some(text)
}

/// The page.
pub(super) async fn show(
    State(console): Shared,
    visitor: Visitor,
    Path(path): Path<(String, String)>,
    fields: Fields,
) -> Answer {
    let (place, id) = console.enter_at::<DeliveryId>(&visitor, path)?;
    let (app, caller) = (&console.app, visitor.caller());
    let before = fields.get("attempts_before").parse().unwrap_or(i32::MAX);
    let (record, attempts, earlier) = app
        .delivery_and_attempts(caller, place.name(), id, before, ROWS)
        .await?;
    let last = attempts.last().map(|attempt| attempt.number);
    let mut attempt = None;
    for number in [fields.get("attempt").parse().ok(), last].into_iter().flatten() {
        if attempt.is_none() {
            attempt = unless_gone(app.get_attempt(caller, place.name(), id, number).await)?;
        }
    }
    let number = attempt.as_ref().map(|row| row.number);
    let event_id = EventId::from_raw(record.event_id);
    let event = app.event_beginning(caller, place.name(), event_id, BODY_SHOWN).await;
    let event = unless_gone(event)?;
    let payload = event.as_ref().map(|record| &record.event.payload[..]);
    let payload_file = payload_file(event_id);
    let behind = match record.state {
        DeliveryState::Paused => Some(app.count_behind(caller, place.name(), &record).await?),
        _ => None,
    };
    let page = ShowPage {
        behind: behind.map(|behind| counted_up_to(BLOCKED_COUNTED, behind, "delivery")),
        ordering_key: record.ordering_key.clone().unwrap_or_default(),
        frame: Frame::within(&console, &visitor, &place, "deliveries", format!("Delivery {id}")).after(&fields),
        open: !record.state.is_final() && record.state != DeliveryState::Paused,
        next_at: record.next_attempt().due_at().map(|due| Time(clock::shown_us(due))),
        attempt: attempt.map(|row| {
            let event = payload.map(|payload| (payload, payload_file.as_str(), app.header_prefix()));
            shown(row, event)
        }),
        attempts: attempts.iter().map(|row| line(row, number, &fields)).collect(),
        earlier: earlier.map(|earlier| fields.query_with("attempts_before", &earlier.to_string())),
        last: (before != i32::MAX).then(|| fields.query_without(&["attempts_before", "attempt", "done"])),
        payload: Body::of_size(
            payload.unwrap_or_default(),
            event.as_ref().map_or(0, |record| record.payload_bytes),
        ),
        payload_gone: event.is_none(),
        inline_max: size(i64::try_from(curl::INLINE_MAX).unwrap_or(i64::MAX)),
        may: may(&record, place.may_manage),
        delivery: row(&place, &console.targets(&visitor, &place)?, record, clock::now_us()),
    };
    Ok(html(&page))
}

/// `None` for a missing or expired resource.
fn unless_gone<T>(answer: AppResult<T>) -> Result<Option<T>, Fault> {
    match answer {
        Ok(found) => Ok(Some(found)),
        Err(AppError::NotFound { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn may(record: &DeliveryRecord, may_manage: bool) -> May {
    let waits = may_manage && !record.state.is_final();
    May {
        retry: waits && record.attempts_made > 0,
        skip: waits && record.attempts_made > 0,
        cancel: waits,
        replay: may_manage && record.state.is_final() && record.event_type != "ping",
    }
}

fn line(row: &AttemptSummary, shown: Option<i32>, fields: &Fields) -> Line {
    Line {
        number: row.number,
        outcome: if row.error_class.is_none() {
            Badge::new("check", "good", "succeeded")
        } else {
            Badge::new("cross", "bad", "failed")
        },
        words: row.attempted().words(),
        started: Time(row.started_at),
        duration: duration(row.duration_us),
        address: (Some(row.number) != shown).then(|| fields.with("attempt", &row.number.to_string())),
    }
}

/// An attempt with all details; with the beginning of the event's payload, its file name and the prefix of our headers, if
/// the payload is still stored.
fn shown(row: AttemptRow, event: Option<(&[u8], &str, &str)>) -> Shown {
    let details: AttemptDetails = serde_json::from_str(&row.details).unwrap_or_default();
    let curl = event.map(|(payload, file, prefix)| {
        curl::commands(&curl::Request {
            details: &details,
            payload,
            file,
            prefix,
        })
    });
    Shown {
        number: row.number,
        curl: curl.unwrap_or_default(),
        phases: phases(&details, row.duration_us),
        url: details.url,
        remote: details.remote.unwrap_or_default(),
        message: row.error_message,
        request: details.request,
        status: row.status,
        response: details.response,
        body: Body::new(row.response_body.as_deref().unwrap_or_default()),
        truncated: details.truncated,
    }
}

fn phases(details: &AttemptDetails, total: i64) -> Vec<Phase> {
    let times = &details.phases;
    let named = [
        ("DNS lookup", times.dns_us),
        ("Connect", times.connect_us),
        ("TLS handshake", times.tls_us),
        ("Waiting for the response", times.wait_us),
        ("Response body", times.body_us),
    ];
    let known: i64 = named.iter().filter_map(|(_, time)| *time).sum();
    let whole = total.max(known).max(1);
    let mut x = 0;
    let phases = named.into_iter().filter_map(|(name, time)| {
        let time = time?.max(0);
        let width = (time * 1_000 / whole).max(4);
        let phase = Phase {
            name,
            time: duration(time),
            x: x.min(996),
            width,
        };
        x += width;
        Some(phase)
    });
    phases.collect()
}

/// A receiver's response as received.
pub(super) async fn response(
    State(console): Shared,
    visitor: Visitor,
    Path((organization, id, number)): Path<(String, String, i32)>,
) -> Answer {
    let (place, id) = console.enter_at::<DeliveryId>(&visitor, (organization, id))?;
    let download = console.downloads.begin(place.row.id)?;
    let attempt = console
        .app
        .get_attempt(visitor.caller(), place.name(), id, number)
        .await?;
    let name = format!("{id}-{number}.bin");
    let body = attempt.response_body.unwrap_or_default();
    Ok(download.answer(&name, "application/octet-stream", body.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c04_a_page_shows_the_beginning_of_a_body() {
        let text = Body::new("ä".repeat(5 << 20).as_bytes());
        assert!(text.cut && !text.binary && text.text.len() <= BODY_SHOWN);
        let binary = Body::new(&[0; 16 << 10]);
        assert!(binary.cut && binary.binary && binary.text.len() <= BODY_SHOWN);
        let small = Body::new(b"{}");
        assert!(!small.cut && !small.binary && small.text == "{}");
    }

    #[test]
    fn the_beginning_of_a_body_may_end_within_a_character() {
        let text = "\u{e4}".repeat(BODY_SHOWN);
        let body = Body::of_size(&text.as_bytes()[..BODY_SHOWN - 1], 8 << 10);
        assert!(body.cut && !body.binary && body.size == "8 KiB", "{}", body.size);
        assert_eq!(body.text, text[..BODY_SHOWN - 2]);
        let whole = Body::new(&text.as_bytes()[..3]);
        assert!(whole.binary && !whole.cut, "of which there is no more is no text");
    }

    #[test]
    fn phases_stay_on_their_line() {
        let mut details = AttemptDetails::default();
        details.phases.dns_us = Some(1);
        details.phases.wait_us = Some(10_000_000);
        details.phases.body_us = Some(-5);
        for phase in phases(&details, 10) {
            assert!(phase.x < 1_000 && phase.width >= 4, "{}", phase.name);
        }
    }
}
