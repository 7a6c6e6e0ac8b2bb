//! Follows an operation until it ends.

use std::{process::ExitCode, time::Duration};

use hookwright_proto::v1::{GetOperationRequest, Operation, OperationState};

use super::show;
use crate::{
    client::{Client, patience::Patience},
    interrupt::Interrupt,
    output,
    progress::Progress,
};

/// Poll interval: initial and maximum.
const LOOK_AGAIN: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));
/// The exit status of a command that Ctrl-C ended.
const INTERRUPTED: u8 = 130;

/// Shows the progress until the operation ends. The first interrupt leaves it running.
pub(super) async fn run(client: &Client, name: &str) -> anyhow::Result<ExitCode> {
    let mut interrupt = Interrupt::watch()?;
    let ended = tokio::select! {
        ended = until_it_ends(client, name) => ended?,
        () = interrupt.told() => {
            output::note(&format!("The operation continues. Show it: hookwright operations get {name}"));
            return Ok(ExitCode::from(INTERRUPTED));
        }
    };
    output::note(&format!("The operation ended: {}", show::so_far(&ended)));
    Ok(if ended.state() == OperationState::Succeeded {
        ExitCode::SUCCESS
    } else {
        output::note(&ended.error_message);
        ExitCode::FAILURE
    })
}

async fn until_it_ends(client: &Client, name: &str) -> anyhow::Result<Operation> {
    let progress = Progress::share(client.output);
    let mut service = client.operations();
    let mut patience = Patience::default();
    let (mut pause, pause_max) = LOOK_AGAIN;
    loop {
        let request = GetOperationRequest { name: name.to_owned() };
        match service.get_operation(request).await {
            Ok(response) => {
                progress.suspend(|| patience.succeeded());
                let operation = response.into_inner();
                if operation.state() != OperationState::Running {
                    return Ok(operation);
                }
                progress.set_share(show::share(&operation).unwrap_or(0.0));
                progress.say(show::so_far(&operation));
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(pause_max);
            }
            Err(status) => patience.wait_after(status).await?,
        }
    }
}
