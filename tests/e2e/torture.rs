//! A short run of the fault harness on each store, and a small aged installation. `make torture` and
//! `make torture-aged` are the long runs.

use std::time::Duration;

use hookwright_torture::{
    aged::{self, Scale},
    run::Options,
    torture,
};

async fn short(postgres: bool) {
    let out = tempfile::tempdir().unwrap();
    let options = Options {
        server: env!("CARGO_BIN_EXE_hookwright").into(),
        seconds: 12,
        nodes: 2,
        postgres,
        seed: 7,
        out: out.path().to_owned(),
        plant: None,
        pause: Duration::from_millis(150),
        leavers: true,
        verbose: false,
    };
    let verdict = torture(&options).await.unwrap();
    assert!(verdict.is_kept(), "{}", verdict.table());
    assert!(verdict.figures["acknowledged"] > 50.0, "{}", verdict.table());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn torture_short_sqlite() {
    short(false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn torture_short_postgres() {
    short(true).await;
}

async fn small(postgres: bool) {
    let out = tempfile::tempdir().unwrap();
    let options = aged::Options {
        steps: Vec::new(),
        server: env!("CARGO_BIN_EXE_hookwright").into(),
        postgres,
        nodes: 2,
        seed: 7,
        scale: Scale::small(),
        out: out.path().to_owned(),
        verbose: false,
    };
    let report = aged::aged(&options).await.unwrap();
    assert!(report.is_kept(), "{}", report.table());
    let published = report.verdict.figures["acknowledged"];
    assert!(published > 50.0, "{}", report.table());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn aged_small_sqlite() {
    small(false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn aged_small_postgres() {
    small(true).await;
}
