//! Portal links, which give customers short-term access to one organization in the console.
//!
//! A link contains all that it grants, encrypted for this purpose only (`app::sealed`): it needs no row, and no other token
//! of the installation works as a link. It depends on the API token that created it: once that token is revoked or expires,
//! the link and its sessions are valid on no node. A revoked link has a row, until the longest link would have expired.

use std::time::Duration;

use hookwright_delivery::clock;
use hookwright_domain::id::{PortalLinkId, TokenId};
use hookwright_storage::{MasterKey, RevokedLinkRow};
use serde::{Deserialize, Serialize};
use serde_json::json;
use url::Url;

use super::{
    App,
    access::{Caller, Scope},
    audit,
    error::{AppError, AppResult},
    sealed::Seal,
};

/// The purpose of the encryption; a change of the format changes it.
const PURPOSE: &str = "portal-link/2";
/// Range of a link's lifetime.
const TTL: std::ops::RangeInclusive<Duration> = Duration::from_secs(60)..=Duration::from_secs(86_400);
/// Additional time for which a revocation is kept, because other nodes' clocks may be late.
const CLOCKS_US: i64 = 10 * 60 * 1_000_000;
/// Maximum number of revoked links per organization: all of them are in memory, each for a day.
const REVOKED_MAX: i64 = 10_000;
const RETURN_URL_CHARS_MAX: usize = 1_000;
const WRONG: &str = "the portal link is not valid, or has expired; request a new one from your application";

/// A link to create.
#[derive(Clone, Copy, Debug)]
pub struct NewPortalLink<'a> {
    /// The organization's name.
    pub organization: &'a str,
    /// Its lifetime.
    pub ttl: Duration,
    /// Whether it is read-only.
    pub read_only: bool,
    /// The target of the link back; empty for none.
    pub return_url: &'a str,
}

/// A link that was created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortalLink {
    /// Its id.
    pub id: PortalLinkId,
    /// Its URL.
    pub url: String,
    /// When it expires.
    pub expires_at: i64,
}

/// The access that a link grants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortalSession {
    /// The caller: limited to the organization, and to the lifetimes of the link and of the token that created it.
    pub caller: Caller,
    /// The target of the link back.
    pub return_url: Option<String>,
}

/// The contents of a link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Grant {
    link: i64,
    /// The token that created it.
    token: i64,
    organization: i64,
    expires_at: i64,
    read_only: bool,
    return_url: String,
}

impl App {
    /// Creates a link.
    ///
    /// # Errors
    /// When the organization does not exist, a field is invalid, or the caller has a link itself.
    pub async fn create_portal_link(&self, caller: &Caller, new: NewPortalLink<'_>) -> AppResult<PortalLink> {
        let token = caller.require_token()?;
        let row = self.organization_for(caller, Scope::Portal, new.organization)?;
        if !TTL.contains(&new.ttl) {
            return Err(AppError::invalid("ttl", "INVALID_TTL", "must be 1 min to 24 h"));
        }
        let return_url = return_url(new.return_url)?;
        let ttl = i64::try_from(new.ttl.as_micros()).unwrap_or_default();
        let id = PortalLinkId::from_raw(self.next_id());
        let end = clock::now_us() + ttl;
        let grant = Grant {
            link: id.raw(),
            token: token.raw(),
            organization: row.id,
            expires_at: caller.expires_at().map_or(end, |expires_at| end.min(expires_at)),
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
            url: format!("{}/portal/{}", self.limits.console_url, grant.seal(&self.portal_seal)),
            expires_at: grant.expires_at,
        })
    }

    /// Revokes a link, and ends its sessions on every node. The answer does not reveal whether the link existed.
    ///
    /// # Errors
    /// When the organization does not exist, the caller has a link itself, or the organization has reached the limit on
    /// revoked links.
    pub async fn revoke_portal_link(&self, caller: &Caller, organization: &str, id: PortalLinkId) -> AppResult<()> {
        caller.require_token()?;
        let mut changing = self.changing().await?;
        let row = self.organization_for(caller, Scope::Portal, organization)?;
        let now = clock::now_us();
        let life = i64::try_from(TTL.end().as_micros()).unwrap_or_default();
        let revoked = RevokedLinkRow {
            link_id: id.raw(),
            organization_id: row.id,
            revoked_until: now + life + CLOCKS_US,
        };
        let resource = format!("portalLinks/{id}");
        let audit = self.audit(Some(caller), "portal_link.revoke", Some(row.id), resource, json!({}));
        let store = changing.store();
        if !store.insert_revoked_link(revoked, REVOKED_MAX, now, &audit).await? {
            return Err(AppError::Precondition {
                reason: "REVOKED_LINK_LIMIT_REACHED",
                subject: format!("organizations/{organization}"),
                message: format!(
                    "{REVOKED_MAX} links of organization `{organization}` were revoked within a day, which is the limit; \
                 revoke the token that created them"
                ),
            });
        }
        self.tokens.revoke_link(row.id, id);
        changing.settle().await
    }

    /// The access that a link grants, by its token: the part of its URL after `/portal/`.
    ///
    /// # Errors
    /// When it is not a link of this installation, was altered or has expired, its organization was deleted, or the API
    /// token that created it is no longer active.
    pub fn open_portal_link(&self, link: &str) -> AppResult<PortalSession> {
        let now = clock::now_us();
        let grant = Grant::open(&self.portal_seal, link, now).ok_or(AppError::Unauthenticated(WRONG))?;
        let caller = grant.caller();
        let is_good = self.tokens.check(&caller, now).is_ok();
        if !is_good || self.registry.organization_name(grant.organization).is_none() {
            return Err(AppError::Unauthenticated(WRONG));
        }
        Ok(PortalSession {
            caller,
            return_url: Some(grant.return_url).filter(|url| !url.is_empty()),
        })
    }
}

