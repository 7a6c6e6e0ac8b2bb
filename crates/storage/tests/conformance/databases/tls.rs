//! Certificates of the database, and what each `sslmode` demands of them.

use std::{
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Stdio},
};

use hookwright_storage::Store;
use hookwright_testkit::{Authority, PostgresCluster, TestDatabase};

use super::{database, is_root, options};
use crate::support::session;

/// A cluster with TLS, and an authority that signed its certificate for `127.0.0.1` only.
async fn cluster_with_tls(directory: &Path, authority: &Authority) -> PostgresCluster {
    let identity = authority.certificate(&["127.0.0.1"]);
    let (certificate, key) = identity.files(directory);
    // If the tests run as root, the server runs as another user.
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

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn b06_sslmode_means_what_it_means_to_libpq() {
    let directory = tempfile::tempdir().unwrap();
    let (authority, stranger) = (Authority::new(), Authority::new());
    let cluster = cluster_with_tls(directory.path(), &authority).await;
    let database = cluster.create_database().await.unwrap();
    let trusted = authority.pem_file().display();
    let by_name = database.url().replace("127.0.0.1", "localhost");
    let good = [
        (database.url(), "sslmode=disable".to_owned(), false),
        (database.url(), "sslmode=allow".to_owned(), false),
        // A private authority, or a self-signed certificate like Debian's.
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
    refuses_other_servers(&database, &by_name, &authority, &stranger).await;
}

async fn refuses_other_servers(database: &TestDatabase, by_name: &str, authority: &Authority, stranger: &Authority) {
    let (trusted, other) = (authority.pem_file().display(), stranger.pem_file().display());
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
            by_name,
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
