//! `hookwright tokens ...`.

use std::{process::ExitCode, time::Duration};

use clap::{Args, Subcommand, ValueEnum};
use hookwright_proto::v1::{
    CreateTokenRequest, GetTokenRequest, ListTokensRequest, ListTokensResponse, RevokeTokenRequest, Token, TokenScope,
    token::Expiration,
};

use crate::{
    client::{
        Client, names,
        pages::{LimitArgs, collect},
    },
    output::{self, List},
    units::parse_duration,
};

const EXAMPLES: &str = "\
Examples:
  hookwright tokens create 'billing service' --scope publish
  hookwright tokens create 'our application' --scope portal
  hookwright tokens create 'acme dashboard' --scope manage --organization acme --ttl 90d";

/// The token commands.
#[derive(Debug, Subcommand)]
pub(crate) enum TokensCommand {
    /// Create a token and show its secret, which is not shown again
    Create(CreateArgs),
    /// Show one token, without its secret
    Get {
        /// `tok_...` or `tokens/tok_...`
        #[arg(value_name = "TOKEN")]
        name: String,
    },
    /// List tokens, newest first, including revoked and expired ones
    List {
        /// Only tokens that are limited to this organization: `acme` or `organizations/acme`
        #[arg(long, value_name = "ORGANIZATION")]
        organization: Option<String>,
        #[command(flatten)]
        limit: LimitArgs,
    },
    /// Revoke a token: it stops working at once
    Revoke {
        /// `tok_...` or `tokens/tok_...`
        #[arg(value_name = "TOKEN")]
        name: String,
    },
}

/// The token to create.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct CreateArgs {
    /// Display name, such as its user: at most 200 characters
    display_name: String,
    /// Scope of the token
    #[arg(long, value_name = "SCOPE")]
    scope: ScopeArg,
    /// Organization that it is limited to: `acme` or `organizations/acme` [default: none]
    #[arg(long, value_name = "ORGANIZATION")]
    organization: Option<String>,
    /// Lifetime, for example 90d [default: no expiry]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    ttl: Option<Duration>,
}

/// The scope of a token.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum ScopeArg {
    /// Read events, deliveries and configuration
    Read,
    /// Publish events, and nothing else
    Publish,
    /// Create and revoke portal links, and nothing else
    Portal,
    /// Change webhooks and control deliveries; publish and read
    Manage,
    /// Everything
    Admin,
}

impl From<ScopeArg> for TokenScope {
    fn from(scope: ScopeArg) -> Self {
        match scope {
            ScopeArg::Read => Self::Read,
            ScopeArg::Publish => Self::Publish,
            ScopeArg::Portal => Self::Portal,
            ScopeArg::Manage => Self::Manage,
            ScopeArg::Admin => Self::Admin,
        }
    }
}

/// Runs the command.
pub(crate) async fn run(client: Client, command: TokensCommand) -> anyhow::Result<ExitCode> {
    let mut service = client.tokens();
    match command {
        TokensCommand::Create(args) => {
            let token = Token {
                display_name: args.display_name,
                scope: TokenScope::from(args.scope).into(),
                organization: optional_organization(args.organization.as_deref())?,
                expiration: args
                    .ttl
                    .map(prost_types::Duration::try_from)
                    .transpose()?
                    .map(Expiration::Ttl),
                ..Token::default()
            };
            let request = CreateTokenRequest { token: Some(token) };
            let token = service.create_token(request).await?.into_inner();
            client.output.message("Token", &token, show)?;
        }
        TokensCommand::Get { name } => {
            let request = GetTokenRequest { name: full(&name) };
            let token = service.get_token(request).await?.into_inner();
            client.output.message("Token", &token, show)?;
        }
        TokensCommand::List { organization, limit } => list(&client, organization, limit).await?,
        TokensCommand::Revoke { name } => {
            let request = RevokeTokenRequest { name: full(&name) };
            let revoked = service.revoke_token(request).await?.into_inner().token;
            client.output.message("Token", &revoked.unwrap_or_default(), show)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// `tok_...` or `tokens/tok_...` as a resource name.
fn full(text: &str) -> String {
    format!("tokens/{}", text.strip_prefix("tokens/").unwrap_or(text))
}

fn optional_organization(text: Option<&str>) -> anyhow::Result<String> {
    Ok(text.map(names::organization).transpose()?.unwrap_or_default())
}

async fn list(client: &Client, organization: Option<String>, limit: LimitArgs) -> anyhow::Result<()> {
    let service = client.tokens();
    let organization = optional_organization(organization.as_deref())?;
    let (tokens, rest) = collect(limit.limit, |page_size, page_token| {
        let mut service = service.clone();
        let request = ListTokensRequest {
            page_size,
            page_token,
            organization: organization.clone(),
        };
        async move {
            let page = service.list_tokens(request).await?.into_inner();
            Ok((page.tokens, page.next_page_token))
        }
    })
    .await?;
    let list = List {
        length: tokens.len(),
        rest: &rest.clone(),
        empty: "No matching tokens. Create one: hookwright tokens create 'billing service' --scope publish",
    };
    let response = ListTokensResponse {
        tokens,
        next_page_token: rest,
    };
    client.output.list("ListTokensResponse", &response, list, |response| {
        let rows = response.tokens.iter().map(|token| {
            vec![
                names::id(&token.name).to_owned(),
                state(token),
                scope(token),
                names::id(&token.organization).to_owned(),
                output::time(expire_time(token)),
                token.display_name.clone(),
            ]
        });
        let headings = ["TOKEN", "STATE", "SCOPE", "ORGANIZATION", "EXPIRES", "NAME"];
        output::table(&headings, rows.collect())
    })
}

fn state(token: &Token) -> String {
    output::enum_name(token.state().as_str_name(), "TOKEN_STATE_")
}

fn scope(token: &Token) -> String {
    output::enum_name(token.scope().as_str_name(), "TOKEN_SCOPE_")
}

fn expire_time(token: &Token) -> Option<&prost_types::Timestamp> {
    match &token.expiration {
        Some(Expiration::ExpireTime(time)) => Some(time),
        _ => None,
    }
}

fn show(token: &Token) -> String {
    let remark = if token.secret.is_empty() {
        String::new()
    } else {
        "(keep it now: it is not shown again)".to_owned()
    };
    output::fields(vec![
        ("token", names::id(&token.name).to_owned()),
        ("name", token.display_name.clone()),
        ("scope", scope(token)),
        ("organization", names::id(&token.organization).to_owned()),
        ("state", state(token)),
        ("created", output::time(token.create_time.as_ref())),
        ("expires", output::time(expire_time(token))),
        ("revoked", output::time(token.revoke_time.as_ref())),
        ("secret", token.secret.clone()),
        ("", remark),
    ])
}
