//! Portal links: a customer's way into the console, for one organization and a short time.
//!
//! A link carries all that it grants, sealed under a key that is derived from the master key for this alone: no row, and no
//! other token of the installation opens as one. What it grants ends with it.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hookwright_delivery::clock;
use hookwright_domain::id::PortalLinkId;
use hookwright_storage::MasterKey;
use serde_json::json;
use url::Url;

use super::{
    App,
    access::{Actor, Caller, Scope},
    audit,
    error::{AppError, AppResult},
};

/// What the key of links is derived for; a change of their form changes it.
const PURPOSE: &str = "portal-link/1";
/// How long a link may be good for.
const TTL: std::ops::RangeInclusive<Duration> = Duration::from_secs(60)..=Duration::from_secs(86_400);
const RETURN_URL_CHARS_MAX: usize = 1_000;
/// More than the longest token.
const TOKEN_CHARS_MAX: usize = 8_192;
const WRONG: &str = "the portal link is not valid, or has expired; ask the application that gave it for a new one";

/// A link to create.
#[derive(Clone, Copy, Debug)]
pub struct NewPortalLink<'a> {
    /// The organization's name.
    pub organization: &'a str,
    /// How long it is good for.
    pub ttl: Duration,
    /// Whether it lets people look alone.
    pub read_only: bool,
    /// Where the link back points; empty for none.
    pub return_url: &'a str,
}

/// A link that was created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortalLink {
    /// Its id.
    pub id: PortalLinkId,
    /// Where it leads.
    pub url: String,
    /// When it ends.
    pub expires_at: i64,
}

/// What a link opens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortalSession {
    /// Who came by it: limited to the organization, and to the time of the link.
    pub caller: Caller,
    /// The link. It is made once, so that whoever opens links can note which were.
    pub link: PortalLinkId,
    /// The organization's name.
    pub organization: String,
    /// Where the link back points.
    pub return_url: Option<String>,
    /// When it ends.
    pub expires_at: i64,
}

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Grant {
    link: i64,
    organization: i64,
    expires_at: i64,
    read_only: bool,
    return_url: String,
}

impl App {
    /// Creates a link.
    ///
    /// # Errors
    /// When the organization does not exist, a field is at fault, or the caller came by a link itself.
    pub async fn create_portal_link(&self, caller: &Caller, new: NewPortalLink<'_>) -> AppResult<PortalLink> {
        caller.require_token()?;
        let row = self.organization_for(caller, Scope::Manage, new.organization)?;
        if !TTL.contains(&new.ttl) {
            return Err(AppError::invalid("ttl", "INVALID_TTL", "must be 1 min to 24 h"));
        }
        let return_url = return_url(new.return_url)?;
        let ttl = i64::try_from(new.ttl.as_micros()).unwrap_or_default();
        let id = PortalLinkId::from_raw(self.next_id());
        let grant = Grant {
            link: id.raw(),
            organization: row.id,
            expires_at: clock::now_us() + ttl,
            read_only: new.read_only,
            return_url,
        };
        let audit = self.audit(
            Some(caller),
            "portal_link.create",
            Some(row.id),
            format!("portalLinks/{id}"),
            json!({ "read_only": grant.read_only, "expire_time": audit::time(grant.expires_at) }),
        );
        self.store.append_audit(&audit).await?;
        Ok(PortalLink {
            id,
            url: format!("{}/portal/{}", self.limits.console_url, grant.seal(&self.portal_key)),
            expires_at: grant.expires_at,
        })
    }

    /// What a link opens, by its token: the part of its URL after `/portal/`.
    ///
    /// # Errors
    /// When the token is none of this installation, was altered, or has expired, or its organization was deleted.
    pub fn open_portal_link(&self, token: &str) -> AppResult<PortalSession> {
        let grant = Grant::open(&self.portal_key, token, clock::now_us())?;
        let organization = self.registry.organization_name(grant.organization);
        let link = PortalLinkId::from_raw(grant.link);
        let scope = if grant.read_only { Scope::Read } else { Scope::Manage };
        Ok(PortalSession {
            caller: Caller::new(Actor::PortalLink(link), scope, grant.organization, grant.expires_at),
            link,
            organization: organization.ok_or(AppError::Unauthenticated(WRONG))?,
            return_url: Some(grant.return_url).filter(|url| !url.is_empty()),
            expires_at: grant.expires_at,
        })
    }
}

/// The key of links.
pub(super) fn key(master: &MasterKey) -> MasterKey {
    master.derive(PURPOSE)
}

impl Grant {
    fn seal(&self, key: &MasterKey) -> String {
        let mut plain = Vec::with_capacity(25 + self.return_url.len());
        for number in [self.link, self.organization, self.expires_at] {
            plain.extend_from_slice(&number.to_le_bytes());
        }
        plain.push(u8::from(self.read_only));
        plain.extend_from_slice(self.return_url.as_bytes());
        URL_SAFE_NO_PAD.encode(key.seal(&plain, PURPOSE.as_bytes()))
    }

