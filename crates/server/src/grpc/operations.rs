//! `OperationService`.

use hookwright_domain::id::{OperationId, WebhookId};
use hookwright_proto::v1::{
    CancelOperationRequest, CancelOperationResponse, GetOperationRequest, ListOperationsRequest,
    ListOperationsResponse, Operation, OperationKind, OperationState, operation_service_server::OperationService,
};
use hookwright_storage::operations::{self, OPERATION_CANCELLED, OPERATION_RUNNING, OPERATION_SUCCEEDED, OperationRow};
use tonic::{Request, Response, Status};

use super::{Api, name, page, time::timestamp, tokens::optional_organization};

/// The response metadata that names the operation that a call began.
const OPERATION: &str = "hookwright-operation";

#[tonic::async_trait]
impl OperationService for Api {
    async fn get_operation(&self, request: Request<GetOperationRequest>) -> Result<Response<Operation>, Status> {
        let caller = self.caller(&request)?;
        let id = name::operation("name", &request.get_ref().name)?;
        Ok(Response::new(operation(self.app.get_operation(&caller, id).await?)))
    }

    async fn list_operations(
        &self,
        request: Request<ListOperationsRequest>,
    ) -> Result<Response<ListOperationsResponse>, Status> {
        let caller = self.caller(&request)?;
        let request = request.get_ref();
        let organization = optional_organization("organization", &request.organization)?;
        let arguments = page::Arguments::new(&["ListOperations", &request.organization]);
        let before = arguments.before(&request.page_token)?;
        let size = page::size(request.page_size)?;
        let (rows, next) = self.app.list_operations(&caller, organization, before, size).await?;
        Ok(Response::new(ListOperationsResponse {
            operations: rows.into_iter().map(operation).collect(),
            next_page_token: arguments.token(next.as_deref()),
        }))
    }

    async fn cancel_operation(
        &self,
        request: Request<CancelOperationRequest>,
    ) -> Result<Response<CancelOperationResponse>, Status> {
        let caller = self.caller(&request)?;
        let id = name::operation("name", &request.get_ref().name)?;
        let row = self.app.cancel_operation(&caller, id).await?;
        Ok(Response::new(CancelOperationResponse {
            operation: Some(operation(row)),
        }))
    }
}

/// The name of an operation; empty for none.
pub(super) fn operation_name(id: Option<OperationId>) -> String {
    id.map_or_else(String::new, |id| format!("operations/{id}"))
}

/// An answer that names the operation that the call began, if any.
pub(super) fn answer<T>(message: T, id: Option<OperationId>) -> Response<T> {
    let mut response = Response::new(message);
    if let Ok(name) = operation_name(id).parse()
        && id.is_some()
    {
        response.metadata_mut().insert(OPERATION, name);
    }
    response
}

fn operation(row: OperationRow) -> Operation {
    let organization = format!("organizations/{}", row.organization);
    let webhook = row.webhook_id.map(WebhookId::from_raw);
    let state = match row.state {
        OPERATION_RUNNING => OperationState::Running,
        OPERATION_SUCCEEDED => OperationState::Succeeded,
        OPERATION_CANCELLED => OperationState::Cancelled,
        _ => OperationState::Failed,
    };
    let kind = match row.kind() {
        operations::OperationKind::DiscardBacklog => OperationKind::DiscardBacklog,
        operations::OperationKind::DeleteWebhook => OperationKind::DeleteWebhook,
        operations::OperationKind::DeleteOrganization => OperationKind::DeleteOrganization,
        operations::OperationKind::ReleaseOrder => OperationKind::ReleaseOrder,
    };
    Operation {
        name: operation_name(Some(OperationId::from_raw(row.id))),
        kind: kind.into(),
        state: state.into(),
        webhook: webhook.map_or_else(String::new, |id| format!("{organization}/webhooks/{id}")),
        organization,
        done_count: row.done,
        total_count: row.total,
        actor: row.actor,
        create_time: Some(timestamp(row.created_at)),
        update_time: Some(timestamp(row.updated_at)),
        end_time: row.ended_at.map(timestamp),
        error_message: row.error.unwrap_or_default(),
    }
}
