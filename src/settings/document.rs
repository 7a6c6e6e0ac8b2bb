//! Documents that are generated from the table of settings: a sample file, and a page of the documentation.

use super::table::{SETTINGS, Setting, Shape};

/// Width of the sample's comments.
const WIDTH: usize = 100;

/// A settings file with every setting commented out, with its default.
pub(crate) fn sample() -> String {
    let mut text = String::from(
        "# Settings of `hookwright serve --config FILE`. Every line shows the default or a placeholder.\n\
         # A flag overrides an environment variable (HOOKWRIGHT_*), which overrides this file.\n",
    );
    let mut heading = "";
    for setting in SETTINGS {
        if setting.heading != heading {
            heading = setting.heading;
            text.push_str(&format!("\n## {heading}\n"));
        }
        text.push('\n');
        for line in wrapped(setting.help) {
            text.push_str(&format!("# {line}\n"));
        }
        if let Some(default) = setting.default {
            text.push_str(&format!("# Default: {default}.\n"));
        }
        text.push_str(&format!("#{} = {}\n", setting.key(), value(setting)));
    }
    text
}

/// The reference page of the settings, as Markdown.
pub(crate) fn page() -> String {
    let mut text = String::from(
        "# Settings\n\n\
         The settings of `hookwright serve`, generated from the same list as its `--help`. A flag (`--data-dir`) overrides an environment\n\
         variable (`HOOKWRIGHT_DATA_DIR`), which overrides the file that `--config` names (`data-dir = \"…\"`). Lists are repeated flags,\n\
         comma-separated variables, and arrays in the file. The variable of a list may be singular, as its flag is, or plural:\n\
         `HOOKWRIGHT_DENY_TARGET` or `HOOKWRIGHT_DENY_TARGETS`. [hookwright.toml](hookwright.toml) has every setting; `hookwright config\n\
         --sample` prints it. `hookwright config` prints the current settings.\n",
    );
    let mut heading = "";
    for setting in SETTINGS {
        if setting.heading != heading {
            heading = setting.heading;
            text.push_str(&format!(
                "\n## {heading}\n\n| flag | value | default | meaning |\n| --- | --- | --- | --- |\n"
            ));
        }
        let default = match (setting.default, setting.defaults()) {
            (Some(told), _) => told.to_owned(),
            (None, values) if values.is_empty() => "none".to_owned(),
            (None, values) => format!("`{}`", values.join(", ")),
        };
        text.push_str(&format!(
            "| `--{}` | {} | {} | {} |\n",
            setting.flag(),
            setting.value_name.replace('|', "\\|"),
            default.replace('|', "\\|"),
            setting.help.replace('|', "\\|")
        ));
    }
    text
}

/// The default in the file's syntax, or a placeholder.
fn value(setting: &Setting) -> String {
    let values = setting.defaults();
    let quoted = |value: &String| format!("{value:?}");
    match (setting.shape, values.first()) {
        (Shape::List, Some(_)) => format!("[{}]", values.iter().map(quoted).collect::<Vec<_>>().join(", ")),
        (Shape::List, None) => format!("[\"{}\"]", setting.value_name),
        (Shape::Switch, Some(value)) => value.clone(),
        (Shape::Switch, None) => "false".to_owned(),
        (Shape::One, Some(value)) if matches!(setting.value_name, "true|false" | "COUNT") => value.clone(),
        (Shape::One, Some(value)) => quoted(value),
        (Shape::One, None) => format!("\"{}\"", setting.value_name),
    }
}

fn wrapped(text: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let line = lines.last_mut().filter(|line| line.len() + 1 + word.len() <= WIDTH);
        match line {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) => {
                line.push(' ');
                line.push_str(word);
            }
            None => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::{
        super::{Effective, SettingsArgs},
        *,
    };

    #[test]
    fn the_sample_can_be_read_and_changes_nothing() {
        let sample = sample();
        let file = tempfile::NamedTempFile::new().unwrap();
        let lines = SETTINGS.iter().filter(|setting| !setting.defaults().is_empty());
        let lines = lines.map(|setting| format!("{} = {}\n", setting.key(), value(setting)));
        let lines: Vec<String> = lines.collect();
        assert!(lines.len() > 20 && lines.iter().all(|line| sample.contains(&format!("\n#{line}"))));
        std::fs::write(file.path(), lines.concat()).unwrap();
        let load = |config: Option<&std::path::Path>| {
            let args = SettingsArgs {
                config: config.map(Into::into),
                ..SettingsArgs::default()
            };
            let environment = |name: &str| (name == "HOME").then(|| "/home/somebody".to_owned());
            Effective::load(&args, &environment).unwrap().shown()
        };
        for (with, without) in load(Some(file.path())).iter().zip(load(None)) {
            assert_eq!((&with.name, &with.values), (&without.name, &without.values));
        }
    }

    #[test]
    fn the_documents_are_those_in_docs() {
        let docs = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs");
        for (file, made) in [("hookwright.toml", sample()), ("settings.md", page())] {
            let there = std::fs::read_to_string(docs.join(file)).unwrap();
            assert!(there == made, "docs/{file} is out of date: run `make reference`");
        }
    }
}
