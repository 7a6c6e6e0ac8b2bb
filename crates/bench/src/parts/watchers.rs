//! The watchers: one stream of deliveries for each webhook, as the console's pages open them.

use std::sync::Arc;

use anyhow::Context as _;
use clap::Args;
use hookwright_proto::v1::{
    DeliveryState, WatchDeliveriesRequest, WatchDeliveriesResponse, delivery_service_client::DeliveryServiceClient,
};
use tonic::Streaming;

use super::{arrivals::Arrivals, authorized::connect, messages::SinkStats, pullers::ids, say, serve};
use crate::console::eprint;

#[derive(Args)]
pub(crate) struct Arguments {
    /// The server's gRPC address.
    #[arg(long)]
    server: String,
    /// The token.
    #[arg(long)]
    token: String,
    /// The webhooks, one watcher for each.
    #[arg(long, value_delimiter = ',', required = true)]
    webhooks: Vec<String>,
}

/// Says its statistics once before the first command, when every stream has begun.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let arrivals = Arc::new(Arrivals::default());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    for stream in runtime.block_on(open(arguments))? {
        let arrivals = Arc::clone(&arrivals);
        runtime.spawn(async move {
            if let Err(error) = watch(stream, &arrivals).await {
                eprint(&format!("a watcher has ended: {error:#}"));
            }
        });
    }
    say(&SinkStats::default())?;
    serve(|command| arrivals.answer(&command))
}

async fn open(arguments: &Arguments) -> anyhow::Result<Vec<Streaming<WatchDeliveriesResponse>>> {
    let mut client = DeliveryServiceClient::new(connect(&arguments.server, &arguments.token).await?);
    let mut streams = Vec::with_capacity(arguments.webhooks.len());
    for webhook in &arguments.webhooks {
        let parent = webhook.split_once("/webhooks/").context("the name of a webhook")?.0;
        let request = WatchDeliveriesRequest {
            parent: parent.to_owned(),
            webhook: webhook.clone(),
            ..WatchDeliveriesRequest::default()
        };
        let mut stream = client.watch_deliveries(request).await?.into_inner();
        // The first response says where the stream begins.
        stream.message().await?;
        streams.push(stream);
    }
    Ok(streams)
}

/// Records each delivery when it is shown as delivered.
async fn watch(mut stream: Streaming<WatchDeliveriesResponse>, arrivals: &Arrivals) -> anyhow::Result<()> {
    while let Some(response) = stream.message().await? {
        for delivery in response.deliveries {
            if delivery.state() == DeliveryState::Delivered && delivery.event_type != "ping" {
                let (id, event) = ids(&delivery.name, &delivery.event)?;
                arrivals.arrived(id, event);
            }
        }
    }
    anyhow::bail!("the stream is over")
}
