//! Power loss, imitated for SQLite. SIGKILL alone does not test durability, for the page cache survives it. Here the server runs
//! under `strace`, which notes every write and every sync; from that the files are put together as they could have been at
//! some moment: what was synced by then, and of what was written since some parts, torn, and some not at all. Whatever was
//! acknowledged before that moment must be there.
//!
//! A file's existence counts as durable once it was made; the index of the write-ahead log (`-shm`) holds nothing durable.

mod image;
mod trace;

use std::{
    path::Path,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use diesel::{Connection as _, QueryableByName, RunQueryDsl as _, SqliteConnection, sql_types};
use hookwright_proto::v1::RetrySchedule;
use hookwright_testkit::{TestServer, TestServerBuilder};
use parking_lot::Mutex;

use self::{image::Files, trace::Call};
use crate::{
    Random, dump,
    history::{self, Entry, History},
    nodes::Place,
    publisher::Publishers,
    receivers::Receivers,
    run::install,
};

/// How long each publisher pauses between two calls.
const PAUSE: Duration = Duration::from_millis(10);
/// How much later receivers answer while events are published.
const LATE: Duration = Duration::from_secs(3);
/// How long publishing under `strace` may take.
const PUBLISH_PATIENCE: Duration = Duration::from_secs(300);
/// How long a server that was started on an image may take to bring everything to its end.
const DRAIN_PATIENCE: Duration = Duration::from_secs(60);

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

/// What is to be done.
#[derive(Clone, Debug)]
pub struct PowerLoss {
    /// How many events to publish, at least.
    pub events: usize,
    /// How many moments to look at.
    pub points: usize,
    /// On how many of them a server is started, which must then deliver whatever is in the store.
    pub started: usize,
    /// Decides the moments, and what is lost.
    pub seed: u64,
    /// A bug to plant in the server.
    pub plant: Option<String>,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Events that were acknowledged.
    pub acknowledged: usize,
    /// Writes that were noted.
    pub writes: usize,
    /// Writes that were dropped or torn, over all moments.
    pub dropped: usize,
    /// Deliveries that servers on images brought to their end.
    pub resumed: i64,
    /// What was acknowledged and is not there, or is there and not delivered, in words.
    pub lost: Vec<String>,
}

/// Publishes events to a server under `strace`, and looks at what would be left of them.
///
/// # Errors
/// When `strace` is not there, or a server does not start.
pub async fn power_loss(server: &Path, options: &PowerLoss) -> anyhow::Result<Outcome> {
    let directory = tempfile::tempdir()?;
    let (data, log) = (directory.path().join("data"), directory.path().join("strace.log"));
    let history = Arc::new(History::create(directory.path())?);
    let receivers = Receivers::start(Arc::clone(&history), options.seed).await?;
    let wrapper = trace::wrapper(directory.path(), server, &log)?;
    let mut traced = builder(&wrapper, &data)
        .env("HOOKWRIGHT_PLANT", options.plant.as_deref().unwrap_or_default())
        .start()
        .await
        .context("the server under strace (Debian's package strace)")?;
    install(
        traced.grpc_address(),
        &traced.token()?,
        &receivers,
        &history,
        Some(retries()),
    )
    .await?;
    // Whatever is published is in memory for a while, and on its way through every part of the store.
    receivers.set_delay(LATE);
    publish(&traced, &history, options).await?;
    traced.kill9().await?;
    receivers.set_delay(Duration::ZERO);
    history.flush()?;
    let acknowledged = acknowledged(directory.path())?;
    let calls = trace::read(&log, &data).await?;
    let mut outcome = Outcome {
        acknowledged: acknowledged.len(),
        writes: calls.iter().filter(|call| matches!(call, Call::Write { .. })).count(),
        ..Outcome::default()
    };
    let mut random = Random::new(options.seed);
    let (first, last) = (acknowledged[0].0, acknowledged[acknowledged.len() - 1].0);
    for point in 0..options.points {
        let at = first + i64::try_from(random.next() % (last - first).unsigned_abs().max(1))?;
        let mut files = Files::default();
        outcome.dropped += files.until(&calls, at, &mut random);
        let place = directory.path().join(format!("image-{point}"));
        copy_keys(&data, &place)?;
        files.write(&place)?;
        if point < options.started {
            deliver(server, &place, at, &mut outcome).await?;
        }
        let expected = acknowledged.iter().filter(|(when, _)| *when < at);
        check(&place, at, expected.map(|(_, event)| *event), &mut outcome)?;
        std::fs::remove_dir_all(&place)?;
    }
    Ok(outcome)
}

fn builder(server: &Path, data: &Path) -> TestServerBuilder {
    TestServer::builder(server).allow("127.0.0.0/8").data_directory(data)
}

/// Soon and often: whatever an image holds is then brought to its end while somebody looks.
fn retries() -> RetrySchedule {
    RetrySchedule {
        delays: vec![prost_types::Duration { seconds: 1, nanos: 0 }; 50],
    }
}

/// Publishes until enough is acknowledged.
async fn publish(server: &TestServer, history: &Arc<History>, options: &PowerLoss) -> anyhow::Result<()> {
    let addresses = Arc::new(Mutex::new(vec![Some(server.grpc_address().to_owned())]));
    let mut publishers = Publishers::start(&addresses, &server.token()?, history, options.seed, PAUSE);
    let begun = Instant::now();
    while publishers.acknowledged.load(Ordering::Acquire) < options.events as u64 {
        anyhow::ensure!(begun.elapsed() < PUBLISH_PATIENCE, "publishing takes too long");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    publishers.stop().await;
    Ok(())
}

/// When each event was acknowledged, in that order.
fn acknowledged(directory: &Path) -> anyhow::Result<Vec<(i64, i64)>> {
    let mut all: Vec<(i64, i64)> = history::read(directory)?
        .into_iter()
        .filter_map(|entry| match entry {
            Entry::Acknowledged { at, event, .. } => Some((at, event)),
            _ => None,
        })
        .collect();
    all.sort_unstable();
    anyhow::ensure!(!all.is_empty(), "nothing was published");
    Ok(all)
}

/// The real server recovers the image and delivers whatever it holds.
async fn deliver(server: &Path, directory: &Path, at: i64, outcome: &mut Outcome) -> anyhow::Result<()> {
    let mut again = builder(server, directory)
        .start()
        .await
        .with_context(|| format!("the server on the image of {at}"))?;
    let place = Place::Sqlite {
        directory: directory.to_owned(),
    };
    let begun = Instant::now();
    let first = dump::owed(&place, 0).await?;
    let mut owed = first;
    while owed > 0 && begun.elapsed() < DRAIN_PATIENCE {
        tokio::time::sleep(Duration::from_millis(50)).await;
        owed = dump::owed(&place, 0).await?;
    }
    outcome.resumed += first - owed;
    if owed > 0 {
        outcome
            .lost
            .push(format!("at {at}: {owed} deliveries are not brought to their end"));
    }
    again.terminate().await?;
    Ok(())
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
