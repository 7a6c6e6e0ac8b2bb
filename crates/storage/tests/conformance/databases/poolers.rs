//! PgBouncer before a database: refused in transaction mode, accepted in session mode.

use std::{
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Child, Command, Stdio},
};

use hookwright_storage::{Store, StoreError, StoreOptions};
use hookwright_testkit::{TestDatabase, until};

use super::{database, is_root, options, watermark};
use crate::support::{audit, organization};

/// PgBouncer in front of a database. Stops when this value is dropped.
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
    /// `None` if Debian's `pgbouncer` is not installed.
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
            // PgBouncer refuses to run as root.
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
    store.commit(&watermark(1)).await.unwrap();
}
