//! `hookwright config`.

use std::process::ExitCode;

use clap::Args;
use serde_json::{Map, Value, json};

use crate::{
    output::{self, Format, Output},
    settings::{Effective, SettingsArgs, Shown, document, process_environment},
};

const EXAMPLES: &str = "\
Accepts the flags of `hookwright serve`, and shows the settings of a server with the same flags and environment.

Examples:
  hookwright config
  hookwright config --sample > hookwright.toml
  hookwright config --config /etc/hookwright.toml --output json";

/// Show the settings that a server started here would have, and their origins
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ConfigArgs {
    #[command(flatten)]
    settings: SettingsArgs,
    /// A table for people, or a document for programs
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    output: Format,
    /// Print a settings file with every setting commented out, and exit
    #[arg(long, conflicts_with = "output")]
    sample: bool,
    /// Print the reference page of the settings as Markdown, and exit
    #[arg(long, hide = true)]
    markdown: bool,
}

/// Shows the settings. Secrets are masked.
pub(crate) fn run(args: &ConfigArgs) -> anyhow::Result<ExitCode> {
    let document = match (args.sample, args.markdown) {
        (true, _) => Some(document::sample()),
        (_, true) => Some(document::page()),
        _ => None,
    };
    if let Some(document) = document {
        output::print(document.trim_end())?;
        return Ok(ExitCode::SUCCESS);
    }
    let shown = Effective::load(&args.settings, &process_environment)?.shown();
    Output::new(args.output).document(&json(&shown), || table(&shown))?;
    Ok(ExitCode::SUCCESS)
}

fn table(settings: &[Shown]) -> String {
    let rows = settings.iter().map(|setting| {
        let value = if setting.values.is_empty() {
            "(none)".to_owned()
        } else {
            setting.values.join(", ")
        };
        vec![setting.name.clone(), value, setting.origin.to_string()]
    });
    output::table(&["SETTING", "VALUE", "ORIGIN"], rows.collect())
}

fn json(settings: &[Shown]) -> Value {
    let entries = settings.iter().map(|setting| {
        let value = if setting.list {
            json!(setting.values)
        } else {
            json!(setting.values.first())
        };
        (
            setting.name.clone(),
            json!({ "value": value, "origin": setting.origin.to_string() }),
        )
    });
    Value::Object(entries.collect::<Map<_, _>>())
}
