//! Sessions of the console: who signed in with which token.
//!
//! A session is what its cookie says: the token's id and two times, sealed under the master key, so that every node can
//! read it and no node must remember it. The token is looked up again for every request: once it is revoked or expired
//! the session is over. What a node remembers is which sessions were ended before their time.

use std::collections::HashMap;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hookwright_delivery::clock;
use hookwright_domain::id::TokenId;
use parking_lot::Mutex;
use ring::rand::{SecureRandom as _, SystemRandom};
use sha2::{Digest as _, Sha256};

use super::{
    App,
    access::{Caller, Scope},
    error::{AppError, AppResult},
};

/// How long a session lasts without a request.
const IDLE_US: i64 = 2 * 3_600 * 1_000_000;
/// How long a session lasts whatever happens.
const LIFE_US: i64 = 12 * 3_600 * 1_000_000;
/// A session that was last noted longer ago than this is noted again.
const NOTE_AFTER_US: i64 = 60 * 1_000_000;
/// How many ended sessions are remembered.
const ENDED_MAX: usize = 10_000;
const PLACE: &[u8] = b"console.sessions";
const OVER: &str = "the session is over; sign in again";
/// The form of sealed sessions.
const VERSION: u8 = 1;
const LENGTH: usize = 1 + 8 + 8 + 8 + 16;

/// Somebody who is signed in.
#[derive(Clone, Debug)]
pub struct Session {
    /// Who that is.
    pub caller: Caller,
    began_at: i64,
    seen_at: i64,
    /// Random, so that no two sessions are alike, and known to nobody but the server: the cookie is sealed.
    id: [u8; 16],
}

impl Session {
    /// What forms of this session carry, so that no other site can make them up.
    pub fn form_token(&self) -> String {
        let mut hash = Sha256::new();
        hash.update(b"form token");
        hash.update(self.id);
        hex::encode(hash.finalize())
    }
}

/// Sessions that were ended, until they would have ended by themselves.
#[derive(Default)]
pub(super) struct Ended(Mutex<HashMap<[u8; 16], i64>>);

impl Ended {
    fn put(&self, id: [u8; 16], until: i64, now: i64) {
        let mut ended = self.0.lock();
        ended.retain(|_, until| *until > now);
        if ended.len() < ENDED_MAX {
            ended.insert(id, until);
        } else {
            tracing::warn!("too many sessions were ended at once: this one ends with its cookie");
        }
    }

    fn has(&self, id: &[u8; 16]) -> bool {
        self.0.lock().contains_key(id)
    }
}

impl App {
    /// Begins a session with a token.
    ///
    /// # Errors
    /// When the token is not valid, or may not look at anything.
    pub fn sign_in(&self, token: &str) -> AppResult<Session> {
        let caller = self.authenticate(Some(&format!("Bearer {}", token.trim())))?;
        if caller.require_any(Scope::Read).is_err() {
            let message = "this token may publish and see nothing; sign in with one of scope read, manage or admin";
            return Err(AppError::Denied(message.to_owned()));
        }
        self.begin_session(caller)
    }

    /// Begins a session for somebody whose right to it was checked.
    pub(super) fn begin_session(&self, caller: Caller) -> AppResult<Session> {
        let mut id = [0; 16];
        SystemRandom::new()
            .fill(&mut id)
            .map_err(|_| AppError::internal(&"the operating system gives no randomness"))?;
        let now = clock::now_us();
        Ok(Session {
            caller,
            began_at: now,
            seen_at: now,
            id,
        })
    }

    /// The session of a cookie.
    ///
    /// # Errors
    /// When it is none, or over.
    pub fn session(&self, cookie: &str) -> AppResult<Session> {
        let now = clock::now_us();
        let session = self.read_session(cookie, now).ok_or(AppError::Unauthenticated(OVER))?;
        let fresh = now < session.seen_at + IDLE_US && now < session.began_at + LIFE_US;
        if !fresh || self.ended_sessions.has(&session.id) {
            return Err(AppError::Unauthenticated(OVER));
        }
        Ok(session)
    }

    /// Whether a session whose request goes on for long is still good.
    pub fn is_signed_in(&self, session: &Session) -> bool {
        let now = clock::now_us();
        self.tokens.caller(session.caller.token(), now).is_some()
            && now < session.began_at + LIFE_US
            && !self.ended_sessions.has(&session.id)
    }

    /// The session's cookie, if the browser has none yet or one that grows old.
    pub fn noted_session(&self, session: &Session) -> Option<String> {
        let now = clock::now_us();
        (now >= session.seen_at + NOTE_AFTER_US).then(|| self.seal_session(session))
    }

    /// The value of the session's cookie.
    pub fn seal_session(&self, session: &Session) -> String {
        let mut bytes = Vec::with_capacity(LENGTH);
        bytes.push(VERSION);
        bytes.extend_from_slice(&session.caller.token().raw().to_le_bytes());
        bytes.extend_from_slice(&session.began_at.to_le_bytes());
        bytes.extend_from_slice(&clock::now_us().to_le_bytes());
        bytes.extend_from_slice(&session.id);
        URL_SAFE_NO_PAD.encode(self.key.seal(&bytes, PLACE))
    }

    /// Ends a session on this node; elsewhere it ends with its cookie, or when its time is over.
    pub fn end_session(&self, session: &Session) {
        self.ended_sessions
            .put(session.id, session.began_at + LIFE_US, clock::now_us());
    }

    fn read_session(&self, cookie: &str, now: i64) -> Option<Session> {
        let sealed = URL_SAFE_NO_PAD.decode(cookie).ok()?;
        let plain = self.key.open(&sealed, PLACE).ok()?;
        let bytes: [u8; LENGTH] = plain.as_slice().try_into().ok()?;
        let number = |at: usize| i64::from_le_bytes(bytes[at..at + 8].try_into().unwrap_or_default());
        let caller = self.tokens.caller(TokenId::from_raw(number(1)), now)?;
        (bytes[0] == VERSION).then_some(Session {
            caller,
            began_at: number(9),
            seen_at: number(17),
            id: bytes[25..].try_into().unwrap_or_default(),
        })
    }
}
