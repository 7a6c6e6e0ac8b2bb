//! Power loss, imitated for SQLite. SIGKILL alone does not test durability, for the page cache survives it. Here the server runs
//! under `strace`, which notes every write and every sync; from that the files are put together as they could have been at
//! some moment: what was synced by then, and of what was written since some parts, torn, and some not at all. Whatever was
//! acknowledged before that moment must be there.
//!
//! A file's existence counts as durable once it was made; the index of the write-ahead log (`-shm`) holds nothing durable.

mod image;
mod trace;

use std::{path::Path, time::Duration};

use anyhow::Context as _;
use diesel::{Connection as _, QueryableByName, RunQueryDsl as _, SqliteConnection, sql_types};
use hookwright_domain::id::EventId;
use hookwright_proto::v1::{
    CreateEventTypeRequest, CreateOrganizationRequest, PublishEventRequest, event_service_client::EventServiceClient,
    event_type_service_client::EventTypeServiceClient, organization_service_client::OrganizationServiceClient,
    publish_event_request::Payload,
};
use hookwright_testkit::TestServer;

use self::{image::Files, trace::Call};
use crate::{
    Random,
    nodes::{authorized, channel},
    now_us,
};

/// How many publish at the same time.
const PUBLISHERS: usize = 4;
/// The server is started again on so many of the images; all of them are opened and read.
const STARTED: usize = 3;

#[derive(QueryableByName)]
struct Text {
    #[diesel(sql_type = sql_types::Text)]
    text: String,
}

#[derive(QueryableByName)]
struct Id {
    #[diesel(sql_type = sql_types::BigInt)]
    id: i64,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Events that were acknowledged.
    pub acknowledged: usize,
    /// Writes that were noted.
    pub writes: usize,
    /// Moments that were looked at.
    pub points: usize,
    /// Writes that were dropped or torn, over all moments.
    pub dropped: usize,
    /// What was acknowledged and is not there, in words.
    pub lost: Vec<String>,
}

/// Publishes so many events, and looks at so many moments.
///
/// # Errors
/// When `strace` is not there, or the server does not start.
pub async fn power_loss(
    server: &Path,
    events: usize,
    points: usize,
    seed: u64,
    plant: Option<&str>,
) -> anyhow::Result<Outcome> {
    let directory = tempfile::tempdir()?;
    let (data, log) = (directory.path().join("data"), directory.path().join("strace.log"));
    let wrapper = trace::wrapper(directory.path(), server, &log)?;
    let mut traced = TestServer::builder(&wrapper)
        .allow("127.0.0.0/8")
        .data_directory(&data)
        .env("HOOKWRIGHT_PLANT", plant.unwrap_or_default())
        .start()
        .await
        .context("the server under strace (Debian's package strace)")?;
    let acknowledged = publish(&traced, events).await?;
    traced.kill9().await?;
    let calls = trace::read(&log, &data).await?;
    let mut outcome = Outcome {
        acknowledged: acknowledged.len(),
        writes: calls.iter().filter(|call| matches!(call, Call::Write { .. })).count(),
        points,
        dropped: 0,
        lost: Vec::new(),
    };
    let mut random = Random::new(seed);
    let (first, last) = (acknowledged[0].0, acknowledged[acknowledged.len() - 1].0);
    for point in 0..points {
        let at = first + i64::try_from(random.next() % (last - first).unsigned_abs().max(1))?;
        let mut files = Files::default();
        outcome.dropped += files.until(&calls, at, &mut random);
        let place = directory.path().join(format!("image-{point}"));
        copy_keys(&data, &place)?;
        files.write(&data, &place)?;
        let expected = acknowledged
            .iter()
            .filter(|(when, _)| *when < at)
            .map(|(_, event)| *event);
        if point < STARTED {
            // The real server recovers the image, and is stopped in order.
            let mut again = TestServer::builder(server)
                .allow("127.0.0.0/8")
                .data_directory(&place)
                .start()
                .await
                .with_context(|| format!("the server on the image of {at}"))?;
            again.terminate().await?;
        }
        check(&place, at, expected, &mut outcome)?;
        std::fs::remove_dir_all(&place)?;
    }
    Ok(outcome)
}

/// Publishes by several callers at once. When each event was acknowledged, in that order.
async fn publish(server: &TestServer, events: usize) -> anyhow::Result<Vec<(i64, i64)>> {
    let (channel, token) = (channel(server.grpc_address()).await?, server.token()?);
    let request = CreateOrganizationRequest {
        organization_id: "torture".to_owned(),
        organization: None,
    };
    OrganizationServiceClient::new(channel.clone())
        .create_organization(authorized(request, &token)?)
        .await?;
    let request = CreateEventTypeRequest {
        event_type_id: "step".to_owned(),
        event_type: None,
    };
    EventTypeServiceClient::new(channel.clone())
        .create_event_type(authorized(request, &token)?)
        .await?;
    let mut tasks = tokio::task::JoinSet::new();
    for publisher in 0..PUBLISHERS {
        let (mut client, token) = (EventServiceClient::new(channel.clone()), token.clone());
        tasks.spawn(async move {
            let mut acknowledged = Vec::new();
            for number in 0..events / PUBLISHERS {
                let json = format!(
                    r#"{{"publisher":{publisher},"number":{number},"padding":"{}"}}"#,
                    "x".repeat(300)
                );
                let request = PublishEventRequest {
                    organization: "organizations/torture".to_owned(),
                    event_type: "step".to_owned(),
                    payload: Some(Payload::Json(json.into())),
                    ..PublishEventRequest::default()
                };
                let published = client.publish_event(authorized(request, &token)?).await?.into_inner();
                let id = published
                    .event
                    .rsplit('/')
                    .next()
                    .unwrap_or_default()
                    .parse::<EventId>()?;
                acknowledged.push((now_us(), id.raw()));
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            anyhow::Ok(acknowledged)
        });
    }
    let mut all = Vec::new();
    while let Some(done) = tasks.join_next().await {
        all.extend(done??);
    }
    all.sort_unstable();
    anyhow::ensure!(!all.is_empty(), "nothing was published");
    Ok(all)
}

/// What is beside the database, and written once at the first start.
fn copy_keys(from: &Path, to: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let name = entry.file_name();
        if !name.to_string_lossy().starts_with("hookwright.db") && entry.file_type()?.is_file() {
            std::fs::copy(entry.path(), to.join(name))?;
        }
    }
    Ok(())
}

fn check(place: &Path, at: i64, expected: impl Iterator<Item = i64>, outcome: &mut Outcome) -> anyhow::Result<()> {
    let path = place.join("hookwright.db");
    let mut conn = SqliteConnection::establish(&path.to_string_lossy())?;
    let whole: Text = diesel::sql_query("SELECT integrity_check AS text FROM pragma_integrity_check LIMIT 1")
        .get_result(&mut conn)
        .with_context(|| format!("the image of {at}"))?;
    if whole.text != "ok" {
        outcome
            .lost
            .push(format!("at {at} the file is not whole: {}", whole.text));
    }
    let stored: Vec<Id> = diesel::sql_query("SELECT id FROM events").load(&mut conn)?;
    let stored: std::collections::HashSet<i64> = stored.into_iter().map(|row| row.id).collect();
    for event in expected.filter(|event| !stored.contains(event)) {
        outcome
            .lost
            .push(format!("at {at} event {event} was acknowledged and is not there"));
    }
    Ok(())
}
