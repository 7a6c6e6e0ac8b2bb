//! The settings as a TOML file.

use std::{collections::BTreeMap, path::Path};

use anyhow::{Context as _, anyhow};
use toml::{Table, Value};

use super::table::{SETTINGS, Setting, Shape};

/// The values by setting, as text, and all errors of the file. An unknown key is an error, because a misspelt setting must
/// not be ignored.
#[derive(Debug, Default)]
pub(super) struct Contents {
    pub(super) values: BTreeMap<&'static str, Vec<String>>,
    pub(super) wrong: Vec<String>,
}

/// Reads the file.
///
/// # Errors
/// When it cannot be read, or is not TOML.
pub(super) fn read(path: &Path) -> anyhow::Result<Contents> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("cannot read the settings file {}", path.display()))?;
    parse(&text).with_context(|| format!("configuration file {}", path.display()))
}

fn parse(text: &str) -> anyhow::Result<Contents> {
    let table = text.parse::<Table>().map_err(|error| syntax_error(text, &error))?;
    let mut contents = Contents::default();
    for (key, value) in &table {
        let Some(setting) = SETTINGS.iter().find(|setting| setting.is_called(key)) else {
            contents.wrong.push(format!("unknown key `{key}`{}", nearest(key)));
            continue;
        };
        if contents.values.contains_key(setting.name) {
            let name = setting.key();
            contents.wrong.push(format!(
                "the file has both `{key}` and `{name}`, which are the same key"
            ));
            continue;
        }
        let given = match (setting.shape, value) {
            (Shape::List, Value::Array(items)) => items.iter().map(scalar).collect::<Option<Vec<_>>>(),
            (_, value) => scalar(value).map(|text| vec![text]),
        };
        let expected = match setting.shape {
            Shape::List => "a list of strings, for example [\"a\", \"b\"]",
            Shape::One => "a string or a number",
            Shape::Switch => "true or false",
        };
        match given {
            Some(given) => {
                contents.values.insert(setting.name, given);
            }
            None => contents.wrong.push(format!("`{key}` must be {expected}")),
        }
    }
    Ok(contents)
}

/// The library's message would show the line, which may contain a password.
fn syntax_error(text: &str, error: &toml::de::Error) -> anyhow::Error {
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    anyhow!("not TOML at line {line}, column {column}: {}", error.message())
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Integer(number) => Some(number.to_string()),
        Value::Boolean(truth) => Some(truth.to_string()),
        Value::Float(_) | Value::Datetime(_) | Value::Array(_) | Value::Table(_) => None,
    }
}

fn nearest(key: &str) -> String {
    let key = key.replace('_', "-").to_lowercase();
    SETTINGS
        .iter()
        .map(Setting::key)
        .map(|name| (strsim::damerau_levenshtein(&key, &name), name))
        .min()
        .map(|(_, name)| format!("; the nearest known one is `{name}` (`hookwright config` lists all)"))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(text: &str) -> String {
        parse(text).unwrap().wrong.join("\n")
    }

    #[test]
    fn an_unknown_key_is_named_with_the_nearest_known_one() {
        for (key, expected) in [
            ("alow_targets", "allow-targets"),
            ("grpc-adress", "grpc-address"),
            ("payload_max", "payload-bytes-max"),
        ] {
            let message = wrong(&format!("{key} = 1"));
            assert!(message.contains(&format!("unknown key `{key}`")), "{message}");
            assert!(message.contains(&format!("`{expected}`")), "{message}");
        }
    }

    #[test]
    fn a_key_may_be_spelled_like_its_flag() {
        let text = "grpc-address = 'a'\nallow-target = ['b']\ndeny-targets = ['c']\nlog_filter = 'd'";
        let contents = parse(text).unwrap();
        assert!(contents.wrong.is_empty(), "{contents:?}");
        for (name, value) in [
            ("grpc_address", "a"),
            ("allow_targets", "b"),
            ("deny_targets", "c"),
            ("log_filter", "d"),
        ] {
            assert_eq!(contents.values[name], [value]);
        }
        assert!(wrong("log-filter = 'a'\nlog_filter = 'b'").contains("which are the same key"));
    }

    #[test]
    fn all_that_is_wrong_with_a_file_is_told_at_once() {
        let contents = parse("alow_targets = []\nlog_json = {}\nlog_filter = 'warn'\nretension = '1d'").unwrap();
        assert_eq!(contents.wrong.len(), 3, "{contents:?}");
        let message = contents.wrong.join("\n");
        for part in ["`alow_targets`", "`log_json` must be", "`retension`"] {
            assert!(message.contains(part), "{part}: {message}");
        }
        assert_eq!(contents.values.len(), 1);
    }

    #[test]
    fn a_value_of_another_type_is_refused() {
        for text in [
            "allow_targets = { a = 1 }",
            "grpc_address = [1]",
            "shutdown_timeout = 1.5",
            "log_json = {}",
        ] {
            assert!(wrong(text).contains("must be"), "{text}");
        }
        assert!(
            parse("log_json = ").unwrap_err().to_string().contains("line 1"),
            "syntax errors name their line"
        );
        let error = format!(
            "{:#}",
            parse("log_json = true\ndatabase_url = 'postgres://u:secret@host").unwrap_err()
        );
        assert!(error.contains("line 2") && !error.contains("secret"), "{error}");
    }
}
