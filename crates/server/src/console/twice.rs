//! Deduplication of forms: a form that is submitted twice, by a second click or a browser's retry, takes effect once.
//!
//! Each form except sign-in and sign-out carries a nonce. The first submission runs in its own task, to completion even if
//! the browser disconnects, as after a second click. Its redirect is kept for a while. A repeated submission in the meantime
//! waits for it, and gets the same redirect with the same cookies. A submission without a redirect, such as a form with
//! errors, changed nothing and is not kept.
//!
//! A secret that is shown once is kept in the same way for a minute, while its page shows it. A later submission is
//! redirected to the page, which no longer shows it.
//!
//! The record is in a node's memory, bounded in number and time: a visitor who submits many forms evicts only their own.
//! Actions that must take effect once over all nodes have a request id ([`super::fields::Fields::request_id`]) or ask for
//! confirmation.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    body::{Body, Bytes, to_bytes},
    extract::{Request, State},
    http::{HeaderMap, StatusCode, header::SET_COOKIE},
    middleware::Next,
    response::{IntoResponse, Response},
};
use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};
use tokio::sync::watch;

use super::{Console, fault::Fault, fields::Fields, forms::Form, session::Asked};
use crate::app::{access::Actor, sessions::Session};

/// Time for which a redirect is kept.
const KEPT: Duration = Duration::from_secs(600);
/// Time for which its cookies are kept: as long as in browsers.
const COOKIES_KEPT: Duration = Duration::from_secs(60);
/// Maximum number of kept forms, per token or portal link and in total; beyond it the oldest finished one is evicted. There
/// always is one, because fewer forms can be in progress ([`super::forms`]).
const ACTOR_MAX: usize = 128;
const SENDINGS_MAX: usize = 4_096;

/// The key of a form: visitor, contents, address and nonce.
type Key = [u8; 32];

/// The recent forms.
#[derive(Default)]
pub(super) struct Sendings(Mutex<Known>);

#[derive(Default)]
struct Known {
    /// Oldest first.
    sendings: VecDeque<Sending>,
    begun: u64,
}

struct Sending {
    key: Key,
    number: u64,
    actor: Actor,
    begun: Instant,
    lead: watch::Receiver<Option<Lead>>,
}

impl Sending {
    fn is_done(&self) -> bool {
        self.lead.borrow().is_some()
    }
}

/// A form's redirect.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Lead {
    status: StatusCode,
    headers: HeaderMap,
}

impl Lead {
    /// Without the cookies, after browsers have dropped them.
    fn without_cookies(mut self) -> Self {
        self.headers.remove(SET_COOKIE);
        self
    }
}

impl IntoResponse for Lead {
    fn into_response(self) -> Response {
        (self.status, self.headers).into_response()
    }
}

/// The next step of a submission.
enum Turn {
    /// Process the form.
    First(Claim),
    /// Wait for the result.
    Again(Earlier),
}

/// An earlier submission.
struct Earlier {
    lead: watch::Receiver<Option<Lead>>,
    is_recent: bool,
}

impl Earlier {
    /// Its redirect; nothing if it was not processed.
    async fn led(mut self) -> Option<Lead> {
        let lead = self.lead.wait_for(Option::is_some).await.ok()?.clone();
        if self.is_recent {
            lead
        } else {
            lead.map(Lead::without_cookies)
        }
    }
}

/// A form in progress. If it is dropped without a redirect, it may be submitted again.
struct Claim {
    sendings: Arc<Sendings>,
    number: u64,
    lead: watch::Sender<Option<Lead>>,
}

impl Sendings {
    fn claim(self: &Arc<Self>, actor: Actor, key: Key, now: Instant) -> Turn {
        let mut known = self.0.lock();
        let age = |sending: &Sending| now.saturating_duration_since(sending.begun);
        known
            .sendings
            .retain(|sending| !sending.is_done() || age(sending) < KEPT);
        if let Some(sending) = known.sendings.iter().find(|sending| sending.key == key) {
            return Turn::Again(Earlier {
                lead: sending.lead.clone(),
                is_recent: age(sending) < COOKIES_KEPT,
            });
        }
        known.make_room(actor);
        let (lead, led) = watch::channel(None);
        let number = known.begun;
        known.begun += 1;
        known.sendings.push_back(Sending {
            key,
            number,
            actor,
            begun: now,
            lead: led,
        });
        Turn::First(Claim {
            sendings: Arc::clone(self),
            number,
            lead,
        })
    }
}

