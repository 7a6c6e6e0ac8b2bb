//! Connections to a server whose calls carry a token.

use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::Channel,
};

/// Sends the token with every call.
#[derive(Clone)]
pub(super) struct Bearer(MetadataValue<Ascii>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert("authorization", self.0.clone());
        Ok(request)
    }
}

pub(super) type Authorized = InterceptedService<Channel, Bearer>;

/// Opens a connection.
pub(super) async fn connect(server: &str, token: &str) -> anyhow::Result<Authorized> {
    let bearer = Bearer(format!("Bearer {token}").parse()?);
    let channel = Channel::from_shared(format!("http://{server}"))?.connect().await?;
    Ok(InterceptedService::new(channel, bearer))
}
