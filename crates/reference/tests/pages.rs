//! The reference is kept, and its links lead somewhere.
#![expect(clippy::unwrap_used, reason = "a test fails where what it prepared is not there")]

use std::collections::{HashMap, HashSet};

fn pages() -> HashMap<String, String> {
    hookwright_reference::pages().unwrap().into_iter().collect()
}

#[test]
fn the_pages_in_docs_are_what_proto_says() {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference");
    for (name, text) in pages() {
        let kept = std::fs::read_to_string(format!("{directory}/{name}")).unwrap_or_default();
        assert!(kept == text, "docs/reference/{name} is old: run `make reference`");
    }
}

#[test]
fn every_link_leads_somewhere() {
    let pages = pages();
    let anchors = |page: &str| -> HashSet<String> {
        let headings = pages[page].lines().filter_map(|line| line.strip_prefix("### "));
        headings.map(str::to_lowercase).collect()
    };
    let mut seen = 0;
    for (name, text) in &pages {
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let (page, anchor) = link.split_once('#').unwrap_or((link, ""));
            if page.starts_with("../") {
                continue;
            }
            let page = if page.is_empty() { name } else { page };
            assert!(anchor.is_empty() || anchors(page).contains(anchor), "{name}: {link}");
            seen += 1;
        }
    }
    assert!(seen > 100, "{seen}");
}
