//! A run: servers, publishers, receivers and faults, then the verdict.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use hookwright_domain::id::{WebhookId, first_at};
use hookwright_proto::v1::{
    CreateEventTypeRequest, CreateOrganizationRequest, CreateWebhookRequest, RetrySchedule, Webhook,
    event_type_service_client::EventTypeServiceClient, organization_service_client::OrganizationServiceClient,
    webhook_service_client::WebhookServiceClient,
};

use crate::{
    changer::Changer,
    checker::{self, Verdict},
    disk::Disk,
    dump, eprint,
    history::{self, Entry, History},
    nodes::{Nodes, Place, authorized, channel},
    now_us,
    publisher::{EVENT_TYPE, ORGANIZATION, Publishers},
    receivers::{Manner, Receivers, WEBHOOKS},
};

/// How long the backlog may take to drain once the faults are over, for a development build on a busy machine.
const DRAIN_PATIENCE: Duration = Duration::from_secs(240);

/// The options of a run.
#[derive(Clone, Debug)]
pub struct Options {
    /// The server's binary: a development build, which has the failpoints.
    pub server: PathBuf,
    /// How long faults are made.
    pub seconds: u64,
    /// The number of nodes; one on SQLite.
    pub nodes: usize,
    /// PostgreSQL, or SQLite.
    pub postgres: bool,
    /// The seed of the faults and payloads.
    pub seed: u64,
    /// The directory of the history and the report.
    pub out: PathBuf,
    /// A bug to plant in the servers. The run must then end in a breach.
    pub plant: Option<String>,
    /// The pause of a publisher between two calls.
    pub pause: Duration,
    /// Whether callers that leave in the middle of their calls take part.
    pub leavers: bool,
    /// Print the progress on standard error.
    pub verbose: bool,
}

pub(crate) struct Run {
    pub(crate) nodes: Nodes,
    pub(crate) receivers: Receivers,
    pub(crate) history: Arc<History>,
    pub(crate) disk: Option<Disk>,
    /// The run concerns events that were published from this id on.
    pub(crate) first: i64,
    verbose: bool,
    begun: Instant,
}

impl Run {
    /// Starts servers and receivers, and installs the webhooks.
    pub(crate) async fn start(options: &Options) -> anyhow::Result<Self> {
        let mut run = Self::begin(options, tempfile::tempdir()?).await?;
        if !options.postgres {
            run.disk = run.move_to_small_disk().await;
        }
        Ok(run)
    }

    /// The same, with all data in a given directory.
    pub(crate) async fn begin(options: &Options, directory: tempfile::TempDir) -> anyhow::Result<Self> {
        let first = first_at(now_us());
        let history = Arc::new(History::create(&options.out)?);
        let count = if options.postgres { options.nodes } else { 1 };
        let receivers = Receivers::start(Arc::clone(&history), options.seed).await?;
        let nodes = Nodes::start(
            directory,
            options.server.clone(),
            options.postgres,
            count,
            options.plant.clone(),
            Arc::clone(&history),
        )
        .await?;
        let run = Self {
            nodes,
            receivers,
            history,
            disk: None,
            first,
            verbose: options.verbose,
            begun: Instant::now(),
        };
        let address = run.nodes.addresses.lock()[0].clone().context("the first node is up")?;
        install(&address, run.nodes.token(), &run.receivers, &run.history, None).await?;
        Ok(run)
    }

    pub(crate) fn say(&self, text: &str) {
        if self.verbose {
            eprint(&format!("{:>6.1} s  {text}", self.begun.elapsed().as_secs_f64()));
        }
    }

    /// Moves the data directory to a separate file system, if one can be mounted. Its disk can then be full.
    async fn move_to_small_disk(&mut self) -> Option<Disk> {
        let directory = self.nodes.data_directory(0).to_owned();
        self.nodes.terminate(0).await.ok()?;
        let disk = Disk::mount(&directory).await;
        if disk.is_none() {
            self.say("no file system can be mounted here: the disk is never full in this run");
        }
        self.nodes.up(0, None).await.ok()?;
        disk
    }

