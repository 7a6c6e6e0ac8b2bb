//! The limit on open files: raises it at startup, and divides it into a budget.
//!
//! The usual soft limit of 1,024 exists for programs that call `select`. Every server therefore raises it to the hard limit,
//! which only root may exceed.

use std::fmt;

use hookwright_delivery::descriptors::{Budget, Listeners};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::{grpc, listener, options::Options};

/// Threads with a runtime, apart from those of the engine: the one that answers callers, and the committer's.
const RUNTIMES: usize = 2;

/// The descriptors of a server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Descriptors {
    limit: Limit,
    pub(crate) budget: Budget,
    /// The maximum of attempts in flight: of the settings, and that in force.
    attempts_configured: usize,
    pub(crate) attempts_max: usize,
}

/// The limit on open files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Limit {
    /// The soft limit at startup.
    found: usize,
    /// The soft limit in force.
    reached: usize,
}

impl Limit {
    /// Raises the soft limit to the hard one.
    fn raise() -> Self {
        let before = getrlimit(Resource::Nofile);
        let raised = Rlimit {
            current: before.maximum,
            ..before
        };
        if let Err(error) = setrlimit(Resource::Nofile, raised) {
            tracing::warn!(%error, "the limit on open files cannot be raised to the hard limit");
        }
        let files = |limit: Option<u64>| limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
        Self {
            found: files(before.current),
            reached: files(getrlimit(Resource::Nofile).current),
        }
    }
}

impl Descriptors {
    /// Raises the limit on open files, divides it, and logs both.
    ///
    /// # Errors
    /// When the limit is too low for a server.
    pub(crate) fn claim(options: &Options) -> anyhow::Result<Self> {
        let descriptors = Self::of(Limit::raise(), options)?;
        descriptors.log();
        Ok(descriptors)
    }

    fn of(limit: Limit, options: &Options) -> anyhow::Result<Self> {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let wanted = Listeners {
            grpc: grpc::limits(options).connections.total(),
            http: listener::Limits::http().connections.total(),
        };
        let budget = Budget::new(limit.reached, cores + RUNTIMES, wanted)?;
        Ok(Self {
            limit,
            budget,
            attempts_configured: options.concurrent_attempts_max,
            attempts_max: budget.attempts_max(options.concurrent_attempts_max),
        })
    }

    fn log(&self) {
        let Limit { found, reached } = self.limit;
        let Listeners { grpc, http } = self.budget.listeners;
        tracing::info!(
            found,
            limit = reached,
            reserve = self.budget.reserve,
            grpc,
            http,
            receivers = self.budget.connections,
            attempts = self.attempts_max,
            "file descriptors are divided"
        );
        if let Some(warning) = self.warning() {
            tracing::warn!("{warning}");
        }
    }

    /// The note in `/readyz`: the limit allows fewer attempts than the settings.
    pub(crate) fn warning(&self) -> Option<Warning> {
        (self.attempts_max < self.attempts_configured).then_some(Warning(*self))
    }
}

/// The limit allows fewer attempts than the settings.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Warning(Descriptors);

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Descriptors {
            limit,
            attempts_configured,
            attempts_max,
            ..
        } = &self.0;
        let limit = limit.reached;
        write!(
            f,
            "the limit on open files is {limit}: {attempts_max} attempts can be in flight, not {attempts_configured} \
             (concurrent-attempts-max); raise the hard limit (ulimit -Hn, LimitNOFILE in systemd)"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn descriptors(reached: usize, attempts: usize) -> anyhow::Result<Descriptors> {
        let mut options = Options::new("/nowhere".into());
        options.concurrent_attempts_max = attempts;
        Descriptors::of(Limit { found: 10, reached }, &options)
    }

    #[test]
    fn x02_a_limit_below_the_attempts_of_the_settings_is_said() {
        let few = descriptors(512, 1_024).unwrap();
        assert!(few.attempts_max < 512);
        let warning = few.warning().unwrap().to_string();
        let expected = format!("is 512: {} attempts can be in flight, not 1024", few.attempts_max);
        assert!(warning.contains(&expected), "{warning}");
        let plenty = descriptors(100_000, 1_024).unwrap();
        assert_eq!((plenty.attempts_max, plenty.warning().is_none()), (1_024, true));
        assert!(
            descriptors(20, 1_024)
                .unwrap_err()
                .to_string()
                .contains("open files is 20")
        );
    }

    #[test]
    fn the_limit_is_raised_as_far_as_the_system_allows() {
        let limit = Limit::raise();
        let hard = getrlimit(Resource::Nofile).maximum;
        assert!(limit.found <= limit.reached);
        assert!(hard.is_none_or(|hard| limit.reached == usize::try_from(hard).unwrap()));
    }
}
