//! Rows of the store, the same on both stores. Times are microseconds since the Unix epoch.

use diesel::prelude::*;
use hookwright_domain::reason::Attempted;

use crate::schema::{
    attempts, audit_log, delivery_endings, ended_sessions, event_types, organizations, pending_deliveries,
    revoked_portal_links, signing_secrets, tokens, webhooks,
};

/// An organization.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Insertable)]
#[diesel(table_name = organizations)]
pub struct OrganizationRow {
    /// Its id.
    pub id: i64,
    /// Its name.
    pub name: String,
    /// A display name.
    pub display_name: String,
    /// When it was created.
    pub created_at: i64,
    /// When it was last changed.
    pub updated_at: i64,
    /// When it was deleted.
    pub deleted_at: Option<i64>,
}

/// An event type.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Insertable, AsChangeset)]
#[diesel(table_name = event_types, treat_none_as_null = true)]
pub struct EventTypeRow {
    /// Its id.
    pub id: i64,
    /// Its name.
    pub name: String,
    /// Its meaning.
    pub description: String,
    /// Its JSON Schema.
    pub json_schema: Option<String>,
    /// What happens to an event that does not fit the schema: the text of a [`hookwright_domain::outcome::SchemaMode`].
    pub schema_mode: String,
    /// How many schemas it has had.
    pub schema_version: i32,
    /// An example payload.
    pub example: Option<String>,
    /// Whether it is archived.
    pub archived: bool,
    /// When it was registered.
    pub created_at: i64,
    /// When it was last changed.
    pub updated_at: i64,
    /// JSON array of the ids of the only organizations that can see it; `None` for all.
    pub visible_to: Option<String>,
}

/// A schema that an event type has, or had.
#[derive(Clone, Debug, PartialEq, Eq, Queryable)]
pub struct SchemaRow {
    /// The event type.
    pub event_type_id: i64,
    /// 1 for the first.
    pub version: i32,
    /// The schema; `None` for a version that removed it.
    pub json_schema: Option<String>,
    /// Since when it applies.
    pub created_at: i64,
}

/// A webhook.
#[derive(Clone, Debug, PartialEq, Queryable, Insertable, AsChangeset)]
#[diesel(table_name = webhooks, treat_none_as_null = true)]
pub struct WebhookRow {
    /// Its id.
    pub id: i64,
    /// The organization it belongs to.
    pub organization_id: i64,
    /// The URL that deliveries are posted to; empty for a webhook whose deliveries are pulled.
    pub payload_url: String,
    /// Whether deliveries are pulled, not posted.
    pub pull: bool,
    /// JSON array of event types.
    pub events: String,
    /// A CEL expression that events must match; empty for no filter.
    pub filter: String,
    /// Whether events are sent.
    pub active: bool,
    /// Why the service disabled it.
    pub disabled_reason: Option<String>,
    /// When the service disabled it.
    pub disabled_at: Option<i64>,
    /// A note for users.
    pub description: String,
    /// The owner's headers, sealed; empty for none.
    pub headers: Vec<u8>,
    /// How long an attempt may take.
    pub timeout_ms: i64,
    /// JSON array of delays; `None` for the installation's default.
    pub retry_delays_ms: Option<String>,
    /// The limit on attempts per second.
    pub rate_limit: Option<f64>,
    /// Whether deliveries of an ordering key are sent in order, one at a time.
    pub ordered: bool,
    /// Whether an ordered delivery that fails permanently blocks its key.
    pub pauses: bool,
    /// Whether TLS certificates are not verified.
    pub insecure_skip_verify: bool,
    /// The ed25519 key, sealed.
    pub ed25519: Option<Vec<u8>>,
    /// Grows with every change.
    pub version: i64,
    /// When it was created.
    pub created_at: i64,
    /// When it was last changed.
    pub updated_at: i64,
    /// When it was deleted.
    pub deleted_at: Option<i64>,
}

/// A signing secret.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Insertable)]
#[diesel(table_name = signing_secrets)]
pub struct SecretRow {
    /// Its id; the newest has the largest.
    pub id: i64,
    /// The webhook it belongs to.
    pub webhook_id: i64,
    /// The secret, sealed.
    pub sealed: Vec<u8>,
    /// When it was made.
    pub created_at: i64,
    /// When it stops signing; `None` for the newest.
    pub expires_at: Option<i64>,
}

