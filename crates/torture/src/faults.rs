//! The faults of a run: chosen by the seed, one at a time, each lifted before the next.

use std::time::Duration;

use hookwright_testkit::{postgres::StopMode, proxy::Mode};

use crate::{Random, dump, history::Entry, nodes::Place, now_us, run::Run};

/// Points at which a server can be made to die.
const FAILPOINTS: [&str; 4] = ["after-commit", "after-send", "adoption", "drain"];
/// How long a node may take to reach its failpoint.
const FAILPOINT_PATIENCE: Duration = Duration::from_secs(8);
/// How long a node is frozen: longer than its lease.
const FREEZE: Duration = Duration::from_secs(8);
const PARTITION: Duration = Duration::from_secs(8);
/// In seconds.
const HOUR: i64 = 3_600;

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Kill,
    KillAll,
    Failpoint,
    Terminate,
    RollingRestart,
    Freeze,
    StoreRestart,
    StoreImmediate,
    StoreSessions,
    StorePool,
    Partition,
    Cut,
    Slow,
    DiskFull,
    ReceiversDown,
    ClockBack,
    ClockForward,
    ClockSkew,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::KillAll => "kill_all",
            Self::Failpoint => "failpoint",
            Self::Terminate => "terminate",
            Self::RollingRestart => "rolling_restart",
            Self::Freeze => "freeze",
            Self::StoreRestart => "store_restart",
            Self::StoreImmediate => "store_immediate_shutdown",
            Self::StoreSessions => "store_sessions_ended",
            Self::StorePool => "store_connections_used_up",
            Self::Partition => "partition",
            Self::Cut => "connections_cut",
            Self::Slow => "store_slow",
            Self::DiskFull => "disk_full",
            Self::ReceiversDown => "receivers_down",
            Self::ClockBack => "clock_back",
            Self::ClockForward => "clock_forward",
            Self::ClockSkew => "clock_skew",
        }
    }
}

const ON_SQLITE: [Kind; 8] = [
    Kind::Kill,
    Kind::Failpoint,
    Kind::Terminate,
    Kind::Freeze,
    Kind::DiskFull,
    Kind::ReceiversDown,
    Kind::ClockBack,
    Kind::ClockForward,
];
const ON_POSTGRES: [Kind; 17] = [
    Kind::Kill,
    Kind::KillAll,
    Kind::Failpoint,
    Kind::Terminate,
    Kind::RollingRestart,
    Kind::Freeze,
    Kind::StoreRestart,
    Kind::StoreImmediate,
    Kind::StoreSessions,
    Kind::StorePool,
    Kind::Partition,
    Kind::Cut,
    Kind::Slow,
    Kind::ReceiversDown,
    Kind::ClockBack,
    Kind::ClockForward,
    Kind::ClockSkew,
];

/// Makes faults until the time is over, and then ensures that everything is up.
pub(crate) async fn run(run: &mut Run, seed: u64, until: std::time::Instant) -> anyhow::Result<()> {
    let mut random = Random::new(seed);
    let kinds: &[Kind] = match run.nodes.place {
        Place::Sqlite { .. } => &ON_SQLITE,
        Place::Postgres { .. } => &ON_POSTGRES,
    };
    // Every kind occurs once before any occurs again.
    let mut left: Vec<Kind> = Vec::new();
    while std::time::Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(500 + random.next() % 1_500)).await;
        if left.is_empty() {
            left = kinds.to_vec();
        }
        let kind = left.swap_remove(random.below(left.len()));
        if kind == Kind::DiskFull && run.disk.is_none() {
            continue;
        }
        one(run, kind, &mut random).await?;
        run.nodes.note_usage();
    }
    for index in 0..run.nodes.nodes.len() {
        if !run.nodes.is_up(index) {
            run.nodes.up(index, None).await?;
        }
    }
    Ok(())
}

async fn one(run: &mut Run, kind: Kind, random: &mut Random) -> anyhow::Result<()> {
    let node = random.below(run.nodes.nodes.len());
    let number = run.nodes.nodes[node].number;
    let at = now_us();
    run.say(&format!("{} (node {node})", kind.name()));
    let of_all = make(run, kind, node, random).await?;
    run.history.add(&Entry::Fault {
        at,
        until: now_us(),
        kind: kind.name().to_owned(),
        node: (!of_all).then_some(node),
        number: number.filter(|_| !of_all),
    });
    Ok(())
}

