//! Tokens: the rights of each, and their immediate end when they are revoked.

use hookwright_proto::v1::{
    DeleteOrganizationRequest, DeliveryMode, GetOrganizationRequest, GetTokenRequest, ListOrganizationsRequest,
    ListTokensRequest, PublishStreamRequest, PullDeliveriesRequest, RevokeTokenRequest, Token, TokenScope, TokenState,
    WatchDeliveriesRequest, Webhook, token::Expiration,
};
use hookwright_testkit::DEADLINE;
use prost_types::{Duration, Timestamp};
use tonic::{Code, Status};

use crate::support::{ACME, CLOCKING, Clients, Installation, On, builder, event, on_both_stores, token};

async fn revoke(clients: &mut Clients, name: &str) -> Result<Token, Status> {
    let request = RevokeTokenRequest { name: name.to_owned() };
    let response = clients.tokens.revoke_token(request).await?.into_inner();
    Ok(response.token.unwrap())
}

async fn list(clients: &mut Clients, organization: &str) -> Result<Vec<Token>, Status> {
    let request = ListTokensRequest {
        organization: organization.to_owned(),
        ..ListTokensRequest::default()
    };
    Ok(clients.tokens.list_tokens(request).await?.into_inner().tokens)
}

/// Checks whether a token may read `acme`.
async fn can_read(clients: &mut Clients) -> Result<(), Status> {
    let request = GetOrganizationRequest { name: ACME.to_owned() };
    clients.organizations.get_organization(request).await.map(drop)
}

