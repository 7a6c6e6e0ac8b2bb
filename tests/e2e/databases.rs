//! An installation whose PostgreSQL is unavailable, read-only, restarted or misconfigured.

use hookwright_proto::v1::{
    CreateEventTypeRequest, CreateOrganizationRequest, CreateTokenRequest, CreateWebhookRequest,
    DeleteOrganizationRequest, DeleteWebhookRequest, DeliveryMode, DeliveryState, ListDeliveriesRequest,
    RotateSigningSecretRequest, TokenScope, Webhook,
};
use hookwright_testkit::{PostgresCluster, Receiver, TestDatabase, TestServer, until};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::{
    command_line::run,
    guides::Guide,
    support::{ACME, CLOCKING, Installation, On, portal_link, token},
};

fn fetched() -> Webhook {
    Webhook {
        delivery_mode: DeliveryMode::Pull.into(),
        events: vec!["*".to_owned()],
        ..Webhook::default()
    }
}

/// Makes every kind of configuration change, each with its answer.
async fn change_everything(
    installation: &mut Installation,
    webhook: &str,
    number: usize,
) -> Vec<(&'static str, Status)> {
    let clients = &mut installation.clients;
    let mut answers = Vec::new();
    macro_rules! change {
        ($service:ident . $method:ident($message:expr)) => {
            let answer = clients.$service.$method($message).await;
            answers.push((
                stringify!($method),
                answer.map_or_else(|status| status, |_| Status::ok("done")),
            ));
        };
    }
    let organization_id = format!("made-{number}");
    change!(organizations.create_organization(CreateOrganizationRequest {
        organization_id,
        organization: None
    }));
    let event_type_id = format!("made_{number}");
    change!(event_types.create_event_type(CreateEventTypeRequest {
        event_type_id,
        event_type: None
    }));
    change!(webhooks.create_webhook(CreateWebhookRequest {
        parent: ACME.to_owned(),
        webhook: Some(fetched())
    }));
    let name = webhook.to_owned();
    change!(webhooks.rotate_signing_secret(RotateSigningSecretRequest {
        name: name.clone(),
        ..Default::default()
    }));
    change!(webhooks.delete_webhook(DeleteWebhookRequest { name }));
    change!(tokens.create_token(CreateTokenRequest {
        token: Some(token(TokenScope::Read, ACME))
    }));
    change!(portal.create_portal_link(portal_link(ACME)));
    change!(organizations.delete_organization(DeleteOrganizationRequest {
        name: ACME.to_owned(),
        force: true
    }));
    answers
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_that_turned_read_only_answers_unavailable_to_every_change() {
    let mut installation = Installation::start(On::Postgres).await;
    let webhook = installation.create_webhook(fetched()).await.unwrap().name;
    let database = installation.database.as_ref().unwrap();
    let name = database.name().to_owned();
    let admin_url = database.url().replace(&name, "postgres");
    let (admin, connection) = tokio_postgres::connect(&admin_url, tokio_postgres::NoTls)
        .await
        .unwrap();
    tokio::spawn(connection);
    let set = async |value: &str| {
        let text = format!("ALTER DATABASE {name} SET default_transaction_read_only = {value}");
        admin.batch_execute(&text).await.unwrap();
        let end = format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'");
        admin.batch_execute(&end).await.unwrap();
    };
    set("on").await;
    let mut number = 0;
    let answers = until("connections made since then", async || {
        number += 1;
        let answers = change_everything(&mut installation, &webhook, number).await;
        let is_told = |(_, status): &&(&str, Status)| status.message().contains("read-only");
        if answers.iter().filter(is_told).count() == answers.len() {
            Ok(answers)
        } else {
            Err(format!("{answers:#?}"))
        }
    })
    .await;
    for (method, status) in answers {
        assert_eq!(status.code(), Code::Unavailable, "{method}: {status:?}");
        assert!(status.get_details_retry_info().is_some(), "{method}: {status:?}");
    }
    set("off").await;
    until("the change to be made", async || {
        let request = CreateOrganizationRequest {
            organization_id: "afterwards".to_owned(),
            organization: None,
        };
        installation
            .clients
            .organizations
            .create_organization(request)
            .await
            .map_err(|status| status.to_string())
    })
    .await;
}

/// Migrates a database and creates the role of a server, as the guide describes. Returns the owner of the tables, which
/// has no other rights, and the server's role.
async fn roles_of_the_guide(database: &TestDatabase, admin: &tokio_postgres::Client) -> (String, String) {
    let name = database.name();
    let (owner, role) = (format!("owner_{name}"), format!("server_{name}"));
    let guide = Guide::read("postgresql.md");
    let blocks = guide.quoted("sql").into_iter();
    let blocks = blocks.filter(|block| block.contains("hookwright_server"));
    let [create_role, grants]: [String; 2] = blocks
        .map(|block| block.replace("hookwright_server", &role))
        .collect::<Vec<_>>()
        .try_into()
        .unwrap();
    let create_owner = format!("CREATE ROLE {owner} LOGIN PASSWORD 'owner'; ALTER DATABASE {name} OWNER TO {owner}");
    let create_role = create_role.replace("'...'", "'from-elsewhere'");
    admin
        .batch_execute(&format!("{create_owner}; {create_role}"))
        .await
        .unwrap();

    let (_, host) = database.url().split_once('@').unwrap();
    let url = format!("postgres://{owner}:owner@{host}");
    let migrated = run(&["migrate", "--database-url", &url], &[]).await;
    assert!(migrated.status.success(), "{migrated:?}");
    let (as_owner, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    as_owner.batch_execute(&grants).await.unwrap();
    (owner, role)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_runs_under_the_role_of_the_guide_with_its_password_from_elsewhere() {
    let cluster = PostgresCluster::shared().await.unwrap();
    let database = cluster.create_database().await.unwrap();
    let (admin, connection) = tokio_postgres::connect(database.url(), tokio_postgres::NoTls)
        .await
        .unwrap();
    tokio::spawn(connection);
    let (owner, role) = roles_of_the_guide(&database, &admin).await;
    let (_, host) = database.url().split_once('@').unwrap();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("database-url");
    std::fs::write(&file, format!("postgres://{role}@{host}\n")).unwrap();
    let server = TestServer::builder(env!("CARGO_BIN_EXE_hookwright"))
        .arg("--database-url-file", file.to_str().unwrap())
        .env("PGPASSWORD", "from-elsewhere")
        .allow("127.0.0.0/8")
        .start()
        .await
        .unwrap();
    let log = server.stderr();
    assert!(
        log.contains("the connection to PostgreSQL is plain: not encrypted"),
        "{log}"
    );
    let mut installation = Installation::of(server).await;
    installation.create_organization("acme").await;
    let receiver = Receiver::start().await;
    installation.webhook(&receiver, &["clocking"]).await;
    installation.publish("clocking", CLOCKING).await;
    let delivered = ListDeliveriesRequest {
        parent: ACME.to_owned(),
        event_type: "clocking".to_owned(),
        states: vec![DeliveryState::Delivered.into()],
        ..Default::default()
    };
    installation.deliveries_until(delivered, 1).await;
    installation.server.restart().await.unwrap();
    let log = installation.server.stderr();
    assert!(!log.contains("ERROR") && !log.contains("permission denied"), "{log}");

    let file = file.to_str().unwrap();
    let both = run(
        &["migrate", "--database-url-file", file, "--database-url", database.url()],
        &[],
    )
    .await;
    let said = String::from_utf8_lossy(&both.stderr);
    assert!(
        said.contains("database-url and database-url-file are both set"),
        "{said}"
    );
    installation.server.terminate().await.unwrap();
    // Together, both roles would drop the default privileges that name both twice, which PostgreSQL refuses.
    let drop_roles = format!(
        "REASSIGN OWNED BY {owner} TO CURRENT_USER; DROP OWNED BY {owner}; DROP OWNED BY {role}; DROP ROLE {owner}, {role}"
    );
    admin.batch_execute(&drop_roles).await.unwrap();
}
