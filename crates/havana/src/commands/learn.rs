//! `havana learn`: datasets → a profile of normal.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use havana_insight::Profile;
use havana_store::Dataset;
use havana_whole::Output;

use crate::cli::Learn;

pub(crate) fn run(args: &Learn) -> anyhow::Result<ExitCode> {
    let datasets = args.datasets.iter().map(|dir| Dataset::open(dir)).collect::<Result<Vec<_>, _>>()?;
    let mut output = Output::create(&args.output, args.force)?;
    let profile = havana_insight::learn(&datasets)?;
    let written = output.write_all(profile.to_json().as_bytes());
    let stdout = output.is_stream();
    output.end(written.with_context(|| args.output.display().to_string()))?;
    if stdout {
        return Ok(ExitCode::SUCCESS);
    }
    let processes: usize = profile.vms.iter().map(|vm| vm.processes.len()).sum();
    let many = |n: usize, one: &str, more: &str| format!("{n} {}", if n == 1 { one } else { more });
    writeln!(
        std::io::stdout(),
        "learnt of {}: {}, {}\nprofile  {}",
        many(datasets.len(), "dataset", "datasets"),
        many(profile.vms.len(), "VM", "VMs"),
        many(processes, "process", "processes"),
        args.output.display()
    )?;
    Ok(ExitCode::SUCCESS)
}

/// A profile that somebody learnt.
pub(super) fn profile(file: &Path) -> anyhow::Result<Profile> {
    let at = || file.display().to_string();
    Profile::from_json(&fs::read_to_string(file).with_context(at)?).with_context(at)
}
