//! The system calls of a server that concern its database, as `strace` records them.

use std::{
    collections::HashMap,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;

/// How long `strace` may take to write its last records.
const LOG_PATIENCE: Duration = Duration::from_secs(10);

/// A call that changed a file, or made changes durable. Times are microseconds since the Unix epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Call {
    Write {
        begun: i64,
        done: i64,
        file: String,
        offset: u64,
        data: Vec<u8>,
    },
    Truncate {
        begun: i64,
        done: i64,
        file: String,
        length: u64,
    },
    Sync {
        begun: i64,
        done: i64,
        file: String,
    },
    /// Counts as durable at once, like the creation of a file.
    Remove {
        begun: i64,
        file: String,
    },
}

/// A program that runs the server under `strace`. The started process is the server itself: with `-D`, `strace` runs
/// beside it, not as its parent.
pub(super) fn wrapper(directory: &Path, server: &Path, log: &Path) -> anyhow::Result<PathBuf> {
    let path = directory.join("traced");
    let calls = "openat,close,pwrite64,write,lseek,ftruncate,fdatasync,fsync,unlink,unlinkat";
    let script = format!(
        "#!/bin/sh\nexec strace -D -f -qq -ttt -T -xx -s 1000000 -e trace={calls} -e signal=none -o '{}' '{}' \"$@\"\n",
        log.display(),
        server.canonicalize()?.display()
    );
    std::fs::write(&path, script)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?;
    Ok(path)
}

/// Reads the records. File names are relative to the data directory.
pub(super) async fn read(log: &Path, data: &Path) -> anyhow::Result<Vec<Call>> {
    // `strace` ends a moment after the server.
    let begun = std::time::Instant::now();
    let mut length = 0;
    loop {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let now = std::fs::metadata(log).context("the records of strace")?.len();
        if now == length || begun.elapsed() > LOG_PATIENCE {
            break;
        }
        length = now;
    }
    let text = std::fs::read(log)?;
    let mut reader = Reader {
        data: data.to_owned(),
        ..Reader::default()
    };
    for line in text.split(|byte| *byte == b'\n') {
        reader.line(&String::from_utf8_lossy(line));
    }
    reader.calls.sort_by_key(|call| match call {
        Call::Write { begun, .. }
        | Call::Truncate { begun, .. }
        | Call::Sync { begun, .. }
        | Call::Remove { begun, .. } => *begun,
    });
    anyhow::ensure!(!reader.calls.is_empty(), "strace recorded nothing of the database");
    Ok(reader.calls)
}

#[derive(Default)]
struct Reader {
    data: PathBuf,
    files: HashMap<i64, String>,
    places: HashMap<i64, u64>,
    /// Calls that have begun and not ended, by thread.
    begun: HashMap<String, (i64, String)>,
    calls: Vec<Call>,
}

impl Reader {
    fn line(&mut self, line: &str) {
        let Some((thread, rest)) = line.trim_start().split_once(' ') else {
            return;
        };
        let Some((time, rest)) = rest.trim_start().split_once(' ') else {
            return;
        };
        let Some(at) = micros(time) else { return };
        if let Some(head) = rest.strip_suffix(" <unfinished ...>") {
            self.begun.insert(thread.to_owned(), (at, head.to_owned()));
        } else if let Some((_, tail)) = rest.strip_prefix("<... ").and_then(|rest| rest.split_once(" resumed>")) {
            if let Some((begun, head)) = self.begun.remove(thread) {
                self.call(begun, &format!("{head}{tail}"));
            }
        } else {
            self.call(at, rest);
        }
    }

