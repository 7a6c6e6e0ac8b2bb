//! Stamps the commit of the binary, as `HOOKWRIGHT_COMMIT`, for `--version`, and packs its relocations.
//!
//! The environment's `HOOKWRIGHT_COMMIT` takes precedence (for packagers, who build from an archive).
//! Otherwise the script reads the repository's files, without a git program. Without either it is `unknown`.

use std::fs;
use std::path::{Path, PathBuf};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=HOOKWRIGHT_COMMIT");
    let given = std::env::var("HOOKWRIGHT_COMMIT").ok();
    let commit = given
        .filter(|commit| !commit.is_empty())
        .or_else(commit_of_repository)
        .unwrap_or_else(|| "unknown".to_owned());
    let short = commit.get(..12).unwrap_or(&commit);
    println!("cargo::rustc-env=HOOKWRIGHT_COMMIT={short}");
    pack_relocations();
}

/// Makes the file 2 MB smaller. The dynamic linker of glibc 2.36 knows this format, and the binary needs that version anyway.
fn pack_relocations() {
    let target = |key: &str| std::env::var(format!("CARGO_CFG_TARGET_{key}")).unwrap_or_default();
    if target("OS") == "linux" && target("ENV") == "gnu" {
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}

fn commit_of_repository() -> Option<String> {
    let root = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR")?);
    let git = git_directory(&root.join(".git"))?;
    // A work tree has its own HEAD and shares the branches with the main one.
    let common = read(&git.join("commondir")).map_or_else(|| git.clone(), |path| git.join(path));
    let head = read(&git.join("HEAD"))?;
    // Written at every commit, even while the branch is still packed.
    let _ = read(&git.join("logs/HEAD"));
    let Some(branch) = head.strip_prefix("ref: ") else {
        return Some(head);
    };
    read(&common.join(branch)).or_else(|| packed(&common.join("packed-refs"), branch))
}

/// `.git` itself, or the directory in a work tree's `.git` file.
fn git_directory(path: &Path) -> Option<PathBuf> {
    if path.is_dir() {
        return Some(path.to_path_buf());
    }
    let target = read(path)?.strip_prefix("gitdir: ")?.to_owned();
    Some(path.parent()?.join(target))
}

fn packed(path: &Path, branch: &str) -> Option<String> {
    read(path)?.lines().find_map(|line| {
        let (commit, name) = line.split_once(' ')?;
        (name == branch).then(|| commit.to_owned())
    })
}

/// A file's text, if it exists; a change of the file updates the stamp.
fn read(path: &Path) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    println!("cargo::rerun-if-changed={}", path.display());
    Some(text.trim().to_owned())
}
