//! The duration of lists with many past deliveries in the store: those of the API, and the pages of the console. Users
//! wait for them, so the slowest one counts.

mod calls;
mod filling;
mod pages;

use std::{fmt::Write as _, time::Instant};

use super::super::{
    Figures, Store, Summary, eprint,
    world::{Site, World},
};

/// How often each list is requested.
const RUNS: usize = 5;

pub(super) async fn run(site: &mut Site, store: Store) -> anyhow::Result<Figures> {
    let past: u64 = site.profile.pick(200_000, 10_000_000);
    let mut world = World::start(site, store).await?;
    let stored = filling::fill(&mut world, past).await?;
    world.server.restart().await?;
    world.reconnect().await?;
    let (mut lists, mut console) = (Stopwatch::default(), Stopwatch::default());
    calls::ask(&world, &stored, &mut lists).await?;
    pages::visit(&world, &stored, &mut console).await?;
    eprint(&format!("{}{}", lists.table(), console.table()));
    Ok(Figures::from([
        ("past_deliveries", past as f64),
        ("list_ms_max", lists.slowest(|ms| ms.median)),
        ("list_ms_peak", lists.slowest(|ms| ms.max)),
        ("console_ms_max", console.slowest(|ms| ms.median)),
        ("console_ms_peak", console.slowest(|ms| ms.max)),
    ]))
}

/// An answer.
struct Answer {
    rows: usize,
    more: bool,
    /// The server gave the request up.
    failed: bool,
}

impl Answer {
    /// The rows of a page of the API, and whether it has a token of the next one.
    fn page<T>(rows: &[T], token: &str) -> Self {
        Self {
            rows: rows.len(),
            more: !token.is_empty(),
            failed: false,
        }
    }

    /// An answer with this many rows, and no next page.
    fn all(rows: usize) -> Self {
        Self {
            rows,
            more: false,
            failed: false,
        }
    }
}

fn is_late(status: &tonic::Status) -> bool {
    matches!(status.code(), tonic::Code::Unavailable | tonic::Code::DeadlineExceeded)
}

/// The durations of answers, by request.
#[derive(Default)]
struct Stopwatch {
    lines: Vec<(String, Answer, Summary)>,
}

impl Stopwatch {
    /// Repeats a request a few times. The first time counts like the others, because a user's first request meets a
    /// cold store, too.
    async fn time(&mut self, what: &str, ask: impl AsyncFn() -> anyhow::Result<Answer>) -> anyhow::Result<()> {
        let mut times = Vec::with_capacity(RUNS);
        let mut answer = Answer::all(0);
        for _ in 0..RUNS {
            let begun = Instant::now();
            // A request that exceeds the server's limit counts as slow, and the others are still measured.
            answer = match ask().await {
                Err(error) if error.downcast_ref::<tonic::Status>().is_some_and(is_late) => Answer {
                    failed: true,
                    ..Answer::all(0)
                },
                answer => answer?,
            };
            times.push(begun.elapsed().as_secs_f64() * 1e3);
        }
        self.lines.push((what.to_owned(), answer, Summary::of(times)));
        Ok(())
    }

    fn slowest(&self, of: impl Fn(&Summary) -> f64) -> f64 {
        self.lines.iter().map(|(_, _, ms)| of(ms)).fold(0.0, f64::max)
    }

    /// All requests, the slowest first.
    fn table(&self) -> String {
        let mut lines: Vec<_> = self.lines.iter().collect();
        lines.sort_by(|a, b| b.2.median.total_cmp(&a.2.median));
        let mut table = format!(
            "{:<60} {:>6} {:>6} {:>9} {:>9}\n",
            "", "rows", "more", "median ms", "max ms"
        );
        for (what, Answer { rows, more, failed }, ms) in lines {
            let more = match (failed, more) {
                (true, _) => "FAILED",
                (_, true) => "yes",
                _ => "no",
            };
            // Writing to a string cannot fail.
            let _ = writeln!(
                table,
                "{what:<60} {rows:>6} {more:>6} {:>9.1} {:>9.1}",
                ms.median, ms.max
            );
        }
        table
    }
}
