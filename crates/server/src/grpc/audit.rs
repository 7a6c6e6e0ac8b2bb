//! `AuditService`.

use hookwright_domain::id::AuditEntryId;
use hookwright_proto::v1::{
    AuditEntry, ListAuditEntriesRequest, ListAuditEntriesResponse, audit_service_server::AuditService,
};
use prost_types::{ListValue, Struct, Value, value::Kind};
use tonic::{Request, Response, Status};

use super::{
    Api, name, page,
    time::{optional_micros, timestamp},
};
use crate::app::audit::{AuditLine, AuditQuery};

#[tonic::async_trait]
impl AuditService for Api {
    async fn list_audit_entries(
        &self,
        request: Request<ListAuditEntriesRequest>,
    ) -> Result<Response<ListAuditEntriesResponse>, Status> {
        let caller = self.caller(&request)?;
        let request = request.get_ref();
        let organization = match request.parent.as_str() {
            "organizations/-" | "-" => None,
            parent => Some(name::organization("parent", parent)?),
        };
        let query = AuditQuery {
            actor: &request.actor,
            action_prefix: &request.action_prefix,
            start_us: optional_micros("start_time", request.start_time.as_ref())?,
            end_us: optional_micros("end_time", request.end_time.as_ref())?,
        };
        let times = format!("{:?} {:?}", query.start_us, query.end_us);
        let arguments = page::Arguments::new(&[
            "ListAuditEntries",
            organization.unwrap_or("-"),
            &request.actor,
            &request.action_prefix,
            &times,
        ]);
        let before = arguments.before(&request.page_token)?;
        let size = page::size(request.page_size)?;
        let (lines, next) = self.app.list_audit(&caller, organization, query, before, size).await?;
        let next = next.map(|next| next.to_string());
        let (audit_entries, next) = page::fit(lines, next, |line| line.row.id.to_string(), entry);
        Ok(Response::new(ListAuditEntriesResponse {
            audit_entries,
            next_page_token: arguments.token(next.as_deref()),
        }))
    }
}

fn entry(line: AuditLine) -> AuditEntry {
    let row = line.row;
    let id = AuditEntryId::from_raw(row.id);
    let details = match serde_json::from_str(&row.details) {
        Ok(serde_json::Value::Object(members)) => members,
        _ => serde_json::Map::new(),
    };
    AuditEntry {
        name: format!("auditEntries/{id}"),
        // The same type as a list's times.
        create_time: Some(timestamp(id.time_us())),
        actor: line.actor,
        actor_display_name: line.actor_display_name,
        action: row.action,
        resource: row.resource,
        organization: line
            .organization
            .map(|name| format!("organizations/{name}"))
            .unwrap_or_default(),
        details: Some(proto_struct(details)),
    }
}

fn proto_struct(members: serde_json::Map<String, serde_json::Value>) -> Struct {
    let fields = members.into_iter().map(|(name, value)| (name, proto_value(value)));
    Struct {
        fields: fields.collect(),
    }
}

fn proto_value(value: serde_json::Value) -> Value {
    let kind = match value {
        serde_json::Value::Null => Kind::NullValue(0),
        serde_json::Value::Bool(value) => Kind::BoolValue(value),
        serde_json::Value::Number(number) => Kind::NumberValue(number.as_f64().unwrap_or_default()),
        serde_json::Value::String(text) => Kind::StringValue(text),
        serde_json::Value::Array(values) => Kind::ListValue(ListValue {
            values: values.into_iter().map(proto_value).collect(),
        }),
        serde_json::Value::Object(members) => Kind::StructValue(proto_struct(members)),
    };
    Value { kind: Some(kind) }
}
