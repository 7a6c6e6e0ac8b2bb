//! The form of a webhook, new or existing. It saves, validates the URL, and tests the filter.

mod values;

use std::collections::BTreeSet;

use askama::Template;
use axum::extract::{Path, State};
use hookwright_domain::id::WebhookId;
use hookwright_storage::EventTypeRow;

use self::values::Values;
use super::{
    Answer, Console, Shared,
    cookies::{Once, OnceKind},
    errors::Errors,
    event_types::TYPES_LISTED,
    fault::Fault,
    fields::Fields,
    page::{Frame, Place, html, refused},
    session::{Sent, Visitor},
    webhook_actions, webhooks,
};
use crate::app::{
    access::Scope,
    error::{AppError, AppResult},
    explain::Sample,
    webhooks::{WebhookSpec, spec::UrlVerdict},
};

/// The fields that can show errors.
const FIELDS: &[&str] = &[
    "payload_url",
    "events",
    "filter",
    "headers",
    "timeout",
    "requests_per_second",
    "retry_schedule",
    "insecure_skip_tls_verify",
    "description",
    "signing_secret",
    "sample",
];

#[derive(Template)]
#[template(path = "webhook_form.html")]
struct FormPage {
    frame: Frame,
    /// The existing webhook; `None` for a new one.
    id: Option<String>,
    values: Values,
    types: Vec<Choice>,
    more_types: bool,
    errors: Errors,
    verdict: Option<UrlVerdict>,
    trial: Option<Trial>,
    /// The sample of a filter test.
    sample: String,
    sample_type: String,
}

/// An event type with a checkbox.
struct Choice {
    name: String,
    description: String,
    archived: bool,
    ticked: bool,
}

impl Choice {
    fn ticked(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            description: String::new(),
            archived: false,
            ticked: true,
        }
    }
}

/// The result of a filter test.
struct Trial {
    matches: bool,
    text: String,
}

/// An empty form.
pub(super) async fn new(State(console): Shared, visitor: Visitor, Path(organization): Path<String>) -> Answer {
    let place = console.enter(&visitor, &organization)?;
    visitor.caller().require_for(Scope::Manage, place.row.id)?;
    Ok(html(&Form::new(&console, &visitor, &place).page(Values::default())))
}

/// The form of an existing webhook.
pub(super) async fn edit(State(console): Shared, visitor: Visitor, Path(which): Path<(String, String)>) -> Answer {
    let (place, id) = console.enter_at::<WebhookId>(&visitor, which)?;
    visitor.caller().require_for(Scope::Manage, place.row.id)?;
    let view = console.app.get_webhook(visitor.caller(), place.name(), id)?;
    let form = Form {
        id: Some(id),
        ..Form::new(&console, &visitor, &place)
    };
    Ok(html(&form.page(Values::of(&view.spec, view.row.version))))
}

/// Creates a webhook, or answers the form's other buttons.
pub(super) async fn create(State(console): Shared, Path(organization): Path<String>, sent: Sent) -> Answer {
    let Sent { visitor, fields } = sent;
    let place = console.enter(&visitor, &organization)?;
    visitor.caller().require_for(Scope::Manage, place.row.id)?;
    let values = Values::read(&fields);
    let form = Form::new(&console, &visitor, &place);
    if let Some(answer) = form.asked(&fields, &values).await {
        return answer;
    }
    let spec = match values.spec() {
        Ok(spec) => spec,
        Err(errors) => return form.refused(values, errors),
    };
    let secret = fields.untrimmed("signing_secret");
    match console
        .app
        .create_webhook(visitor.caller(), &organization, spec, secret)
        .await
    {
        Ok(view) => {
            let secret = view.signing_secret.as_ref();
            let pings = view.row.active && !view.spec.pull;
            let once = Once {
                kind: OnceKind::Installed,
                text: secret.map(|secret| secret.expose().to_owned()).unwrap_or_default(),
                note: if pings { " A ping is being sent." } else { "" }.to_owned(),
            };
            let id = WebhookId::from_raw(view.row.id);
            Ok(console.show_once(&visitor, &webhooks::address(&place, id), &once))
        }
        Err(error) => form.refused(values, Errors::of(error, "webhook")?),
    }
}

/// Changes a webhook, or answers the form's other buttons.
pub(super) async fn update(State(console): Shared, Path(which): Path<(String, String)>, sent: Sent) -> Answer {
    let Sent { visitor, fields } = sent;
    let (place, id) = console.enter_at::<WebhookId>(&visitor, which)?;
    visitor.caller().require_for(Scope::Manage, place.row.id)?;
    console.app.get_webhook(visitor.caller(), place.name(), id)?;
    let values = Values::read(&fields);
    let form = Form {
        id: Some(id),
        ..Form::new(&console, &visitor, &place)
    };
    if let Some(answer) = form.asked(&fields, &values).await {
        return answer;
    }
    let spec = match values.spec() {
        Ok(spec) => spec,
        Err(errors) => return form.refused(values, errors),
    };
    let change = |old: WebhookSpec| WebhookSpec { pull: old.pull, ..spec };
    let version = Some(values.version);
    match console
        .app
        .update_webhook(visitor.caller(), place.name(), id, version, change)
        .await
    {
        Ok(view) => {
            let done = if view.row.active { "updated" } else { "saved" };
            Ok(webhook_actions::back(&place, id, done))
        }
        Err(AppError::Aborted(_)) => form.overtaken(values),
        Err(error) => form.refused(values, Errors::of(error, "webhook")?),
    }
}

