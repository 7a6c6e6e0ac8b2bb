//! `hookwright installation ...`.

use std::process::ExitCode;

use clap::Subcommand;
use hookwright_proto::v1::{GetInstallationRequest, Installation, Setting};

use crate::{
    client::Client,
    output,
    problems::{self, ProblemsArgs},
};

/// The installation commands.
#[derive(Debug, Subcommand)]
pub(crate) enum InstallationCommand {
    /// Show the version of the installation, and the current settings of the answering server
    Get,
    /// List problems that need attention: webhooks that are disabled, failing or paused, and blocked ordering keys
    Problems(ProblemsArgs),
}

/// Runs the command.
pub(crate) async fn run(client: Client, command: InstallationCommand) -> anyhow::Result<ExitCode> {
    if let InstallationCommand::Problems(args) = command {
        problems::list(&client, args).await?;
        return Ok(ExitCode::SUCCESS);
    }
    let request = GetInstallationRequest::default();
    let installation = client.installation().get_installation(request).await?.into_inner();
    client.output.message("Installation", &installation, show)?;
    Ok(ExitCode::SUCCESS)
}

fn show(installation: &Installation) -> String {
    let fields = output::fields(vec![
        ("version", installation.version.clone()),
        ("commit", installation.commit.clone()),
        (
            "store",
            output::enum_name(installation.store().as_str_name(), "STORE_KIND_"),
        ),
        ("nodes", installation.node_count.to_string()),
        ("answered by", installation.node.clone()),
        ("started", output::time(installation.start_time.as_ref())),
    ]);
    let settings = installation.settings.iter().map(|setting| {
        let value = if setting.values.is_empty() {
            "(none)".to_owned()
        } else {
            setting.values.join(", ")
        };
        vec![setting.name.clone(), value, origin(setting)]
    });
    let table = output::table(&["SETTING", "VALUE", "ORIGIN"], settings.collect());
    format!("{fields}\n\n{table}")
}

fn origin(setting: &Setting) -> String {
    let kind = output::enum_name(setting.origin().as_str_name(), "SETTING_ORIGIN_");
    format!("{kind} {}", setting.source).trim_end().to_owned()
}
