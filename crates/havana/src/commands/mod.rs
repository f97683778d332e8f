//! One file a command.

mod alert;
mod analyze;
mod bench;
mod demo;
mod diff;
mod doctor;
mod export;
#[cfg(feature = "fleet")]
mod fleet;
mod identity;
mod learn;
mod metrics;
mod names;
mod overhead;
mod packets;
mod part;
mod progress;
mod record;
mod report;
mod scratch;
#[cfg(feature = "fleet")]
mod ship;
mod simulate;
mod sql;
mod top;
mod view;
mod warnings;

use std::io::Write;
use std::process::ExitCode;

use anyhow::Context;
use havana_store::Dataset;
use havana_whole::WholeError;

use crate::cli::{self, Cli, Command};
use havana_insight::words::count;

/// Does what the command line says.
pub(crate) fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    match cli.command {
        Command::Record(args) => record::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Overhead(args) => overhead::run(&args),
        Command::Analyze(args) => analyze::run(&args),
        Command::Report(args) => report::run(&args),
        Command::Diff(args) => diff::run(&args),
        Command::Export(args) => export::run(&args),
        Command::Learn(args) => learn::run(&args),
        Command::View(args) => view::run(&args),
        Command::Top(args) => top::run(&args),
        Command::Sql { words } => sql::run(&words),
        #[cfg(feature = "fleet")]
        Command::Push(args) => fleet::push(&args),
        #[cfg(feature = "fleet")]
        Command::Compact { root, share } => fleet::compact(&root, share),
        #[cfg(feature = "fleet")]
        Command::Prune(args) => fleet::prune(&args),
        Command::Packets(args) => packets::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Simulate(args) => simulate::run(&args),
        Command::Completions { shell } => {
            // Into memory first: it would panic where nobody reads.
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut cli::command(), "havana", &mut script);
            std::io::stdout().write_all(&script)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Man { dir } => {
            let at = || dir.display().to_string();
            std::fs::create_dir_all(&dir).with_context(at)?;
            clap_mangen::generate_to(cli::command(), &dir).with_context(at)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Whether the error is that nobody reads our output any more.
pub(crate) fn is_closed_pipe(error: &anyhow::Error) -> bool {
    let kind = |cause: &(dyn std::error::Error + 'static)| {
        let io = cause.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
        // This one does not show what is in it as its source.
        io.or_else(|| cause.downcast_ref::<serde_json::Error>()?.io_error_kind())
    };
    let is_closed = |cause: &(dyn std::error::Error + 'static)| {
        matches!(cause.downcast_ref(), Some(WholeError::Closed)) || kind(cause) == Some(std::io::ErrorKind::BrokenPipe)
    };
    error.chain().any(is_closed)
}

/// An error and its causes. Many errors say their cause themselves: that is not said twice.
pub(crate) fn one_line(error: &anyhow::Error) -> String {
    let mut line = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !line.ends_with(&cause) {
            line = format!("{line}: {cause}");
        }
    }
    line
}

/// The exit status: losses count where `--strict` says so, and then are said.
fn status(strict: bool, dataset: &Dataset) -> ExitCode {
    let losses = &dataset.manifest().losses;
    if !strict || losses.count == 0 {
        return ExitCode::SUCCESS;
    }
    let causes: Vec<&str> = losses.ticks.keys().map(String::as_str).collect();
    eprintln!(
        "havana: trace was lost, in {} of it ({}, {} bytes): see the table losses",
        if losses.count == 1 { "1 stretch".into() } else { format!("{} stretches", count(losses.count)) },
        causes.join(", "),
        count(losses.bytes.unsigned_abs()),
    );
    ExitCode::FAILURE
}
