//! Rows as the store keeps them, the same on both stores. Times are microseconds since the Unix epoch.

use diesel::prelude::*;

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
    /// A name for people.
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
    /// What it stands for.
    pub description: String,
    /// Its JSON Schema.
    pub json_schema: Option<String>,
    /// What becomes of an event that does not fit: the text of a [`hookwright_domain::outcome::SchemaMode`].
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
    /// JSON array of the ids of the only organizations that see it; `None` for all.
    pub visible_to: Option<String>,
}

/// A schema that an event type has, or had.
#[derive(Clone, Debug, PartialEq, Eq, Queryable)]
pub struct SchemaRow {
    /// The event type.
    pub event_type_id: i64,
    /// 1 for the first.
    pub version: i32,
    /// The schema; `None` for a version that took it away.
    pub json_schema: Option<String>,
    /// Since when it holds.
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
    /// Where deliveries are posted; empty for one whose deliveries are fetched.
    pub payload_url: String,
    /// Whether deliveries are fetched, not posted.
    pub pull: bool,
    /// JSON array of event types.
    pub events: String,
    /// A CEL expression that events must match; empty for none.
    pub filter: String,
    /// Whether events are sent.
    pub active: bool,
    /// Why the service disabled it.
    pub disabled_reason: Option<String>,
    /// When the service disabled it.
    pub disabled_at: Option<i64>,
    /// A note for people.
    pub description: String,
    /// The owner's headers, sealed; empty for none.
    pub headers: Vec<u8>,
    /// How long an attempt may take.
    pub timeout_ms: i64,
    /// JSON array of delays; `None` for the installation's.
    pub retry_delays_ms: Option<String>,
    /// Attempts per second at most.
    pub rate_limit: Option<f64>,
    /// Whether deliveries go one after another, by ordering key.
    pub ordered: bool,
    /// Whether an ordered delivery that fails for good holds up its key.
    pub pauses: bool,
    /// Whether TLS certificates go unverified.
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
    /// The HTTP status, if one came.
    pub status: Option<i32>,
    /// Why it failed.
    pub error_class: Option<String>,
    /// Why it failed, for people.
    pub error_message: Option<String>,
    /// What it made of the delivery: [`GOES_ON`], [`DELIVERED`] or [`FAILED`].
    pub delivery_state: i32,
    /// Request and response as JSON.
    pub details: String,
    /// The first part of the response's body.
    pub response_body: Option<Vec<u8>>,
}

/// The delivery goes on after this attempt.
pub const GOES_ON: i32 = 0;
/// This attempt delivered it.
pub const DELIVERED: i32 = 1;
/// This attempt was its last.
pub const FAILED: i32 = 2;
/// The state of a delivery that was cancelled.
pub const ENDING_CANCELLED: i32 = 3;

/// A delivery that waits in the store.
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
    /// The key that it is ordered by; `None` for a delivery that is not ordered.
    pub ordering_key: Option<String>,
}

/// The due time of an ordered delivery that waits behind another one of its key.
pub const FOLLOWS: i64 = i64::MAX;
/// The due time of an ordered delivery that failed for good and holds up its key until somebody decides.
pub const PAUSED: i64 = i64::MAX - 1;

/// What the next attempt of a delivery waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextAttempt {
    /// For this time.
    DueAt(i64),
    /// For the end of another delivery of its key.
    Follows,
    /// For somebody to decide.
    Paused,
    /// The store does not say: the delivery is in some node's memory, or no attempt is made any more.
    Unknown,
}

impl NextAttempt {
    /// The time that it is due at, if there is one.
    pub fn due_at(self) -> Option<i64> {
        match self {
            Self::DueAt(due_at) => Some(due_at),
            _ => None,
        }
    }
}

impl PendingRow {
    /// What the next attempt waits for.
    pub fn next_attempt(&self) -> NextAttempt {
        match self.due_at {
            FOLLOWS => NextAttempt::Follows,
            PAUSED => NextAttempt::Paused,
            due_at => NextAttempt::DueAt(due_at),
        }
    }
}

/// A delivery that ended without an attempt's doing.
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

/// What is known of a failing webhook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthRow {
    /// The webhook.
    pub webhook_id: i64,
    /// When it first failed after its last success, by the schedule clock; `None` when it no longer fails.
    pub failing_since: Option<i64>,
    /// How often it has failed since.
    pub failures: i32,
}

