//! Watches of deliveries: read from the records of each commit, so that no change is missed and a client that returns
//! resumes where it stopped.

use std::{sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hookwright_delivery::clock;
use hookwright_storage::{
    DeliveryFilter, DeliveryRecord,
    changes::{CHANGES_KEPT_US, Positions},
};
use tokio::{sync::watch, time::Instant};

use super::{
    App,
    access::{Caller, Scope},
    error::{AppError, AppResult},
    permits::{Full, Permit, Permits},
};

/// Maximum number of watchers per server.
const ALL_MAX: usize = 256;
/// Maximum number of watchers per organization.
const ORGANIZATION_MAX: usize = 64;
/// Maximum silence.
const SILENCE_MAX: Duration = Duration::from_secs(10);
/// Interval at which other nodes' changes are read.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// Minimum delay between two reads, so that a busy server does not read for each commit.
const PAUSE: Duration = Duration::from_millis(50);
/// The format of resume tokens.
const TOKEN_VERSION: u8 = 1;

/// A watcher of an organization's deliveries.
pub struct DeliveryWatch {
    app: Arc<App>,
    organization: i64,
    filter: DeliveryFilter,
    positions: Positions,
    changes: watch::Receiver<()>,
    stopping: watch::Receiver<bool>,
    _permit: Permit,
}

/// One result of a watch.
pub struct Seen {
    /// Changed deliveries; none after a silent interval.
    pub deliveries: Vec<DeliveryRecord>,
    /// The position to resume from.
    pub resume_token: String,
}

impl App {
    /// Watches an organization's deliveries from now on, or from a resume token.
    ///
    /// # Errors
    /// When the organization does not exist, the token is invalid or too old, or there are too many watchers.
    pub async fn watch_deliveries(
        self: &Arc<Self>,
        caller: &Caller,
        organization: &str,
        filter: DeliveryFilter,
        resume_token: &str,
    ) -> AppResult<DeliveryWatch> {
        let row = self.organization_for(caller, Scope::Read, organization)?;
        let permit = self.watchers.take(row.id).map_err(no_permit)?;
        // Before the positions, so that no change in between is missed.
        let changes = self.engine.changes();
        let positions = if resume_token.is_empty() {
            self.store.change_positions().await?
        } else {
            positions_of(resume_token, clock::now_us())?
        };
        Ok(DeliveryWatch {
            app: Arc::clone(self),
            organization: row.id,
            filter,
            positions,
            changes,
            stopping: self.stopping.clone(),
            _permit: permit,
        })
    }
}

/// The watchers' positions.
pub(super) fn permits() -> Permits {
    Permits::new(ALL_MAX, ORGANIZATION_MAX)
}

fn no_permit(full: Full) -> AppError {
    let message = match full {
        Full::All => format!("{ALL_MAX} streams watch deliveries on this server, which is the limit; end some"),
        Full::Share => format!(
            "{ORGANIZATION_MAX} streams watch the organization's deliveries on this server, which is the limit; end some"
        ),
    };
    AppError::Exhausted {
        subject: "WatchDeliveries".to_owned(),
        message,
    }
}

impl DeliveryWatch {
    /// The position of the watch.
    pub fn resume_token(&self) -> String {
        token(&self.positions, clock::now_us())
    }

    /// The next changes, or nothing after some silence.
    ///
    /// # Errors
    /// When the store does not answer, or the server stops.
    pub async fn next(&mut self) -> AppResult<Seen> {
        let until = Instant::now() + SILENCE_MAX;
        loop {
            if *self.stopping.borrow() {
                let message = "the server is stopping; resume with the last resume_token";
                return Err(AppError::Unavailable(message.to_owned()));
            }
            self.changes.mark_unchanged();
            let found = self
                .app
                .store
                .changes_after(self.organization, &self.filter, &self.positions)
                .await?;
            self.positions = found.positions;
            if !found.deliveries.is_empty() || (!found.more && until <= Instant::now()) {
                return Ok(Seen {
                    deliveries: found.deliveries,
                    resume_token: self.resume_token(),
                });
            }
            if !found.more {
                self.wait(until).await;
            }
        }
    }

    async fn wait(&mut self, until: Instant) {
        tokio::time::sleep(PAUSE).await;
        let next_look = if self.app.store.lease().is_some() {
            until.min(Instant::now() + LOOK_INTERVAL)
        } else {
            until
        };
        tokio::select! {
            // It ends with the engine, and then the server is stopping.
            _ = self.changes.changed() => {}
            _ = self.stopping.changed() => {}
            () = tokio::time::sleep_until(next_look) => {}
        }
    }
}

fn token(positions: &Positions, now: i64) -> String {
    let mut bytes = vec![TOKEN_VERSION];
    bytes.extend_from_slice(&now.to_le_bytes());
    for (stream, position) in positions {
        bytes.extend_from_slice(&stream.to_le_bytes());
        bytes.extend_from_slice(&position.to_le_bytes());
    }
    URL_SAFE_NO_PAD.encode(bytes)
}

fn positions_of(token: &str, now: i64) -> AppResult<Positions> {
    let decoded = URL_SAFE_NO_PAD.decode(token).ok();
    let read = decoded.as_deref().and_then(read_token);
    let Some((issued, positions)) = read else {
        let rule = "is not a resume token; pass one that WatchDeliveries returned, unchanged, or none to begin now";
        return Err(AppError::invalid("resume_token", "INVALID_RESUME_TOKEN", rule));
    };
    if now.saturating_sub(issued) > CHANGES_KEPT_US {
        return Err(AppError::Precondition {
            reason: "RESUME_TOKEN_EXPIRED",
            subject: "resume_token".to_owned(),
            message:
                "the resume token is older than 24 hours, the retention of changes; watch without one, and list earlier changes \
             with ListDeliveries"
                    .to_owned(),
        });
    }
    Ok(positions)
}

fn read_token(bytes: &[u8]) -> Option<(i64, Positions)> {
    let (version, rest) = bytes.split_first()?;
    let (issued, rest) = rest.split_first_chunk::<8>()?;
    let (entries, []) = rest.as_chunks::<12>() else {
        return None;
    };
    let positions = entries.iter().map(|entry| {
        let (stream, position) = entry.split_at(4);
        let stream = i32::from_le_bytes(stream.try_into().unwrap_or_default());
        (stream, i64::from_le_bytes(position.try_into().unwrap_or_default()))
    });
    (*version == TOKEN_VERSION).then(|| (i64::from_le_bytes(*issued), positions.collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_holds_its_positions_for_a_day() {
        let positions = Positions::from([(-1, 5), (0, i64::MAX), (7, 1_795_455_823_000_000)]);
        let told = token(&positions, 1_000);
        assert_eq!(positions_of(&told, 2_000).unwrap(), positions);
        assert_eq!(positions_of(&token(&Positions::new(), 0), 0).unwrap(), Positions::new());
        let expired = positions_of(&told, 1_001 + CHANGES_KEPT_US).unwrap_err();
        assert!(matches!(
            expired,
            AppError::Precondition {
                reason: "RESUME_TOKEN_EXPIRED",
                ..
            }
        ));
        assert!(
            positions_of(&token(&Positions::new(), i64::MIN), 2_000).is_err(),
            "before all time"
        );
        for bad in ["", "!", "AQ", &told[1..], &told[..told.len() - 2]] {
            assert!(positions_of(bad, 2_000).is_err(), "{bad}");
        }
    }
}
