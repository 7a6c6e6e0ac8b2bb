//! "Did you mean" hints over the whole command line. The parser itself suggests flags and commands of one command only.
//!
//! If another command has the flag or command, the hint names that command. Otherwise the hint names the nearest ones.

use std::{collections::BTreeMap, process::ExitCode};

use clap::error::{ContextKind, ContextValue, ErrorKind};
use hookwright_domain::name::nearest;

/// Maximum number of commands in a hint.
const COMMANDS_MAX: usize = 4;
/// Maximum number of similar names in a hint.
const NEAR_MAX: usize = 2;

/// Prints a parse error with a hint, and returns the exit status. Help and version, which the parser returns the same way,
/// are printed unchanged.
pub(crate) fn report(error: &clap::Error, command: &clap::Command) -> ExitCode {
    // A closed output is not an error.
    let _ = error.print();
    if let Some(hint) = hint(error, command) {
        crate::output::note(&format!("\n{hint}"));
    }
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
}

/// A hint, if the parser has none of its own.
fn hint(error: &clap::Error, command: &clap::Command) -> Option<String> {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        _ => None,
    };
    let (known, wanted, what, told) = match error.kind() {
        ErrorKind::UnknownArgument => {
            let flag = text(ContextKind::InvalidArg)?;
            let flag = flag.split_once('=').map_or(flag, |(flag, _)| flag);
            (flags(command), flag, "flag", ContextKind::SuggestedArg)
        }
        ErrorKind::InvalidSubcommand => (
            commands(command),
            text(ContextKind::InvalidSubcommand)?,
            "command",
            ContextKind::SuggestedSubcommand,
        ),
        _ => return None,
    };
    if let Some(places) = known.get(wanted) {
        return Some(format!("`{wanted}` is a {what} of {}", named(places)));
    }
    let near = nearest(wanted, known.keys().map(String::as_str), NEAR_MAX);
    let told = match error.get(told) {
        Some(ContextValue::String(one)) => std::slice::from_ref(one),
        Some(ContextValue::Strings(several)) => several,
        _ => &[],
    };
    if near.first().is_some_and(|nearest| told.contains(nearest)) {
        return None;
    }
    let near: Vec<String> = near
        .iter()
        .filter_map(|name| Some(format!("`{name}` of {}", named(known.get(name)?))))
        .collect();
    match near.as_slice() {
        [] => None,
        [one] => Some(format!("The nearest {what} is {one}")),
        several => Some(format!("The nearest {what}s are {}", several.join(", and "))),
    }
}

/// A list of commands, by their names.
fn named(places: &[String]) -> String {
    let shown: Vec<String> = places
        .iter()
        .take(COMMANDS_MAX)
        .map(|place| format!("`{place}`"))
        .collect();
    match places.len().saturating_sub(COMMANDS_MAX) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// Every flag, with the commands that accept it.
fn flags(command: &clap::Command) -> BTreeMap<String, Vec<String>> {
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    each(command, command.get_name(), &mut |path, one| {
        if one.has_subcommands() {
            return;
        }
        for arg in one.get_arguments() {
            for long in arg.get_long_and_visible_aliases().into_iter().flatten() {
                found.entry(format!("--{long}")).or_default().push(path.to_owned());
            }
        }
    });
    found
}

/// Every command by its last name, with the names before it.
fn commands(command: &clap::Command) -> BTreeMap<String, Vec<String>> {
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    each(command, command.get_name(), &mut |path, one| {
        if let Some((before, _)) = path.rsplit_once(' ') {
            found
                .entry(one.get_name().to_owned())
                .or_default()
                .push(before.to_owned());
        }
    });
    found
}

/// Visits every command with its full name.
fn each(command: &clap::Command, path: &str, visit: &mut impl FnMut(&str, &clap::Command)) {
    visit(path, command);
    for child in command.get_subcommands().filter(|child| child.get_name() != "help") {
        each(child, &format!("{path} {}", child.get_name()), visit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hinted(line: &str) -> Option<String> {
        let command = super::super::command();
        let error = command.clone().try_get_matches_from(line.split(' ')).unwrap_err();
        hint(&error, &command)
    }

    #[test]
    fn a_flag_of_another_command_is_named_with_it() {
        let hint = hinted("hookwright webhooks list --missed").unwrap();
        assert_eq!(hint, "`--missed` is a flag of `hookwright replays create`");
        let hint = hinted("hookwright webhooks list --state=failed").unwrap();
        assert!(hint.contains("`hookwright deliveries list`"), "{hint}");
        let hint = hinted("hookwright organizations create acme --json-line x").unwrap();
        assert!(
            hint.starts_with("The nearest flags are `--json-lines` of `hookwright publish`"),
            "{hint}"
        );
    }

    #[test]
    fn a_command_of_another_group_is_named_with_it() {
        let hint = hinted("hookwright reveal-secret wh_1").unwrap();
        assert_eq!(hint, "`reveal-secret` is a command of `hookwright webhooks`");
        let hint = hinted("hookwright nodes wach").unwrap();
        assert!(hint.contains("`watch` of `hookwright deliveries`"), "{hint}");
    }

    #[test]
    fn hints_of_the_parser_are_not_repeated() {
        assert_eq!(hinted("hookwright webhooks lst"), None);
        assert_eq!(hinted("hookwright --help"), None);
    }
}
