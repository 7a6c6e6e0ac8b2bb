//! The command line and the environment of a server.

use std::{ffi::OsString, path::PathBuf};

use tokio::process::Command;

/// Everything that is needed to start the same server again.
#[derive(Debug)]
pub(super) struct Launch {
    pub(super) binary: PathBuf,
    pub(super) data_directory: PathBuf,
    pub(super) ready_file: PathBuf,
    pub(super) stdout_file: PathBuf,
    pub(super) stderr_file: PathBuf,
    pub(super) arguments: Vec<OsString>,
    pub(super) environment: Vec<(OsString, OsString)>,
    pub(super) open_files_max: Option<u32>,
}

impl Launch {
    /// The command that runs the server, without arguments. It keeps its process id if a shell sets the limit first.
    pub(super) fn command(&self) -> Command {
        let Some(limit) = self.open_files_max else {
            return Command::new(&self.binary);
        };
        let mut command = Command::new("/bin/sh");
        command.args(["-c", r#"ulimit -n "$0" && exec "$@""#, &limit.to_string()]);
        command.arg(&self.binary);
        command
    }

    pub(super) fn stderr(&self) -> String {
        let bytes = std::fs::read(&self.stderr_file).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}
