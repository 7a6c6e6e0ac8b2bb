//! Signing in with a token, and signing out.

use std::time::{Duration, Instant};

use askama::Template;
use axum::{
    Extension,
    extract::{Request, State},
    http::{
        HeaderMap, StatusCode,
        header::{ORIGIN, RETRY_AFTER},
    },
    response::{IntoResponse as _, Redirect, Response},
};

use super::{
    Answer, Console, Shared,
    fault::Fault,
    fields::Fields,
    page::{Frame, html},
    session::{Sent, read_form},
    show::{capitalized, counted},
    site::{Site, local},
};
use crate::{
    app::error::{AppError, AppResult},
    listener::Peer,
};

#[derive(Template)]
#[template(path = "sign_in.html")]
struct SignInPage {
    frame: Frame,
    next: String,
    error: Option<String>,
}

fn page(status: StatusCode, next: &str, error: Option<String>) -> Response {
    let page = SignInPage {
        frame: Frame::bare(Site::Console, "Sign in"),
        next: next.to_owned(),
        error,
    };
    (status, html(&page)).into_response()
}

/// The form.
pub(super) async fn form(fields: Fields) -> Response {
    page(StatusCode::OK, local(fields.get("next")), None)
}

/// Begins a session, always a new one, whatever cookie the browser sent.
pub(super) async fn sign_in(
    State(console): Shared,
    Extension(Peer(peer)): Extension<Peer>,
    headers: HeaderMap,
    request: Request,
) -> Answer {
    let address = console.options.proxies.address(peer, &headers);
    let attempt = console.limits.attempt(address, Instant::now());
    let fields = read_form(request).await?;
    let next = local(fields.get("next"));
    let attempt = match attempt {
        Ok(attempt) => attempt,
        Err(wait) => {
            let why = format!("Too many failed sign-ins from the address {address}.");
            let hint =
                " If this is the address of a proxy in front of this server, add it to the setting trusted-proxy.";
            return Ok(too_often(next, &why, wait, hint));
        }
    };
    match console.app.sign_in(fields.get("token"), console.is_secure(&headers)) {
        Ok(session) => {
            if let Err(wait) = attempt.succeeded(session.caller.actor(), Instant::now()) {
                let why = "Too many sign-ins with this token within an hour.";
                return Ok(too_often(next, why, wait, ""));
            }
            let home = if next.is_empty() { "/console/" } else { next };
            let mut response = Redirect::to(home).into_response();
            console.keep(&mut response, &session);
            Ok(response)
        }
        Err(error @ (AppError::Unauthenticated(_) | AppError::Denied(_))) => {
            let message = match error {
                AppError::Denied(message) => capitalized(&message),
                _ => "The token is not valid: it may be mistyped, revoked or expired.".to_owned(),
            };
            Ok(page(StatusCode::UNAUTHORIZED, next, Some(message)))
        }
        Err(error) => Err(error.into()),
    }
}

/// The form, with the reason for a delay.
fn too_often(next: &str, why: &str, wait: Duration, hint: &str) -> Response {
    let seconds = wait.as_secs() + 1;
    let message = format!("{why} Try again in {}.{hint}", counted(seconds, "second"));
    let mut response = page(StatusCode::TOO_MANY_REQUESTS, next, Some(message));
    response.headers_mut().insert(RETRY_AFTER, seconds.into());
    response
}

impl Console {
    /// Whether browsers use TLS with the console, according to the configuration or to the browser.
    pub(super) fn is_secure(&self, headers: &HeaderMap) -> bool {
        let said = headers
            .get(ORIGIN)
            .map(|origin| origin.as_bytes().starts_with(b"https://"));
        self.options.is_https() || said == Some(true)
    }
}

/// Ends the session. A visitor who is already signed out, as by a second click, gets the same answer.
pub(super) async fn sign_out(State(console): Shared, sent: Result<Sent, Fault>) -> Answer {
    let mut response = Redirect::to("/console/sign-in").into_response();
    match sent {
        Err(Fault::SessionOver) => {}
        sent => end(&console, &sent?, &mut response).await?,
    }
    Ok(response)
}

#[derive(Template)]
#[template(path = "left.html")]
struct LeftPage {
    frame: Frame,
    return_url: Option<String>,
}

/// Ends a customer's session, and shows the link back: our page may neither redirect elsewhere by itself, nor leave its
/// frame. A customer who has already signed out, as by a second click, sees the same.
pub(super) async fn leave(State(console): Shared, headers: HeaderMap, sent: Result<Sent, Fault>) -> Answer {
    let page = |return_url| LeftPage {
        frame: Frame::bare(Site::Portal, "Signed out"),
        return_url,
    };
    match sent {
        Err(Fault::PortalOver) => Ok(html(&page(console.way_back(&headers)))),
        sent => {
            let sent = sent?;
            let mut response = html(&page(sent.visitor.session().return_url.clone()));
            end(&console, &sent, &mut response).await?;
            Ok(response)
        }
    }
}

async fn end(console: &Console, sent: &Sent, response: &mut Response) -> AppResult<()> {
    let session = sent.visitor.session();
    console.app.end_session(session).await?;
    console.forget(response, session);
    Ok(())
}
