//! Errors of the store.

use diesel::result::{DatabaseErrorKind, Error as DieselError};

/// Why the store could not do what a caller requested.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The URL, shown with its password masked, names no store.
    #[error("`{0}` names no store; use sqlite:///path/to/file.db or postgres://user@host/database")]
    Url(String),
    /// The database URL, or a file that it names, is wrong.
    #[error("database-url: {0}")]
    DatabaseUrl(String),
    /// The store cannot be reached.
    #[error("the store cannot be reached: {0}")]
    Unreachable(String),
    /// The store did not answer in time.
    #[error("the store did not answer within {0} s")]
    Timeout(u64),
    /// Another server uses it.
    #[error("another server is using {0}; stop it first, or use another store")]
    AlreadyServed(String),
    /// The node's lease had ended, and other nodes took over.
    #[error("this node's lease had ended: the other nodes have taken over what it owned")]
    LeaseLost,
    /// A configuration change is stored, but another node has not confirmed that it is in force there.
    #[error("the change is stored, but node `{0}` has not confirmed that it has it in force")]
    Unconfirmed(String),
    /// A newer version wrote the schema.
    #[error("the store's schema is newer than this version knows ({0}); upgrade hookwright")]
    NewerSchema(String),
    /// The store has not been migrated.
    #[error("the store's schema is older than this version needs; run `hookwright migrate`")]
    OlderSchema,
    /// The database role lacks a right.
    #[error("the database role lacks a right: {0}")]
    Forbidden(String),
    /// The store does not guarantee durability.
    #[error("the store does not promise durability: {0}. Fix that, or set allow-unsafe-durability")]
    NotDurable(String),
    /// It is full.
    #[error("the store is full: {0}")]
    Full(String),
    /// A migration failed.
    #[error("a migration failed: {0}")]
    Migration(String),
    /// PostgreSQL accepts no writes: it is a standby, or was made read-only.
    #[error(
        "the database is read-only at the moment, as a standby is, or a primary that is being replaced: nothing was changed. With \
         several servers, name all of them in the database URL with target_session_attrs=read-write"
    )]
    ReadOnly,
    /// A pooler assigns each transaction to another session.
    #[error(
        "the database URL leads to a pooler in transaction mode, such as PgBouncer: locks, notices and settings of a session do not \
         hold there; connect to PostgreSQL itself, or set pool_mode=session for this database"
    )]
    Pooler,
    /// No schema of `search_path` exists.
    #[error(
        "none of the schemas of search_path ({0}) exists; create one, such as by CREATE SCHEMA, or correct the database URL"
    )]
    NoSchema(String),
    /// Any other error of the database.
    #[error("the store refused: {error}{}", code(.state))]
    Database {
        /// Diesel's error.
        error: DieselError,
        /// PostgreSQL's code, if it is known.
        state: Option<SqlState>,
    },
}

/// PostgreSQL's code of an error: two characters for its class, three for the error.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SqlState(pub(crate) [u8; 5]);

impl SqlState {
    /// The first two characters.
    fn class(&self) -> [u8; 2] {
        [self.0[0], self.0[1]]
    }
}

impl std::fmt::Display for SqlState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

impl std::fmt::Debug for SqlState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

fn code(state: &Option<SqlState>) -> String {
    state.map(|state| format!(" (SQLSTATE {state})")).unwrap_or_default()
}

