//! Tests that every call of the API has a command, and every resource command uses a call.

use std::collections::BTreeSet;

use prost::Message as _;
use prost_types::FileDescriptorSet;

/// The calls, each with its command.
const COMMANDS: &[(&str, &str)] = &[
    ("OrganizationService/CreateOrganization", "organizations create"),
    ("OrganizationService/GetOrganization", "organizations get"),
    ("OrganizationService/ListOrganizations", "organizations list"),
    ("OrganizationService/UpdateOrganization", "organizations update"),
    ("OrganizationService/DeleteOrganization", "organizations delete"),
    ("EventTypeService/CreateEventType", "event-types create"),
    ("EventTypeService/GetEventType", "event-types get"),
    ("EventTypeService/ListEventTypes", "event-types list"),
    ("EventTypeService/UpdateEventType", "event-types update"),
    ("EventTypeService/ListEventTypeSchemas", "event-types schemas"),
    ("EventTypeService/ArchiveEventType", "event-types archive"),
    ("EventTypeService/UnarchiveEventType", "event-types unarchive"),
    ("EventTypeService/DeleteEventType", "event-types delete"),
    ("WebhookService/CreateWebhook", "webhooks create"),
    ("WebhookService/GetWebhook", "webhooks get"),
    ("WebhookService/ListWebhooks", "webhooks list"),
    ("WebhookService/UpdateWebhook", "webhooks update"),
    ("WebhookService/UpdateWebhook", "webhooks pause"),
    ("WebhookService/ResumeWebhook", "webhooks resume"),
    ("WebhookService/DeleteWebhook", "webhooks delete"),
    ("WebhookService/PingWebhook", "webhooks ping"),
    ("WebhookService/CheckWebhookUrl", "webhooks check-url"),
    ("WebhookService/TestWebhookFilter", "webhooks test-filter"),
    ("WebhookService/RotateSigningSecret", "webhooks rotate-secret"),
    (
        "WebhookService/CompleteSigningSecretRotation",
        "webhooks complete-rotation",
    ),
    ("WebhookService/RevealSigningSecret", "webhooks reveal-secret"),
    ("EventService/PublishEvent", "publish"),
    ("EventService/BatchPublishEvents", "publish"),
    ("EventService/PublishStream", "publish"),
    ("EventService/GetEvent", "events get"),
    ("EventService/ListEvents", "events list"),
    ("EventService/ExplainEvent", "events explain"),
    ("DeliveryService/GetDelivery", "deliveries get"),
    ("DeliveryService/ListDeliveries", "deliveries list"),
    ("DeliveryService/ListAttempts", "deliveries attempts"),
    ("DeliveryService/SkipDelivery", "deliveries skip"),
    ("DeliveryService/CancelDelivery", "deliveries cancel"),
    ("DeliveryService/RetryDelivery", "deliveries retry"),
    ("DeliveryService/ReplayDelivery", "deliveries replay"),
    ("DeliveryService/WatchDeliveries", "deliveries watch"),
    ("DeliveryService/QueryDeliveryStats", "deliveries stats"),
    ("ReplayService/ReplayDeliveries", "replays create"),
    ("ReplayService/GetReplay", "replays get"),
    ("ReplayService/GetReplay", "replays follow"),
    ("ReplayService/ListReplays", "replays list"),
    ("ReplayService/CancelReplay", "replays cancel"),
    ("OperationService/GetOperation", "operations get"),
    ("OperationService/ListOperations", "operations list"),
    ("OperationService/CancelOperation", "operations cancel"),
    ("PullService/PullDeliveries", "deliveries pull"),
    ("PullService/AcknowledgeDeliveries", "deliveries acknowledge"),
    ("PullService/ExtendDeliveries", "deliveries extend"),
    ("NodeService/ListNodes", "nodes list"),
    ("TokenService/CreateToken", "tokens create"),
    ("TokenService/GetToken", "tokens get"),
    ("TokenService/ListTokens", "tokens list"),
    ("TokenService/RevokeToken", "tokens revoke"),
    ("AuditService/ListAuditEntries", "audit list"),
    ("PortalService/CreatePortalLink", "portal link"),
    ("PortalService/RevokePortalLink", "portal revoke"),
    ("InstallationService/GetInstallation", "installation get"),
    ("InstallationService/ListProblems", "installation problems"),
    ("InstallationService/ListProblems", "status"),
];

