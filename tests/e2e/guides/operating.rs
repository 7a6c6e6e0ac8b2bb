//! Guides for operators: limits, copies of an installation, the console.

use std::path::Path;

use hookwright_testkit::{Receiver, python::python_executable};

use super::{Guide, bash, tools};
use crate::support::{Installation, On};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_settings_of_the_page_on_limits_are_flags_of_the_server() {
    let directory = tools();
    let help = bash("hookwright serve --help", directory.path(), &[]).await;
    let guide = Guide::read("limits.md");
    let rows = guide.0.lines().filter_map(|line| line.strip_prefix("| `grpc-"));
    let settings: Vec<&str> = rows.filter_map(|row| row.split('`').next()).collect();
    assert!(settings.len() >= 7, "{settings:?}");
    for setting in settings {
        assert!(help.contains(&format!("--grpc-{setting}")), "{setting}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_of_an_sqlite_installation_sends_nothing() {
    let mut installation = Installation::start(On::Sqlite).await;
    let receiver = Receiver::start().await;
    installation.webhook(&receiver, &["clocking"]).await;
    let directory = tools();
    let guide = Guide::read("copy-an-installation.md");
    let block = guide
        .quoted("")
        .into_iter()
        .find(|block| block.contains(".backup"))
        .unwrap()
        .to_owned();
    let original = installation.server.data_directory();
    let copy = directory.path().join("copy");
    std::fs::create_dir(&copy).unwrap();
    let [backup, key, serve] = block.lines().collect::<Vec<_>>()[..] else {
        panic!("{block}")
    };
    let copied = |command: &str| {
        command
            .replace("/var/lib/hookwright", original.to_str().unwrap())
            .replace("/srv/copy", copy.to_str().unwrap())
    };
    // Python's SQLite replaces the SQLite shell, which may not be installed.
    let backup = copied(backup);
    let (from, to) = (original.join("hookwright.db"), copy.join("hookwright.db"));
    assert_eq!(
        backup,
        format!("sqlite3 {} \".backup {}\"", from.display(), to.display())
    );
    let python = python_executable().unwrap();
    let program = "import sqlite3, sys; sqlite3.connect(sys.argv[1]).backup(sqlite3.connect(sys.argv[2]))";
    let script = format!(
        "'{}' -c '{program}' {} {}",
        python.display(),
        from.display(),
        to.display()
    );
    bash(&script, directory.path(), &[]).await;
    bash(&copied(key), directory.path(), &[]).await;
    let settings = copied(serve).replace("hookwright serve", "hookwright config");
    let settings = bash(&settings, directory.path(), &[]).await;
    assert!(
        settings
            .lines()
            .any(|line| line.starts_with("hold") && line.contains("true")),
        "{settings}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_admin_token_is_replaced_as_its_guide_says() {
    let installation = Installation::start(On::Sqlite).await;
    let directory = tools();
    let data = directory.path().join(".local/share/hookwright");
    let file = data.join("admin-token");
    std::fs::create_dir_all(&data).unwrap();
    std::fs::write(&file, installation.server.token().unwrap()).unwrap();
    let address = format!("http://{}", installation.server.grpc_address());
    let environment = [
        ("HOOKWRIGHT_ADDRESS", address.as_str()),
        ("HOME", directory.path().to_str().unwrap()),
        ("XDG_DATA_HOME", ""),
        ("XDG_CONFIG_HOME", ""),
    ];
    let guide = Guide::read("keys-and-tokens.md");
    let [limited, created, revoked] = guide.quoted("sh")[..] else {
        panic!("three blocks")
    };
    bash(limited, directory.path(), &environment).await;
    let printed = bash(created, directory.path(), &environment).await;
    let line = printed.lines().find(|line| line.contains("first admin token")).unwrap();
    let id = line.split_whitespace().find(|word| word.starts_with("tok_")).unwrap();
    // Pasted as it is, the command deletes nothing.
    bash(&format!("! ({revoked})"), directory.path(), &environment).await;
    assert!(file.exists());
    bash(&revoked.replace("TOKEN_ID", id), directory.path(), &environment).await;
    assert!(!file.exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_console_is_set_up_as_its_guide_says() {
    let installation = Installation::start(On::Sqlite).await;
    let guide = Guide::read("console.md");
    let directory = tempfile::tempdir().unwrap();
    let binary = Path::new(env!("CARGO_BIN_EXE_hookwright"));
    std::os::unix::fs::symlink(binary, directory.path().join("hookwright")).unwrap();
    let address = format!("http://{}", installation.server.grpc_address());
    let token = installation.server.token().unwrap();
    let environment = [("HOOKWRIGHT_ADDRESS", address.as_str()), ("HOOKWRIGHT_TOKEN", &token)];
    let commands = guide.commands();
    let command = |beginning: &str| {
        let found = commands.lines().find(|line| line.starts_with(beginning));
        found
            .unwrap_or_else(|| panic!("`{beginning}` is in the guide"))
            .to_owned()
    };
    let link = bash(&command("hookwright portal link"), directory.path(), &environment).await;
    assert!(link.contains("/portal/"), "{link}");
    // The arguments of `serve` are settings that `config` understands.
    let settings = command("hookwright serve").replace("hookwright serve", "hookwright config");
    let settings = bash(&settings, directory.path(), &environment).await;
    for value in ["https://hooks.example.com", "https://app.example.com"] {
        assert!(settings.contains(value), "{settings}");
    }
    let help = bash("hookwright serve --help", directory.path(), &environment).await;
    let table = guide
        .0
        .split("## Settings")
        .nth(1)
        .unwrap()
        .split("A proxy must pass")
        .next()
        .unwrap();
    let rows = table.lines().filter(|line| line.starts_with("| `"));
    let named: Vec<&str> = rows
        .flat_map(|row| row.split('|').nth(1).unwrap().split('`').skip(1).step_by(2))
        .collect();
    assert!(named.len() >= 6, "{named:?}");
    for setting in named {
        assert!(help.contains(&format!("--{setting}")), "{setting}");
    }
}
