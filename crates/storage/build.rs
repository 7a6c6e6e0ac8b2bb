//! Lists PostgreSQL's migrations for `src/postgres/migrate.rs`, which runs them one statement at a time.

use std::{env, fmt::Write as _, fs, path::PathBuf};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=migrations");
    let directory = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("migrations/postgres");
    let mut names: Vec<String> = fs::read_dir(&directory)?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<Result<_, std::io::Error>>()?;
    names.sort_unstable();
    let mut text = String::from("&[\n");
    for name in names {
        let place = directory.join(&name);
        let metadata = fs::read_to_string(place.join("metadata.toml")).unwrap_or_default();
        // Diesel reads the same setting, for users who run migrations with its own command line.
        let in_transaction = !metadata.replace(' ', "").contains("run_in_transaction=false");
        let up = place.join("up.sql");
        writeln!(
            text,
            "    Migration {{ name: {name:?}, up: include_str!({:?}), in_transaction: {in_transaction} }},",
            up.display().to_string()
        )?;
    }
    text.push_str("]\n");
    fs::write(PathBuf::from(env::var("OUT_DIR")?).join("postgres_migrations.rs"), text)?;
    Ok(())
}
