//! `hookwright listen --forward-to`: forwards an organization's deliveries to a program on this machine through the API.
//!
//! The machine needs no public address: the command pulls deliveries and posts them as the server would. It posts one at a
//! time, oldest first, which suits a debugger.

mod args;
mod line;
mod queue;
mod session;
mod target;
mod temporary;

use std::process::ExitCode;

pub(crate) use args::ForwardArgs;
use args::Retries;
use hookwright_proto::v1::PulledDelivery;
use line::{Line, Then};
use queue::Queue;
use target::Target;
use temporary::Temporary;

use super::{
    ListenArgs,
    verify::{Verdict, Verifier},
};
use crate::{
    client::{Client, ClientArgs},
    interrupt::Interrupt,
    output,
    settings::process_environment,
};

/// Forwards until it is interrupted, or `--count` deliveries were processed. Always deletes the temporary webhook. `root`
/// has the flags further left.
pub(super) async fn run(args: ListenArgs, root: ClientArgs) -> anyhow::Result<ExitCode> {
    let mut interrupt = Interrupt::watch()?;
    let mut client_args = args.forward.server.client();
    client_args.output = args.output;
    let client = Client::connect(client_args.or(root), &process_environment)?;
    let url = args.forward.forward_to.as_deref().unwrap_or_default();
    let mut forwarder = Forwarder {
        target: Target::new(url, &args.forward, client.ca_file.as_deref())?,
        // Read before anything is created: an invalid secret is a usage error.
        verifier: Verifier::new(&args.secrets, &args.header_prefix)?,
        retries: args.forward.retries(),
        all_verified: true,
        client: &client,
        args: &args,
    };
    let mut temporary = match args.forward.webhook {
        Some(_) => None,
        None => Some(Temporary::prepare(&client, &args.forward)?),
    };
    let mut queue = Queue::new(&client, &args.forward);
    let ended = tokio::select! {
        ended = forwarder.run(&mut queue, temporary.as_mut()) => ended,
        () = interrupt.told() => Ok(()),
    };
    let cleaned = async {
        match temporary {
            Some(temporary) => temporary.delete(&client).await,
            None => queue.release().await,
        }
    };
    tokio::select! {
        () = cleaned => {}
        () = interrupt.told() => {}
    }
    ended?;
    Ok(if forwarder.all_verified {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// The state of forwarding.
struct Forwarder<'a> {
    client: &'a Client,
    args: &'a ListenArgs,
    target: Target,
    verifier: Option<Verifier>,
    retries: Retries,
    all_verified: bool,
}

impl Forwarder<'_> {
    async fn run(&mut self, queue: &mut Queue<'_>, temporary: Option<&mut Temporary>) -> anyhow::Result<()> {
        let forward = &self.args.forward;
        match (temporary, &forward.webhook) {
            (Some(temporary), _) => {
                let made = temporary.make(self.client, forward).await?;
                queue.webhook.clone_from(&made.name);
                // Verifies the server's signatures with the secret that the server returned.
                self.verifier = Verifier::new(&[made.signing_secret], &self.args.header_prefix)?;
            }
            (None, Some(id)) => queue.webhook = self.client.within(&forward.organization, "webhooks", id)?,
            (None, None) => unreachable!("without a webhook one is made"),
        }
        output::note(&format!(
            "forwarding deliveries of {} to {}; press Ctrl-C to stop",
            queue.webhook,
            self.target.url()
        ));
        if self.client.output.for_people() && !self.args.raw {
            output::print(&line::header())?;
        }
        let mut left = self.args.count.unwrap_or(u64::MAX);
        while left > 0 {
            let delivery = queue.next().await?;
            match self.deal_with(&delivery).await? {
                Then::Acknowledge | Then::GiveUp => {
                    queue.acknowledge(&delivery).await?;
                    left -= 1;
                }
                Then::TryAgain(delay) => queue.put_off(&delivery, delay).await?,
            }
        }
        Ok(())
    }

    /// Posts one delivery, prints the result, and returns what happens to the delivery.
    async fn deal_with(&mut self, delivery: &PulledDelivery) -> anyhow::Result<Then> {
        let request = self.target.request(delivery);
        let verdict = self.verifier.as_ref().map(|verifier| verifier.check(&request));
        self.all_verified &= verdict.as_ref().is_none_or(Verdict::complete);
        let report = self.target.post(delivery).await;
        let then = self.retries.after(&report, delivery.attempt);
        let line = Line {
            delivery,
            report: &report,
            verdict: verdict.as_ref(),
            then,
        };
        line.show(self.client.output, self.args.raw.then_some(&request))?;
        Ok(then)
    }
}