/// An attempt.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Insertable)]
#[diesel(table_name = attempts, treat_none_as_default_value = false)]
pub struct AttemptRow {
    /// The delivery.
    pub delivery_id: i64,
    /// 1 for the first.
    pub number: i32,
    /// The event.
    pub event_id: i64,
    /// The organization.
    pub organization_id: i64,
    /// The webhook.
    pub webhook_id: i64,
    /// When it began.
    pub started_at: i64,
    /// How long it took.
    pub duration_us: i64,
    /// The HTTP status of the response, if there was one.
    pub status: Option<i32>,
    /// Why it failed.
    pub error_class: Option<String>,
    /// The reason as text.
    pub error_message: Option<String>,
    /// The state of the delivery after it: [`GOES_ON`], [`DELIVERED`] or [`FAILED`].
    pub delivery_state: i32,
    /// Request and response as JSON.
    pub details: String,
    /// The first part of the response body.
    pub response_body: Option<Vec<u8>>,
}

impl AttemptRow {
    /// Its result, for texts.
    pub fn attempted(&self) -> Attempted<'_> {
        Attempted {
            status: self.status,
            error_class: self.error_class.as_deref(),
            message: self.error_message.as_deref(),
            duration_us: self.duration_us,
        }
    }
}

/// The delivery continues after this attempt.
pub const GOES_ON: i32 = 0;
/// This attempt delivered it.
pub const DELIVERED: i32 = 1;
/// This attempt was the last one.
pub const FAILED: i32 = 2;
/// The state of a delivery that was cancelled.
pub const ENDING_CANCELLED: i32 = 3;

/// A pending delivery in the store.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable, Insertable)]
#[diesel(table_name = pending_deliveries)]
pub struct PendingRow {
    /// The delivery.
    pub delivery_id: i64,
    /// The event.
    pub event_id: i64,
    /// The organization.
    pub organization_id: i64,
    /// The webhook.
    pub webhook_id: i64,
    /// When the next attempt is due.
    pub due_at: i64,
    /// Attempts made so far.
    pub attempts: i32,
    /// The ordering key; `None` for a delivery that is not ordered.
    pub ordering_key: Option<String>,
}

/// The due time of an ordered delivery that waits behind another one of its key.
pub const FOLLOWS: i64 = i64::MAX;
/// The due time of an ordered delivery that failed permanently and blocks its key until someone retries or skips it.
pub const PAUSED: i64 = i64::MAX - 1;

/// The condition of a delivery's next attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextAttempt {
    /// It is due at this time.
    DueAt(i64),
    /// It follows the end of another delivery of its key.
    Follows,
    /// It needs a retry or a skip.
    Paused,
    /// The store does not know: the delivery is in a node's memory, or gets no more attempts.
    Unknown,
}

impl NextAttempt {
    /// Its due time, if it has one.
    pub fn due_at(self) -> Option<i64> {
        match self {
            Self::DueAt(due_at) => Some(due_at),
            _ => None,
        }
    }
}

impl PendingRow {
    /// The condition of the next attempt.
    pub fn next_attempt(&self) -> NextAttempt {
        match self.due_at {
            FOLLOWS => NextAttempt::Follows,
            PAUSED => NextAttempt::Paused,
            due_at => NextAttempt::DueAt(due_at),
        }
    }
}

/// A delivery that ended without an attempt.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Insertable)]
#[diesel(table_name = delivery_endings)]
pub struct EndingRow {
    /// The delivery.
    pub delivery_id: i64,
    /// The event.
    pub event_id: i64,
    /// The organization.
    pub organization_id: i64,
    /// The webhook.
    pub webhook_id: i64,
    /// [`ENDING_CANCELLED`].
    pub state: i32,
    /// Why, for example `webhook_deleted`.
    pub reason: String,
    /// When.
    pub ended_at: i64,
}

/// The health of a failing webhook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthRow {
    /// The webhook.
    pub webhook_id: i64,
    /// When it first failed after its last success, by the schedule clock; `None` if it no longer fails.
    pub failing_since: Option<i64>,
    /// How often it has failed since then.
    pub failures: i32,
}

impl HealthRow {
    /// The health of a failing webhook: the webhook, since when it fails, and how often it has failed.
    pub(crate) fn failing((webhook_id, since, failures): (i64, i64, i32)) -> Self {
        Self {
            webhook_id,
            failing_since: Some(since),
            failures,
        }
    }
}

