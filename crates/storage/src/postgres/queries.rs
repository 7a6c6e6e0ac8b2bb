//! The shared queries, for PostgreSQL.

use diesel::{
    ExpressionMethods as _, IntoSql as _, OptionalExtension as _, QueryDsl as _, SelectableHelper as _,
    result::QueryResult,
};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};

use crate::{batch::*, row_event::*};

crate::queries::catalogue::catalogue_queries!(AsyncPgConnection, [async], [.await]);
crate::queries::queue::queue_queries!([async], [.await]);
crate::queries::history::history_queries!([async], [.await]);
crate::queries::retention::retention_queries!([async], [.await]);
