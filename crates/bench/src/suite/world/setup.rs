//! The description of a world before its start.

use std::{
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use hookwright_testkit::{TestServer, TestServerBuilder};

use super::{HOSTS, Sink};

/// A new installation with the default settings, except that the sink on loopback is an allowed target, and its
/// authority is trusted.
pub(in super::super) struct Setup<'a> {
    /// How many hosts the sink simulates.
    pub(in super::super) hosts: usize,
    /// More arguments of the sink.
    pub(in super::super) sink: &'a [&'a str],
    /// Settings of the server: flags and values.
    pub(in super::super) settings: &'a [(&'a str, &'a str)],
    /// The server's limit on descriptors, soft and hard.
    pub(in super::super) descriptors: Option<u32>,
}

impl Default for Setup<'_> {
    fn default() -> Self {
        Self {
            hosts: HOSTS,
            sink: &[],
            settings: &[],
            descriptors: None,
        }
    }
}

impl Setup<'_> {
    pub(super) fn builder(&self, server: &Path, directory: &Path, sink: &Sink) -> anyhow::Result<TestServerBuilder> {
        let program = match self.descriptors {
            Some(descriptors) => limited(server, directory, descriptors)?,
            None => server.to_owned(),
        };
        let mut builder = TestServer::builder(program)
            .allow("127.0.0.0/8")
            .data_directory(directory.join("data"));
        if let Some(authority) = sink.authority_file() {
            builder = builder.arg("--extra-ca-file", &authority.display().to_string());
        }
        for (flag, value) in self.settings {
            builder = builder.arg(flag, value);
        }
        Ok(builder)
    }
}

/// A shell script that starts the server with a limit on descriptors, as an operator's unit file would.
fn limited(server: &Path, directory: &Path, descriptors: u32) -> anyhow::Result<PathBuf> {
    let script = directory.join("limited");
    let server = std::path::absolute(server)?;
    let text = format!(
        "#!/bin/sh\nulimit -n {descriptors} || exit 1\nexec '{}' \"$@\"\n",
        server.display()
    );
    std::fs::write(&script, text)?;
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755))?;
    Ok(script)
}
