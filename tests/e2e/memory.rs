//! The memory limit `memory-bytes-max`, however many webhooks have a backlog.

use std::collections::HashSet;

use hookwright_proto::v1::Webhook;
use hookwright_testkit::{Answer, Receiver, Response, receiver::Gate, until};
use prost_types::Duration as ProtoDuration;

use crate::support::{Installation, On, event, on_both_stores, webhook};

const WEBHOOKS: usize = 80;
const MIB: usize = 1 << 20;
/// The setting `memory-bytes-max`, in MiB.
const MEMORY_MIB: usize = 4;
/// The limit for payloads of 1 MiB: beyond `memory-bytes-max`, one for each place and each concurrent read.
const COUNTED_MIB_MAX: usize = MEMORY_MIB + 16;
/// How much the process may grow: copies that are being read and sent, and memory that the allocator keeps.
const GROWTH_MIB_MAX: usize = 2 * COUNTED_MIB_MAX + 16;

/// The memory that the engine counts, in MiB.
async fn counted_mib(installation: &Installation) -> f64 {
    installation.metric("hookwright_memory_bytes").await / (1 << 20) as f64
}

on_both_stores! {
    async fn large_payloads_for_many_webhooks_stay_within_the_limit_across_a_restart(on: On) {
        let limit = format!("{MEMORY_MIB}MiB");
        let mut installation = Installation::start_with(on, |server| server.arg("--memory-bytes-max", &limit)).await;
        let receiver = Receiver::start().await;
        for n in 0..WEBHOOKS {
            let event_type = format!("large-{n}");
            installation.register(&event_type).await;
            let patient = Webhook {
                timeout: Some(ProtoDuration { seconds: 30, nanos: 0 }),
                ..webhook(&receiver.url("/payload"), &[&event_type])
            };
            installation.create_webhook(patient).await.unwrap();
        }
        receiver.wait_for(WEBHOOKS).await;
        // No receiver responds: each webhook has one pending event of its own type.
        let gate = Gate::new();
        receiver.answer(Response::new(200).after(&gate));
        let publishers = (0..WEBHOOKS).map(|n| {
            let mut events = installation.clients.events.clone();
            let payload = format!(r#"{{"n":{n},"filler":"{}"}}"#, "x".repeat(MIB));
            let request = event(&format!("large-{n}"), &payload);
            tokio::spawn(async move { events.publish_event(request).await.unwrap().into_inner().event })
        });
        let publishers: Vec<_> = publishers.collect();
        let mut published = HashSet::new();
        for publisher in publishers {
            published.insert(crate::support::id_of(&publisher.await.unwrap()).to_owned());
        }
        let counted = counted_mib(&installation).await;
        assert!(counted <= COUNTED_MIB_MAX as f64, "{counted} MiB are in memory after publishing");

        installation.server.kill9().await.unwrap();
        receiver.forget_requests();
        installation.restart().await;
        let idle = installation.peak_mib();
        until("recovery to end, and attempts beyond the limit", async || {
            let running = installation.metric("hookwright_recovery_running").await;
            let held = installation.metric("hookwright_deliveries_in_memory").await;
            if running == 0.0 && held > MEMORY_MIB as f64 { Ok(()) } else { Err(format!("{running} running, {held} in memory")) }
        })
        .await;
        let counted = counted_mib(&installation).await;
        assert!(counted <= COUNTED_MIB_MAX as f64, "{counted} MiB are in memory after the restart");

        gate.open();
        receiver.answer(Answer::from(200));
        let arrived = |requests: &[hookwright_testkit::RecordedRequest]| -> HashSet<String> {
            requests.iter().filter_map(|request| request.header("webhook-id").map(str::to_owned)).collect()
        };
        receiver.wait_until(|requests| arrived(requests).is_superset(&published)).await;
        let peak = installation.peak_mib();
        assert!(peak <= idle + GROWTH_MIB_MAX, "the server grew from {idle} to {peak} MiB");
        until("an empty memory", async || {
            let counted = counted_mib(&installation).await;
            if counted == 0.0 { Ok(()) } else { Err(counted) }
        })
        .await;
    }
}
