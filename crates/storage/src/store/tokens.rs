//! Tokens, ended sessions and revoked links.

use std::collections::HashMap;

use super::{Store, configure, read, write};
use crate::{
    configuration::ConfigurationPart,
    error::StoreError,
    rows::{AuditRow, EndedSessionRow, RevokedLinkRow, TokenRow},
    tokens::{ListedToken, Revocation},
};

impl Store {
    /// Stores a token.
    ///
    /// # Errors
    /// Fails if the store refuses or does not answer.
    pub async fn insert_token(&self, row: &TokenRow, audit: &AuditRow) -> Result<(), StoreError> {
        let (row, audit) = (row.clone(), audit.clone());
        configure!(self, ConfigurationPart::Tokens, None, insert_token(&row, &audit))
    }

    /// Records an ended session of the console, and deletes the records of sessions that would have expired before
    /// `over`. With `and_before`, the time at which an ended session of the same token began, all its earlier sessions
    /// have ended too, and their records are deleted.
    ///
    /// # Errors
    /// Fails if the store refuses or does not answer.
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

    /// Records a revoked portal link, and deletes the records of links that would have expired by `over`. Returns
    /// whether it was recorded: an organization can have `most` of them.
    ///
    /// # Errors
    /// Fails if the store refuses or does not answer.
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
    /// Fails if the store does not answer.
    pub async fn get_token(&self, id: i64) -> Result<Option<ListedToken>, StoreError> {
        read!(self, get_token(id))
    }

    /// Tokens with ids below an id, newest first; those of one organization, if one is given.
    ///
    /// # Errors
    /// Fails if the store does not answer.
    pub async fn list_tokens(
        &self,
        organization: Option<i64>,
        before: i64,
        size: usize,
    ) -> Result<Vec<ListedToken>, StoreError> {
        let size = i64::try_from(size).unwrap_or(i64::MAX);
        read!(self, list_tokens(organization, before, size))
    }

    /// The names of known tokens by id, including those that ended.
    ///
    /// # Errors
    /// Fails if the store does not answer.
    pub async fn token_names(&self, ids: Vec<i64>) -> Result<HashMap<i64, String>, StoreError> {
        if ids.is_empty() {
            return Ok(HashMap::new());
        }
        read!(self, token_names(&ids))
    }

    /// How many tokens are in force for an organization, or without one.
    ///
    /// # Errors
    /// Fails if the store does not answer.
    pub async fn count_tokens(&self, organization: Option<i64>, now: i64) -> Result<i64, StoreError> {
        read!(self, count_tokens(organization, now))
    }

    /// Revokes a token, unless it is the last one in force with the scope `admin_scope` and without an organization.
    ///
    /// # Errors
    /// Fails if the store refuses or does not answer.
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

    /// Removes tokens that were revoked or expired before a time.
    ///
    /// # Errors
    /// Fails if the store refuses or does not answer.
    pub async fn forget_tokens(&self, before_us: i64) -> Result<usize, StoreError> {
        write!(self, forget_tokens(before_us))
    }
}
