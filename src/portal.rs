//! `hookwright portal ...`.

use std::{process::ExitCode, time::Duration};

use clap::{Args, Subcommand};
use hookwright_proto::v1::{CreatePortalLinkRequest, CreatePortalLinkResponse, RevokePortalLinkRequest};

use crate::{
    client::{
        Client,
        names::{self, OrganizationArgs},
    },
    output,
    units::parse_duration,
};

const EXAMPLES: &str = "\
Examples:
  hookwright portal link --organization acme
  hookwright portal link --organization acme --read-only --ttl 15m --return-url https://app.example/settings";

/// The portal commands.
#[derive(Debug, Subcommand)]
pub(crate) enum PortalCommand {
    /// Create a link that gives a customer short-term access to one organization in the console
    Link(LinkArgs),
    /// Revoke one link, and end its sessions
    Revoke {
        /// `lnk_...` or `portalLinks/lnk_...`
        link: String,
        #[command(flatten)]
        organization: OrganizationArgs,
    },
}

/// The link to create.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct LinkArgs {
    #[command(flatten)]
    organization: OrganizationArgs,
    /// Lifetime of the link, 1m to 24h [default: 1h]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    ttl: Option<Duration>,
    /// Let the customer view only, and change nothing
    #[arg(long)]
    read_only: bool,
    /// Target of the console's link back to your application
    #[arg(long, value_name = "URL", default_value = "", hide_default_value = true)]
    return_url: String,
}

/// Runs the command.
pub(crate) async fn run(client: Client, command: PortalCommand) -> anyhow::Result<ExitCode> {
    let args = match command {
        PortalCommand::Link(args) => args,
        PortalCommand::Revoke { link, organization } => return revoke(&client, &link, &organization).await,
    };
    let request = CreatePortalLinkRequest {
        organization: client.parent(&args.organization)?,
        ttl: args.ttl.map(prost_types::Duration::try_from).transpose()?,
        read_only: args.read_only,
        return_url: args.return_url,
    };
    let link = client.portal().create_portal_link(request).await?.into_inner();
    client.output.message("CreatePortalLinkResponse", &link, show)?;
    Ok(ExitCode::SUCCESS)
}

async fn revoke(client: &Client, link: &str, organization: &OrganizationArgs) -> anyhow::Result<ExitCode> {
    let name = format!("portalLinks/{}", names::id(link));
    let request = RevokePortalLinkRequest {
        name: name.clone(),
        organization: client.parent(organization)?,
    };
    client.portal().revoke_portal_link(request).await?;
    client.output.done(&format!("Revoked {name}."))?;
    Ok(ExitCode::SUCCESS)
}

fn show(link: &CreatePortalLinkResponse) -> String {
    output::fields(vec![
        ("link", names::id(&link.portal_link).to_owned()),
        ("expires", output::time(link.expire_time.as_ref())),
        ("url", link.url.clone()),
    ])
}
