//! Operations: work on many deliveries that would take longer than a call may, done in steps.
//!
//! ```text
//! asked for -> running -> succeeded
//!                 |-----> cancelled   (by a caller, or because a later change made it pointless)
//! ```
//!
//! The change of configuration that makes the work necessary and the operation's row are one transaction: what was asked for is in
//! force when the call returns. A backlog of at most [`INLINE_ROWS`] deliveries is dealt with in that transaction, without a row.
//!
//! One node has an operation on a lease, by the schedule clock, and works in steps. Each step is a transaction of its own that looks
//! at a bounded number of rows and notes how far it is, so that a step is done once, however often it is tried. A pass goes through
//! the index of what is due; rows may move behind it, so the operation has succeeded when a whole pass found nothing.

use std::time::Duration;

use diesel::prelude::*;

use crate::{
    batch::NewEvent,
    clock,
    configuration::ConfigurationPart,
    error::StoreError,
    postgres,
    rows::AuditRow,
    schema::operations,
    sqlite,
    store::{Backend, Store, configure, read, write},
};

/// How many deliveries are dealt with in the call itself.
pub const INLINE_ROWS: usize = 1_000;
/// How often the call itself looks for more of an organization's webhooks.
pub(crate) const INLINE_LOOKS: usize = 10;
/// How many deliveries are counted at most to tell how many there are.
pub const COUNTED_MAX: i64 = 5_000_000;

/// An operation that is running.
pub const OPERATION_RUNNING: i32 = 0;
/// An operation that is done.
pub const OPERATION_SUCCEEDED: i32 = 1;
/// An operation that was cancelled.
pub const OPERATION_CANCELLED: i32 = 2;
/// An operation that could not go on.
pub const OPERATION_FAILED: i32 = 3;

/// What is done to the deliveries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OperationKind {
    /// The backlog of a webhook that was resumed is cancelled.
    DiscardBacklog,
    /// What is pending for a deleted webhook is cancelled.
    DeleteWebhook,
    /// What is pending for the webhooks of a deleted organization is cancelled.
    DeleteOrganization,
    /// Deliveries to a webhook that is not ordered any more become due.
    ReleaseOrder,
}

impl OperationKind {
    const ALL: [Self; 4] = [
        Self::DiscardBacklog,
        Self::DeleteWebhook,
        Self::DeleteOrganization,
        Self::ReleaseOrder,
    ];

    /// Its name in the store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::DiscardBacklog => "discard_backlog",
            Self::DeleteWebhook => "delete_webhook",
            Self::DeleteOrganization => "delete_organization",
            Self::ReleaseOrder => "release_order",
        }
    }

    /// The kind of a name.
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    /// Whether the webhook goes on: then new deliveries come to wait meanwhile.
    pub(crate) const fn keeps_webhook(self) -> bool {
        matches!(self, Self::DiscardBacklog | Self::ReleaseOrder)
    }

    /// Why deliveries are cancelled by it.
    pub(crate) const fn reason(self) -> &'static str {
        match self {
            Self::DiscardBacklog => "backlog_discarded",
            Self::DeleteWebhook | Self::DeleteOrganization | Self::ReleaseOrder => "webhook_deleted",
        }
    }
}

/// An operation as stored.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Insertable)]
#[diesel(table_name = operations)]
pub struct OperationRow {
    /// Its id.
    pub id: i64,
    /// The organization.
    pub organization_id: i64,
    /// The organization's name.
    pub organization: String,
    /// See [`OperationKind`].
    pub kind: String,
    /// The webhook; `None` for all of the organization.
    pub webhook_id: Option<i64>,
    /// It concerns deliveries up to this id.
    pub through: i64,
    /// Who asked.
    pub actor: String,
    /// One of [`OPERATION_RUNNING`], [`OPERATION_SUCCEEDED`], [`OPERATION_CANCELLED`], [`OPERATION_FAILED`].
    pub state: i32,
    /// Why it failed or was cancelled.
    pub error: Option<String>,
    /// The pass is done up to this webhook,
    pub at_webhook: i64,
    /// node,
    pub at_node: i32,
    /// due time,
    pub at_due: i64,
    /// and delivery.
    pub at_delivery: i64,
    /// Deliveries that this pass found.
    pub found: i64,
    /// Deliveries that are done.
    pub done: i64,
    /// Deliveries that there were; `None` until they are counted, and for more than [`COUNTED_MAX`].
    pub total: Option<i64>,
    /// Who works on it.
    pub node: i32,
    /// Until when nobody else does.
    pub leased_until: i64,
    /// When it was asked for.
    pub created_at: i64,
    /// When it came further for the last time.
    pub updated_at: i64,
    /// When it ended.
    pub ended_at: Option<i64>,
    /// When it was begun, by the schedule clock; 0 where that is not known.
    pub begun_at: i64,
}

