//! The files of the store: their modes, and the lock against other servers.

use std::{
    fs::{self, File, Permissions},
    io,
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
};

use crate::error::StoreError;

/// The mode of every file of the store: only its owner may read it.
const OWNER_ALONE: u32 = 0o600;

/// Creates a missing file, and restricts an existing one to its owner.
fn secure(path: &str) -> io::Result<()> {
    match File::options()
        .create_new(true)
        .write(true)
        .mode(OWNER_ALONE)
        .open(path)
    {
        // The umask may have removed bits.
        Ok(file) => file.set_permissions(Permissions::from_mode(OWNER_ALONE)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            restrict(path);
            Ok(())
        }
        Err(error) => Err(error),
    }
}

/// Restricts an existing file to its owner. The file is not opened, because closing it would release SQLite's own locks
/// on it.
fn restrict(path: &str) {
    let Ok(metadata) = fs::metadata(path) else { return };
    let mode = metadata.permissions().mode() & 0o777;
    if mode & !OWNER_ALONE == 0 {
        return;
    }
    match fs::set_permissions(path, Permissions::from_mode(OWNER_ALONE)) {
        Ok(()) => tracing::info!(
            file = path,
            "others could use this file (mode {mode:03o}); it is 600 now"
        ),
        Err(error) => tracing::warn!(
            file = path,
            %error,
            "others can use this file (mode {mode:03o}), and its mode cannot be set to 600: payloads in it are not sealed"
        ),
    }
}

/// Excludes other servers from the file as long as the lock is held. The lock ends with the process, even after a
/// crash. From then on only the owner can read the file, its log and the lock; SQLite creates its log with the mode of
/// the file.
pub(super) fn lock(path: &str) -> Result<File, StoreError> {
    let lock_path = format!("{path}.lock");
    let unreachable = |error: io::Error| StoreError::Unreachable(format!("{lock_path}: {error}"));
    secure(&lock_path).map_err(unreachable)?;
    let file = File::options().write(true).open(&lock_path).map_err(unreachable)?;
    match file.try_lock() {
        Ok(()) => {
            secure(path).map_err(|error| StoreError::Unreachable(format!("{path}: {error}")))?;
            restrict(&format!("{path}-wal"));
            restrict(&format!("{path}-shm"));
            Ok(file)
        }
        Err(std::fs::TryLockError::WouldBlock) => Err(StoreError::AlreadyServed(path.to_owned())),
        Err(std::fs::TryLockError::Error(error)) => Err(unreachable(error)),
    }
}
