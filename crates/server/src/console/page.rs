//! The frame of every page: title, navigation, the signed-in user, and the result of the last action.

use std::str::FromStr;

use askama::Template;
use axum::{
    http::StatusCode,
    response::{Html, IntoResponse as _, Response},
};
use hookwright_domain::random;
use hookwright_storage::OrganizationRow;

use super::{Console, assets, fault::Fault, fields::Fields, session::Visitor, site::Site};
use crate::app::{access::Scope, error::AppError};

/// Renders a page.
pub(super) fn html(template: &impl Template) -> Response {
    match template.render() {
        Ok(text) => Html(text).into_response(),
        // Only writing can fail, and writing to memory does not.
        Err(error) => Fault::App(AppError::internal(&error)).into_response(),
    }
}

/// Renders the page of a rejected form.
pub(super) fn refused(template: &impl Template) -> Response {
    (StatusCode::UNPROCESSABLE_ENTITY, html(template)).into_response()
}

/// The frame around a page's contents.
pub(super) struct Frame {
    pub(super) title: String,
    pub(super) site: Site,
    /// The active entry of the navigation.
    pub(super) section: &'static str,
    pub(super) who: Option<Who>,
    pub(super) organization: Option<Tenant>,
    /// The result of the last action, as a sentence.
    pub(super) done: Option<&'static str>,
    /// The page's own address for reloads, if it answers a form with another address.
    pub(super) address: Option<String>,
}

/// The viewer of a page.
pub(super) struct Who {
    pub(super) scope: &'static str,
    /// The only organization that they see.
    pub(super) only: Option<String>,
    /// The token of every form.
    pub(super) form_token: String,
    pub(super) is_admin: bool,
    /// Whether they see the whole installation.
    pub(super) sees_all: bool,
    /// Whether they may manage the tokens of what they see.
    pub(super) has_tokens: bool,
    /// Whether they are operators, and not customers with a portal link.
    pub(super) is_operator: bool,
    /// The target of the link back.
    pub(super) return_url: Option<String>,
}

/// The organization of a page.
pub(super) struct Tenant {
    pub(super) name: String,
    pub(super) display_name: String,
}

impl Frame {
    /// The frame of a page without a viewer.
    pub(super) fn bare(site: Site, title: &str) -> Self {
        Self {
            title: title.to_owned(),
            site,
            section: "",
            who: None,
            organization: None,
            done: None,
            address: None,
        }
    }

    /// The frame of a page for a viewer.
    pub(super) fn new(console: &Console, visitor: &Visitor, section: &'static str, title: impl Into<String>) -> Self {
        let caller = visitor.caller();
        Self {
            title: title.into(),
            site: visitor.site(),
            section,
            who: Some(Who {
                scope: caller.scope().as_str(),
                only: console.app.own_organization(caller).map(|row| row.name),
                form_token: visitor.form_token().to_owned(),
                is_admin: caller.require(Scope::Admin).is_ok(),
                sees_all: caller.organization().is_none(),
                has_tokens: caller.require_any(Scope::Admin).is_ok(),
                is_operator: caller.require_any(Scope::Manage).is_ok() && visitor.site() == Site::Console,
                return_url: visitor.session().return_url.clone(),
            }),
            organization: None,
            done: None,
            address: None,
        }
    }

    /// The frame of an organization's page.
    pub(super) fn within(
        console: &Console,
        visitor: &Visitor,
        place: &Place,
        section: &'static str,
        title: impl Into<String>,
    ) -> Self {
        Self {
            organization: Some(Tenant {
                name: place.row.name.clone(),
                display_name: place.row.display_name.clone(),
            }),
            ..Self::new(console, visitor, section, title)
        }
    }

    /// The frame of a page that exists for the installation and for each organization.
    pub(super) fn at(
        console: &Console,
        visitor: &Visitor,
        place: Option<&Place>,
        section: &'static str,
        title: &str,
    ) -> Self {
        match place {
            Some(place) => Self::within(console, visitor, place, section, title),
            None => Self::new(console, visitor, section, title),
        }
    }

    /// Adds the result of the last action, which the address names.
    pub(super) fn after(self, fields: &Fields) -> Self {
        let done = DONE.iter().find(|(name, _)| *name == fields.get("done"));
        Self {
            done: done.map(|(_, sentence)| *sentence),
            ..self
        }
    }

    /// Sets the page's own address, whichever form it answers.
    pub(super) fn with_address(self, address: impl Into<String>) -> Self {
        Self {
            address: Some(address.into()),
            ..self
        }
    }

    /// Whether a customer views it.
    pub(super) fn is_portal(&self) -> bool {
        self.site == Site::Portal
    }

