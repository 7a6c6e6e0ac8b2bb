//! The installation as a whole, for its operators.

use hookwright_storage::nodes::NodeState;

use super::{
    App,
    access::{Caller, Scope},
    error::AppResult,
};
use crate::options::SettingInForce;

/// What an installation runs.
#[derive(Clone, Debug)]
pub struct InstallationView<'a> {
    /// The version of this server.
    pub version: &'a str,
    /// The commit that it was built from; empty where that is not known.
    pub commit: String,
    /// Whether several nodes may share the store.
    pub shared_store: bool,
    /// When this server was started.
    pub started_at: i64,
    /// How many nodes there are.
    pub nodes: usize,
    /// The number of this one.
    pub node: u16,
    /// The settings in force here.
    pub settings: Vec<SettingInForce>,
}

impl App {
    /// What the installation runs, as this server sees it.
    ///
    /// # Errors
    /// When the caller may not see it, or the store does not answer.
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
