//! Explains why an event was or was not sent to a webhook, and tests filters.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use bytes::Bytes;
use hookwright_delivery::catalogue::Webhook;
use hookwright_domain::{
    filter::EventFacts,
    id::{EventId, WebhookId},
    payload::check_payload,
};
use hookwright_storage::{DeliveryRecord, EventRecord, StoredEvent, WebhookRow};

use super::{
    App,
    access::{Caller, Scope},
    error::{AppError, AppResult},
    events::{attributes_of, compile_filter, while_others_are_served},
};

/// An event to test a filter with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Its type.
    pub event_type: String,
    /// Its payload.
    pub payload: Bytes,
    /// The name of the payload's field.
    pub payload_field: String,
    /// The publisher's attributes.
    pub attributes: BTreeMap<String, String>,
    /// The ordering key.
    pub ordering_key: String,
}

impl Sample {
    /// A published event.
    fn of(event: StoredEvent) -> AppResult<Self> {
        let attributes = attributes_of(&event).map_err(|error| AppError::internal(&error))?;
        Ok(Self {
            event_type: event.event_type,
            payload: event.payload,
            payload_field: "payload".to_owned(),
            attributes,
            ordering_key: event.ordering_key.unwrap_or_default(),
        })
    }

    /// Evaluates filters for the event.
    fn with_facts<T>(&self, ask: impl FnOnce(&EventFacts<'_>) -> T) -> AppResult<T> {
        self.with_facts_of(Some(&self.payload[..]), ask)
    }

    /// Evaluates filters for the event; without a payload, none of them reads it.
    fn with_facts_of<T>(&self, payload: Option<&[u8]>, ask: impl FnOnce(&EventFacts<'_>) -> T) -> AppResult<T> {
        while_others_are_served(payload.map_or(0, <[u8]>::len), || {
            let facts = EventFacts::new(&self.event_type, &self.attributes, &self.ordering_key, payload)
                .map_err(|error| AppError::invalid(&self.payload_field, "INVALID_JSON", error.to_string()))?;
            Ok(ask(&facts))
        })
    }
}

/// An event with its results.
#[derive(Clone, Debug)]
pub struct ExplainedEvent {
    /// The event, with the beginning of its payload.
    pub record: EventRecord,
    /// One result per webhook.
    pub explanations: Vec<Explanation>,
}

/// The result of an event for one webhook.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// The webhook.
    pub webhook: WebhookId,
    /// The reason.
    pub reason: Reason,
    /// The delivery, if it is owed.
    pub delivery: Option<DeliveryRecord>,
    /// Whether the webhook was changed after the event was published: then the reason uses its current configuration.
    pub changed_since: bool,
    /// Whether the webhook has a filter now.
    pub has_filter: bool,
}

/// Why an event is or is not owed to a webhook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It is owed and has a delivery.
    Owed,
    /// The webhook was created after the event was published.
    CreatedLater,
    /// The webhook is inactive.
    Inactive,
    /// The webhook is not subscribed to the type.
    NotSubscribed,
    /// The webhook's filter does not match; with the error if it could not be evaluated.
    Filtered(Option<String>),
    /// The webhook would receive the event now: it was changed since.
    ChangedSince,
}

