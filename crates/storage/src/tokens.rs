//! Tokens, and sessions that were ended: what callers show. Those in force are in memory too; here all are, also those that ended.

use std::collections::HashMap;

use crate::{
    configuration::ConfigurationPart,
    error::StoreError,
    postgres,
    rows::{AuditRow, EndedSessionRow, RevokedLinkRow, TokenRow},
    sqlite,
    store::{Backend, Store, configure, read, write},
};

/// A token with the name of its organization.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedToken {
    /// The token.
    pub row: TokenRow,
    /// The name of the only organization that it is good for, also of one that was deleted.
    pub organization: Option<String>,
}

impl From<(TokenRow, Option<String>)> for ListedToken {
    fn from((row, organization): (TokenRow, Option<String>)) -> Self {
        Self { row, organization }
    }
}

/// What came of revoking a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Revocation {
    /// It is revoked now.
    Done,
    /// There is none of that id that was not revoked already.
    NothingToDo,
    /// It is the last one that administers the whole installation: it stays.
    LastAdmin,
}

impl Store {
    /// Stores a token.
    ///
    /// # Errors
    /// When the store refuses or does not answer.
    pub async fn insert_token(&self, row: &TokenRow, audit: &AuditRow) -> Result<(), StoreError> {
        let (row, audit) = (row.clone(), audit.clone());
        configure!(self, ConfigurationPart::Tokens, None, insert_token(&row, &audit))
    }

    /// Notes that a session of the console was ended, and forgets those that would have ended by themselves before `over`. If
    /// `and_before` says when a session of its token began that was ended too, all that began earlier are over with that one,
    /// and no longer noted one by one.
    ///
    /// # Errors
    /// When the store refuses or does not answer.
    pub async fn insert_ended_session(
        &self,
        row: &EndedSessionRow,
        and_before: Option<i64>,
        over: i64,
    ) -> Result<(), StoreError> {
        let row = row.clone();
        configure!(
            self,
            ConfigurationPart::Sessions,
            None,
            insert_ended_session(&row, and_before, over)
        )
    }

    /// Notes that a portal link was revoked, and forgets those that would have ended by `over`. Returns whether it was noted: an
    /// organization can have `most` of them.
    ///
    /// # Errors
    /// When the store refuses or does not answer.
    pub async fn insert_revoked_link(
        &self,
        row: RevokedLinkRow,
        most: i64,
        over: i64,
        audit: &AuditRow,
    ) -> Result<bool, StoreError> {
        let audit = audit.clone();
        configure!(
            self,
            ConfigurationPart::Tokens,
            None,
            insert_revoked_link(&row, most, over, &audit)
        )
    }

    /// One token.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn get_token(&self, id: i64) -> Result<Option<ListedToken>, StoreError> {
        read!(self, get_token(id))
    }

    /// Tokens below an id, newest first; those of one organization, if one is given.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn list_tokens(
        &self,
        organization: Option<i64>,
        before: i64,
        size: usize,
    ) -> Result<Vec<ListedToken>, StoreError> {
        let size = i64::try_from(size).unwrap_or(i64::MAX);
        read!(self, list_tokens(organization, before, size))
    }

    /// The names of tokens that are known, by id, also of those that ended.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn token_names(&self, ids: Vec<i64>) -> Result<HashMap<i64, String>, StoreError> {
        if ids.is_empty() {
            return Ok(HashMap::new());
        }
        read!(self, token_names(&ids))
    }

    /// How many tokens are in force that are limited to an organization, or to none.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn count_tokens(&self, organization: Option<i64>, now: i64) -> Result<i64, StoreError> {
        read!(self, count_tokens(organization, now))
    }

    /// Revokes a token, unless it is the last one in force with the scope `admin_scope` and without an organization.
    ///
    /// # Errors
    /// When the store refuses or does not answer.
    pub async fn revoke_token(
        &self,
        id: i64,
        admin_scope: &'static str,
        now: i64,
        audit: &AuditRow,
    ) -> Result<Revocation, StoreError> {
        let audit = audit.clone();
        configure!(
            self,
            ConfigurationPart::Tokens,
            None,
            revoke_token(id, admin_scope, now, &audit)
        )
    }

    /// Removes tokens that were revoked, or expired, before a time.
    ///
    /// # Errors
    /// When the store refuses or does not answer.
    pub async fn forget_tokens(&self, before_us: i64) -> Result<usize, StoreError> {
        write!(self, forget_tokens(before_us))
    }
}
