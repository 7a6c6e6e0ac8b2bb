//! `PortalService`.

use std::time::Duration;

use hookwright_proto::v1::{
    CreatePortalLinkRequest, CreatePortalLinkResponse, RevokePortalLinkRequest, portal_service_server::PortalService,
};
use tonic::{Request, Response, Status};

use super::{
    Api, name,
    time::{std_duration, timestamp},
};
use crate::app::portal::NewPortalLink;

const TTL_DEFAULT: Duration = Duration::from_secs(3_600);

#[tonic::async_trait]
impl PortalService for Api {
    async fn create_portal_link(
        &self,
        request: Request<CreatePortalLinkRequest>,
    ) -> Result<Response<CreatePortalLinkResponse>, Status> {
        let caller = self.caller(&request)?;
        let request = request.get_ref();
        let ttl = request.ttl.as_ref().map(|ttl| std_duration("ttl", ttl)).transpose()?;
        let new = NewPortalLink {
            organization: name::organization("organization", &request.organization)?,
            ttl: ttl.unwrap_or(TTL_DEFAULT),
            read_only: request.read_only,
            return_url: &request.return_url,
        };
        let link = self.app.create_portal_link(&caller, new).await?;
        Ok(Response::new(CreatePortalLinkResponse {
            portal_link: format!("portalLinks/{}", link.id),
            url: link.url,
            expire_time: Some(timestamp(link.expires_at)),
        }))
    }

    async fn revoke_portal_link(&self, request: Request<RevokePortalLinkRequest>) -> Result<Response<()>, Status> {
        let caller = self.caller(&request)?;
        let request = request.get_ref();
        let id = name::portal_link("name", &request.name)?;
        let organization = name::organization("organization", &request.organization)?;
        self.app.revoke_portal_link(&caller, organization, id).await?;
        Ok(Response::new(()))
    }
}
