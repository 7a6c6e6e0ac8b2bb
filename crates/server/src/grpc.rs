//! The gRPC API `hookwright.v1`, one module per service. Each call converts protobuf to a use case's arguments, and its
//! result back; the rules are in [`crate::app`]. The [`guard`] authenticates a call before its body is read.

mod audit;
mod body;
pub(crate) mod calls;
mod completion;
mod conditions;
mod deliveries;
mod event_types;
mod events;
mod explain;
pub(crate) mod guard;
pub(crate) mod in_flight;
mod installation;
mod mask;
mod name;
mod nodes;
mod operations;
mod organizations;
mod page;
mod portal;
mod publish;
mod publish_stream;
mod pull;
mod records;
mod replays;
mod stats;
pub(crate) mod status;
mod struct_json;
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
    operation_service_server::OperationServiceServer, organization_service_server::OrganizationServiceServer,
    portal_service_server::PortalServiceServer, pull_service_server::PullServiceServer,
    replay_service_server::ReplayServiceServer, token_service_server::TokenServiceServer,
    webhook_service_server::WebhookServiceServer,
};
use tonic::{
    Request, Status,
    codec::CompressionEncoding,
    service::{Routes, RoutesBuilder},
};

use self::guard::Admission;
use crate::{
    app::{App, access::Caller, error::AppError},
    listener::{self, Http2, pulse::Patience, slots::ConnectionLimits},
    options::Options,
};

/// The maximum size of a message: a batch of several payloads of the maximum size.
const MESSAGE_BYTES_MAX: usize = 32 << 20;
/// The maximum size of a message outside `EventService`.
const SMALL_MESSAGE_BYTES_MAX: usize = 8 << 20;
/// Idle timeout of a connection without an admitted call.
const STRANGER_IDLE: Duration = Duration::from_secs(90);
/// Timeout for a peer to read the next piece of an answer.
const PROGRESS: Duration = Duration::from_secs(120);
/// Timeout of a call without a deadline.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);

/// The services over one set of use cases.
#[derive(Clone)]
struct Api {
    app: Arc<App>,
}

impl Api {
    /// The caller. Its body took time to arrive, so the token is checked again.
    fn caller<T: prost::Message>(&self, request: &Request<T>) -> Result<Caller, Status> {
        let Admission { caller, in_flight } = self.admission(request)?;
        in_flight.settle(|| request.get_ref().encoded_len())?;
        Ok(caller)
    }

    /// The guard's result for this call.
    fn admission<T>(&self, request: &Request<T>) -> Result<Admission, Status> {
        let admission = request.extensions().get::<Admission>();
        let admission = admission.ok_or_else(|| AppError::internal(&"a call came by without the guard"))?;
        self.app.recheck(&admission.caller)?;
        Ok(admission.clone())
    }
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
            serve!($server, SMALL_MESSAGE_BYTES_MAX)
        };
        ($server:ident, $bytes_max:expr) => {
            builder.add_service(
                $server::new(api.clone())
                    .max_decoding_message_size($bytes_max)
                    .max_encoding_message_size(MESSAGE_BYTES_MAX)
                    .accept_compressed(CompressionEncoding::Gzip)
                    .send_compressed(CompressionEncoding::Gzip),
            );
        };
    }
    serve!(OrganizationServiceServer);
    serve!(EventTypeServiceServer);
    serve!(WebhookServiceServer);
    serve!(EventServiceServer, MESSAGE_BYTES_MAX);
    serve!(DeliveryServiceServer);
    serve!(ReplayServiceServer);
    serve!(OperationServiceServer);
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
    health.set_serving::<OperationServiceServer<Api>>().await;
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

/// The limits on connections of the gRPC listener.
pub(crate) fn limits(options: &Options) -> listener::Limits {
    listener::Limits {
        connections: ConnectionLimits {
            all: options.grpc_connections_max,
            of_address: options.grpc_connections_per_address_max,
            reserved: 64,
        },
        trusts_this_machine: true,
        patience: Patience {
            head: options.grpc_first_request_timeout,
            idle: options.grpc_idle_timeout,
            stranger_idle: options.grpc_idle_timeout.min(STRANGER_IDLE),
            progress: PROGRESS,
            rate: 10 << 10,
        },
        handshake: options.grpc_first_request_timeout,
        farewell: Duration::from_secs(5),
        age: options.grpc_connection_age_max,
        ending: Duration::from_secs(60),
        http2: Http2 {
            only: true,
            streams_max: options.grpc_streams_per_connection_max,
            stream_window: 256 << 10,
            connection_window: 1 << 20,
            send_buffer: 256 << 10,
        },
    }
}
