//! A running installation with clients, and helpers for what tests do with it.

use hookwright_proto::v1::{
    BatchPublishEventsRequest, CreateEventTypeRequest, CreateOrganizationRequest, CreatePortalLinkRequest,
    CreatePortalLinkResponse, CreateTokenRequest, CreateWebhookRequest, Delivery, DeliveryState, EventType,
    GetDeliveryRequest, GetWebhookRequest, ListDeliveriesRequest, PublishEventRequest, PublishEventResponse, Token,
    TokenScope, Webhook, audit_service_client::AuditServiceClient, delivery_service_client::DeliveryServiceClient,
    event_service_client::EventServiceClient, event_type_service_client::EventTypeServiceClient,
    installation_service_client::InstallationServiceClient, node_service_client::NodeServiceClient,
    operation_service_client::OperationServiceClient, organization_service_client::OrganizationServiceClient,
    portal_service_client::PortalServiceClient, publish_event_request::Payload, publish_result,
    pull_service_client::PullServiceClient, replay_service_client::ReplayServiceClient,
    token_service_client::TokenServiceClient, webhook_service_client::WebhookServiceClient,
};
use hookwright_testkit::{PostgresCluster, Receiver, TestDatabase, TestServer, server::TestServerBuilder, until};
use tonic::{
    Request, Status,
    metadata::MetadataValue,
    service::{Interceptor, interceptor::InterceptedService},
    transport::Channel,
};

/// The clocking event of the contract, byte for byte.
pub(crate) const CLOCKING: &str = r#"{"action":"created","clocking":{"id":"CLOCKING-ID-123","driverId":"DRIVER-ID-123","clockingTimeStamp":"2018-01-01T09:01:53","isClockIn":true}}"#;
/// A signing secret in the standard form.
pub(crate) const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
/// The organization of most tests.
pub(crate) const ACME: &str = "organizations/acme";
/// How many events one publishing call contains.
const BATCH: usize = 500;

/// The store that a test runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum On {
    Sqlite,
    Postgres,
}

