//! CPU time and memory of processes, from `/proc`.

use std::{collections::HashMap, fs, time::Duration};

use anyhow::Context as _;

/// The kernel's clock tick, in microseconds: `USER_HZ` is 100 on every architecture that Rust's standard library
/// supports.
const TICK_US: u64 = 10_000;

struct Stat {
    parent: u32,
    own_ticks: u64,
    reaped_ticks: u64,
}

fn stat(pid: u32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may contain anything. The fields after it are numbers.
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
    Some(Stat {
        parent: u32::try_from(number(1)?).ok()?,
        own_ticks: number(11)? + number(12)?,
        reaped_ticks: number(13)? + number(14)?,
    })
}

/// The CPU time that a process has used. The sum over its threads in nanoseconds if the kernel provides it, otherwise
/// in ticks.
pub(crate) fn cpu(pid: u32) -> anyhow::Result<Duration> {
    let stat = stat(pid).with_context(|| format!("process {pid} is gone"))?;
    Ok(Duration::from_micros(stat.own_ticks * TICK_US))
}

/// The CPU time of a process and all its descendants, including those that have exited.
pub(crate) fn cpu_of_tree(root: u32) -> anyhow::Result<Duration> {
    let mut stats: HashMap<u32, Stat> = HashMap::new();
    for entry in fs::read_dir("/proc")? {
        let pid = entry?.file_name().to_string_lossy().parse().ok();
        if let Some((pid, stat)) = pid.and_then(|pid| Some((pid, stat(pid)?))) {
            stats.insert(pid, stat);
        }
    }
    let mut ticks = 0;
    for (pid, stat) in &stats {
        let mut ancestor = *pid;
        while ancestor != root && ancestor > 1 {
            ancestor = stats.get(&ancestor).map_or(0, |stat| stat.parent);
        }
        if ancestor == root {
            ticks += stat.own_ticks + stat.reaped_ticks;
        }
    }
    Ok(Duration::from_micros(ticks * TICK_US))
}

/// CPU time of this process.
pub(crate) fn own_cpu() -> Duration {
    cpu(std::process::id()).unwrap_or_default()
}

/// The resident memory of a process, in MiB; with `peak`, the highest value so far.
pub(crate) fn rss_mib(pid: u32, peak: bool) -> anyhow::Result<f64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let name = if peak { "VmHWM:" } else { "VmRSS:" };
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let kib: f64 = line
        .and_then(|line| line.split_whitespace().next())
        .context("no memory figure in /proc")?
        .parse()?;
    Ok(kib / 1024.0)
}

/// The parent of a process.
pub(crate) fn parent(pid: u32) -> Option<u32> {
    stat(pid).map(|stat| stat.parent)
}
