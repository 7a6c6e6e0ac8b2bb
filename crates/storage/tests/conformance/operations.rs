//! Operations: work on many deliveries, in steps.

use std::time::Duration;

use hookwright_domain::outcome::DeliveryState;
use hookwright_storage::{
    AuditRow, Batch, FOLLOWS, NewEvent, ReadLimits, Store, UpdateOutcome, WebhookRow,
    operations::{
        Begun, Cancelled, Discard, INLINE_ROWS, OPERATION_CANCELLED, OPERATION_RUNNING, OPERATION_SUCCEEDED,
        OperationRow,
    },
};

use crate::support::{
    Fixture, NOW, NOW_MS, ORGANIZATION, audit, delivery, on_both_stores, organization, pending, secret, webhook,
};

const LEASE: Duration = Duration::from_secs(60);
const ALL: ReadLimits = ReadLimits {
    rows: 5_000,
    bytes: 1 << 20,
    first_bytes: usize::MAX,
};
const HOUR_US: i64 = 3_600_000_000;
/// More deliveries than the call processes itself.
const MANY: usize = INLINE_ROWS + 500;

/// The audit entry of a change that is made now.
fn change(fixture: &Fixture) -> AuditRow {
    AuditRow {
        resource: "organizations/acme/webhooks/wh".to_owned(),
        ..audit(fixture.ids.next(NOW_MS))
    }
}

async fn install(fixture: &Fixture, webhooks: &[WebhookRow]) {
    let store = fixture.store();
    store
        .insert_organization(&organization(ORGANIZATION, "acme"), &audit(1))
        .await
        .unwrap();
    for (at, row) in webhooks.iter().enumerate() {
        let at = i64::try_from(at).unwrap();
        store
            .insert_webhook(row, &secret(20_000 + at, row.id), None, &audit(10 + at))
            .await
            .unwrap();
    }
}

/// Stores `count` events for a webhook, whose deliveries are all pending in the store.
async fn backlog(fixture: &Fixture, webhook: i64, count: usize) -> Vec<NewEvent> {
    let events: Vec<NewEvent> = (0..count)
        .map(|_| NewEvent {
            spilled: vec![0],
            ..fixture.event(&[webhook])
        })
        .collect();
    fixture.commit_events(events.clone()).await;
    events
}

/// Events of one key to an ordered webhook.
fn ordered(fixture: &Fixture, webhook: i64, key: &str) -> NewEvent {
    let plain = fixture.event(&[webhook]);
    let mut event = (*plain.event).clone();
    event.ordering_key = Some(key.to_owned());
    NewEvent {
        event: event.into(),
        spilled: vec![0],
        ordered: vec![0],
        ..plain
    }
}

async fn take(store: &Store, all: bool) -> Vec<OperationRow> {
    store.take_operations(all, 10, LEASE).await.unwrap()
}

/// Runs an operation in steps of `rows` rows until a pass finds nothing more. Returns how many steps changed something.
async fn finish(store: &Store, id: i64, rows: usize) -> usize {
    let mut steps = 0;
    loop {
        let step = store.step_operation(id, rows, LEASE).await.unwrap().unwrap();
        assert!(step.rows <= rows, "{step:?}");
        steps += usize::from(step.rows > 0);
        if step.finished {
            assert!(store.end_operation(id, OPERATION_SUCCEEDED, NOW, None).await.unwrap());
            return steps;
        }
    }
}

async fn state(fixture: &Fixture, event: &NewEvent) -> (DeliveryState, Option<String>) {
    let record = fixture
        .store()
        .get_delivery(ORGANIZATION, delivery(event, 0))
        .await
        .unwrap()
        .unwrap();
    (record.state, record.ending.map(|ending| ending.reason))
}