impl App {
    /// Explains for every webhook of the organization why an event was or was not sent to it, oldest webhook first; deleted
    /// webhooks only if the event was owed to them. Returns the first `payload_bytes` of the payload.
    ///
    /// # Errors
    /// When the organization has no such event.
    pub async fn explain_event(
        &self,
        caller: &Caller,
        organization: &str,
        id: EventId,
        payload_bytes: usize,
    ) -> AppResult<ExplainedEvent> {
        let record = self.event_beginning(caller, organization, id, payload_bytes).await?;
        let row = self.organization_for(caller, Scope::Read, organization)?;
        let records = self.store.deliveries_of_event(row.id, record.event.id).await?;
        // For a replayed delivery, the last one counts.
        let mut owed: HashMap<i64, DeliveryRecord> =
            records.into_iter().map(|record| (record.webhook_id, record)).collect();
        let is_ping = record.event.event_type == "ping";
        let webhooks = self.registry.webhooks(row.id, i64::MIN, usize::MAX);
        let snapshot = Arc::clone(&self.registry.snapshot());
        let known = |webhook: &WebhookRow| snapshot.webhooks.get(&webhook.id);
        // A payload may be large: it is read only if a filter that rejected the event uses it.
        let not_owed = webhooks.iter().filter(|rows| !owed.contains_key(&rows.row.id));
        let payload = if not_owed.filter_map(|rows| known(&rows.row)).any(reads_payload) {
            Some(self.get_event(caller, organization, id).await?.event.payload)
        } else {
            None
        };
        let sample = Sample::of(record.event.clone())?;
        let mut explanations = sample.with_facts_of(payload.as_deref(), |facts| {
            let explain = |webhook: &WebhookRow, delivery: Option<DeliveryRecord>| Explanation {
                webhook: WebhookId::from_raw(webhook.id),
                reason: match &delivery {
                    Some(_) => Reason::Owed,
                    None if webhook.created_at > record.created_at => Reason::CreatedLater,
                    None => judge(known(webhook), &sample.event_type, facts),
                },
                delivery,
                changed_since: webhook.updated_at > record.created_at,
                has_filter: !webhook.filter.is_empty(),
            };
            let explained = webhooks.iter().filter_map(|rows| {
                let delivery = owed.remove(&rows.row.id);
                // A ping is for one webhook and concerns no other.
                (!is_ping || delivery.is_some()).then(|| explain(&rows.row, delivery))
            });
            explained.collect::<Vec<_>>()
        })?;
        explanations.extend(owed.into_values().map(|record| Explanation {
            webhook: WebhookId::from_raw(record.webhook_id),
            reason: Reason::Owed,
            delivery: Some(record),
            changed_since: true,
            has_filter: false,
        }));
        explanations.sort_by_key(|explanation| explanation.webhook);
        Ok(ExplainedEvent { record, explanations })
    }

    /// Whether a filter matches a published event, or why it could not be evaluated.
    ///
    /// # Errors
    /// When the filter would be rejected, or there is no such event.
    pub async fn test_filter_on_event(
        &self,
        caller: &Caller,
        filter: &str,
        organization: &str,
        id: EventId,
    ) -> AppResult<Result<bool, String>> {
        self.organization_for(caller, Scope::Manage, organization)?;
        let filter = compile_filter(filter)?;
        let record = self.get_event(caller, organization, id).await?;
        Sample::of(record.event)?.with_facts(|facts| filter.matches(facts))
    }

    /// Whether a filter matches a sample, or why it could not be evaluated.
    ///
    /// # Errors
    /// When the filter would be rejected, or the sample could not be published.
    pub fn test_filter(&self, caller: &Caller, filter: &str, sample: &Sample) -> AppResult<Result<bool, String>> {
        caller.require_any(Scope::Manage)?;
        let filter = compile_filter(filter)?;
        check_payload(&sample.payload, self.limits.payload_bytes_max)
            .map_err(|error| AppError::invalid(&sample.payload_field, error.rule(), error.to_string()))?;
        sample.with_facts(|facts| filter.matches(facts))
    }
}

/// Whether a webhook is active and its filter reads payloads.
fn reads_payload(webhook: &Arc<Webhook>) -> bool {
    let filter = webhook.filter.as_ref().filter(|_| webhook.active);
    filter.is_some_and(|filter| filter.reads_payload())
}

/// Why an event is not owed to a webhook, by its current configuration; `None` for an unreadable webhook, which receives
/// nothing.
fn judge(webhook: Option<&Arc<Webhook>>, event_type: &str, facts: &EventFacts<'_>) -> Reason {
    let Some(webhook) = webhook.filter(|webhook| webhook.active) else {
        return Reason::Inactive;
    };
    if !webhook.subscription.matches(event_type) {
        return Reason::NotSubscribed;
    }
    match webhook.filter.as_ref().map(|filter| filter.matches(facts)) {
        None | Some(Ok(true)) => Reason::ChangedSince,
        Some(Ok(false)) => Reason::Filtered(None),
        Some(Err(error)) => Reason::Filtered(Some(error)),
    }
}
