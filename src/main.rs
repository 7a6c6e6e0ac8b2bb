//! `hookwright`: the server and its command line. This file only wires; each subcommand has its own file.

mod audit;
mod cli;
mod client;
mod completions;
mod config;
mod deliveries;
mod demo;
mod event_types;
mod events;
mod installation;
mod interrupt;
mod listen;
mod migrate;
mod nodes;
mod operations;
mod organizations;
mod output;
mod portal;
mod problems;
mod profiles;
mod progress;
mod publish;
mod relay;
mod replays;
mod serve;
mod settings;
mod tokens;
mod units;
mod webhooks;

use std::process::ExitCode;

use clap::FromArgMatches as _;
use cli::{Cli, Command};

/// Memory is mostly freed on another thread than the one that allocated it: this allocator does that without locks.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let command = cli::command();
    let parsed = command.clone().try_get_matches();
    let cli = match parsed.and_then(|matches| Cli::from_arg_matches(&matches)) {
        Ok(cli) => cli,
        Err(error) => return cli::hints::report(&error, &command),
    };
    let root = cli.client;
    let result = match cli.command {
        Command::Serve(args) => serve::run(&args),
        Command::Migrate(args) => migrate::run(&args),
        Command::Config(args) => config::run(&args),
        Command::Completions(args) => completions::run(&args, &mut cli::command()),
        Command::Listen(args) => listen::run(args, root),
        Command::Demo(args) => demo::run(args),
        Command::Organizations(group) => client::run(group.client.or(root), |client| {
            organizations::run(client, group.command)
        }),
        Command::EventTypes(group) => {
            client::run(group.client.or(root), |client| event_types::run(client, group.command))
        }
        Command::Webhooks(group) => client::run(group.client.or(root), |client| webhooks::run(client, group.command)),
        Command::Publish(args) => client::run(args.client.clone().or(root), |client| publish::run(client, args)),
        Command::Relay(args) => relay::run(args, root),
        Command::Events(group) => client::run(group.client.or(root), |client| events::run(client, group.command)),
        Command::Operations(group) => {
            client::run(group.client.or(root), |client| operations::run(client, group.command))
        }
        Command::Replays(group) => client::run(group.client.or(root), |client| replays::run(client, group.command)),
        Command::Profiles(args) => profiles::run(args, &root),
        Command::Tokens(group) => client::run(group.client.or(root), |client| tokens::run(client, group.command)),
        Command::Audit(group) => client::run(group.client.or(root), |client| audit::run(client, group.command)),
        Command::Portal(group) => client::run(group.client.or(root), |client| portal::run(client, group.command)),
        Command::Installation(group) => {
            client::run(group.client.or(root), |client| installation::run(client, group.command))
        }
        Command::Status(args) => client::run(args.client.clone().or(root), |client| problems::status(client, args)),
        Command::Nodes(group) => client::run(group.client.or(root), |client| nodes::run(client, group.command)),
        Command::Deliveries(group) => {
            client::run(group.client.or(root), |client| deliveries::run(client, group.command))
        }
    };
    result.unwrap_or_else(|error| client::failure::report(&error))
}
