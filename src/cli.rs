//! The definition of the whole command line.

use clap::{Args, CommandFactory as _, Parser, Subcommand, builder::Str};

use crate::{
    audit::AuditCommand, client::ClientArgs, completions::CompletionsArgs, config::ConfigArgs,
    deliveries::DeliveriesCommand, demo::DemoArgs, event_types::EventTypesCommand, events::EventsCommand,
    installation::InstallationCommand, listen::ListenArgs, migrate::MigrateArgs, nodes::NodesCommand,
    operations::OperationsCommand, organizations::OrganizationsCommand, portal::PortalCommand, problems::StatusArgs,
    profiles::ProfilesArgs, publish::PublishArgs, relay::RelayArgs, replays::ReplaysCommand, serve::ServeArgs,
    tokens::TokensCommand, webhooks::WebhooksCommand,
};

const EXAMPLES: &str = "\
Examples:
  hookwright demo
      Show a signed webhook arriving, without any setup.
  hookwright serve --allow-target 127.0.0.0/8
      Start the server with its embedded store; webhooks may target this machine.
  hookwright organizations create acme
  hookwright webhooks create --organization acme --event-type clocking \\
      --payload-url http://127.0.0.1:4567/payload
  hookwright listen --secret whsec_...
  hookwright publish --organization acme --event-type clocking --json @clocking.json
      Create a webhook, receive its requests in another terminal, and publish.
  hookwright deliveries watch --organization acme
      Watch deliveries live.
  hookwright listen --forward-to http://localhost:3000/hook --organization acme
      Forward an organization's deliveries to a program on this machine.

Exit status: 0 success; 1 the operation failed; 2 usage error; 130 Ctrl-C while following a replay or an operation, which continues.";

/// Durable webhook delivery: publish events over gRPC, and every subscribed webhook receives a signed POST
#[derive(Debug, Parser)]
#[command(name = "hookwright", version = version(), after_help = EXAMPLES, arg_required_else_help = true, max_term_width = 120)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) client: ClientArgs,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the server
    Serve(ServeArgs),
    /// Migrate the store's schema and exit
    Migrate(MigrateArgs),
    /// Show the settings that a server started here would have, and their origins
    Config(ConfigArgs),
    /// Receive webhooks on this machine, verify and print them
    Listen(ListenArgs),
    /// Run a demo: start a server and a receiver, publish an event and show its signed delivery
    Demo(DemoArgs),
    /// Create, list, rename and delete organizations, the tenants of an installation
    Organizations(Group<OrganizationsCommand>),
    /// Register, list, archive and delete event types
    EventTypes(Group<EventTypesCommand>),
    /// Create, change and test webhooks
    Webhooks(Group<WebhooksCommand>),
    /// Publish events
    Publish(PublishArgs),
    /// Publish events from an outbox table in your own PostgreSQL, each exactly once
    Relay(RelayArgs),
    /// List and explain published events
    Events(Group<EventsCommand>),
    /// List, watch, retry and cancel deliveries
    Deliveries(Group<DeliveriesCommand>),
    /// Replay many deliveries
    Replays(Group<ReplaysCommand>),
    /// List and cancel operations: long-running work on many deliveries, such as discarding a backlog
    Operations(Group<OperationsCommand>),
    /// Create, list and revoke API tokens
    Tokens(Group<TokensCommand>),
    /// List who changed what
    Audit(Group<AuditCommand>),
    /// Create and revoke portal links, which give customers access to the console
    Portal(Group<PortalCommand>),
    /// Show the version and settings of the installation
    Installation(Group<InstallationCommand>),
    /// List problems that need attention, and exit with 1 if there are any
    Status(StatusArgs),
    /// List the servers of the installation
    Nodes(Group<NodesCommand>),
    /// Manage profiles, which store connection settings under names
    Profiles(ProfilesArgs),
    /// Write a completion script for a shell
    Completions(CompletionsArgs),
}

/// Commands for one kind of resource, over gRPC.
#[derive(Debug, Args)]
#[command(arg_required_else_help = true)]
pub(crate) struct Group<C: Subcommand> {
    #[command(flatten)]
    pub(crate) client: ClientArgs,
    #[command(subcommand)]
    pub(crate) command: C,
}

/// The command line. Connection flags may stand before or after every client command. They are not global to the program,
/// because `serve` and `listen` have flags of the same names with another meaning.
pub(crate) fn command() -> clap::Command {
    Cli::command().mut_subcommands(|group| {
        if group.has_subcommands() && group.get_name() != "profiles" {
            group.mut_args(|arg| {
                if ClientArgs::owns(arg.get_id().as_str()) {
                    arg.global(true)
                } else {
                    arg
                }
            })
        } else {
            group
        }
    })
}

/// Version and commit. The build script stamps the commit.
fn version() -> Str {
    let version = env!("CARGO_PKG_VERSION");
    match option_env!("HOOKWRIGHT_COMMIT") {
        Some(commit) if !commit.is_empty() => format!("{version} ({commit})").into(),
        _ => version.into(),
    }
}

#[cfg(test)]
mod coverage;
pub(crate) mod hints;

#[cfg(test)]
mod tests {
    use clap::FromArgMatches as _;

    use super::*;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::from_arg_matches(&command().try_get_matches_from(line.split(' '))?)
    }

    #[test]
    fn the_definition_holds_together() {
        command().debug_assert();
    }

    #[test]
    fn connection_flags_stand_anywhere() {
        for line in [
            "hookwright --address http://h:1 organizations list",
            "hookwright organizations --address http://h:1 list",
            "hookwright organizations list --address http://h:1",
        ] {
            let cli = parse(line).unwrap();
            let Command::Organizations(group) = cli.command else {
                panic!("{line}")
            };
            assert_eq!(
                group.client.or(cli.client).address.as_deref(),
                Some("http://h:1"),
                "{line}"
            );
        }
    }

    #[test]
    fn listen_has_its_own_address() {
        let Command::Listen(args) = parse("hookwright listen --address 127.0.0.1:0").unwrap().command else {
            panic!()
        };
        assert_eq!(args.address.port(), 0);
    }
}
