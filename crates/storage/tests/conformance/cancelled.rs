//! Futures of the store that are dropped at any moment, because a caller cancels or its deadline passes.

use std::{
    collections::{HashMap, HashSet},
    future::poll_fn,
    pin::pin,
    task::Poll,
};

use hookwright_domain::outcome::DeliveryState;
use hookwright_storage::{Batch, NewEvent, audit::AuditFilter, pull::Portion};
use hookwright_testkit::until;

use crate::support::{Fixture, NOW, ORGANIZATION, audit, delivery, on_both_stores, organization, secret, webhook};

const HOOK: i64 = 11;
/// The maximum number of polls after which a future is dropped. Futures with many steps use a multiple of it.
const POLLS_MAX: usize = 24;

/// Polls a future this many times, and drops it if it is not ready then.
async fn dropped_after<T>(polls: usize, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    let mut left = polls;
    poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        match future.as_mut().poll(context) {
            Poll::Ready(done) => Poll::Ready(Some(done)),
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// Waits until no session of the store is in a transaction.
async fn at_rest(fixture: &Fixture) {
    if fixture.options.url.starts_with("sqlite") {
        // Work that has begun continues, and each change is one transaction.
        return;
    }
    let client = postgres(fixture).await;
    until("idle sessions", async || {
        let query = "SELECT pid, state, query FROM pg_stat_activity
            WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
              AND state <> 'idle'";
        let busy = client.query(query, &[]).await.unwrap();
        let busy: Vec<(i32, String, String)> = busy.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect();
        if busy.is_empty() {
            Ok(())
        } else {
            Err(format!("{busy:?}"))
        }
    })
    .await;
}

async fn postgres(fixture: &Fixture) -> tokio_postgres::Client {
    let (client, connection) = tokio_postgres::connect(&fixture.options.url, tokio_postgres::NoTls)
        .await
        .unwrap();
    tokio::spawn(connection);
    client
}

on_both_stores! {
    async fn x06_a_dropped_change_of_configuration_is_whole_or_absent(fixture: &mut Fixture) {
        let store = fixture.store();
        store.insert_organization(&organization(ORGANIZATION, "acme"), &audit(1)).await.unwrap();
        let mut pings = HashMap::new();
        for (number, polls) in (0..8 * POLLS_MAX).step_by(2).enumerate() {
            let id = 100 + i64::try_from(number).unwrap();
            let ping = NewEvent { spilled: vec![0], ..fixture.event_of(&[id], "ping", "{}") };
            pings.insert(id, ping.event.id);
            let (row, secret, line) = (webhook(id), secret(id, id), audit(id));
            dropped_after(polls, store.insert_webhook(&row, &secret, Some(&ping), &line)).await;
        }
        at_rest(fixture).await;
        let rows = store.load_catalogue().await.unwrap();
        let (lines, _) = store.list_audit(&AuditFilter::default(), i64::MAX, 1_000).await.unwrap();
        let ids = |ids: &mut dyn Iterator<Item = i64>| ids.collect::<HashSet<i64>>();
        let webhooks = ids(&mut rows.webhooks.iter().map(|row| row.id));
        assert_eq!(ids(&mut rows.signing_secrets.iter().map(|row| row.webhook_id)), webhooks, "each has its secret");
        let logged = ids(&mut lines.iter().map(|line| line.row.id).filter(|id| *id >= 100));
        assert_eq!(logged, webhooks, "each has its audit entry");
        for (id, ping) in pings {
            let stored = !store.events_exist(&[ping]).await.unwrap().is_empty();
            assert_eq!(stored, webhooks.contains(&id), "the ping of {id}");
        }
        assert!(!webhooks.is_empty(), "some of them ended before they were dropped");
    }

    async fn x06_a_dropped_acknowledgement_is_whole_or_absent(fixture: &mut Fixture) {
        const LEASES: usize = 12;
        let store = fixture.store();
        let event = |_| NewEvent { spilled: vec![0], ..fixture.event(&[HOOK]) };
        let mut calls = Vec::new();
        for polls in (0..4 * POLLS_MAX).step_by(2) {
            let events: Vec<NewEvent> = (0..LEASES).map(event).collect();
            fixture.commit_events(events.clone()).await;
            let leases: Vec<_> = events.iter().map(|event| (delivery(event, 0), 1)).collect();
            calls.push((polls, leases));
        }
        let portion = Portion { rows: 1_000, bytes: 1 << 20, until: NOW + 1_000_000_000, discard: None };
        while !store.hand_out(HOOK, NOW + 1_000_000, portion).await.unwrap().is_empty() {}
        for (polls, leases) in &calls {
            dropped_after(*polls, store.acknowledge(HOOK, leases, NOW + 2_000_000)).await;
        }
        at_rest(fixture).await;
        let mut pulled = store.hand_out(HOOK, NOW + 2_000_000_000, Portion { until: NOW + 3_000_000_000, ..portion }).await.unwrap();
        pulled.retain(|leased| leased.attempt == 2);
        let waiting: HashSet<i64> = pulled.iter().map(|leased| leased.delivery).collect();
        for (polls, leases) in calls {
            let mut delivered = 0;
            for (id, _) in &leases {
                let record = store.get_delivery(ORGANIZATION, *id).await.unwrap().unwrap();
                let is_delivered = record.state == DeliveryState::Delivered;
                assert_ne!(is_delivered, waiting.contains(id), "{id} is pending or delivered: {record:?}");
                delivered += usize::from(is_delivered);
            }
            assert!(delivered == 0 || delivered == LEASES, "{delivered} of {LEASES}, dropped after {polls} polls");
        }
    }

    async fn x06_a_dropped_commit_is_whole_or_absent(fixture: &mut Fixture) {
        let store = fixture.store();
        for polls in 0..2 * POLLS_MAX {
            let events: Vec<NewEvent> = (0..5).map(|_| NewEvent { spilled: vec![0], ..fixture.event(&[HOOK]) }).collect();
            let ids: Vec<i64> = events.iter().map(|event| event.event.id).collect();
            let batch = Batch { events, ..Batch::default() };
            dropped_after(polls, Box::pin(store.commit(&batch))).await;
            // This answers only when the commit has ended.
            let stored = store.events_exist(&ids).await.unwrap().len();
            assert!(stored == 0 || stored == ids.len(), "{stored} of {}, dropped after {polls} polls", ids.len());
        }
        at_rest(fixture).await;
    }

    async fn dropped_queries_leave_connections_for_others(fixture: &mut Fixture) {
        let store = fixture.store();
        fixture.commit_events((0..20).map(|_| fixture.event(&[HOOK])).collect()).await;
        for polls in 0..4 * POLLS_MAX {
            dropped_after(polls % 7, store.load_catalogue()).await;
            dropped_after(polls % 5, store.list_events(ORGANIZATION, &Default::default(), i64::MAX, 5)).await;
        }
        at_rest(fixture).await;
        let (events, _) = store.list_events(ORGANIZATION, &Default::default(), i64::MAX, 5).await.unwrap();
        assert_eq!(events.len(), 5);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_dropped_change_stops_waiting_for_its_lock() {
    let fixture = Fixture::postgres().await;
    let (mut client, other) = (postgres(&fixture).await, postgres(&fixture).await);
    let held = client.transaction().await.unwrap();
    held.batch_execute("LOCK TABLE settings").await.unwrap();
    let waiting = async |count: i64| {
        until(&format!("{count} sessions to wait"), async || {
            let query = "SELECT count(*) FROM pg_stat_activity
                WHERE datname = current_database() AND wait_event_type = 'Lock'";
            let found: i64 = other.query_one(query, &[]).await.unwrap().get(0);
            if found == count { Ok(()) } else { Err(found) }
        })
        .await;
    };
    {
        let mut change = pin!(fixture.store().put_setting("a", b"1"));
        tokio::select! {
            done = &mut change => panic!("{done:?} although the table is locked"),
            () = waiting(1) => {}
        }
    }
    waiting(0).await;
    held.commit().await.unwrap();
    assert_eq!(fixture.store().setting("a").await.unwrap(), None);
    fixture.store().put_setting("a", b"2").await.unwrap();
}