on_both_stores! {
    async fn a_large_backlog_is_discarded_in_steps_and_new_deliveries_are_not(fixture: &mut Fixture) {
        install(fixture, &[WebhookRow { active: false, ..webhook(11) }]).await;
        let old = backlog(fixture, 11, MANY).await;
        let store = fixture.store();
        let line = change(fixture);
        let ping = NewEvent { spilled: vec![0], ..fixture.event_of(&[11], "ping", "{}") };
        let resumed = WebhookRow { version: 2, ..webhook(11) };
        let begun = store.resume_webhook(&resumed, 1, true, &ping, &line).await.unwrap();
        assert_eq!(begun, Some(Begun { rows: 0, operation: true }));
        let new = backlog(fixture, 11, 3).await;
        let discards = store.load_catalogue().await.unwrap().discards;
        assert_eq!(discards.iter().map(|row| (row.id, row.webhook_id)).collect::<Vec<_>>(), [(line.id, Some(11))]);
        let discard = Discard::of(&discards[0]);
        let since = Discard::begin(line.id).since;
        assert!((since - discard.since).abs() < HOUR_US, "by the clock of due times: {discard:?}");
        // The same discard, by the time of these rows.
        let discard = Discard { since: NOW, ..discard };
        let due = async |discard| {
            let rows = store.due_beyond(discard, 11, i64::MAX / 2, ALL).await.unwrap().rows;
            rows.into_iter().map(|row| row.pending.delivery_id).collect::<Vec<_>>()
        };
        let expected: Vec<i64> = std::iter::once(&ping).chain(&new).map(|event| delivery(event, 0)).collect();
        assert_eq!(due(Some(discard)).await, expected, "deliveries that are being discarded are not read");

        let taken = take(store, false).await;
        assert_eq!(taken.iter().map(|row| (row.id, row.organization.as_str())).collect::<Vec<_>>(), [(line.id, "acme")]);
        assert_eq!(take(store, false).await, [], "leased");
        let (counted, next) = store.count_operation(&taken[0], None, LEASE).await.unwrap().unwrap();
        assert_eq!((counted, next), (i64::try_from(MANY).unwrap(), None));
        assert!(store.note_total(line.id, counted, LEASE).await.unwrap());
        let steps = finish(store, line.id, 200).await;
        assert!(steps >= MANY / 200, "{steps} steps");
        let row = store.get_operation(line.id).await.unwrap().unwrap();
        assert_eq!((row.state, row.done, row.total), (OPERATION_SUCCEEDED, counted, Some(counted)));
        assert_eq!(due(None).await, expected);
        for event in [&old[0], &old[MANY - 1]] {
            assert_eq!(state(fixture, event).await, (DeliveryState::Cancelled, Some("backlog_discarded".to_owned())));
        }
        assert_eq!(store.load_catalogue().await.unwrap().discards, []);
        assert_eq!(store.step_operation(line.id, 200, LEASE).await.unwrap(), None, "the operation has ended");
        assert_eq!(store.forget_operations(NOW + 1).await.unwrap(), 1);
    }

    async fn a_small_backlog_is_dealt_with_in_the_call(fixture: &mut Fixture) {
        install(fixture, &[webhook(11)]).await;
        let old = backlog(fixture, 11, INLINE_ROWS).await;
        let begun = fixture.store().delete_webhook(11, NOW, &change(fixture)).await.unwrap();
        assert_eq!(begun, Begun { rows: INLINE_ROWS, operation: false });
        assert_eq!(take(fixture.store(), true).await, []);
        assert_eq!(state(fixture, &old[0]).await, (DeliveryState::Cancelled, Some("webhook_deleted".to_owned())));
    }

    async fn an_operation_that_is_being_counted_stays_with_its_node(fixture: &mut Fixture) {
        install(fixture, &[webhook(11)]).await;
        backlog(fixture, 11, MANY).await;
        let line = change(fixture);
        let store = fixture.store();
        assert!(store.delete_webhook(11, NOW, &line).await.unwrap().operation);
        // The lease ends at once.
        let taken = store.take_operations(false, 10, Duration::ZERO).await.unwrap();
        let page = store.count_operation(&taken[0], None, LEASE).await.unwrap();
        assert_eq!(page, Some((i64::try_from(MANY).unwrap(), None)));
        assert_eq!(take(store, false).await, [], "counting renewed the lease");
        store.count_operation(&taken[0], None, LEASE * 1_000).await.unwrap();
        assert_eq!(take(store, false).await.len(), 1, "a lease that is longer than possible does not count");
        finish(store, line.id, 2_000).await;
        assert_eq!(store.count_operation(&taken[0], None, LEASE).await.unwrap(), None, "the operation has ended");
    }

    async fn a_crash_in_the_middle_costs_no_step_and_repeats_none(fixture: &mut Fixture) {
        install(fixture, &[webhook(11), webhook(12)]).await;
        backlog(fixture, 11, MANY).await;
        let other = backlog(fixture, 12, 2).await;
        let line = change(fixture);
        let begun = fixture.store().delete_webhook(11, NOW, &line).await.unwrap();
        assert!(begun.operation);
        take(fixture.store(), false).await;
        let step = fixture.store().step_operation(line.id, 300, LEASE).await.unwrap().unwrap();
        assert_eq!((step.rows, step.finished), (300, false));
        assert_eq!(fixture.store().cancel_pending(11, NOW).await.unwrap(), Cancelled::ByOperation);
        fixture.reopen().await;
        assert_eq!(fixture.store().step_operation(-1, 300, LEASE).await.unwrap(), None);
        let taken = take(fixture.store(), true).await;
        assert_eq!(taken.iter().map(|row| row.done).collect::<Vec<_>>(), [300]);
        finish(fixture.store(), line.id, 400).await;
        let row = fixture.store().get_operation(line.id).await.unwrap().unwrap();
        assert_eq!(row.done, i64::try_from(MANY).unwrap());
        assert_eq!(fixture.store().count_waiting().await.unwrap(), 2, "those of another webhook");
        assert_eq!(state(fixture, &other[0]).await.0, DeliveryState::Pending);
        backlog(fixture, 11, 1).await;
        assert_eq!(fixture.store().cancel_pending(11, NOW).await.unwrap(), Cancelled::All, "the deliveries that became \
                                                                                            pending too late");
    }

    // A node with an outdated configuration takes a webhook that it does not know yet for a deleted one.
    async fn deliveries_of_a_webhook_that_was_not_deleted_are_never_cancelled(fixture: &mut Fixture) {
        install(fixture, &[webhook(11), WebhookRow { active: false, ..webhook(12) }]).await;
        for id in [11, 12] {
            backlog(fixture, id, 3).await;
        }
        // The store knows nothing about a webhook without a row.
        backlog(fixture, 13, 1).await;
        for id in [11, 12, 13] {
            assert_eq!(fixture.store().cancel_pending(id, NOW).await.unwrap(), Cancelled::NotDeleted);
        }
        assert_eq!(fixture.store().count_waiting().await.unwrap(), 7);
        fixture.store().delete_webhook(11, NOW, &change(fixture)).await.unwrap();
        let late = backlog(fixture, 11, 1).await.remove(0);
        assert_eq!(fixture.store().cancel_pending(11, NOW).await.unwrap(), Cancelled::All);
        assert_eq!(state(fixture, &late).await.0, DeliveryState::Cancelled);
        assert_eq!(fixture.store().count_waiting().await.unwrap(), 4, "those of the others");
    }

    async fn an_organization_is_deleted_with_all_that_waits_for_its_webhooks(fixture: &mut Fixture) {
        let webhooks: Vec<WebhookRow> = (0..250).map(|at| webhook(1_000 + at)).collect();
        install(fixture, &webhooks).await;
        for row in &webhooks {
            backlog(fixture, row.id, if row.id == 1_100 { 600 } else { 4 }).await;
        }
        let store = fixture.store();
        let line = AuditRow { resource: "organizations/acme".to_owned(), ..change(fixture) };
        let begun = store.delete_organization(ORGANIZATION, NOW, &line).await.unwrap();
        assert_eq!(begun, Begun { rows: 0, operation: true });
        let rows = store.load_catalogue().await.unwrap();
        assert_eq!((rows.organizations.len(), rows.webhooks.len()), (0, 0), "at once");
        let running = store.running_operations(Some(ORGANIZATION), 10).await.unwrap();
        assert_eq!(running.iter().map(|row| row.state).collect::<Vec<_>>(), [OPERATION_RUNNING]);
        let taken = take(store, false).await;
        let mut counted = 0;
        let mut from = None;
        loop {
            let (some, next) = store.count_operation(&taken[0], from, LEASE).await.unwrap().unwrap();
            counted += some;
            from = next;
            if from.is_none() {
                break;
            }
        }
        assert_eq!(counted, 249 * 4 + 600);
        finish(store, line.id, 150).await;
        let row = store.get_operation(line.id).await.unwrap().unwrap();
        assert_eq!((row.done, store.count_waiting().await.unwrap()), (counted, 0));
    }

    async fn a_later_change_replaces_an_operation(fixture: &mut Fixture) {
        install(fixture, &[WebhookRow { active: false, ..webhook(11) }]).await;
        backlog(fixture, 11, MANY).await;
        let store = fixture.store();
        let (discard, delete) = (change(fixture), change(fixture));
        let ping = NewEvent { spilled: vec![0], ..fixture.event_of(&[11], "ping", "{}") };
        let resumed = WebhookRow { version: 2, ..webhook(11) };
        assert!(store.resume_webhook(&resumed, 1, true, &ping, &discard).await.unwrap().unwrap().operation);
        assert!(store.delete_webhook(11, NOW, &delete).await.unwrap().operation);
        let replaced = store.get_operation(discard.id).await.unwrap().unwrap();
        assert_eq!((replaced.state, replaced.error.is_some()), (OPERATION_CANCELLED, true));
        assert_eq!(take(store, false).await.iter().map(|row| row.id).collect::<Vec<_>>(), [delete.id]);
        finish(store, delete.id, 2_000).await;
        assert_eq!(store.count_waiting().await.unwrap(), 0, "including the ping");
    }

    async fn new_deliveries_of_a_key_follow_when_those_before_are_discarded(fixture: &mut Fixture) {
        install(fixture, &[WebhookRow { active: false, ordered: true, ..webhook(11) }]).await;
        let old: Vec<NewEvent> = (0..MANY).map(|at| ordered(fixture, 11, &format!("key {}", at % 10))).collect();
        fixture.commit_events(old).await;
        let store = fixture.store();
        let line = change(fixture);
        let ping = NewEvent { spilled: vec![0], ..fixture.event_of(&[11], "ping", "{}") };
        let resumed = WebhookRow { version: 2, ordered: true, ..webhook(11) };
        assert!(store.resume_webhook(&resumed, 1, true, &ping, &line).await.unwrap().unwrap().operation);
        let new = [ordered(fixture, 11, "key 3"), ordered(fixture, 11, "key 3")];
        fixture.commit_events(new.to_vec()).await;
        take(store, false).await;
        finish(store, line.id, 200).await;
        let due = async |event: &NewEvent| {
            let record = store.get_delivery(ORGANIZATION, delivery(event, 0)).await.unwrap().unwrap();
            record.pending.unwrap().due_at
        };
        assert!(due(&new[0]).await < FOLLOWS, "the first of the key is due");
        assert_eq!(due(&new[1]).await, FOLLOWS, "the second waits behind it");
    }

    async fn a_webhook_that_is_not_ordered_any_more_has_everything_due_in_steps(fixture: &mut Fixture) {
        install(fixture, &[WebhookRow { ordered: true, ..webhook(11) }]).await;
        let old: Vec<NewEvent> = (0..MANY).map(|at| ordered(fixture, 11, &format!("key {}", at % 10))).collect();
        fixture.commit_events(old).await;
        let store = fixture.store();
        let line = change(fixture);
        let plain = WebhookRow { version: 2, ..webhook(11) };
        assert_eq!(store.update_webhook(&plain, 1, None, &line).await.unwrap(), UpdateOutcome::Releasing);
        take(store, false).await;
        assert_eq!(store.step_operation(line.id, 300, LEASE).await.unwrap().unwrap().rows, 300);
        let again = change(fixture);
        let described = WebhookRow { version: 3, description: "again".to_owned(), ..webhook(11) };
        assert_eq!(store.update_webhook(&described, 2, None, &again).await.unwrap(), UpdateOutcome::Releasing);
        take(store, false).await;
        finish(store, again.id, 300).await;
        let due = store.due(11, i64::MAX / 2, 10_000, 1 << 20).await.unwrap().rows;
        assert_eq!(due.len(), MANY);
        assert!(due.iter().all(|row| row.pending.ordering_key.is_none()));
    }

    async fn many_webhooks_that_wait_come_page_by_page(fixture: &mut Fixture) {
        let webhooks: Vec<i64> = (1..=2_500).collect();
        for chunk in webhooks.chunks(500) {
            let events: Vec<NewEvent> = chunk.iter().map(|webhook| fixture.event(&[*webhook])).collect();
            let pend = events.iter().map(|event| pending(event, 0, NOW - event.event.webhooks[0], 1)).collect();
            fixture.store().commit(&Batch { events, pend, ..Batch::default() }).await.unwrap();
        }
        backlog(fixture, 7, 50).await;
        let mut found = Vec::new();
        let (mut after, mut pages) = (None, 0);
        loop {
            let page = fixture.store().waiting_page(after).await.unwrap();
            found.extend(page.waiting.into_iter().map(|waiting| (waiting.webhook, waiting.due_at)));
            pages += 1;
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        let expected: Vec<(i64, i64)> = webhooks.iter().map(|webhook| (*webhook, NOW - webhook)).collect();
        assert_eq!((found, pages), (expected.clone(), 3), "each once, with the first due time");
        assert_eq!(fixture.store().pending_webhooks().await.unwrap(), expected);
    }
}
