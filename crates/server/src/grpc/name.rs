//! Parses resource names such as `organizations/acme/webhooks/wh_...`, with errors that name the field.

use hookwright_domain::{
    id::{DeliveryId, EventId, OperationId, PortalLinkId, ReplayId, TokenId, WebhookId},
    name::{EventTypeName, OrganizationName},
};

use crate::app::error::{AppError, AppResult};

/// The segments of `name` at the variables of `pattern`, such as `organizations/{}/webhooks/{}`.
fn segments<'a, const N: usize>(field: &str, name: &'a str, collections: [&str; N]) -> AppResult<[&'a str; N]> {
    let expected = || collections.map(|collection| format!("{collection}/{{id}}")).join("/");
    let wrong = || {
        let text = if name.is_empty() {
            "is required".to_owned()
        } else {
            format!("`{}` is not a name", shown(name))
        };
        AppError::invalid(
            field,
            "INVALID_RESOURCE_NAME",
            format!("{text}; it must be `{}`", expected()),
        )
    };
    let mut parts = name.split('/');
    let mut ids = [""; N];
    for (id, collection) in ids.iter_mut().zip(collections) {
        if parts.next() != Some(collection) {
            return Err(wrong());
        }
        *id = parts.next().filter(|id| !id.is_empty()).ok_or_else(wrong)?;
    }
    if parts.next().is_some() { Err(wrong()) } else { Ok(ids) }
}

/// A part of the caller's text that is short enough to repeat.
fn shown(text: &str) -> String {
    text.chars().take(100).collect()
}

fn organization_id<'a>(field: &str, id: &'a str) -> AppResult<&'a str> {
    match OrganizationName::parse(id) {
        Ok(_) => Ok(id),
        Err(error) => Err(AppError::invalid(field, "INVALID_ORGANIZATION_ID", error.to_string())),
    }
}

/// `organizations/{organization}`: the organization's id.
pub(super) fn organization<'a>(field: &str, name: &'a str) -> AppResult<&'a str> {
    let [id] = segments(field, name, ["organizations"])?;
    organization_id(field, id)
}

/// `eventTypes/{event_type}`: the event type's id.
pub(super) fn event_type<'a>(field: &str, name: &'a str) -> AppResult<&'a str> {
    let [id] = segments(field, name, ["eventTypes"])?;
    match EventTypeName::parse(id) {
        Ok(_) => Ok(id),
        Err(error) => Err(AppError::invalid(field, "INVALID_EVENT_TYPE_ID", error.to_string())),
    }
}

/// A name with a generated id inside an organization.
fn inside<'a, T: std::str::FromStr<Err: std::fmt::Display>>(
    field: &str,
    name: &'a str,
    collection: &str,
) -> AppResult<(&'a str, T)> {
    let [organization, id] = segments(field, name, ["organizations", collection])?;
    Ok((organization_id(field, organization)?, id_of(field, id)?))
}

fn id_of<T: std::str::FromStr<Err: std::fmt::Display>>(field: &str, id: &str) -> AppResult<T> {
    id.parse()
        .map_err(|error| AppError::invalid(field, "INVALID_ID", format!("`{}`: {error}", shown(id))))
}

/// `organizations/{organization}/webhooks/{webhook}`.
pub(super) fn webhook<'a>(field: &str, name: &'a str) -> AppResult<(&'a str, WebhookId)> {
    inside(field, name, "webhooks")
}

/// `organizations/{organization}/events/{event}`.
pub(super) fn event<'a>(field: &str, name: &'a str) -> AppResult<(&'a str, EventId)> {
    inside(field, name, "events")
}

/// `organizations/{organization}/deliveries/{delivery}`.
pub(super) fn delivery<'a>(field: &str, name: &'a str) -> AppResult<(&'a str, DeliveryId)> {
    inside(field, name, "deliveries")
}

/// `organizations/{organization}/replays/{replay}`.
pub(super) fn replay<'a>(field: &str, name: &'a str) -> AppResult<(&'a str, ReplayId)> {
    inside(field, name, "replays")
}

/// `operations/{operation}`.
pub(super) fn operation(field: &str, name: &str) -> AppResult<OperationId> {
    let [id] = segments(field, name, ["operations"])?;
    id_of(field, id)
}

/// `tokens/{token}`.
pub(super) fn token(field: &str, name: &str) -> AppResult<TokenId> {
    let [id] = segments(field, name, ["tokens"])?;
    id_of(field, id)
}

/// `portalLinks/{portal_link}`.
pub(super) fn portal_link(field: &str, name: &str) -> AppResult<PortalLinkId> {
    let [id] = segments(field, name, ["portalLinks"])?;
    id_of(field, id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn g09_names_that_are_not_names() {
        let webhook_id = WebhookId::from_raw(1 << 40);
        let good = format!("organizations/acme/webhooks/{webhook_id}");
        assert_eq!(webhook("name", &good).unwrap(), ("acme", webhook_id));
        let upper = good.replace(&webhook_id.to_string(), &webhook_id.to_string().to_uppercase());
        for bad in [
            "",
            "/",
            "organizations",
            "organizations/",
            "organizations//webhooks/wh_1",
            "organizations/acme",
            "organizations/../webhooks/wh_1",
            "organizations/acme%2fx/webhooks/wh_1",
            "organizations/acme/events/evt_1",
            "organizations/acme/webhooks/evt_1",
            "organizations/acme/webhooks/wh_1",
            &format!("{good}/"),
            &format!("/{good}"),
            &format!("{good}/x"),
            &upper,
        ] {
            let error = webhook("name", bad).expect_err(bad);
            assert!(
                matches!(&error, AppError::Invalid(violations) if violations[0].field == "name"),
                "{bad}: {error}"
            );
        }
    }
}
