//! A schema of an earlier version, which an installation has before its upgrade.
//!
//! The newest migrations are reverted, down to one that does work on a large table: it builds an index on pending
//! deliveries.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use hookwright_testkit::{Past, workspace_directory};

/// The oldest migration that is reverted.
const OLDEST: &str = "2026-12-01-000100_paused_deliveries";

/// Reverts migrations, on a store whose servers are stopped. Returns how many.
pub(super) async fn take_back(past: &Past) -> anyhow::Result<usize> {
    let store = if past.is_postgres() { "postgres" } else { "sqlite" };
    let directory = workspace_directory().join("crates/storage/migrations").join(store);
    let newer = newer(&directory)?;
    for migration in &newer {
        take_one_back(past, migration).await?;
    }
    Ok(newer.len())
}

async fn take_one_back(past: &Past, migration: &Path) -> anyhow::Result<()> {
    let down = std::fs::read_to_string(migration.join("down.sql"))?;
    let name = migration.file_name().context("a migration has a name")?;
    let name = name.to_string_lossy().into_owned();
    // Migrations that run outside of a transaction are run one statement at a time.
    let metadata = std::fs::read_to_string(migration.join("metadata.toml")).unwrap_or_default();
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
    .await
}

/// The migrations from [`OLDEST`] on, newest first.
fn newer(directory: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let oldest = directory.join(OLDEST);
    anyhow::ensure!(oldest.is_dir(), "there is no migration {}", oldest.display());
    let mut found: Vec<PathBuf> = std::fs::read_dir(directory)?
        .map(|entry| Ok(entry?.path()))
        .collect::<anyhow::Result<_>>()?;
    found.retain(|migration| *migration >= oldest);
    found.sort_by(|one, other| other.cmp(one));
    Ok(found)
}

/// A migration's version in Diesel's form: the digits of `2026-11-26-000000_name`.
fn version(name: &str) -> String {
    let stamp = name.split('_').next().unwrap_or_default();
    stamp.chars().filter(char::is_ascii_digit).collect()
}
