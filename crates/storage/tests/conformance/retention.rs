//! Retention: removes final events with all their rows, and nothing else.

use std::sync::Arc;

use hookwright_domain::id::first_at;
use hookwright_storage::{Batch, DELIVERED, GOES_ON, NewEvent, Retention, Store, clock};

use crate::support::{Fixture, NOW, ORGANIZATION, attempt, delivery, on_both_stores, pending, session, with_request};

/// The turn of retention. A session that had it may take a while to end.
async fn turn(store: &Store) -> Retention {
    hookwright_testkit::until("the turn of retention", async || {
        store.begin_retention().await.unwrap().ok_or("another holder")
    })
    .await
}

/// Makes steps until there is nothing more to remove. Returns how many events were removed, and in how many steps.
async fn expire_in_steps(store: &Store, before: i64) -> (usize, usize) {
    let mut turn = turn(store).await;
    let (mut removed, mut steps, mut next) = (0, 0, Some(0));
    while let Some(after) = next {
        let step = turn.step(after, before).await.unwrap();
        assert_eq!(step.busy, None);
        assert!(step.next.is_none_or(|next| next >= after), "{step:?} after {after}");
        removed += step.events;
        steps += 1;
        next = step.next;
    }
    (removed, steps)
}

async fn expire(store: &Store, before: i64) -> usize {
    expire_in_steps(store, before).await.0
}

const DAY_MS: i64 = 86_400_000;

/// Events on several days, from today on. PostgreSQL creates a partition for each of the next days.
struct Days {
    today_ms: i64,
    ids: Vec<i64>,
    of_day: usize,
}

impl Days {
    /// Commits `of_day` delivered events on each of `days` days, each with a request id. Those at `(day, place)` are
    /// pending.
    async fn commit(fixture: &Fixture, days: usize, of_day: usize, waiting: &[(usize, usize)]) -> Self {
        let today_ms = (clock::now_us() / 1_000).div_euclid(DAY_MS) * DAY_MS;
        let mut made = Self {
            today_ms,
            ids: Vec::new(),
            of_day,
        };
        for day in 0..days {
            let mut batch = Batch::default();
            for place in 0..of_day {
                let event = with_request(fixture.event_at(&[11], made.at_ms(day)), &Self::request(day, place), 1);
                let waits = waiting.contains(&(day, place));
                batch
                    .attempts
                    .push(attempt(&event, 0, 1, if waits { GOES_ON } else { DELIVERED }));
                batch.pend.extend(waits.then(|| pending(&event, 0, NOW, 1)));
                made.ids.push(event.event.id);
                batch.events.push(event);
            }
            assert!(fixture.store().commit(&batch).await.unwrap().repeats.is_empty());
        }
        made
    }

    fn request(day: usize, place: usize) -> String {
        format!("day-{day}-{place}")
    }

    /// One hour after the beginning of the day.
    fn at_ms(&self, day: usize) -> i64 {
        self.today_ms + i64::try_from(day).unwrap() * DAY_MS + DAY_MS / 24
    }

    fn first_id_of(&self, day: usize) -> i64 {
        first_at((self.at_ms(day) - DAY_MS / 24) * 1_000)
    }

    fn id(&self, day: usize, place: usize) -> i64 {
        self.ids[day * self.of_day + place]
    }

    /// The events that are still stored.
    async fn stored(&self, fixture: &Fixture) -> Vec<i64> {
        let mut ids = fixture.store().events_exist(&self.ids).await.unwrap();
        ids.sort_unstable();
        ids
    }
}

