//! One server whose clock, or whose database's clock, is set while it runs or while it is away.

use hookwright_proto::v1::{DeliveryState, ListDeliveriesRequest, RetrySchedule, Webhook};
use hookwright_testkit::Receiver;

use super::{DAY, HOUR, Kinds, PlantedClock};
use crate::support::{CLOCKING, Installation, On, id_of, on_both_stores, webhook};

on_both_stores! {
    async fn x10_a_clock_that_is_set_back_and_forward_delays_nothing(on: On) {
        let clock = PlantedClock::of_machine();
        let mut installation = Installation::start_with(on, |server| clock.in_place(server)).await;
        for name in ["late", "soon", "other"] {
            installation.register(name).await;
        }
        let kinds = Kinds::install(&mut installation).await;
        installation.continues(&kinds).await;
        let (far, near) = (Receiver::start().await, Receiver::start().await);
        let far_off = installation.late_delivery(&far, HOUR).await;
        for (count, ahead) in [-HOUR, DAY, 0].into_iter().enumerate() {
            // Covers deliveries before and after the change of the clock: one that failed just before it and is due
            // again soon, events published just before it, and events published just after it.
            near.answer_in_turn([503, 200, 200]);
            let soon = installation.late_soon(&near).await;
            let before = installation.publish_some().await;
            clock.set(ahead);
            installation.continues(&kinds).await;
            kinds.have(&mut installation.clients, &before).await;
            installation.delivered(&soon).await;
            // PostgreSQL shows times by its own clock, which the test does not change.
            let shown_ahead = if on == On::Sqlite { ahead } else { 0 };
            let wait = installation.attempted_in(&far_off, shown_ahead).await;
            assert!((HOUR / 2..=HOUR * 11 / 10).contains(&wait), "{wait} s after the clock was set to {ahead} s");
            installation.says("/readyz", &format!("clocks were set since the start: {} times", count + 1)).await;
            installation.says("/readyz", "200 OK").await;
            assert!(installation.reading("hookwright_clock_jumps").await >= 1.0);
            assert!(installation.reading("hookwright_stalled_seconds").await < 1.0);
        }
        assert_eq!(installation.reading("hookwright_due_times_corrected_total").await, 0.0, "no due time was wrong");
    }

    async fn x10_a_clock_that_is_set_forward_disables_no_webhook_early(on: On) {
        let clock = PlantedClock::of_machine();
        let mut installation = Installation::start_with(on, |server| {
            clock.in_place(server).arg("--disable-after", "1h").arg("--retry-delay", "1h")
        })
        .await;
        let (failing, gone) = (Receiver::start().await, Receiver::start().await);
        installation.register("other").await;
        failing.respond(500);
        gone.respond(410);
        let failing = installation.create_webhook(webhook(&failing.url("/"), &["clocking"])).await.unwrap();
        let retrying = ListDeliveriesRequest {
            webhook: failing.name.clone(),
            states: vec![DeliveryState::Retrying.into()],
            ..Default::default()
        };
        // One failure is the ping's. A webhook is never disabled for fewer than 20 failures.
        installation.publish_batch("clocking", CLOCKING, 25).await;
        installation.deliveries_until(retrying.clone(), 26).await;
        clock.set(DAY);
        installation.publish_batch("clocking", CLOCKING, 5).await;
        installation.deliveries_until(retrying.clone(), 31).await;
        // The server checks webhooks in order. When it has disabled this one, it has decided about the other one too.
        let gone = installation.create_webhook(webhook(&gone.url("/"), &["other"])).await.unwrap();
        installation.webhook_until(&gone.name, |webhook| webhook.active == Some(false)).await;
        installation.webhook_until(&failing.name, |webhook| webhook.active == Some(true)).await;
        // Then the clock is set back.
        clock.set(-DAY);
        installation.publish_batch("clocking", CLOCKING, 5).await;
        installation.deliveries_until(retrying, 36).await;
        installation.webhook_until(&failing.name, |webhook| webhook.active == Some(true)).await;
    }

    async fn x10_a_clock_that_is_set_while_no_server_runs_delays_nothing(on: On) {
        let clock = PlantedClock::of_machine();
        let mut installation = Installation::start_with(on, |server| clock.in_place(server)).await;
        installation.register("other").await;
        installation.register("late").await;
        let kinds = Kinds::install(&mut installation).await;
        let far = Receiver::start().await;
        let far_off = installation.late_delivery(&far, HOUR).await;
        installation.continues(&kinds).await;
        for ahead in [DAY, 0, -HOUR] {
            // These events are pending while the server is down, and are pulled when it is back.
            let waiting = installation.publish_some().await;
            clock.set(ahead);
            installation.restart().await;
            kinds.have(&mut installation.clients, &waiting).await;
            installation.continues(&kinds).await;
        }
        // On SQLite a server that was down for a day cannot be told apart from a clock that is a day ahead.
        if on == On::Postgres {
            let wait = installation.attempted_in(&far_off, 0).await;
            assert!((HOUR / 2..=HOUR * 11 / 10).contains(&wait), "{wait} s");
        }
    }
}

impl Installation {
    /// Creates a delivery whose first attempt has just failed, and whose second attempt is due in a few seconds.
    async fn late_soon(&mut self, receiver: &Receiver) -> String {
        let wanted = Webhook {
            retry_schedule: Some(RetrySchedule {
                delays: vec![prost_types::Duration { seconds: 3, nanos: 0 }],
            }),
            ..webhook(&receiver.url("/"), &["soon"])
        };
        let name = self.create_webhook(wanted).await.unwrap().name;
        // The delivery is the webhook's ping, whose first attempt fails.
        let id = id_of(&name).to_owned();
        let requests = receiver
            .wait_until(|requests| requests.iter().any(|one| one.json()["hook"]["id"] == id.as_str()))
            .await;
        let ping = requests
            .iter()
            .find(|one| one.json()["hook"]["id"] == id.as_str())
            .unwrap();
        format!(
            "organizations/acme/deliveries/{}",
            ping.header("TT-Hook-Delivery").unwrap()
        )
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn x10_a_database_whose_clock_is_set_delays_nothing() {
    let clock = PlantedClock::new("HOOKWRIGHT_DATABASE_CLOCK_FILE");
    let mut installation = Installation::start_with(On::Postgres, |server| clock.in_place(server)).await;
    installation.register("late").await;
    installation.register("other").await;
    let kinds = Kinds::install(&mut installation).await;
    let far = Receiver::start().await;
    let far_off = installation.late_delivery(&far, HOUR).await;
    for ahead in [-HOUR, DAY, 0] {
        let before = installation.publish_some().await;
        clock.set(ahead);
        installation.continues(&kinds).await;
        installation
            .says("/readyz", "clocks were set since the start: 1 times")
            .await;
        kinds.have(&mut installation.clients, &before).await;
        installation.continues(&kinds).await;
        // The second round uses a new process, which has seen no jump.
        for restart in [false, true] {
            if restart {
                installation.restart().await;
                installation.continues(&kinds).await;
            }
            let wait = installation.attempted_in(&far_off, ahead).await;
            assert!((HOUR / 2..=HOUR * 11 / 10).contains(&wait), "{wait} s at {ahead} s");
        }
    }
}
