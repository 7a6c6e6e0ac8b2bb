//! `PullService`.

use std::{ops::RangeInclusive, time::Duration};

use hookwright_domain::id::{DeliveryId, EventId};
use hookwright_proto::v1::{
    AcknowledgeDeliveriesRequest, AcknowledgeDeliveriesResponse, ExtendDeliveriesRequest, ExtendDeliveriesResponse,
    Header, PullDeliveriesRequest, PullDeliveriesResponse, PulledDelivery, pull_service_server::PullService,
};
use hookwright_storage::pull::Lease;
use prost_types::Duration as ProtoDuration;
use tonic::{Request, Response, Status};

use super::{
    Api, name, page,
    time::{std_duration, timestamp},
};
use crate::app::{
    error::{AppError, AppResult},
    pull::{self, PullRequest},
};

const DELIVERIES_DEFAULT: usize = 10;
const DELIVERIES_MAX: usize = 1_000;
/// The maximum size of a response on request: half of the maximum message.
const RESPONSE_BYTES_MAX: usize = 16 << 20;
const ACK_TIMEOUT_DEFAULT: Duration = Duration::from_secs(60);
const ACK_TIMEOUT_MIN: Duration = Duration::from_secs(1);
const ACK_TIMEOUT_MAX: Duration = Duration::from_secs(12 * 3_600);
/// A call may take 60 s.
const WAIT_MAX: Duration = Duration::from_secs(50);

#[tonic::async_trait]
impl PullService for Api {
    async fn pull_deliveries(
        &self,
        request: Request<PullDeliveriesRequest>,
    ) -> Result<Response<PullDeliveriesResponse>, Status> {
        let caller = self.caller(&request)?;
        let request = request.get_ref();
        let (organization, id) = name::webhook("webhook", &request.webhook)?;
        let (timeouts, waits) = (ACK_TIMEOUT_MIN..=ACK_TIMEOUT_MAX, Duration::ZERO..=WAIT_MAX);
        let asked = PullRequest {
            deliveries_max: deliveries_max(request.max_deliveries)?,
            ack_timeout: within("ack_timeout", request.ack_timeout.as_ref(), &timeouts)?.unwrap_or(ACK_TIMEOUT_DEFAULT),
            response_bytes_max: response_bytes_max(request.response_bytes_max)?,
            wait: within("wait", request.wait.as_ref(), &waits)?.unwrap_or_default(),
        };
        let pulled = self.app.pull_deliveries(&caller, organization, id, asked).await?;
        let deliveries = pulled.into_iter().map(|one| pulled_delivery(organization, one));
        Ok(Response::new(PullDeliveriesResponse {
            deliveries: deliveries.collect(),
        }))
    }

    async fn acknowledge_deliveries(
        &self,
        request: Request<AcknowledgeDeliveriesRequest>,
    ) -> Result<Response<AcknowledgeDeliveriesResponse>, Status> {
        let caller = self.caller(&request)?;
        let request = request.get_ref();
        let (organization, id) = name::webhook("webhook", &request.webhook)?;
        let leases = leases(&request.ack_ids)?;
        let stale = self
            .app
            .acknowledge_deliveries(&caller, organization, id, &leases)
            .await?;
        Ok(Response::new(AcknowledgeDeliveriesResponse {
            stale_ack_ids: stale.into_iter().map(ack_id).collect(),
        }))
    }

    async fn extend_deliveries(
        &self,
        request: Request<ExtendDeliveriesRequest>,
    ) -> Result<Response<ExtendDeliveriesResponse>, Status> {
        let caller = self.caller(&request)?;
        let request = request.get_ref();
        let (organization, id) = name::webhook("webhook", &request.webhook)?;
        let leases = leases(&request.ack_ids)?;
        let timeouts = Duration::ZERO..=ACK_TIMEOUT_MAX;
        let timeout = within("ack_timeout", request.ack_timeout.as_ref(), &timeouts)?.unwrap_or_default();
        let stale = self
            .app
            .extend_deliveries(&caller, organization, id, &leases, timeout)
            .await?;
        Ok(Response::new(ExtendDeliveriesResponse {
            stale_ack_ids: stale.into_iter().map(ack_id).collect(),
        }))
    }
}