/// Commands that are not for a resource of the API.
const OTHERS: &[&str] = &[
    "serve",
    "migrate",
    "config",
    "listen",
    "demo",
    "completions",
    "relay init",
    "relay status",
    "relay retry-failed",
    "profiles list",
    "profiles show",
    "profiles set",
    "profiles remove",
    "profiles use",
];

/// The runnable commands, by their full names.
fn leaves() -> BTreeSet<String> {
    fn collect(command: &clap::Command, path: &str, leaves: &mut BTreeSet<String>) {
        for child in command.get_subcommands().filter(|child| child.get_name() != "help") {
            let path = format!("{path} {}", child.get_name()).trim().to_owned();
            if child.has_subcommands() {
                collect(child, &path, leaves);
            } else {
                leaves.insert(path);
            }
        }
    }
    let mut leaves = BTreeSet::new();
    collect(&super::command(), "", &mut leaves);
    leaves
}

/// The calls of the API, `SERVICE/METHOD`.
fn calls() -> BTreeSet<String> {
    let set = FileDescriptorSet::decode(hookwright_proto::FILE_DESCRIPTOR_SET).unwrap();
    let files = set.file.iter().filter(|file| file.package() == "hookwright.v1");
    let services = files.flat_map(|file| &file.service);
    services
        .flat_map(|service| {
            service
                .method
                .iter()
                .map(|method| format!("{}/{}", service.name(), method.name()))
        })
        .collect()
}

#[test]
fn every_call_has_a_command_and_every_command_a_call() {
    let named = |names: &mut dyn Iterator<Item = &str>| names.map(str::to_owned).collect::<BTreeSet<_>>();
    assert_eq!(calls(), named(&mut COMMANDS.iter().map(|(call, _)| *call)));
    let with_call = COMMANDS.iter().map(|(_, command)| *command);
    assert_eq!(leaves(), named(&mut with_call.chain(OTHERS.iter().copied())));
}

/// Every command needs a description, every flag a help text, and commands with many flags an example.
#[test]
fn every_command_and_flag_is_explained() {
    fn check(command: &clap::Command, path: &str) {
        let path = format!("{path} {}", command.get_name());
        assert!(command.get_about().is_some(), "{path} has no description");
        let own = |arg: &&clap::Arg| !matches!(arg.get_id().as_str(), "help" | "version");
        for arg in command.get_arguments().filter(own) {
            let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
            assert!(!help.is_empty(), "{path}: {} is not explained", arg.get_id());
            assert!(
                !help.ends_with('.'),
                "{path}: {}: `{help}` ends in a full stop",
                arg.get_id()
            );
        }
        let flags = command
            .get_arguments()
            .filter(|arg| !super::ClientArgs::owns(arg.get_id().as_str()));
        let many = flags.count() > 5 && !command.has_subcommands() && command.get_name() != "migrate";
        let explained = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        assert!(
            !many || explained.contains("Examples:"),
            "{path} has many flags and no example"
        );
        for child in command.get_subcommands().filter(|child| child.get_name() != "help") {
            check(child, &path);
        }
    }
    check(&super::command(), "");
}

