//! `OrganizationService`.

use hookwright_domain::name::OrganizationName;
use hookwright_proto::v1::{
    CreateOrganizationRequest, DeleteOrganizationRequest, GetOrganizationRequest, ListOrganizationsRequest,
    ListOrganizationsResponse, Organization, UpdateOrganizationRequest,
    organization_service_server::OrganizationService,
};
use hookwright_storage::OrganizationRow;
use tonic::{Request, Response, Status};

use super::{Api, mask, name, operations, page, time::timestamp};
use crate::app::{error::AppError, texts::NamePrefix};

const FIELDS: [&str; 1] = ["display_name"];

#[tonic::async_trait]
impl OrganizationService for Api {
    async fn create_organization(
        &self,
        request: Request<CreateOrganizationRequest>,
    ) -> Result<Response<Organization>, Status> {
        let caller = self.caller(&request)?;
        let request = request.into_inner();
        OrganizationName::parse(&request.organization_id)
            .map_err(|error| AppError::invalid("organization_id", error.rule(), error.to_string()))?;
        let display_name = request.organization.unwrap_or_default().display_name;
        let row = self
            .app
            .create_organization(&caller, &request.organization_id, &display_name)
            .await?;
        Ok(Response::new(organization(row)))
    }

    async fn get_organization(
        &self,
        request: Request<GetOrganizationRequest>,
    ) -> Result<Response<Organization>, Status> {
        let caller = self.caller(&request)?;
        let id = name::organization("name", &request.get_ref().name)?;
        Ok(Response::new(organization(self.app.get_organization(&caller, id)?)))
    }

    async fn list_organizations(
        &self,
        request: Request<ListOrganizationsRequest>,
    ) -> Result<Response<ListOrganizationsResponse>, Status> {
        let caller = self.caller(&request)?;
        let request = request.get_ref();
        let prefix = NamePrefix::new("organization_id_prefix", &request.organization_id_prefix)?;
        let arguments = page::Arguments::new(&["ListOrganizations", &request.organization_id_prefix]);
        let after = arguments.place(&request.page_token)?.unwrap_or_default();
        let (rows, next) = self
            .app
            .list_organizations(&caller, prefix, &after, page::size(request.page_size)?)?;
        let (organizations, next) = page::fit(rows, next, |row| row.name.clone(), organization);
        Ok(Response::new(ListOrganizationsResponse {
            organizations,
            next_page_token: arguments.token(next.as_deref()),
        }))
    }

    async fn update_organization(
        &self,
        request: Request<UpdateOrganizationRequest>,
    ) -> Result<Response<Organization>, Status> {
        let caller = self.caller(&request)?;
        let request = request.into_inner();
        let given = request
            .organization
            .ok_or_else(|| AppError::invalid("organization", "FIELD_REQUIRED", "is required, with its name set"))?;
        let id = name::organization("organization.name", &given.name)?;
        let set: &[&str] = if given.display_name.is_empty() { &[] } else { &FIELDS };
        let fields = mask::fields(request.update_mask.as_ref(), &FIELDS, set)?;
        let display_name = (!fields.is_empty()).then_some(given.display_name);
        let row = self.app.update_organization(&caller, id, display_name).await?;
        Ok(Response::new(organization(row)))
    }

    async fn delete_organization(&self, request: Request<DeleteOrganizationRequest>) -> Result<Response<()>, Status> {
        let caller = self.caller(&request)?;
        let request = request.get_ref();
        let id = name::organization("name", &request.name)?;
        let operation = self.app.delete_organization(&caller, id, request.force).await?;
        Ok(operations::answer((), operation))
    }
}

fn organization(row: OrganizationRow) -> Organization {
    Organization {
        name: format!("organizations/{}", row.name),
        display_name: row.display_name,
        create_time: Some(timestamp(row.created_at)),
        update_time: Some(timestamp(row.updated_at)),
    }
}
