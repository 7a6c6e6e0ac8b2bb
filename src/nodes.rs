//! `hookwright nodes ...`.

use std::process::ExitCode;

use clap::Subcommand;
use hookwright_proto::v1::{ListNodesRequest, ListNodesResponse, Node, node::State};

use crate::{
    client::{
        Client,
        pages::{LimitArgs, collect},
    },
    output::{self, List},
};

/// The node commands.
#[derive(Debug, Subcommand)]
pub(crate) enum NodesCommand {
    /// List the servers of the installation, with their load and lag
    List {
        #[command(flatten)]
        limit: LimitArgs,
    },
}

/// Runs the command.
pub(crate) async fn run(client: Client, command: NodesCommand) -> anyhow::Result<ExitCode> {
    let NodesCommand::List { limit } = command;
    let service = client.nodes();
    let (nodes, rest) = collect(limit.limit, |page_size, page_token| {
        let mut service = service.clone();
        async move {
            let request = ListNodesRequest { page_size, page_token };
            let page = service.list_nodes(request).await?.into_inner();
            Ok((page.nodes, page.next_page_token))
        }
    })
    .await?;
    let list = List {
        length: nodes.len(),
        rest: &rest.clone(),
        empty: "There are no nodes, not even the answering one. Try again.",
    };
    let response = ListNodesResponse {
        nodes,
        next_page_token: rest,
    };
    client.output.list("ListNodesResponse", &response, list, |response| {
        let headings = [
            "NODE",
            "NAME",
            "STATE",
            "QUEUED",
            "BACKLOG",
            "IN FLIGHT",
            "STALLED SINCE",
            "HEARTBEAT",
            "ADDRESS",
        ];
        output::table(&headings, response.nodes.iter().map(row).collect())
    })?;
    Ok(ExitCode::SUCCESS)
}

fn row(node: &Node) -> Vec<String> {
    let number = node.name.trim_start_matches("nodes/");
    let answering = if node.answering { "*" } else { "" };
    let state = match node.state() {
        State::Serving => "serving",
        State::Draining => "draining",
        State::Silent => "silent",
        State::Lost => "lost",
        State::Unspecified => "unknown",
    };
    vec![
        format!("{number}{answering}"),
        node.display_name.clone(),
        state.to_owned(),
        node.deliveries_in_memory.to_string(),
        node.deliveries_waiting.to_string(),
        node.attempts_under_way.to_string(),
        output::time(node.stalled_since_time.as_ref()),
        output::time(node.heartbeat_time.as_ref()),
        node.grpc_address.clone(),
    ]
}