impl Known {
    /// Evicts forms above an owner's share, or above the total: then of the owner with the most.
    fn make_room(&mut self, actor: Actor) {
        let own = self.sendings.iter().filter(|sending| sending.actor == actor).count();
        if own >= ACTOR_MAX {
            self.forget_oldest_of(actor);
        }
        if self.sendings.len() >= SENDINGS_MAX {
            let mut counts: HashMap<Actor, usize> = HashMap::new();
            for sending in self.sendings.iter().filter(|sending| sending.is_done()) {
                *counts.entry(sending.actor).or_default() += 1;
            }
            if let Some((most, _)) = counts.into_iter().max_by_key(|(_, count)| *count) {
                self.forget_oldest_of(most);
            }
        }
    }

    fn forget_oldest_of(&mut self, actor: Actor) {
        let is_oldest = |sending: &Sending| sending.actor == actor && sending.is_done();
        if let Some(at) = self.sendings.iter().position(is_oldest) {
            self.sendings.remove(at);
        }
    }
}

impl Claim {
    /// Keeps the redirect for repeated submissions.
    fn led(self, lead: Lead) {
        self.lead.send_replace(Some(lead));
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        // Before waiting submissions are notified: each of them then finds the form free.
        if self.lead.borrow().is_none() {
            let mut known = self.sendings.0.lock();
            known.sendings.retain(|sending| sending.number != self.number);
        }
    }
}

/// Processes each form of a visitor once, if there is a permit. Handlers check the rights.
pub(super) async fn once(State(console): State<Arc<Console>>, request: Request, next: Next) -> Response {
    let asked = request.extensions().get::<Asked>();
    let session = asked.and_then(|asked| asked.session.clone());
    let form = match console.begin_form(&request, session.as_ref()) {
        Ok(form) => form,
        Err(fault) => return fault.into_response(),
    };
    let (session, form) = match (session, form) {
        (Some(session), Some(form)) => (session, form),
        (_, None) => return next.run(request).await,
        // The form of an unknown visitor keeps its permit meanwhile.
        (_, form) => return to_the_end(&console, form, next.run(request)).await,
    };
    let (parts, body) = request.into_parts();
    let bytes = match to_bytes(body, form.bytes_max).await {
        Ok(bytes) => bytes,
        Err(error) => return Fault::Form(format!("The form cannot be read: {error}.")).into_response(),
    };
    let key = key(&session, parts.uri.path(), &bytes);
    let request = Request::from_parts(parts, Body::from(bytes));
    let Some(key) = key else {
        return to_the_end(&console, form, next.run(request)).await;
    };
    loop {
        match console.sendings.claim(session.caller.actor(), key, Instant::now()) {
            Turn::First(claim) => return done(&console, claim, form, request, next).await,
            Turn::Again(earlier) => {
                if let Some(lead) = earlier.led().await {
                    return lead.into_response();
                }
            }
        }
    }
}

/// Processes a form, and keeps its redirect.
async fn done(console: &Console, claim: Claim, form: Form, request: Request, next: Next) -> Response {
    let doing = async move {
        let response = next.run(request).await;
        if response.status().is_redirection() {
            claim.led(Lead {
                status: response.status(),
                headers: response.headers().clone(),
            });
        }
        response
    };
    to_the_end(console, form, doing).await
}