    fn open(key: &MasterKey, token: &str, now_us: i64) -> AppResult<Self> {
        let sealed = Some(token)
            .filter(|token| token.len() <= TOKEN_CHARS_MAX)
            .and_then(|token| URL_SAFE_NO_PAD.decode(token).ok());
        let plain = sealed.and_then(|sealed| key.open(&sealed, PURPOSE.as_bytes()).ok());
        plain
            .as_deref()
            .and_then(Self::read)
            .filter(|grant| now_us < grant.expires_at)
            .ok_or(AppError::Unauthenticated(WRONG))
    }

    fn read(plain: &[u8]) -> Option<Self> {
        let (link, rest) = plain.split_first_chunk::<8>()?;
        let (organization, rest) = rest.split_first_chunk::<8>()?;
        let (expires_at, rest) = rest.split_first_chunk::<8>()?;
        let (read_only, return_url) = rest.split_first()?;
        Some(Self {
            link: i64::from_le_bytes(*link),
            organization: i64::from_le_bytes(*organization),
            expires_at: i64::from_le_bytes(*expires_at),
            read_only: *read_only != 0,
            return_url: std::str::from_utf8(return_url).ok()?.to_owned(),
        })
    }
}

/// A link back must lead to a page, and run nothing in the console. Returns it as browsers read it, without what they drop.
fn return_url(text: &str) -> AppResult<String> {
    if text.is_empty() {
        return Ok(String::new());
    }
    let url = Some(text).filter(|text| text.len() <= RETURN_URL_CHARS_MAX);
    let url = url.and_then(|text| Url::parse(text).ok());
    let url = url.filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    let rule = || format!("must be an http or https URL of at most {RETURN_URL_CHARS_MAX} characters, or empty");
    let url = url.ok_or_else(|| AppError::invalid("return_url", "INVALID_RETURN_URL", rule()))?;
    Ok(url.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_795_455_823_000_000;

    fn grant() -> Grant {
        Grant {
            link: 17,
            organization: 7,
            expires_at: NOW + 1,
            read_only: true,
            return_url: "https://app.example/settings?tab=hooks".to_owned(),
        }
    }

    #[test]
    fn a_link_opens_until_it_expires() {
        let key = key(&MasterKey::generate());
        for grant in [
            grant(),
            Grant {
                return_url: String::new(),
                read_only: false,
                ..grant()
            },
        ] {
            let token = grant.seal(&key);
            assert_eq!(Grant::open(&key, &token, NOW).unwrap(), grant);
            assert!(Grant::open(&key, &token, NOW + 1).is_err(), "expired");
            assert!(
                token
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)),
                "{token}"
            );
        }
        assert_ne!(grant().seal(&key), grant().seal(&key), "each has a nonce");
    }

    #[test]
    fn a_link_that_was_forged_altered_or_cut_does_not_open() {
        let master = MasterKey::generate();
        let key = key(&master);
        let token = grant().seal(&key);
        let refused = |token: &str| matches!(Grant::open(&key, token, NOW), Err(AppError::Unauthenticated(WRONG)));
        for cut in 0..token.len() {
            assert!(refused(&token[..cut]), "cut to {cut}");
        }
        let sealed = URL_SAFE_NO_PAD.decode(&token).unwrap();
        for at in 0..sealed.len() {
            let mut altered = sealed.clone();
            altered[at] ^= 1;
            assert!(refused(&URL_SAFE_NO_PAD.encode(altered)), "altered at {at}");
        }
        let plain = b"\x11\0\0\0\0\0\0\0\x07\0\0\0\0\0\0\0\xff\xff\xff\xff\xff\xff\xff\x7f\0";
        for (forged, why) in [
            (URL_SAFE_NO_PAD.encode(plain), "not sealed"),
            (
                URL_SAFE_NO_PAD.encode(master.seal(plain, PURPOSE.as_bytes())),
                "sealed under the master key itself",
            ),
            (
                URL_SAFE_NO_PAD.encode(key.seal(plain, b"signing_secrets/1")),
                "sealed for another place",
            ),
            (
                grant().seal(&super::key(&MasterKey::generate())),
                "of another installation",
            ),
            (grant().seal(&master.derive("another purpose")), "of another purpose"),
            (format!("{token}AAAA"), "longer"),
            ("A".repeat(TOKEN_CHARS_MAX + 1), "far too long"),
            ("hw_0000".to_owned(), "an API token"),
            (String::new(), "nothing"),
        ] {
            assert!(refused(&forged), "{why}");
        }
    }

    #[test]
    fn a_link_back_leads_to_a_page() {
        for good in ["", "https://app.example/", "http://127.0.0.1:3000/x?y=z#a"] {
            assert_eq!(return_url(good).unwrap(), good);
        }
        assert_eq!(return_url(" https://a.example/\nb\t").unwrap(), "https://a.example/b");
        let long = format!("https://app.example/{}", "x".repeat(1_000));
        for bad in [
            "javascript:alert(1)",
            "/settings",
            "app.example",
            "data:text/html,x",
            "https://",
            &long,
        ] {
            assert!(return_url(bad).is_err(), "{bad}");
        }
    }
}
