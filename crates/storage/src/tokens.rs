//! Tokens and ended sessions: the credentials that callers present. Those in force are also in memory; the store has
//! all of them, including those that ended.

use crate::rows::TokenRow;

/// A token with the name of its organization.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedToken {
    /// The token.
    pub row: TokenRow,
    /// The name of the only organization that it is valid for, even if that was deleted.
    pub organization: Option<String>,
}

impl From<(TokenRow, Option<String>)> for ListedToken {
    fn from((row, organization): (TokenRow, Option<String>)) -> Self {
        Self { row, organization }
    }
}

/// The result of revoking a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Revocation {
    /// It is revoked now.
    Done,
    /// There is no token with that id, or it was revoked before.
    NothingToDo,
    /// It is the last token that administers the whole installation, so it stays.
    LastAdmin,
}
