//! Golden files: the SQL of every shared query, in `tests/golden`, so that a review shows how a change of a query
//! changes its SQL.
//!
//! `GOLDEN=write cargo test -p hookwright-storage --lib golden` writes them again.

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    path::{Path, PathBuf},
};

use super::recorder::Call;

/// The approximate length of a line.
const WIDTH: usize = 110;
/// A new line begins before each of these.
const CLAUSES: [&str; 12] = [
    "FROM",
    "INNER JOIN",
    "LEFT OUTER JOIN",
    "LEFT JOIN",
    "WHERE",
    "ORDER BY",
    "LIMIT",
    "SET",
    "VALUES",
    "ON CONFLICT",
    "RETURNING",
    "UNION ALL",
];

/// Compares the statements of calls with a store's golden files, or writes the files. If a plan depends only on the
/// schema, the files contain a plan for each statement.
pub(crate) fn check(store: &str, calls: &[Call], with_plans: bool) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(store);
    let file = |call: &Call| {
        let plans = if with_plans { call.plans.as_slice() } else { &[] };
        (format!("{}.sql", call.name), text(&call.statements, plans))
    };
    let wanted: BTreeMap<String, String> = calls.iter().map(file).collect();
    assert_eq!(wanted.len(), calls.len(), "two calls have the same name");
    if env::var("GOLDEN").is_ok_and(|asked| asked == "write") {
        write(&directory, &wanted);
    }
    let found = read(&directory);
    let names: BTreeSet<&String> = wanted.keys().chain(found.keys()).collect();
    let differ: Vec<&String> = names
        .into_iter()
        .filter(|name| wanted.get(*name) != found.get(*name))
        .collect();
    let first = differ.first().map(|name| (found.get(*name), wanted.get(*name)));
    assert!(
        differ.is_empty(),
        "the SQL of these differs from {}: {differ:?}\nof the first, the file and the statements are {first:#?}\nif \
         that is intended: GOLDEN=write cargo test -p hookwright-storage --lib golden",
        directory.display()
    );
}

/// Every shared query that other modules may call must be among the calls.
pub(crate) fn check_complete(calls: &[Call]) {
    let called: BTreeSet<&str> = calls.iter().filter_map(|call| call.name.split('.').next()).collect();
    let missing: Vec<String> = public_queries()
        .into_iter()
        .filter(|query| !called.contains(query.as_str()))
        .collect();
    assert!(missing.is_empty(), "queries/calls has no call of {missing:?}");
}

/// The names of the shared queries that other modules may call.
fn public_queries() -> BTreeSet<String> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/queries");
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() || path.file_stem().is_some_and(|stem| stem == "calls") {
            continue;
        }
        let text = fs::read_to_string(path).unwrap();
        let functions = text
            .lines()
            .filter_map(|line| line.strip_prefix("pub(crate) async fn "));
        names.extend(functions.filter_map(|line| Some(line.split_once('(')?.0.to_owned())));
    }
    names
}

fn write(directory: &Path, files: &BTreeMap<String, String>) {
    if directory.exists() {
        fs::remove_dir_all(directory).unwrap();
    }
    fs::create_dir_all(directory).unwrap();
    for (name, text) in files {
        fs::write(directory.join(name), text).unwrap();
    }
}

fn read(directory: &Path) -> BTreeMap<String, String> {
    let Ok(entries) = fs::read_dir(directory) else {
        return BTreeMap::new();
    };
    let paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    let file = |path: PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        (name, fs::read_to_string(path).unwrap())
    };
    paths.into_iter().map(file).collect()
}

/// The content of a golden file: statements, with their plans as comments.
fn text(statements: &[String], plans: &[String]) -> String {
    let mut pretty: Vec<String> = Vec::new();
    for (at, statement) in statements.iter().enumerate() {
        let mut text = in_lines(&without_lengths(&without_days(statement)));
        for step in plans.get(at).into_iter().flat_map(|plan| plan.lines()) {
            text.push_str(&format!("-- {step}\n"));
        }
        if !pretty.contains(&text) {
            pretty.push(text);
        }
    }
    pretty.join("\n")
}

/// Replaces lists of parameters, whose length depends on the arguments.
fn without_lengths(statement: &str) -> String {
    let mut text = String::new();
    let mut rest = statement;
    while let Some(at) = rest.find("IN (?") {
        let (before, list) = rest.split_at(at + "IN (".len());
        let end = list.find(|letter: char| !"?, ".contains(letter)).unwrap_or(list.len());
        text.push_str(before);
        text.push_str("?, ...");
        rest = &list[end..];
    }
    text + rest
}

/// Replaces the days in the names of partitions.
fn without_days(statement: &str) -> String {
    let parts = statement.split_inclusive('_').map(|part| {
        let digits = part.bytes().take_while(u8::is_ascii_digit).count();
        if digits == 8 {
            format!("DAY{}", &part[8..])
        } else {
            part.to_owned()
        }
    });
    parts.collect()
}

/// Breaks a statement into lines of a readable length.
fn in_lines(statement: &str) -> String {
    let words: Vec<&str> = statement.split_whitespace().collect();
    let mut lines = String::new();
    let mut is_between = false;
    for (at, word) in words.iter().enumerate() {
        let begins = |clause: &&str| {
            clause
                .split(' ')
                .zip(&words[at..])
                .all(|(wanted, word)| wanted == *word)
        };
        is_between |= *word == "BETWEEN";
        let separator = match *word {
            _ if at == 0 => "",
            "AND" if std::mem::take(&mut is_between) => " ",
            "AND" => "\n  ",
            _ if CLAUSES.iter().any(begins) => "\n",
            _ => " ",
        };
        lines.push_str(separator);
        lines.push_str(word);
    }
    wrapped(&lines)
}

/// Breaks lines that are too long after a comma.
fn wrapped(text: &str) -> String {
    let mut lines = String::new();
    for line in text.lines() {
        let mut width = 0;
        for part in line.split_inclusive(", ") {
            if width > 0 && width + part.len() > WIDTH {
                lines.truncate(lines.trim_end().len());
                lines.push_str("\n    ");
                width = 4;
            }
            lines.push_str(part);
            width += part.len();
        }
        lines.push('\n');
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_are_shown_in_lines() {
        let statement =
            "SELECT a FROM events_20261130 WHERE a IN (?, ?, ?) AND b IN (?) AND c BETWEEN ? AND ? LIMIT ?".to_owned();
        assert_eq!(
            text(&[statement.clone(), statement], &[]),
            "SELECT a\nFROM events_DAY\nWHERE a IN (?, ...)\n  AND b IN (?, ...)\n  AND c BETWEEN ? AND ?\nLIMIT ?\n"
        );
    }
}
