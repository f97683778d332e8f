//! `havana sql`: starts `havana-sql`, the only program that links the SQL engine.

use std::env;
use std::ffi::OsString;
use std::io::{Error, ErrorKind};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use anyhow::{Context, bail};

const PROGRAM: &str = "havana-sql";

/// Becomes that program.
pub(crate) fn run(words: &[OsString]) -> anyhow::Result<ExitCode> {
    let beside = env::current_exe().ok().map(|program| program.with_file_name(PROGRAM)).filter(|path| path.exists());
    let program = beside.unwrap_or_else(|| PROGRAM.into());
    let error: Error = Command::new(&program).args(words).exec();
    if error.kind() == ErrorKind::NotFound {
        bail!(
            "{PROGRAM} is neither beside this program nor in PATH: build it with `cargo build --release -p havana-query`"
        );
    }
    Err(error).with_context(|| program.display().to_string())
}
