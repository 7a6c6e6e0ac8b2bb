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
//! The record is in a node's memory, bounded in number, bytes and time. Each visitor has a share: a visitor who submits many
//! forms evicts only their own. A form in progress is never evicted from its share. When there are too many visitors, the one
//! idle longest is forgotten, but none with a form in progress: the permits of forms bound how many these are.
//!
//! Actions that must take effect once over all nodes have a request id ([`super::fields::Fields::request_id`]) or ask for
//! confirmation.

use std::{
    collections::HashMap,
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
use moka::{future, policy::EvictionPolicy, sync};
use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};

use super::{Console, fault::Fault, fields::Fields, session::Asked};
use crate::app::{access::Actor, sessions::Session};

/// Time for which a redirect is kept.
const KEPT: Duration = Duration::from_secs(600);
/// Time for which its cookies are kept: as long as in browsers.
const COOKIES_KEPT: Duration = Duration::from_secs(60);
/// Maximum number of visitors (tokens and portal links) whose redirects are kept.
const VISITORS_MAX: u64 = 1_024;
/// Maximum bytes of a visitor's redirects: 128 of the usual size, and fewer that set a large cookie.
const VISITOR_BYTES_MAX: u64 = 128 * REDIRECT_BYTES as u64;
/// Maximum size of a redirect without cookies.
const REDIRECT_BYTES: u32 = 512;

/// The key of a form: visitor, contents, address and nonce.
type Key = [u8; 32];

/// The redirects of a visitor's forms.
type Redirects = future::Cache<Key, Redirect>;

/// The recent forms, by visitor.
#[derive(Clone)]
pub(super) struct RecentForms {
    visitors: sync::Cache<Actor, Redirects>,
    /// The redirects of visitors with a form in progress, and the number of these forms.
    busy: Arc<Mutex<HashMap<Actor, (usize, Redirects)>>>,
    kept: Duration,
}

impl Default for RecentForms {
    fn default() -> Self {
        Self::keeping(KEPT)
    }
}

impl RecentForms {
    fn keeping(kept: Duration) -> Self {
        let visitors = sync::Cache::builder()
            .max_capacity(VISITORS_MAX)
            .time_to_idle(kept)
            .eviction_policy(EvictionPolicy::lru());
        Self {
            visitors: visitors.build(),
            busy: Arc::default(),
            kept,
        }
    }

    /// Begins a form of this visitor.
    fn begin(&self, actor: Actor) -> FormRun {
        let mut busy = self.busy.lock();
        let (forms, redirects) = busy.entry(actor).or_insert_with(|| (0, self.of(actor)));
        *forms += 1;
        FormRun {
            redirects: redirects.clone(),
            actor,
            recent_forms: self.clone(),
        }
    }

    fn of(&self, actor: Actor) -> Redirects {
        let redirects = future::Cache::builder()
            .max_capacity(VISITOR_BYTES_MAX)
            .weigher(|_, redirect: &Redirect| redirect.bytes())
            .time_to_live(self.kept)
            .eviction_policy(EvictionPolicy::lru());
        self.visitors.get_with(actor, || redirects.build())
    }

    fn end(&self, actor: Actor) {
        let mut busy = self.busy.lock();
        let Some((forms, redirects)) = busy.get_mut(&actor) else {
            return;
        };
        *forms -= 1;
        if *forms == 0 {
            // It may have been evicted in the meantime.
            self.visitors.insert(actor, redirects.clone());
            busy.remove(&actor);
        }
    }
}

/// A form in progress. Its visitor is not forgotten before it is dropped.
struct FormRun {
    redirects: Redirects,
    actor: Actor,
    recent_forms: RecentForms,
}

impl Drop for FormRun {
    fn drop(&mut self) {
        self.recent_forms.end(self.actor);
    }
}

/// A form's redirect.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Redirect {
    begun: Instant,
    status: StatusCode,
    headers: HeaderMap,
}

impl Redirect {
    /// The redirect of a response; `None` if the response is no redirect.
    fn of(response: &Response, begun: Instant) -> Option<Self> {
        response.status().is_redirection().then(|| Self {
            begun,
            status: response.status(),
            headers: response.headers().clone(),
        })
    }

    fn bytes(&self) -> u32 {
        let headers = self.headers.iter();
        let bytes: usize = headers.map(|(name, value)| name.as_str().len() + value.len()).sum();
        u32::try_from(bytes).unwrap_or(u32::MAX).max(REDIRECT_BYTES)
    }

    /// The redirect as a repeated submission gets it: without the cookies, after browsers have dropped them.
    fn again(mut self, now: Instant) -> Response {
        if now.saturating_duration_since(self.begun) >= COOKIES_KEPT {
            self.headers.remove(SET_COOKIE);
        }
        (self.status, self.headers).into_response()
    }
}

