//! Sessions of the console: who signed in, with a token or by a portal link.
//!
//! A session is what its cookie says, sealed under a key that is derived from the master key for this alone: every node can
//! read it, and no node must remember it. Token or link are looked up again for every request: once the token is revoked, or
//! the time of either is over, so is the session. Sessions that operators end before their time are noted in the store, and known
//! to every node before the answer. Those of customers are known to the node that was asked alone: they are short, and nobody
//! who has a link is to make all nodes work.

use std::collections::HashMap;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hookwright_delivery::clock;
use hookwright_domain::id::TokenId;
use hookwright_storage::MasterKey;
use parking_lot::Mutex;
use ring::rand::{SecureRandom as _, SystemRandom};

use super::{
    App,
    access::{Actor, Caller, Scope},
    error::{AppError, AppResult},
};

/// What the key of sessions is derived for; a change of their form changes it.
const PURPOSE: &str = "console-session/1";
/// How long a session lasts without a request.
const IDLE_US: i64 = 2 * 3_600 * 1_000_000;
/// How long a session lasts whatever happens.
const LIFE_US: i64 = 12 * 3_600 * 1_000_000;
/// A session that was last noted longer ago than this is noted again.
const NOTE_AFTER_US: i64 = 60 * 1_000_000;
/// How many ended sessions of each kind are remembered.
const ENDED_MAX: usize = 10_000;
/// More than the longest cookie that a browser keeps.
const COOKIE_CHARS_MAX: usize = 8_192;
const OVER: &str = "the session is over; sign in again";

/// Somebody who is signed in.
#[derive(Clone, Debug)]
pub struct Session {
    /// Who that is.
    pub caller: Caller,
    /// Where the link back points, for those who came by a portal link that has one.
    pub return_url: Option<String>,
    began_at: i64,
    seen_at: i64,
    /// Random, so that no two sessions are alike, and known to nobody but the server: the cookie is sealed.
    id: [u8; 16],
    /// Whether it began over TLS: then its cookie never goes anywhere else.
    secure: bool,
    /// The portal link, for those who came by one; empty for others.
    link: String,
}

impl Session {
    /// Whether it began over TLS.
    pub fn is_secure(&self) -> bool {
        self.secure
    }

    /// What tells it from every other session.
    pub fn id(&self) -> &[u8; 16] {
        &self.id
    }

    /// Whether it was begun by a portal link.
    pub fn is_portal(&self) -> bool {
        !self.link.is_empty()
    }
}

/// Sessions that were ended, until they would have ended by themselves.
#[derive(Default)]
pub(super) struct Ended(Mutex<HashMap<[u8; 16], i64>>);

impl Ended {
    fn put(&self, id: [u8; 16], until: i64, now: i64) {
        let mut ended = self.0.lock();
        if ended.len() >= ENDED_MAX {
            ended.retain(|_, until| *until > now);
        }
        // The one that would end next by itself makes room.
        if ended.len() >= ENDED_MAX
            && let Some(next) = ended.iter().min_by_key(|(_, until)| **until).map(|(id, _)| *id)
        {
            ended.remove(&next);
        }
        ended.insert(id, until);
    }

    /// Takes in what the store knows.
    pub(super) fn learn(&self, rows: Vec<(Vec<u8>, i64)>, now: i64) {
        for (id, until) in rows {
            if let Ok(id) = id.try_into() {
                self.put(id, until, now);
            }
        }
    }

    fn has(&self, id: &[u8; 16]) -> bool {
        self.0.lock().contains_key(id)
    }
}

/// What a cookie says.
#[derive(Debug, PartialEq, Eq)]
struct Sealed {
    /// Zero for those who came by a portal link.
    token: i64,
    began_at: i64,
    seen_at: i64,
    id: [u8; 16],
    secure: bool,
    link: String,
}

impl App {
    /// Begins a session with a token; `secure` if it came over TLS.
    ///
    /// # Errors
    /// When the token is not valid, or may not look at anything.
    pub fn sign_in(&self, token: &str, secure: bool) -> AppResult<Session> {
        let caller = self.authenticate(Some(&format!("Bearer {}", token.trim())))?;
        if caller.require_any(Scope::Read).is_err() {
            let message = "this token may publish and see nothing; sign in with one of scope read, manage or admin";
            return Err(AppError::Denied(message.to_owned()));
        }
        begin(caller, None, String::new(), secure)
    }