/// The state of the form's page.
struct Form<'a> {
    console: &'a Console,
    visitor: &'a Visitor,
    place: &'a Place,
    id: Option<WebhookId>,
}

impl<'a> Form<'a> {
    fn new(console: &'a Console, visitor: &'a Visitor, place: &'a Place) -> Self {
        Self {
            console,
            visitor,
            place,
            id: None,
        }
    }

    fn page(&self, values: Values) -> FormPage {
        let title = if self.id.is_some() {
            "Edit webhook"
        } else {
            "New webhook"
        };
        let (types, more_types) = self
            .console
            .app
            .list_event_types_for(&self.place.row, TYPES_LISTED, true);
        let choice = |row: EventTypeRow| Choice {
            ticked: values.events.contains(&row.name),
            name: row.name,
            description: row.description,
            archived: row.archived,
        };
        let listed: BTreeSet<&str> = types.iter().map(|row| row.name.as_str()).collect();
        let typed: BTreeSet<&str> = values.typed().collect();
        // A subscribed type without a place in the list stays subscribed.
        let unlisted = values.events.iter().map(String::as_str);
        let unlisted = unlisted.filter(|name| !listed.contains(name) && !typed.contains(name));
        let unlisted: Vec<Choice> = unlisted.map(Choice::ticked).collect();
        // Archived types are shown only if they are subscribed to.
        let types = types
            .into_iter()
            .map(choice)
            .filter(|choice| choice.ticked || !choice.archived)
            .chain(unlisted);
        FormPage {
            frame: Frame::within(self.console, self.visitor, self.place, "webhooks", title),
            id: self.id.map(|id| id.to_string()),
            types: types.collect(),
            more_types,
            values,
            errors: Errors::default(),
            verdict: None,
            trial: None,
            sample: String::new(),
            sample_type: String::new(),
        }
    }

    fn refused(&self, values: Values, errors: Errors) -> Answer {
        Ok(refused(&FormPage {
            errors: errors.shown_at(FIELDS),
            ..self.page(values)
        }))
    }

    /// The input, to be saved over a concurrent change after the user has seen that change.
    fn overtaken(&self, values: Values) -> Answer {
        let id = self.id.ok_or(Fault::NotFound)?;
        let view = self
            .console
            .app
            .get_webhook(self.visitor.caller(), self.place.name(), id)?;
        let values = Values {
            version: view.row.version,
            ..values
        };
        let mut errors = Errors::default();
        errors.problem = Some(
            "Somebody else changed the webhook while this form was open, so nothing was saved. Compare it with the webhook's page \
             in another tab; saving again replaces what they changed."
                .to_owned(),
        );
        self.refused(values, errors)
    }

    /// The answer to the form's other buttons; `None` if it is to be saved.
    async fn asked(&self, fields: &Fields, values: &Values) -> Option<Answer> {
        match fields.get("intent") {
            "check_url" => Some(self.checked(values)),
            "test_filter" => Some(self.tried(fields, values).await),
            _ => None,
        }
    }

    fn checked(&self, values: &Values) -> Answer {
        let page = FormPage {
            verdict: Some(self.console.app.explain_url(&values.payload_url)),
            ..self.page(values.clone())
        };
        Ok(html(&page))
    }

    async fn tried(&self, fields: &Fields, values: &Values) -> Answer {
        let (sample, sample_type) = (fields.get("sample"), fields.get("sample_type"));
        let page = FormPage {
            sample: sample.to_owned(),
            sample_type: sample_type.to_owned(),
            ..self.page(values.clone())
        };
        match self.try_filter(&values.filter, sample, sample_type).await {
            Ok(outcome) => Ok(html(&FormPage {
                trial: Some(trial(outcome)),
                ..page
            })),
            Err(error) => {
                let missing = "this organization has no such event";
                let errors = Errors::of_missing(error, "webhook", "sample", missing)?.shown_at(FIELDS);
                Ok(refused(&FormPage { errors, ..page }))
            }
        }
    }

    /// A sample is the id of a published event, or a payload.
    async fn try_filter(&self, filter: &str, sample: &str, event_type: &str) -> AppResult<Result<bool, String>> {
        let app = &self.console.app;
        let caller = self.visitor.caller();
        if filter.is_empty() {
            return Err(AppError::invalid("filter", "FIELD_REQUIRED", "enter a filter to test"));
        }
        if let Ok(event) = sample.parse() {
            return app.test_filter_on_event(caller, filter, self.place.name(), event).await;
        }
        let sample = Sample {
            event_type: event_type.to_owned(),
            payload: sample.to_owned().into(),
            payload_field: "sample".to_owned(),
            attributes: Default::default(),
            ordering_key: String::new(),
        };
        app.test_filter(caller, filter, &sample)
    }
}

fn trial(outcome: Result<bool, String>) -> Trial {
    match outcome {
        Ok(true) => Trial {
            matches: true,
            text: "The filter matches: this event would be sent.".to_owned(),
        },
        Ok(false) => Trial {
            matches: false,
            text: "The filter does not match: this event would not be sent.".to_owned(),
        },
        Err(error) => Trial {
            matches: false,
            text: format!("The filter could not be evaluated, so this event would not be sent: {error}"),
        },
    }
}
