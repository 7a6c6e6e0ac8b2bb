//! `hookwright status` and `hookwright installation problems`.

use std::process::ExitCode;

use clap::{Args, ValueEnum};
use hookwright_proto::v1::{ListProblemsRequest, ListProblemsResponse, Problem, ProblemKind};

use crate::{
    client::{
        Client, ClientArgs, names,
        pages::{LimitArgs, collect},
    },
    output::{self, List},
};

const EXAMPLES: &str = "\
Examples:
  hookwright status
      List problems that need attention. Exits with 1 if there are any, so that a check can run it.
  hookwright status --kind webhook-disabled,webhook-failing --output json";

/// A kind of problem.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    /// The service disabled the webhook
    WebhookDisabled,
    /// All attempts since the last success failed
    WebhookFailing,
    /// A user paused the webhook
    WebhookPaused,
    /// Ordering keys of the webhook are blocked until someone retries or skips
    KeyBlocked,
}

impl From<Kind> for ProblemKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::WebhookDisabled => Self::WebhookDisabled,
            Kind::WebhookFailing => Self::WebhookFailing,
            Kind::WebhookPaused => Self::WebhookPaused,
            Kind::KeyBlocked => Self::KeyBlocked,
        }
    }
}

/// Filters of the list.
#[derive(Args, Debug)]
pub(crate) struct ProblemsArgs {
    /// Only problems of this organization: `acme` or `organizations/acme` [default: all]
    #[arg(long, value_name = "ORGANIZATION")]
    organization: Option<String>,
    /// Only problems of these kinds [default: all]
    #[arg(long = "kind", value_name = "KIND", value_enum, value_delimiter = ',')]
    kinds: Vec<Kind>,
    #[command(flatten)]
    limit: LimitArgs,
}

/// Flags of `hookwright status`.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    pub(crate) client: ClientArgs,
    #[command(flatten)]
    problems: ProblemsArgs,
}

/// Lists problems; the exit status is 1 if there are any.
pub(crate) async fn status(client: Client, args: StatusArgs) -> anyhow::Result<ExitCode> {
    let any = list(&client, args.problems).await?;
    Ok(if any { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Lists problems, and returns whether there are any.
pub(crate) async fn list(client: &Client, args: ProblemsArgs) -> anyhow::Result<bool> {
    let service = client.installation();
    let organization = args.organization.as_deref().map(names::organization).transpose()?;
    let filter = ListProblemsRequest {
        organization: organization.unwrap_or_default(),
        kinds: args
            .kinds
            .into_iter()
            .map(|kind| ProblemKind::from(kind).into())
            .collect(),
        ..ListProblemsRequest::default()
    };
    let (problems, rest) = collect(args.limit.limit, |page_size, page_token| {
        let mut service = service.clone();
        let request = ListProblemsRequest {
            page_size,
            page_token,
            ..filter.clone()
        };
        async move {
            let page = service.list_problems(request).await?.into_inner();
            Ok((page.problems, page.next_page_token))
        }
    })
    .await?;
    let list = List {
        length: problems.len(),
        rest: &rest.clone(),
        empty: "No problems: no webhook is disabled, failing or paused, and no ordering key is blocked.",
    };
    let any = !problems.is_empty();
    let response = ListProblemsResponse {
        problems,
        next_page_token: rest,
    };
    client.output.list("ListProblemsResponse", &response, list, show)?;
    Ok(any)
}

fn show(response: &ListProblemsResponse) -> String {
    let rows = response.problems.iter().map(|problem| {
        vec![
            output::enum_name(problem.kind().as_str_name(), "PROBLEM_KIND_").replace('_', " "),
            names::owner(&problem.webhook).to_owned(),
            names::id(&problem.webhook).to_owned(),
            called(problem),
            output::time(problem.start_time.as_ref()),
            problem.message.clone(),
        ]
    });
    output::table(
        &["PROBLEM", "ORGANIZATION", "WEBHOOK", "PAYLOAD URL", "SINCE", "FIX"],
        rows.collect(),
    )
}

/// A webhook's label.
fn called(problem: &Problem) -> String {
    match problem.payload_url.as_str() {
        "" => "(pull)".to_owned(),
        url => url.to_owned(),
    }
}
