//! The publisher: a gRPC client of the server, like an internal service.

mod calls;

use std::{
    io::{BufWriter, Write as _},
    sync::Arc,
};

use bytes::Bytes;
use clap::Args;
use hookwright_proto::v1::{
    PublishEventRequest, event_service_client::EventServiceClient, publish_event_request::Payload,
};

use super::{
    arrivals::now_us,
    authorized::{Authorized, connect},
    messages::{How, Publish, PublishStats},
    serve,
};
use crate::usage;

#[derive(Args)]
pub(crate) struct Arguments {
    /// The server's gRPC addresses.
    #[arg(long, value_delimiter = ',', required = true)]
    servers: Vec<String>,
    /// The token.
    #[arg(long)]
    token: String,
}

/// Bytes of a payload.
pub(crate) const PAYLOAD_BYTES: usize = 1024;

type Client = EventServiceClient<Authorized>;

/// The result of one event: its id, when the call began, when it was acknowledged, and to how many webhooks it is owed.
struct Acknowledged {
    event: i64,
    called_us: i64,
    acknowledged_us: i64,
    deliveries: u64,
}

/// The events to publish, of each type in turn.
struct Plan {
    requests: Vec<PublishEventRequest>,
    count: usize,
}

impl Plan {
    fn request(&self, index: usize) -> PublishEventRequest {
        self.requests[index % self.requests.len()].clone()
    }
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    serve(|publish: Publish| runtime.block_on(work(&arguments.servers, &arguments.token, publish)))
}

async fn work(servers: &[String], token: &str, publish: Publish) -> anyhow::Result<PublishStats> {
    let mut clients = Vec::new();
    for server in servers {
        for _ in 0..publish.connections {
            clients.push(EventServiceClient::new(connect(server, token).await?));
        }
    }
    let payload = payload(PAYLOAD_BYTES);
    let requests = publish.templates.into_iter().map(|template| PublishEventRequest {
        organization: template.organization,
        event_type: template.event_type,
        ordering_key: template.ordering_key,
        attributes: template.attributes.into_iter().collect(),
        payload: Some(Payload::Json(payload.clone())),
        ..PublishEventRequest::default()
    });
    let plan = Arc::new(Plan {
        requests: requests.collect(),
        count: publish.count,
    });
    let (begun_us, cpu) = (now_us(), usage::own_cpu());
    let acknowledged = match publish.how {
        How::Stream { streams, window } => calls::stream(&clients, plan, streams, window).await?,
        How::Unary { callers } => calls::unary(&clients, plan, callers).await?,
        How::Steady { per_second } => calls::steady(&clients, plan, per_second).await?,
    };
    let stats = PublishStats {
        acknowledged: acknowledged.len() as u64,
        refused: (publish.count - acknowledged.len()) as u64,
        deliveries: acknowledged.iter().map(|event| event.deliveries).sum(),
        begun_us,
        ended_us: now_us(),
        cpu_us: (usage::own_cpu() - cpu).as_micros() as u64,
    };
    if let Some(path) = publish.calls {
        let mut file = BufWriter::new(std::fs::File::create(path)?);
        for Acknowledged {
            event,
            called_us,
            acknowledged_us,
            ..
        } in acknowledged
        {
            for number in [event, called_us, acknowledged_us] {
                file.write_all(&number.to_le_bytes())?;
            }
        }
        file.flush()?;
    }
    Ok(stats)
}

/// A JSON object of this many bytes, with typical members.
pub(crate) fn payload(bytes: usize) -> Bytes {
    let mut text = String::from(
        r#"{"action":"created","clocking":{"id":"CLOCKING-ID-123","driverId":"DRIVER-ID-123","clockingTimeStamp":"2018-01-01T09:01:53","isClockIn":true,"hours":[7.5,8,6.25]},"notes":["#,
    );
    let mut separator = "";
    while text.len() + 90 < bytes {
        text.push_str(separator);
        text.push_str(r#"{"author":"DRIVER-ID-123","minutes":17,"text":"began at the depot"}"#);
        separator = ",";
    }
    text.push_str(r#"],"filler":""#);
    let filler = bytes.saturating_sub(text.len() + 2);
    text.push_str(&"x".repeat(filler));
    text.push_str("\"}");
    Bytes::from(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_are_json_of_the_wanted_size() {
        for bytes in [256, 300, 1024, 5000] {
            let payload = payload(bytes);
            assert_eq!(payload.len(), bytes);
            assert!(serde_json::from_slice::<serde_json::Value>(&payload).is_ok_and(|value| value.is_object()));
        }
    }
}
