//! Tests of the handwritten pages: their links have targets, and their quoted code is in the named files.
#![expect(clippy::unwrap_used, reason = "a test fails where what it prepared is not there")]

use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .unwrap()
        .to_path_buf()
}

/// Every Markdown file of the repository that is not generated, with its text.
fn pages() -> Vec<(PathBuf, String)> {
    let root = root();
    let mut directories = vec![root.clone()];
    directories.extend(["docs", "docs/guides", "clients"].map(|directory| root.join(directory)));
    let clients = std::fs::read_dir(root.join("clients")).unwrap();
    directories.extend(clients.map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()));
    let files = directories
        .iter()
        .flat_map(|directory| std::fs::read_dir(directory).unwrap());
    files
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .map(|path| (path.clone(), std::fs::read_to_string(path).unwrap()))
        .collect()
}

/// The name of a heading in a link, as GitHub forms it.
fn anchor(heading: &str) -> String {
    let kept = heading
        .chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

fn has_anchor(page: &Path, wanted: &str) -> bool {
    let text = std::fs::read_to_string(page).unwrap();
    let headings = text.lines().filter(|line| line.starts_with('#'));
    headings
        .map(|line| anchor(line.trim_start_matches('#').trim()))
        .any(|anchor| anchor == wanted)
}

#[test]
fn every_link_of_a_page_leads_somewhere() {
    let mut seen = 0;
    for (page, text) in pages() {
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.contains("://") {
                continue;
            }
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() {
                page.clone()
            } else {
                page.parent().unwrap().join(file)
            };
            assert!(target.exists(), "{}: {link}", page.display());
            assert!(
                anchor.is_empty() || has_anchor(&target, anchor),
                "{}: {link}",
                page.display()
            );
            seen += 1;
        }
    }
    assert!(seen > 60, "{seen}");
}

#[test]
fn quoted_code_is_in_the_file_that_is_named() {
    let mut seen = 0;
    for (page, text) in pages() {
        let mut source = None;
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            if let Some(named) = line.split("rom [").nth(1).and_then(|rest| rest.split("](").nth(1)) {
                source = named.split(')').next().map(|file| page.parent().unwrap().join(file));
            }
            if !line.starts_with("```") {
                // Text between the name and the code belongs to it; a paragraph after the code does not.
                continue;
            }
            let quoted: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
            if let Some(source) = source.take() {
                let file = std::fs::read_to_string(&source).unwrap();
                assert!(
                    file.contains(&quoted.join("\n")),
                    "{}: not in {}:\n{}",
                    page.display(),
                    source.display(),
                    quoted.join("\n")
                );
                seen += 1;
            }
        }
    }
    assert!(seen >= 8, "{seen}");
}
