//! `ExplainEvent` and `TestWebhookFilter`: the messages.

use hookwright_domain::id::DeliveryId;
use hookwright_proto::v1::{
    DeliveryState, ExplanationReason, PublishEventRequest, TestWebhookFilterRequest, TestWebhookFilterResponse,
    WebhookExplanation, test_webhook_filter_request,
};

use super::{Api, conditions, name, publish::payload_of};
use crate::app::{
    access::Caller,
    error::{AppError, AppResult},
    explain::{Explanation, Reason, Sample},
};

impl Api {
    pub(super) async fn test_filter(
        &self,
        caller: &Caller,
        request: TestWebhookFilterRequest,
    ) -> AppResult<TestWebhookFilterResponse> {
        use test_webhook_filter_request::Sample as Given;
        let evaluated = match request.sample {
            Some(Given::Event(event)) => {
                let (organization, id) = name::event("event", &event)?;
                self.app
                    .test_filter_on_event(caller, &request.filter, organization, id)
                    .await?
            }
            Some(Given::Draft(draft)) => self.app.test_filter(caller, &request.filter, &sample(draft)?)?,
            None => {
                let rule = "is required: name a published event, or set a draft";
                return Err(AppError::invalid("event", "FIELD_REQUIRED", rule));
            }
        };
        Ok(TestWebhookFilterResponse {
            matches: evaluated == Ok(true),
            error: evaluated.err().unwrap_or_default(),
        })
    }
}

fn sample(draft: PublishEventRequest) -> AppResult<Sample> {
    let (payload, field) = payload_of(draft.payload)?;
    Ok(Sample {
        event_type: draft.event_type,
        payload,
        payload_field: format!("draft.{field}"),
        attributes: draft.attributes.into_iter().collect(),
        ordering_key: draft.ordering_key,
    })
}

pub(super) fn explanation(organization: &str, explanation: Explanation) -> WebhookExplanation {
    let message = message(&explanation.reason);
    let reason = match explanation.reason {
        Reason::Owed => ExplanationReason::Owed,
        Reason::CreatedLater => ExplanationReason::CreatedLater,
        Reason::Inactive => ExplanationReason::Inactive,
        Reason::NotSubscribed => ExplanationReason::NotSubscribed,
        Reason::Filtered(_) => ExplanationReason::Filtered,
        Reason::ChangedSince => ExplanationReason::ChangedSince,
    };
    let delivery = explanation.delivery.as_ref();
    let name = delivery.map(|record| {
        let id = DeliveryId::from_raw(record.delivery_id);
        format!("organizations/{organization}/deliveries/{id}")
    });
    let state = delivery.map_or(DeliveryState::Unspecified, |record| conditions::state(record.state));
    WebhookExplanation {
        webhook: format!("organizations/{organization}/webhooks/{}", explanation.webhook),
        reason: reason.into(),
        message,
        delivery: name.unwrap_or_default(),
        delivery_state: state.into(),
        changed_since: explanation.changed_since,
    }
}

fn message(reason: &Reason) -> String {
    match reason {
        Reason::Owed => "the event matched the webhook; see its delivery",
        Reason::CreatedLater => "the webhook was created after the event was published",
        Reason::Inactive => "the webhook is paused or disabled; events published in the meantime are not queued for it",
        Reason::NotSubscribed => "the webhook is not subscribed to this event type; add it to the webhook's events",
        Reason::Filtered(None) => "the webhook's filter does not match the event",
        Reason::Filtered(Some(error)) => {
            return format!("the webhook's filter cannot be evaluated for the event, so it does not match: {error}");
        }
        Reason::ChangedSince => {
            "with its current configuration the webhook would receive the event; it was changed or activated after the event was published"
        }
    }
    .to_owned()
}
