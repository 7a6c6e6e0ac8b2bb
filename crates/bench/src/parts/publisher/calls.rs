//! The ways to publish: streams, one call per event from many callers, one call per event at a steady rate.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::Context as _;
use hookwright_domain::id::EventId;
use hookwright_proto::v1::{PublishEventResponse, PublishStreamRequest, publish_result};
use tokio::{sync::mpsc, task::JoinSet, time::Instant};
use tokio_stream::wrappers::ReceiverStream;

use super::{Acknowledged, Client, Plan, now_us};

/// Publishes over streams. Each keeps `window` events unacknowledged.
pub(super) async fn stream(
    clients: &[Client],
    plan: Arc<Plan>,
    streams: usize,
    window: usize,
) -> anyhow::Result<Vec<Acknowledged>> {
    let mut tasks = JoinSet::new();
    for number in 0..streams {
        let client = clients[number % clients.len()].clone();
        let share = (number..plan.count).step_by(streams).collect();
        tasks.spawn(one_stream(client, Arc::clone(&plan), share, window));
    }
    gather(tasks).await
}

async fn one_stream(
    mut client: Client,
    plan: Arc<Plan>,
    share: Vec<usize>,
    window: usize,
) -> anyhow::Result<Vec<Acknowledged>> {
    let (sender, receiver) = mpsc::channel(window);
    let permits = Arc::new(tokio::sync::Semaphore::new(window));
    let (count, slots) = (share.len(), Arc::clone(&permits));
    let called: Arc<Vec<std::sync::atomic::AtomicI64>> = Arc::new((0..count).map(|_| 0.into()).collect());
    let times = Arc::clone(&called);
    tokio::spawn(async move {
        for (place, index) in share.into_iter().enumerate() {
            let Ok(permit) = slots.acquire().await else { return };
            permit.forget();
            times[place].store(now_us(), Ordering::Relaxed);
            let request = PublishStreamRequest {
                sequence: place as u64,
                event: Some(plan.request(index)),
            };
            if sender.send(request).await.is_err() {
                return;
            }
        }
    });
    let mut responses = client.publish_stream(ReceiverStream::new(receiver)).await?.into_inner();
    let mut acknowledged = Vec::with_capacity(count);
    while let Some(response) = responses.message().await? {
        permits.add_permits(response.acks.len());
        let now = now_us();
        for ack in response.acks {
            let place = usize::try_from(ack.sequence)?;
            if let Some(publish_result::Result::Published(published)) = ack.result.and_then(|result| result.result) {
                let called_us = called
                    .get(place)
                    .context("an unknown sequence")?
                    .load(Ordering::Relaxed);
                acknowledged.push(note(&published, called_us, now)?);
            }
        }
    }
    Ok(acknowledged)
}

/// Publishes with one call per event, from many callers.
pub(super) async fn unary(clients: &[Client], plan: Arc<Plan>, callers: usize) -> anyhow::Result<Vec<Acknowledged>> {
    let next = Arc::new(AtomicUsize::new(0));
    let mut tasks = JoinSet::new();
    for caller in 0..callers {
        let (mut client, plan, next) = (
            clients[caller % clients.len()].clone(),
            Arc::clone(&plan),
            Arc::clone(&next),
        );
        tasks.spawn(async move {
            let mut acknowledged = Vec::new();
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                if index >= plan.count {
                    return Ok(acknowledged);
                }
                let called_us = now_us();
                let published = client.publish_event(plan.request(index)).await?.into_inner();
                acknowledged.push(note(&published, called_us, now_us())?);
            }
        });
    }
    gather(tasks).await
}

/// Publishes with one call per event. Calls begin at a steady rate, independently of the answers.
pub(super) async fn steady(clients: &[Client], plan: Arc<Plan>, per_second: f64) -> anyhow::Result<Vec<Acknowledged>> {
    let mut tasks = JoinSet::new();
    let begun = Instant::now();
    for index in 0..plan.count {
        tokio::time::sleep_until(begun + Duration::from_secs_f64(index as f64 / per_second)).await;
        let (mut client, request) = (clients[index % clients.len()].clone(), plan.request(index));
        tasks.spawn(async move {
            let called_us = now_us();
            let published = client.publish_event(request).await?.into_inner();
            Ok(vec![note(&published, called_us, now_us())?])
        });
    }
    gather(tasks).await
}

async fn gather(mut tasks: JoinSet<anyhow::Result<Vec<Acknowledged>>>) -> anyhow::Result<Vec<Acknowledged>> {
    let mut all = Vec::new();
    while let Some(done) = tasks.join_next().await {
        all.extend(done??);
    }
    Ok(all)
}

fn note(published: &PublishEventResponse, called_us: i64, acknowledged_us: i64) -> anyhow::Result<Acknowledged> {
    let id = published.event.rsplit('/').next().unwrap_or_default();
    Ok(Acknowledged {
        event: id.parse::<EventId>()?.raw(),
        called_us,
        acknowledged_us,
        deliveries: u64::from(published.delivery_count.unsigned_abs()),
    })
}