    /// Begins a session by a portal link; `secure` if it came over TLS.
    ///
    /// # Errors
    /// When the link does not open.
    pub fn sign_in_by_link(&self, link: &str, secure: bool) -> AppResult<Session> {
        let opened = self.open_portal_link(link)?;
        begin(opened.caller, opened.return_url, link.to_owned(), secure)
    }

    /// The session of a cookie.
    ///
    /// # Errors
    /// When it is none, or over.
    pub fn session(&self, cookie: &str) -> AppResult<Session> {
        let now = clock::now_us();
        let sealed = Sealed::open(&self.session_key, cookie).ok_or(AppError::Unauthenticated(OVER))?;
        let is_fresh = now < sealed.seen_at + IDLE_US && now < sealed.began_at + LIFE_US;
        if !is_fresh || self.ended(!sealed.link.is_empty()).has(&sealed.id) {
            return Err(AppError::Unauthenticated(OVER));
        }
        let (caller, return_url) = if sealed.link.is_empty() {
            let caller = self.tokens.caller(TokenId::from_raw(sealed.token), now);
            (caller.ok_or(AppError::Unauthenticated(OVER))?, None)
        } else {
            let opened = self.open_portal_link(&sealed.link)?;
            (opened.caller, opened.return_url)
        };
        Ok(Session {
            caller,
            return_url,
            began_at: sealed.began_at,
            seen_at: sealed.seen_at,
            id: sealed.id,
            secure: sealed.secure,
            link: sealed.link,
        })
    }

    /// What forms carry, so that no other site can make them up: the same for all sessions of a token or link, so that a form
    /// outlives the session that it was opened in, and another one for every stretch of a session's greatest age. The one that
    /// is given to forms comes first, then the one before.
    pub fn form_tokens(&self, session: &Session) -> [String; 2] {
        let stretch = clock::now_us() / LIFE_US;
        [stretch, stretch - 1].map(|stretch| {
            let purpose = format!("{PURPOSE}/form/{stretch}/{}", session.caller.actor());
            hex::encode(self.session_key.derive(&purpose).expose())
        })
    }

    /// Seals what the next page of a session is to show once.
    pub fn seal_once(&self, session: &Session, text: &str) -> String {
        URL_SAFE_NO_PAD.encode(self.session_key.seal(text.as_bytes(), &once_place(session)))
    }

    /// Opens what was sealed for a session.
    pub fn open_once(&self, session: &Session, sealed: &str) -> Option<String> {
        let sealed = URL_SAFE_NO_PAD.decode(sealed).ok()?;
        let plain = self.session_key.open(&sealed, &once_place(session)).ok()?;
        String::from_utf8(plain).ok()
    }

    fn ended(&self, is_portal: bool) -> &Ended {
        if is_portal {
            &self.ended_portal_sessions
        } else {
            &self.ended_sessions
        }
    }

    /// Whether a session whose request goes on for long is still good.
    pub fn is_signed_in(&self, session: &Session) -> bool {
        let now = clock::now_us();
        self.recheck(&session.caller).is_ok()
            && now < session.began_at + LIFE_US
            && now < session.seen_at + IDLE_US
            && !self.ended(session.is_portal()).has(&session.id)
    }

    /// The session's cookie, if the browser has one that grows old.
    pub fn noted_session(&self, session: &Session) -> Option<String> {
        let is_old = clock::now_us() >= session.seen_at + NOTE_AFTER_US;
        is_old.then(|| self.seal_session(session))
    }

    /// The value of the session's cookie.
    pub fn seal_session(&self, session: &Session) -> String {
        let sealed = Sealed {
            token: match session.caller.actor() {
                Actor::Token(id) => id.raw(),
                Actor::PortalLink(_) => 0,
            },
            began_at: session.began_at,
            seen_at: clock::now_us(),
            id: session.id,
            secure: session.secure,
            link: session.link.clone(),
        };
        sealed.seal(&self.session_key)
    }

    /// Ends a session: one of a token on every node; one of a portal link here, and elsewhere with its cookie, or when its time
    /// is over.
    ///
    /// # Errors
    /// When the store does not take it.
    pub async fn end_session(&self, session: &Session) -> AppResult<()> {
        let life = session.began_at + LIFE_US;
        let until = session
            .caller
            .expires_at()
            .map_or(life, |expires_at| life.min(expires_at));
        let now = clock::now_us();
        self.ended(session.is_portal()).put(session.id, until, now);
        if session.is_portal() {
            return Ok(());
        }
        let mut changing = self.changing().await?;
        changing.store().insert_ended_session(&session.id, until, now).await?;
        changing.settle().await
    }
}

