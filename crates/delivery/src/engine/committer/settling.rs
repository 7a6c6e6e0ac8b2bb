//! The effects of a commit: deliveries go to their lanes, and those with a durable outcome leave memory.
//!
//! | state of an event | what follows |
//! | --- | --- |
//! | durable | its deliveries are handed to their lanes |
//! | a repeat of an earlier request | its reserved memory is released |
//! | unclear: the commit failed, and may have reached the store | the store is queried before the next commit |

use std::collections::HashSet;

use hookwright_storage::{Committed, StoreError, fault};

use super::{
    super::record::{Change, Record},
    Committer,
    intake::{HandOver, Intake},
};
use crate::clock;

impl Committer {
    /// The events are durable: puts their deliveries into their lanes.
    pub(super) fn hand_off(&self, intakes: Vec<Intake>, committed: &Committed, now: i64) {
        let repeats: HashSet<usize> = committed.repeats.iter().map(|repeat| repeat.index).collect();
        let elsewhere: HashSet<i64> = committed.elsewhere.iter().copied().collect();
        self.handles.metrics.published(intakes.len() - repeats.len());
        for (index, intake) in intakes.into_iter().enumerate() {
            let last = intake.event.id;
            if repeats.contains(&index) {
                intake.withdraw();
            } else {
                // Another node sends to the other webhooks.
                let mine = |over: &HandOver| !elsewhere.contains(&over.lane.webhook.raw());
                self.hand_over(intake.into_jobs().filter(mine), now);
            }
            self.handles.watermark.handed_off(last);
        }
    }

    /// Hands durable deliveries to their lanes.
    fn hand_over(&self, deliveries: impl Iterator<Item = HandOver>, now: i64) {
        for HandOver { lane, job } in deliveries {
            let actions = match job {
                Some(job) => lane.enqueue(job, now),
                None if fault::is_planted("lost-notice") => continue,
                None => lane.note_due(now, now),
            };
            self.handles.scheduler.act(&lane, actions);
        }
    }

    /// The outcomes are durable: the deliveries leave memory.
    pub(super) fn settle(&self, records: Vec<Record>, committed: &Committed, now: i64) {
        if !records.is_empty() {
            self.handles.changes.notify();
        }
        for record in records {
            self.let_go(&record, now);
        }
        self.handles.disabling.judge(&committed.failing);
        for webhook in &committed.due {
            self.handles.scheduler.look_at_stored(*webhook, now);
        }
    }

    /// Removes a delivery from memory, unless the record was only a note.
    pub(super) fn let_go(&self, record: &Record, now: i64) {
        let due_at = match &record.change {
            Change::Attempted { retry, .. } | Change::Unrecorded { retry } => {
                retry.as_ref().and_then(|row| row.next_attempt().due_at())
            }
            Change::Ended(_) => None,
            Change::Noted(_) => return,
            Change::Parked(row) => Some(row.due_at),
        };
        let actions = record.lane.settle(record.delivery.raw(), due_at, now);
        self.handles.scheduler.act(&record.lane, actions);
    }

    /// Queries which events of a failed commit are stored, and hands those off. Returns false while the store does not
    /// answer.
    pub(super) async fn settle_unclear(&mut self) -> bool {
        if self.unclear.is_empty() {
            return true;
        }
        let ids: Vec<i64> = self.unclear.iter().map(|intake| intake.event.id).collect();
        let stored = match self.handles.store.events_exist(&ids).await {
            Ok(stored) => stored,
            Err(error) => {
                tracing::warn!(error = %error, "cannot tell yet which events of a failed commit were stored");
                if matches!(error, StoreError::LeaseLost) {
                    self.lose().await;
                }
                return false;
            }
        };
        let now = clock::schedule_us();
        for intake in std::mem::take(&mut self.unclear) {
            let id = intake.event.id;
            if stored.contains(&id) {
                self.hand_over(intake.into_jobs(), now);
            } else {
                intake.withdraw();
            }
            self.handles.watermark.handed_off(id);
        }
        true
    }
}
