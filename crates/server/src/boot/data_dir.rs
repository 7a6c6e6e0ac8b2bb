//! The data directory: its creation, its lock against a second server, and the check that it is of this installation.
//!
//! A directory belongs to one installation and to one running server. A database that is new therefore does not get a
//! directory with the files of another database.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::Path,
};

use anyhow::Context as _;
use hookwright_storage::StoreOptions;

use super::{ADMIN_TOKEN_FILE, DATABASE_FILE, MASTER_KEY_FILE};
use crate::options::Options;

/// The file that a running server locks.
const LOCK_FILE: &str = "server.lock";

/// Creates the data directory, readable only by its owner.
pub(crate) fn make(dir: &Path) -> anyhow::Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .with_context(|| {
            format!(
                "cannot create the data directory {}; choose another with --data-dir",
                dir.display()
            )
        })
}

/// Keeps other servers out of a data directory for as long as the value exists. The lock ends with the process, even
/// after a crash.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: Option<File>,
}

impl Lock {
    /// Fails if another server has the lock. On a file system without locks it only logs a warning.
    pub(crate) fn take(dir: &Path) -> anyhow::Result<Self> {
        let path = dir.join(LOCK_FILE);
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .with_context(|| format!("cannot open {}", path.display()))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: Some(file) }),
            Err(TryLockError::WouldBlock) => anyhow::bail!(
                "another server is using the data directory {0}: choose another with --data-dir. A server on the same PostgreSQL \
                 database also needs the same master key: --master-key-file {0}/{MASTER_KEY_FILE}",
                dir.display()
            ),
            Err(TryLockError::Error(error)) => {
                tracing::warn!(
                    file = %path.display(),
                    %error,
                    "the file system has no locks: make sure that no other server uses this data directory"
                );
                Ok(Self { _file: None })
            }
        }
    }
}

/// Rejects a data directory with files of another installation, before a new SQLite file is created in it.
pub(crate) fn check_before_creation(options: &Options) -> anyhow::Result<()> {
    if options.database_url.is_none() && !options.data_dir.join(DATABASE_FILE).exists() {
        check_unused(options, &super::store_options(options))?;
    }
    Ok(())
}

/// Rejects a data directory with files of another installation, for a store that is new.
pub(crate) fn check_unused(options: &Options, store: &StoreOptions) -> anyhow::Result<()> {
    let dir = &options.data_dir;
    let token = dir.join(ADMIN_TOKEN_FILE);
    anyhow::ensure!(
        !token.exists(),
        "this database is new, but the data directory {} has the admin token of another installation: choose another directory with \
         --data-dir. If that installation no longer exists, delete {}",
        dir.display(),
        token.display()
    );
    let file = dir.join(DATABASE_FILE);
    anyhow::ensure!(
        !store.is_postgres() || !file.exists(),
        "this database is new, but the data directory {} has the SQLite database of another installation: choose another directory \
         with --data-dir. If that installation is no longer needed, move {} away",
        dir.display(),
        file.display()
    );
    Ok(())
}

/// Writes a file that only its owner can read, durable before it is used.
pub(crate) fn write_secret(path: &Path, text: &str) -> anyhow::Result<()> {
    let write = || -> io::Result<()> {
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(path)?;
        // Otherwise an existing file keeps its mode, and the umask may have removed bits of a new one.
        file.set_permissions(Permissions::from_mode(0o600))?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

/// Gives a secret's file its final name, also after a crash of the machine.
pub(crate) fn rename_secret(from: &Path, to: &Path) -> anyhow::Result<()> {
    let rename = || -> io::Result<()> {
        fs::rename(from, to)?;
        to.parent().map_or(Ok(()), |dir| File::open(dir)?.sync_all())
    };
    rename().with_context(|| format!("cannot rename {} to {}", from.display(), to.display()))
}