/// Begins a session, unlike any other.
fn begin(caller: Caller, return_url: Option<String>, link: String, secure: bool) -> AppResult<Session> {
    let mut id = [0; 16];
    SystemRandom::new()
        .fill(&mut id)
        .map_err(|_| AppError::internal(&"the operating system gives no randomness"))?;
    let now = clock::now_us();
    Ok(Session {
        caller,
        return_url,
        began_at: now,
        seen_at: now,
        id,
        secure,
        link,
    })
}

/// What is sealed for one session opens in no other.
fn once_place(session: &Session) -> Vec<u8> {
    [b"once", session.id.as_slice()].concat()
}

/// The key of sessions.
pub(super) fn key(master: &MasterKey) -> MasterKey {
    master.derive(PURPOSE)
}

impl Sealed {
    fn seal(&self, key: &MasterKey) -> String {
        let mut plain = Vec::with_capacity(41 + self.link.len());
        for number in [self.token, self.began_at, self.seen_at] {
            plain.extend_from_slice(&number.to_le_bytes());
        }
        plain.extend_from_slice(&self.id);
        plain.push(u8::from(self.secure));
        plain.extend_from_slice(self.link.as_bytes());
        URL_SAFE_NO_PAD.encode(key.seal(&plain, PURPOSE.as_bytes()))
    }

    fn open(key: &MasterKey, cookie: &str) -> Option<Self> {
        let cookie = Some(cookie).filter(|cookie| cookie.len() <= COOKIE_CHARS_MAX)?;
        let plain = key
            .open(&URL_SAFE_NO_PAD.decode(cookie).ok()?, PURPOSE.as_bytes())
            .ok()?;
        let (token, rest) = plain.split_first_chunk::<8>()?;
        let (began_at, rest) = rest.split_first_chunk::<8>()?;
        let (seen_at, rest) = rest.split_first_chunk::<8>()?;
        let (id, rest) = rest.split_first_chunk::<16>()?;
        let (secure, link) = rest.split_first()?;
        Some(Self {
            token: i64::from_le_bytes(*token),
            began_at: i64::from_le_bytes(*began_at),
            seen_at: i64::from_le_bytes(*seen_at),
            id: *id,
            secure: *secure != 0,
            link: std::str::from_utf8(link).ok()?.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_that_was_forged_altered_or_cut_is_none() {
        let master = MasterKey::generate();
        let key = key(&master);
        let sealed = |link: &str| Sealed {
            token: 7,
            began_at: 8,
            seen_at: 9,
            id: [3; 16],
            secure: !link.is_empty(),
            link: link.to_owned(),
        };
        for link in ["", "a-link"] {
            let cookie = sealed(link).seal(&key);
            assert_eq!(Sealed::open(&key, &cookie), Some(sealed(link)));
            for cut in 0..cookie.len() {
                assert_eq!(Sealed::open(&key, &cookie[..cut]), None, "cut to {cut}");
            }
            let bytes = URL_SAFE_NO_PAD.decode(&cookie).unwrap();
            for at in 0..bytes.len() {
                let mut altered = bytes.clone();
                altered[at] ^= 1;
                assert_eq!(
                    Sealed::open(&key, &URL_SAFE_NO_PAD.encode(altered)),
                    None,
                    "altered at {at}"
                );
            }
            assert_eq!(
                Sealed::open(&master.derive("portal-link/1"), &cookie),
                None,
                "another purpose"
            );
            assert_eq!(
                Sealed::open(&super::key(&MasterKey::generate()), &cookie),
                None,
                "another installation"
            );
        }
    }

    #[test]
    fn what_is_remembered_of_ended_sessions_is_bounded() {
        let ended = Ended::default();
        let id = |number: usize| u128::try_from(number).unwrap().to_le_bytes();
        let until = |number: usize| 10 + i64::try_from(number).unwrap();
        (0..ENDED_MAX).for_each(|number| ended.put(id(number), until(number), 0));
        ended.put(id(ENDED_MAX), 100_000, 0);
        assert!(ended.has(&id(ENDED_MAX)), "the newest is never left out");
        assert!(
            !ended.has(&id(0)) && ended.has(&id(1)),
            "the one that ends next made room"
        );
        ended.put(id(ENDED_MAX + 1), 100_000, until(5));
        assert!(
            !ended.has(&id(5)) && ended.has(&id(6)),
            "and then those whose time is over"
        );
    }
}