impl OperationRow {
    /// The operation that a change of a webhook, or else of an organization, begins. It has the id and the actor of the change's
    /// line in the audit log.
    pub(crate) fn of_change(
        kind: OperationKind,
        organization_id: i64,
        webhook_id: Option<i64>,
        audit: &AuditRow,
    ) -> Self {
        let start = Place::START;
        Self {
            id: audit.id,
            organization_id,
            organization: audit.resource.split('/').nth(1).unwrap_or_default().to_owned(),
            kind: kind.as_str().to_owned(),
            webhook_id,
            through: if kind == OperationKind::DiscardBacklog {
                audit.id
            } else {
                i64::MAX
            },
            actor: audit.actor.clone(),
            state: OPERATION_RUNNING,
            error: None,
            at_webhook: start.webhook,
            at_node: start.node,
            at_due: start.due,
            at_delivery: start.delivery,
            found: 0,
            done: 0,
            total: None,
            node: NO_NODE,
            leased_until: 0,
            created_at: audit.at,
            updated_at: audit.at,
            ended_at: None,
            begun_at: clock::schedule_us(),
        }
    }

    /// Whether it makes an operation of a kind for a webhook, or for a whole organization, pointless.
    pub(crate) fn replaces(&self, webhook: Option<i64>, kind: &str) -> bool {
        match self.kind() {
            OperationKind::DeleteOrganization => true,
            OperationKind::DeleteWebhook => webhook == self.webhook_id,
            OperationKind::DiscardBacklog | OperationKind::ReleaseOrder => {
                webhook == self.webhook_id && kind == self.kind
            }
        }
    }

    /// What is done to the deliveries.
    pub fn kind(&self) -> OperationKind {
        OperationKind::of(&self.kind).unwrap_or(OperationKind::DeleteWebhook)
    }

    /// How far the pass is.
    pub(crate) fn place(&self) -> Place {
        Place {
            webhook: self.at_webhook,
            node: self.at_node,
            due: self.at_due,
            delivery: self.at_delivery,
        }
    }
}

/// A place in the index of what is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub(crate) webhook: i64,
    pub(crate) node: i32,
    pub(crate) due: i64,
    pub(crate) delivery: i64,
}

impl Place {
    /// Before everything.
    pub(crate) const START: Self = Self::before(i64::MIN);

    /// Before everything of a webhook.
    pub(crate) const fn before(webhook: i64) -> Self {
        Self {
            webhook,
            node: i32::MIN,
            due: i64::MIN,
            delivery: i64::MIN,
        }
    }

    /// After everything of a webhook.
    pub(crate) const fn after(webhook: i64) -> Self {
        Self {
            webhook,
            node: i32::MAX,
            due: i64::MAX,
            delivery: i64::MAX,
        }
    }
}

/// A row that a pass looks at.
#[derive(Clone, Copy, Debug, QueryableByName)]
pub(crate) struct Seen {
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    pub(crate) delivery_id: i64,
    #[diesel(sql_type = diesel::sql_types::Integer)]
    pub(crate) node: i32,
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    pub(crate) due_at: i64,
}

/// A webhook that a pass comes to.
#[derive(Clone, Copy, Debug, QueryableByName)]
pub(crate) struct Visited {
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    pub(crate) id: i64,
    #[diesel(sql_type = diesel::sql_types::Bool)]
    pub(crate) waits: bool,
}

/// Rows that a pass looked at.
#[derive(Clone, Debug)]
pub(crate) struct Looked {
    /// The deliveries.
    pub(crate) deliveries: Vec<i64>,
    /// How far the pass is.
    pub(crate) place: Place,
    /// Whether it is at its end.
    pub(crate) complete: bool,
}

impl Looked {
    /// The deliveries up to an id.
    pub(crate) fn concerned(&self, through: i64) -> Vec<i64> {
        self.deliveries.iter().copied().filter(|id| *id <= through).collect()
    }
}

/// The number of no node.
pub(crate) const NO_NODE: i32 = -1;
/// How many webhooks one step comes to.
pub(crate) const VISITED: i64 = 200;

/// What one step did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OperationStep {
    /// Deliveries done by it.
    pub rows: usize,
    /// Deliveries done so far.
    pub done: i64,
    /// The webhook has deliveries that became due.
    pub due: bool,
    /// A whole pass found nothing more.
    pub finished: bool,
}

/// What a change did to the deliveries that it concerns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Begun {
    /// Deliveries that were dealt with in the same transaction.
    pub rows: usize,
    /// Whether the operation was begun, because there are more.
    pub operation: bool,
}

/// A backlog that is being discarded: until that is done nothing of it is read back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Discard {
    /// Deliveries up to this id belong to it.
    pub through: i64,
    /// What comes to wait after it began is due at or after this time.
    pub since: i64,
}

/// How far apart the schedule clocks of nodes may be for [`Discard::since`], in microseconds.
const CLOCKS_APART_US: i64 = 600_000_000;

impl Discard {
    /// Of deliveries up to an id, begun now.
    pub fn begin(through: i64) -> Self {
        Self::new(through, clock::schedule_us())
    }

    /// That of an operation.
    pub fn of(row: &OperationRow) -> Self {
        Self::new(row.through, row.begun_at)
    }

    fn new(through: i64, begun_at: i64) -> Self {
        Self {
            through,
            since: begun_at - CLOCKS_APART_US,
        }
    }

