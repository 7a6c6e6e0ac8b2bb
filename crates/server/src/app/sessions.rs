//! Sessions of the console, of a token or a portal link.
//!
//! A session is the contents of its cookie, encrypted with a key derived from the master key for this purpose: every node
//! can read it, and no node must remember it. Every request looks up the token or link again: the session ends when the
//! token is revoked or either expires. Sessions that operators end early are recorded in the store, and known to every node
//! before the answer (`ended`). Ended sessions of customers are known only to the node that ended them: they are short, and
//! customers must not be able to cause work on all nodes.

mod ended;

use hookwright_delivery::clock;
use hookwright_domain::{id::TokenId, random};
use hookwright_storage::{EndedSessionRow, MasterKey};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

pub(super) use self::ended::Ended;
use super::{
    App,
    access::{Caller, Scope},
    error::{AppError, AppResult},
    sealed::Seal,
};

/// The purpose of the encryption; a change of the format changes it.
const PURPOSE: &str = "console-session/2";
/// Idle timeout of a session.
const IDLE_US: i64 = 2 * 3_600 * 1_000_000;
/// Maximum age of a session.
const LIFE_US: i64 = 12 * 3_600 * 1_000_000;
/// A session whose last recorded use is older than this is recorded again.
const NOTE_AFTER_US: i64 = 60 * 1_000_000;
/// Additional time for which an ended session is recorded, because other nodes' clocks may be late.
const CLOCKS_US: i64 = 10 * 60 * 1_000_000;
const OVER: &str = "the session has ended; sign in again";

/// Random, so that no two sessions are equal, and secret, because cookies are encrypted.
type Id = [u8; 16];

/// A signed-in user.
#[derive(Clone, Debug)]
pub struct Session {
    /// The caller.
    pub caller: Caller,
    /// The target of the link back, for a portal link that has one.
    pub return_url: Option<String>,
    cookie: Cookie,
}

/// The contents of a cookie.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Cookie {
    by: By,
    began_at: i64,
    seen_at: i64,
    id: Id,
    /// Whether it began over TLS: then its cookie is never sent without TLS.
    secure: bool,
}

/// The credential of a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum By {
    /// A token, by its id.
    Token(i64),
    /// A portal link: its own token.
    Link(String),
}

impl Session {
    /// Whether it began over TLS.
    pub fn is_secure(&self) -> bool {
        self.cookie.secure
    }

    /// The unique id of the session.
    pub fn id(&self) -> &[u8; 16] {
        &self.cookie.id
    }

    /// Whether a portal link began it.
    pub fn is_portal(&self) -> bool {
        matches!(self.cookie.by, By::Link(_))
    }
}

impl App {
    /// Begins a session with a token; `secure` if over TLS.
    ///
    /// # Errors
    /// When the token is not valid, or may not read anything.
    pub fn sign_in(&self, token: &str, secure: bool) -> AppResult<Session> {
        let caller = self.authenticate(Some(&format!("Bearer {}", token.trim())))?;
        if caller.require_any(Scope::Read).is_err() {
            let message = "this token cannot sign in; use one of scope read, manage or admin";
            return Err(AppError::Denied(message.to_owned()));
        }
        let token = caller.require_token()?;
        begin(caller, None, By::Token(token.raw()), secure)
    }

    /// Begins a session with a portal link; `secure` if over TLS.
    ///
    /// # Errors
    /// When the link is not valid.
    pub fn sign_in_by_link(&self, link: &str, secure: bool) -> AppResult<Session> {
        let opened = self.open_portal_link(link)?;
        begin(opened.caller, opened.return_url, By::Link(link.to_owned()), secure)
    }

    /// The session of a cookie.
    ///
    /// # Errors
    /// When it is not valid, or has ended.
    pub fn session(&self, cookie: &str) -> AppResult<Session> {
        let cookie: Cookie = self
            .session_seal
            .open(cookie, b"")
            .ok_or(AppError::Unauthenticated(OVER))?;
        let (caller, return_url) = match &cookie.by {
            By::Token(id) => {
                let caller = self.tokens.caller(TokenId::from_raw(*id), clock::now_us());
                (caller.ok_or(AppError::Unauthenticated(OVER))?, None)
            }
            By::Link(link) => {
                let opened = self.open_portal_link(link)?;
                (opened.caller, opened.return_url)
            }
        };
        let session = Session {
            caller,
            return_url,
            cookie,
        };
        if self.lasts(&session) {
            Ok(session)
        } else {
            Err(AppError::Unauthenticated(OVER))
        }
    }

    /// The target of the link back of a customer whose session may have ended.
    pub fn return_url_of(&self, cookie: &str) -> Option<String> {
        let cookie: Cookie = self.session_seal.open(cookie, b"")?;
        match cookie.by {
            By::Token(_) => None,
            By::Link(link) => self.open_portal_link(&link).ok()?.return_url,
        }
    }