/// The results of a webhook's attempts since the last report to the store. A success ends the failures in the store,
/// and the failures after it are added. Times are those of the schedule clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthChange {
    /// The webhook.
    pub webhook_id: i64,
    /// The time of the last success.
    pub succeeded_at: Option<i64>,
    /// The time of the first failure after it.
    pub failing_since: Option<i64>,
    /// How many failures there were after it.
    pub failures: i32,
}

impl HealthChange {
    /// No results of a webhook.
    pub fn none(webhook_id: i64) -> Self {
        Self {
            webhook_id,
            succeeded_at: None,
            failing_since: None,
            failures: 0,
        }
    }

    /// Adds a success.
    pub fn succeeded(&mut self, at: i64) {
        self.succeeded_at = self.succeeded_at.max(Some(at));
        self.failing_since = None;
        self.failures = 0;
    }

    /// Adds a failure.
    pub fn failed(&mut self, at: i64) {
        self.failing_since.get_or_insert(at);
        self.failures = self.failures.saturating_add(1);
    }
}

/// The rule by which a webhook is disabled for its failures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FailingRule {
    /// The minimum number of failures.
    pub failures_min: i32,
    /// The time, by the schedule clock, since when it must have only failed.
    pub since: i64,
    /// A node stores a success only if the last stored one is older than this, in microseconds.
    pub success_interval_us: i64,
}

impl FailingRule {
    /// Whether these failures, after a stored success, disable a webhook.
    pub(crate) fn is_met(&self, failing_since: i64, failures: i32, succeeded_at: Option<i64>) -> bool {
        let succeeded_before = succeeded_at.map_or(i64::MIN, |at| at.saturating_add(self.success_interval_us));
        failures >= self.failures_min && failing_since.max(succeeded_before) <= self.since
    }
}

/// The result of disabling a webhook for its failures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disabling {
    /// It is disabled.
    Disabled,
    /// It is disabled and no longer ordered, and an operation makes its ordered deliveries due.
    Releasing,
    /// It has succeeded meanwhile, or was changed.
    Kept,
}

/// An API token.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Insertable)]
#[diesel(table_name = tokens)]
pub struct TokenRow {
    /// Its id.
    pub id: i64,
    /// SHA-256 of its text.
    pub hash: Vec<u8>,
    /// A display name.
    pub name: String,
    /// Its scope.
    pub scope: String,
    /// The only organization that it is valid for.
    pub organization_id: Option<i64>,
    /// When it was made.
    pub created_at: i64,
    /// When it expires.
    pub expires_at: Option<i64>,
    /// When it was revoked.
    pub revoked_at: Option<i64>,
}

/// An ended session of the console.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Insertable)]
#[diesel(table_name = ended_sessions)]
pub struct EndedSessionRow {
    /// Its id.
    pub id: Vec<u8>,
    /// The token that opened it.
    pub token_id: i64,
    /// When it began.
    pub began_at: i64,
    /// Until when the record is needed: the session would have expired then.
    pub ended_until: i64,
    /// Whether all earlier sessions of the token have ended, too.
    pub and_earlier: bool,
}

/// A revoked portal link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Queryable, Insertable)]
#[diesel(table_name = revoked_portal_links)]
pub struct RevokedLinkRow {
    /// The link's id.
    pub link_id: i64,
    /// The organization that it opened.
    pub organization_id: i64,
    /// Until when the record is needed: the link would have expired then.
    pub revoked_until: i64,
}

/// An entry of the audit log.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Insertable)]
#[diesel(table_name = audit_log)]
pub struct AuditRow {
    /// Its id.
    pub id: i64,
    /// When it happened.
    pub at: i64,
    /// The actor: the id of a token or a portal link, or `hookwright`.
    pub actor: String,
    /// The action.
    pub action: String,
    /// The resource that it concerns.
    pub resource: String,
    /// Details, as a JSON object. Never a secret.
    pub details: String,
    /// The organization that it concerns.
    pub organization_id: Option<i64>,
}

/// Whether an update found the row that its caller knew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpdateOutcome {
    /// The row was updated.
    Updated,
    /// The row was updated. The webhook is no longer ordered, and an operation makes its ordered deliveries due.
    Releasing,
    /// The row was changed meanwhile, or is gone: nothing was written.
    Stale,
}