impl StoreError {
    /// Whether a later retry may succeed.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable(_)
            | Self::Timeout(_)
            | Self::Full(_)
            | Self::AlreadyServed(_)
            | Self::LeaseLost
            | Self::ReadOnly => true,
            Self::Database { error, state } => {
                self.is_conflict() || self.is_lock_timeout() || state.is_some_and(passes) || is_transient(error)
            }
            _ => false,
        }
    }

    /// Whether it timed out: smaller parts may succeed.
    pub fn is_timeout(&self) -> bool {
        match self {
            Self::Timeout(_) => true,
            // A statement was cancelled, most likely by its timeout.
            Self::Database { state, .. } => state.is_some_and(|state| &state.0 == b"57014"),
            _ => false,
        }
    }

    /// Whether PostgreSQL ended one of several conflicting transactions: a retry will succeed.
    pub(crate) fn is_conflict(&self) -> bool {
        match self {
            Self::Database { state: Some(state), .. } => matches!(&state.0, b"40001" | b"40P01"),
            Self::Database { error, state: None } => {
                matches!(
                    error,
                    DieselError::DatabaseError(DatabaseErrorKind::SerializationFailure, _)
                )
            }
            _ => false,
        }
    }

    /// Whether a lock was not available in time.
    pub(crate) fn is_lock_timeout(&self) -> bool {
        match self {
            Self::Database { state: Some(state), .. } => &state.0 == b"55P03",
            // If the code is not known, only the English message is recognized.
            Self::Database {
                error: DieselError::DatabaseError(_, info),
                state: None,
            } => info.message().contains("lock timeout"),
            _ => false,
        }
    }

    /// Whether the role of the session lacks a right.
    pub(crate) fn is_forbidden(&self) -> bool {
        matches!(self, Self::Database { state: Some(state), .. } if &state.0 == b"42501")
    }

    /// Whether a row violates a table's checks, including a row that no partition accepts.
    pub(crate) fn is_check_violation(&self) -> bool {
        matches!(
            self,
            Self::Database {
                error: DieselError::DatabaseError(DatabaseErrorKind::CheckViolation, _),
                ..
            }
        )
    }

    /// The same error with PostgreSQL's code.
    pub(crate) fn with_state(self, known: SqlState) -> Self {
        match self {
            Self::Database { error, state: None } => match &known.0 {
                // disk_full, and the codes that other parts of PostgreSQL report for it.
                b"53100" => Self::Full(message(&error)),
                b"25006" => Self::ReadOnly,
                _ => Self::Database {
                    error,
                    state: Some(known),
                },
            },
            other => other,
        }
    }
}

/// Whether a state is temporary: connections that ended, exhausted resources, a server that starts, stops or cancelled
/// the statement.
fn passes(state: SqlState) -> bool {
    match &state.0 {
        // A statement was cancelled, by its timeout or an operator.
        b"57014" => true,
        _ => matches!(&state.class(), b"08" | b"53" | b"57"),
    }
}

fn is_transient(error: &DieselError) -> bool {
    match error {
        DieselError::DatabaseError(kind, info) => {
            matches!(
                kind,
                DatabaseErrorKind::ClosedConnection
                    | DatabaseErrorKind::UnableToSendCommand
                    | DatabaseErrorKind::SerializationFailure
            ) || info.message().contains("locked")
        }
        DieselError::BrokenTransactionManager => true,
        _ => false,
    }
}

fn message(error: &DieselError) -> String {
    match error {
        DieselError::DatabaseError(_, info) => info.message().to_owned(),
        other => other.to_string(),
    }
}

impl From<DieselError> for StoreError {
    fn from(error: DieselError) -> Self {
        if let DieselError::DatabaseError(kind, info) = &error {
            let text = info.message();
            // SQLite always uses these words. For PostgreSQL the code is more reliable.
            if text.contains("disk is full") || text.contains("No space left") {
                return Self::Full(text.to_owned());
            }
            if matches!(kind, DatabaseErrorKind::ReadOnlyTransaction) {
                return Self::ReadOnly;
            }
        }
        Self::Database { error, state: None }
    }
}

/// Why a commit failed. It is unknown whether anything was stored.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str, state: &[u8; 5]) -> StoreError {
        let kind = DatabaseErrorKind::Unknown;
        let error = DieselError::DatabaseError(kind, Box::new(text.to_owned()));
        StoreError::from(error).with_state(SqlState(*state))
    }

    #[test]
    fn a_full_disk_is_known_by_its_code_in_any_language() {
        let error = refused(
            "konnte Datei nicht erweitern: Auf dem Ger\u{e4}t ist kein Speicherplatz mehr verf\u{fc}gbar",
            b"53100",
        );
        assert!(
            matches!(&error, StoreError::Full(text) if text.contains("Speicherplatz")),
            "{error}"
        );
        assert!(matches!(
            refused("schreibgesch\u{fc}tzt", b"25006"),
            StoreError::ReadOnly
        ));
    }

    #[test]
    fn temporary_errors_are_retried() {
        for state in [
            b"53200", b"53300", b"57P01", b"57P03", b"57014", b"08006", b"40001", b"40P01", b"55P03",
        ] {
            assert!(refused("x", state).is_transient(), "{}", SqlState(*state));
        }
        for state in [b"23505", b"42P01", b"22001", b"XX000"] {
            assert!(!refused("x", state).is_transient(), "{}", SqlState(*state));
        }
        assert_eq!(
            refused("x", b"23505").to_string(),
            "the store refused: x (SQLSTATE 23505)"
        );
    }
}
