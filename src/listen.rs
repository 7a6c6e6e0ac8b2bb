//! `hookwright listen`: a receiver of webhooks for development.

mod forward;
mod http;
pub(crate) mod receiver;
mod show;
pub(crate) mod verify;

use std::{
    io::{self, Write as _},
    net::SocketAddr,
    process::ExitCode,
};

use anyhow::Context as _;
use clap::Args;
use forward::ForwardArgs;
use http::Request;
use receiver::{Received, Receiver};
use verify::Verifier;

use crate::{
    client::ClientArgs,
    output::{self, Format},
};

const EXAMPLES: &str = "\
Examples:
  hookwright listen --secret whsec_...
  hookwright listen --address 127.0.0.1:0 --output json --count 1
  hookwright listen --status 503        answer so that deliveries are retried
  hookwright listen --raw               show requests byte for byte
  hookwright listen --forward-to http://localhost:3000/hook --organization acme --event-type clocking
      Bring acme's deliveries to a program on this machine; nobody needs to reach it.

Without --forward-to the server must be allowed to send here: hookwright serve --allow-target 127.0.0.0/8

With --forward-to a temporary webhook is made, fetched from, and deleted at the end. Each delivery is posted as the \
server would have posted it, one after another, and acknowledged when it is answered with a 2xx status; else it is tried \
again, and after --tries acknowledged all the same, which its line says.

With --secret or --forward-to, and with --count, the exit status is 1 when any of the requests did not verify.";

/// Receive webhooks on this machine: verify and show them
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ListenArgs {
    /// Where to listen; port 0 takes a free one. Webhooks may use any path, for example http://127.0.0.1:4567/payload
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:4567")]
    pub(crate) address: SocketAddr,
    /// Signing secret to verify with; repeatable, as during a rotation
    #[arg(
        long = "secret",
        value_name = "SECRET",
        env = "HOOKWRIGHT_SIGNING_SECRET",
        hide_env_values = true
    )]
    secrets: Vec<String>,
    /// Prefix of the webhook headers, as the server's --header-prefix
    #[arg(long, value_name = "PREFIX", default_value = "TT-Hook-")]
    header_prefix: String,
    /// Text for people, JSON lines, or YAML documents [default: table]
    #[arg(long, value_name = "FORMAT")]
    output: Option<Format>,
    /// Show the bytes of each request as they came, a newline after each; the verdict goes to standard error
    #[arg(long, conflicts_with = "output")]
    raw: bool,
    /// The HTTP status to answer with: 200 to 599
    #[arg(long, value_name = "STATUS", default_value_t = 200, value_parser = clap::value_parser!(u16).range(200..=599))]
    status: u16,
    /// Exit after this many requests [default: never]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    #[command(flatten)]
    forward: ForwardArgs,
}

/// Receives until `--count` requests came, or it is interrupted. `root` holds the flags that stood further left.
pub(crate) fn run(args: ListenArgs, root: ClientArgs) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start")?;
    if args.forward.forward_to.is_some() {
        return runtime.block_on(Box::pin(forward::run(args, root)));
    }
    runtime.block_on(Box::pin(listen(args)))
}

async fn listen(args: ListenArgs) -> anyhow::Result<ExitCode> {
    let verifier = Verifier::new(&args.secrets, &args.header_prefix)?;
    let mut receiver = Receiver::bind(args.address, args.status).await?;
    output::note(&format!("listening on http://{}", receiver.address));
    let mut left = args.count;
    let mut all_verified = true;
    while left != Some(0) {
        let Some(received) = receiver.next().await else { break };
        all_verified &= show(&args, verifier.as_ref(), &received)?;
        left = left.map(|count| count - 1);
    }
    Ok(if all_verified {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Shows one request. False when it was to be verified and was not.
fn show(args: &ListenArgs, verifier: Option<&Verifier>, received: &Received) -> anyhow::Result<bool> {
    let verdict = verifier.map(|verifier| verifier.check(&received.request));
    if args.raw {
        print_raw(&received.request)?;
        if let Some(verdict) = &verdict {
            output::note(&verdict.to_string());
        }
    } else {
        let format = args.output.unwrap_or_default();
        output::print(&match format {
            Format::Table => show::text(received, &args.header_prefix, verdict.as_ref()),
            Format::Json | Format::Yaml => {
                format.record(&show::json(received, &args.header_prefix, verdict.as_ref()))?
            }
        })?;
    }
    Ok(verdict.is_none_or(|verdict| verdict.complete()))
}

/// Writes a request byte for byte, and a newline.
fn print_raw(request: &Request) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(&request.raw)?;
    out.write_all(b"\n")?;
    Ok(out.flush()?)
}
