//! A form that is sent twice is done once: a second click, or a browser that sends again what it got no answer to.
//!
//! Each form carries a nonce. Its first sending is done in a task of its own, to the end also where the browser stops
//! listening, as it does after a second click; and where it leads is kept for a while. Whoever sends the same again meanwhile
//! waits for that, and is led to the same place with the same cookies. What leads nowhere, such as a form that comes back with
//! errors, did nothing, and is not kept.
//!
//! This is a node's own memory, bounded in count and time. What must be done once over all nodes has a request id
//! ([`super::fields::Fields::request_id`]) or asks first.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    body::{Body, Bytes, to_bytes},
    extract::{Request, State},
    http::{HeaderMap, Method, StatusCode},
    middleware::Next,
    response::{IntoResponse, Response},
};
use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};
use tokio::sync::watch;
use tracing::Instrument as _;

use super::{Console, FORM_BYTES_MAX, fault::Fault, fields::Fields, session::Asked};
use crate::app::{error::AppError, sessions::Session};

/// How long it is remembered where a form led.
const KEPT: Duration = Duration::from_secs(600);
/// How many forms are remembered; beyond it the oldest is forgotten.
const SENDINGS_MAX: usize = 2_048;

/// Who sent what to where, with which nonce.
type Key = [u8; 32];

/// The forms that were sent of late, oldest first.
#[derive(Default)]
pub(super) struct Sendings(Mutex<VecDeque<Sending>>);

struct Sending {
    key: Key,
    begun: Instant,
    lead: watch::Receiver<Option<Lead>>,
}

/// Where a form leads.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Lead {
    status: StatusCode,
    headers: HeaderMap,
}

impl IntoResponse for Lead {
    fn into_response(self) -> Response {
        (self.status, self.headers).into_response()
    }
}

/// Whose turn it is.
enum Turn {
    /// To do it.
    First(Claim),
    /// To wait for what comes of it; for nothing, if it leads nowhere.
    Again(watch::Receiver<Option<Lead>>),
}

/// A form that is being done. What is dropped before it led anywhere may be sent again.
struct Claim {
    sendings: Arc<Sendings>,
    key: Key,
    lead: watch::Sender<Option<Lead>>,
}

impl Sendings {
    fn claim(self: &Arc<Self>, key: Key, now: Instant) -> Turn {
        let mut known = self.0.lock();
        while known
            .front()
            .is_some_and(|oldest| now.saturating_duration_since(oldest.begun) >= KEPT)
        {
            known.pop_front();
        }
        if let Some(sending) = known.iter().find(|sending| sending.key == key) {
            return Turn::Again(sending.lead.clone());
        }
        if known.len() >= SENDINGS_MAX {
            known.pop_front();
        }
        let (lead, led) = watch::channel(None);
        known.push_back(Sending {
            key,
            begun: now,
            lead: led,
        });
        Turn::First(Claim {
            sendings: Arc::clone(self),
            key,
            lead,
        })
    }
}

impl Claim {
    /// Keeps where it led, for whoever sends it again.
    fn led(self, lead: Lead) {
        self.lead.send_replace(Some(lead));
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        // Before those who wait are told: each of them then finds the form free.
        if self.lead.borrow().is_none() {
            self.sendings.0.lock().retain(|sending| sending.key != self.key);
        }
    }
}