    /// Whether a session was neither ended nor is too old, regardless of its credential.
    fn lasts(&self, session: &Session) -> bool {
        let (cookie, now) = (&session.cookie, clock::now_us());
        let (ended, owner) = self.ended(session);
        now < cookie.seen_at + IDLE_US
            && now < cookie.began_at + LIFE_US
            && !ended.has(owner, &cookie.id, cookie.began_at)
    }

    /// The record of an ended session, and its owner there.
    fn ended(&self, session: &Session) -> (&Ended, i64) {
        match &session.cookie.by {
            By::Token(id) => (&self.ended_sessions, *id),
            By::Link(_) => (&self.ended_portal_sessions, session.caller.actor().raw()),
        }
    }

    /// The token of forms, which other sites cannot forge: the same for all sessions of a token or link, so that a form
    /// survives its session, and a new one for every period of a session's maximum age. The current one comes first, then
    /// the previous one.
    pub fn form_tokens(&self, session: &Session) -> [String; 2] {
        let stretch = clock::now_us() / LIFE_US;
        [stretch, stretch - 1].map(|stretch| {
            self.session_seal
                .mark(&format!("{PURPOSE}/form/{stretch}/{}", session.caller.actor()))
        })
    }

    /// Encrypts a value that the next page of a session shows once.
    pub fn seal_once(&self, session: &Session, value: &impl Serialize) -> String {
        self.session_seal.seal(value, &once_place(session))
    }

    /// Decrypts such a value.
    pub fn open_once<T: DeserializeOwned>(&self, session: &Session, sealed: &str) -> Option<T> {
        self.session_seal.open(sealed, &once_place(session))
    }

    /// Whether a session is still valid during a long request.
    pub fn is_signed_in(&self, session: &Session) -> bool {
        self.recheck(&session.caller).is_ok() && self.lasts(session)
    }

    /// The session's cookie, if the browser's one is getting old.
    pub fn noted_session(&self, session: &Session) -> Option<String> {
        let is_old = clock::now_us() >= session.cookie.seen_at + NOTE_AFTER_US;
        is_old.then(|| self.seal_session(session))
    }

    /// The value of the session's cookie.
    pub fn seal_session(&self, session: &Session) -> String {
        let cookie = Cookie {
            seen_at: clock::now_us(),
            ..session.cookie.clone()
        };
        self.session_seal.seal(&cookie, b"")
    }

    /// Ends a session: of a token on every node; of a portal link on this one, and on others with its cookie or its expiry.
    ///
    /// # Errors
    /// When the store does not accept it.
    pub async fn end_session(&self, session: &Session) -> AppResult<()> {
        let (cookie, now) = (&session.cookie, clock::now_us());
        let life = cookie.began_at + LIFE_US;
        let expires_at = session.caller.expires_at();
        let until = expires_at.map_or(life, |expires_at| life.min(expires_at)) + CLOCKS_US;
        let (ended, owner) = self.ended(session);
        if session.is_portal() {
            let and_before = ended.crowded(owner, now);
            ended.put(owner, cookie.id, cookie.began_at, until, and_before);
            return Ok(());
        }
        let mut changing = self.changing().await?;
        let row = EndedSessionRow {
            id: cookie.id.to_vec(),
            token_id: owner,
            began_at: cookie.began_at,
            ended_until: until,
            and_earlier: false,
        };
        let and_before = ended.crowded(owner, now);
        changing.store().insert_ended_session(&row, and_before, now).await?;
        ended.put(owner, cookie.id, cookie.began_at, until, and_before);
        changing.settle().await
    }
}

/// Begins a new session.
fn begin(caller: Caller, return_url: Option<String>, by: By, secure: bool) -> AppResult<Session> {
    let id = random::bytes().map_err(|error| AppError::internal(&error))?;
    let now = clock::now_us();
    Ok(Session {
        caller,
        return_url,
        cookie: Cookie {
            by,
            began_at: now,
            seen_at: now,
            id,
            secure,
        },
    })
}

/// A value for one session cannot be decrypted in another one, and is not a session.
fn once_place(session: &Session) -> Vec<u8> {
    [b"once", session.cookie.id.as_slice()].concat()
}

/// The encryption of sessions.
pub(super) fn seal(master: &MasterKey) -> Seal {
    Seal::new(master, PURPOSE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::portal;

    /// The minimum size of a cookie that browsers keep, including its name and attributes.
    const COOKIE_CHARS_MAX: usize = 4_096;

    #[test]
    fn browsers_keep_the_cookie_of_the_longest_link() {
        let master = MasterKey::generate();
        let cookie = Cookie {
            by: By::Link(portal::longest_link(&master)),
            began_at: i64::MAX,
            seen_at: i64::MAX,
            id: [255; 16],
            secure: false,
        };
        let sealed = seal(&master).seal(&cookie, b"");
        assert_eq!(seal(&master).open(&sealed, b""), Some(cookie));
        let name_and_attributes = 200;
        let length = sealed.len() + name_and_attributes;
        assert!(length < COOKIE_CHARS_MAX, "{length}");
    }
}