/// Makes two tests of one: `name::sqlite` and `name::postgres`.
macro_rules! on_both_stores {
    ($($(#[$meta:meta])* async fn $name:ident($on:ident: On) $body:block)*) => {$(
        mod $name {
            use super::*;

            $(#[$meta])*
            async fn run($on: On) $body

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite() {
                run(On::Sqlite).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn postgres() {
                run(On::Postgres).await;
            }
        }
    )*};
}
pub(crate) use on_both_stores;

/// Sends the token with every call.
#[derive(Clone)]
pub(crate) struct Bearer(MetadataValue<tonic::metadata::Ascii>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert("authorization", self.0.clone());
        Ok(request)
    }
}

pub(crate) type Authorized = InterceptedService<Channel, Bearer>;

/// Clients of every service, with one token.
#[derive(Clone)]
pub(crate) struct Clients {
    pub(crate) organizations: OrganizationServiceClient<Authorized>,
    pub(crate) event_types: EventTypeServiceClient<Authorized>,
    pub(crate) webhooks: WebhookServiceClient<Authorized>,
    pub(crate) events: EventServiceClient<Authorized>,
    pub(crate) deliveries: DeliveryServiceClient<Authorized>,
    pub(crate) replays: ReplayServiceClient<Authorized>,
    pub(crate) operations: OperationServiceClient<Authorized>,
    pub(crate) pull: PullServiceClient<Authorized>,
    pub(crate) nodes: NodeServiceClient<Authorized>,
    pub(crate) tokens: TokenServiceClient<Authorized>,
    pub(crate) audit: AuditServiceClient<Authorized>,
    pub(crate) portal: PortalServiceClient<Authorized>,
    pub(crate) installation: InstallationServiceClient<Authorized>,
}

impl Clients {
    /// Creates a token. The response contains its secret.
    pub(crate) async fn create_token(&mut self, token: Token) -> Result<Token, Status> {
        let request = CreateTokenRequest { token: Some(token) };
        Ok(self.tokens.create_token(request).await?.into_inner())
    }

    /// Creates a portal link.
    pub(crate) async fn create_portal_link(
        &mut self,
        request: CreatePortalLinkRequest,
    ) -> Result<CreatePortalLinkResponse, Status> {
        Ok(self.portal.create_portal_link(request).await?.into_inner())
    }

    pub(crate) async fn connect(address: &str, token: &str) -> Self {
        let channel = channel(address).await;
        let bearer = Bearer(format!("Bearer {token}").parse().unwrap());
        let service = InterceptedService::new(channel, bearer);
        const MAX: usize = 64 << 20;
        Self {
            organizations: OrganizationServiceClient::new(service.clone()),
            event_types: EventTypeServiceClient::new(service.clone()),
            webhooks: WebhookServiceClient::new(service.clone()),
            events: EventServiceClient::new(service.clone()).max_decoding_message_size(MAX),
            deliveries: DeliveryServiceClient::new(service.clone()),
            replays: ReplayServiceClient::new(service.clone()),
            operations: OperationServiceClient::new(service.clone()),
            pull: PullServiceClient::new(service.clone()).max_decoding_message_size(MAX),
            nodes: NodeServiceClient::new(service.clone()),
            tokens: TokenServiceClient::new(service.clone()),
            audit: AuditServiceClient::new(service.clone()),
            portal: PortalServiceClient::new(service.clone()),
            installation: InstallationServiceClient::new(service),
        }
    }
}

pub(crate) async fn channel(address: &str) -> Channel {
    Channel::from_shared(format!("http://{address}"))
        .unwrap()
        .connect()
        .await
        .unwrap()
}

/// A server with the organization `acme`, and clients for it.
pub(crate) struct Installation {
    pub(crate) server: TestServer,
    pub(crate) clients: Clients,
    pub(crate) database: Option<TestDatabase>,
}

/// A separate database on PostgreSQL.
pub(crate) async fn postgres_database() -> TestDatabase {
    let cluster = PostgresCluster::shared().await.unwrap();
    cluster.create_database().await.unwrap()
}

/// A server on a store, which may send to loopback addresses.
pub(crate) async fn builder(on: On) -> (TestServerBuilder, Option<TestDatabase>) {
    let builder = TestServer::builder(env!("CARGO_BIN_EXE_hookwright")).allow("127.0.0.0/8");
    match on {
        On::Sqlite => (builder.sqlite(), None),
        On::Postgres => {
            let database = postgres_database().await;
            (builder.postgres(database.url()), Some(database))
        }
    }
}

impl Installation {
    pub(crate) async fn start(on: On) -> Self {
        Self::start_with(on, |builder| builder).await
    }

    pub(crate) async fn start_with(on: On, settings: impl FnOnce(TestServerBuilder) -> TestServerBuilder) -> Self {
        let (builder, database) = builder(on).await;
        let server = settings(builder).start().await.unwrap();
        let clients = Clients::connect(server.grpc_address(), &server.token().unwrap()).await;
        let mut installation = Self {
            server,
            clients,
            database,
        };
        installation.create_organization("acme").await;
        installation
    }

    /// An installation of a server that is already running.
    pub(crate) async fn of(server: TestServer) -> Self {
        let clients = Clients::connect(server.grpc_address(), &server.token().unwrap()).await;
        Self {
            server,
            clients,
            database: None,
        }
    }

    /// A new session on the installation's PostgreSQL database.
    pub(crate) async fn postgres(&self) -> tokio_postgres::Client {
        let url = self.database.as_ref().unwrap().url();
        let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    }

    pub(crate) async fn create_organization(&mut self, id: &str) {
        let request = CreateOrganizationRequest {
            organization_id: id.to_owned(),
            organization: None,
        };
        self.clients.organizations.create_organization(request).await.unwrap();
    }

    /// Restarts the server on the same store, and reconnects.
    pub(crate) async fn restart(&mut self) {
        self.server.restart().await.unwrap();
        self.reconnect().await;
    }

    /// Reconnects: a restarted server may listen on another port.
    pub(crate) async fn reconnect(&mut self) {
        self.clients = Clients::connect(self.server.grpc_address(), &self.server.token().unwrap()).await;
    }

    /// The value of a metric without labels in `/metrics`.
    pub(crate) async fn metric(&self, name: &str) -> f64 {
        let address = self.server.http_address();
        let response = hookwright_testkit::http::request(address, "GET", "/metrics", &[], b"")
            .await
            .unwrap();
        let text = String::from_utf8(response.body).unwrap();
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value
            .unwrap_or_else(|| panic!("no metric {name} in\n{text}"))
            .parse()
            .unwrap()
    }

    pub(crate) async fn get_webhook(&mut self, name: &str) -> Webhook {
        let request = GetWebhookRequest { name: name.to_owned() };
        self.clients.webhooks.get_webhook(request).await.unwrap().into_inner()
    }

    pub(crate) async fn metric_until(&self, name: &str, expected: impl Fn(f64) -> bool) -> f64 {
        until(&format!("the metric {name}"), async || {
            let value = self.metric(&format!("hookwright_{name}")).await;
            if expected(value) { Ok(value) } else { Err(value) }
        })
        .await
    }

    /// The server's peak memory so far, in MiB.
    pub(crate) fn peak_mib(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.server.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.split_whitespace().next().unwrap().parse::<usize>().unwrap() / 1_024
    }

    /// Registers an event type without a schema.
    pub(crate) async fn register(&mut self, event_type: &str) {
        self.register_as(event_type, EventType::default()).await;
    }

    /// Registers an event type with this configuration.
    pub(crate) async fn register_as(&mut self, name: &str, event_type: EventType) -> EventType {
        let request = CreateEventTypeRequest {
            event_type_id: name.to_owned(),
            event_type: Some(event_type),
        };
        let created = self.clients.event_types.create_event_type(request).await.unwrap();
        created.into_inner()
    }

    /// Installs a webhook with the test's secret and waits for its ping.
    pub(crate) async fn webhook(&mut self, receiver: &Receiver, events: &[&str]) -> Webhook {
        let webhook = self
            .create_webhook(Webhook {
                ..webhook(&receiver.url("/payload"), events)
            })
            .await
            .unwrap();
        let id = id_of(&webhook.name).to_owned();
        receiver
            .wait_until(|requests| requests.iter().any(|request| is_ping_of(request, &id)))
            .await;
        webhook
    }

    pub(crate) async fn create_webhook(&mut self, webhook: Webhook) -> Result<Webhook, Status> {
        let request = CreateWebhookRequest {
            parent: ACME.to_owned(),
            webhook: Some(webhook),
        };
        Ok(self.clients.webhooks.create_webhook(request).await?.into_inner())
    }

    pub(crate) async fn publish(&mut self, event_type: &str, json: &str) -> PublishEventResponse {
        self.try_publish(event(event_type, json)).await.unwrap()
    }

    pub(crate) async fn try_publish(&mut self, event: PublishEventRequest) -> Result<PublishEventResponse, Status> {
        Ok(self.clients.events.publish_event(event).await?.into_inner())
    }

    /// Publishes the same event `count` times, in batches, and returns the events' names.
    pub(crate) async fn publish_batch(&mut self, event_type: &str, json: &str, count: usize) -> Vec<String> {
        let mut names = Vec::with_capacity(count);
        while names.len() < count {
            let missing = BATCH.min(count - names.len());
            let batch = BatchPublishEventsRequest {
                organization: ACME.to_owned(),
                requests: vec![event(event_type, json); missing],
            };
            let answer = self
                .clients
                .events
                .batch_publish_events(batch)
                .await
                .unwrap()
                .into_inner();
            names.extend(answer.results.into_iter().map(|result| match result.result {
                Some(publish_result::Result::Published(published)) => published.event,
                other => panic!("{other:?}"),
            }));
        }
        names
    }

    /// Waits until a delivery fulfils the condition.
    pub(crate) async fn delivery_until(&mut self, name: &str, expected: impl Fn(&Delivery) -> bool) -> Delivery {
        until("the delivery to change", async || {
            let request = GetDeliveryRequest { name: name.to_owned() };
            let found = self.clients.deliveries.get_delivery(request).await.unwrap();
            let delivery = found.into_inner();
            if expected(&delivery) {
                Ok(delivery)
            } else {
                Err(format!("{delivery:#?}"))
            }
        })
        .await
    }

    /// An organization's deliveries that match the filter, newest first, from all pages.
    pub(crate) async fn deliveries(&mut self, filter: ListDeliveriesRequest) -> Vec<Delivery> {
        let mut found = Vec::new();
        let mut page_token = String::new();
        loop {
            let request = ListDeliveriesRequest {
                parent: ACME.to_owned(),
                page_size: 1_000,
                page_token,
                ..filter.clone()
            };
            let page = self
                .clients
                .deliveries
                .list_deliveries(request)
                .await
                .unwrap()
                .into_inner();
            found.extend(page.deliveries);
            if page.next_page_token.is_empty() {
                return found;
            }
            page_token = page.next_page_token;
        }
    }

    /// Waits until at least `count` deliveries match the filter, and returns them.
    pub(crate) async fn deliveries_until(&mut self, filter: ListDeliveriesRequest, count: usize) -> Vec<Delivery> {
        until(&format!("{count} that match {filter:?}"), async || {
            let found = self.deliveries(filter.clone()).await;
            if found.len() >= count {
                Ok(found)
            } else {
                Err(found.len())
            }
        })
        .await
    }

    pub(crate) async fn delivered(&mut self, name: &str) -> Delivery {
        self.delivery_until(name, |delivery| delivery.state() == DeliveryState::Delivered)
            .await
    }
}

/// A request for a token of an organization, or of the installation.
pub(crate) fn token(scope: TokenScope, organization: &str) -> Token {
    Token {
        display_name: "test".to_owned(),
        scope: scope.into(),
        organization: organization.to_owned(),
        ..Token::default()
    }
}

/// A request for a portal link.
pub(crate) fn portal_link(organization: &str) -> CreatePortalLinkRequest {
    CreatePortalLinkRequest {
        organization: organization.to_owned(),
        ..CreatePortalLinkRequest::default()
    }
}

pub(crate) fn webhook(url: &str, events: &[&str]) -> Webhook {
    Webhook {
        payload_url: url.to_owned(),
        events: events.iter().map(|event| (*event).to_owned()).collect(),
        signing_secret: SECRET.to_owned(),
        ..Webhook::default()
    }
}

pub(crate) fn event(event_type: &str, json: &str) -> PublishEventRequest {
    PublishEventRequest {
        organization: ACME.to_owned(),
        event_type: event_type.to_owned(),
        payload: Some(Payload::Json(json.to_owned().into())),
        ..PublishEventRequest::default()
    }
}

/// The last segment of a resource name.
pub(crate) fn id_of(name: &str) -> &str {
    name.rsplit('/').next().unwrap()
}

fn is_ping_of(request: &hookwright_testkit::RecordedRequest, webhook: &str) -> bool {
    request.header("TT-Hook-Event") == Some("ping") && request.json()["hook"]["id"] == webhook
}

/// The requests that are not pings.
pub(crate) fn without_pings(
    requests: &[hookwright_testkit::RecordedRequest],
) -> Vec<hookwright_testkit::RecordedRequest> {
    requests
        .iter()
        .filter(|request| request.header("TT-Hook-Event") != Some("ping"))
        .cloned()
        .collect()
}

/// Waits until at least `count` requests that are not pings have arrived, and returns them.
pub(crate) async fn wait_for_events(receiver: &Receiver, count: usize) -> Vec<hookwright_testkit::RecordedRequest> {
    let is_event = |request: &&hookwright_testkit::RecordedRequest| request.header("TT-Hook-Event") != Some("ping");
    let requests = receiver
        // The cheap count comes first: most polls find too few requests, and need not tell pings from events.
        .wait_until(|requests| requests.len() >= count && requests.iter().filter(is_event).count() >= count)
        .await;
    without_pings(&requests)
}
