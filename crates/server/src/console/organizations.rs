//! Organizations: the list, the overview of one, creating and deleting.

use askama::Template;
use axum::{
    extract::{Path, State},
    response::{IntoResponse as _, Redirect},
};
use hookwright_domain::name::OrganizationName;

use super::{
    Answer, Console, ROWS, Shared,
    charts::Summary,
    errors::Errors,
    fault::Fault,
    fields::Fields,
    operations::{self, Running},
    page::{Frame, html, refused},
    pages::{Cursor, Pages},
    session::{Sent, Visitor},
    show::{Time, counted},
    site::Site,
    webhooks::{Line, lines},
};
use crate::app::{
    access::Scope,
    error::{AppError, AppResult},
    stats::Subject,
    texts::NamePrefix,
};

#[derive(Template)]
#[template(path = "organizations.html")]
struct ListPage {
    frame: Frame,
    rows: Vec<Row>,
    running: Vec<Running>,
    /// The prefix of the listed names.
    prefix: String,
    pages: Pages,
    may_create: bool,
    name: String,
    display_name: String,
    errors: Errors,
}

struct Row {
    name: String,
    display_name: String,
    created: Time,
    webhooks: String,
}

/// The list.
pub(super) async fn list(State(console): Shared, visitor: Visitor, fields: Fields) -> Answer {
    if let Some(own) = console.app.own_organization(visitor.caller()) {
        return Ok(Redirect::to(&Site::Console.organization(&own.name)).into_response());
    }
    Ok(html(
        &list_page(&console, &visitor, &fields, &Fields::default(), Errors::default()).await?,
    ))
}

/// The list, with the creation form as submitted.
async fn list_page(
    console: &Console,
    visitor: &Visitor,
    asked: &Fields,
    sent: &Fields,
    errors: Errors,
) -> AppResult<ListPage> {
    let caller = visitor.caller();
    let mut wrong = Errors::default();
    let cursor = Cursor::<String>::after(asked, &mut wrong);
    let found = async {
        let prefix = NamePrefix::new("prefix", asked.get("prefix"))?;
        let after = cursor.at.as_deref().unwrap_or_default();
        console.app.list_organizations(caller, prefix, after, ROWS)
    };
    let (rows, next) = wrong.found(found, "organization").await?;
    let rows = rows.into_iter().map(|row| Row {
        webhooks: counted(console.app.webhook_count(&row), "webhook"),
        name: row.name,
        display_name: row.display_name,
        created: Time(row.created_at),
    });
    Ok(ListPage {
        frame: Frame::new(console, visitor, "organizations", "Organizations").after(asked),
        rows: rows.collect(),
        running: operations::running(console, visitor, None).await?,
        prefix: asked.get("prefix").to_owned(),
        pages: cursor.pages("/console/organizations", asked, next),
        may_create: caller.require(Scope::Admin).is_ok(),
        name: sent.get("name").to_owned(),
        display_name: sent.get("display_name").to_owned(),
        errors: errors.or(wrong),
    })
}

/// Creates an organization.
pub(super) async fn create(State(console): Shared, sent: Sent) -> Answer {
    let Sent { visitor, fields } = sent;
    let name = fields.get("name");
    let created = match OrganizationName::parse(name) {
        Ok(_) => {
            let caller = visitor.caller();
            console
                .app
                .create_organization(caller, name, fields.get("display_name"))
                .await
        }
        Err(error) => Err(AppError::invalid("organization.name", error.rule(), error.to_string())),
    };
    match created {
        Ok(row) => {
            let own = Site::Console.organization(&row.name);
            Ok(Redirect::to(&format!("{own}?done=created")).into_response())
        }
        Err(error) => {
            let errors = Errors::of(error, "organization")?;
            let asked = Fields::default();
            Ok(refused(&list_page(&console, &visitor, &asked, &fields, errors).await?))
        }
    }
}

#[derive(Template)]
#[template(path = "organization.html")]
struct ShowPage {
    frame: Frame,
    summary: Summary,
    webhooks: Vec<Line>,
    /// Whether there are more.
    more: bool,
    may_manage: bool,
    may_delete: bool,
}

/// The overview of one organization.
pub(super) async fn show(State(console): Shared, visitor: Visitor, Path(name): Path<String>, fields: Fields) -> Answer {
    let place = console.enter(&visitor, &name)?;
    let (webhooks, next) = console.app.list_webhooks(visitor.caller(), &name, 0, ROWS)?;
    let page = ShowPage {
        frame: Frame::within(&console, &visitor, &place, "home", place.name()).after(&fields),
        summary: console.summary(&visitor, Subject::Organization(&name)).await?,
        webhooks: lines(&console, &visitor, &place, webhooks).await?,
        more: next.is_some(),
        may_manage: place.may_manage,
        may_delete: visitor.caller().require(Scope::Admin).is_ok(),
    };
    Ok(html(&page))
}

#[derive(Template)]
#[template(path = "organization_delete.html")]
struct DeletePage {
    frame: Frame,
    webhooks: String,
    errors: Errors,
}

/// Asks for confirmation.
pub(super) async fn confirm_delete(State(console): Shared, visitor: Visitor, Path(name): Path<String>) -> Answer {
    Ok(html(&delete_page(&console, &visitor, &name, Errors::default())?))
}

fn delete_page(console: &Console, visitor: &Visitor, name: &str, errors: Errors) -> Result<DeletePage, Fault> {
    let place = console.enter(visitor, name)?;
    visitor.caller().require(Scope::Admin)?;
    Ok(DeletePage {
        frame: Frame::within(console, visitor, &place, "home", format!("Delete {name}")),
        webhooks: counted(console.app.webhook_count(&place.row), "webhook"),
        errors,
    })
}

/// Deletes the organization and its webhooks, if its name was typed.
pub(super) async fn delete(State(console): Shared, Path(name): Path<String>, sent: Sent) -> Answer {
    let Sent { visitor, fields } = sent;
    console.enter(&visitor, &name)?;
    if fields.get("confirmation") != name {
        let errors = Errors::one("confirmation", format!("type `{name}` to confirm"));
        return Ok(refused(&delete_page(&console, &visitor, &name, errors)?));
    }
    let operation = console.app.delete_organization(visitor.caller(), &name, true).await?;
    let done = operations::deleted(operation);
    Ok(Redirect::to(&format!("/console/organizations?done={done}")).into_response())
}
