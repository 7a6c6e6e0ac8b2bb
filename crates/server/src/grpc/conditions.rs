//! Filters of deliveries that several calls share, and the closed lists that they name.

use hookwright_domain::outcome;
use hookwright_proto::v1::{DeliveryState, ErrorClass};
use hookwright_storage::DeliveryFilter;

use super::name;
use crate::app::error::{AppError, AppResult};

/// The conditions on webhook, type, state and error class.
pub(super) fn conditions(
    organization: &str,
    webhook: &str,
    event_type: &str,
    states: &[i32],
    error_classes: &[i32],
) -> AppResult<DeliveryFilter> {
    let mut filter = DeliveryFilter::default();
    if !webhook.is_empty() {
        let (owner, id) = name::webhook("webhook", webhook)?;
        same_organization("webhook", owner, organization)?;
        filter.webhook_id = Some(id.raw());
    }
    filter.event_type = (!event_type.is_empty()).then(|| event_type.to_owned());
    filter.states = states.iter().copied().map(stored_state).collect::<AppResult<_>>()?;
    filter.error_classes = error_classes
        .iter()
        .copied()
        .map(stored_error_class)
        .collect::<AppResult<_>>()?;
    Ok(filter)
}

/// A resource named together with a parent must belong to it.
pub(super) fn same_organization(field: &str, owner: &str, organization: &str) -> AppResult<()> {
    if owner == organization {
        return Ok(());
    }
    let rule = "must belong to the organization in parent";
    Err(AppError::invalid(field, "ORGANIZATION_MISMATCH", rule))
}

fn stored_state(number: i32) -> AppResult<outcome::DeliveryState> {
    Ok(match DeliveryState::try_from(number) {
        Ok(DeliveryState::Pending) => outcome::DeliveryState::Pending,
        Ok(DeliveryState::Retrying) => outcome::DeliveryState::Retrying,
        Ok(DeliveryState::Delivered) => outcome::DeliveryState::Delivered,
        Ok(DeliveryState::Failed) => outcome::DeliveryState::Failed,
        Ok(DeliveryState::Cancelled) => outcome::DeliveryState::Cancelled,
        Ok(DeliveryState::Paused) => outcome::DeliveryState::Paused,
        Ok(DeliveryState::Unspecified) | Err(_) => {
            let rule = format!("{number} is not a delivery state");
            return Err(AppError::invalid("states", "UNKNOWN_STATE", rule));
        }
    })
}

fn stored_error_class(number: i32) -> AppResult<outcome::ErrorClass> {
    let known = outcome::ErrorClass::ALL
        .iter()
        .find(|known| number == i32::from(error_class(Some(known.as_str()))));
    known.copied().ok_or_else(|| {
        let rule = format!("{number} is not an error class");
        AppError::invalid("error_classes", "UNKNOWN_ERROR_CLASS", rule)
    })
}

/// The state of a delivery.
pub(super) fn state(state: outcome::DeliveryState) -> DeliveryState {
    match state {
        outcome::DeliveryState::Pending => DeliveryState::Pending,
        outcome::DeliveryState::Retrying => DeliveryState::Retrying,
        outcome::DeliveryState::Delivered => DeliveryState::Delivered,
        outcome::DeliveryState::Failed => DeliveryState::Failed,
        outcome::DeliveryState::Cancelled => DeliveryState::Cancelled,
        outcome::DeliveryState::Paused => DeliveryState::Paused,
    }
}

/// Why an attempt failed.
pub(super) fn error_class(stored: Option<&str>) -> ErrorClass {
    use outcome::ErrorClass as Class;
    match stored.and_then(|text| text.parse().ok()) {
        None => ErrorClass::Unspecified,
        Some(Class::Dns) => ErrorClass::Dns,
        Some(Class::BlockedAddress) => ErrorClass::BlockedAddress,
        Some(Class::Connect) => ErrorClass::Connect,
        Some(Class::TlsName) => ErrorClass::TlsName,
        Some(Class::TlsExpired) => ErrorClass::TlsExpired,
        Some(Class::TlsNotYetValid) => ErrorClass::TlsNotYetValid,
        Some(Class::TlsUntrusted) => ErrorClass::TlsUntrusted,
        Some(Class::TlsHandshake) => ErrorClass::TlsHandshake,
        Some(Class::Timeout) => ErrorClass::Timeout,
        Some(Class::Reset) => ErrorClass::Reset,
        Some(Class::InvalidResponse) => ErrorClass::InvalidResponse,
        Some(Class::Redirect) => ErrorClass::Redirect,
        Some(Class::Status) => ErrorClass::Status,
        Some(Class::Gone) => ErrorClass::Gone,
        Some(Class::Proxy) => ErrorClass::Proxy,
        Some(Class::Internal) => ErrorClass::Internal,
        Some(Class::TrustStore) => ErrorClass::TrustStore,
    }
}
