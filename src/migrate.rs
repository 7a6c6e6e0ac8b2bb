//! `hookwright migrate`.

use std::process::ExitCode;

use clap::Args;

use crate::{
    output, serve,
    settings::{Effective, SettingsArgs, process_environment},
};

/// Migrate the store's schema and exit
///
/// `serve` does the same at startup. Run it separately if the server's database user may not change the schema.
#[derive(Args, Debug)]
pub(crate) struct MigrateArgs {
    #[command(flatten)]
    settings: SettingsArgs,
}

/// Migrates, and prints the result.
pub(crate) fn run(args: &MigrateArgs) -> anyhow::Result<ExitCode> {
    let effective = Effective::load(&args.settings, &process_environment)?;
    let line = serve::runtime()?.block_on(Box::pin(hookwright_server::migrate(effective.options)))?;
    output::print(&line)?;
    Ok(ExitCode::SUCCESS)
}