/// Does the work of a form, unless it was done: then its redirect is the response. Repeated submissions wait for the first. When
/// that led nowhere, one of them is next.
///
/// Callers must not drop the future, because the work could then be done once more.
async fn done_once(redirects: &Redirects, key: Key, work: impl Future<Output = Response>) -> Response {
    let mut work = Some(work);
    loop {
        let mut response = None;
        let first = async {
            let begun = Instant::now();
            let own = response.insert(work.take()?.await);
            Redirect::of(own, begun)
        };
        let redirect = redirects.optionally_get_with(key, first).await;
        if let Some(response) = response {
            return response;
        }
        if let Some(redirect) = redirect {
            return redirect.again(Instant::now());
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
    let run = console.recent_forms.begin(session.caller.actor());
    let doing = Box::pin(async move { done_once(&run.redirects, key, next.run(request)).await });
    to_the_end(&console, form, doing).await
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
    use std::sync::atomic::{AtomicUsize, Ordering};

    use axum::http::header::LOCATION;
    use hookwright_domain::id::TokenId;
    use tokio::sync::Notify;

    use super::*;

    fn leads(to: &'static str) -> Response {
        (StatusCode::SEE_OTHER, [(LOCATION, to)]).into_response()
    }

    fn location(response: &Response) -> Option<&str> {
        response.headers().get(LOCATION)?.to_str().ok()
    }

    fn number(number: usize) -> Key {
        let mut key = Key::default();
        key[..8].copy_from_slice(&number.to_le_bytes());
        key
    }

    fn actor(id: i64) -> Actor {
        Actor::Token(TokenId::from_raw(id))
    }

    /// Submits a form, and returns whether it was done and where it leads.
    async fn submit(redirects: &Redirects, at: usize, to: &'static str) -> (bool, Option<String>) {
        let mut done = false;
        let work = async {
            done = true;
            leads(to)
        };
        let response = done_once(redirects, number(at), work).await;
        let location = location(&response).map(str::to_owned);
        (done, location)
    }

    #[tokio::test]
    async fn a_repeated_form_gets_the_redirect_of_the_first() {
        let redirects = RecentForms::default().of(actor(1));
        let (begun, go_on, done) = (Notify::new(), Notify::new(), AtomicUsize::new(0));
        let work = || async {
            done.fetch_add(1, Ordering::Relaxed);
            begun.notify_one();
            go_on.notified().await;
            leads("/there")
        };
        let first = done_once(&redirects, number(1), work());
        let again = async {
            begun.notified().await;
            let again = done_once(&redirects, number(1), work());
            let other = async {
                assert!(submit(&redirects, 2, "/other").await.0, "another form does not wait");
                go_on.notify_one();
            };
            tokio::join!(again, other).0
        };
        let (first, again) = tokio::join!(first, again);
        assert_eq!((location(&first), location(&again)), (Some("/there"), Some("/there")));
        assert_eq!(done.load(Ordering::Relaxed), 1);
        let later = submit(&redirects, 1, "/elsewhere").await;
        assert_eq!(later, (false, Some("/there".to_owned())));
    }

    #[test]
    fn a_secret_shown_once_is_in_repeated_redirects_while_browsers_keep_it() {
        let begun = Instant::now();
        let mut shows = leads("/there");
        let cookie = "hookwright-once=sealed".parse().unwrap();
        shows.headers_mut().insert(SET_COOKIE, cookie);
        let redirect = Redirect::of(&shows, begun).unwrap();
        let meanwhile = redirect.clone().again(begun + COOKIES_KEPT - Duration::from_millis(1));
        assert_eq!(meanwhile.headers(), shows.headers());
        let later = redirect.again(begun + COOKIES_KEPT);
        assert_eq!(location(&later), Some("/there"));
        assert_eq!(later.headers().get(SET_COOKIE), None, "it shows nothing");
    }

    #[tokio::test]
    async fn after_a_form_without_a_redirect_a_waiting_repetition_runs() {
        let redirects = RecentForms::default().of(actor(1));
        let (begun, go_on) = (Notify::new(), Notify::new());
        let fails = async {
            begun.notify_one();
            go_on.notified().await;
            StatusCode::UNPROCESSABLE_ENTITY.into_response()
        };
        let waits = async {
            begun.notified().await;
            let waits = submit(&redirects, 1, "/there");
            tokio::join!(waits, async { go_on.notify_one() }).0
        };
        let (first, second) = tokio::join!(done_once(&redirects, number(1), fails), waits);
        assert_eq!(first.status(), StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(second, (true, Some("/there".to_owned())));
    }

    #[tokio::test]
    async fn many_forms_of_a_visitor_evict_only_their_own_finished_ones() {
        const MANY: usize = (VISITOR_BYTES_MAX / REDIRECT_BYTES as u64) as usize;
        let recent_forms = RecentForms::default();
        let (own, other) = (recent_forms.of(actor(1)), recent_forms.of(actor(2)));
        submit(&other, 0, "/other").await;
        let (begun, go_on) = (Notify::new(), Notify::new());
        let slow = async {
            begun.notify_one();
            go_on.notified().await;
            leads("/slow")
        };
        let many = async {
            begun.notified().await;
            for at in 2..3 + MANY {
                assert!(submit(&own, at, "/there").await.0);
            }
            own.run_pending_tasks().await;
            assert_eq!(own.entry_count(), MANY as u64);
            assert!(!submit(&recent_forms.of(actor(2)), 0, "/there").await.0);
            assert!(!submit(&own, 2 + MANY, "/there").await.0);
            assert!(submit(&own, 2, "/there").await.0, "the oldest is forgotten");
            let again = submit(&own, 1, "/there");
            tokio::join!(again, async { go_on.notify_one() }).0
        };
        let (_, again) = tokio::join!(done_once(&own, number(1), slow), many);
        assert_eq!(
            again,
            (false, Some("/slow".to_owned())),
            "what is in progress is not forgotten"
        );
    }

    #[tokio::test]
    async fn the_record_is_bounded_in_bytes_and_visitors() {
        let recent_forms = RecentForms::default();
        let redirects = recent_forms.of(actor(1));
        for at in 0..100 {
            let large = "x".repeat(4_000).parse().unwrap();
            let work = async {
                let mut response = leads("/there");
                response.headers_mut().insert(SET_COOKIE, large);
                response
            };
            done_once(&redirects, number(at), work).await;
        }
        redirects.run_pending_tasks().await;
        assert!(redirects.weighted_size() <= VISITOR_BYTES_MAX);
        assert!(
            (10..20).contains(&redirects.entry_count()),
            "{}",
            redirects.entry_count()
        );
        for id in 0..2 * i64::try_from(VISITORS_MAX).unwrap() {
            recent_forms.of(actor(id));
        }
        recent_forms.visitors.run_pending_tasks();
        assert_eq!(recent_forms.visitors.entry_count(), VISITORS_MAX);
    }

    #[tokio::test]
    async fn a_visitor_with_a_form_in_progress_is_not_forgotten() {
        let recent_forms = RecentForms::default();
        let (begun, go_on) = (Notify::new(), Notify::new());
        let first = async {
            let run = recent_forms.begin(actor(0));
            let slow = async {
                begun.notify_one();
                go_on.notified().await;
                leads("/slow")
            };
            done_once(&run.redirects, number(1), slow).await
        };
        let meanwhile = async {
            begun.notified().await;
            for id in 1..2 * i64::try_from(VISITORS_MAX).unwrap() {
                recent_forms.begin(actor(id));
            }
            while recent_forms.visitors.contains_key(&actor(0)) {
                recent_forms.visitors.run_pending_tasks();
                tokio::task::yield_now().await;
            }
            let run = recent_forms.begin(actor(0));
            let again = submit(&run.redirects, 1, "/there");
            tokio::join!(again, async { go_on.notify_one() }).0
        };
        let (_, again) = tokio::join!(first, meanwhile);
        assert_eq!(again, (false, Some("/slow".to_owned())));
        assert!(recent_forms.visitors.contains_key(&actor(0)), "its redirect is kept");
        assert!(recent_forms.busy.lock().is_empty(), "nothing is in progress");
    }

    #[tokio::test]
    async fn finished_forms_expire_and_forms_in_progress_do_not() {
        let redirects = RecentForms::keeping(Duration::from_millis(1)).of(actor(1));
        let (begun, go_on) = (Notify::new(), Notify::new());
        let slow = async {
            begun.notify_one();
            go_on.notified().await;
            leads("/slow")
        };
        let meanwhile = async {
            begun.notified().await;
            submit(&redirects, 2, "/there").await;
            while redirects.contains_key(&number(2)) {
                tokio::task::yield_now().await;
            }
            assert!(submit(&redirects, 2, "/there").await.0);
            let again = submit(&redirects, 1, "/there");
            tokio::join!(again, async { go_on.notify_one() }).0
        };
        let (_, again) = tokio::join!(done_once(&redirects, number(1), slow), meanwhile);
        assert_eq!(again, (false, Some("/slow".to_owned())));
    }
}
