//! The schema one version back: what an installation has before its upgrade.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use hookwright_testkit::{Past, workspace_directory};

/// Takes the newest migration back, on a store whose servers are stopped. Returns its name.
pub(super) async fn take_back(past: &Past) -> anyhow::Result<String> {
    let store = if past.is_postgres() { "postgres" } else { "sqlite" };
    let directory = workspace_directory().join("crates/storage/migrations").join(store);
    let newest = newest(&directory)?;
    let down = std::fs::read_to_string(newest.join("down.sql"))?;
    let name = newest.file_name().context("a migration has a name")?;
    let name = name.to_string_lossy().into_owned();
    // What runs outside a transaction goes statement by statement.
    let metadata = std::fs::read_to_string(newest.join("metadata.toml")).unwrap_or_default();
    if metadata.contains("run_in_transaction = false") {
        for statement in down.split(";\n").filter(|text| !text.trim().is_empty()) {
            past.run(statement).await.with_context(|| name.clone())?;
        }
    } else {
        past.run(&down).await.with_context(|| name.clone())?;
    }
    past.run(&format!(
        "DELETE FROM __diesel_schema_migrations WHERE version = '{}'",
        version(&name)
    ))
    .await?;
    Ok(name)
}

fn newest(directory: &Path) -> anyhow::Result<PathBuf> {
    let mut found: Vec<PathBuf> = std::fs::read_dir(directory)?
        .map(|entry| Ok(entry?.path()))
        .collect::<anyhow::Result<_>>()?;
    found.sort();
    found.pop().with_context(|| format!("{} is empty", directory.display()))
}

/// A migration's version as Diesel has it: the digits of `2026-11-26-000000_name`.
fn version(name: &str) -> String {
    let stamp = name.split('_').next().unwrap_or_default();
    stamp.chars().filter(char::is_ascii_digit).collect()
}
