//! The gRPC API `hookwright.v1`, one module a service. Each call authenticates, turns protobuf into what a use case takes,
//! and its answer back; rules live in [`crate::app`].

mod audit;
mod completion;
mod conditions;
mod deliveries;
mod event_types;
mod events;
mod explain;
mod installation;
mod mask;
mod name;
mod nodes;
mod organizations;
mod page;
mod portal;
mod publish_stream;
mod pull;
mod replays;
mod stats;
pub(crate) mod status;
mod time;
mod tokens;
mod trace;
mod watch;
mod webhooks;

use std::{sync::Arc, time::Duration};

use hookwright_proto::v1::{
    audit_service_server::AuditServiceServer, delivery_service_server::DeliveryServiceServer,
    event_service_server::EventServiceServer, event_type_service_server::EventTypeServiceServer,
    installation_service_server::InstallationServiceServer, node_service_server::NodeServiceServer,
    organization_service_server::OrganizationServiceServer, portal_service_server::PortalServiceServer,
    pull_service_server::PullServiceServer, replay_service_server::ReplayServiceServer,
    token_service_server::TokenServiceServer, webhook_service_server::WebhookServiceServer,
};
use tonic::{
    Request, Status,
    codec::CompressionEncoding,
    service::{Routes, RoutesBuilder},
};

use self::completion::CompletionLayer;
use crate::app::{App, access::Caller, completion::Completion};

/// The largest message taken: a batch of several payloads of the maximum size.
const MESSAGE_BYTES_MAX: usize = 32 << 20;
/// How long a call may take when its caller names no deadline.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);

/// The services over one set of use cases.
#[derive(Clone)]
struct Api {
    app: Arc<App>,
}

impl Api {
    /// Who makes this call.
    fn caller<T>(&self, request: &Request<T>) -> Result<Caller, Status> {
        Ok(self.app.authenticate(authorization(request))?)
    }
}

/// What a call is authorised by.
fn authorization<T>(request: &Request<T>) -> Option<&str> {
    let value = request.metadata().get("authorization");
    value.and_then(|value| value.to_str().ok())
}

/// Every service, with reflection (v1 and v1alpha) and health.
///
/// # Errors
/// When the embedded descriptor set cannot be read.
pub(crate) async fn routes(app: Arc<App>) -> anyhow::Result<Routes> {
    let api = Api { app };
    let mut builder = RoutesBuilder::default();
    macro_rules! serve {
        ($server:ident) => {
            builder.add_service(
                $server::new(api.clone())
                    .max_decoding_message_size(MESSAGE_BYTES_MAX)
                    .max_encoding_message_size(MESSAGE_BYTES_MAX)
                    .accept_compressed(CompressionEncoding::Gzip)
                    .accept_compressed(CompressionEncoding::Zstd)
                    .send_compressed(CompressionEncoding::Gzip)
                    .send_compressed(CompressionEncoding::Zstd),
            );
        };
    }
    serve!(OrganizationServiceServer);
    serve!(EventTypeServiceServer);
    serve!(WebhookServiceServer);
    serve!(EventServiceServer);
    serve!(DeliveryServiceServer);
    serve!(ReplayServiceServer);
    serve!(PullServiceServer);
    serve!(NodeServiceServer);
    serve!(TokenServiceServer);
    serve!(AuditServiceServer);
    serve!(PortalServiceServer);
    serve!(InstallationServiceServer);

    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_serving::<OrganizationServiceServer<Api>>().await;
    health.set_serving::<EventTypeServiceServer<Api>>().await;
    health.set_serving::<WebhookServiceServer<Api>>().await;
    health.set_serving::<EventServiceServer<Api>>().await;
    health.set_serving::<DeliveryServiceServer<Api>>().await;
    health.set_serving::<ReplayServiceServer<Api>>().await;
    health.set_serving::<PullServiceServer<Api>>().await;
    health.set_serving::<NodeServiceServer<Api>>().await;
    health.set_serving::<TokenServiceServer<Api>>().await;
    health.set_serving::<AuditServiceServer<Api>>().await;
    health.set_serving::<PortalServiceServer<Api>>().await;
    health.set_serving::<InstallationServiceServer<Api>>().await;
    builder.add_service(health_service);
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(hookwright_proto::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            // The details of errors, so that clients without generated code can show them.
            .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
    };
    builder.add_service(reflection().build_v1()?);
    builder.add_service(reflection().build_v1alpha()?);
    Ok(builder.routes())
}

/// Runs the gRPC listener until `shutdown` resolves, then finishes the calls under way.
pub(crate) async fn serve(
    routes: Routes,
    completion: Completion,
    listener: tokio::net::TcpListener,
    tls: Option<tonic::transport::ServerTlsConfig>,
    shutdown: impl Future<Output = ()> + Send,
) -> anyhow::Result<()> {
    let mut server = tonic::transport::Server::builder()
        .timeout(CALL_TIMEOUT)
        .http2_keepalive_interval(Some(Duration::from_secs(30)))
        .http2_keepalive_timeout(Some(Duration::from_secs(20)))
        .max_concurrent_streams(Some(256))
        .initial_stream_window_size(Some(1 << 20))
        .initial_connection_window_size(Some(4 << 20))
        .http2_max_header_list_size(Some(32 << 10))
        .http2_max_pending_accept_reset_streams(Some(64))
        .layer(CompletionLayer(completion));
    if let Some(tls) = tls {
        server = server.tls_config(tls)?;
    }
    // The builder's own setting holds only for listeners that it opens itself.
    let incoming = tonic::transport::server::TcpIncoming::from(listener).with_nodelay(Some(true));
    server
        .add_routes(routes)
        .serve_with_incoming_shutdown(incoming, shutdown)
        .await?;
    Ok(())
}
