//! `hookwright organizations ...`.

use std::process::ExitCode;

use clap::Subcommand;
use hookwright_proto::v1::{
    CreateOrganizationRequest, DeleteOrganizationRequest, GetOrganizationRequest, ListOrganizationsRequest,
    ListOrganizationsResponse, Organization, UpdateOrganizationRequest,
};
use prost_types::FieldMask;

use crate::{
    client::{
        Client, names,
        pages::{LimitArgs, collect},
    },
    operations::{self, WaitArgs},
    output::{self, List},
};

/// The organization commands.
#[derive(Debug, Subcommand)]
pub(crate) enum OrganizationsCommand {
    /// Create an organization, for example: hookwright organizations create acme
    Create {
        /// Its id: 1 to 63 lower-case letters, digits and inner hyphens
        id: String,
        /// Display name, at most 200 characters
        #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
        display_name: String,
    },
    /// Show one organization
    Get {
        /// `acme` or `organizations/acme`
        organization: String,
    },
    /// List organizations, sorted by name
    List {
        /// Only organizations whose id begins with this prefix, for example `acme-`
        #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
        prefix: String,
        #[command(flatten)]
        limit: LimitArgs,
    },
    /// Change an organization's display name
    Update {
        /// `acme` or `organizations/acme`
        organization: String,
        /// Display name, at most 200 characters; '' removes it
        #[arg(long, value_name = "TEXT")]
        display_name: String,
    },
    /// Delete an organization
    Delete {
        /// `acme` or `organizations/acme`
        organization: String,
        /// Delete its webhooks too, and cancel their pending deliveries
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        wait: WaitArgs,
    },
}

/// Runs the command.
pub(crate) async fn run(client: Client, command: OrganizationsCommand) -> anyhow::Result<ExitCode> {
    let mut service = client.organizations();
    match command {
        OrganizationsCommand::Create { id, display_name } => {
            let organization = Some(Organization {
                display_name,
                ..Organization::default()
            });
            let request = CreateOrganizationRequest {
                organization_id: id,
                organization,
            };
            let organization = service.create_organization(request).await?.into_inner();
            client.output.message("Organization", &organization, show)?;
        }
        OrganizationsCommand::Get { organization } => {
            let request = GetOrganizationRequest {
                name: names::organization(&organization)?,
            };
            let organization = service.get_organization(request).await?.into_inner();
            client.output.message("Organization", &organization, show)?;
        }
        OrganizationsCommand::Update {
            organization,
            display_name,
        } => {
            let request = UpdateOrganizationRequest {
                organization: Some(Organization {
                    name: names::organization(&organization)?,
                    display_name,
                    ..Organization::default()
                }),
                update_mask: Some(FieldMask {
                    paths: vec!["display_name".to_owned()],
                }),
            };
            let organization = service.update_organization(request).await?.into_inner();
            client.output.message("Organization", &organization, show)?;
        }
        OrganizationsCommand::List { prefix, limit } => list(&client, &prefix, limit).await?,
        OrganizationsCommand::Delete {
            organization,
            force,
            wait,
        } => {
            let name = names::organization(&organization)?;
            let deleted = service
                .delete_organization(DeleteOrganizationRequest {
                    name: name.clone(),
                    force,
                })
                .await?;
            client.output.done(&format!("Deleted {name}."))?;
            return operations::after(&client, deleted.metadata(), wait).await;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(client: &Client, prefix: &str, limit: LimitArgs) -> anyhow::Result<()> {
    let service = client.organizations();
    let (organizations, rest) = collect(limit.limit, |page_size, page_token| {
        let mut service = service.clone();
        let request = ListOrganizationsRequest {
            page_size,
            page_token,
            organization_id_prefix: prefix.to_owned(),
        };
        async move {
            let page = service.list_organizations(request).await?.into_inner();
            Ok((page.organizations, page.next_page_token))
        }
    })
    .await?;
    let list = List {
        length: organizations.len(),
        rest: &rest.clone(),
        empty: if prefix.is_empty() {
            "No organizations yet. Create one: hookwright organizations create acme"
        } else {
            "No organization has an id with this prefix."
        },
    };
    let response = ListOrganizationsResponse {
        organizations,
        next_page_token: rest,
    };
    client
        .output
        .list("ListOrganizationsResponse", &response, list, |response| {
            let rows = response.organizations.iter().map(|one| {
                vec![
                    names::id(&one.name).to_owned(),
                    one.display_name.clone(),
                    output::time(one.create_time.as_ref()),
                ]
            });
            output::table(&["ORGANIZATION", "DISPLAY NAME", "CREATED"], rows.collect())
        })
}

fn show(organization: &Organization) -> String {
    output::fields(vec![
        ("organization", names::id(&organization.name).to_owned()),
        ("name", organization.name.clone()),
        ("display name", organization.display_name.clone()),
        ("created", output::time(organization.create_time.as_ref())),
        ("updated", output::time(organization.update_time.as_ref())),
    ])
}
