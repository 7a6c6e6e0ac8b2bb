//! Runs replays: a step of events at a time, each part recorded as done before the next begins.
//!
//! A replay belongs to the node that leased it. If that node is gone, another one takes the replay when the lease ends. A
//! part's events carry request ids, so that a part that is repeated, because its record was lost, sends nothing twice.

use std::{collections::HashMap, sync::Arc, time::Duration};

use hookwright_delivery::{clock, engine::Draft};
use hookwright_domain::id::ReplayId;
use hookwright_storage::{
    RequestKey, StoreError, StoredEvent, fault,
    replays::{REPLAY_FAILED, REPLAY_SUCCEEDED, ReplayCandidate, ReplayProgress, ReplayRow},
};
use tokio::sync::{Notify, watch};

use super::{
    ReplaySpec,
    selection::{Selected, Selection},
    single::draft,
};
use crate::app::{
    App,
    error::{AppError, AppResult},
    leased::{Free, Leased},
};

/// The lease of a replay.
const LEASE: Duration = Duration::from_secs(15);
/// Interval of lease renewals while a rate limit delays it.
const RENEWAL: Duration = Duration::from_secs(4);
/// Number of events that are published together: their payloads are in memory meanwhile.
const PART: usize = 16;
/// Delay after a failure of the store.
const PAUSE: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// The prefix of replays' request ids: a character that callers' ids cannot contain.
const REQUEST_PREFIX: &str = "\u{1}replay";

impl App {
    /// Works on replays until the server stops.
    pub async fn run_replays(self: Arc<Self>) {
        self.run_leased::<Replays>().await;
    }
}

struct Replays;

impl Leased for Replays {
    type Row = ReplayRow;
    const WHAT: &'static str = "the replays";
    /// An organization may have several, each of which may wait for its rate most of the time.
    const PLACES: usize = usize::MAX;

    fn begun(app: &App) -> &Notify {
        &app.replays_begun
    }

    fn id(row: &ReplayRow) -> i64 {
        row.id
    }

    async fn take(app: &App, free: Free) -> Result<Vec<ReplayRow>, StoreError> {
        // On an embedded store, running replays are those of the previous run.
        let all = free.own && app.store.lease().is_none();
        let ended_before = if all { i64::MAX } else { clock::schedule_us() };
        app.store.take_replays(ended_before, lease_until()).await
    }

    async fn work(app: Arc<App>, row: ReplayRow) -> i64 {
        Work::run(app, row).await
    }
}

fn lease_until() -> i64 {
    clock::schedule_us() + i64::try_from(LEASE.as_micros()).unwrap_or_default()
}

/// The work on one replay.
struct Work {
    app: Arc<App>,
    row: ReplayRow,
    spec: ReplaySpec,
    selection: Selection,
    progress: ReplayProgress,
    /// The previous part may have been published without its record.
    resumed: bool,
    stopping: watch::Receiver<bool>,
}

/// What happens next.
enum Next {
    /// It continues.
    Go,
    /// Another node has it, it was cancelled, or the server stops.
    Leave,
}

impl Work {
    /// Runs until it is done, cancelled, or the server stops. Returns the replay's id.
    async fn run(app: Arc<App>, row: ReplayRow) -> i64 {
        let id = row.id;
        fault::panic_if_planted("replay-panic");
        let Ok(spec) = serde_json::from_str::<ReplaySpec>(&row.spec) else {
            let message = "the request cannot be read".to_owned();
            end(&app, id, REPLAY_FAILED, Some(message)).await;
            return id;
        };
        let mut work = Self {
            selection: Selection::new(&row, &spec),
            progress: ReplayProgress {
                cursor: row.cursor,
                examined: row.examined,
                matched: row.matched,
                replayed: row.replayed,
                skipped: row.skipped,
            },
            resumed: true,
            stopping: app.stopping.clone(),
            app,
            row,
            spec,
        };
        let mut pause = PAUSE;
        while work.progress.cursor < work.row.last_id {
            match work.stretch().await {
                Ok(Next::Go) => pause = PAUSE,
                Ok(Next::Leave) => return id,
                Err(error) => {
                    tracing::warn!(replay = %ReplayId::from_raw(id), %error, "a replay cannot continue yet; will retry");
                    work.resumed = true;
                    if let Ok(Next::Leave) = work.wait(pause).await {
                        return id;
                    }
                    pause = (pause * 2).min(PAUSE_MAX);
                }
            }
        }
        end(&work.app, id, REPLAY_SUCCEEDED, None).await;
        id
    }

