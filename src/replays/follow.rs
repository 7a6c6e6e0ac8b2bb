//! Follows a replay until it ends.

use std::{process::ExitCode, time::Duration};

use hookwright_proto::v1::{GetReplayRequest, Replay, ReplayState};

use super::show;
use crate::{
    client::{Client, patience::Patience},
    interrupt::Interrupt,
    output,
    progress::Progress,
};

/// Poll interval: initial and maximum. Most replays are short, and long ones are polled rarely.
const LOOK_AGAIN: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));
/// The exit status of a command that Ctrl-C ended.
const INTERRUPTED: u8 = 130;

/// Shows the progress until the replay ends, then the result. The first interrupt leaves it running.
pub(super) async fn run(client: &Client, replay: Replay) -> anyhow::Result<ExitCode> {
    let Some(ended) = to_the_end(client, replay).await? else {
        return Ok(ExitCode::from(INTERRUPTED));
    };
    client.output.message("Replay", &ended, show::replay)?;
    Ok(if ended.state() == ReplayState::Succeeded {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Shows the progress until the replay ends, and returns it; `None` after an interrupt.
pub(super) async fn to_the_end(client: &Client, replay: Replay) -> anyhow::Result<Option<Replay>> {
    let mut interrupt = Interrupt::watch()?;
    let name = replay.name.clone();
    tokio::select! {
        ended = until_it_ends(client, replay) => ended.map(Some),
        () = interrupt.told() => {
            output::note(&format!(
                "The replay continues. Show it: hookwright replays get {name}\n\
                 follow it: hookwright replays follow {name}\ncancel it: hookwright replays cancel {name}"
            ));
            Ok(None)
        }
    }
}

async fn until_it_ends(client: &Client, mut replay: Replay) -> anyhow::Result<Replay> {
    let progress = Progress::share(client.output);
    let mut service = client.replays();
    let mut patience = Patience::default();
    let (mut pause, pause_max) = LOOK_AGAIN;
    while replay.state() == ReplayState::Running {
        progress.set_share(replay.progress);
        progress.say(show::so_far(&replay));
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(pause_max);
        let request = GetReplayRequest {
            name: replay.name.clone(),
        };
        match service.get_replay(request).await {
            Ok(response) => {
                progress.suspend(|| patience.succeeded());
                replay = response.into_inner();
            }
            Err(status) => patience.wait_after(status).await?,
        }
    }
    Ok(replay)
}
