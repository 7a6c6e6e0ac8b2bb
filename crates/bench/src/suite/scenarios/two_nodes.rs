//! Two nodes on one PostgreSQL, compared with one: each gets the same share of a core, so that neither the machine nor
//! the database is the limit.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::super::{
    Figures, Store,
    world::{Setup, Site, World},
};
use super::throughput::{STREAM, install, measure};
use crate::parts::messages::Publish;

/// The share of a core for each node: a fifth, so that the database, the sink and the publisher have enough of two
/// cores.
const SHARE: f64 = 0.2;
const PERIOD_US: u32 = 20_000;
/// The master key of both nodes.
const MASTER_KEY: &str = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";

pub(super) async fn run(site: &mut Site, store: Store) -> anyhow::Result<Figures> {
    let events = site.profile.pick(30_000, 100_000);
    let settings = [("--master-key", MASTER_KEY), ("--node-name", "one")];
    let setup = Setup {
        settings: &settings,
        ..Setup::default()
    };
    let mut world = World::start_as(site, store, &setup).await?;
    let mut load = Publish::new(STREAM, events, &install(&world, 1).await?);
    let raw = world.raw(1.5).await?;
    let _first = Limit::new("one", world.server.pid())?;
    let mut publisher = world.publisher()?;
    let one = measure(&mut world, &mut publisher, &load).await?;
    drop(publisher);
    let second = world
        .second_server(site, &[("--master-key", MASTER_KEY), ("--node-name", "two")])
        .await?;
    let _second = Limit::new("two", second.pid())?;
    let mut publisher = world.publisher_of(&[world.server.grpc_address(), second.grpc_address()])?;
    load.count *= 2;
    let two = measure(&mut world, &mut publisher, &load).await?;
    let mut figures = two.figures(&raw);
    // This figure covers only one of the nodes.
    figures.remove("server_cpu_us_per_delivery");
    figures.remove("cpu_ratio_to_raw");
    figures.extend([
        ("one_node_deliveries_per_s", one.per_second()),
        ("rate_ratio_to_one_node", two.per_second() / one.per_second()),
    ]);
    Ok(figures)
}

/// A control group, of either version, that limits one process to a share of a core.
struct Limit {
    directory: PathBuf,
}

impl Limit {
    fn new(name: &str, pid: u32) -> anyhow::Result<Self> {
        let (old, new) = (Path::new("/sys/fs/cgroup/cpu"), Path::new("/sys/fs/cgroup"));
        let is_old = old.is_dir();
        let directory = if is_old { old } else { new }.join(format!("hookwright-bench-{name}-{}", std::process::id()));
        std::fs::create_dir(&directory).context("a control group for the CPU: run as root, or omit this scenario")?;
        let limit = Self { directory };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a part of the period"
        )]
        let quota = (SHARE * f64::from(PERIOD_US)) as u32;
        if is_old {
            limit.set("cpu.cfs_period_us", &PERIOD_US.to_string())?;
            limit.set("cpu.cfs_quota_us", &quota.to_string())?;
        } else {
            limit.set("cpu.max", &format!("{quota} {PERIOD_US}"))?;
        }
        limit.set("cgroup.procs", &pid.to_string())?;
        Ok(limit)
    }

    fn set(&self, file: &str, value: &str) -> anyhow::Result<()> {
        std::fs::write(self.directory.join(file), value).with_context(|| format!("{file} of a control group"))
    }
}

impl Drop for Limit {
    /// Returns the process to the root group, because a group with a process in it cannot be removed.
    fn drop(&mut self) {
        let pids = std::fs::read_to_string(self.directory.join("cgroup.procs")).unwrap_or_default();
        for pid in pids.lines() {
            let root = self.directory.parent().unwrap_or(Path::new("/")).join("cgroup.procs");
            let _ = std::fs::write(root, pid);
        }
        let _ = std::fs::remove_dir(&self.directory);
    }
}
