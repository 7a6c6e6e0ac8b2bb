//! Connections to an external PostgreSQL, for the relay of an outbox. Their URLs have the same form as the store's.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use tokio_postgres::{AsyncMessage, Client, Error};

use super::{
    connect::{self, Wire},
    url::Target,
};

/// A connection that the caller drives.
pub struct Link(Wire);

impl Link {
    /// The next message that is not a response; `None` when the connection has ended.
    pub fn poll_message(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<AsyncMessage, Error>>> {
        self.0.poll_message(context)
    }
}

/// Checks a URL, with the service and the files that it names.
///
/// # Errors
/// Describes the fault, without any part of a password.
pub fn check(url: &str) -> Result<(), String> {
    url.parse::<Target>().map(drop)
}

/// Connects under a name that the database shows. Returns the connection's security as text.
///
/// # Errors
/// Describes the fault and its fix.
pub async fn connect(url: &str, name: &str) -> Result<(Client, Link, String), String> {
    let opened = connect::open(url, name, &Arc::default()).await?;
    let security = opened.security.to_string();
    Ok((opened.client, Link(opened.connection), security))
}