on_both_stores! {
    async fn a_token_does_what_its_scope_says_until_it_is_revoked(on: On) {
        let mut installation = Installation::start(on).await;
        let address = installation.server.grpc_address().to_owned();
        let admin = &mut installation.clients;
        let created = admin.create_token(token(TokenScope::Publish, ACME)).await.unwrap();
        assert!(created.secret.starts_with("hw_") && created.secret.len() == 67, "{created:?}");
        assert_eq!((created.state(), created.scope(), created.organization.as_str()), (TokenState::Active, TokenScope::Publish, ACME));
        let mut publisher = Clients::connect(&address, &created.secret).await;
        publisher.events.publish_event(event("clocking", CLOCKING)).await.unwrap();
        assert_eq!(can_read(&mut publisher).await.unwrap_err().code(), Code::PermissionDenied);
        let denied = publisher.create_token(token(TokenScope::Read, ACME)).await.unwrap_err();
        assert_eq!(denied.code(), Code::PermissionDenied);

        let get = GetTokenRequest { name: created.name.clone() };
        let got = admin.tokens.get_token(get).await.unwrap().into_inner();
        assert_eq!(got, Token { secret: String::new(), ..created.clone() }, "the secret is shown once");
        let revoked = revoke(admin, &created.name).await.unwrap();
        assert_eq!(revoked.state(), TokenState::Revoked);
        let refused = publisher.events.publish_event(event("clocking", CLOCKING)).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unauthenticated);
        assert_eq!(revoke(admin, &created.name).await.unwrap(), revoked, "a repeated call changes nothing");
        assert_eq!(list(admin, ACME).await.unwrap(), std::slice::from_ref(&revoked));
        assert_eq!(list(admin, "").await.unwrap().len(), 2, "including the first admin token");

        installation.restart().await;
        let mut publisher = Clients::connect(installation.server.grpc_address(), &created.secret).await;
        let refused = publisher.events.publish_event(event("clocking", CLOCKING)).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unauthenticated, "also after a restart");
        assert_eq!(list(&mut installation.clients, ACME).await.unwrap(), [revoked]);
    }

    async fn an_admin_of_one_organization_works_with_its_tokens_alone(on: On) {
        let mut installation = Installation::start(on).await;
        installation.create_organization("globex").await;
        let globex = "organizations/globex";
        let address = installation.server.grpc_address().to_owned();
        let admin = &mut installation.clients;
        let other = admin.create_token(token(TokenScope::Read, globex)).await.unwrap();
        let limited = admin.create_token(token(TokenScope::Admin, ACME)).await.unwrap();
        let mut limited = Clients::connect(&address, &limited.secret).await;
        let own = limited.create_token(token(TokenScope::Manage, ACME)).await.unwrap();
        let names: Vec<String> = list(&mut limited, ACME).await.unwrap().into_iter().map(|token| token.name).collect();
        assert_eq!((names.len(), &names[0]), (2, &own.name));
        for organization in ["", globex] {
            let denied = limited.create_token(token(TokenScope::Read, organization)).await.unwrap_err();
            assert_eq!(denied.code(), Code::PermissionDenied, "{organization}");
            assert_eq!(list(&mut limited, organization).await.unwrap_err().code(), Code::PermissionDenied, "{organization}");
        }
        assert_eq!(revoke(&mut limited, &other.name).await.unwrap_err().code(), Code::NotFound);
        let request = GetTokenRequest { name: other.name.clone() };
        assert_eq!(limited.tokens.get_token(request).await.unwrap_err().code(), Code::NotFound);
        assert_eq!(revoke(&mut limited, &own.name).await.unwrap().state(), TokenState::Revoked);

        // Deleting an organization revokes its tokens.
        let mut reader = Clients::connect(&address, &other.secret).await;
        let request = GetOrganizationRequest { name: globex.to_owned() };
        reader.organizations.get_organization(request.clone()).await.unwrap();
        let delete = DeleteOrganizationRequest { name: globex.to_owned(), force: true };
        installation.clients.organizations.delete_organization(delete).await.unwrap();
        let refused = reader.organizations.get_organization(request).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unauthenticated);
    }

    async fn the_last_admin_token_cannot_be_revoked(on: On) {
        let mut installation = Installation::start(on).await;
        let address = installation.server.grpc_address().to_owned();
        let first = list(&mut installation.clients, "").await.unwrap().remove(0);
        let refused = revoke(&mut installation.clients, &first.name).await.unwrap_err();
        assert_eq!(refused.code(), Code::FailedPrecondition, "{refused:?}");
        let second = installation.clients.create_token(token(TokenScope::Admin, "")).await.unwrap();
        assert_eq!(revoke(&mut installation.clients, &first.name).await.unwrap().state(), TokenState::Revoked, "its own");
        let refused = list(&mut installation.clients, "").await.unwrap_err();
        assert_eq!(refused.code(), Code::Unauthenticated);
        let mut second_clients = Clients::connect(&address, &second.secret).await;
        assert_eq!(revoke(&mut second_clients, &second.name).await.unwrap_err().code(), Code::FailedPrecondition);
    }

    async fn a_call_that_waits_ends_with_its_token(on: On) {
        let mut installation = Installation::start(on).await;
        let wanted_webhook = Webhook {
            delivery_mode: DeliveryMode::Pull.into(),
            events: vec!["clocking".to_owned()],
            ..Webhook::default()
        };
        let webhook = installation.create_webhook(wanted_webhook).await.unwrap().name;
        let address = installation.server.grpc_address().to_owned();
        let token = installation.clients.create_token(token(TokenScope::Manage, "")).await.unwrap();
        let mut clients = Clients::connect(&address, &token.secret).await;
        let request = PullDeliveriesRequest { webhook, wait: Some(Duration { seconds: 50, nanos: 0 }), ..Default::default() };
        let pulled = clients.pull.pull_deliveries(request.clone()).await.unwrap().into_inner().deliveries;
        assert_eq!(pulled.len(), 1, "the ping; the next call has to wait");
        let waiting = tokio::spawn(async move { clients.pull.pull_deliveries(request).await });
        revoke(&mut installation.clients, &token.name).await.unwrap();
        let status = tokio::time::timeout(DEADLINE, waiting).await.unwrap().unwrap().unwrap_err();
        assert_eq!(status.code(), Code::Unauthenticated, "{status:?}");
    }

    async fn streams_end_with_their_token(on: On) {
        let mut installation = Installation::start(on).await;
        let address = installation.server.grpc_address().to_owned();
        let token = installation.clients.create_token(token(TokenScope::Manage, "")).await.unwrap();
        let mut clients = Clients::connect(&address, &token.secret).await;
        let request = WatchDeliveriesRequest { parent: ACME.to_owned(), ..WatchDeliveriesRequest::default() };
        let mut watched = clients.deliveries.watch_deliveries(request).await.unwrap().into_inner();
        assert!(watched.message().await.unwrap().is_some(), "the stream is open");
        let (events, sent) = tokio::sync::mpsc::channel(4);
        let sent = tokio_stream::wrappers::ReceiverStream::new(sent);
        let publish = |sequence| PublishStreamRequest { sequence, event: Some(event("clocking", CLOCKING)) };
        events.send(publish(1)).await.unwrap();
        let mut acks = clients.events.publish_stream(sent).await.unwrap().into_inner();
        assert_eq!(acks.message().await.unwrap().unwrap().acks[0].sequence, 1);

        revoke(&mut installation.clients, &token.name).await.unwrap();
        // Neither stream gets a message before the revocation: no event is published, and a watch sends nothing for
        // seconds.
        let end = async {
            loop {
                match watched.message().await {
                    Ok(Some(_)) => {}
                    Ok(None) => panic!("the stream ended without a status"),
                    Err(status) => return status,
                }
            }
        };
        let status = tokio::time::timeout(DEADLINE, end).await.unwrap();
        assert_eq!(status.code(), Code::Unauthenticated, "{status:?}");
        let status = tokio::time::timeout(DEADLINE, acks.message()).await.unwrap().unwrap_err();
        assert_eq!(status.code(), Code::Unauthenticated, "{status:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_token_is_good_on_no_node() {
    let (one, database) = builder(On::Postgres).await;
    let first = one.env("HOOKWRIGHT_MASTER_KEY", MASTER_KEY).start().await.unwrap();
    let other = hookwright_testkit::TestServer::builder(env!("CARGO_BIN_EXE_hookwright"))
        .postgres(database.as_ref().unwrap().url())
        .env("HOOKWRIGHT_MASTER_KEY", MASTER_KEY)
        .start()
        .await
        .unwrap();
    let mut admin = Clients::connect(first.grpc_address(), &first.token().unwrap()).await;
    let token = admin.create_token(token(TokenScope::Read, "")).await.unwrap();
    let mut there = Clients::connect(other.grpc_address(), &token.secret).await;
    let request = ListOrganizationsRequest::default();
    there.organizations.list_organizations(request.clone()).await.unwrap();
    revoke(&mut admin, &token.name).await.unwrap();
    let refused = there.organizations.list_organizations(request).await.unwrap_err();
    assert_eq!(
        refused.code(),
        Code::Unauthenticated,
        "the revocation is in force on the other node when the call returns"
    );
}

const MASTER_KEY: &str = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";

#[tokio::test]
async fn a_token_ends_with_its_time() {
    let mut installation = Installation::start(On::Sqlite).await;
    let address = installation.server.grpc_address().to_owned();
    let admin = &mut installation.clients;
    let second = Duration { seconds: 1, nanos: 0 };
    let brief = Token {
        expiration: Some(Expiration::Ttl(second)),
        ..token(TokenScope::Manage, ACME)
    };
    let brief = admin.create_token(brief).await.unwrap();
    assert!(matches!(brief.expiration, Some(Expiration::ExpireTime(_))), "{brief:?}");
    let mut clients = Clients::connect(&address, &brief.secret).await;
    let request = WatchDeliveriesRequest {
        parent: ACME.to_owned(),
        ..WatchDeliveriesRequest::default()
    };
    let mut watched = clients.deliveries.watch_deliveries(request).await.unwrap().into_inner();
    let end = async {
        loop {
            if let Err(status) = watched.message().await {
                return status;
            }
        }
    };
    let status = tokio::time::timeout(DEADLINE, end).await.unwrap();
    assert_eq!(status.code(), Code::Unauthenticated, "{status:?}");
    assert_eq!(can_read(&mut clients).await.unwrap_err().code(), Code::Unauthenticated);
    assert_eq!(list(admin, ACME).await.unwrap()[0].state(), TokenState::Expired);
}

#[tokio::test]
async fn a_token_that_makes_no_sense_is_refused_with_its_field() {
    let mut installation = Installation::start(On::Sqlite).await;
    let admin = &mut installation.clients;
    let good = || token(TokenScope::Read, ACME);
    let past = Timestamp {
        seconds: 1_514_797_313,
        nanos: 0,
    };
    for (token, field, code) in [
        (Token::default(), "token.scope", Code::InvalidArgument),
        (
            Token {
                display_name: " ".to_owned(),
                ..good()
            },
            "token.display_name",
            Code::InvalidArgument,
        ),
        (
            Token {
                display_name: "x".repeat(201),
                ..good()
            },
            "token.display_name",
            Code::InvalidArgument,
        ),
        (Token { scope: 9, ..good() }, "token.scope", Code::InvalidArgument),
        (
            Token {
                organization: "acme".to_owned(),
                ..good()
            },
            "token.organization",
            Code::InvalidArgument,
        ),
        (
            Token {
                expiration: Some(Expiration::ExpireTime(past)),
                ..good()
            },
            "token.expire_time",
            Code::InvalidArgument,
        ),
        (
            Token {
                expiration: Some(Expiration::Ttl(Duration { seconds: 0, nanos: 5 })),
                ..good()
            },
            "token.ttl",
            Code::InvalidArgument,
        ),
        (
            Token {
                organization: "organizations/nobody".to_owned(),
                ..good()
            },
            "organizations/nobody",
            Code::NotFound,
        ),
    ] {
        let refused = admin.create_token(token.clone()).await.unwrap_err();
        assert_eq!(refused.code(), code, "{token:?}: {refused:?}");
        assert!(refused.message().contains(field), "{token:?}: {}", refused.message());
    }
    assert_eq!(list(admin, "").await.unwrap().len(), 1, "no token was created");
}
