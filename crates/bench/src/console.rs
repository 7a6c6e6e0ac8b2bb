//! Output for the user: results and progress.

#[expect(clippy::print_stdout, reason = "the output that the command was asked for")]
pub(crate) fn println(text: &str) {
    println!("{text}");
}

#[expect(clippy::print_stderr, reason = "the progress, for the user")]
pub(crate) fn eprint(text: &str) {
    eprintln!("{text}");
}