/// Makes one fault, and returns whether it concerned all nodes.
async fn make(run: &mut Run, kind: Kind, node: usize, random: &mut Random) -> anyhow::Result<bool> {
    Ok(match kind {
        Kind::Kill => {
            run.nodes.kill(node).await?;
            run.nodes.note_usage();
            tokio::time::sleep(Duration::from_millis(random.next() % 9_000)).await;
            run.nodes.up(node, None).await?;
            false
        }
        Kind::KillAll => {
            kill_all(run).await?;
            true
        }
        Kind::Failpoint => {
            fail_at_point(run, node, random).await?;
            false
        }
        Kind::Terminate => {
            run.nodes.terminate(node).await?;
            run.nodes.up(node, None).await?;
            false
        }
        Kind::RollingRestart => {
            restart_in_turn(run).await?;
            true
        }
        Kind::Freeze => {
            run.nodes.freeze(node)?;
            tokio::time::sleep(FREEZE + Duration::from_millis(random.next() % 4_000)).await;
            run.nodes.thaw(node)?;
            false
        }
        Kind::ReceiversDown => {
            run.receivers.set_down(true);
            tokio::time::sleep(Duration::from_millis(1_000 + random.next() % 4_000)).await;
            run.receivers.set_down(false);
            true
        }
        Kind::DiskFull => {
            fill_disk(run).await?;
            true
        }
        Kind::ClockBack | Kind::ClockForward => {
            let ahead = if kind == Kind::ClockBack { -HOUR } else { 24 * HOUR };
            set_clock(run, node, ahead, random).await?;
            false
        }
        Kind::ClockSkew => {
            skew(run, random).await?;
            true
        }
        Kind::Partition | Kind::Cut | Kind::Slow => {
            between(run, kind, node, random).await;
            false
        }
        _ => {
            store(run, kind, random).await?;
            true
        }
    })
}

async fn kill_all(run: &mut Run) -> anyhow::Result<()> {
    for index in 0..run.nodes.nodes.len() {
        run.nodes.kill(index).await?;
    }
    for index in 0..run.nodes.nodes.len() {
        run.nodes.up(index, None).await?;
    }
    Ok(())
}

async fn restart_in_turn(run: &mut Run) -> anyhow::Result<()> {
    for index in 0..run.nodes.nodes.len() {
        run.nodes.terminate(index).await?;
        run.nodes.up(index, None).await?;
    }
    Ok(())
}

async fn fill_disk(run: &Run) -> anyhow::Result<()> {
    if let Some(disk) = &run.disk {
        disk.fill()?;
        tokio::time::sleep(Duration::from_secs(3)).await;
        disk.free();
    }
    Ok(())
}

/// Sets the clock of a node's machine for a while, and corrects it. Sometimes the node dies in between, or just after.
async fn set_clock(run: &mut Run, node: usize, ahead: i64, random: &mut Random) -> anyhow::Result<()> {
    let restarts = random.below(4);
    for (step, ahead) in [ahead, 0].into_iter().enumerate() {
        if restarts & (1 << step) != 0 {
            run.say("  while the node is down");
            let at = now_us();
            run.nodes.kill(node).await?;
            run.nodes.set_clock(node, ahead)?;
            run.nodes.up(node, None).await?;
            note_restart(run, node, at);
        } else {
            run.nodes.set_clock(node, ahead)?;
        }
        tokio::time::sleep(Duration::from_millis(2_000 + random.next() % 4_000)).await;
    }
    Ok(())
}

/// Records that a node was killed while clocks were wrong, which may repeat its attempts in flight.
fn note_restart(run: &Run, node: usize, at: i64) {
    run.history.add(&Entry::Fault {
        at,
        until: now_us(),
        kind: "clock_restart".to_owned(),
        node: Some(node),
        number: None,
    });
}

