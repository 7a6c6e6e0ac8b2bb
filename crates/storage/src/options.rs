//! The address of a store, and how a server opens it.

use crate::nodes::NodeOptions;

/// The address of the store, and how to open it.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// `sqlite:///path/to/file.db` or `postgres://user@host/database`.
    pub url: String,
    /// How many connections read beside the writing one.
    pub readers: usize,
    /// Open the store although it does not guarantee durability.
    pub allow_unsafe_durability: bool,
    /// The identity of this server, if several share the store.
    pub node: NodeOptions,
}

impl StoreOptions {
    /// The defaults for a URL.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            readers: 4,
            allow_unsafe_durability: false,
            node: NodeOptions::default(),
        }
    }

    /// The file of an SQLite URL.
    pub(crate) fn sqlite_path(&self) -> Option<&str> {
        self.url.strip_prefix("sqlite://")
    }

    /// Whether the URL is that of a PostgreSQL database.
    pub fn is_postgres(&self) -> bool {
        self.url.starts_with("postgres://") || self.url.starts_with("postgresql://")
    }
}
