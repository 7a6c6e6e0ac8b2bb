//! The start of the schedule clock.

use super::{Backend, Store};
use crate::{
    clock,
    error::StoreError,
    schedule::{Record, SCHEDULE, start},
};

impl Store {
    /// Starts the schedule clock. Must be called once, before anything is scheduled. Returns how far the reference
    /// clock was set back since a server last ran, in microseconds.
    ///
    /// # Errors
    /// Fails if the store does not answer.
    pub async fn start_clock(&self) -> Result<i64, StoreError> {
        if let Backend::Postgres(store) = &self.backend {
            return store.start_clock().await;
        }
        let record = self.setting(SCHEDULE).await?;
        let record = record.as_deref().and_then(Record::from_bytes);
        let (boot, wall) = (clock::boot_us(), clock::now_us());
        let ahead = record.map_or(0, Record::ahead);
        let (schedule, set_back) = start(ahead, wall, record.map_or(0, |record| record.schedule));
        clock::set_schedule(boot, schedule);
        self.keep_clock().await?;
        Ok(set_back)
    }

    /// Stores how far the schedule clock is ahead of the wall clock, if that is the reference: after the wall clock was
    /// set, or when the server stops.
    ///
    /// # Errors
    /// Fails if the store refuses or does not answer.
    pub async fn keep_clock(&self) -> Result<(), StoreError> {
        match self.backend {
            Backend::Sqlite(_) => self.put_setting(SCHEDULE, &Record::of_wall().to_bytes()).await,
            Backend::Postgres(_) => Ok(()),
        }
    }
}
