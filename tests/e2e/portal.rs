//! Portal links, as an application requests them.

use hookwright_proto::v1::{
    CreatePortalLinkRequest, GetOrganizationRequest, ListAuditEntriesRequest, ListEventTypesRequest,
    ListWebhooksRequest, RevokePortalLinkRequest, Token, TokenScope, token::Expiration,
};
use prost_types::Duration;
use tonic::Code;

use crate::support::{ACME, CLOCKING, Clients, Installation, On, event, on_both_stores, portal_link, token};

fn seconds(seconds: i64) -> Option<Duration> {
    Some(Duration { seconds, nanos: 0 })
}

on_both_stores! {
    async fn a_link_leads_to_the_console_and_is_audited(on: On) {
        let mut installation =
            Installation::start_with(on, |builder| builder.arg("--console-url", "https://hooks.example/")).await;
        let request = CreatePortalLinkRequest {
            ttl: seconds(60),
            read_only: true,
            return_url: "https://app.example/settings".to_owned(),
            ..portal_link(ACME)
        };
        let link = installation.clients.create_portal_link(request.clone()).await.unwrap();
        let token = link.url.strip_prefix("https://hooks.example/portal/").unwrap();
        assert!(token.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)), "{token}");
        let again = installation.clients.create_portal_link(request).await.unwrap();
        assert!(again.url != link.url && again.portal_link != link.portal_link, "each link is unique");
        let brief = link.expire_time.unwrap().seconds;
        let hour = installation.clients.create_portal_link(portal_link(ACME)).await.unwrap().expire_time.unwrap().seconds;
        assert!(hour - brief >= 3_540, "an hour by default: {brief} {hour}");

        let log = ListAuditEntriesRequest { parent: ACME.to_owned(), action_prefix: "portal_link.".to_owned(), ..Default::default() };
        let entries = installation.clients.audit.list_audit_entries(log).await.unwrap().into_inner().audit_entries;
        let resources: Vec<&str> = entries.iter().map(|entry| entry.resource.as_str()).collect();
        assert_eq!(resources[1..], [&again.portal_link, &link.portal_link]);
        assert!(!format!("{entries:?}").contains(token), "the log contains no token");
    }

    async fn a_link_needs_the_scope_for_its_organization(on: On) {
        let mut installation = Installation::start(on).await;
        installation.create_organization("globex").await;
        let address = installation.server.grpc_address().to_owned();
        let http = installation.server.http_address().to_owned();
        for (scope, organization, allowed) in [
            (TokenScope::Manage, ACME, true),
            (TokenScope::Portal, ACME, true),
            (TokenScope::Portal, "organizations/globex", false),
            (TokenScope::Read, ACME, false),
            (TokenScope::Publish, ACME, false),
            (TokenScope::Manage, "organizations/globex", false),
        ] {
            let token = installation.clients.create_token(token(scope, organization)).await.unwrap();
            let mut clients = Clients::connect(&address, &token.secret).await;
            match clients.create_portal_link(portal_link(ACME)).await {
                Ok(link) => {
                    assert!(allowed, "{scope:?} {organization}");
                    assert!(link.url.starts_with(&format!("http://{http}/portal/")), "{}", link.url);
                    // The link's token is not an API token.
                    let portal = link.url.rsplit('/').next().unwrap();
                    let mut stranger = Clients::connect(&address, portal).await;
                    assert_eq!(stranger.create_portal_link(portal_link(ACME)).await.unwrap_err().code(), Code::Unauthenticated);
                }
                Err(status) => assert_eq!((allowed, status.code()), (false, Code::PermissionDenied), "{scope:?} {organization}"),
            }
        }
    }
}

