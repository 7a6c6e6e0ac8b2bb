//! A record of a run of `listen --forward-to`, so that the next run can clean up after a killed one.
//!
//! The process keeps its file locked, so a process that can lock the file knows that the owner is gone. The file is removed
//! when its webhook is deleted.

use std::{
    fs::{self, File, TryLockError},
    io::Write as _,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;

use crate::settings::Environment;

/// The contents of the file.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub(super) struct Left {
    /// The server's address.
    pub(super) address: String,
    /// `organizations/...`.
    pub(super) organization: String,
    /// A mark in the webhook's description.
    pub(super) session: String,
}

/// The file of this run.
pub(super) struct Session {
    pub(super) left: Left,
    file: NamedTempFile,
}

/// The directory of the files.
pub(super) fn directory(environment: Environment<'_>) -> Option<PathBuf> {
    let xdg = environment("XDG_STATE_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute());
    let base = xdg.or_else(|| environment("HOME").map(|home| PathBuf::from(home).join(".local/state")))?;
    Some(base.join("hookwright/listen"))
}

impl Session {
    /// Creates the file before there is anything to clean up.
    pub(super) fn begin(directory: &Path, address: &str, organization: &str) -> anyhow::Result<Self> {
        let begun = || -> std::io::Result<Self> {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
            let mut file = tempfile::Builder::new()
                .prefix("")
                .suffix(".json")
                .rand_bytes(16)
                // Only `end` removes it: a panic cleans up nothing.
                .disable_cleanup(true)
                .tempfile_in(directory)?;
            file.as_file().lock()?;
            let session = file
                .path()
                .file_stem()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            let left = Left {
                address: address.to_owned(),
                organization: organization.to_owned(),
                session,
            };
            file.write_all(serde_json::to_string(&left)?.as_bytes())?;
            file.flush()?;
            Ok(Self { left, file })
        };
        begun().with_context(|| format!("cannot write into {}", directory.display()))
    }

    /// Removes the file when there is nothing left to clean up. Otherwise the next run finds it.
    pub(super) fn end(self) {
        let _ = fs::remove_file(self.file.path());
    }
}

/// A session whose process is gone, locked so that no other process cleans up after it.
pub(super) struct Abandoned {
    pub(super) left: Left,
    path: PathBuf,
    _lock: File,
}

impl Abandoned {
    /// All sessions of this server whose processes are gone.
    pub(super) fn find(directory: &Path, address: &str) -> Vec<Self> {
        let Ok(entries) = fs::read_dir(directory) else {
            return Vec::new();
        };
        let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
        let paths = paths.filter(|path| path.extension().is_some_and(|extension| extension == "json"));
        let found = paths.filter_map(Self::open);
        found.filter(|one| one.left.address == address).collect()
    }

    fn open(path: PathBuf) -> Option<Self> {
        let lock = File::open(&path).ok()?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock | TryLockError::Error(_)) => return None,
        }
        // An empty file is being created.
        let left = serde_json::from_slice(&fs::read(&path).ok()?).ok()?;
        Some(Self {
            left,
            path,
            _lock: lock,
        })
    }

    /// Removes the file, because its webhook is gone.
    pub(super) fn done(self) {
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADDRESS: &str = "http://127.0.0.1:50051";

    #[test]
    fn a_session_is_found_when_its_process_is_gone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state");
        let session = Session::begin(&path, ADDRESS, "organizations/acme").unwrap();
        let left = session.left.clone();
        assert!(!left.session.is_empty());
        assert!(Abandoned::find(&path, ADDRESS).is_empty(), "it lives");
        // The lock ends with the file handle, as it does when a process is killed.
        drop(session);
        assert!(Abandoned::find(&path, "http://elsewhere:1").is_empty());
        let found = Abandoned::find(&path, ADDRESS);
        assert_eq!(found.len(), 1);
        assert!(Abandoned::find(&path, ADDRESS).is_empty(), "somebody cleans up already");
        for one in found {
            assert_eq!(one.left, left);
            one.done();
        }
        assert!(Abandoned::find(&path, ADDRESS).is_empty());
    }

    #[test]
    fn a_session_that_ends_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        Session::begin(directory.path(), ADDRESS, "organizations/acme")
            .unwrap()
            .end();
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
        assert!(Abandoned::find(Path::new("/does/not/exist"), ADDRESS).is_empty());
    }
}