/// A flag has the same meaning in all commands, so its completion and help are the same.
#[test]
fn arguments_with_a_list_of_values_complete_in_shells() {
    let command = super::command();
    let values = |path: &[&str], flag: &str| {
        let command = path
            .iter()
            .fold(&command, |command, name| command.find_subcommand(name).unwrap());
        let arg = command
            .get_arguments()
            .find(|arg| arg.get_long() == Some(flag))
            .unwrap();
        arg.get_possible_values()
            .iter()
            .map(|value| value.get_name().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(values(&["deliveries"], "output"), ["table", "json", "yaml"]);
    assert_eq!(values(&["deliveries", "stats"], "period"), ["minute", "hour"]);
    for path in [["deliveries", "list"], ["deliveries", "watch"], ["replays", "create"]] {
        assert!(values(&path, "state").contains(&"failed".to_owned()), "{path:?}");
        assert!(values(&path, "error").contains(&"tls_name".to_owned()), "{path:?}");
    }
    assert_eq!(values(&["profiles", "set"], "unset").len(), 6);
}

/// Every command that the console's empty pages suggest must parse.
#[test]
fn commands_in_the_console_can_be_run() {
    let templates = concat!(env!("CARGO_MANIFEST_DIR"), "/crates/server/templates");
    let mut told = 0;
    for file in std::fs::read_dir(templates).unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        for part in text.split("<code>hookwright ").skip(1) {
            let command = plain(part.split("</code>").next().unwrap());
            let script = format!("for word in {command}; do printf '%s\\0' \"$word\"; done");
            let words = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
            let words = String::from_utf8(words.stdout).unwrap();
            let words = std::iter::once("hookwright").chain(words.split_terminator('\0'));
            let taken = super::command().try_get_matches_from(words);
            // A command that is only named lacks its required arguments.
            let named = matches!(&taken, Err(error) if error.kind() == clap::error::ErrorKind::MissingRequiredArgument);
            assert!(
                taken.is_ok() || named && !command.contains(" -"),
                "{command}: {:?}",
                taken.err()
            );
            told += 1;
        }
    }
    assert!(told >= 8, "{told} commands are told");
}

/// Every command in the guides and READMEs must parse. `tests/e2e/guides.rs` runs those that need a server.
#[test]
fn commands_in_the_guides_can_be_run() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let guides = std::fs::read_dir(root.join("docs/guides"))
        .unwrap()
        .map(|file| file.unwrap().path());
    let mut told = 0;
    for page in guides.chain([root.join("README.md"), root.join("docs/guarantees.md")]) {
        let text = std::fs::read_to_string(&page).unwrap().replace("\\\n", " ");
        for line in text.lines() {
            let Some(command) = line
                .strip_prefix("    ")
                .or_else(|| line.strip_prefix("hookwright ").map(|_| line))
            else {
                continue;
            };
            let Some(at) = command.find("hookwright ").filter(|at| begins_command(&command[..*at])) else {
                continue;
            };
            // The shell splits the line; the rest of the line does not run.
            let command = &command[at + "hookwright ".len()..];
            let script = format!("words() {{ printf '%s\\0' \"$@\"; }}; words {command}");
            let script = script
                .split(" | ")
                .next()
                .unwrap()
                .replace("\"$COPY_URL\"", "sqlite://x");
            let words = std::process::Command::new("bash")
                .args(["-c", &script])
                .output()
                .unwrap();
            let words = String::from_utf8(words.stdout).unwrap();
            let words = std::iter::once("hookwright").chain(words.split_terminator('\0'));
            let taken = super::command().try_get_matches_from(words);
            assert!(taken.is_ok(), "{}: {command}: {}", page.display(), taken.unwrap_err());
            told += 1;
        }
    }
    assert!(told >= 55, "{told} commands are told");
}

/// Whether the text before a command on its line is empty, a path, variables, or a program that consumes its output.
fn begins_command(before: &str) -> bool {
    let words = before.split_whitespace();
    before.is_empty()
        || before.ends_with('/')
        || before.ends_with("| ")
        || words.clone().count() > 0 && words.clone().all(|word| word.contains('=') && !word.starts_with('-'))
}

/// A part of a template as a reader sees it, with `acme` for its variables.
fn plain(template: &str) -> String {
    let mut plain = String::new();
    let mut rest = template;
    while let Some(at) = rest.find(['{']) {
        let (before, code) = rest.split_at(at);
        plain.push_str(before);
        let (end, shown) = match &code[..2] {
            "{{" => ("}}", "acme"),
            "{%" => ("%}", ""),
            _ => ("{", "{"),
        };
        plain.push_str(shown);
        rest = &code[code.find(end).unwrap() + end.len()..];
    }
    plain + rest
}
