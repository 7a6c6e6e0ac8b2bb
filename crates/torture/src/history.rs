//! What happened: every part of a run appends to one history, one JSON line an entry. The checker reads nothing else.
#![expect(missing_docs, reason = "the fields of an entry are what they are called")]

use std::{
    fs::File,
    io::{BufRead as _, BufReader, BufWriter, Write as _},
    path::Path,
};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

/// The history's file in the directory of a run.
pub const FILE: &str = "history.jsonl";

/// Something that happened. Times (`at`) are microseconds since the Unix epoch, ids are the store's numbers.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum Entry {
    /// A webhook was installed.
    Webhook {
        id: i64,
        name: String,
        ordered: bool,
        /// Its receiver may act and yet not answer.
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
    /// It was refused for good.
    Refused { at: i64, request: String, code: String },
    /// A try failed in a way that a client repeats.
    Failed { at: i64, request: String, code: String },
    /// A request came in.
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
    /// A request for the webhook that moves came in, at one of its receiver's two addresses.
    CameTo { at: i64, delivery: i64, home: usize },
    /// The webhook that moves was to be sent to the other address. `answered` is none where the call failed: the change may be in
    /// force all the same.
    Moved {
        at: i64,
        answered: Option<i64>,
        home: usize,
    },
    /// A call was made by a caller who leaves; `is_left` unless it was answered before.
    Left { at: i64, call: String, is_left: bool },
    /// An event was acknowledged that is fetched.
    Offered { at: i64, event: i64 },
    /// Something was done to a node, or to what it rests on; `node` is none for all.
    Fault {
        at: i64,
        until: i64,
        kind: String,
        node: Option<usize>,
        /// The number that the node had, if it was known.
        number: Option<u16>,
    },
    /// The clock of a node was set so many microseconds ahead of the right time.
    Clock { at: i64, node: usize, ahead: i64 },
    /// What a node used.
    Usage {
        at: i64,
        node: usize,
        rss_mib: u64,
        descriptors: u64,
        threads: u64,
    },
    /// The faults are over and everything is up.
    Lifted { at: i64 },
    /// Nothing is owed any more; false: the time for it ran out.
    Drained { at: i64, whole: bool },
    /// An event as the store has it in the end.
    Event {
        id: i64,
        request: String,
        webhooks: Vec<i64>,
    },
    /// An attempt as the store has it.
    Attempt {
        delivery: i64,
        number: i32,
        state: i32,
        started_at: i64,
        error: Option<String>,
    },
    /// An event that is fetched, as the store has it in the end, and how many deliveries it has.
    Fetched { event: i64, webhooks: usize },
    /// Something that a call made, as the store has it: how many lines of the audit log tell of its making, and, of a webhook, how
    /// many secrets it has.
    Made {
        name: String,
        lines: usize,
        secrets: Option<usize>,
    },
    /// A delivery that ended without an attempt's doing.
    Ending { delivery: i64, reason: String },
    /// A delivery that still waits.
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
    /// When the file cannot be made.
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
        let mut line = serde_json::to_vec(entry).expect("an entry serialises");
        line.push(b'\n');
        file.write_all(&line).expect("the history can be written");
    }

    /// Everything is in the file.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn flush(&self) -> std::io::Result<()> {
        self.file.lock().flush()
    }
}

/// Reads a history back.
///
/// # Errors
/// When it cannot be read, or a line is no entry.
pub fn read(directory: &Path) -> anyhow::Result<Vec<Entry>> {
    let file = BufReader::new(File::open(directory.join(FILE))?);
    file.lines().map(|line| Ok(serde_json::from_str(&line?)?)).collect()
}