    /// Runs the next step of events, part by part.
    async fn stretch(&mut self) -> AppResult<Next> {
        let stretch = self
            .app
            .store
            .replay_stretch(
                self.row.organization_id,
                &self.spec.event_types,
                self.progress.cursor,
                self.row.last_id,
            )
            .await?;
        let known = if std::mem::take(&mut self.resumed) {
            self.published_before(&stretch.candidates).await?
        } else {
            HashMap::new()
        };
        let mut rest = stretch.candidates.as_slice();
        while !rest.is_empty() {
            let (part, after) = self.part(rest, &known);
            rest = after;
            let cursor = match (part.last, rest) {
                (Some(last), [_, ..]) => last,
                _ => stretch.cursor,
            };
            if let Next::Leave = self.publish(part, cursor).await? {
                return Ok(Next::Leave);
            }
        }
        self.note(ReplayProgress {
            cursor: stretch.cursor,
            ..self.progress
        })
        .await
    }

    /// For a step that may have been begun before: its published events, by event.
    async fn published_before(&self, candidates: &[ReplayCandidate]) -> AppResult<HashMap<i64, i64>> {
        let by_request: HashMap<String, i64> = candidates
            .iter()
            .map(|candidate| (self.request_id(candidate.event_id), candidate.event_id))
            .collect();
        let requests: Vec<String> = by_request.keys().cloned().collect();
        let known = self
            .app
            .store
            .events_of_requests(self.row.organization_id, requests)
            .await?;
        let counted = known.into_iter().filter_map(|(request, deliveries)| {
            let event = by_request.get(&request)?;
            Some((*event, i64::try_from(deliveries).unwrap_or(i64::MAX)))
        });
        Ok(counted.collect())
    }