    /// From which due time on to look at `now`: everything, where the clock is behind the beginning of the discard.
    pub(crate) fn due_from(self, now: i64) -> i64 {
        if now < self.since { i64::MIN } else { self.since }
    }
}

/// What came of a step of [`Store::cancel_pending`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cancelled {
    /// Nothing is left.
    All,
    /// There may be more.
    More,
    /// An operation does it.
    ByOperation,
    /// The webhook was not deleted: nothing was cancelled.
    NotDeleted,
}

impl Store {
    /// A step of cancelling what came to wait in the store for a webhook after it was deleted. Where there is nothing to do, because
    /// the webhook was not deleted or an operation does it, this only reads.
    ///
    /// # Errors
    /// When the store refuses or does not answer.
    pub async fn cancel_pending(&self, webhook: i64, now: i64) -> Result<Cancelled, StoreError> {
        match read!(self, stragglers_kept(webhook))? {
            Some(kept) => Ok(kept),
            None => write!(self, cancel_stragglers(webhook, now)),
        }
    }

    /// One operation.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn get_operation(&self, id: i64) -> Result<Option<OperationRow>, StoreError> {
        read!(self, get_operation(id))
    }

    /// Operations with ids below `before`, newest first; those of one organization, if one is given.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn list_operations(
        &self,
        organization: Option<i64>,
        before: i64,
        size: usize,
    ) -> Result<Vec<OperationRow>, StoreError> {
        let size = i64::try_from(size).unwrap_or(i64::MAX);
        read!(self, list_operations(organization, before, size))
    }

    /// Operations that are running, oldest first, `size` at most; those of one organization, if one is given.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn running_operations(
        &self,
        organization: Option<i64>,
        size: usize,
    ) -> Result<Vec<OperationRow>, StoreError> {
        let size = i64::try_from(size).unwrap_or(i64::MAX);
        read!(self, running_operations(organization, size))
    }

    /// Takes running operations that nobody works on, `most` at most. With `own`, also those that an earlier run of this node had:
    /// it cannot write any more.
    ///
    /// # Errors
    /// When the store refuses or does not answer.
    pub async fn take_operations(
        &self,
        own: bool,
        most: usize,
        lease: Duration,
    ) -> Result<Vec<OperationRow>, StoreError> {
        let (node, lease) = (i32::from(self.node()), micros(lease));
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        write!(self, take_operations(node, own, most, lease))
    }

    /// Counts some of the deliveries that an operation concerns, from a place on, and renews its lease. Returns how many, and where to
    /// go on if there may be more; `None` when this node does not have it any more.
    ///
    /// # Errors
    /// When the store refuses or does not answer.
    pub async fn count_operation(
        &self,
        row: &OperationRow,
        from: Option<Place>,
        lease: Duration,
    ) -> Result<Option<(i64, Option<Place>)>, StoreError> {
        let (id, node, lease) = (row.id, i32::from(self.node()), micros(lease));
        if !write!(self, renew_operation(id, node, lease))? {
            return Ok(None);
        }
        let (row, from) = (row.clone(), from.unwrap_or(Place::START));
        read!(self, count_operation(&row, from)).map(Some)
    }

    /// Notes how many deliveries an operation concerns. False when this node does not have it any more.
    ///
    /// # Errors
    /// When the store refuses or does not answer.
    pub async fn note_total(&self, id: i64, total: i64, lease: Duration) -> Result<bool, StoreError> {
        let (node, lease) = (i32::from(self.node()), micros(lease));
        write!(self, note_total(id, node, total, lease))
    }

    /// The next step of an operation: looks at `rows` deliveries at most. `None` when it is not running any more, or another node
    /// has it.
    ///
    /// # Errors
    /// When the store refuses or does not answer: then nothing was done.
    pub async fn step_operation(
        &self,
        id: i64,
        rows: usize,
        lease: Duration,
    ) -> Result<Option<OperationStep>, StoreError> {
        let (node, lease) = (i32::from(self.node()), micros(lease));
        let rows = i64::try_from(rows).unwrap_or(i64::MAX);
        write!(self, step_operation(id, node, rows, lease))
    }

    /// Ends an operation that is running. The nodes hear of it like of a change of configuration. False when it has ended already.
    ///
    /// # Errors
    /// When the store refuses or does not answer.
    pub async fn end_operation(
        &self,
        id: i64,
        state: i32,
        now: i64,
        audit: Option<&AuditRow>,
    ) -> Result<bool, StoreError> {
        let audit = audit.cloned();
        let no_ping: Option<NewEvent> = None;
        configure!(
            self,
            ConfigurationPart::Discards,
            no_ping,
            end_operation(id, state, now, audit.as_ref())
        )
    }

    /// Tells the other nodes that deliveries to a webhook became due.
    pub async fn tell_due(&self, webhook: i64) {
        if let Backend::Postgres(store) = &self.backend {
            store.tell_due(webhook).await;
        }
    }

    /// Removes some of the operations that ended before a time, and tells how many.
    ///
    /// # Errors
    /// When the store refuses or does not answer.
    pub async fn forget_operations(&self, before_us: i64) -> Result<usize, StoreError> {
        write!(self, forget_operations(before_us))
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}
