//! Configuration: organizations, event types, webhooks and their secrets.

use super::{Store, configure, read, write};
use crate::{
    batch::NewEvent,
    configuration::{CatalogueRows, ConfigurationPart},
    error::StoreError,
    operations::Begun,
    rows::*,
};

impl Store {
    /// All configuration.
    ///
    /// # Errors
    /// Fails if the store does not answer.
    pub async fn load_catalogue(&self) -> Result<CatalogueRows, StoreError> {
        read!(self, load_catalogue())
    }

    /// Stores an organization.
    ///
    /// # Errors
    /// Fails if the store refuses or does not answer.
    pub async fn insert_organization(&self, row: &OrganizationRow, audit: &AuditRow) -> Result<(), StoreError> {
        let (row, audit) = (row.clone(), audit.clone());
        configure!(
            self,
            ConfigurationPart::Organization(row.id),
            None,
            insert_organization(&row, &audit)
        )
    }

    /// Changes an organization's display name and time of change.
    ///
    /// # Errors
    /// Fails if the store refuses or does not answer.
    pub async fn update_organization(&self, row: &OrganizationRow, audit: &AuditRow) -> Result<(), StoreError> {
        let (row, audit) = (row.clone(), audit.clone());
        configure!(
            self,
            ConfigurationPart::Organization(row.id),
            None,
            update_organization(&row, &audit)
        )
    }

    /// Deletes an organization and its webhooks. Cancels their pending deliveries, or begins an operation to do so.
    ///
    /// # Errors
    /// Fails if the store refuses or does not answer.
    pub async fn delete_organization(&self, id: i64, now: i64, audit: &AuditRow) -> Result<Begun, StoreError> {
        let audit = audit.clone();
        configure!(
            self,
            ConfigurationPart::Everything,
            None,
            delete_organization(id, now, &audit)
        )
    }

    /// Stores an event type.
    ///
    /// # Errors
    /// Fails if the store refuses or does not answer.
    pub async fn insert_event_type(&self, row: &EventTypeRow, audit: &AuditRow) -> Result<(), StoreError> {
        let (row, audit) = (row.clone(), audit.clone());
        configure!(
            self,
            ConfigurationPart::EventTypes,
            None,
            insert_event_type(&row, &audit)
        )
    }

    /// Changes an event type.
    ///
    /// # Errors
    /// Fails if the store refuses or does not answer.
    pub async fn update_event_type(&self, row: &EventTypeRow, audit: &AuditRow) -> Result<(), StoreError> {
        let (row, audit) = (row.clone(), audit.clone());
        configure!(
            self,
            ConfigurationPart::EventTypes,
            None,
            update_event_type(&row, &audit)
        )
    }

    /// Deletes an event type with all its schemas. Events of the type stay.
    ///
    /// # Errors
    /// Fails if the store refuses or does not answer.
    pub async fn delete_event_type(&self, id: i64, audit: &AuditRow) -> Result<(), StoreError> {
        let audit = audit.clone();
        configure!(self, ConfigurationPart::EventTypes, None, delete_event_type(id, &audit))
    }

    /// The earlier schemas of an event type, below a version, newest first.
    ///
    /// # Errors
    /// Fails if the store does not answer.
    pub async fn event_type_schemas(
        &self,
        event_type: i64,
        before: i32,
        size: usize,
    ) -> Result<Vec<SchemaRow>, StoreError> {
        let size = i64::try_from(size).unwrap_or(i64::MAX);
        read!(self, event_type_schemas_of(event_type, before, size))
    }

    /// Reactivates a webhook if its version is still `version`, and stores its ping: all or nothing. With `discard`,
    /// its pending deliveries with ids up to the audit entry's are cancelled, or an operation to do so begins. `None`
    /// if the version has changed.
    ///
    /// # Errors
    /// Fails if the store refuses or does not answer.
    pub async fn resume_webhook(
        &self,
        row: &WebhookRow,
        version: i64,
        discard: bool,
        ping: &NewEvent,
        audit: &AuditRow,
    ) -> Result<Option<Begun>, StoreError> {
        let (row, ping, audit) = (row.clone(), Some(ping.clone()), audit.clone());
        configure!(
            self,
            ConfigurationPart::Webhook(row.id),
            ping,
            resume_webhook(&row, version, discard, &audit)
        )
    }