on_both_stores! {
    async fn pending_events_stay_and_the_others_are_removed(fixture: &mut Fixture) {
        let events: Vec<NewEvent> = vec![
            fixture.event(&[11]),
            with_request(fixture.event(&[11]), "first", 1),
            fixture.event(&[11, 12]),
            fixture.event(&[11]),
        ];
        let waiting = &events[2];
        let batch = Batch {
            attempts: vec![
                attempt(&events[0], 0, 1, DELIVERED),
                attempt(&events[1], 0, 1, DELIVERED),
                attempt(waiting, 0, 1, DELIVERED),
                attempt(waiting, 1, 1, GOES_ON),
                attempt(&events[3], 0, 1, DELIVERED),
            ],
            events: events.clone(),
            pend: vec![pending(waiting, 1, NOW, 1)],
            ..Batch::default()
        };
        fixture.store().commit(&batch).await.unwrap();
        let ids: Vec<i64> = events.iter().map(|event| event.event.id).collect();
        assert_eq!(expire(fixture.store(), ids[0]).await, 0, "no event is that old");
        assert_eq!(fixture.store().events_exist(&ids).await.unwrap(), ids);

        expire(fixture.store(), i64::MAX).await;
        assert_eq!(fixture.store().events_exist(&ids).await.unwrap(), [ids[2]]);
        for (event, position, kept) in [(&events[0], 0, 0), (waiting, 0, 1), (waiting, 1, 1), (&events[3], 0, 0)] {
            let attempts = fixture.store().list_attempts(ORGANIZATION, delivery(event, position)).await.unwrap();
            assert_eq!(attempts.len(), kept);
        }
        let again = with_request(fixture.event(&[11]), "first", 2);
        fixture.store().maintain(NOW).await.unwrap();
        // Its request id was removed with the event, so this event is not a repeat.
        fixture.commit_events(vec![again]).await;

        fixture.store().commit(&Batch { unpend: vec![delivery(waiting, 1)], ..Batch::default() }).await.unwrap();
        expire(fixture.store(), i64::MAX).await;
        assert_eq!(fixture.store().events_exist(&ids).await.unwrap(), [0i64; 0], "final now, and removed");
    }

    async fn an_abandoned_delivery_on_the_oldest_day_blocks_no_later_day(fixture: &mut Fixture) {
        let days = Days::commit(fixture, 6, 5, &[(0, 1), (3, 2)]).await;
        expire(fixture.store(), days.first_id_of(4)).await;
        let kept = [days.id(0, 1), days.id(3, 2)];
        assert_eq!(days.stored(fixture).await, [&kept[..], &days.ids[20..]].concat(), "pending events, and recent ones");
        for (day, of_day) in [(0, 1), (1, 0), (2, 0), (3, 1), (4, 5), (5, 5)] {
            let attempts = (0..5).map(async |place| fixture.store().list_attempts(ORGANIZATION, days.id(day, place) + 1).await.unwrap().len());
            let attempts: usize = futures::future::join_all(attempts).await.into_iter().sum();
            assert_eq!(attempts, of_day, "attempts of day {day}");
        }
        // Request ids were removed only with their events.
        let again = |day: usize, place: usize| with_request(fixture.event_at(&[11], days.at_ms(9)), &Days::request(day, place), 2);
        let events = vec![again(0, 0), again(1, 0), again(3, 4)];
        fixture.commit_events(events).await;
        let batch = Batch { events: vec![again(0, 1), again(4, 0)], ..Batch::default() };
        assert_eq!(fixture.store().commit(&batch).await.unwrap().repeats.len(), 2);

        let unpend = kept.iter().map(|id| id + 1).collect();
        fixture.store().commit(&Batch { unpend, ..Batch::default() }).await.unwrap();
        expire(fixture.store(), days.first_id_of(4)).await;
        assert_eq!(days.stored(fixture).await, days.ids[20..], "final now, and removed");
    }

    async fn a_day_of_which_much_is_pending_costs_few_steps(fixture: &mut Fixture) {
        let mut days = Days::commit(fixture, 1, 0, &[]).await;
        for _ in 0..6 {
            let mut batch = Batch::default();
            for place in 0..500 {
                let event = fixture.event_at(&[11], days.at_ms(0));
                batch.pend.extend((place > 0).then(|| pending(&event, 0, NOW, 0)));
                days.ids.push(event.event.id);
                batch.events.push(event);
            }
            fixture.store().commit(&batch).await.unwrap();
        }
        assert_eq!(expire(fixture.store(), days.first_id_of(1)).await, 6);
        assert_eq!(days.stored(fixture).await.len(), 2_994);
        let (removed, steps) = expire_in_steps(fixture.store(), days.first_id_of(1)).await;
        assert!(removed == 0 && steps <= 4, "{removed} events in {steps} steps");
    }

    async fn freed_space_is_returned_or_used_again(fixture: &mut Fixture) {
        let payload = format!("{{\"filler\":\"{}\"}}", "x".repeat(100_000));
        for _ in 0..10 {
            let events = (0..50).map(|_| fixture.event_of(&[11], "clocking", &payload)).collect();
            fixture.commit_events(events).await;
        }
        expire(fixture.store(), i64::MAX).await;
        let mut rounds = 0;
        while fixture.store().maintain(NOW).await.unwrap() {
            rounds += 1;
            assert!(rounds < 1_000, "the walk ends");
        }
        let event = fixture.event(&[11]);
        fixture.commit_events(vec![event.clone()]).await;
        assert_eq!(fixture.store().events_exist(&[event.event.id]).await.unwrap(), [event.event.id]);
    }
}

