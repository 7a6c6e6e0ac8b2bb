//! The two sites that are served: the console, for those who sign in with a token, and the portal, for customers who come by a
//! link. A page is of the site that its address names, and rests on that site's session alone: a product that embeds the portal
//! never shows what an operator sees who is signed in beside it, and no link takes the place of an operator's session.

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

    /// What the site's addresses begin with.
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
