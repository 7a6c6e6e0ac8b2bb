//! Limits on concurrent downloads: each payload or body is in memory until it is sent, so a slow reader must not have many.
//! Each organization has a share, so that its customers cannot take all. `listener::pulse` bounds how slowly anyone may read.

use axum::{
    http::header::{CONTENT_DISPOSITION, CONTENT_TYPE},
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use hookwright_domain::id::EventId;

use super::fault::Fault;
use crate::{
    app::{
        error::AppError,
        permits::{Permit, Permits},
    },
    listener::pulse::UntilSent,
};

/// Maximum number of downloads, per organization and in total.
const ORGANIZATION_MAX: usize = 4;
const ALL_MAX: usize = 32;

/// Downloads in progress.
pub(super) struct Downloads(Permits);

/// A permit for one, until it is dropped.
pub(super) struct Download(Permit);

impl Default for Downloads {
    fn default() -> Self {
        Self(Permits::new(ALL_MAX, ORGANIZATION_MAX))
    }
}

impl Downloads {
    /// Takes a permit, before the bytes are read.
    pub(super) fn begin(&self, organization: i64) -> Result<Download, Fault> {
        self.0.take(organization).map(Download).map_err(|_| {
            Fault::App(AppError::Exhausted {
                subject: "downloads".to_owned(),
                message: "too many downloads are in progress; try again when one of them has finished".to_owned(),
            })
        })
    }
}

impl Download {
    /// A file to save: the browser never renders it, because others wrote it.
    pub(super) fn answer(self, name: &str, kind: &'static str, bytes: Bytes) -> Response {
        let disposition = format!("attachment; filename=\"{name}\"");
        let headers = [(CONTENT_TYPE, kind.to_owned()), (CONTENT_DISPOSITION, disposition)];
        let mut response = (headers, bytes).into_response();
        response.extensions_mut().insert(UntilSent::new(self.0));
        response
    }
}

/// The file name of an event's payload.
pub(super) fn payload_file(id: EventId) -> String {
    format!("{id}.json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_download_holds_its_permit_until_it_was_sent() {
        let downloads = Downloads::default();
        let mut held: Vec<Download> = (0..ORGANIZATION_MAX)
            .map(|_| downloads.begin(1).ok().unwrap())
            .collect();
        assert!(downloads.begin(1).is_err(), "an organization has its share");
        let answer = held.remove(0).answer("a.json", "application/json", Bytes::new());
        assert!(downloads.begin(1).is_err(), "it is being sent");
        drop(answer);
        assert!(downloads.begin(1).is_ok());
    }
}
