//! The resources in the final store that calls created whose callers left, read without the server, by SQL that is the
//! same on both stores.

use diesel::{QueryableByName, RunQueryDsl as _, sql_types};
use hookwright_domain::id::WebhookId;

use crate::{
    dump::{connect, open},
    history::{Entry, History},
    nodes::Place,
};

const FETCHED: &str = "SELECT id, length(webhooks) / 8 AS count, '' AS name FROM events WHERE event_type = 'left'";
const WEBHOOKS: &str = "SELECT w.id AS id,
    (SELECT count(*) FROM signing_secrets s WHERE s.webhook_id = w.id) AS count, o.name AS name
    FROM webhooks w JOIN organizations o ON o.id = w.organization_id";
const ORGANIZATIONS: &str = "SELECT id, 0 AS count, name FROM organizations";
const LINES: &str = "SELECT id, 0 AS count, resource AS name FROM audit_log
    WHERE action IN ('organization.create', 'webhook.create')";

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = sql_types::BigInt)]
    id: i64,
    #[diesel(sql_type = sql_types::BigInt)]
    count: i64,
    #[diesel(sql_type = sql_types::Text)]
    name: String,
}

async fn rows(place: &Place, query: &str) -> anyhow::Result<Vec<Row>> {
    match place {
        Place::Sqlite { directory } => Ok(diesel::sql_query(query).load(&mut open(directory)?)?),
        Place::Postgres { database, .. } => {
            let query = format!("SELECT id, count::bigint, name FROM ({query}) AS made");
            let found = connect(database.url()).await?.query(&query, &[]).await?;
            let row = |row: &tokio_postgres::Row| Row {
                id: row.get(0),
                count: row.get(1),
                name: row.get(2),
            };
            Ok(found.iter().map(row).collect())
        }
    }
}

/// Adds these resources, and the pulled events, to the history.
pub(crate) async fn dump(place: &Place, history: &History) -> anyhow::Result<()> {
    for row in rows(place, FETCHED).await? {
        history.add(&Entry::Fetched {
            event: row.id,
            webhooks: usize::try_from(row.count).unwrap_or(0),
        });
    }
    let lines = rows(place, LINES).await?;
    let lines_of = |name: &str| lines.iter().filter(|line| line.name == name).count();
    for row in rows(place, ORGANIZATIONS).await? {
        let name = format!("organizations/{}", row.name);
        history.add(&Entry::Made {
            lines: lines_of(&name),
            name,
            secrets: None,
        });
    }
    for row in rows(place, WEBHOOKS).await? {
        let name = format!("organizations/{}/webhooks/{}", row.name, WebhookId::from_raw(row.id));
        history.add(&Entry::Made {
            lines: lines_of(&name),
            name,
            secrets: Some(usize::try_from(row.count).unwrap_or(0)),
        });
    }
    Ok(())
}