/// Processes a form to completion, whether or not anyone waits for it; it keeps its permit until then.
async fn to_the_end<F>(console: &Console, form: F, doing: impl Future<Output = Response> + Send + 'static) -> Response
where
    F: Send + 'static,
{
    let task = async move {
        let response = doing.await;
        drop(form);
        response
    };
    let answer = console.app.completion.run(task).await;
    answer.unwrap_or_else(|error| Fault::App(error).into_response())
}

/// `None` for a form without a nonce, which is processed each time.
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
    use hookwright_domain::id::TokenId;

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

    fn again(turn: Turn) -> Earlier {
        match turn {
            Turn::Again(earlier) => earlier,
            Turn::First(_) => panic!("it is not known"),
        }
    }

    fn number(number: usize) -> Key {
        let mut key = Key::default();
        key[..8].copy_from_slice(&number.to_le_bytes());
        key
    }

    fn actor(id: i64) -> Actor {
        Actor::Token(TokenId::from_raw(id))
    }

    #[tokio::test]
    async fn who_sends_again_is_led_where_the_first_was() {
        let (sendings, now) = (Arc::new(Sendings::default()), Instant::now());
        let claim = |at: usize, now: Instant| sendings.claim(actor(1), number(at), now);
        let begun = first(claim(1, now));
        let waiting = again(claim(1, now));
        first(claim(2, now));
        begun.led(lead("/there"));
        assert_eq!(waiting.led().await, Some(lead("/there")));
        let later = again(claim(1, now + KEPT - Duration::from_millis(1)));
        assert_eq!(later.led().await, Some(lead("/there")));
        first(claim(1, now + KEPT));
    }

    #[tokio::test]
    async fn what_is_shown_once_is_led_to_for_as_long_as_it_is_shown() {
        let (sendings, now) = (Arc::new(Sendings::default()), Instant::now());
        let claim = |now: Instant| sendings.claim(actor(1), number(1), now);
        let mut shows = lead("/there");
        shows
            .headers
            .insert(SET_COOKIE, "hookwright-once=sealed".parse().unwrap());
        first(claim(now)).led(shows.clone());
        let meanwhile = again(claim(now + COOKIES_KEPT - Duration::from_millis(1)));
        assert_eq!(meanwhile.led().await, Some(shows));
        let later = again(claim(now + COOKIES_KEPT));
        assert_eq!(
            later.led().await,
            Some(lead("/there")),
            "it does not take effect again, and shows nothing"
        );
    }

    #[tokio::test]
    async fn what_led_nowhere_is_free_for_who_waits() {
        let (sendings, now) = (Arc::new(Sendings::default()), Instant::now());
        let claim = first(sendings.claim(actor(1), number(1), now));
        let waiting = again(sendings.claim(actor(1), number(1), now));
        drop(claim);
        assert_eq!(waiting.led().await, None);
        first(sendings.claim(actor(1), number(1), now));
    }

    #[test]
    fn who_sends_many_forms_forgets_their_own_that_are_done() {
        let (sendings, now) = (Arc::new(Sendings::default()), Instant::now());
        let claim = |id: i64, at: usize| sendings.claim(actor(id), number(at), now);
        first(claim(2, 0)).led(lead("/other"));
        let under_way = first(claim(1, 1));
        for at in 2..2 + ACTOR_MAX {
            first(claim(1, at)).led(lead("/there"));
        }
        assert_eq!(sendings.0.lock().sendings.len(), ACTOR_MAX + 1);
        again(claim(2, 0));
        again(claim(1, 1));
        again(claim(1, 1 + ACTOR_MAX));
        drop(under_way);
        first(claim(1, 2)).led(lead("/there"));
    }

    #[test]
    fn what_is_remembered_is_bounded_and_who_has_most_gives_way() {
        let (sendings, now) = (Arc::new(Sendings::default()), Instant::now());
        let claim = |id: i64, at: usize| sendings.claim(actor(id), number(at), now);
        first(claim(0, 0)).led(lead("/alone"));
        for at in 1..=SENDINGS_MAX + ACTOR_MAX {
            let id = i64::try_from(at % (2 * SENDINGS_MAX / ACTOR_MAX)).unwrap();
            first(claim(1 + id, at)).led(lead("/there"));
        }
        assert_eq!(sendings.0.lock().sendings.len(), SENDINGS_MAX);
        again(claim(0, 0));
    }

    #[test]
    fn what_is_under_way_is_not_forgotten_with_its_time() {
        let (sendings, now) = (Arc::new(Sendings::default()), Instant::now());
        let slow = first(sendings.claim(actor(1), number(1), now));
        again(sendings.claim(actor(1), number(1), now + 2 * KEPT));
        drop(slow);
        assert!(sendings.0.lock().sendings.is_empty());
    }
}