    /// Takes the next part off a step: as many events as are published together, with the unselected ones between them.
    fn part<'a>(&self, candidates: &'a [ReplayCandidate], known: &HashMap<i64, i64>) -> (Part, &'a [ReplayCandidate]) {
        let mut part = Part::default();
        for (index, candidate) in candidates.iter().enumerate() {
            part.examined += 1;
            part.last = Some(candidate.event_id);
            if let Some(deliveries) = known.get(&candidate.event_id) {
                part.done += deliveries;
                continue;
            }
            let selected = self.selection.select(&self.app, candidate);
            part.deliveries += selected.webhooks.len();
            if selected != Selected::default() {
                part.selected.push((candidate.event_id, selected));
            }
            if part.selected.len() == PART || part.deliveries >= self.deliveries_at_once() {
                return (part, &candidates[index + 1..]);
            }
        }
        (part, &[])
    }

    /// About one second's worth, if there is a rate limit.
    fn deliveries_at_once(&self) -> usize {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a rate is 0.01 to 10,000"
        )]
        self.spec.rate.map_or(usize::MAX, |rate| rate.ceil() as usize)
    }

    async fn publish(&mut self, part: Part, cursor: i64) -> AppResult<Next> {
        let mut progress = self.progress;
        progress.cursor = cursor;
        progress.examined += part.examined;
        progress.matched += part.done;
        progress.replayed += part.done;
        let mut made = 0;
        let dry = self.spec.dry_run;
        let events = if part.selected.is_empty() || (dry && !self.selection.reads_payload(&self.app)) {
            None
        } else {
            let ids: Vec<i64> = part.selected.iter().map(|(event, _)| *event).collect();
            Some(self.app.store.events(&ids).await?)
        };
        let mut drafts = Vec::new();
        for (id, selected) in part.selected {
            let count = i64::try_from(selected.webhooks.len()).unwrap_or(i64::MAX);
            let event = events.iter().flatten().find(|event| event.id == id);
            if let Some(event) = event
                && !self.selection.would_be_sent(&self.app, event)
            {
                continue;
            }
            progress.matched += count + selected.skipped;
            progress.skipped += selected.skipped;
            // Its retention may have just ended.
            if let Some(event) = event.filter(|_| count > 0 && !dry) {
                made += count;
                drafts.push(self.draft(event, selected));
            }
        }
        // There is nothing to make durable, so there would be no answer.
        if !drafts.is_empty() {
            for result in self.app.publish(drafts).await {
                result?;
            }
            fault::point("replay-published");
        }
        progress.replayed += made;
        if let Next::Leave = self.note(progress).await? {
            return Ok(Next::Leave);
        }
        match self.spec.rate {
            Some(rate) if made > 0 => {
                #[expect(
                    clippy::cast_precision_loss,
                    reason = "a part has some thousands of deliveries at most"
                )]
                let pause = Duration::from_secs_f64(made as f64 / rate);
                self.wait(pause).await
            }
            _ => Ok(Next::Go),
        }
    }

    fn draft(&self, event: &StoredEvent, selected: Selected) -> Draft {
        // The same id for each try, even if a webhook is inactive by then: the first publication counts.
        let request = RequestKey {
            request_id: self.request_id(event.id),
            fingerprint: [0; 32],
        };
        draft(event, selected.webhooks.into(), Some(request))
    }

    fn request_id(&self, event: i64) -> String {
        format!("{REQUEST_PREFIX}/{}/{event}", self.row.id)
    }

    /// Records progress.
    async fn note(&mut self, progress: ReplayProgress) -> AppResult<Next> {
        let saved = self.app.store.save_replay(self.row.id, progress, lease_until()).await?;
        if !saved || *self.stopping.borrow() {
            return Ok(Next::Leave);
        }
        self.progress = progress;
        Ok(Next::Go)
    }

    /// Waits, and renews the lease meanwhile.
    async fn wait(&mut self, pause: Duration) -> AppResult<Next> {
        let until = tokio::time::Instant::now() + pause;
        loop {
            let next = until.min(tokio::time::Instant::now() + RENEWAL);
            tokio::select! {
                () = tokio::time::sleep_until(next) => {}
                _ = self.stopping.changed() => return Ok(Next::Leave),
            }
            if let Next::Leave = self.note(self.progress).await? {
                return Ok(Next::Leave);
            }
            if next >= until {
                return Ok(Next::Go);
            }
        }
    }
}

/// Some consecutive events of a step.
#[derive(Default)]
struct Part {
    examined: i64,
    /// The last event that belongs to it.
    last: Option<i64>,
    selected: Vec<(i64, Selected)>,
    deliveries: usize,
    /// Deliveries that were created when the part was run before.
    done: i64,
}

/// Records that a replay has ended; retries until the store accepts it, because no other node does it.
async fn end(app: &App, id: i64, state: i32, error: Option<String>) {
    let mut stopping = app.stopping.clone();
    while !*stopping.borrow() {
        match app
            .store
            .end_replay(id, state, error.clone(), clock::now_us(), None)
            .await
        {
            Ok(_) => return,
            Err(failure) => {
                let failure = AppError::from(failure);
                tracing::warn!(replay = %ReplayId::from_raw(id), error = %failure, "cannot record the end of a replay yet");
            }
        }
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            _ = stopping.changed() => {}
        }
    }
}
