//! Limits on concurrent forms: each is in memory until it is processed. Signed-in users have a share each, as has each
//! address that is not signed in, so that none can take all. Few forms are large, and those have separate permits.

use std::{
    hash::{DefaultHasher, Hash, Hasher as _},
    net::IpAddr,
};

use axum::{extract::Request, http::Method};
use hyper::body::Body as _;

use super::{Console, FORM_BYTES_MAX, fault::Fault};
use crate::{
    app::{
        access::Actor,
        error::AppError,
        permits::{Full, Permit, Permits},
        sessions::Session,
    },
    listener::{Peer, slots::network},
};

/// The maximum size of a small form.
const SMALL_BYTES_MAX: usize = 16 << 10;
/// Maximum number of small forms, in total and per token or portal link.
const SMALL_MAX: (usize, usize) = (2_048, 64);
/// Maximum number of large ones, including those of unknown size.
const LARGE_MAX: (usize, usize) = (32, 4);
/// Maximum number before signing in, in total and per address; `SIGN_IN_BYTES_MAX` bounds each.
const STRANGERS_MAX: (usize, usize) = (2_048, 64);

/// Forms in progress.
pub(super) struct Forms {
    small: Permits,
    large: Permits,
    strangers: Permits,
}

/// A permit for one, until it is dropped.
pub(super) struct Form {
    _permit: Permit,
    /// Maximum bytes to read.
    pub(super) bytes_max: usize,
}

impl Default for Forms {
    fn default() -> Self {
        let permits = |(all, share)| Permits::new(all, share);
        Self {
            small: permits(SMALL_MAX),
            large: permits(LARGE_MAX),
            strangers: permits(STRANGERS_MAX),
        }
    }
}

impl Forms {
    /// Takes a permit for a form of this size, before it is read.
    fn begin(&self, actor: Actor, bytes: Option<u64>) -> Result<Form, Fault> {
        let is_small = bytes.is_some_and(|bytes| usize::try_from(bytes).is_ok_and(|bytes| bytes <= SMALL_BYTES_MAX));
        let (permits, bytes_max) = if is_small {
            (&self.small, SMALL_BYTES_MAX)
        } else {
            (&self.large, FORM_BYTES_MAX)
        };
        take(permits, &actor, bytes_max)
    }

    /// Takes a permit for a form before signing in.
    fn begin_of_stranger(&self, address: IpAddr) -> Result<Form, Fault> {
        take(&self.strangers, &network(address), SMALL_BYTES_MAX)
    }
}

fn take(permits: &Permits, whose: &impl Hash, bytes_max: usize) -> Result<Form, Fault> {
    let mut hasher = DefaultHasher::new();
    whose.hash(&mut hasher);
    let permit = permits.take(hasher.finish().cast_signed()).map_err(|full| match full {
        Full::All => AppError::Unavailable("too many forms are being submitted, so nothing was changed; try again".to_owned()),
        Full::Share => AppError::Exhausted {
            subject: "forms".to_owned(),
            message: "too many forms are being sent at once from here, so nothing was changed; try again when one of them has \
                      ended"
                .to_owned(),
        },
    })?;
    Ok(Form {
        _permit: permit,
        bytes_max,
    })
}

impl Console {
    /// Takes a permit for the form of a request; `None` if it has none.
    pub(super) fn begin_form(&self, request: &Request, session: Option<&Session>) -> Result<Option<Form>, Fault> {
        if request.method() != Method::POST {
            return Ok(None);
        }
        let form = match session {
            Some(session) => self
                .forms
                .begin(session.caller.actor(), request.body().size_hint().upper()),
            None => {
                let peer = request.extensions().get::<Peer>();
                let peer = peer.map_or(IpAddr::from([0; 4]), |peer| peer.0);
                let address = self.options.proxies.address(peer, request.headers());
                self.forms.begin_of_stranger(address)
            }
        };
        form.map(Some)
    }
}

#[cfg(test)]
mod tests {
    use hookwright_domain::id::{PortalLinkId, TokenId};

    use super::*;

    #[test]
    fn nobody_takes_the_others_forms() {
        let forms = Forms::default();
        let link = |id| Actor::PortalLink(PortalLinkId::from_raw(id));
        let (token, large) = (Actor::Token(TokenId::from_raw(1)), Some(2 << 20));
        let mut held: Vec<Form> = (0..LARGE_MAX.1).map(|_| forms.begin(link(1), large).unwrap()).collect();
        assert!(forms.begin(link(1), large).is_err(), "a link has its share");
        assert!(
            forms.begin(link(1), None).is_err(),
            "what does not say its size is large"
        );
        assert_eq!(forms.begin(link(1), Some(100)).unwrap().bytes_max, SMALL_BYTES_MAX);
        assert_eq!(forms.begin(token, large).unwrap().bytes_max, FORM_BYTES_MAX);
        for id in 2.. {
            match forms.begin(link(id), large) {
                Ok(form) => held.push(form),
                Err(fault) => {
                    assert!(matches!(fault, Fault::App(AppError::Unavailable(_))), "{fault:?}");
                    break;
                }
            }
        }
        assert_eq!(held.len(), LARGE_MAX.0);
        assert!(
            forms.begin(token, Some(100)).is_ok(),
            "small forms have permits of their own"
        );
        held.pop();
        assert!(forms.begin(token, large).is_ok());
    }

    #[test]
    fn an_address_that_nobody_signed_in_from_has_its_share() {
        let forms = Forms::default();
        let begin = |address: &str| forms.begin_of_stranger(address.parse().unwrap());
        let held: Vec<_> = (0..STRANGERS_MAX.1).map(|_| begin("2001:db8::1").unwrap()).collect();
        assert!(begin("2001:db8::2").is_err(), "its network has its share");
        assert!(begin("192.0.2.1").is_ok());
        drop(held);
        assert!(begin("2001:db8::2").is_ok());
    }
}
