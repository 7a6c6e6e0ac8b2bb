//! A file system of the run's own, which can be full. Mounting one needs the rights to; a run goes on without.

use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, fallocate};
use tokio::process::Command;

use crate::run::eprint;

/// The largest and the smallest piece that the filler grows by.
const PIECES: std::ops::RangeInclusive<u32> = 12..=36;

pub(crate) struct Disk {
    directory: PathBuf,
    /// Goes after it was unmounted.
    _home: Option<tempfile::TempDir>,
}

impl Disk {
    /// Mounts a memory file system over the data directory of a server; what is in there is copied.
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

    /// Makes a file system in a file that takes on the real disk no more than what is in it.
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

    /// Leaves no room.
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

    /// Makes room again, if there was none.
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
