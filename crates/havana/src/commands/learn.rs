//! `havana learn`: datasets → a profile of normal.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, bail};
use havana_insight::Profile;
use havana_store::{Dataset, WholeFile};
use havana_trace::STDIN;

use crate::cli::Learn;

pub(crate) fn run(args: &Learn) -> anyhow::Result<ExitCode> {
    let datasets = args.datasets.iter().map(|dir| Dataset::open(dir)).collect::<Result<Vec<_>, _>>()?;
    let stdout = args.output == Path::new(STDIN);
    if !stdout && !args.force && args.output.exists() {
        bail!("{}: exists already; --force replaces it", args.output.display());
    }
    let profile = havana_insight::learn(&datasets)?;
    if stdout {
        std::io::stdout().write_all(profile.to_json().as_bytes())?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut file = WholeFile::create(&args.output, args.force)?;
    file.write_all(profile.to_json().as_bytes()).with_context(|| args.output.display().to_string())?;
    file.put()?;
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
