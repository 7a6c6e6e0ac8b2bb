//! A run with faults: load, faults, the end of the load, then the verdict.

use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use crate::{
    checker::Verdict,
    faults,
    history::Entry,
    leavers::Leavers,
    made, now_us,
    run::{Options, Run, verdict},
};

/// Runs, and checks the result.
///
/// # Errors
/// Fails if the run itself could not be carried out. Breaches are in the verdict.
pub async fn torture(options: &Options) -> anyhow::Result<Verdict> {
    let mut run = Run::start(options).await?;
    let mut publishers = run.publishers(options.seed, options.pause);
    let mut leavers = if options.leavers {
        Some(Leavers::start(&run.nodes.addresses, run.nodes.token(), &run.history, options.seed).await?)
    } else {
        None
    };
    let changer = run.changer(options.seed).await?;
    let until = Instant::now() + Duration::from_secs(options.seconds);
    faults::run(&mut run, options.seed, until).await?;
    run.say("faults are over");
    run.history.add(&Entry::Lifted { at: now_us() });
    publishers.stop().await;
    changer.settle().await;
    if let Some(leavers) = &mut leavers {
        leavers.settle().await;
    }
    run.say(&format!(
        "{} acknowledged, {} tries failed, {} arrivals",
        publishers.acknowledged.load(Ordering::Acquire),
        publishers.failed.load(Ordering::Acquire),
        run.receivers.arrivals()
    ));
    run.drain().await;
    if leavers.take().is_some() {
        made::dump(&run.nodes.place, &run.history).await?;
    }
    run.nodes.note_usage();
    run.finish(&options.out).await?;
    verdict(&options.out)
}