    /// Whether an admin of the installation views it.
    pub(super) fn is_admin(&self) -> bool {
        self.who.as_ref().is_some_and(|who| who.is_admin)
    }

    /// The prefix of the site's addresses.
    pub(super) fn root(&self) -> &'static str {
        self.site.root()
    }

    /// Identifies this form, so that repeated submissions take effect once. Empty without randomness: then each submission
    /// takes effect.
    pub(super) fn nonce(&self) -> String {
        random::bytes::<12>().map(hex::encode).unwrap_or_default()
    }

    /// The token of every form.
    pub(super) fn form_token(&self) -> &str {
        self.who.as_ref().map_or("", |who| &who.form_token)
    }

    /// The address of the organization's pages.
    pub(super) fn base(&self) -> String {
        let organization = self.organization.as_ref();
        organization.map_or_else(String::new, |tenant| self.site.organization(&tenant.name))
    }

    pub(super) fn style(&self) -> String {
        assets::style()
    }

    pub(super) fn script(&self) -> String {
        assets::script()
    }

    pub(super) fn icon(&self) -> String {
        assets::icon()
    }
}

/// Messages about the last action: the address contains only the name, so that nobody can inject text.
const DONE: &[(&str, &str)] = &[
    ("created", "Created."),
    ("updated", "Saved. A ping with the new settings is being sent."),
    ("saved", "Saved."),
    ("deleted", "Deleted."),
    (
        "paused",
        "Paused. Events published while paused are not queued; replay them later.",
    ),
    ("resumed", "Resumed. A ping and the backlog are being sent."),
    ("discarded", "Resumed. A ping is being sent; the backlog was cancelled."),
    (
        "discarding",
        "Resumed. A ping is being sent; the backlog will not be sent and is being cancelled.",
    ),
    (
        "deleting",
        "Deleted. The backlog will not be sent and is being cancelled.",
    ),
    ("completed", "Rotation complete: only the new secret signs now."),
    ("retry", "Retrying now."),
    ("skip", "Delivery skipped."),
    ("cancel", "Delivery cancelled."),
    ("replay", "Replayed. You are viewing the new delivery."),
    ("stopped", "Replay stopped. Deliveries that it created continue."),
    ("published", "Published. The delivery results are below."),
    ("pinged", "Ping created. You are viewing its delivery."),
    ("revoked", "Token revoked. Calls that use it fail."),
    (
        "link-revoked",
        "Link revoked. It no longer works, and its sessions have ended.",
    ),
];

/// An organization that the visitor may see, and the visitor's rights in it.
pub(super) struct Place {
    site: Site,
    pub(super) row: OrganizationRow,
    pub(super) may_manage: bool,
    pub(super) may_publish: bool,
}

impl Place {
    pub(super) fn name(&self) -> &str {
        &self.row.name
    }

    /// The address of the organization's pages.
    pub(super) fn base(&self) -> String {
        self.site.organization(&self.row.name)
    }
}

/// The address of a page that exists for the installation and for each organization.
pub(super) fn address(place: Option<&Place>, page: &str) -> String {
    let base = place.map_or_else(|| Site::Console.root().to_owned(), Place::base);
    format!("{base}/{page}")
}

impl Console {
    /// Admits visitors who may see the installation. For those who are limited to an organization its pages do not exist.
    pub(super) fn enter_installation(&self, visitor: &Visitor) -> Result<(), Fault> {
        match visitor.caller().organization() {
            None => Ok(()),
            Some(_) => Err(Fault::NotFound),
        }
    }

    /// The organization and the resource that an address names. An invalid id names nothing.
    pub(super) fn enter_at<Id: FromStr>(
        &self,
        visitor: &Visitor,
        (organization, id): (String, String),
    ) -> Result<(Place, Id), Fault> {
        let place = self.enter(visitor, &organization)?;
        let id = id.parse().map_err(|_| Fault::NotFound)?;
        Ok((place, id))
    }

    /// The organization, if the visitor may see it. For a visitor who is limited to another one it does not exist.
    pub(super) fn enter(&self, visitor: &Visitor, name: &str) -> Result<Place, Fault> {
        let caller = visitor.caller();
        let row = match self.app.get_organization(caller, name) {
            Err(AppError::Denied(_)) if caller.organization().is_some() => return Err(Fault::NotFound),
            answer => answer?,
        };
        Ok(Place {
            site: visitor.site(),
            may_manage: caller.require_for(Scope::Manage, row.id).is_ok(),
            may_publish: caller.require_for(Scope::Publish, row.id).is_ok(),
            row,
        })
    }
}
