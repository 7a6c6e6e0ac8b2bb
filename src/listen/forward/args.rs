//! The flags of `--forward-to`.

use std::{path::PathBuf, time::Duration};

use clap::Args;
use hookwright_delivery::sender::AttemptReport;

use super::line::Then;
use crate::{
    client::{ClientArgs, names::OrganizationArgs},
    units::parse_duration,
};

/// How long a delivery to a temporary webhook is retried: long enough to fix and restart a program.
const TRIES_DEFAULT: u32 = 10;
/// The maximum retry delay.
const DELAY_MAX: Duration = Duration::from_secs(60);

/// The deliveries to forward, and the target.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Forwarding")]
pub(crate) struct ForwardArgs {
    /// Listen on no address: pull the organization's deliveries from the server, and post each to this URL. `http://` is
    /// optional for this machine, as in localhost:4242/webhook
    #[arg(long, value_name = "URL", conflicts_with_all = ["address", "status"])]
    pub(in crate::listen) forward_to: Option<String>,
    #[command(flatten)]
    pub(super) organization: OrganizationArgs,
    /// Event type to forward, or `*` for all; repeatable [default: *]
    #[arg(
        long = "event-type",
        alias = "event",
        value_name = "TYPE",
        value_delimiter = ',',
        requires = "forward_to",
        conflicts_with = "webhook"
    )]
    pub(super) events: Vec<String>,
    /// CEL expression that selects events of these types: text, @FILE, or - for standard input [default: all]
    #[arg(
        long,
        value_name = "CEL|@FILE|-",
        requires = "forward_to",
        conflicts_with = "webhook"
    )]
    pub(super) filter: Option<String>,
    /// Pull from this webhook, created with --pull, instead of a temporary one; it is not deleted
    #[arg(long, value_name = "WEBHOOK", requires = "forward_to")]
    pub(super) webhook: Option<String>,
    /// Timeout of an attempt, 1s to 1h
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = attempt_timeout, requires = "forward_to")]
    pub(super) attempt_timeout: Duration,
    /// Maximum number of attempts before a delivery is acknowledged anyway [default: 10; unlimited with --webhook]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..), requires = "forward_to")]
    tries: Option<u32>,
    /// Delay before the first retry; doubles each time, up to 1m
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = parse_duration, requires = "forward_to")]
    retry_delay: Duration,
    /// Post even if the URL's TLS certificate cannot be verified
    #[arg(long, requires = "forward_to")]
    pub(super) insecure_skip_tls_verify: bool,
    #[command(flatten)]
    pub(super) server: ServerArgs,
}

/// Connection flags as in every client command, except that --address is taken.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Connection")]
pub(super) struct ServerArgs {
    /// The server's gRPC address [env: HOOKWRIGHT_ADDRESS] [default: the profile's, else http://127.0.0.1:50051]
    #[arg(long, value_name = "URL")]
    server: Option<String>,
    /// API token, of the scope `manage` [env: HOOKWRIGHT_TOKEN]
    #[arg(long, value_name = "TOKEN")]
    token: Option<String>,
    /// File that contains the API token [env: HOOKWRIGHT_TOKEN_FILE] [default: as for other commands]
    #[arg(long, value_name = "FILE", conflicts_with = "token")]
    token_file: Option<PathBuf>,
    /// PEM file of certificate authorities to trust in addition to the system's, for the server and for --forward-to [env:
    /// HOOKWRIGHT_CA_FILE]
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Timeout of each call, for example 5s or 2m [default: 30s]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    timeout: Option<Duration>,
    /// The profile to use, see `hookwright profiles` [env: HOOKWRIGHT_PROFILE]
    #[arg(long, value_name = "NAME")]
    profile: Option<String>,
    /// The file that stores the profiles [env: HOOKWRIGHT_CLIENT_CONFIG]
    #[arg(long, value_name = "FILE")]
    client_config: Option<PathBuf>,
}

impl ServerArgs {
    /// The equivalent flags of other commands.
    pub(super) fn client(&self) -> ClientArgs {
        let one = self.clone();
        ClientArgs {
            address: one.server,
            token: one.token,
            token_file: one.token_file,
            ca_file: one.ca_file,
            timeout: one.timeout,
            profile: one.profile,
            client_config: one.client_config,
            ..ClientArgs::default()
        }
    }
}

fn attempt_timeout(text: &str) -> Result<Duration, String> {
    let timeout = parse_duration(text)?;
    if (Duration::from_secs(1)..=Duration::from_secs(3_600)).contains(&timeout) {
        Ok(timeout)
    } else {
        Err("write a duration from 1s to 1h".to_owned())
    }
}

impl ForwardArgs {
    /// The retry policy.
    pub(super) fn retries(&self) -> Retries {
        Retries {
            // A user's own webhook may contain deliveries that others need: give up none of them unless --tries is set.
            tries: self.tries.or(self.webhook.is_none().then_some(TRIES_DEFAULT)),
            delay: self.retry_delay,
        }
    }
}

/// When a delivery is retried, and when the command gives up.
#[derive(Clone, Copy, Debug)]
pub(super) struct Retries {
    tries: Option<u32>,
    delay: Duration,
}

impl Retries {
    /// What happens to a delivery after an attempt, of which 1 is the first.
    pub(super) fn after(self, report: &AttemptReport, attempt: i32) -> Then {
        if report.failure.is_none() {
            return Then::Acknowledge;
        }
        let attempt = u32::try_from(attempt).unwrap_or(1).max(1);
        if self.tries.is_some_and(|tries| attempt >= tries) {
            return Then::GiveUp;
        }
        let factor = 1_u32.checked_shl(attempt - 1).unwrap_or(u32::MAX);
        Then::TryAgain(self.delay.saturating_mul(factor).min(DELAY_MAX.max(self.delay)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delivery_is_tried_ever_later_and_then_given_up() {
        let retries = Retries {
            tries: Some(4),
            delay: Duration::from_secs(20),
        };
        let failed = AttemptReport::internal(0, "refused");
        let delivered = AttemptReport {
            failure: None,
            ..failed.clone()
        };
        let after = |retries: Retries, attempt| retries.after(&failed, attempt);
        let again = |seconds| Then::TryAgain(Duration::from_secs(seconds));
        assert_eq!(retries.after(&delivered, 1), Then::Acknowledge);
        assert_eq!(
            [1, 2, 3, 4].map(|attempt| after(retries, attempt)),
            [again(20), again(40), again(60), Then::GiveUp]
        );
        let endless = Retries { tries: None, ..retries };
        for attempt in [i32::MIN, 0, 33, i32::MAX] {
            assert!(matches!(after(endless, attempt), Then::TryAgain(_)), "{attempt}");
        }
    }
}
