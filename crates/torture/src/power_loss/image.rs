//! Images of files as they could be after a loss of power at some moment.

use std::{collections::HashMap, path::Path};

use super::trace::Call;
use crate::Random;

/// The unit that a disk writes atomically.
const SECTOR: usize = 512;

/// The files of an image.
#[derive(Default)]
pub(super) struct Files {
    files: HashMap<String, Vec<u8>>,
}

impl Files {
    /// Applies the calls until a moment: everything that was synced by then, and a random part of the rest. Returns how
    /// many writes were dropped or torn.
    pub(super) fn until(&mut self, calls: &[Call], at: i64, random: &mut Random) -> usize {
        let mut damaged = 0;
        for (place, call) in calls.iter().enumerate() {
            match call {
                Call::Write {
                    begun,
                    done,
                    file,
                    offset,
                    data,
                } if *begun < at => {
                    if is_synced(&calls[place..], file, *done, at) {
                        self.put(file, *offset, data);
                    } else if self.put_some(file, *offset, data, random) {
                        damaged += 1;
                    }
                }
                Call::Truncate {
                    begun,
                    done,
                    file,
                    length,
                    ..
                } if *begun < at && (is_synced(&calls[place..], file, *done, at) || random.below(2) == 0) => {
                    let length = usize::try_from(*length).unwrap_or(0);
                    self.files.entry(file.clone()).or_default().resize(length, 0);
                }
                Call::Remove { begun, file } if *begun < at => drop(self.files.remove(file)),
                _ => {}
            }
        }
        damaged
    }

    fn put(&mut self, file: &str, offset: u64, data: &[u8]) {
        let bytes = self.files.entry(file.to_owned()).or_default();
        let begin = usize::try_from(offset).unwrap_or(0);
        if bytes.len() < begin + data.len() {
            bytes.resize(begin + data.len(), 0);
        }
        bytes[begin..begin + data.len()].copy_from_slice(data);
    }

    /// Applies all of a write, none of it, or some of its sectors. Returns whether anything is missing.
    fn put_some(&mut self, file: &str, offset: u64, data: &[u8], random: &mut Random) -> bool {
        match random.below(3) {
            0 => {
                self.put(file, offset, data);
                false
            }
            1 => true,
            _ => {
                for (number, sector) in data.chunks(SECTOR).enumerate() {
                    if random.below(2) == 0 {
                        self.put(file, offset + (number * SECTOR) as u64, sector);
                    }
                }
                true
            }
        }
    }

    /// Writes the files into a directory.
    pub(super) fn write(&self, place: &Path) -> std::io::Result<()> {
        for (name, bytes) in &self.files {
            std::fs::write(place.join(name), bytes)?;
        }
        Ok(())
    }
}

/// Whether a sync that began after the write was done ended by the moment.
fn is_synced(later: &[Call], file: &str, done: i64, at: i64) -> bool {
    later.iter().any(|call| {
        matches!(call, Call::Sync { begun, done: synced, file: of } if of == file && *begun >= done && *synced <= at)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(begun: i64, byte: u8) -> Call {
        Call::Write {
            begun,
            done: begun + 1,
            file: "f".to_owned(),
            offset: 0,
            data: vec![byte; SECTOR],
        }
    }

    fn sync(begun: i64) -> Call {
        Call::Sync {
            begun,
            done: begun + 5,
            file: "f".to_owned(),
        }
    }

    #[test]
    fn synced_bytes_stay_and_others_may_be_lost() {
        let calls = [write(10, 1), sync(20), write(30, 2)];
        let mut kept_second = 0;
        for seed in 0..60 {
            let mut files = Files::default();
            files.until(&calls, 40, &mut Random::new(seed));
            let byte = files.files["f"][0];
            assert!(byte == 1 || byte == 2);
            kept_second += usize::from(byte == 2);
        }
        assert!((1..60).contains(&kept_second), "{kept_second}");
        // A sync that had not ended by the moment makes nothing durable.
        let lost = (0..60).any(|seed| {
            let mut files = Files::default();
            files.until(&calls, 22, &mut Random::new(seed));
            files.files.get("f").is_none_or(|bytes| bytes[0] != 1)
        });
        assert!(lost);
    }
}
