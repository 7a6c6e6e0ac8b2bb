//! The status and the problems that an installation reports.

use hookwright_proto::v1::{
    DisabledReason, GetInstallationRequest, Installation as Told, ListEventTypesRequest, ListProblemsRequest,
    OrderedFailure, Ordering, Problem, ProblemKind, Setting, SettingOrigin, StoreKind, TokenScope, Webhook,
};
use hookwright_testkit::{Receiver, until};
use tonic::{Code, Status};

use crate::{
    command_line,
    support::{ACME, CLOCKING, Clients, Installation, On, builder, id_of, on_both_stores, token, webhook},
};

const MASTER_KEY: &str = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";

async fn get(clients: &mut Clients, name: &str) -> Result<Told, Status> {
    let request = GetInstallationRequest { name: name.to_owned() };
    Ok(clients.installation.get_installation(request).await?.into_inner())
}

fn setting<'a>(told: &'a Told, name: &str) -> &'a Setting {
    told.settings.iter().find(|setting| setting.name == name).unwrap()
}

on_both_stores! {
    async fn it_shows_its_parts_and_its_settings_without_secrets(on: On) {
        let mut installation = Installation::start_with(on, |builder| {
            builder.arg("--console-url", "https://hooks.example").env("HOOKWRIGHT_MASTER_KEY", MASTER_KEY)
        })
        .await;
        let told = get(&mut installation.clients, "installation").await.unwrap();
        assert_eq!(get(&mut installation.clients, "").await.unwrap(), told);
        let kind = if on == On::Sqlite { StoreKind::Sqlite } else { StoreKind::Postgresql };
        assert_eq!((told.name.as_str(), told.store(), told.node_count, told.node.as_str()), ("installation", kind, 1, "nodes/0"));
        assert_eq!(told.version, env!("CARGO_PKG_VERSION"));
        assert!(told.start_time.is_some());
        let console = setting(&told, "console-url");
        assert_eq!(console.values, ["https://hooks.example"]);
        assert_eq!((console.origin(), console.source.as_str()), (SettingOrigin::Flag, "--console-url"));
        let key = setting(&told, "master-key");
        assert_eq!((key.origin(), key.source.as_str()), (SettingOrigin::Environment, "HOOKWRIGHT_MASTER_KEY"));
        assert!(!format!("{told:?}").contains(MASTER_KEY));
        let retries = setting(&told, "retry-delays");
        assert!(retries.list && retries.values.len() == 11, "{retries:?}");
        assert_eq!((retries.origin(), retries.source.as_str()), (SettingOrigin::Default, ""));
    }
}

/// All pages of a list of problems.
async fn problems(clients: &mut Clients, request: ListProblemsRequest) -> Result<Vec<Problem>, Status> {
    let (mut found, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = ListProblemsRequest {
            page_token,
            ..request.clone()
        };
        let page = clients.installation.list_problems(request).await?.into_inner();
        found.extend(page.problems);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok(found);
        }
    }
}

fn told(problems: &[Problem]) -> Vec<(ProblemKind, &str)> {
    problems
        .iter()
        .map(|problem| (problem.kind(), id_of(&problem.webhook)))
        .collect()
}

/// Pages, organizations, kinds and rights.
async fn filters_select_problems(installation: &mut Installation, expected: &[(ProblemKind, &str); 5]) {
    for page_size in 1..=3 {
        let request = ListProblemsRequest {
            page_size,
            ..Default::default()
        };
        assert_eq!(
            told(&problems(&mut installation.clients, request).await.unwrap()),
            expected,
            "{page_size} a page"
        );
    }
    let of_acme = || ListProblemsRequest {
        organization: ACME.to_owned(),
        page_size: 2,
        ..Default::default()
    };
    assert_eq!(
        told(&problems(&mut installation.clients, of_acme()).await.unwrap()),
        expected[..4]
    );
    let kinds = vec![ProblemKind::KeyBlocked.into(), ProblemKind::WebhookPaused.into()];
    let of_kinds = ListProblemsRequest {
        kinds,
        ..Default::default()
    };
    assert_eq!(
        told(&problems(&mut installation.clients, of_kinds).await.unwrap()),
        [expected[2], expected[4]]
    );

    let limited = installation
        .clients
        .create_token(token(TokenScope::Read, ACME))
        .await
        .unwrap();
    let mut theirs = Clients::connect(installation.server.grpc_address(), &limited.secret).await;
    assert_eq!(told(&problems(&mut theirs, of_acme()).await.unwrap()), expected[..4]);
    for organization in ["", "organizations/other"] {
        let request = ListProblemsRequest {
            organization: organization.to_owned(),
            ..Default::default()
        };
        let refused = problems(&mut theirs, request).await.unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied, "{organization}: {refused}");
    }
}

