//! The sink: simulates any number of hosts, one port each, on one thread. It reads requests with as little work as
//! possible, records when each delivery arrived, and answers.

mod connection;

use std::{
    collections::{HashSet, VecDeque},
    io::{BufWriter, Write as _},
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use clap::Args;
use tokio::net::TcpListener;

use super::{
    messages::{Behaviour, Listening, SinkCommand, SinkStats},
    say, serve,
};
use crate::usage;

#[derive(Args)]
pub(crate) struct Arguments {
    /// How many hosts to simulate.
    #[arg(long, default_value_t = 16)]
    hosts: usize,
}

/// The recorded arrivals.
#[derive(Default)]
struct Arrivals {
    seen: HashSet<i64>,
    order: VecDeque<(i64, i64, i64)>,
    requests: u64,
    last_us: i64,
}

#[derive(Default)]
struct Shared {
    arrivals: parking_lot::Mutex<Arrivals>,
}

impl Shared {
    fn arrivals(&self) -> parking_lot::MutexGuard<'_, Arrivals> {
        self.arrivals.lock()
    }

    fn arrived(&self, delivery: i64, event: i64) {
        let now = now_us();
        let mut arrivals = self.arrivals();
        arrivals.requests += 1;
        if arrivals.seen.insert(delivery) {
            arrivals.last_us = now;
            arrivals.order.push_back((delivery, event, now));
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures the servers from outside")]
pub(super) fn now_us() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let shared = Arc::new(Shared::default());
    let behaviours: Arc<[AtomicU8]> = (0..arguments.hosts).map(|_| AtomicU8::new(ACCEPT)).collect();
    let listeners: Vec<std::net::TcpListener> = (0..arguments.hosts)
        .map(|_| std::net::TcpListener::bind("127.0.0.1:0"))
        .collect::<Result<_, _>>()?;
    let addresses = listeners
        .iter()
        .map(|listener| Ok(listener.local_addr()?.to_string()))
        .collect::<anyhow::Result<_>>()?;
    let (serving, hosts) = (Arc::clone(&shared), Arc::clone(&behaviours));
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            for (host, listener) in listeners.into_iter().enumerate() {
                listener.set_nonblocking(true)?;
                let listener = TcpListener::from_std(listener)?;
                tokio::spawn(listen(listener, host, Arc::clone(&serving), Arc::clone(&hosts)));
            }
            std::future::pending::<anyhow::Result<()>>().await
        })
    });
    say(&Listening { addresses })?;
    serve(|command| answer(command, &shared, &behaviours))
}

async fn listen(listener: TcpListener, host: usize, shared: Arc<Shared>, behaviours: Arc<[AtomicU8]>) {
    loop {
        if let Ok((stream, _)) = listener.accept().await {
            let _ = stream.set_nodelay(true);
            tokio::spawn(connection::serve(
                stream,
                host,
                Arc::clone(&shared),
                Arc::clone(&behaviours),
            ));
        }
    }
}

const ACCEPT: u8 = 0;
const FAIL: u8 = 1;
const HANG: u8 = 2;

fn answer(command: SinkCommand, shared: &Shared, behaviours: &[AtomicU8]) -> anyhow::Result<SinkStats> {
    match command {
        SinkCommand::Reset => *shared.arrivals() = Arrivals::default(),
        SinkCommand::Wait { deliveries, patience_s } => wait(shared, deliveries, Duration::from_secs(patience_s)),
        SinkCommand::Stats => {}
        SinkCommand::Behave { host, how } => {
            let how = match how {
                Behaviour::Accept => ACCEPT,
                Behaviour::Fail => FAIL,
                Behaviour::Hang => HANG,
            };
            behaviours[host].store(how, Ordering::Relaxed);
        }
        SinkCommand::Write { path } => {
            let mut file = BufWriter::new(std::fs::File::create(path)?);
            for (delivery, event, at) in &shared.arrivals().order {
                for number in [delivery, event, at] {
                    file.write_all(&number.to_le_bytes())?;
                }
            }
            file.flush()?;
        }
    }
    let arrivals = shared.arrivals();
    let deliveries = arrivals.seen.len() as u64;
    Ok(SinkStats {
        requests: arrivals.requests,
        deliveries,
        duplicates: arrivals.requests - deliveries,
        last_us: arrivals.last_us,
        cpu_us: usage::own_cpu().as_micros() as u64,
    })
}

/// Polls a few times a second. This does not affect the measured times, which are those of the arrivals.
fn wait(shared: &Shared, wanted: usize, patience: Duration) {
    let (mut last, mut since) = (0, Instant::now());
    loop {
        let seen = shared.arrivals().seen.len();
        if seen >= wanted || since.elapsed() > patience {
            return;
        }
        if seen != last {
            (last, since) = (seen, Instant::now());
        }
        #[expect(clippy::disallowed_methods, reason = "the sink's own thread polls")]
        std::thread::sleep(Duration::from_millis(5));
    }
}
