//! `hookwright-reference DIR` writes the reference into a directory. A test checks that the committed pages are current.

use std::path::PathBuf;

use anyhow::Context as _;

fn main() -> anyhow::Result<()> {
    let directory = std::env::args().nth(1).context("usage: hookwright-reference DIR")?;
    let directory = PathBuf::from(directory);
    std::fs::create_dir_all(&directory)?;
    for (name, text) in hookwright_reference::pages()? {
        std::fs::write(directory.join(name), text)?;
    }
    Ok(())
}
