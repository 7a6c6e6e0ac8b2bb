//! `NodeService`.

use hookwright_proto::v1::{ListNodesRequest, ListNodesResponse, Node, node::State, node_service_server::NodeService};
use hookwright_storage::nodes::{NodeRow, NodeState};
use tonic::{Request, Response, Status};

use super::{Api, page, time::timestamp};
use crate::app::nodes::NodeView;

#[tonic::async_trait]
impl NodeService for Api {
    async fn list_nodes(&self, request: Request<ListNodesRequest>) -> Result<Response<ListNodesResponse>, Status> {
        let caller = self.caller(&request)?;
        let request = request.get_ref();
        let arguments = page::Arguments::new(&["ListNodes"]);
        let after = arguments
            .place(&request.page_token)?
            .and_then(|place| place.parse().ok());
        let (nodes, next) = self
            .app
            .list_nodes(&caller, after, page::size(request.page_size)?)
            .await?;
        Ok(Response::new(ListNodesResponse {
            nodes: nodes.into_iter().map(node).collect(),
            next_page_token: arguments.token(next.as_deref()),
        }))
    }
}

fn node(view: NodeView) -> Node {
    let NodeView { row, leased, answering } = view;
    Node {
        name: format!("nodes/{}", row.number),
        state: state(&row).into(),
        epoch: row.epoch,
        start_time: Some(timestamp(row.started_at)),
        heartbeat_time: leased.then(|| timestamp(row.heartbeat_at)),
        lease_expire_time: leased.then(|| timestamp(row.lease_until)),
        deliveries_in_memory: row.deliveries_in_memory,
        deliveries_waiting: row.deliveries_waiting,
        attempts_under_way: row.attempts_in_flight,
        stalled_since_time: row.oldest_due_at.map(timestamp),
        display_name: row.name,
        version: row.version,
        grpc_address: row.grpc_address,
        answering,
    }
}

fn state(row: &NodeRow) -> State {
    match row.state {
        NodeState::Lost => State::Lost,
        NodeState::Serving | NodeState::Draining if row.expired => State::Silent,
        NodeState::Serving => State::Serving,
        NodeState::Draining => State::Draining,
        NodeState::Free => State::Unspecified,
    }
}
