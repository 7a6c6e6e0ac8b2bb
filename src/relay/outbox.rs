//! The outbox: reads rows, and settles them.

use std::{collections::HashMap, time::SystemTime};

use anyhow::{Context as _, anyhow};
use hookwright_client::v1::PublishEventRequest;
use tokio_postgres::{Row, Statement};

use super::{
    database::{Parameters, Session},
    table::{CHANNEL, Table},
    verdict::Verdict,
};

/// Maximum payload bytes of a batch, except for its first row.
const BATCH_BYTES_MAX: i64 = 8 << 20;
/// The first half of the advisory lock of the active relay; the second is the table's OID.
const LOCK: i32 = 0x4f75_7462;
/// Maximum length of a stored rejection reason.
const ERROR_CHARS_MAX: usize = 2_000;

/// The outbox, over one connection.
pub(super) struct Outbox {
    pub(super) session: Session,
    read: Statement,
    delete: Statement,
    keep: Statement,
    /// The table's OID, as lock functions take it.
    number: i32,
    table: String,
}

/// A row to publish.
pub(super) struct Pending {
    pub(super) id: i64,
    pub(super) event: PublishEventRequest,
}

/// The state of the outbox.
pub(super) struct Status {
    pub(super) waiting: i64,
    /// Age of the oldest pending row.
    pub(super) oldest_seconds: Option<i64>,
    pub(super) failed: i64,
    /// Whether a relay is active.
    pub(super) led: bool,
}

impl Outbox {
    /// Finds the table, and prepares the statements.
    pub(super) async fn open(session: Session, table: &Table) -> anyhow::Result<Self> {
        let name = table.to_string();
        let found = session.query_one("SELECT to_regclass($1)::oid", &[&name]).await?;
        let number: Option<u32> = found.get(0);
        let number = number.ok_or_else(|| Missing(name.clone()))?.cast_signed();
        let prepare = async |sql: String| {
            let prepared = session.prepare(&sql).await;
            prepared.with_context(|| format!("cannot use {name}; was it created by `hookwright relay init`?"))
        };
        Ok(Self {
            read: prepare(read_sql(table)).await?,
            delete: prepare(settle_sql(table, &delete_sql(table))).await?,
            keep: prepare(settle_sql(table, &keep_sql(table))).await?,
            session,
            number,
            table: name,
        })
    }

    /// Tries to take the lock of the active relay, which lasts as long as the connection. Does not wait: a statement that
    /// waits for hours would hold back the vacuum.
    pub(super) async fn try_lead(&self) -> anyhow::Result<bool> {
        let sql = "SELECT pg_try_advisory_lock($1, $2)";
        let asked = self.session.query_one(sql, &[&LOCK, &self.number]).await;
        Ok(asked?.get(0))
    }

    /// Subscribes this connection to notifications of new rows.
    pub(super) async fn listen(&self) -> anyhow::Result<()> {
        self.session.run(&format!("LISTEN {CHANNEL}")).await
    }

    /// The first pending rows, by id: at most `limit`, and at most as many as fit into a batch by size.
    pub(super) async fn read(&self, rows_max: usize) -> anyhow::Result<Vec<Pending>> {
        let rows_max = i64::try_from(rows_max).unwrap_or(i64::MAX);
        let read = self.session.query(&self.read, &[&rows_max, &BATCH_BYTES_MAX]).await;
        let rows = read.context("cannot read the outbox")?;
        rows.iter().map(pending).collect()
    }

    /// Removes (or marks, with --keep) published rows, and marks rejected ones, in one transaction.
    pub(super) async fn settle(&self, verdict: &Verdict, keep: bool) -> anyhow::Result<()> {
        if verdict.published.is_empty() && verdict.refused.is_empty() {
            return Ok(());
        }
        let (published, events): (Vec<i64>, Vec<&str>) = verdict
            .published
            .iter()
            .map(|(id, event)| (*id, event.as_str()))
            .unzip();
        let (refused, errors): (Vec<i64>, Vec<String>) =
            verdict.refused.iter().map(|(id, error)| (*id, storable(error))).unzip();
        let statement = if keep { &self.keep } else { &self.delete };
        let parameters: Parameters<'_> = &[&published, &events, &refused, &errors];
        let settled = self.session.execute(statement, parameters).await;
        settled.context("cannot settle rows of the outbox")?;
        Ok(())
    }

    /// The state of the outbox.
    pub(super) async fn status(&self) -> anyhow::Result<Status> {
        let sql = format!(
            "SELECT count(*) FILTER (WHERE failed_at IS NULL), \
             extract(epoch FROM now() - min(created_at) FILTER (WHERE failed_at IS NULL))::bigint, \
             count(*) FILTER (WHERE failed_at IS NOT NULL), \
             EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND granted AND classid = {LOCK} \
                     AND objid = {} AND objsubid = 2 \
                     AND database = (SELECT oid FROM pg_database WHERE datname = current_database())) \
             FROM {} WHERE published_at IS NULL",
            self.number.cast_unsigned(),
            self.table
        );
        let row = self.session.query_one(&sql, &[]).await?;
        Ok(Status {
            waiting: row.get(0),
            oldest_seconds: row.get(1),
            failed: row.get(2),
            led: row.get(3),
        })
    }