/// The encryption of links.
pub(super) fn seal(master: &MasterKey) -> Seal {
    Seal::new(master, PURPOSE)
}

impl Grant {
    fn seal(&self, seal: &Seal) -> String {
        seal.seal(self, b"")
    }

    fn open(seal: &Seal, link: &str, now_us: i64) -> Option<Self> {
        seal.open(link, b"").filter(|grant: &Self| now_us < grant.expires_at)
    }

    fn caller(&self) -> Caller {
        let scope = if self.read_only { Scope::Read } else { Scope::Manage };
        let (link, token) = (PortalLinkId::from_raw(self.link), TokenId::from_raw(self.token));
        Caller::by_link(link, token, scope, self.organization, self.expires_at)
    }
}

/// A link back must lead to a page, and must not run anything in the console. Returns it in browsers' normal form.
fn return_url(text: &str) -> AppResult<String> {
    if text.is_empty() {
        return Ok(String::new());
    }
    let url = Url::parse(text).ok();
    let url = url.filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    // In its encrypted form: browsers keep no cookie above 4,096 characters.
    let url = url.map(|url| url.as_str().replace('\\', "%5C"));
    let url = url.filter(|url| url.len() <= RETURN_URL_CHARS_MAX);
    let rule = || {
        format!(
            "must be an http or https URL of at most {RETURN_URL_CHARS_MAX} characters when percent-encoded, or empty"
        )
    };
    url.ok_or_else(|| AppError::invalid("return_url", "INVALID_RETURN_URL", rule()))
}

/// A link of the maximum length.
#[cfg(test)]
pub(super) fn longest_link(master: &MasterKey) -> String {
    let start = "https://app.example/";
    let longest = format!("{start}{}", "x".repeat(RETURN_URL_CHARS_MAX - start.len()));
    let grant = Grant {
        link: i64::MAX,
        token: i64::MAX,
        organization: i64::MAX,
        expires_at: i64::MAX,
        read_only: false,
        return_url: return_url(&longest).expect("it is as long as it may be"),
    };
    grant.seal(&seal(master))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_795_455_823_000_000;

    #[test]
    fn a_link_opens_until_it_expires() {
        let seal = seal(&MasterKey::generate());
        let grant = Grant {
            link: 17,
            token: 3,
            organization: 7,
            expires_at: NOW + 1,
            read_only: true,
            return_url: "https://app.example/settings?tab=hooks".to_owned(),
        };
        let link = grant.seal(&seal);
        assert_eq!(Grant::open(&seal, &link, NOW), Some(grant));
        assert_eq!(Grant::open(&seal, &link, NOW + 1), None, "expired");
    }

    #[test]
    fn a_link_back_leads_to_a_page() {
        for good in ["", "https://app.example/", "http://127.0.0.1:3000/x?y=z#a"] {
            assert_eq!(return_url(good).unwrap(), good);
        }
        assert_eq!(return_url(" https://a.example/\nb\t").unwrap(), "https://a.example/b");
        // In the encrypted form a backslash would take twice its space.
        assert_eq!(return_url(r"https://a.example/#\").unwrap(), "https://a.example/#%5C");
        let long = format!("https://app.example/{}", "x".repeat(1_000));
        let encoded = format!("https://app.example/{}", "ä".repeat(200));
        assert!(
            encoded.len() < RETURN_URL_CHARS_MAX,
            "it is long only where browsers send it"
        );
        for bad in [
            "javascript:alert(1)",
            "/settings",
            "app.example",
            "data:text/html,x",
            "https://",
            &long,
            &encoded,
        ] {
            assert!(return_url(bad).is_err(), "{bad}");
        }
    }
}
