//! `hookwright completions`.

use std::process::ExitCode;

use clap::Args;
use clap_complete::Shell;

const EXAMPLES: &str = "\
Examples:
  hookwright completions bash > ~/.local/share/bash-completion/completions/hookwright
  hookwright completions zsh > ~/.zfunc/_hookwright
  hookwright completions fish > ~/.config/fish/completions/hookwright.fish";

/// Shell selection.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct CompletionsArgs {
    /// The shell to write a completion script for
    shell: Shell,
}

/// Writes the script of a command line to standard output.
pub(crate) fn run(args: &CompletionsArgs, command: &mut clap::Command) -> anyhow::Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, command, "hookwright", &mut script);
    // A reader that has seen enough, such as `head`, is not an error.
    match std::io::Write::write_all(&mut std::io::stdout().lock(), &script) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(ExitCode::SUCCESS),
    }
}