    /// `name(arguments) = result <seconds>`
    fn call(&mut self, begun: i64, text: &str) -> Option<()> {
        let (name, rest) = text.split_once('(')?;
        let (arguments, result) = rest.rsplit_once(") ")?;
        let result = result.trim_start().strip_prefix('=')?.trim_start();
        let mut words = result.split(' ');
        let value: i64 = words.next()?.parse().ok()?;
        let took = words.next_back()?.trim_matches(['<', '>']);
        let done = begun + micros(took)?;
        if value < 0 {
            return None;
        }
        if matches!(name, "openat" | "unlink" | "unlinkat") {
            let path = PathBuf::from(String::from_utf8(bytes(arguments)?).ok()?);
            let file = path.strip_prefix(&self.data).ok()?.to_string_lossy().into_owned();
            if !file.starts_with("hookwright.db") || file.ends_with("-shm") {
                return None;
            }
            if name == "openat" {
                self.files.insert(value, file);
                self.places.insert(value, 0);
            } else {
                self.calls.push(Call::Remove { begun, file });
            }
            return Some(());
        }
        let (descriptor, rest) = arguments.split_once(',').unwrap_or((arguments, ""));
        let descriptor: i64 = descriptor.trim().parse().ok()?;
        let file = self.files.get(&descriptor)?.clone();
        match name {
            "close" => drop(self.files.remove(&descriptor)),
            "fdatasync" | "fsync" => self.calls.push(Call::Sync { begun, done, file }),
            "ftruncate" => {
                let length = rest.trim().parse().ok()?;
                self.calls.push(Call::Truncate {
                    begun,
                    done,
                    file,
                    length,
                });
            }
            "lseek" => drop(self.places.insert(descriptor, value.unsigned_abs())),
            "pwrite64" | "write" => {
                let mut data = bytes(rest)?;
                data.truncate(usize::try_from(value).ok()?);
                let offset = if name == "pwrite64" {
                    rest.rsplit_once(',')?.1.trim().parse().ok()?
                } else {
                    let place = self.places.entry(descriptor).or_default();
                    let offset = *place;
                    *place += data.len() as u64;
                    offset
                };
                self.calls.push(Call::Write {
                    begun,
                    done,
                    file,
                    offset,
                    data,
                });
            }
            _ => {}
        }
        Some(())
    }
}

/// The bytes between the quotes: `\x..` each.
fn bytes(text: &str) -> Option<Vec<u8>> {
    let (_, rest) = text.split_once('"')?;
    let (quoted, _) = rest.split_once('"')?;
    hex::decode(quoted.replace("\\x", "")).ok()
}

/// Seconds with a fraction, as microseconds.
fn micros(text: &str) -> Option<i64> {
    let (seconds, fraction) = text.split_once('.')?;
    let fraction: i64 = format!("{fraction:0<6}").get(..6)?.parse().ok()?;
    Some(seconds.parse::<i64>().ok()? * 1_000_000 + fraction)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_strace() {
        let mut reader = Reader {
            data: PathBuf::from("/d"),
            ..Reader::default()
        };
        let path: String = "/d/hookwright.db-wal"
            .bytes()
            .map(|byte| format!("\\x{byte:02x}"))
            .collect();
        for line in [
            format!(r#"7 10.000001 openat(AT_FDCWD, "{path}", O_RDWR|O_CREAT, 0600) = 9 <0.000010>"#),
            r#"7  10.000100 pwrite64(9, "\x01\x02", 2, 4096) = 2 <0.000005>"#.to_owned(),
            r"8 10.000200 fdatasync(9 <unfinished ...>".to_owned(),
            r#"7 10.000250 pwrite64(9, "\x03", 1, 0) = 1 <0.000005>"#.to_owned(),
            r"8 10.000900 <... fdatasync resumed>) = 0 <0.000700>".to_owned(),
            r#"7 10.001000 pwrite64(4, "\x03", 1, 0) = 1 <0.000005>"#.to_owned(),
        ] {
            reader.line(&line);
        }
        let file = || "hookwright.db-wal".to_owned();
        let write = |begun, offset, data: &[u8]| Call::Write {
            begun,
            done: begun + 5,
            file: file(),
            offset,
            data: data.to_vec(),
        };
        let sync = Call::Sync {
            begun: 10_000_200,
            done: 10_000_900,
            file: file(),
        };
        assert_eq!(
            reader.calls,
            [write(10_000_100, 4096, &[1, 2]), write(10_000_250, 0, &[3]), sync]
        );
    }
}
