//! `havana`: what every virtual machine of a KVM host did, from the processor's own trace.
#![forbid(unsafe_code)]

mod cli;
mod commands;
mod report;

use std::process::ExitCode;

fn main() -> ExitCode {
    match commands::run(cli::parse()) {
        Ok(code) => code,
        // Who reads our output has seen enough: that is no error.
        Err(error) if commands::is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("havana: {}", commands::one_line(&error));
            ExitCode::FAILURE
        }
    }
}
