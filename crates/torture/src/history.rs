//! The history of a run: every part of the run appends to it, one JSON line per entry. The checker reads nothing else.
#![expect(missing_docs, reason = "the names of an entry's fields describe them")]

use std::{
    fs::File,
    io::{BufRead as _, BufReader, BufWriter, Write as _},
    path::Path,
};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

/// The history's file in the directory of a run.
pub const FILE: &str = "history.jsonl";

/// An entry of the history. Times (`at`) are microseconds since the Unix epoch; ids are the store's numbers.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum Entry {
    /// A webhook was installed.
    Webhook {
        id: i64,
        name: String,
        ordered: bool,
        /// Its receiver may process a request without answering.
        silent: bool,
    },
    /// An event is about to be published for the first time.
    Tried {
        at: i64,
        request: String,
        key: String,
        number: u64,
        sha256: String,
    },
    /// It was acknowledged.
    Acknowledged {
        at: i64,
        request: String,
        event: i64,
        tries: u32,
    },
    /// It was refused permanently.
    Refused { at: i64, request: String, code: String },
    /// A try failed with an error that a client retries.
    Failed { at: i64, request: String, code: String },
    /// A request arrived.
    Arrived {
        at: i64,
        webhook: i64,
        event: i64,
        delivery: i64,
        request: String,
        key: String,
        number: u64,
        sha256: String,
        /// 0: the connection was closed without an answer.
        status: u16,
    },
    /// A request to the webhook that moves arrived at one of its receiver's two addresses.
    CameTo { at: i64, delivery: i64, home: usize },
    /// The webhook that moves was changed to the other address. `answered` is `None` if the call failed, in which case
    /// the change may be in force.
    Moved {
        at: i64,
        answered: Option<i64>,
        home: usize,
    },
    /// A caller that leaves made a call. `is_left` is false if it was answered before.
    Left { at: i64, call: String, is_left: bool },
    /// An event for a pull webhook was acknowledged.
    Offered { at: i64, event: i64 },
    /// A fault of a node, or of something that it depends on; `node` is `None` for all nodes.
    Fault {
        at: i64,
        until: i64,
        kind: String,
        node: Option<usize>,
        /// The node's number at that time, if it was known.
        number: Option<u16>,
    },
    /// The clock of a node was set this many microseconds ahead of the right time.
    Clock { at: i64, node: usize, ahead: i64 },
    /// The resources that a node used.
    Usage {
        at: i64,
        node: usize,
        rss_mib: u64,
        descriptors: u64,
        threads: u64,
    },
    /// The faults are over and everything is up.
    Lifted { at: i64 },
    /// Nothing is owed any more; `whole` is false if the time for it ran out.
    Drained { at: i64, whole: bool },
    /// An event in the final store.
    Event {
        id: i64,
        request: String,
        webhooks: Vec<i64>,
    },
    /// An attempt in the final store.
    Attempt {
        delivery: i64,
        number: i32,
        state: i32,
        started_at: i64,
        error: Option<String>,
    },
    /// An event for a pull webhook in the final store, and its number of deliveries.
    Fetched { event: i64, webhooks: usize },
    /// A resource in the final store that a call created: the number of audit entries of its creation, and for a
    /// webhook the number of its secrets.
    Made {
        name: String,
        lines: usize,
        secrets: Option<usize>,
    },
    /// A delivery that ended without an attempt.
    Ending { delivery: i64, reason: String },
    /// A delivery that is still pending.
    Pending { delivery: i64 },
}

/// Appends entries to a file.
pub struct History {
    file: Mutex<BufWriter<File>>,
}

impl History {
    /// Begins the history of a run.
    ///
    /// # Errors
    /// Fails if the file cannot be created.
    pub fn create(directory: &Path) -> std::io::Result<Self> {
        std::fs::create_dir_all(directory)?;
        let file = File::create(directory.join(FILE))?;
        Ok(Self {
            file: Mutex::new(BufWriter::new(file)),
        })
    }

    /// Adds an entry.
    pub fn add(&self, entry: &Entry) {
        let mut file = self.file.lock();
        let mut line = serde_json::to_vec(entry).expect("an entry can be serialised");
        line.push(b'\n');
        file.write_all(&line).expect("the history can be written");
    }

    /// Writes all entries to the file.
    ///
    /// # Errors
    /// Fails if the file cannot be written.
    pub fn flush(&self) -> std::io::Result<()> {
        self.file.lock().flush()
    }
}

/// Reads a history.
///
/// # Errors
/// Fails if the history cannot be read, or a line is not an entry.
pub fn read(directory: &Path) -> anyhow::Result<Vec<Entry>> {
    let file = BufReader::new(File::open(directory.join(FILE))?);
    file.lines().map(|line| Ok(serde_json::from_str(&line?)?)).collect()
}