fn deliveries_max(asked: i32) -> AppResult<usize> {
    match usize::try_from(asked) {
        Ok(0) => Ok(DELIVERIES_DEFAULT),
        Ok(asked) if asked <= DELIVERIES_MAX => Ok(asked),
        _ => {
            let rule = format!("must be 1 to {DELIVERIES_MAX}; omit it for {DELIVERIES_DEFAULT}");
            Err(AppError::invalid("max_deliveries", "OUT_OF_RANGE", rule))
        }
    }
}

fn response_bytes_max(asked: i32) -> AppResult<usize> {
    match usize::try_from(asked) {
        Ok(0) => Ok(page::RESPONSE_BYTES_MAX),
        Ok(asked) if asked <= RESPONSE_BYTES_MAX => Ok(asked),
        _ => {
            let rule = format!(
                "must be 1 to {RESPONSE_BYTES_MAX}; omit it for {}",
                page::RESPONSE_BYTES_MAX
            );
            Err(AppError::invalid("response_bytes_max", "OUT_OF_RANGE", rule))
        }
    }
}

fn within(
    field: &str,
    duration: Option<&ProtoDuration>,
    range: &RangeInclusive<Duration>,
) -> AppResult<Option<Duration>> {
    let Some(duration) = duration else { return Ok(None) };
    let duration = std_duration(field, duration)?;
    if range.contains(&duration) {
        return Ok(Some(duration));
    }
    let rule = format!(
        "must be {} s to {} s; it is {} s",
        range.start().as_secs(),
        range.end().as_secs(),
        duration.as_secs_f64()
    );
    Err(AppError::invalid(field, "OUT_OF_RANGE", rule))
}

fn pulled_delivery(organization: &str, pulled: pull::PulledDelivery) -> PulledDelivery {
    let (delivery, attempt) = pulled.lease;
    let header = |(name, value)| Header { name, value };
    PulledDelivery {
        ack_id: ack_id(pulled.lease),
        ack_deadline: Some(timestamp(pulled.deadline)),
        delivery: format!(
            "organizations/{organization}/deliveries/{}",
            DeliveryId::from_raw(delivery)
        ),
        event: format!(
            "organizations/{organization}/events/{}",
            EventId::from_raw(pulled.event.known_as())
        ),
        event_type: pulled.event.event_type,
        attempt,
        headers: pulled.headers.into_iter().map(header).collect(),
        body: pulled.event.payload,
    }
}

/// Delivery and attempt in one: each attempt has a different one.
fn ack_id((delivery, attempt): Lease) -> String {
    format!("{}-{attempt}", DeliveryId::from_raw(delivery))
}

fn leases(ack_ids: &[String]) -> AppResult<Vec<Lease>> {
    if !(1..=DELIVERIES_MAX).contains(&ack_ids.len()) {
        let rule = format!("must have 1 to {DELIVERIES_MAX}; it has {}", ack_ids.len());
        return Err(AppError::invalid("ack_ids", "OUT_OF_RANGE", rule));
    }
    let parsed = ack_ids.iter().enumerate().map(|(index, ack_id)| {
        lease(ack_id).ok_or_else(|| {
            let rule = "is not an ack_id; pass those that PullDeliveries returned, unchanged";
            AppError::invalid(format!("ack_ids[{index}]"), "INVALID_ACK_ID", rule)
        })
    });
    parsed.collect()
}

fn lease(ack_id: &str) -> Option<Lease> {
    let (delivery, attempt) = ack_id.split_once('-')?;
    let delivery: DeliveryId = delivery.parse().ok()?;
    let attempt = attempt.parse().ok().filter(|attempt| *attempt > 0)?;
    Some((delivery.raw(), attempt))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ack_id_is_read_back_and_nothing_else_is() {
        let known = (1 << 40, 3);
        assert_eq!(lease(&ack_id(known)), Some(known));
        let delivery = DeliveryId::from_raw(1 << 40);
        for bad in [
            "",
            "-",
            "dlv_1-1",
            &format!("{delivery}"),
            &format!("{delivery}-0"),
            &format!("{delivery}--1"),
        ] {
            assert_eq!(lease(bad), None, "{bad}");
        }
    }
}