#[tokio::test]
async fn a_token_for_links_does_nothing_else() {
    let mut installation = Installation::start(On::Sqlite).await;
    installation.create_organization("globex").await;
    let made = installation
        .clients
        .create_token(token(TokenScope::Portal, ACME))
        .await
        .unwrap();
    assert_eq!(made.scope(), TokenScope::Portal);
    let mut clients = Clients::connect(installation.server.grpc_address(), &made.secret).await;
    let link = clients.create_portal_link(portal_link(ACME)).await.unwrap();
    let revoke = |organization: &str| RevokePortalLinkRequest {
        name: link.portal_link.clone(),
        organization: organization.to_owned(),
    };
    clients.portal.revoke_portal_link(revoke(ACME)).await.unwrap();
    clients.portal.revoke_portal_link(revoke(ACME)).await.unwrap();
    let elsewhere = clients.portal.revoke_portal_link(revoke("organizations/globex")).await;
    assert_eq!(elsewhere.unwrap_err().code(), Code::PermissionDenied);
    let list = ListWebhooksRequest {
        parent: ACME.to_owned(),
        ..ListWebhooksRequest::default()
    };
    let types = ListEventTypesRequest::default();
    let organization = GetOrganizationRequest { name: ACME.to_owned() };
    let denied = [
        clients.webhooks.list_webhooks(list).await.unwrap_err(),
        clients.event_types.list_event_types(types).await.unwrap_err(),
        clients.organizations.get_organization(organization).await.unwrap_err(),
        clients
            .events
            .publish_event(event("clocking", CLOCKING))
            .await
            .unwrap_err(),
        clients.create_token(token(TokenScope::Portal, ACME)).await.unwrap_err(),
    ];
    for status in denied {
        assert_eq!(status.code(), Code::PermissionDenied, "{status}");
    }
}

#[tokio::test]
async fn a_link_lasts_no_longer_than_the_token_that_made_it() {
    let mut installation = Installation::start(On::Sqlite).await;
    #[expect(
        clippy::disallowed_methods,
        reason = "the test needs the real time, not the server's clock"
    )]
    let end = std::time::SystemTime::now() + std::time::Duration::from_secs(600);
    let made = Token {
        expiration: Some(Expiration::ExpireTime(end.into())),
        ..token(TokenScope::Manage, "")
    };
    let made = installation.clients.create_token(made).await.unwrap();
    let mut clients = Clients::connect(installation.server.grpc_address(), &made.secret).await;
    let link = clients.create_portal_link(portal_link(ACME)).await.unwrap();
    assert_eq!(link.expire_time.map(Expiration::ExpireTime), made.expiration);
    let brief = CreatePortalLinkRequest {
        ttl: seconds(60),
        ..portal_link(ACME)
    };
    let sooner = clients.create_portal_link(brief).await.unwrap();
    assert!(sooner.expire_time.unwrap().seconds < link.expire_time.unwrap().seconds);
}

#[tokio::test]
async fn a_link_that_makes_no_sense_is_refused_with_its_field() {
    let mut installation = Installation::start(On::Sqlite).await;
    let with_return = |url: &str| CreatePortalLinkRequest {
        return_url: url.to_owned(),
        ..portal_link(ACME)
    };
    for (request, field, code) in [
        (
            CreatePortalLinkRequest::default(),
            "organization",
            Code::InvalidArgument,
        ),
        (
            CreatePortalLinkRequest {
                ttl: seconds(59),
                ..portal_link(ACME)
            },
            "ttl",
            Code::InvalidArgument,
        ),
        (
            CreatePortalLinkRequest {
                ttl: seconds(86_401),
                ..portal_link(ACME)
            },
            "ttl",
            Code::InvalidArgument,
        ),
        (
            CreatePortalLinkRequest {
                ttl: seconds(-1),
                ..portal_link(ACME)
            },
            "ttl",
            Code::InvalidArgument,
        ),
        (with_return("javascript:alert(1)"), "return_url", Code::InvalidArgument),
        (with_return("/settings"), "return_url", Code::InvalidArgument),
        (
            CreatePortalLinkRequest {
                organization: "organizations/nobody".to_owned(),
                ..portal_link(ACME)
            },
            "organizations/nobody",
            Code::NotFound,
        ),
    ] {
        let refused = installation
            .clients
            .create_portal_link(request.clone())
            .await
            .unwrap_err();
        assert_eq!(refused.code(), code, "{request:?}: {refused:?}");
        assert!(refused.message().contains(field), "{request:?}: {}", refused.message());
    }
}

#[tokio::test]
async fn a_console_url_that_is_none_is_refused_at_start() {
    for bad in ["hooks.example", "ftp://hooks.example", "https://hooks.example/?a=b"] {
        let exited = hookwright_testkit::TestServer::builder(env!("CARGO_BIN_EXE_hookwright"))
            .sqlite()
            .arg("--console-url", bad)
            .start_to_fail()
            .await
            .unwrap();
        assert!(exited.stderr.contains("console-url"), "{bad}: {}", exited.stderr);
    }
}
