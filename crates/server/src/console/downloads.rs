//! How many payloads and bodies are being saved at once: each is in memory until it was sent, and whoever reads slowly is not to have
//! many of them. An organization has its share, so that its customers take nothing from others.

use std::{collections::HashMap, sync::Arc};

use axum::{
    http::header::{CONTENT_DISPOSITION, CONTENT_TYPE},
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use parking_lot::Mutex;

use super::fault::Fault;
use crate::{app::error::AppError, http::pulse::UntilSent};

/// How many there may be at once, of an organization and of all.
const ORGANIZATION_MAX: usize = 4;
const ALL_MAX: usize = 16;

/// Those under way, by organization.
#[derive(Clone, Default)]
pub(super) struct Downloads(Arc<Mutex<HashMap<i64, usize>>>);

/// One of them, until it is dropped.
pub(super) struct Download {
    downloads: Downloads,
    organization: i64,
}

impl Downloads {
    /// A place for one more, to be taken before its bytes are read.
    pub(super) fn begin(&self, organization: i64) -> Result<Download, Fault> {
        let mut under_way = self.0.lock();
        let all: usize = under_way.values().sum();
        let own = under_way.entry(organization).or_default();
        if *own >= ORGANIZATION_MAX || all >= ALL_MAX {
            if *own == 0 {
                under_way.remove(&organization);
            }
            return Err(Fault::App(AppError::Exhausted {
                subject: "downloads".to_owned(),
                message: "too many downloads are under way; try again when one of them has ended".to_owned(),
            }));
        }
        *own += 1;
        Ok(Download {
            downloads: self.clone(),
            organization,
        })
    }
}

impl Download {
    /// Something to save: never shown by the browser, for others wrote it.
    pub(super) fn answer(self, name: &str, kind: &'static str, bytes: Bytes) -> Response {
        let disposition = format!("attachment; filename=\"{name}\"");
        let headers = [(CONTENT_TYPE, kind.to_owned()), (CONTENT_DISPOSITION, disposition)];
        let mut response = (headers, bytes).into_response();
        response.extensions_mut().insert(UntilSent::new(self));
        response
    }
}

impl Drop for Download {
    fn drop(&mut self) {
        let mut under_way = self.downloads.0.lock();
        if let Some(own) = under_way.get_mut(&self.organization) {
            *own -= 1;
            if *own == 0 {
                under_way.remove(&self.organization);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_saved_at_once_is_bounded_until_it_was_sent() {
        let downloads = Downloads::default();
        let begin = |organization| downloads.begin(organization).ok();
        let mut held: Vec<Download> = (0..ORGANIZATION_MAX).map(|_| begin(1).unwrap()).collect();
        assert!(begin(1).is_none(), "an organization has its share");
        let others = i64::try_from(ALL_MAX / ORGANIZATION_MAX).unwrap();
        for other in 2..=others {
            held.extend((0..ORGANIZATION_MAX).map(|_| begin(other).unwrap()));
        }
        assert!(begin(99).is_none(), "all are taken");
        let answer = held.remove(0).answer("a.json", "application/json", Bytes::new());
        assert!(begin(99).is_none(), "it is being sent");
        drop(answer);
        assert!(begin(99).is_some());
        held.clear();
        assert!(downloads.0.lock().is_empty(), "nothing is remembered of what has ended");
    }
}
