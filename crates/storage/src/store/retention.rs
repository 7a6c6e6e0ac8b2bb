//! The removal of expired events, step by step. One node at a time has the turn.

use diesel_async::AsyncPgConnection;

use super::{Backend, Store, read};
use crate::{
    error::StoreError,
    retention::{EXPIRE_LIMIT, EXPIRE_LOOK, Expired},
    sqlite,
};

/// The turn to remove expired events. On PostgreSQL it is a session that holds a lock: the turn ends when this value is
/// dropped, or when the session ends.
pub struct Retention {
    store: Store,
    /// The session on PostgreSQL. A step takes it and returns it on success, because after an error its transaction may
    /// still be open.
    session: Option<AsyncPgConnection>,
}

impl Store {
    /// Takes the turn to remove expired events; `None` while another node has it.
    ///
    /// # Errors
    /// Fails if the store does not answer.
    pub async fn begin_retention(&self) -> Result<Option<Retention>, StoreError> {
        let store = self.clone();
        match &self.backend {
            Backend::Sqlite(_) => Ok(Some(Retention { store, session: None })),
            Backend::Postgres(postgres) => {
                let session = postgres.begin_retention().await?;
                Ok(session.map(|session| Retention {
                    store,
                    session: Some(session),
                }))
            }
        }
    }

    /// The oldest event that is stored, by its id.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn oldest_event(&self) -> Result<Option<i64>, StoreError> {
        read!(self, oldest_event())
    }
}

impl Retention {
    /// Makes one step: reads some of the events after the id `after` and before the id `before`, and removes those
    /// without a pending delivery, with all their rows. PostgreSQL drops a day as a whole if none of its deliveries is
    /// pending. [`Expired::next`] is the position to continue from.
    ///
    /// # Errors
    /// Fails if the store does not answer. The turn has ended then.
    pub async fn step(&mut self, after: i64, before: i64) -> Result<Expired, StoreError> {
        match &self.store.backend {
            Backend::Sqlite(store) => {
                let step = move |conn: &mut _| {
                    let step = sqlite::queries::expire_stretch(conn, after, before, EXPIRE_LOOK, EXPIRE_LIMIT);
                    sqlite::at_once(step)
                };
                store.write(None, step).await
            }
            Backend::Postgres(store) => {
                let ended = || StoreError::Unreachable("the session of retention has ended".to_owned());
                let mut session = self.session.take().ok_or_else(ended)?;
                let expired = store.expire(&mut session, after, before).await?;
                self.session = Some(session);
                Ok(expired)
            }
        }
    }
}