/// Does each form that somebody sends once. Whether it may be done at all is found out on the way.
pub(super) async fn once(State(console): State<Arc<Console>>, request: Request, next: Next) -> Response {
    let asked = request.extensions().get::<Asked>();
    let session = asked.and_then(|asked| asked.session.clone());
    let Some(session) = session.filter(|_| request.method() == Method::POST) else {
        return next.run(request).await;
    };
    let (parts, body) = request.into_parts();
    let form = match to_bytes(body, FORM_BYTES_MAX).await {
        Ok(form) => form,
        Err(error) => return Fault::Form(format!("The form cannot be read: {error}.")).into_response(),
    };
    let key = key(&session, parts.uri.path(), &form);
    let request = Request::from_parts(parts, Body::from(form));
    let Some(key) = key else {
        return next.run(request).await;
    };
    loop {
        match console.sendings.claim(key, Instant::now()) {
            Turn::First(claim) => return done(claim, request, next).await,
            Turn::Again(mut lead) => {
                let led = lead.wait_for(Option::is_some).await.ok().and_then(|lead| lead.clone());
                if let Some(lead) = led {
                    return lead.into_response();
                }
            }
        }
    }
}

/// Sees the form through, whether or not somebody waits for it.
async fn done(claim: Claim, request: Request, next: Next) -> Response {
    let task = async move {
        let response = next.run(request).await;
        if response.status().is_redirection() {
            claim.led(Lead {
                status: response.status(),
                headers: response.headers().clone(),
            });
        }
        response
    };
    let answer = tokio::spawn(task.in_current_span()).await;
    answer.unwrap_or_else(|error| Fault::App(AppError::internal(&error)).into_response())
}

/// `None` for a form without a nonce, which is done as often as it is sent.
fn key(session: &Session, path: &str, form: &Bytes) -> Option<Key> {
    if Fields::parse(form).get("nonce").is_empty() {
        return None;
    }
    let mut hash = Sha256::new();
    hash.update(session.id());
    hash.update(path.len().to_le_bytes());
    hash.update(path);
    hash.update(form);
    Some(hash.finalize().into())
}

#[cfg(test)]
mod tests {
    use axum::http::header::LOCATION;

    use super::*;

    fn lead(to: &'static str) -> Lead {
        let headers = [(LOCATION, to.parse().unwrap())];
        Lead {
            status: StatusCode::SEE_OTHER,
            headers: headers.into_iter().collect(),
        }
    }

    fn first(turn: Turn) -> Claim {
        match turn {
            Turn::First(claim) => claim,
            Turn::Again(_) => panic!("it is known"),
        }
    }

    fn again(turn: Turn) -> watch::Receiver<Option<Lead>> {
        match turn {
            Turn::Again(lead) => lead,
            Turn::First(_) => panic!("it is not known"),
        }
    }

    fn number(number: usize) -> Key {
        let mut key = Key::default();
        key[..8].copy_from_slice(&number.to_le_bytes());
        key
    }

    #[tokio::test]
    async fn who_sends_again_is_led_where_the_first_was() {
        let (sendings, now) = (Arc::new(Sendings::default()), Instant::now());
        let claim = first(sendings.claim(number(1), now));
        let mut waiting = again(sendings.claim(number(1), now));
        first(sendings.claim(number(2), now));
        claim.led(lead("/there"));
        assert_eq!(*waiting.wait_for(Option::is_some).await.unwrap(), Some(lead("/there")));
        let later = again(sendings.claim(number(1), now + KEPT - Duration::from_millis(1)));
        assert_eq!(*later.borrow(), Some(lead("/there")));
        first(sendings.claim(number(1), now + KEPT));
    }

    #[tokio::test]
    async fn what_led_nowhere_is_free_for_who_waits() {
        let (sendings, now) = (Arc::new(Sendings::default()), Instant::now());
        let claim = first(sendings.claim(number(1), now));
        let mut waiting = again(sendings.claim(number(1), now));
        drop(claim);
        assert!(waiting.wait_for(Option::is_some).await.is_err());
        first(sendings.claim(number(1), now));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (sendings, now) = (Arc::new(Sendings::default()), Instant::now());
        for at in 0..=SENDINGS_MAX {
            first(sendings.claim(number(at), now)).led(lead("/there"));
        }
        assert_eq!(sendings.0.lock().len(), SENDINGS_MAX);
        again(sendings.claim(number(SENDINGS_MAX), now));
        first(sendings.claim(number(0), now));
    }
}
