//! The child processes. Each reads commands as JSON lines on standard input, answers each with one JSON line on
//! standard output, and exits when its input ends.

pub(crate) mod arrivals;
mod authorized;
pub(crate) mod child;
pub(crate) mod messages;
pub(crate) mod publisher;
pub(crate) mod pullers;
pub(crate) mod raw;
pub(crate) mod sink;
pub(crate) mod watchers;

use std::io::{BufRead as _, Write as _};

use serde::{Serialize, de::DeserializeOwned};

/// Answers commands until standard input ends.
fn serve<C: DeserializeOwned, A: Serialize>(mut work: impl FnMut(C) -> anyhow::Result<A>) -> anyhow::Result<()> {
    for line in std::io::stdin().lock().lines() {
        let answer = work(serde_json::from_str(&line?)?)?;
        say(&answer)?;
    }
    Ok(())
}

/// Writes one JSON line.
fn say(answer: &impl Serialize) -> anyhow::Result<()> {
    let mut line = serde_json::to_vec(answer)?;
    line.push(b'\n');
    let mut output = std::io::stdout().lock();
    output.write_all(&line)?;
    output.flush()?;
    Ok(())
}
