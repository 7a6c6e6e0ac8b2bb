//! The pullers: several callers that pull the deliveries of one webhook and acknowledge them.

use std::sync::Arc;

use clap::Args;
use hookwright_domain::id::{DeliveryId, EventId};
use hookwright_proto::v1::{
    AcknowledgeDeliveriesRequest, PullDeliveriesRequest, pull_service_client::PullServiceClient,
};

use super::{
    arrivals::Arrivals,
    authorized::{Authorized, connect},
    serve,
};
use crate::console::eprint;

#[derive(Args)]
pub(crate) struct Arguments {
    /// The server's gRPC address.
    #[arg(long)]
    server: String,
    /// The token.
    #[arg(long)]
    token: String,
    /// The webhook.
    #[arg(long)]
    webhook: String,
    /// How many callers pull at the same time.
    #[arg(long)]
    pullers: usize,
}

/// How many deliveries one call may return.
const DELIVERIES_MAX: i32 = 100;
/// How long a call waits for a delivery.
const WAIT: prost_types::Duration = prost_types::Duration { seconds: 10, nanos: 0 };

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let arrivals = Arc::new(Arrivals::default());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let client = PullServiceClient::new(runtime.block_on(connect(&arguments.server, &arguments.token))?);
    for _ in 0..arguments.pullers {
        let (client, webhook, arrivals) = (client.clone(), arguments.webhook.clone(), Arc::clone(&arrivals));
        runtime.spawn(async move {
            let Err(error) = pull(client, webhook, &arrivals).await;
            eprint(&format!("a puller has ended: {error:#}"));
        });
    }
    serve(|command| arrivals.answer(&command))
}

async fn pull(
    mut client: PullServiceClient<Authorized>,
    webhook: String,
    arrivals: &Arrivals,
) -> anyhow::Result<std::convert::Infallible> {
    loop {
        let request = PullDeliveriesRequest {
            webhook: webhook.clone(),
            max_deliveries: DELIVERIES_MAX,
            wait: Some(WAIT),
            ..PullDeliveriesRequest::default()
        };
        let pulled = client.pull_deliveries(request).await?.into_inner().deliveries;
        if pulled.is_empty() {
            continue;
        }
        let mut ack_ids = Vec::with_capacity(pulled.len());
        for delivery in pulled {
            if delivery.event_type != "ping" {
                let (id, event) = ids(&delivery.delivery, &delivery.event)?;
                arrivals.arrived(id, event);
            }
            ack_ids.push(delivery.ack_id);
        }
        let request = AcknowledgeDeliveriesRequest {
            webhook: webhook.clone(),
            ack_ids,
        };
        let stale = client.acknowledge_deliveries(request).await?.into_inner().stale_ack_ids;
        anyhow::ensure!(stale.is_empty(), "{} acknowledgements came too late", stale.len());
    }
}

/// The ids at the end of the resource names of a delivery and its event.
pub(super) fn ids(delivery: &str, event: &str) -> anyhow::Result<(i64, i64)> {
    let last = |name: &str| name.rsplit('/').next().unwrap_or_default().to_owned();
    Ok((
        last(delivery).parse::<DeliveryId>()?.raw(),
        last(event).parse::<EventId>()?.raw(),
    ))
}