async fn the_command_line_shows_problems(installation: &Installation, (gone, paused): (&str, &str)) {
    let address = format!("http://{}", installation.server.grpc_address());
    let secret = installation.server.token().unwrap();
    let environment = [("HOOKWRIGHT_ADDRESS", &*address), ("HOOKWRIGHT_TOKEN", &*secret)];
    let output = command_line::run(&["status"], &environment).await;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    for part in ["webhook disabled", "key blocked", "other", gone] {
        assert!(said.contains(part), "{part} is not in\n{said}");
    }
    let command = [
        "installation",
        "problems",
        "--organization",
        "other",
        "--kind",
        "webhook-paused",
    ];
    let output = command_line::run(&command, &environment).await;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success() && said.contains(paused) && !said.contains(gone),
        "{said}"
    );
}

on_both_stores! {
    async fn problems_are_listed_over_all_organizations(on: On) {
        use ProblemKind::{KeyBlocked, WebhookDisabled, WebhookFailing, WebhookPaused};
        let mut installation = Installation::start_with(on, |builder| builder.arg("--retry-delay", "1s")).await;
        let (well, failing, gone) = (Receiver::start().await, Receiver::start().await, Receiver::start().await);
        let mut create = async |receiver: &Receiver, more: Webhook| {
            let made = Webhook { payload_url: receiver.url("/"), events: vec!["clocking".to_owned()], ..more };
            let made = installation.create_webhook(made).await.unwrap();
            receiver.wait_for(1).await;
            made.name
        };
        create(&well, Webhook::default()).await;
        let failing_one = create(&failing, Webhook { description: "billing".to_owned(), ..Webhook::default() }).await;
        let ordered = Webhook {
            ordering: Ordering::Ordered.into(),
            ordered_failure: OrderedFailure::Pause.into(),
            ..Webhook::default()
        };
        let blocked_key = create(&failing, ordered).await;
        let gone_one = create(&gone, Webhook::default()).await;
        let address = format!("http://{}", installation.server.grpc_address());
        let secret = installation.server.token().unwrap();
        let environment = [("HOOKWRIGHT_ADDRESS", &*address), ("HOOKWRIGHT_TOKEN", &*secret)];
        let healthy = command_line::run(&["status"], &environment).await;
        assert!(healthy.status.success(), "{healthy:?}");

        failing.respond(500);
        gone.respond(410);
        installation.publish("clocking", CLOCKING).await;
        installation.create_organization("other").await;
        let of_other = hookwright_proto::v1::CreateWebhookRequest {
            parent: "organizations/other".to_owned(),
            webhook: Some(Webhook { active: Some(false), ..webhook(&well.url("/"), &["*"]) }),
        };
        let paused = installation.clients.webhooks.create_webhook(of_other).await.unwrap().into_inner().name;
        let expected = [
            (WebhookFailing, id_of(&failing_one)),
            (WebhookFailing, id_of(&blocked_key)),
            (KeyBlocked, id_of(&blocked_key)),
            (WebhookDisabled, id_of(&gone_one)),
            (WebhookPaused, id_of(&paused)),
        ];
        let all = until("all problems to be listed", async || {
            let all = problems(&mut installation.clients, ListProblemsRequest::default()).await.unwrap();
            if all.len() == expected.len() { Ok(all) } else { Err(format!("{all:#?}")) }
        })
        .await;
        assert_eq!(told(&all), expected, "sorted by organization and webhook");
        assert_eq!(all[0].description, "billing");
        assert!(all[0].failure_count > 0 && all[0].start_time.is_some(), "{:?}", all[0]);
        assert_eq!((all[2].blocked_key_count, all[3].disabled_reason()), (1, DisabledReason::Gone));
        assert!(all.iter().all(|problem| !problem.message.is_empty()), "{all:?}");
        filters_select_problems(&mut installation, &expected).await;
        the_command_line_shows_problems(&installation, (id_of(&gone_one), id_of(&paused))).await;
    }
}

#[tokio::test]
async fn the_sample_event_types_can_be_omitted_at_the_first_start() {
    for (arguments, expected) in [(None, vec!["checksheet", "clocking"]), (Some("false"), vec![])] {
        let (builder, _database) = builder(On::Sqlite).await;
        let builder = match arguments {
            Some(value) => builder.arg("--sample-event-types", value),
            None => builder,
        };
        let server = builder.start().await.unwrap();
        let mut installation = Installation::of(server).await;
        let listed = installation
            .clients
            .event_types
            .list_event_types(ListEventTypesRequest::default());
        let listed = listed.await.unwrap().into_inner().event_types;
        let mut ids: Vec<&str> = listed
            .iter()
            .filter_map(|listed| listed.name.rsplit('/').next())
            .collect();
        ids.sort_unstable();
        assert_eq!(ids, expected);
    }
}

#[tokio::test]
async fn it_tells_administrators_alone() {
    let mut installation = Installation::start(On::Sqlite).await;
    let address = installation.server.grpc_address().to_owned();
    for (scope, organization) in [(TokenScope::Manage, ""), (TokenScope::Admin, ACME)] {
        let token = installation
            .clients
            .create_token(token(scope, organization))
            .await
            .unwrap();
        let mut clients = Clients::connect(&address, &token.secret).await;
        let denied = get(&mut clients, "installation").await.unwrap_err();
        assert_eq!(denied.code(), Code::PermissionDenied, "{scope:?} {organization}");
    }
    let refused = get(&mut installation.clients, "installations/x").await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
}
