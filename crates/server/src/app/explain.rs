//! Why an event was sent to a webhook or not, and what a filter would do.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use hookwright_domain::{
    filter::{EventFacts, WebhookFilter},
    id::{EventId, WebhookId},
    payload::check_payload,
    subscription::Subscription,
};
use hookwright_storage::{DeliveryFilter, DeliveryRecord, EventRecord, StoredEvent, WebhookRow};

use super::{
    App,
    access::{Caller, Scope},
    error::{AppError, AppResult},
};

/// An event to try a filter on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Its type.
    pub event_type: String,
    /// Its payload.
    pub payload: Bytes,
    /// The field that the payload came in.
    pub payload_field: String,
    /// The publisher's attributes.
    pub attributes: BTreeMap<String, String>,
    /// What ordered webhooks order it by.
    pub ordering_key: String,
}

impl Sample {
    /// A published event.
    fn of(event: StoredEvent) -> AppResult<Self> {
        let attributes = event.attributes.as_deref().map(serde_json::from_str).transpose();
        Ok(Self {
            event_type: event.event_type,
            payload: event.payload,
            payload_field: "payload".to_owned(),
            attributes: attributes
                .map_err(|error| AppError::internal(&error))?
                .unwrap_or_default(),
            ordering_key: event.ordering_key.unwrap_or_default(),
        })
    }

    fn facts(&self) -> AppResult<EventFacts<'_>> {
        let payload = Some(&self.payload[..]);
        EventFacts::new(&self.event_type, &self.attributes, &self.ordering_key, payload)
            .map_err(|error| AppError::invalid(&self.payload_field, "INVALID_JSON", error.to_string()))
    }
}

/// What became of an event for one webhook.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// The webhook.
    pub webhook: WebhookId,
    /// Why it is owed or not.
    pub reason: Reason,
    /// The delivery, if it is owed.
    pub delivery: Option<DeliveryRecord>,
    /// Whether the webhook was changed after the event was published: then the reason is judged by what it is now.
    pub changed_since: bool,
}

/// Why an event is owed to a webhook or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It is owed: there is a delivery.
    Owed,
    /// The webhook was installed after the event was published.
    CreatedLater,
    /// The webhook is inactive.
    Inactive,
    /// The webhook is not subscribed to the type.
    NotSubscribed,
    /// The webhook's filter does not match; with why it could not be evaluated, if so.
    Filtered(Option<String>),
    /// The webhook would get such an event now: it was changed since.
    ChangedSince,
}

impl App {
    /// For every webhook of the organization why an event was sent to it or not, oldest webhook first; a webhook that was
    /// deleted only if the event was owed to it.
    ///
    /// # Errors
    /// When there is no such event in the organization.
    pub async fn explain_event(&self, caller: &Caller, organization: &str, id: EventId) -> AppResult<Vec<Explanation>> {
        let EventRecord { event, created_at, .. } = self.get_event(caller, organization, id).await?;
        let row = self.organization_for(caller, Scope::Read, organization)?;
        let of_event = DeliveryFilter {
            event_id: Some(event.id),
            ..DeliveryFilter::default()
        };
        let (records, _) = self
            .store
            .list_deliveries(row.id, &of_event, i64::MAX, event.webhooks.len().max(1))
            .await?;
        let mut owed: HashMap<i64, DeliveryRecord> =
            records.into_iter().map(|record| (record.webhook_id, record)).collect();
        let is_ping = event.event_type == "ping";
        let sample = Sample::of(event)?;
        let facts = sample.facts()?;
        let mut explanations = Vec::new();
        for rows in self.registry.webhooks(row.id, i64::MIN, usize::MAX) {
            let webhook = rows.row;
            let delivery = owed.remove(&webhook.id);
            // A ping is for one webhook and concerns no other.
            if is_ping && delivery.is_none() {
                continue;
            }
            let reason = if delivery.is_some() {
                Reason::Owed
            } else {
                judge(&webhook, &sample.event_type, created_at, &facts)
            };
            explanations.push(Explanation {
                webhook: WebhookId::from_raw(webhook.id),
                reason,
                delivery,
                changed_since: webhook.updated_at > created_at,
            });
        }
        explanations.extend(owed.into_values().map(|record| Explanation {
            webhook: WebhookId::from_raw(record.webhook_id),
            reason: Reason::Owed,
            delivery: Some(record),
            changed_since: true,
        }));
        explanations.sort_by_key(|explanation| explanation.webhook);
        Ok(explanations)
    }

    /// Whether a filter matches a published event; or why it could not be evaluated for it.
    ///
    /// # Errors
    /// When the filter would be refused, or there is no such event.
    pub async fn test_filter_on_event(
        &self,
        caller: &Caller,
        filter: &str,
        organization: &str,
        id: EventId,
    ) -> AppResult<Result<bool, String>> {
        self.organization_for(caller, Scope::Manage, organization)?;
        let filter = compile(filter)?;
        let record = self.get_event(caller, organization, id).await?;
        Ok(filter.matches(&Sample::of(record.event)?.facts()?))
    }

    /// Whether a filter matches a sample; or why it could not be evaluated for it.
    ///
    /// # Errors
    /// When the filter would be refused, or the sample could not be published.
    pub fn test_filter(&self, caller: &Caller, filter: &str, sample: &Sample) -> AppResult<Result<bool, String>> {
        caller.require_any(Scope::Manage)?;
        let filter = compile(filter)?;
        check_payload(&sample.payload, self.limits.payload_bytes_max)
            .map_err(|error| AppError::invalid(&sample.payload_field, error.rule(), error.to_string()))?;
        Ok(filter.matches(&sample.facts()?))
    }
}

fn compile(filter: &str) -> AppResult<WebhookFilter> {
    WebhookFilter::compile(filter).map_err(|error| AppError::invalid("filter", error.rule(), error.to_string()))
}

/// Why an event is not owed to a webhook, by what the webhook is now.
fn judge(webhook: &WebhookRow, event_type: &str, published_at: i64, facts: &EventFacts<'_>) -> Reason {
    let events: Vec<String> = serde_json::from_str(&webhook.events).unwrap_or_default();
    let subscribed = Subscription::from_events(&events).is_ok_and(|subscription| subscription.matches(event_type));
    if webhook.created_at > published_at {
        return Reason::CreatedLater;
    }
    if !webhook.active {
        return Reason::Inactive;
    }
    if !subscribed {
        return Reason::NotSubscribed;
    }
    if webhook.filter.is_empty() {
        return Reason::ChangedSince;
    }
    let matches = WebhookFilter::compile(&webhook.filter).map(|filter| filter.matches(facts));
    match matches {
        Ok(Ok(true)) => Reason::ChangedSince,
        Ok(Ok(false)) => Reason::Filtered(None),
        Ok(Err(error)) => Reason::Filtered(Some(error)),
        Err(error) => Reason::Filtered(Some(error.to_string())),
    }
}
