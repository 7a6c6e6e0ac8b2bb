//! Single faults, repeated and timed.

use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use anyhow::Context as _;

use crate::{
    checker::Verdict,
    history::Entry,
    now_us,
    run::{Options, Run, verdict},
};

/// How long no delivery of a killed node may arrive before all of them count as resumed.
const QUIET: Duration = Duration::from_secs(5);
const RESUME_PATIENCE: Duration = Duration::from_secs(60);

/// Kills one node at a time while it has deliveries, several times, and measures how long the other nodes take to
/// attempt everything that it left. Deliveries that an ordered webhook delays do not count. Returns the times in
/// milliseconds, and the verdict.
///
/// # Errors
/// Fails if the drill could not be carried out.
pub async fn kills(options: &Options, count: usize) -> anyhow::Result<(Vec<i64>, Verdict)> {
    let mut run = Run::start(options).await?;
    let mut publishers = run.publishers(options.seed, options.pause);
    let mut times = Vec::new();
    for round in 0..count {
        let node = round % run.nodes.nodes.len();
        // Receivers are down, so that the node has pending deliveries.
        run.receivers.set_down(true);
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        let number = run.nodes.ask_number(node).await?;
        let at = now_us();
        run.receivers.watch_wave(number, at);
        run.nodes.kill(node).await?;
        run.receivers.set_down(false);
        let begun = Instant::now();
        let (mut count, mut changed) = (0, Instant::now());
        while begun.elapsed() < RESUME_PATIENCE && (count == 0 || changed.elapsed() < QUIET) {
            let (now, _) = run.receivers.wave();
            if now > count {
                (count, changed) = (now, Instant::now());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let (count, last) = run.receivers.wave();
        anyhow::ensure!(count > 0, "nothing of node {node} was resumed");
        let took = (last - at) / 1_000;
        run.say(&format!(
            "killed node {node} (number {number}): {count} deliveries, all resumed within {took} ms"
        ));
        times.push(took);
        run.nodes.up(node, None).await?;
        run.history.add(&Entry::Fault {
            at,
            until: now_us(),
            kind: "kill".to_owned(),
            node: Some(node),
            number: Some(number),
        });
    }
    run.history.add(&Entry::Lifted { at: now_us() });
    publishers.stop().await;
    run.drain().await;
    run.finish(&options.out).await?;
    times.sort_unstable();
    Ok((times, verdict(&options.out)?))
}

/// Restarts the nodes one at a time under load, for some rounds. Returns how many events were published, how many tries
/// of a publisher failed, and the verdict.
///
/// # Errors
/// Fails if the drill could not be carried out.
pub async fn rolling(options: &Options, rounds: usize) -> anyhow::Result<(u64, u64, Verdict)> {
    let mut run = Run::start(options).await?;
    let mut publishers = run.publishers(options.seed, options.pause);
    for round in 0..rounds {
        for node in 0..run.nodes.nodes.len() {
            let at = now_us();
            run.say(&format!("round {round}: restarting node {node}"));
            run.nodes.terminate(node).await.context("stopping")?;
            run.nodes.up(node, None).await.context("starting")?;
            run.history.add(&Entry::Fault {
                at,
                until: now_us(),
                kind: "terminate".to_owned(),
                node: Some(node),
                number: None,
            });
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }
    run.history.add(&Entry::Lifted { at: now_us() });
    publishers.stop().await;
    run.drain().await;
    let (acknowledged, failed) = (
        publishers.acknowledged.load(Ordering::Acquire),
        publishers.failed.load(Ordering::Acquire),
    );
    run.finish(&options.out).await?;
    Ok((acknowledged, failed, verdict(&options.out)?))
}
