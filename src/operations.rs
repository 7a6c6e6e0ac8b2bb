//! `hookwright operations ...`, and the output of other commands about operations that they start.

mod follow;
mod show;

use std::process::ExitCode;

use clap::{Args, Subcommand};
use hookwright_proto::v1::{
    CancelOperationRequest, GetOperationRequest, ListOperationsRequest, ListOperationsResponse,
};
use tonic::metadata::MetadataMap;

use crate::{
    client::{
        Client, names,
        pages::{LimitArgs, collect},
    },
    output::{self, List},
};

/// The response metadata that names the operation that a call started.
const OPERATION: &str = "hookwright-operation";

/// The operation commands.
#[derive(Debug, Subcommand)]
pub(crate) enum OperationsCommand {
    /// Show one operation with its progress
    Get(Which),
    /// List operations, newest first, including finished ones
    List {
        /// Only operations of this organization: `acme` or `organizations/acme`
        #[arg(long, value_name = "ORGANIZATION")]
        organization: Option<String>,
        #[command(flatten)]
        limit: LimitArgs,
    },
    /// Stop discarding a backlog; deliveries that are not cancelled yet are sent
    Cancel(Which),
}

/// One operation.
#[derive(Args, Debug)]
pub(crate) struct Which {
    /// `op_...` or `operations/op_...`
    #[arg(value_name = "OPERATION")]
    name: String,
}

impl Which {
    fn full(&self) -> String {
        format!(
            "operations/{}",
            self.name.strip_prefix("operations/").unwrap_or(&self.name)
        )
    }
}

/// Whether to wait for the operation that a command starts.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct WaitArgs {
    /// Wait until the operation that cancels a large backlog has ended, and exit with 1 unless it succeeded
    #[arg(long)]
    wait: bool,
}

/// Runs the command.
pub(crate) async fn run(client: Client, command: OperationsCommand) -> anyhow::Result<ExitCode> {
    let mut service = client.operations();
    let operation = match command {
        OperationsCommand::List { organization, limit } => {
            list(&client, organization.as_deref(), limit).await?;
            return Ok(ExitCode::SUCCESS);
        }
        OperationsCommand::Get(which) => {
            let request = GetOperationRequest { name: which.full() };
            service.get_operation(request).await?.into_inner()
        }
        OperationsCommand::Cancel(which) => {
            let request = CancelOperationRequest { name: which.full() };
            let response = service.cancel_operation(request).await?.into_inner();
            response.operation.unwrap_or_default()
        }
    };
    client.output.message("Operation", &operation, show::operation)?;
    Ok(ExitCode::SUCCESS)
}

/// Prints the operation that a call started, if any, on standard error, and waits for its end if requested.
pub(crate) async fn after(client: &Client, metadata: &MetadataMap, args: WaitArgs) -> anyhow::Result<ExitCode> {
    let Some(name) = metadata.get(OPERATION).and_then(|value| value.to_str().ok()) else {
        return Ok(ExitCode::SUCCESS);
    };
    output::note(&format!("An operation cancels the pending deliveries: {name}"));
    if args.wait {
        return follow::run(client, name).await;
    }
    output::note(&format!("Show it: hookwright operations get {name}"));
    Ok(ExitCode::SUCCESS)
}

async fn list(client: &Client, organization: Option<&str>, limit: LimitArgs) -> anyhow::Result<()> {
    let service = client.operations();
    let organization = organization.map(names::organization).transpose()?.unwrap_or_default();
    let (operations, rest) = collect(limit.limit, |page_size, page_token| {
        let mut service = service.clone();
        let request = ListOperationsRequest {
            organization: organization.clone(),
            page_size,
            page_token,
        };
        async move {
            let page = service.list_operations(request).await?.into_inner();
            Ok((page.operations, page.next_page_token))
        }
    })
    .await?;
    let list = List {
        length: operations.len(),
        rest: &rest.clone(),
        empty: "No operations. An operation starts, for example, when a webhook with many pending deliveries is deleted.",
    };
    let response = ListOperationsResponse {
        operations,
        next_page_token: rest,
    };
    client
        .output
        .list("ListOperationsResponse", &response, list, |response| {
            show::table(&response.operations)
        })
}