    /// Stores a webhook with its secret, and its ping if there is one: all or nothing.
    ///
    /// # Errors
    /// Fails if the store refuses or does not answer.
    pub async fn insert_webhook(
        &self,
        row: &WebhookRow,
        secret: &SecretRow,
        ping: Option<&NewEvent>,
        audit: &AuditRow,
    ) -> Result<(), StoreError> {
        let (row, secret, ping, audit) = (row.clone(), secret.clone(), ping.cloned(), audit.clone());
        configure!(
            self,
            ConfigurationPart::Webhook(row.id),
            ping,
            insert_webhook(&row, &secret, &audit)
        )
    }

    /// Changes a webhook if its version is still `version`, and stores its ping if there is one: all or nothing.
    ///
    /// # Errors
    /// Fails if the store refuses or does not answer.
    pub async fn update_webhook(
        &self,
        row: &WebhookRow,
        version: i64,
        ping: Option<&NewEvent>,
        audit: &AuditRow,
    ) -> Result<UpdateOutcome, StoreError> {
        let (row, ping, audit) = (row.clone(), ping.cloned(), audit.clone());
        configure!(
            self,
            ConfigurationPart::Webhook(row.id),
            ping,
            update_webhook(&row, version, &audit)
        )
    }

    /// Disables a webhook if its version is still `version`. With a rule, it does so only if the webhook has only
    /// failed at every node by that rule, as the store shows in the same transaction.
    ///
    /// # Errors
    /// Fails if the store refuses or does not answer.
    pub async fn disable_webhook(
        &self,
        row: &WebhookRow,
        version: i64,
        rule: Option<FailingRule>,
        audit: &AuditRow,
    ) -> Result<Disabling, StoreError> {
        let (row, audit) = (row.clone(), audit.clone());
        configure!(
            self,
            ConfigurationPart::Webhook(row.id),
            None,
            disable_webhook(&row, version, rule, &audit)
        )
    }

    /// Whether a webhook has only failed at every node, by a rule.
    ///
    /// # Errors
    /// Fails if the store does not answer.
    pub async fn has_only_failed(&self, webhook: i64, rule: FailingRule) -> Result<bool, StoreError> {
        write!(self, has_only_failed(webhook, rule))
    }

    /// Deletes a webhook. Cancels its pending deliveries, or begins an operation to do so.
    ///
    /// # Errors
    /// Fails if the store refuses or does not answer.
    pub async fn delete_webhook(&self, id: i64, now: i64, audit: &AuditRow) -> Result<Begun, StoreError> {
        let audit = audit.clone();
        configure!(
            self,
            ConfigurationPart::Webhook(id),
            None,
            delete_webhook(id, now, &audit)
        )
    }

    /// Adds a secret. The previous one keeps signing until `old_expires_at`.
    ///
    /// # Errors
    /// Fails if the store refuses or does not answer.
    pub async fn rotate_secret(
        &self,
        new: &SecretRow,
        old_expires_at: i64,
        audit: &AuditRow,
    ) -> Result<(), StoreError> {
        let (new, audit) = (new.clone(), audit.clone());
        configure!(
            self,
            ConfigurationPart::Webhook(new.webhook_id),
            None,
            rotate_secret(&new, old_expires_at, &audit)
        )
    }

    /// Removes the secrets of a webhook except the newest one.
    ///
    /// # Errors
    /// Fails if the store refuses or does not answer.
    pub async fn expire_secrets(&self, webhook: i64, audit: &AuditRow) -> Result<(), StoreError> {
        let audit = audit.clone();
        configure!(
            self,
            ConfigurationPart::Webhook(webhook),
            None,
            expire_secrets(webhook, &audit)
        )
    }
}
