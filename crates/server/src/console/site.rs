//! The two sites: the console, for users with a token, and the portal, for customers with a link. A page belongs to the site
//! of its address, and uses only that site's session. A product that embeds the portal therefore never shows the view of an
//! operator who is signed in at the same time, and a link never replaces an operator's session.

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Site {
    Console,
    Portal,
}

impl Site {
    /// The site of an address.
    pub(super) fn of(path: &str) -> Self {
        if path == "/portal" || path.starts_with("/portal/") {
            Self::Portal
        } else {
            Self::Console
        }
    }

    /// The prefix of the site's addresses.
    pub(super) const fn root(self) -> &'static str {
        match self {
            Self::Console => "/console",
            Self::Portal => "/portal",
        }
    }

    /// The address of an organization's pages.
    pub(super) fn organization(self, name: &str) -> String {
        format!("{}/organizations/{name}", self.root())
    }

    /// The name of the session's cookie.
    pub(super) const fn cookie(self) -> &'static str {
        match self {
            Self::Console => "hookwright",
            Self::Portal => "hookwright-portal",
        }
    }
}
