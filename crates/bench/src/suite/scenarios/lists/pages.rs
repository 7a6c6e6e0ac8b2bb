//! The pages of the console.

use anyhow::{Context as _, ensure};
use hookwright_testkit::http;

use super::{
    Answer, Stopwatch,
    filling::{SMALL, Stored},
};
use crate::suite::world::{ORGANIZATION, World};

pub(super) async fn visit(world: &World, stored: &Stored, watch: &mut Stopwatch) -> anyhow::Result<()> {
    let address = world.server.http_address();
    let answer = http::sign_in(address, world.token(), "").await?;
    let cookie = answer.cookie().context("signing in sets a cookie")?;
    for path in paths(stored) {
        watch
            .time(&format!("/console{path}"), async || {
                let headers = [("Cookie", cookie)];
                let page = http::request(address, "GET", &format!("/console{path}"), &headers, b"").await?;
                if page.status == 503 {
                    return Err(tonic::Status::unavailable("the console gave up").into());
                }
                ensure!(page.status == 200, "{path} answered {}: {}", page.status, page.text());
                let rows = page.text().matches("<tr").count();
                Ok(Answer::all(rows))
            })
            .await?;
    }
    Ok(())
}

fn paths(stored: &Stored) -> Vec<String> {
    let large = format!("/{ORGANIZATION}");
    let small = format!("/{SMALL}");
    let (event, delivery) = (stored.event, stored.event.delivery(0));
    let webhook = stored.webhook.rsplit('/').next().unwrap_or_default();
    let rare_webhook = stored.rare_webhook.rsplit('/').next().unwrap_or_default();
    let rare_type = &stored.rare_type;
    let mut paths = [
        "/",
        "/failing-webhooks",
        "/organizations",
        "/audit",
        "/audit?action=organization.rename",
        "/event-types",
    ]
    .map(str::to_owned)
    .to_vec();
    paths.extend([
        format!("/event-types/{rare_type}"),
        large.clone(),
        format!("{large}/webhooks"),
        format!("/{}", stored.webhook),
        format!("/{}", stored.rare_webhook),
        format!("{large}/audit"),
        format!("{large}/replays"),
        format!("{large}/events"),
        format!("{large}/events/{event}"),
        format!("{large}/events?event_type={rare_type}"),
        format!("{large}/events?ordering_key=needle"),
        format!("{large}/events?expression=has(payload.none)"),
        format!("{large}/deliveries"),
        format!("{large}/deliveries/{delivery}"),
        format!("{large}/deliveries?before={}", stored.event.raw()),
        format!("{large}/deliveries?webhook={webhook}"),
        format!("{large}/deliveries?webhook={rare_webhook}"),
        format!("{large}/deliveries?event_type={rare_type}"),
        format!(
            "{large}/deliveries?event_type={rare_type}&state=failed&before={}",
            stored.event.raw()
        ),
        format!("{large}/deliveries?error_class=tls_expired"),
        small.clone(),
        format!("{small}/webhooks"),
        format!("{small}/events"),
        format!("{small}/deliveries"),
        format!("{small}/deliveries?state=failed"),
        format!("{small}/audit"),
    ]);
    for state in ["pending", "retrying", "delivered", "failed", "cancelled", "paused"] {
        paths.push(format!("{large}/deliveries?state={state}"));
    }
    paths
}