    /// Starts the changes of webhooks under the load.
    pub(crate) async fn changer(&self, seed: u64) -> anyhow::Result<Changer> {
        Changer::start(
            &self.nodes.addresses,
            self.nodes.token(),
            &self.history,
            &self.receivers,
            seed,
        )
        .await
    }

    pub(crate) fn publishers(&self, seed: u64, pause: Duration) -> Publishers {
        Publishers::start(&self.nodes.addresses, self.nodes.token(), &self.history, seed, pause)
    }

    /// Waits until nothing is owed any more.
    pub(crate) async fn drain(&self) {
        let begun = Instant::now();
        let mut owed = i64::MAX;
        while begun.elapsed() < DRAIN_PATIENCE {
            owed = dump::owed(&self.nodes.place, self.first).await.unwrap_or(i64::MAX);
            if owed == 0 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
        self.say(&format!(
            "drained after {:.1} s, {owed} left",
            begun.elapsed().as_secs_f64()
        ));
        self.history.add(&Entry::Drained {
            at: now_us(),
            whole: owed == 0,
        });
    }

    /// Stops the servers in order, and adds the final content of the store.
    pub(crate) async fn finish(mut self, out: &Path) -> anyhow::Result<()> {
        std::fs::write(out.join("servers.log"), self.nodes.logs())?;
        for index in 0..self.nodes.nodes.len() {
            self.nodes.terminate(index).await?;
        }
        dump::dump(&self.nodes.place, &self.history, self.first).await?;
        self.history.flush()?;
        if let Place::Postgres { .. } = self.nodes.place {
            // The database must be dropped before its cluster.
            drop(self.nodes);
        }
        Ok(())
    }
}

/// Creates the organization, its event type and its webhooks, with this retry schedule if one is given.
pub(crate) async fn install(
    address: &str,
    token: &str,
    receivers: &Receivers,
    history: &History,
    retry_schedule: Option<RetrySchedule>,
) -> anyhow::Result<()> {
    let channel = channel(address).await?;
    let request = CreateOrganizationRequest {
        organization_id: "torture".to_owned(),
        organization: None,
    };
    OrganizationServiceClient::new(channel.clone())
        .create_organization(authorized(request, token)?)
        .await?;
    let request = CreateEventTypeRequest {
        event_type_id: EVENT_TYPE.to_owned(),
        event_type: None,
    };
    EventTypeServiceClient::new(channel.clone())
        .create_event_type(authorized(request, token)?)
        .await?;
    for (name, manner, ordered) in WEBHOOKS {
        let webhook = Webhook {
            payload_url: receivers.url(name),
            events: vec![EVENT_TYPE.to_owned()],
            ordering: if ordered { 2 } else { 1 },
            retry_schedule: retry_schedule.clone(),
            ..Webhook::default()
        };
        let request = CreateWebhookRequest {
            parent: ORGANIZATION.to_owned(),
            webhook: Some(webhook),
        };
        let created = WebhookServiceClient::new(channel.clone())
            .create_webhook(authorized(request, token)?)
            .await?
            .into_inner();
        let id = created.name.rsplit('/').next().unwrap_or_default();
        let id = id.parse::<WebhookId>()?.raw();
        receivers.belongs(name, id);
        history.add(&Entry::Webhook {
            id,
            name: name.to_owned(),
            ordered,
            silent: manner == Manner::Silent,
        });
    }
    Ok(())
}

/// Checks the history of a run, and writes the report beside it.
///
/// # Errors
/// Fails if the history cannot be read, or the report cannot be written.
pub fn verdict(out: &Path) -> anyhow::Result<Verdict> {
    let verdict = checker::check(&history::read(out)?);
    std::fs::write(out.join("report.json"), serde_json::to_vec_pretty(&verdict)?)?;
    std::fs::write(out.join("report.txt"), verdict.table())?;
    Ok(verdict)
}
