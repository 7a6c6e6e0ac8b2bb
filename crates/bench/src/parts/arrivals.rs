//! The arrivals of deliveries: recorded by a receiver (the sink, the pullers, the watchers), and reported to the suite.

use std::{
    collections::HashSet,
    io::{BufWriter, Write as _},
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use super::messages::{SinkCommand, SinkStats};
use crate::usage;

/// The arrivals of one receiver.
#[derive(Default)]
pub(super) struct Arrivals {
    recorded: parking_lot::Mutex<Recorded>,
    pub(super) connections: AtomicU64,
    pub(super) handshakes: AtomicU64,
    pub(super) resumed: AtomicU64,
}

#[derive(Default)]
struct Recorded {
    seen: HashSet<i64>,
    order: Vec<[i64; 3]>,
    requests: u64,
    last_us: i64,
}

impl Arrivals {
    /// Records one arrival. Only the first one of a delivery counts for its time.
    pub(super) fn arrived(&self, delivery: i64, event: i64) {
        let now = now_us();
        let mut recorded = self.recorded.lock();
        recorded.requests += 1;
        if recorded.seen.insert(delivery) {
            recorded.last_us = now;
            recorded.order.push([delivery, event, now]);
        }
    }

    /// Carries out a command of the suite, except those that change how the sink behaves.
    pub(super) fn answer(&self, command: &SinkCommand) -> anyhow::Result<SinkStats> {
        match command {
            SinkCommand::Reset => *self.recorded.lock() = Recorded::default(),
            SinkCommand::Wait { deliveries, patience_s } => self.wait(*deliveries, Duration::from_secs(*patience_s)),
            SinkCommand::Write { path } => self.write(path)?,
            SinkCommand::Stats | SinkCommand::Behave { .. } | SinkCommand::Close { .. } => {}
        }
        Ok(self.stats())
    }

    fn stats(&self) -> SinkStats {
        let recorded = self.recorded.lock();
        let deliveries = recorded.seen.len() as u64;
        SinkStats {
            requests: recorded.requests,
            deliveries,
            duplicates: recorded.requests - deliveries,
            last_us: recorded.last_us,
            cpu_us: usage::own_cpu().as_micros() as u64,
            connections: self.connections.load(Ordering::Relaxed),
            handshakes: self.handshakes.load(Ordering::Relaxed),
            resumed: self.resumed.load(Ordering::Relaxed),
        }
    }

    fn write(&self, path: &Path) -> anyhow::Result<()> {
        let mut file = BufWriter::new(std::fs::File::create(path)?);
        for number in self.recorded.lock().order.iter().flatten() {
            file.write_all(&number.to_le_bytes())?;
        }
        file.flush()?;
        Ok(())
    }

    /// Polls a few times a second. This does not affect the measured times, which are those of the arrivals.
    fn wait(&self, wanted: usize, patience: Duration) {
        let (mut last, mut since) = (0, Instant::now());
        loop {
            let seen = self.recorded.lock().seen.len();
            if seen >= wanted || since.elapsed() > patience {
                return;
            }
            if seen != last {
                (last, since) = (seen, Instant::now());
            }
            #[expect(clippy::disallowed_methods, reason = "the receiver's own thread polls")]
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures the servers from outside")]
pub(crate) fn now_us() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}
