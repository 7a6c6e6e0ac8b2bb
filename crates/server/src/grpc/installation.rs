//! `InstallationService`.

use hookwright_domain::id::WebhookId;
use hookwright_proto::v1::{
    DisabledReason, GetInstallationRequest, Installation, ListProblemsRequest, ListProblemsResponse,
    Problem as ShownProblem, ProblemKind as ShownKind, Setting, SettingOrigin, StoreKind,
    installation_service_server::InstallationService,
};
use hookwright_storage::BLOCKED_COUNTED;
use tonic::{Request, Response, Status};

use super::{Api, name, page, time::timestamp, webhooks::disabled_reason};
use crate::{
    app::{
        error::{AppError, AppResult},
        installation::InstallationView,
        problems::{Problem, ProblemFilter, ProblemKind, ProblemState},
    },
    options::{Origin, SettingInForce},
};

const NAME: &str = "installation";

#[tonic::async_trait]
impl InstallationService for Api {
    async fn get_installation(
        &self,
        request: Request<GetInstallationRequest>,
    ) -> Result<Response<Installation>, Status> {
        let caller = self.caller(&request)?;
        if !["", NAME].contains(&request.get_ref().name.as_str()) {
            let rule = format!("must be `{NAME}`, or empty: there is one");
            return Err(AppError::invalid("name", "INVALID_RESOURCE_NAME", rule).into());
        }
        Ok(Response::new(installation(&self.app.get_installation(&caller).await?)))
    }

    async fn list_problems(
        &self,
        request: Request<ListProblemsRequest>,
    ) -> Result<Response<ListProblemsResponse>, Status> {
        let caller = self.caller(&request)?;
        let request = request.get_ref();
        let organization = Some(&request.organization).filter(|name| !name.is_empty());
        let organization = organization.map(|text| name::organization("organization", text));
        let filter = ProblemFilter {
            organization: organization.transpose()?,
            kinds: request.kinds.iter().copied().map(kind).collect::<AppResult<_>>()?,
        };
        let kinds = format!("{:?}", request.kinds);
        let arguments = page::Arguments::new(&["ListProblems", &request.organization, &kinds]);
        let place = arguments.place(&request.page_token)?;
        let after = place.and_then(|place| place.parse().ok());
        let size = page::size(request.page_size)?;
        let (problems, next) = self.app.list_problems(&caller, &filter, after, size).await?;
        let place = |problem: &Problem| problem.place().to_string();
        let (problems, next) = page::fit(problems, next, place, problem);
        Ok(Response::new(ListProblemsResponse {
            problems,
            next_page_token: arguments.token(next.as_deref()),
        }))
    }
}

fn kind(number: i32) -> AppResult<ProblemKind> {
    Ok(match ShownKind::try_from(number) {
        Ok(ShownKind::WebhookDisabled) => ProblemKind::Disabled,
        Ok(ShownKind::WebhookFailing) => ProblemKind::Failing,
        Ok(ShownKind::WebhookPaused) => ProblemKind::Paused,
        Ok(ShownKind::KeyBlocked) => ProblemKind::KeysBlocked,
        Ok(ShownKind::Unspecified) | Err(_) => {
            let rule = format!("{number} is not a kind of problem");
            return Err(AppError::invalid("kinds", "UNKNOWN_VALUE", rule));
        }
    })
}

fn problem(problem: Problem) -> ShownProblem {
    let message = message(&problem.state);
    let shown = ShownProblem {
        webhook: format!(
            "organizations/{}/webhooks/{}",
            problem.organization,
            WebhookId::from_raw(problem.webhook.id)
        ),
        payload_url: problem.webhook.payload_url,
        description: problem.webhook.description,
        start_time: problem.since.map(timestamp),
        message,
        ..ShownProblem::default()
    };
    match problem.state {
        ProblemState::Disabled(reason) => ShownProblem {
            kind: ShownKind::WebhookDisabled.into(),
            disabled_reason: disabled_reason(Some(&reason)).into(),
            ..shown
        },
        ProblemState::Failing(failures) => ShownProblem {
            kind: ShownKind::WebhookFailing.into(),
            failure_count: failures,
            ..shown
        },
        ProblemState::Paused => ShownProblem {
            kind: ShownKind::WebhookPaused.into(),
            ..shown
        },
        ProblemState::KeysBlocked(keys) => ShownProblem {
            kind: ShownKind::KeyBlocked.into(),
            blocked_key_count: i32::try_from(keys).unwrap_or(i32::MAX),
            ..shown
        },
    }
}

/// The problem and its fix, as text.
fn message(state: &ProblemState) -> String {
    match state {
        ProblemState::Disabled(reason) => {
            let why = match disabled_reason(Some(reason)) {
                DisabledReason::Gone => "its receiver answered 410 Gone",
                DisabledReason::Failing | DisabledReason::Unspecified => "it kept failing",
            };
            format!("disabled because {why}; fix the receiver, then resume the webhook")
        }
        ProblemState::Failing(1) => {
            "1 attempt failed since the last success; see its deliveries for the reason".to_owned()
        }
        ProblemState::Failing(failures) => {
            format!("{failures} attempts failed since the last success; see its deliveries for the reasons")
        }
        ProblemState::Paused => "paused: nothing is sent until someone resumes it".to_owned(),
        ProblemState::KeysBlocked(keys) => {
            let keys = match *keys {
                1 => "1 ordering key is blocked".to_owned(),
                ..=BLOCKED_COUNTED => format!("{keys} ordering keys are blocked"),
                _ => format!("more than {BLOCKED_COUNTED} ordering keys are blocked"),
            };
            format!("{keys}; retry or skip the paused deliveries")
        }
    }
}

fn installation(view: &InstallationView<'_>) -> Installation {
    let store = if view.shared_store {
        StoreKind::Postgresql
    } else {
        StoreKind::Sqlite
    };
    Installation {
        name: NAME.to_owned(),
        version: view.version.to_owned(),
        commit: view.commit.to_owned(),
        store: store.into(),
        start_time: Some(timestamp(view.started_at)),
        node_count: i32::try_from(view.nodes).unwrap_or(i32::MAX),
        node: format!("nodes/{}", view.node),
        settings: view.settings.iter().map(setting).collect(),
    }
}

fn setting(setting: &SettingInForce) -> Setting {
    let (origin, source) = match &setting.origin {
        Origin::Default => (SettingOrigin::Default, ""),
        Origin::File(path) => (SettingOrigin::File, path.as_str()),
        Origin::Environment(variable) => (SettingOrigin::Environment, variable.as_str()),
        Origin::Flag(flag) => (SettingOrigin::Flag, flag.as_str()),
    };
    Setting {
        name: setting.name.clone(),
        values: setting.values.clone(),
        origin: origin.into(),
        source: source.to_owned(),
        list: setting.list,
    }
}
