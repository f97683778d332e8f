//! `--alert`: findings for a script.

use std::io::Write;
use std::process::ExitCode;

use havana_insight::Finding;

use crate::cli::Alert;
use crate::report::FindingFacts;

/// What a script that waits for findings is told.
const ALERTED: u8 = 3;

impl Alert {
    fn is(&self, finding: &Finding) -> bool {
        self.kind.is_none_or(|kind| kind == finding.kind) && finding.severity >= self.at_least
    }
}

/// Prints a line for each finding that any of these is about, and says whether there is one.
pub(super) fn print(findings: Vec<Finding>, alerts: &[Alert], json: bool) -> anyhow::Result<bool> {
    let mut out = std::io::stdout().lock();
    let mut any = false;
    for (id, finding) in (0..).zip(findings) {
        if !alerts.iter().any(|alert| alert.is(&finding)) {
            continue;
        }
        any = true;
        if json {
            serde_json::to_writer(&mut out, &FindingFacts::of(id, finding))?;
            writeln!(out)?;
        } else {
            writeln!(out, "{finding}")?;
        }
    }
    Ok(any)
}

/// The status where there is an alert, unless the one without says that something is wrong.
pub(super) fn status(alerted: bool, without: ExitCode) -> ExitCode {
    if alerted && without == ExitCode::SUCCESS { ExitCode::from(ALERTED) } else { without }
}
