//! PostgreSQL as operators set it up.
//!
//! | module | what is shown |
//! | --- | --- |
//! | `poolers` | PgBouncer between a server and its database |
//! | `roles` | roles with few rights |
//! | `schemas` | schemas other than `public` |
//! | `standbys` | a primary that became read-only |
//! | `tls` | certificates and `sslmode` |

mod poolers;
mod roles;
mod schemas;
mod standbys;
mod tls;

use std::path::Path;

use hookwright_storage::{Batch, StoreOptions, nodes::NodeOptions};
use hookwright_testkit::{PostgresCluster, TestDatabase};

async fn database() -> TestDatabase {
    let cluster = PostgresCluster::shared().await.unwrap();
    cluster.create_database().await.unwrap()
}

fn options(url: &str, node: &str) -> StoreOptions {
    StoreOptions {
        node: NodeOptions {
            name: node.to_owned(),
            ..NodeOptions::default()
        },
        ..StoreOptions::new(url)
    }
}

/// A commit that needs only a nodes table.
fn watermark(event: i64) -> Batch {
    Batch {
        watermark: Some(event),
        ..Batch::default()
    }
}

/// Whether this process is root, so that the files that it creates are root's.
fn is_root(made: &Path) -> bool {
    std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(made).unwrap()) == 0
}
