//! What can go wrong with the store.

use diesel::result::{DatabaseErrorKind, Error as DieselError};

/// Why the store could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The URL names no store.
    #[error("`{0}` names no store; use sqlite:///path/to/file.db or postgres://user@host/database")]
    Url(String),
    /// The store cannot be reached.
    #[error("the store cannot be reached: {0}")]
    Unreachable(String),
    /// It did not answer in time.
    #[error("the store did not answer within {0} s")]
    Timeout(u64),
    /// Another server uses it.
    #[error("another server is using {0}; stop it first, or use another store")]
    AlreadyServed(String),
    /// The lease had ended, and other nodes took over.
    #[error("this node's lease had ended: the other nodes have taken over what it owned")]
    LeaseLost,
    /// A change of configuration is stored, and one of the other nodes has not said that it has it in force.
    #[error("the change is stored, but node `{0}` has not confirmed that it has it in force")]
    Unconfirmed(String),
    /// It was written by a newer version.
    #[error("the store's schema is newer than this version knows ({0}); upgrade hookwright")]
    NewerSchema(String),
    /// It has not been migrated.
    #[error("the store's schema is older than this version needs; run `hookwright migrate`")]
    OlderSchema,
    /// It does not promise durability.
    #[error("the store does not promise durability: {0}. Mend that, or set allow-unsafe-durability")]
    NotDurable(String),
    /// It is full.
    #[error("the store is full: {0}")]
    Full(String),
    /// A migration failed.
    #[error("a migration failed: {0}")]
    Migration(String),
    /// Anything else that the database says.
    #[error("the store refused: {0}")]
    Database(DieselError),
}

impl StoreError {
    /// Whether trying again later may help.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::Timeout(_) | Self::Full(_) | Self::AlreadyServed(_) | Self::LeaseLost => true,
            Self::Database(error) => match error {
                DieselError::DatabaseError(kind, info) => {
                    matches!(
                        kind,
                        DatabaseErrorKind::ClosedConnection | DatabaseErrorKind::SerializationFailure
                    ) || info.message().contains("locked")
                }
                DieselError::BrokenTransactionManager => true,
                _ => false,
            },
            _ => false,
        }
    }
}

impl From<DieselError> for StoreError {
    fn from(error: DieselError) -> Self {
        if let DieselError::DatabaseError(_, info) = &error {
            let message = info.message();
            if message.contains("disk is full") || message.contains("No space left") {
                return Self::Full(message.to_owned());
            }
        }
        Self::Database(error)
    }
}

/// Why a commit failed. Whether anything was stored is not known.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// The store is full.
    #[error("the store is full: {0}")]
    Full(String),
    /// Anything else.
    #[error(transparent)]
    Store(StoreError),
}

impl From<StoreError> for CommitError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Full(detail) => Self::Full(detail),
            error => Self::Store(error),
        }
    }
}
