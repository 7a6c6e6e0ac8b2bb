//! What an installation tells of itself.

use hookwright_proto::v1::{
    GetInstallationRequest, Installation as Told, ListEventTypesRequest, Setting, SettingOrigin, StoreKind, TokenScope,
};
use tonic::{Code, Status};

use crate::support::{ACME, Clients, Installation, On, builder, on_both_stores, token};

const MASTER_KEY: &str = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";

async fn get(clients: &mut Clients, name: &str) -> Result<Told, Status> {
    let request = GetInstallationRequest { name: name.to_owned() };
    Ok(clients.installation.get_installation(request).await?.into_inner())
}

fn setting<'a>(told: &'a Told, name: &str) -> &'a Setting {
    told.settings.iter().find(|setting| setting.name == name).unwrap()
}

on_both_stores! {
    async fn it_tells_what_it_runs_and_its_settings_without_secrets(on: On) {
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
        let console = setting(&told, "console_url");
        assert_eq!(console.values, ["https://hooks.example"]);
        assert_eq!((console.origin(), console.source.as_str()), (SettingOrigin::Flag, "--console-url"));
        let key = setting(&told, "master_key");
        assert_eq!((key.origin(), key.source.as_str()), (SettingOrigin::Environment, "HOOKWRIGHT_MASTER_KEY"));
        assert!(!format!("{told:?}").contains(MASTER_KEY));
        let retries = setting(&told, "retry_delays");
        assert!(retries.list && retries.values.len() == 11, "{retries:?}");
        assert_eq!((retries.origin(), retries.source.as_str()), (SettingOrigin::Default, ""));
    }
}

#[tokio::test]
async fn the_sample_event_types_can_be_left_out_at_the_first_start() {
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
