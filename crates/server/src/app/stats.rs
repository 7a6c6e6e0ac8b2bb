//! Statistics: counts of deliveries over time.

use std::collections::HashMap;

use hookwright_delivery::clock;
use hookwright_domain::id::WebhookId;
use hookwright_storage::stats::{INSTALLATION, StatsRow, Tally};

use super::{
    App,
    access::{Caller, Scope},
    error::{AppError, AppResult},
};

/// In seconds.
const HOUR: i64 = 3_600;
const DAY_US: i64 = 86_400_000_000;
/// Default number of periods.
const PERIODS_DEFAULT: i64 = 60;
/// Maximum number of periods per answer: hours are kept for this long.
const PERIODS_MAX: i64 = 2_160;

/// The subject of statistics.
#[derive(Clone, Copy, Debug)]
pub enum Subject<'a> {
    /// The whole installation's.
    Installation,
    /// An organization's.
    Organization(&'a str),
    /// A webhook's.
    Webhook(&'a str, WebhookId),
}

/// The queried periods.
#[derive(Clone, Copy, Debug)]
pub struct StatsQuery {
    /// Their length in seconds.
    pub period: i64,
    /// Those that begin at or after this time, in microseconds since the epoch.
    pub start: Option<i64>,
    /// Those that begin before this time.
    pub end: Option<i64>,
}

impl App {
    /// The counts per period, and their total.
    ///
    /// # Errors
    /// When the caller may not see the subject, it does not exist, or the query covers too many periods.
    pub async fn delivery_stats(
        &self,
        caller: &Caller,
        subject: Subject<'_>,
        query: StatsQuery,
    ) -> AppResult<(Vec<StatsRow>, Tally)> {
        let subject = match subject {
            Subject::Installation => {
                caller.require(Scope::Read)?;
                INSTALLATION
            }
            Subject::Organization(name) => self.organization_for(caller, Scope::Read, name)?.id,
            Subject::Webhook(organization, id) => self.webhook_for(caller, Scope::Read, organization, id)?.row.id,
        };
        let length = query.period * 1_000_000;
        let end = query.end.unwrap_or_else(clock::now_us);
        let start = query.start.unwrap_or(end - PERIODS_DEFAULT * length);
        if start > end {
            return Err(AppError::invalid(
                "start_time",
                "OUT_OF_RANGE",
                "must not be after the end time",
            ));
        }
        if (end - start) / length > PERIODS_MAX {
            let rule = format!("must be at most {PERIODS_MAX} periods before the end time; use longer periods");
            return Err(AppError::invalid("start_time", "OUT_OF_RANGE", rule));
        }
        let rows = self.store.stats(subject, query.period, start, end).await?;
        let mut total = Tally::default();
        rows.iter().for_each(|row| total.add(&row.tally));
        Ok((rows, total))
    }

    /// The counts of some of an organization's webhooks over the last 24 hours, by id; without those that have none.
    ///
    /// # Errors
    /// When the caller may not see the organization, or it does not exist.
    pub async fn webhooks_day(
        &self,
        caller: &Caller,
        organization: &str,
        webhooks: &[i64],
    ) -> AppResult<HashMap<i64, Tally>> {
        let row = self.organization_for(caller, Scope::Read, organization)?;
        let own = webhooks.iter().copied();
        let own = own.filter(|id| self.registry.webhook(row.id, WebhookId::from_raw(*id)).is_some());
        let now = clock::now_us();
        Ok(self.store.stats_of(own.collect(), HOUR, now - DAY_US, now).await?)
    }
}