/// Sets the clocks of all nodes to different times for a while.
async fn skew(run: &mut Run, random: &mut Random) -> anyhow::Result<()> {
    for index in 0..run.nodes.nodes.len() {
        let ahead = i64::try_from(random.next() % 7_200).unwrap_or_default() - HOUR;
        run.nodes.set_clock(index, ahead)?;
    }
    tokio::time::sleep(Duration::from_millis(2_000 + random.next() % 4_000)).await;
    // The other nodes take over what this node leaves, with clocks that differ.
    let lost = random.below(run.nodes.nodes.len());
    let at = now_us();
    run.nodes.kill(lost).await?;
    tokio::time::sleep(Duration::from_millis(random.next() % 9_000)).await;
    run.nodes.up(lost, None).await?;
    note_restart(run, lost, at);
    for index in 0..run.nodes.nodes.len() {
        run.nodes.set_clock(index, 0)?;
    }
    Ok(())
}

/// Starts a node that dies at a failpoint, waits for its end, and starts it again.
async fn fail_at_point(run: &mut Run, node: usize, random: &mut Random) -> anyhow::Result<()> {
    let points = if run.nodes.nodes.len() > 1 { FAILPOINTS.len() } else { 2 };
    let point = FAILPOINTS[random.below(points)];
    run.say(&format!("  at {point}"));
    run.nodes.terminate(node).await?;
    let hit = if point == "drain" || point == "adoption" {
        1
    } else {
        1 + random.below(60)
    };
    run.nodes.up(node, Some(&format!("{point}:{hit}"))).await?;
    match point {
        "drain" => run.nodes.terminate(node).await?,
        "adoption" if run.nodes.nodes.len() > 1 => {
            // An adoption needs a lost node.
            let other = (node + 1) % run.nodes.nodes.len();
            run.nodes.kill(other).await?;
            wait_for_end(run, node).await;
            run.nodes.up(other, None).await?;
        }
        _ => wait_for_end(run, node).await,
    }
    run.nodes.kill(node).await?;
    run.nodes.up(node, None).await
}

async fn wait_for_end(run: &mut Run, node: usize) {
    let begun = std::time::Instant::now();
    while run.nodes.is_up(node) && begun.elapsed() < FAILPOINT_PATIENCE {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Faults between one node and the store.
async fn between(run: &Run, kind: Kind, node: usize, random: &mut Random) {
    let Some(proxy) = &run.nodes.nodes[node].proxy else {
        return;
    };
    match kind {
        Kind::Partition => {
            proxy.set(Mode::Hold);
            tokio::time::sleep(PARTITION + Duration::from_millis(random.next() % 6_000)).await;
            // The held bytes are lost with their connections, so no message arrives late.
            proxy.cut();
            proxy.set(Mode::Pass);
        }
        Kind::Slow => {
            proxy.set(Mode::Slow(Duration::from_millis(50 + random.next() % 300)));
            tokio::time::sleep(Duration::from_secs(6)).await;
            proxy.set(Mode::Pass);
        }
        _ => proxy.cut(),
    }
}

/// Faults of the store itself.
async fn store(run: &Run, kind: Kind, random: &mut Random) -> anyhow::Result<()> {
    let Place::Postgres { cluster, database } = &run.nodes.place else {
        return Ok(());
    };
    match kind {
        Kind::StoreRestart | Kind::StoreImmediate => {
            let mode = if kind == Kind::StoreRestart {
                StopMode::Fast
            } else {
                StopMode::Immediate
            };
            cluster.stop(mode).await?;
            tokio::time::sleep(Duration::from_millis(random.next() % 8_000)).await;
            cluster.resume().await?;
        }
        Kind::StoreSessions => {
            let client = dump::connect(database.url()).await?;
            client
                .batch_execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = current_database()")
                .await?;
        }
        Kind::StorePool => {
            let mut taken = Vec::new();
            while let Ok(client) = dump::connect(database.url()).await {
                taken.push(client);
            }
            // Existing connections must be reopened to be affected.
            for node in &run.nodes.nodes {
                if let Some(proxy) = &node.proxy {
                    proxy.cut();
                }
            }
            tokio::time::sleep(Duration::from_millis(2_000 + random.next() % 5_000)).await;
        }
        _ => {}
    }
    Ok(())
}
