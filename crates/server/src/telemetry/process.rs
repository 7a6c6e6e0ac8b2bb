//! Metrics of this process from the operating system, under the names that Prometheus clients share.

use std::{
    fs,
    sync::atomic::{AtomicU64, Ordering},
};

use prometheus_client::{
    metrics::{counter::Counter, gauge::Gauge},
    registry::Registry,
};

/// Linux counts processor time in hundredths of a second, whatever its own clock rate.
const TICKS: f64 = 100.0;

/// The metrics, in a separate registry, because they have another prefix.
pub(super) struct Process {
    registry: Registry,
    cpu_seconds: Counter<f64, AtomicU64>,
    resident_memory_bytes: Gauge,
    open_fds: Gauge,
    max_fds: Gauge,
    threads: Gauge,
    start_time_seconds: Gauge<f64, AtomicU64>,
}

impl Process {
    pub(super) fn new() -> Self {
        let mut process = Self {
            registry: Registry::with_prefix("process"),
            cpu_seconds: Counter::default(),
            resident_memory_bytes: Gauge::default(),
            open_fds: Gauge::default(),
            max_fds: Gauge::default(),
            threads: Gauge::default(),
            start_time_seconds: Gauge::default(),
        };
        let registry = &mut process.registry;
        let help = "CPU time used by the process, in seconds";
        registry.register("cpu_seconds", help, process.cpu_seconds.clone());
        let help = "Resident memory of the process";
        registry.register("resident_memory_bytes", help, process.resident_memory_bytes.clone());
        registry.register("open_fds", "Open file descriptors", process.open_fds.clone());
        let help = "Limit on open file descriptors";
        registry.register("max_fds", help, process.max_fds.clone());
        registry.register("threads", "Threads of the process", process.threads.clone());
        let help = "Start time of the process, in seconds since the epoch";
        registry.register("start_time_seconds", help, process.start_time_seconds.clone());
        process
    }

    /// The registry, with current values. Values that cannot be read stay unchanged.
    pub(super) fn read(&self) -> &Registry {
        let _ = self.read_stat();
        let _ = self.read_status();
        if let Ok(open) = fs::read_dir("/proc/self/fd") {
            // One is the directory itself.
            let open = open.count().saturating_sub(1);
            self.open_fds.set(i64::try_from(open).unwrap_or(i64::MAX));
        }
        let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
        if let Some(max) = field(&limits, "Max open files") {
            self.max_fds.set(max);
        }
        &self.registry
    }

    fn read_status(&self) -> Option<()> {
        let status = fs::read_to_string("/proc/self/status").ok()?;
        self.resident_memory_bytes.set(field(&status, "VmRSS:")? * 1_024);
        self.threads.set(field(&status, "Threads:")?);
        Some(())
    }

    fn read_stat(&self) -> Option<()> {
        let stat = fs::read_to_string("/proc/self/stat").ok()?;
        let (user, system, started) = times(&stat)?;
        let seconds = (user + system) / TICKS;
        self.cpu_seconds.inner().store(seconds.to_bits(), Ordering::Relaxed);
        let boot = fs::read_to_string("/proc/stat").ok()?;
        let boot: f64 = boot
            .lines()
            .find_map(|line| line.strip_prefix("btime "))?
            .trim()
            .parse()
            .ok()?;
        self.start_time_seconds.set(boot + started / TICKS);
        Some(())
    }
}

/// Processor time in user and system mode, and the start time since boot, in ticks. The command's name comes before them,
/// and may contain anything.
fn times(stat: &str) -> Option<(f64, f64, f64)> {
    let (_, fields) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let field = |at: usize| fields.get(at)?.parse().ok();
    Some((field(11)?, field(12)?, field(19)?))
}

/// The first number of the line that begins with a name.
fn field(text: &str, name: &str) -> Option<i64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_figures_of_proc_are_read() {
        let process = Process::new();
        process.read();
        assert!(process.resident_memory_bytes.get() > 1 << 20);
        assert!(process.open_fds.get() > 2 && process.max_fds.get() > process.open_fds.get());
        assert!(process.threads.get() > 0);
        assert!(process.start_time_seconds.get() > 1.6e9);
        let stat = "7 (a) b) S 1 7 7 0 -1 4194304 1 0 0 0 250 50 0 0 20 0 1 0 12345 1 1 1";
        assert_eq!(times(stat), Some((250.0, 50.0, 12_345.0)));
    }
}
