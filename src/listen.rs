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
  hookwright listen --status 503        make the server retry deliveries
  hookwright listen --raw               show requests byte for byte
  hookwright listen --forward-to http://localhost:3000/hook --organization acme --event-type clocking
      Forward acme's deliveries to a program on this machine, which needs no public address.

Without --forward-to the server must be allowed to send here: hookwright serve --allow-target 127.0.0.0/8

With --forward-to the command creates a temporary webhook, pulls its deliveries, and deletes it at the end. It posts one \
             delivery at a time, as the server would, and acknowledges it after a 2xx status. It retries other results, and after --tries \
             attempts acknowledges the delivery anyway and says so.

With --secret or --forward-to, and with --count, the exit status is 1 if any request did not verify.";

/// Receive webhooks on this machine, verify and print them
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ListenArgs {
    /// Address to listen on; port 0 selects a free one. Webhooks may use any path, for example http://127.0.0.1:4567/payload
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:4567")]
    pub(crate) address: SocketAddr,
    /// Signing secret to verify with; repeatable, for rotations
    #[arg(
        long = "secret",
        value_name = "SECRET",
        env = "HOOKWRIGHT_SIGNING_SECRET",
        hide_env_values = true
    )]
    secrets: Vec<String>,
    /// Prefix of Hookwright's own headers, as in the server's --header-prefix
    #[arg(long, value_name = "PREFIX", default_value = "TT-Hook-")]
    header_prefix: String,
    /// Text for people, JSON lines, or YAML documents [default: table]
    #[arg(long, value_name = "FORMAT")]
    output: Option<Format>,
    /// Print the bytes of each request, followed by a newline; the verdict goes to standard error
    #[arg(long, conflicts_with = "output")]
    raw: bool,
    /// HTTP status to answer with: 200 to 599
    #[arg(long, value_name = "STATUS", default_value_t = 200, value_parser = clap::value_parser!(u16).range(200..=599))]
    status: u16,
    /// Exit after this many requests [default: never]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    #[command(flatten)]
    forward: ForwardArgs,
}

/// Receives until `--count` requests have arrived, or it is interrupted. `root` has the flags further left.
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
    let mut interrupted = std::pin::pin!(tokio::signal::ctrl_c());
    while left != Some(0) {
        let received = tokio::select! {
            received = receiver.next() => received,
            _ = &mut interrupted => break,
        };
        let Some(received) = received else { break };
        all_verified &= show(&args, verifier.as_ref(), &received)?;
        left = left.map(|count| count - 1);
    }
    Ok(if all_verified {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Prints one request. Returns false if it should have verified and did not.
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

/// Writes the bytes of a request, and a newline.
fn print_raw(request: &Request) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(&request.raw)?;
    out.write_all(b"\n")?;
    Ok(out.flush()?)
}
