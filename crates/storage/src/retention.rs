//! Retention: removes expired events step by step. One node at a time has the turn to do it.

use diesel_async::AsyncPgConnection;

use crate::{
    batch::Expired,
    error::StoreError,
    sqlite,
    store::{Backend, EXPIRE_LIMIT, EXPIRE_LOOK, Store},
};

/// The turn to remove expired events. On PostgreSQL it is a session that holds a lock: the turn ends with this value, or with
/// the session.
pub struct Retention {
    store: Store,
    /// On PostgreSQL. Taken by a step and put back when it succeeded: after an error its transaction may still be open.
    session: Option<AsyncPgConnection>,
}

impl Store {
    /// Takes the turn to remove expired events; `None` while another node has it.
    ///
    /// # Errors
    /// When the store does not answer.
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
}

impl Retention {
    /// A step: looks at some of the events after the id `after` and before the id `before`, and removes those without a pending
    /// delivery, with everything that belongs to them. PostgreSQL drops a day as a whole when no delivery of it is pending.
    /// [`Expired::next`] says where to go on.
    ///
    /// # Errors
    /// When the store does not answer. The turn is over then.
    pub async fn step(&mut self, after: i64, before: i64) -> Result<Expired, StoreError> {
        match &self.store.backend {
            Backend::Sqlite(store) => {
                let step =
                    move |conn: &mut _| sqlite::queries::expire_stretch(conn, after, before, EXPIRE_LOOK, EXPIRE_LIMIT);
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
