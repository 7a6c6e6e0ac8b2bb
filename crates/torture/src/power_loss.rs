//! Simulated power loss for SQLite. SIGKILL alone does not test durability, because the page cache survives it. Here
//! the server runs under `strace`, which records every write and every sync. From that record the files are
//! reconstructed as they could have been at some moment: everything that was synced by then, and of the later writes
//! some completely, some torn, and some not at all. Every event that was acknowledged before that moment must be in the
//! files.
//!
//! The creation of a file counts as durable at once. The index of the write-ahead log (`-shm`) contains nothing
//! durable.

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

/// The pause of each publisher between two calls.
const PAUSE: Duration = Duration::from_millis(10);
/// The delay of the receivers' responses while events are published.
const LATE: Duration = Duration::from_secs(3);
/// How long publishing under `strace` may take.
const PUBLISH_PATIENCE: Duration = Duration::from_secs(300);
/// How long a server that was started on an image may take to finish all deliveries.
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

/// The options of a power-loss run.
#[derive(Clone, Debug)]
pub struct PowerLoss {
    /// The number of events to publish, at least.
    pub events: usize,
    /// The number of moments to check.
    pub points: usize,
    /// The number of moments with a server that is started on the image, and must deliver everything in the store.
    pub started: usize,
    /// The seed of the moments, and of the lost writes.
    pub seed: u64,
    /// A bug to plant in the server.
    pub plant: Option<String>,
}

/// The result of a power-loss run.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Events that were acknowledged.
    pub acknowledged: usize,
    /// Writes that were recorded.
    pub writes: usize,
    /// Writes that were dropped or torn, summed over all moments.
    pub dropped: usize,
    /// Deliveries that servers on images finished.
    pub resumed: i64,
    /// Acknowledged events that are missing, and stored events that were not delivered, as text.
    pub lost: Vec<String>,
}

/// Publishes events to a server under `strace`, and checks what would be left of them.
///
/// # Errors
/// Fails if `strace` is not installed, or a server does not start.
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
    // Every delivery is in memory for a while, and passes through every part of the store.
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

/// Retries that are soon and frequent, so that a server on an image finishes its deliveries within the time limit.
fn retries() -> RetrySchedule {
    RetrySchedule {
        delays: vec![prost_types::Duration { seconds: 1, nanos: 0 }; 50],
    }
}

/// Publishes until enough events are acknowledged.
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

/// The time of each event's acknowledgement, in that order.
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

/// The real server recovers the image and delivers everything in it.
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
            .push(format!("at {at}: {owed} deliveries are not finished"));
    }
    again.terminate().await?;
    Ok(())
}

/// Copies the files beside the database that were written once, at the first start.
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
            .push(format!("at {at} the file is corrupt: {}", whole.text));
    }
    let stored: Vec<Id> = diesel::sql_query("SELECT id FROM events").load(&mut conn)?;
    let stored: std::collections::HashSet<i64> = stored.into_iter().map(|row| row.id).collect();
    for event in expected.filter(|event| !stored.contains(event)) {
        outcome
            .lost
            .push(format!("at {at} event {event} was acknowledged and is missing"));
    }
    Ok(())
}
