//! Tests with a script that behaves like the server, because the real binary belongs to another package.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

use super::*;

/// Writes its arguments and environment to standard error, then the ready file.
const STAND_IN: &str = r#"#!/bin/sh
echo "arguments: $*" >&2
env | grep '^HOOKWRIGHT_' >&2
while [ $# -gt 0 ]; do
    case "$1" in
        --ready-file) ready=$2 ;;
        --data-dir) data=$2 ;;
        --refuse) echo "refused: $2" >&2; exit 3 ;;
    esac
    shift
done
mkdir -p "$data"
echo "start" >>"$data/starts"
echo "tok_secret" >"$data/token"
trap 'echo terminated >&2; exit 0' TERM
printf '{"grpc_address":"127.0.0.1:1","http_address":"127.0.0.1:2",' >"$ready"
printf '"admin_token_file":"%s"}' "$data/token" >>"$ready"
while :; do sleep 0.05; done
"#;

fn stand_in() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("hookwright");
    let mut options = std::fs::OpenOptions::new();
    options.create_new(true).write(true).mode(0o755);
    let mut file = options.open(&path).unwrap();
    file.write_all(STAND_IN.as_bytes()).unwrap();
    (directory, path)
}

#[tokio::test]
async fn a_server_has_the_limit_on_open_files_and_its_own_process_id() {
    let (_directory, binary) = stand_in();
    let mut server = TestServer::builder(binary).open_files_max(77).start().await.unwrap();
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", server.pid())).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    assert_eq!(
        line.split_whitespace().filter(|word| *word == "77").count(),
        2,
        "{line}"
    );
    let command = std::fs::read_to_string(format!("/proc/{}/cmdline", server.pid())).unwrap();
    assert!(command.contains("hookwright\0serve\0"), "{command:?}");
    server.kill9().await.unwrap();
}

#[tokio::test]
async fn a_server_starts_terminates_and_restarts_with_its_data() -> anyhow::Result<()> {
    let (_directory, binary) = stand_in();
    let mut server = TestServer::builder(binary)
        .sqlite()
        .allow("127.0.0.0/8")
        .env("HOOKWRIGHT_SETTING", "given")
        .start()
        .await?;
    assert_eq!(server.grpc_address(), "127.0.0.1:1");
    assert_eq!(server.http_address(), "127.0.0.1:2");
    assert_eq!(server.token()?, "tok_secret");
    assert!(server.stderr().contains("--allow-target 127.0.0.0/8"));
    assert!(server.stderr().contains("HOOKWRIGHT_SETTING=given"));

    server.freeze()?;
    server.thaw()?;
    assert!(server.terminate().await?.success());
    assert!(server.stderr().contains("terminated"));
    assert!(!server.is_running());

    server.restart_with("--more", "settings").await?;
    assert!(server.is_running());
    server.kill9().await?;
    server.restart().await?;
    let starts = std::fs::read_to_string(server.data_directory().join("starts"))?;
    assert_eq!(starts, "start\nstart\nstart\n");
    Ok(())
}

#[tokio::test]
async fn a_server_that_ends_at_its_start_is_an_error_with_its_words() -> anyhow::Result<()> {
    let (_directory, binary) = stand_in();
    let builder = TestServer::builder(binary).arg("--refuse", "bad disk");
    let error = builder.clone().start().await.expect_err("it refuses");
    assert!(error.to_string().contains("refused: bad disk"), "{error}");

    let exited = builder.start_to_fail().await?;
    assert_eq!(exited.status.code(), Some(3));
    assert!(exited.stderr.contains("refused: bad disk"));
    Ok(())
}

#[tokio::test]
async fn a_server_ends_with_its_handle() -> anyhow::Result<()> {
    let (_directory, binary) = stand_in();
    let server = TestServer::builder(binary).start().await?;
    let pid = server.process.pid();
    drop(server);
    tokio::time::timeout(crate::DEADLINE, async {
        while rustix::process::test_kill_process(pid).is_ok() {
            tokio::time::sleep(crate::POLL).await;
        }
    })
    .await?;
    Ok(())
}
