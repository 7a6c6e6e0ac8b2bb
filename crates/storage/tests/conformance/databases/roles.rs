//! Roles that own nothing, and functions that do for them what only an owner may.

use hookwright_domain::id::IdGenerator;
use hookwright_storage::{Batch, Store, StoreError};
use hookwright_testkit::TestDatabase;

use super::{database, options};
use crate::support::{Fixture, audit, organization, session};

/// A role with the rights that a server needs on a schema with another owner.
pub(crate) struct Role<'a> {
    name: String,
    database: &'a TestDatabase,
    admin: tokio_postgres::Client,
}

impl<'a> Role<'a> {
    async fn new(database: &'a TestDatabase) -> Self {
        let name = format!("server_{}", database.name());
        let admin = session(database.url()).await;
        let text = format!(
            "DROP ROLE IF EXISTS {name}; CREATE ROLE {name} LOGIN PASSWORD 'secret'; GRANT USAGE ON SCHEMA public TO {name};
             GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {name}"
        );
        admin.batch_execute(&text).await.unwrap();
        Self { name, database, admin }
    }

    fn url(&self) -> String {
        let (_, rest) = self.database.url().split_once('@').unwrap();
        format!("postgres://{}:secret@{rest}", self.name)
    }

    async fn run(&self, text: &str) {
        self.admin
            .batch_execute(&text.replace("THE_ROLE", &self.name))
            .await
            .unwrap();
    }

    /// Drops the role, because a role belongs to the whole cluster.
    async fn drop(self) {
        self.run("DROP OWNED BY THE_ROLE; DROP ROLE THE_ROLE").await;
    }

    async fn days(&self) -> i64 {
        let query = "SELECT count(*) FROM partitions";
        self.admin.query_one(query, &[]).await.unwrap().get(0)
    }
}

const GRANT: &str =
    "GRANT EXECUTE ON FUNCTION hookwright_make_partition(date), hookwright_drop_partition(bigint) TO THE_ROLE";

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_role_that_owns_nothing_opens_a_current_schema_and_makes_and_drops_days() {
    let database = database().await;
    let owner = options(database.url(), "node");
    Store::migrate(&owner).await.unwrap();
    let role = Role::new(&database).await;
    let limited = options(&role.url(), "node");
    assert_eq!(
        Store::migrate(&limited).await.unwrap(),
        [""; 0],
        "there is nothing to do"
    );

    let error = Store::open(&limited).await.err().unwrap();
    assert!(
        matches!(&error, StoreError::Forbidden(text) if text.contains("GRANT EXECUTE")),
        "{error}"
    );
    role.run(GRANT).await;
    let store = Store::open(&limited).await.unwrap();
    assert_eq!(role.days().await, 15);
    store
        .insert_organization(&organization(7, "acme"), &audit(1))
        .await
        .unwrap();
    let ids = IdGenerator::new(store.node(), 0);
    let batch = Batch {
        events: vec![Fixture::event_by(&ids, &[])],
        ..Batch::default()
    };
    store.commit(&batch).await.unwrap();

    // Without the function the server keeps running, because partitions exist.
    role.run("REVOKE EXECUTE ON FUNCTION hookwright_make_partition(date) FROM THE_ROLE")
        .await;
    role.run("DELETE FROM partitions WHERE day = (SELECT max(day) FROM partitions)")
        .await;
    store.maintain(hookwright_storage::clock::now_us()).await.unwrap();
    assert_eq!(role.days().await, 14);
    drop(store);
    role.drop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn the_functions_of_a_role_that_owns_nothing_do_no_more_than_they_are_for() {
    let database = database().await;
    Store::migrate(&options(database.url(), "node")).await.unwrap();
    let role = Role::new(&database).await;
    let session = session(&role.url()).await;
    let refused = async |text: &str| {
        let error = session.batch_execute(text).await.unwrap_err();
        error.as_db_error().unwrap().code().code().to_owned()
    };
    assert_eq!(refused("SELECT hookwright_make_partition(current_date)").await, "42501");
    assert_eq!(refused("SELECT hookwright_drop_partition(0)").await, "42501");
    role.run(GRANT).await;
    for day in ["current_date - 3", "current_date + 40", "NULL", "'infinity'"] {
        let code = refused(&format!("SELECT hookwright_make_partition({day})")).await;
        assert!(["22023", "22008"].contains(&code.as_str()), "{day}: {code}");
    }
    session
        .batch_execute(
            "SELECT hookwright_make_partition(current_date - 1), hookwright_make_partition(current_date - 1)",
        )
        .await
        .unwrap();
    assert_eq!(role.days().await, 1);
    let dropping = "SELECT hookwright_drop_partition(end_id) FROM partitions";
    assert_eq!(refused(dropping).await, "55006", "its request ids are not removed yet");
    session
        .batch_execute("SELECT hookwright_make_partition(current_date); UPDATE partitions SET cleared_to = end_id")
        .await
        .unwrap();
    assert_eq!(refused(dropping).await, "55006", "today is in use");
    // The caller's own tables have no effect.
    session
        .batch_execute("CREATE TEMP TABLE partitions (day date, first_id bigint, end_id bigint, cleared_to bigint)")
        .await
        .unwrap();
    session
        .batch_execute(&format!(
            "{} WHERE day < current_date",
            dropping.replace("partitions", "public.partitions")
        ))
        .await
        .unwrap();
    assert_eq!(role.days().await, 1);
    let left: i64 = role
        .admin
        .query_one(
            "SELECT count(*) FROM pg_inherits WHERE inhparent = 'events'::regclass",
            &[],
        )
        .await
        .unwrap()
        .get(0);
    assert_eq!(left, 1);
    drop(session);
    role.drop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_role_that_may_not_migrate_is_told_to_have_it_done() {
    let database = database().await;
    let admin = session(database.url()).await;
    admin
        .batch_execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
        .await
        .unwrap();
    let role = Role::new(&database).await;
    let error = Store::migrate(&options(&role.url(), "node")).await.unwrap_err();
    assert!(
        matches!(&error, StoreError::Forbidden(text) if text.contains("hookwright migrate")),
        "{error}"
    );
    role.drop().await;
}
