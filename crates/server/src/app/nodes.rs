//! The nodes of the installation, for its operators.

use hookwright_delivery::clock;
use hookwright_storage::nodes::{NodeRow, NodeState};

use super::{
    App,
    access::{Caller, Scope},
    error::AppResult,
};

/// A node as callers see it.
#[derive(Clone, Debug)]
pub struct NodeView {
    /// The node.
    pub row: NodeRow,
    /// Whether it has a lease.
    pub leased: bool,
    /// Whether it is this server.
    pub answering: bool,
}

impl App {
    /// Nodes with numbers above `after`, sorted; and the position to continue from, if there are more.
    ///
    /// # Errors
    /// When the caller may not see them, or the store does not answer.
    pub async fn list_nodes(
        &self,
        caller: &Caller,
        after: Option<u16>,
        size: usize,
    ) -> AppResult<(Vec<NodeView>, Option<String>)> {
        caller.require(Scope::Admin)?;
        let leased = self.store.lease().is_some();
        let rows = if leased {
            self.store.nodes().await?
        } else {
            vec![self.only_node(self.store.count_waiting().await?)]
        };
        let views = rows
            .into_iter()
            .filter(|row| after.is_none_or(|after| row.number > after))
            .take(size + 1)
            .map(|row| NodeView {
                answering: row.number == self.store.node(),
                leased,
                row,
            });
        Ok(super::page(views.collect(), size, |view| view.row.number.to_string()))
    }

    /// The only server of an embedded store.
    fn only_node(&self, deliveries_waiting: i64) -> NodeRow {
        let gauges = self.engine.gauges();
        let now = clock::now_us();
        let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        NodeRow {
            number: self.store.node(),
            epoch: 1,
            name: self.node.name.clone(),
            state: NodeState::Serving,
            version: self.node.version.clone(),
            grpc_address: self.node.grpc_address.clone(),
            started_at: self.started_at,
            heartbeat_at: now,
            lease_until: now,
            expired: false,
            configuration: 0,
            oldest_due_at: self.engine.stall().map(|stall| clock::shown_us(stall.since)),
            deliveries_in_memory: count(gauges.deliveries_in_memory),
            attempts_in_flight: count(gauges.attempts_in_flight),
            deliveries_waiting,
        }
    }
}
