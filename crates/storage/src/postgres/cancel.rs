//! Cancels statements of abandoned sessions.

use std::sync::Arc;

use tokio_postgres::CancelToken;

use super::{
    tls::Connector,
    url::{Mode, Target},
};

/// Asks the server to cancel a session's statement.
pub(super) async fn statement(url: &str, token: &CancelToken) -> Result<(), String> {
    let target: Target = url.parse()?;
    let connector = Connector::new(
        &target,
        matches!(target.mode, Mode::Disable | Mode::Allow),
        Arc::default(),
    )?;
    token.cancel_query(connector).await.map_err(|error| error.to_string())
}
