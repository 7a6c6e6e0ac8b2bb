//! PostgreSQL as operators set it up: schemas, certificates, poolers, standbys.

use std::{
    collections::HashMap,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Child, Command, Stdio},
};

use hookwright_domain::id::IdGenerator;
use hookwright_storage::{
    Batch, CommitError, Store, StoreError, StoreOptions,
    nodes::{NodeOptions, Notice},
};
use hookwright_testkit::{Authority, DEADLINE, PostgresCluster, TestDatabase, until};

use crate::{
    nodes::Shared,
    support::{Fixture, audit, organization, session, with_request},
};

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

/// A commit that needs no more than a table of nodes.
fn checkpoint(event: i64) -> Batch {
    Batch {
        checkpoint: Some(event),
        ..Batch::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn b04_two_schemas_of_a_database_are_two_installations() {
    let database = database().await;
    let admin = session(database.url()).await;
    admin.batch_execute("CREATE SCHEMA a; CREATE SCHEMA b").await.unwrap();
    let mut stores = HashMap::new();
    for schema in ["a", "b"] {
        let url = format!("{}?options=-csearch_path%3D{schema}", database.url());
        Store::migrate(&options(&url, "node")).await.unwrap();
        // Both have the number 0, and the same name.
        let store = tokio::time::timeout(DEADLINE, Store::open(&options(&url, "node")))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(store.node(), 0);
        store
            .insert_organization(&organization(7, schema), &audit(1))
            .await
            .unwrap();
        stores.insert(schema, store);
    }
    for (schema, store) in &stores {
        let rows = store.load_catalogue().await.unwrap();
        assert_eq!(rows.organizations, [organization(7, schema)]);
        store.commit(&checkpoint(1)).await.unwrap();
        store.maintain(i64::from(i32::MAX) * 1_000_000).await.unwrap();
    }
    // Neither waits for the other's turn to change the configuration, nor hears of it.
    let _turn = stores["a"].change_configuration().await.unwrap();
    drop(stores["b"].change_configuration().await.unwrap());
    let url = format!("{}?options=-csearch_path%3Da", database.url());
    let other = Store::open(&options(&url, "other")).await.unwrap();
    other.beat(None).await.unwrap();
    stores["b"].beat(None).await.unwrap();
    stores["a"]
        .insert_organization(&organization(8, "other"), &audit(2))
        .await
        .unwrap();
    until("the notice", async || {
        let heard = other.notices(std::time::Duration::from_millis(50)).await.unwrap();
        if heard.contains(&Notice::Configuration) {
            Ok(())
        } else {
            Err(format!("{heard:?}"))
        }
    })
    .await;
    assert_eq!(stores["b"].notices(std::time::Duration::ZERO).await.unwrap(), []);
    // Ending the sessions of one node leaves those of the other alone.
    drop((other, stores.remove("a")));
    Store::open(&options(&url, "node")).await.unwrap();
    stores["b"].commit(&checkpoint(2)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn b04_a_schema_that_does_not_exist_is_named() {
    let database = database().await;
    let url = format!("{}?options=-csearch_path%3Dmissing", database.url());
    let error = Store::migrate(&options(&url, "node")).await.unwrap_err();
    assert!(
        matches!(&error, StoreError::NoSchema(path) if path.contains("missing")),
        "{error}"
    );
}

/// A cluster with TLS, and an authority that signed its certificate for `127.0.0.1` and nothing else.
async fn cluster_with_tls(directory: &Path, authority: &Authority) -> PostgresCluster {
    let identity = authority.certificate(&["127.0.0.1"]);
    let (certificate, key) = identity.files(directory);
    // The server runs as somebody else where the tests run as root.
    std::fs::set_permissions(directory, PermissionsExt::from_mode(0o755)).unwrap();
    std::fs::set_permissions(&key, PermissionsExt::from_mode(0o600)).unwrap();
    if is_root(directory) {
        let owner = ["postgres:", "nobody:"].iter().any(|owner| {
            Command::new("chown")
                .arg(owner)
                .arg(&key)
                .stderr(Stdio::null())
                .status()
                .unwrap()
                .success()
        });
        assert!(owner, "the key can be given to the server's user");
    }
    PostgresCluster::start_with(&[("ssl", "on"), ("ssl_cert_file", &certificate), ("ssl_key_file", &key)])
        .await
        .unwrap()
}

/// Whether this process is root: then what it makes is root's.
fn is_root(made: &Path) -> bool {
    std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(made).unwrap()) == 0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn b06_sslmode_means_what_it_means_to_libpq() {
    let directory = tempfile::tempdir().unwrap();
    let (authority, stranger) = (Authority::new(), Authority::new());
    let cluster = cluster_with_tls(directory.path(), &authority).await;
    let database = cluster.create_database().await.unwrap();
    let (trusted, other) = (authority.pem_file().display(), stranger.pem_file().display());
    let by_name = database.url().replace("127.0.0.1", "localhost");
    let good = [
        (database.url(), "sslmode=disable".to_owned(), false),
        (database.url(), "sslmode=allow".to_owned(), false),
        // A private authority, or a certificate that nobody signed, as Debian makes one.
        (database.url(), "sslmode=prefer".to_owned(), true),
        (database.url(), "sslmode=require".to_owned(), true),
        (database.url(), format!("sslmode=require&sslrootcert={trusted}"), true),
        (&by_name, format!("sslmode=require&sslrootcert={trusted}"), true),
        (database.url(), format!("sslmode=verify-ca&sslrootcert={trusted}"), true),
        (&by_name, format!("sslmode=verify-ca&sslrootcert={trusted}"), true),
        (
            database.url(),
            format!("sslmode=verify-full&sslrootcert={trusted}"),
            true,
        ),
    ];
    for (url, query, is_encrypted) in good {
        let url = format!("{url}?{query}");
        Store::migrate(&options(&url, "node"))
            .await
            .unwrap_or_else(|error| panic!("{query}: {error}"));
        let _store = Store::open(&options(&url, "node")).await.unwrap();
        let admin = session(database.url()).await;
        let encrypted = "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
            WHERE datname = current_database() AND application_name LIKE 'hookwright%'";
        let found: bool = admin.query_one(encrypted, &[]).await.unwrap().get(0);
        assert_eq!(found, is_encrypted, "{query}");
    }
    let bad = [
        (
            database.url(),
            "sslmode=verify-full".to_owned(),
            "is signed by an authority that is not trusted",
        ),
        (
            database.url(),
            format!("sslmode=require&sslrootcert={other}"),
            "sslrootcert=",
        ),
        (
            database.url(),
            format!("sslmode=verify-ca&sslrootcert={other}"),
            "is signed by an authority that is not trusted",
        ),
        (
            &by_name,
            format!("sslmode=verify-full&sslrootcert={trusted}"),
            "is for 127.0.0.1, not for localhost",
        ),
        (
            database.url(),
            "sslmode=verify-full&sslrootcert=/missing.pem".to_owned(),
            "sslrootcert /missing.pem",
        ),
        (
            database.url(),
            "sslmode=full".to_owned(),
            "use disable, allow, prefer, require, verify-ca or verify-full",
        ),
        (database.url(), "sslcrl=/x.pem".to_owned(), "`sslcrl` is not supported"),
    ];
    for (url, query, told) in bad {
        let url = format!("{url}?{query}");
        let error = Store::migrate(&options(&url, "node")).await.unwrap_err().to_string();
        assert!(error.contains(told), "{query}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn b06_a_server_without_tls_is_refused_where_tls_is_demanded() {
    let database = database().await;
    for (mode, is_taken) in [
        ("disable", true),
        ("allow", true),
        ("prefer", true),
        ("require", false),
        ("verify-full", false),
    ] {
        let url = format!("{}?sslmode={mode}", database.url());
        match Store::migrate(&options(&url, "node")).await {
            Ok(_) => assert!(is_taken, "{mode}"),
            Err(error) => assert!(
                !is_taken && error.to_string().contains("sslmode=disable"),
                "{mode}: {error}"
            ),
        }
    }
}

/// A role with the rights that a server needs on a schema that another one owns.
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

    /// A role belongs to the whole cluster.
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

    // Without the function it goes on, for there are tables.
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
    // Tables of the caller's own make no difference.
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

/// PgBouncer before a database, stopped with this value.
struct Pooler {
    child: Child,
    url: String,
    _directory: tempfile::TempDir,
}

impl Drop for Pooler {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Pooler {
    /// `None` where Debian's `pgbouncer` is not installed.
    async fn start(database: &TestDatabase, mode: &str) -> Option<Self> {
        let binary = ["/usr/sbin/pgbouncer", "/usr/bin/pgbouncer"]
            .into_iter()
            .find(|path| Path::new(path).exists())?;
        let directory = tempfile::tempdir().unwrap();
        let target: tokio_postgres::Config = database.url().parse().unwrap();
        let password = String::from_utf8(target.get_password().unwrap().to_vec()).unwrap();
        let (user, upstream) = (target.get_user().unwrap(), target.get_ports()[0]);
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let name = database.name();
        let settings = format!(
            "[databases]\n{name} = host=127.0.0.1 port={upstream} dbname={name} user={user} password={password}\n\
             [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\n\
             pool_mode = {mode}\ndefault_pool_size = 5\nignore_startup_parameters = extra_float_digits\n"
        );
        let file = directory.path().join("pgbouncer.ini");
        std::fs::write(&file, settings).unwrap();
        std::fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o755)).unwrap();
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o644)).unwrap();
        let mut command = if is_root(directory.path()) {
            // It does not run as root.
            let mut command = Command::new("setpriv");
            command.args([
                "--reuid=65534",
                "--regid=65534",
                "--clear-groups",
                "--pdeathsig=KILL",
                binary,
            ]);
            command
        } else {
            Command::new(binary)
        };
        let child = command
            .arg("-q")
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let url = format!("postgres://{user}:{password}@127.0.0.1:{port}/{name}");
        let pooler = Self {
            child,
            url: url.clone(),
            _directory: directory,
        };
        until("the pooler to answer", async || {
            tokio_postgres::connect(&url, tokio_postgres::NoTls).await.map(drop)
        })
        .await;
        Some(pooler)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn b08_a_pooler_in_transaction_mode_is_refused_at_the_start() {
    let database = database().await;
    let Some(pooler) = Pooler::start(&database, "transaction").await else {
        eprintln!("skipped: pgbouncer is not installed (scripts/setup-pgbouncer)");
        return;
    };
    for _ in 0..3 {
        let error = Store::migrate(&options(&pooler.url, "node")).await.unwrap_err();
        assert!(matches!(error, StoreError::Pooler), "{error}");
        assert!(error.to_string().contains("connect to PostgreSQL itself"), "{error}");
    }
    Store::migrate(&options(database.url(), "node")).await.unwrap();
    let error = Store::open(&options(&pooler.url, "node")).await.err().unwrap();
    assert!(matches!(error, StoreError::Pooler), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn b08_a_pooler_in_session_mode_is_taken() {
    let database = database().await;
    let Some(pooler) = Pooler::start(&database, "session").await else {
        eprintln!("skipped: pgbouncer is not installed (scripts/setup-pgbouncer)");
        return;
    };
    let options = StoreOptions {
        readers: 1,
        ..options(&pooler.url, "node")
    };
    Store::migrate(&options).await.unwrap();
    let store = Store::open(&options).await.unwrap();
    store
        .insert_organization(&organization(7, "acme"), &audit(1))
        .await
        .unwrap();
    store.commit(&checkpoint(1)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_primary_that_became_read_only_says_so_and_is_used_again() {
    let database = database().await;
    let options = options(database.url(), "node");
    Store::migrate(&options).await.unwrap();
    let store = Store::open(&options).await.unwrap();
    let admin = session(&database.url().replace(database.name(), "postgres")).await;
    let end_sessions = format!(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{}'",
        database.name()
    );
    let set = async |value: &str| {
        let text = format!(
            "ALTER DATABASE {} SET default_transaction_read_only = {value}",
            database.name()
        );
        admin.batch_execute(&text).await.unwrap();
        admin.batch_execute(&end_sessions).await.unwrap();
    };
    set("on").await;
    let insert = async |id: i64| {
        store
            .insert_organization(&organization(id, &format!("o{id}")), &audit(id))
            .await
    };
    let error = until("an answer of the database", async || match insert(7).await {
        // The connections that were ended are noticed one by one.
        Err(StoreError::ReadOnly) => Ok(StoreError::ReadOnly),
        other => Err(format!("{other:?}")),
    })
    .await;
    assert!(
        error.is_transient() && error.to_string().contains("read-only"),
        "{error}"
    );
    let error = until("the answer to a commit", async || {
        match store.commit(&checkpoint(1)).await {
            Err(CommitError::Store(StoreError::ReadOnly)) => Ok(StoreError::ReadOnly),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    assert!(error.is_transient());
    set("off").await;
    until("the change to be stored", async || {
        insert(8).await.map_err(|error| error.to_string())
    })
    .await;
    until("the commit", async || {
        store.commit(&checkpoint(1)).await.map_err(|error| error.to_string())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_nodes_that_take_the_same_request_ids_in_crossed_order_both_succeed() {
    const REQUESTS: usize = 2_000;
    let shared = Shared::new().await;
    let lease = std::time::Duration::from_secs(60);
    let (first, second) = (shared.join("first", lease).await, shared.join("second", lease).await);
    let ids = [IdGenerator::new(first.node(), 0), IdGenerator::new(second.node(), 0)];
    for round in 0..4 {
        let batch = |ids: &IdGenerator, is_backwards: bool| {
            let mut requests: Vec<String> = (0..REQUESTS).map(|at| format!("{round}-{at:05}")).collect();
            if is_backwards {
                requests.reverse();
            }
            let events = requests
                .iter()
                .map(|request| with_request(Fixture::event_by(ids, &[]), request, 1));
            Batch {
                events: events.collect(),
                ..Batch::default()
            }
        };
        let batches = [batch(&ids[0], false), batch(&ids[1], true)];
        let (one, other) = tokio::join!(first.commit(&batches[0]), second.commit(&batches[1]));
        let repeats = one.unwrap().repeats.len() + other.unwrap().repeats.len();
        assert_eq!(repeats, REQUESTS, "each request id is one event's");
    }
}
