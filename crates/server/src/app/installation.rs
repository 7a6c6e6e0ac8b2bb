//! The installation as a whole, for its operators.

use hookwright_storage::nodes::NodeState;

use super::{
    App,
    access::{Caller, Scope},
    error::AppResult,
};
use crate::options::SettingInForce;

/// The version and settings of an installation.
#[derive(Clone, Debug)]
pub struct InstallationView<'a> {
    /// The version of this server.
    pub version: &'a str,
    /// The commit that it was built from; empty if unknown.
    pub commit: String,
    /// Whether several nodes can share the store.
    pub shared_store: bool,
    /// When this server was started.
    pub started_at: i64,
    /// The number of nodes.
    pub nodes: usize,
    /// The number of this node.
    pub node: u16,
    /// The current settings of this server.
    pub settings: Vec<SettingInForce>,
}

impl App {
    /// The version and settings of the installation, as this server sees them.
    ///
    /// # Errors
    /// When the caller may not see them, or the store does not answer.
    pub async fn get_installation(&self, caller: &Caller) -> AppResult<InstallationView<'_>> {
        caller.require(Scope::Admin)?;
        let shared_store = self.store.lease().is_some();
        let nodes = if shared_store {
            let rows = self.store.nodes().await?;
            rows.iter().filter(|row| row.state != NodeState::Free).count()
        } else {
            1
        };
        let about = self.about.load_full();
        Ok(InstallationView {
            version: &self.node.version,
            commit: about.commit.clone(),
            shared_store,
            started_at: self.started_at,
            nodes,
            node: self.store.node(),
            settings: about.settings.clone(),
        })
    }
}