/// Events of a day with a pending delivery are removed one by one, which may take hours. No other day waits for that.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn days_that_go_as_a_whole_go_first() {
    let fixture = Fixture::postgres().await;
    let days = Days::commit(&fixture, 5, 5, &[(0, 1), (2, 2)]).await;
    let mut turn = turn(fixture.store()).await;
    let (before, mut next) = (days.first_id_of(4), 0);
    while days.stored(&fixture).await.len() > 15 {
        next = turn.step(next, before).await.unwrap().next.unwrap();
    }
    let left = [&days.ids[..5], &days.ids[10..15], &days.ids[20..]].concat();
    assert_eq!(days.stored(&fixture).await, left, "the days 1 and 3 are removed");
    drop(turn);
    expire(fixture.store(), before).await;
    let kept = [days.id(0, 1), days.id(2, 2)];
    assert_eq!(days.stored(&fixture).await, [&kept[..], &days.ids[20..]].concat());
}

/// Releasing pages moves others into their place, and so fills the log. It is copied into the file meanwhile, and never
/// by a commit.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn giving_space_back_does_not_fill_the_log() {
    const MIB: usize = 1 << 20;
    let fixture = Fixture::sqlite().await;
    let payload = format!("{{\"filler\":\"{}\"}}", "x".repeat(MIB));
    let mut ids = Vec::new();
    for _ in 0..20 {
        let events: Vec<_> = (0..12).map(|_| fixture.event_of(&[11], "clocking", &payload)).collect();
        ids.extend(events.iter().map(|event| event.event.id));
        fixture.commit_events(events).await;
    }
    // The remaining rows are at the end of the file.
    assert_eq!(expire(fixture.store(), ids[120]).await, 120);
    while fixture.store().maintain(NOW).await.unwrap() {}
    hookwright_testkit::until("the log to be copied into the file", async || {
        let bytes = fixture.store().log_bytes().unwrap();
        if bytes <= 64 << 20 { Ok(()) } else { Err(bytes) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn the_request_ids_of_a_day_go_in_steps_that_are_resumed() {
    let fixture = Fixture::postgres().await;
    let mut days = Days::commit(&fixture, 1, 0, &[]).await;
    for at in 0..9 {
        let place = |place: usize| at * 500 + place;
        let event = |at: usize| with_request(fixture.event_at(&[11], days.at_ms(0)), &Days::request(0, place(at)), 1);
        let events: Vec<NewEvent> = (0..500).map(event).collect();
        days.ids.extend(events.iter().map(|event| event.event.id));
        fixture.commit_events(events).await;
    }
    let before = days.first_id_of(1);
    let mut first = turn(fixture.store()).await;
    let step = first.step(0, before).await.unwrap();
    assert_eq!(
        (step.events, step.next, step.overdue),
        (0, Some(0), Some(before)),
        "a part of the request ids"
    );
    assert_eq!(days.stored(&fixture).await.len(), 4_500);
    drop(first);
    // A request id that expired and was used again by a later event is not removed when another server begins again.
    let again = with_request(fixture.event_at(&[11], days.at_ms(1)), &Days::request(0, 0), 2);
    fixture.commit_events(vec![again.clone()]).await;
    let (_, steps) = expire_in_steps(fixture.store(), before).await;
    assert_eq!(
        steps, 5,
        "one step clears 2,000, one 500, one none, one drops the tables, and one finds nothing"
    );
    assert_eq!(days.stored(&fixture).await, [0i64; 0]);
    let repeated = with_request(fixture.event_at(&[11], days.at_ms(1)), &Days::request(0, 0), 2);
    let batch = Batch {
        events: vec![repeated],
        ..Batch::default()
    };
    let repeats = fixture.store().commit(&batch).await.unwrap().repeats;
    assert_eq!(
        repeats.iter().map(|repeat| repeat.event_id).collect::<Vec<_>>(),
        [again.event.id]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_day_that_is_being_read_is_passed_by_and_goes_later() {
    let fixture = Fixture::postgres().await;
    let days = Days::commit(&fixture, 3, 2, &[]).await;
    let before = days.first_id_of(2);
    let reader = session(&fixture.options.url).await;
    reader
        .batch_execute("BEGIN; SELECT count(*) FROM delivery_endings")
        .await
        .unwrap();
    let mut retention = turn(fixture.store()).await;
    let (mut next, mut passed_by) = (Some(0), 0);
    while let Some(after) = next {
        let step = retention.step(after, before).await.unwrap();
        passed_by += usize::from(step.busy.is_some());
        next = step.next;
        // Publishers do not wait for it.
        fixture
            .commit_events(vec![fixture.event_at(&[11], days.at_ms(4))])
            .await;
    }
    assert_eq!((passed_by, days.stored(&fixture).await.len()), (2, 6));
    reader.batch_execute("COMMIT").await.unwrap();
    let mut steps = 0;
    let mut next = Some(0);
    while let Some(after) = next {
        next = retention.step(after, before).await.unwrap().next;
        steps += 1;
    }
    assert_eq!(steps, 3, "cleared rows are not read again");
    assert_eq!(days.stored(&fixture).await, days.ids[4..]);
}

#[tokio::test]
async fn one_node_at_a_time_removes_what_is_old() {
    let shared = crate::nodes::Shared::new().await;
    let lease = std::time::Duration::from_secs(60);
    let (one, two) = (shared.join("one", lease).await, shared.join("two", lease).await);
    let held = turn(&one).await;
    assert!(two.begin_retention().await.unwrap().is_none());
    drop(held);
    turn(&two).await;
}

/// The size of a day's tables.
async fn size_of_day(admin: &tokio_postgres::Client, days: &Days, day: usize) -> i64 {
    let text = format!(
        "SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint
         FROM partitions p JOIN pg_class c ON c.relname IN ('events_' || to_char(p.day, 'YYYYMMDD'),
              'attempts_' || to_char(p.day, 'YYYYMMDD'), 'delivery_endings_' || to_char(p.day, 'YYYYMMDD'))
         WHERE p.end_id = {}",
        days.first_id_of(day + 1)
    );
    admin.query_one(&text, &[]).await.unwrap().get(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_day_of_which_little_is_left_gives_its_space_back() {
    let fixture = Fixture::postgres().await;
    let days = Days::commit(&fixture, 1, 1, &[(0, 0)]).await;
    // Random letters, because PostgreSQL compresses others.
    let payload = |seed: usize| {
        let mut state = seed as u64 + 1;
        let letters: String = (0..1_500)
            .map(|_| {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                char::from(b'a' + u8::try_from((state >> 33) % 26).unwrap())
            })
            .collect();
        format!("{{\"filler\":\"{letters}\"}}")
    };
    for round in 0..16 {
        let events = (0..250).map(|place| {
            let mut event = fixture.event_at(&[11], days.at_ms(0));
            Arc::get_mut(&mut event.event).unwrap().payload = payload(round * 250 + place).into();
            event
        });
        fixture.commit_events(events.collect()).await;
    }
    let admin = session(&fixture.options.url).await;
    let before = size_of_day(&admin, &days, 0).await;
    assert!(before > 5_000_000, "{before} bytes");
    // While another session reads the day, its tables stay unchanged, and no session waits long.
    admin.batch_execute("BEGIN; SELECT count(*) FROM events").await.unwrap();
    assert_eq!(expire(fixture.store(), days.first_id_of(1)).await, 4_000);
    admin.batch_execute("COMMIT").await.unwrap();
    assert!(size_of_day(&admin, &days, 0).await > before / 2);
    // If a walk comes too late, or meets the database's own vacuum, the next walk does it.
    hookwright_testkit::until("the day to be small", async || {
        assert_eq!(expire(fixture.store(), days.first_id_of(1)).await, 0);
        let after = size_of_day(&admin, &days, 0).await;
        // The database's own vacuum may have truncated the tables before. Then there is too little to rewrite.
        if after < before / 2 {
            Ok(())
        } else {
            Err(format!("{before} bytes before, {after} after"))
        }
    })
    .await;
    assert_eq!(days.stored(&fixture).await, days.ids, "pending events, and recent ones");
    let marked: i64 = admin
        .query_one("SELECT count(*) FROM partitions WHERE sparse", &[])
        .await
        .unwrap()
        .get(0);
    assert_eq!(marked, 0);
}