impl HealthRow {
    /// A row of the webhooks that fail: the webhook, since when, and how often.
    pub(crate) fn failing((webhook_id, since, failures): (i64, i64, i32)) -> Self {
        Self {
            webhook_id,
            failing_since: Some(since),
            failures,
        }
    }
}

/// What came of a webhook's attempts since the store was last told: a success ends the failures that the store knows of, and the
/// failures after it are added to what is there. Times are those of the schedule clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthChange {
    /// The webhook.
    pub webhook_id: i64,
    /// When the last success was.
    pub succeeded_at: Option<i64>,
    /// When the first failure after it was.
    pub failing_since: Option<i64>,
    /// How many failures there were after it.
    pub failures: i32,
}

impl HealthChange {
    /// Of a webhook of which nothing was told yet.
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

/// When a webhook is disabled for its failures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FailingRule {
    /// After at least so many failures.
    pub failures_min: i32,
    /// If it has only failed since before this time, by the schedule clock.
    pub since: i64,
    /// A success is stored only if the last one that a node stored is older than this, in microseconds.
    pub success_interval_us: i64,
}

impl FailingRule {
    /// Whether a webhook is to be disabled for these failures, after a success that was stored.
    pub(crate) fn is_met(&self, failing_since: i64, failures: i32, succeeded_at: Option<i64>) -> bool {
        let succeeded_before = succeeded_at.map_or(i64::MIN, |at| at.saturating_add(self.success_interval_us));
        failures >= self.failures_min && failing_since.max(succeeded_before) <= self.since
    }
}

/// What came of the request to disable a webhook for its failures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disabling {
    /// It is disabled.
    Disabled,
    /// It is disabled, and an operation makes due what waits in order: the webhook is not ordered any more.
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
    /// A name for people.
    pub name: String,
    /// What it allows.
    pub scope: String,
    /// The only organization that it is good for.
    pub organization_id: Option<i64>,
    /// When it was made.
    pub created_at: i64,
    /// When it expires.
    pub expires_at: Option<i64>,
    /// When it was revoked.
    pub revoked_at: Option<i64>,
}

/// A session of the console that was ended.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Insertable)]
#[diesel(table_name = ended_sessions)]
pub struct EndedSessionRow {
    /// Its id.
    pub id: Vec<u8>,
    /// The token that it was begun with.
    pub token_id: i64,
    /// When it began.
    pub began_at: i64,
    /// Until when this matters: it would have ended by itself then.
    pub ended_until: i64,
    /// Whether every session of the token that began earlier is over too.
    pub and_earlier: bool,
}

/// A portal link that was revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Queryable, Insertable)]
#[diesel(table_name = revoked_portal_links)]
pub struct RevokedLinkRow {
    /// The link's id.
    pub link_id: i64,
    /// The organization that it opened.
    pub organization_id: i64,
    /// Until when this matters: it would have ended by itself by then.
    pub revoked_until: i64,
}

/// A line of the audit log.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Insertable)]
#[diesel(table_name = audit_log)]
pub struct AuditRow {
    /// Its id.
    pub id: i64,
    /// When.
    pub at: i64,
    /// Who: the id of a token or a portal link, or `hookwright`.
    pub actor: String,
    /// What was done.
    pub action: String,
    /// To what.
    pub resource: String,
    /// More, as a JSON object. Never a secret.
    pub details: String,
    /// The organization that it is about.
    pub organization_id: Option<i64>,
}

/// All configuration.
#[derive(Clone, Debug, Default)]
pub struct CatalogueRows {
    /// Organizations that are not deleted.
    pub organizations: Vec<OrganizationRow>,
    /// Every event type.
    pub event_types: Vec<EventTypeRow>,
    /// Webhooks that are not deleted.
    pub webhooks: Vec<WebhookRow>,
    /// Every signing secret.
    pub signing_secrets: Vec<SecretRow>,
    /// Every token.
    pub tokens: Vec<TokenRow>,
    /// Sessions of the console that were ended.
    pub ended_sessions: Vec<EndedSessionRow>,
    /// Portal links that were revoked.
    pub revoked_links: Vec<RevokedLinkRow>,
    /// Backlogs that are being discarded.
    pub discards: Vec<crate::operations::OperationRow>,
}

/// Whether an update found the row as its caller knew it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpdateOutcome {
    /// It did.
    Updated,
    /// It did, and an operation makes due what waits in order: the webhook is not ordered any more.
    Releasing,
    /// The row was changed meanwhile, or is gone: nothing was written.
    Stale,
}