    /// Puts rejected rows back: those with these ids, or all. Returns their number.
    pub(super) async fn retry_failed(&self, ids: &[i64]) -> anyhow::Result<u64> {
        let sql = format!(
            "UPDATE {} SET failed_at = NULL, error = NULL \
             WHERE failed_at IS NOT NULL AND (cardinality($1::bigint[]) = 0 OR id = ANY($1))",
            self.table
        );
        let put_back = self.session.prepare(&sql).await?;
        let count = self.session.execute(&put_back, &[&ids]).await?;
        self.session.run(&format!("NOTIFY {CHANNEL}")).await?;
        Ok(count)
    }
}

/// The table does not exist.
#[derive(Debug)]
pub(super) struct Missing(String);

impl std::fmt::Display for Missing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "the table {} does not exist: create it with `hookwright relay init`, or name another one with --table",
            self.0
        )
    }
}

impl std::error::Error for Missing {}

/// Adds up sizes in the database, so that large payloads are not read in vain.
fn read_sql(table: &Table) -> String {
    format!(
        "SELECT id, organization, event_type, payload, attributes::text, ordering_key, event_time, request_id \
         FROM (SELECT *, row_number() OVER waiting AS place, sum(octet_length(payload)) OVER waiting AS bytes \
               FROM (SELECT * FROM {table} WHERE published_at IS NULL AND failed_at IS NULL ORDER BY id LIMIT $1) AS first \
               WINDOW waiting AS (ORDER BY id)) AS sized \
         WHERE place = 1 OR bytes <= $2 ORDER BY id"
    )
}

/// The rows of `$1` were published as the events of `$2`, which `published` processes; those of `$3` were rejected for the
/// reasons of `$4`.
fn settle_sql(table: &Table, published: &str) -> String {
    format!(
        "WITH refused AS (UPDATE {table} AS o SET failed_at = now(), error = r.error \
         FROM unnest($3::bigint[], $4::text[]) AS r (id, error) WHERE o.id = r.id) {published}"
    )
}

fn delete_sql(table: &Table) -> String {
    format!("DELETE FROM {table} WHERE id = ANY ($1::bigint[]) AND $2::text[] IS NOT NULL")
}

fn keep_sql(table: &Table) -> String {
    format!(
        "UPDATE {table} AS o SET published_at = now(), event = p.event \
         FROM unnest($1::bigint[], $2::text[]) AS p (id, event) WHERE o.id = p.id"
    )
}

fn pending(row: &Row) -> anyhow::Result<Pending> {
    let id: i64 = row.try_get("id")?;
    let read = || -> anyhow::Result<PublishEventRequest> {
        let organization: String = row.try_get("organization")?;
        let event_type: String = row.try_get("event_type")?;
        let payload: String = row.try_get("payload")?;
        let attributes: Option<String> = row.try_get("attributes")?;
        let ordering_key: Option<String> = row.try_get("ordering_key")?;
        let event_time: Option<SystemTime> = row.try_get("event_time")?;
        Ok(PublishEventRequest {
            attributes: attributes
                .as_deref()
                .map(attributes_of)
                .transpose()?
                .unwrap_or_default(),
            ordering_key: ordering_key.unwrap_or_default(),
            event_time: event_time.map(Into::into),
            request_id: row.try_get("request_id")?,
            ..hookwright_client::event(organization, event_type, payload)
        })
    };
    let event = read().with_context(|| {
        format!("row {id} of the outbox does not have the columns that `hookwright relay init` creates")
    })?;
    Ok(Pending { id, event })
}

/// Attributes are strings: other values are sent as their JSON text.
fn attributes_of(json: &str) -> anyhow::Result<HashMap<String, String>> {
    let serde_json::Value::Object(members) = serde_json::from_str(json)? else {
        return Err(anyhow!("attributes must be a JSON object"));
    };
    let text = |value| match value {
        serde_json::Value::String(text) => text,
        other => other.to_string(),
    };
    Ok(members.into_iter().map(|(key, value)| (key, text(value))).collect())
}

/// Text that PostgreSQL can store, truncated.
fn storable(error: &str) -> String {
    error.chars().filter(|c| *c != '\0').take(ERROR_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_strings() {
        let attributes = attributes_of(r#"{"region":"eu","count":3,"vip":true}"#).unwrap();
        assert_eq!(attributes["region"], "eu");
        assert_eq!(attributes["count"], "3");
        assert_eq!(attributes["vip"], "true");
        assert!(attributes_of("[]").is_err());
    }
}
