//! Runs with an aged installation, as months of use would leave it: millions of past deliveries, a backlog for
//! receivers that are gone, thousands of webhooks with pending deliveries, an abandoned pull webhook, blocked keys, a
//! long audit log, and large payloads above the watermark. Under a steady load the run does what operators do, and
//! causes what happens to machines.
//!
//! Each step must finish, publishing must stay nearly as fast as on the empty store, nothing may be lost, and retention
//! must free disk space. A failed step is reported in the table and does not end the run.

mod filling;
mod large;
mod scale;
mod steps;
mod table;
mod upgrade;

use std::{
    path::PathBuf,
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
pub use scale::Scale;
pub use table::Step;

use self::{
    filling::Filled,
    steps::{BeforeRetention, Kind, RETENTION, STEPS},
};
use crate::{
    checker::{self, Verdict},
    disk::Disk,
    history::{self, Entry},
    now_us,
    publisher::Publishers,
    run::{self, Run},
};

/// The options of an aged run.
#[derive(Clone, Debug)]
pub struct Options {
    /// The server's binary: a development build, which has the planted clock.
    pub server: PathBuf,
    /// PostgreSQL, or SQLite.
    pub postgres: bool,
    /// The number of nodes; one on SQLite.
    pub nodes: usize,
    /// The seed of the payloads.
    pub seed: u64,
    /// The age and the size.
    pub scale: Scale,
    /// Only the steps whose names have one of these prefixes, after the first start; all steps if empty.
    pub steps: Vec<String>,
    /// The directory of the history and the report.
    pub out: PathBuf,
    /// Print the progress on standard error.
    pub verbose: bool,
}

/// The result of an aged run.
#[derive(Debug)]
pub struct Report {
    /// Every step, in order.
    pub steps: Vec<Step>,
    /// The findings of the checker.
    pub verdict: Verdict,
    /// The faults, as text.
    pub faults: Vec<String>,
}

impl Report {
    /// Whether there are no faults.
    pub fn is_kept(&self) -> bool {
        self.faults.is_empty() && self.verdict.is_kept()
    }

    /// The report as text.
    pub fn table(&self) -> String {
        let mut text = format!("{}\n{}", table::table(&self.steps), self.verdict.table());
        for fault in &self.faults {
            text.push_str(&format!("FAULT: {fault}\n"));
        }
        text
    }
}

/// A run in progress.
pub(crate) struct Aged {
    pub(crate) run: Run,
    pub(crate) scale: Scale,
    filled: Filled,
    publishers: Publishers,
    large: Vec<i64>,
    normal_p99_ms: f64,
    steps: Vec<Step>,
    before_retention: Option<BeforeRetention>,
    /// The condition that the current step is waiting for.
    waits_for: Mutex<String>,
}

/// Builds the installation, runs the steps, and checks the result.
///
/// # Errors
/// Fails if the run itself could not be carried out. Faults of a step are in the report.
pub async fn aged(options: &Options) -> anyhow::Result<Report> {
    let mut aged = Aged::build(options).await?;
    let is_chosen = |kind: &Kind| {
        let named = options.steps.iter().any(|name| kind.name().starts_with(name));
        named || options.steps.is_empty() || *kind == Kind::Start
    };
    for kind in STEPS.into_iter().filter(is_chosen) {
        aged.step(kind).await?;
    }
    let Aged {
        run,
        mut publishers,
        mut steps,
        scale,
        ..
    } = aged;
    run.history.add(&Entry::Lifted { at: now_us() });
    publishers.stop().await;
    run.drain().await;
    run.nodes.note_usage();
    run.finish(&options.out).await?;
    let verdict = run::verdict(&options.out)?;
    let stretches: Vec<(i64, i64)> = steps.iter().map(|step| (step.at, step.until)).collect();
    let lost = checker::lost_between(&history::read(&options.out)?, &stretches);
    for (step, lost) in steps.iter_mut().zip(lost) {
        step.lost = lost;
    }
    let report = Report {
        faults: faults(&scale, &steps),
        steps,
        verdict,
    };
    std::fs::write(
        options.out.join("steps.json"),
        serde_json::to_vec_pretty(&report.steps)?,
    )?;
    std::fs::write(options.out.join("report.txt"), report.table())?;
    Ok(report)
}

/// The faults that the table shows.
fn faults(scale: &Scale, steps: &[Step]) -> Vec<String> {
    let mut faults = Vec::new();
    for step in steps {
        if !step.done {
            faults.push(format!("step {}: {}", step.name, step.said));
        }
        if step.lost > 0 {
            faults.push(format!("step {}: {} deliveries were lost", step.name, step.lost));
        }
        if step.calls == 0 {
            faults.push(format!("step {}: nothing was published", step.name));
        }
        let Some(most) = scale.ratio_max else { continue };
        // A failed try has no duration. While every node is up, no try may fail.
        if step.all_up && step.failed_tries > 0 {
            faults.push(format!(
                "step {}: {} tries to publish failed",
                step.name, step.failed_tries
            ));
        }
        if step.silence_s > scale.silence_max.as_secs_f64() {
            faults.push(format!(
                "step {}: nothing was published for {:.1} s; the limit is {:.0} s",
                step.name,
                step.silence_s,
                scale.silence_max.as_secs_f64()
            ));
        }
        if step.ratio > most {
            faults.push(format!(
                "step {}: the p99 of publishing was {:.1} times its normal value; the limit is {most:.0}",
                step.name, step.ratio
            ));
        }
    }
    faults
}

impl Aged {
    async fn build(options: &Options) -> anyhow::Result<Self> {
        let scale = options.scale.clone();
        let disk = Disk::make(scale.disk_mib).await;
        let directory = match &disk {
            Some(disk) => tempfile::tempdir_in(disk.directory())?,
            None => tempfile::tempdir()?,
        };
        let begun = run::Options {
            server: options.server.clone(),
            seconds: 0,
            nodes: options.nodes,
            postgres: options.postgres,
            seed: options.seed,
            out: options.out.clone(),
            plant: None,
            pause: scale.pause,
            leavers: false,
            verbose: options.verbose,
        };
        let mut run = Run::begin(&begun, directory).await?;
        run.nodes.settings.push((RETENTION, "0s".to_owned()));
        run.disk = disk;
        if run.disk.is_none() {
            run.say("no file system can be mounted here: the disk is never full in this run");
        }
        let (mut publishers, normal) = empty(&run, options, &scale).await?;
        publishers.stop().await;
        run.drain().await;
        let number = stop_all(&mut run).await?;
        let past = run.nodes.past();
        let filled = filling::fill(&past, &scale, |text| run.say(text)).await?;
        run.say("filling: large payloads above the watermark");
        let large = large::write(&run, &past, &scale, number).await?;
        run.say("filled");
        let publishers = publish(&run, options, &scale, 1);
        Ok(Self {
            normal_p99_ms: normal.p99_ms,
            steps: vec![normal],
            run,
            scale,
            filled,
            publishers,
            large,
            before_retention: None,
            waits_for: Mutex::default(),
        })
    }

    /// Runs one step under the load, and measures its effect on publishing.
    async fn step(&mut self, kind: Kind) -> anyhow::Result<()> {
        let name = kind.name();
        self.run.say(name);
        let (failed, arrivals) = (
            self.publishers.failed.load(Ordering::Acquire),
            self.run.receivers.arrivals(),
        );
        self.publishers.take_calls();
        let (at, begun) = (now_us(), Instant::now());
        let patience = self.scale.patience;
        let came = tokio::time::timeout(patience, self.work(kind)).await;
        let waits_for = std::mem::take(&mut *self.waits_for.lock());
        let late = || anyhow::anyhow!("not finished after {} s: {waits_for}", patience.as_secs());
        let came = came.unwrap_or_else(|_| Err(late()));
        let seconds = begun.elapsed().as_secs_f64();
        self.right().await?;
        // The effect of a short step shows in the calls after it.
        tokio::time::sleep(self.scale.measured.saturating_sub(begun.elapsed())).await;
        let mut step = Step::new(name, at, seconds, &came);
        step.all_up = kind.leaves_all_up();
        step.measure(&self.publishers.take_calls());
        step.ratio = step.p99_ms / self.normal_p99_ms;
        step.failed_tries = self.publishers.failed.load(Ordering::Acquire) - failed;
        step.arrivals = self.run.receivers.arrivals() - arrivals;
        step.disk_mib = self.stored().await?.on_disk >> 20;
        if let Some(fault) = kind.fault() {
            self.run.history.add(&Entry::Fault {
                at,
                until: now_us(),
                kind: fault.to_owned(),
                node: None,
                number: None,
            });
        }
        self.run.nodes.note_usage();
        self.run.say(&format!("  {}", step.said));
        self.steps.push(step);
        Ok(())
    }

    /// Restores the normal state after a step: free disk, right clocks, all nodes up.
    async fn right(&mut self) -> anyhow::Result<()> {
        if let Some(disk) = &self.run.disk {
            disk.free();
        }
        self.set_clocks(0)?;
        for index in 0..self.run.nodes.nodes.len() {
            if !self.run.nodes.is_up(index) {
                self.run.nodes.up(index, None).await?;
            }
        }
        Ok(())
    }
}

/// The load on the empty store, which is the reference.
async fn empty(run: &Run, options: &Options, scale: &Scale) -> anyhow::Result<(Publishers, Step)> {
    let publishers = publish(run, options, scale, 0);
    // The first calls open connections.
    tokio::time::sleep(Duration::from_secs(1)).await;
    publishers.take_calls();
    let (at, arrivals) = (now_us(), run.receivers.arrivals());
    tokio::time::sleep(scale.measured).await;
    let mut step = Step::new(
        "empty store",
        at,
        scale.measured.as_secs_f64(),
        &Ok("the reference".to_owned()),
    );
    step.measure(&publishers.take_calls());
    step.ratio = 1.0;
    step.arrivals = run.receivers.arrivals() - arrivals;
    step.disk_mib = steps::stored(run).await?.on_disk >> 20;
    Ok((publishers, step))
}

/// Publishers whose request ids differ between rounds.
fn publish(run: &Run, options: &Options, scale: &Scale, round: u64) -> Publishers {
    Publishers::start_round(
        &run.nodes.addresses,
        run.nodes.token(),
        &run.history,
        options.seed.wrapping_add(round),
        scale.pause,
        round,
    )
}

/// Stops all nodes but the first one, and kills that one, so that it must find the events above its watermark itself.
/// Returns its number.
async fn stop_all(run: &mut Run) -> anyhow::Result<u16> {
    for index in 1..run.nodes.nodes.len() {
        run.nodes.terminate(index).await?;
    }
    run.drain().await;
    let number = run.nodes.ask_number(0).await?;
    let at = now_us();
    run.nodes.kill(0).await?;
    run.history.add(&Entry::Fault {
        at,
        until: now_us(),
        kind: "kill".to_owned(),
        node: Some(0),
        number: None,
    });
    Ok(number)
}
