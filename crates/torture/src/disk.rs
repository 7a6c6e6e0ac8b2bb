//! A separate file system for a run, which can be full. Mounting it needs privileges; a run continues without it.

use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, fallocate};
use tokio::process::Command;

use crate::eprint;

/// The sizes of the pieces by which the filler grows, as powers of two.
const PIECES: std::ops::RangeInclusive<u32> = 12..=36;

pub(crate) struct Disk {
    directory: PathBuf,
    /// Removed after the file system was unmounted.
    _home: Option<tempfile::TempDir>,
}

impl Disk {
    /// Mounts a memory file system over the data directory of a server, and copies the directory's content to it.
    pub(crate) async fn mount(directory: &Path) -> Option<Self> {
        let script = format!(
            "set -e; cp -a '{0}' '{0}.copy'; mount -t tmpfs -o size=1g,mode=0700 tmpfs '{0}'; cp -a '{0}.copy/.' '{0}/'; rm -r '{0}.copy'",
            directory.display()
        );
        run(&script).await.then(|| Self {
            directory: directory.to_owned(),
            _home: None,
        })
    }

    /// Creates a file system in a file that occupies only the space of its content on the real disk.
    pub(crate) async fn make(mib: u64) -> Option<Self> {
        let home = tempfile::tempdir().ok()?;
        let directory = home.path().join("disk");
        let script = format!(
            "set -e; chmod 755 '{1}'; mkdir '{0}'; truncate -s {mib}M '{0}.image'; mkfs.ext4 -q -m 0 '{0}.image'; \
             mount -o loop,discard '{0}.image' '{0}'; chmod 755 '{0}'",
            directory.display(),
            home.path().display()
        );
        run(&script).await.then(|| Self {
            directory,
            _home: Some(home),
        })
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    fn filler(&self) -> PathBuf {
        self.directory.join("filler")
    }

    /// Fills the file system.
    pub(crate) fn fill(&self) -> anyhow::Result<()> {
        let file = std::fs::File::create(self.filler())?;
        let mut length = 0;
        for piece in PIECES.rev().map(|bits| 1_u64 << bits) {
            while fallocate(&file, FallocateFlags::empty(), length, piece).is_ok() {
                length += piece;
            }
        }
        Ok(())
    }

    /// Frees the space again, if it was filled.
    pub(crate) fn free(&self) {
        let _ = std::fs::remove_file(self.filler());
    }
}

async fn run(script: &str) -> bool {
    let output = Command::new("sh").arg("-c").arg(script).output().await;
    output.is_ok_and(|output| output.status.success())
}

impl Drop for Disk {
    fn drop(&mut self) {
        let unmounted = std::process::Command::new("umount")
            .arg("-l")
            .arg(&self.directory)
            .status();
        if !unmounted.is_ok_and(|status| status.success()) {
            eprint("a file system of the run could not be unmounted");
        }
    }
}
