//! One file a command.

mod analyze;
mod demo;
mod packets;
mod part;
mod report;

use std::process::ExitCode;

use crate::cli::{self, Cli, Command};

/// Does what the command line says.
pub(crate) fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    match cli.command {
        Command::Analyze(args) => analyze::run(&args),
        Command::Report(args) => report::run(&args),
        Command::Packets(args) => packets::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut cli::command(), "havana", &mut std::io::stdout());
            Ok(ExitCode::SUCCESS)
        }
        Command::Man { dir } => {
            std::fs::create_dir_all(&dir)?;
            clap_mangen::generate_to(cli::command(), &dir)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Whether the error is that nobody reads our output any more.
pub(crate) fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<std::io::Error>())
        .any(|io| io.kind() == std::io::ErrorKind::BrokenPipe)
}

/// The exit status: losses count where `--strict` says so.
fn status(strict: bool, lost: bool) -> ExitCode {
    if strict && lost { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
