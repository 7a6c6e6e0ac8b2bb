//! The settings as flags.

use std::{collections::BTreeMap, path::PathBuf};

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches, value_parser};

use super::table::{SETTINGS, Setting, Shape};

/// The settings on the command line. [`Effective::load`](super::Effective::load) combines them with environment and file.
#[derive(Clone, Debug, Default)]
pub(crate) struct SettingsArgs {
    /// The settings file.
    pub(crate) config: Option<PathBuf>,
    /// The given values, by setting.
    pub(crate) given: BTreeMap<&'static str, Vec<String>>,
}

fn flag(setting: &'static Setting) -> Arg {
    let arg = Arg::new(setting.name)
        .long(setting.flag())
        .value_name(setting.value_name)
        .help(setting.help_text())
        .help_heading(setting.heading);
    match setting.shape {
        Shape::One => arg.action(ArgAction::Set),
        Shape::Switch => arg
            .action(ArgAction::Set)
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true"),
        Shape::List => arg.action(ArgAction::Append).value_delimiter(','),
    }
}

impl Args for SettingsArgs {
    fn augment_args(command: Command) -> Command {
        let config = Arg::new("config")
            .long("config")
            .value_name("FILE")
            .value_parser(value_parser!(PathBuf))
            .help("TOML file of settings; its keys are the names that `hookwright config` prints [env: HOOKWRIGHT_CONFIG]");
        command.arg(config).args(SETTINGS.iter().map(flag))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for SettingsArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut args = Self::default();
        args.update_from_arg_matches(matches)?;
        Ok(args)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.config = matches.get_one::<PathBuf>("config").cloned();
        for setting in SETTINGS {
            if let Some(values) = matches.get_many::<String>(setting.name) {
                self.given.insert(setting.name, values.cloned().collect());
            }
        }
        Ok(())
    }
}
