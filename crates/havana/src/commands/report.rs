//! `havana report`: the report of a dataset again.

use std::process::ExitCode;

use havana_insight::{find_against, found};
use havana_store::Dataset;

use super::alert;
use super::learn::profile;
use crate::cli::Report;
use crate::report::{self, Form};

pub(crate) fn run(args: &Report) -> anyhow::Result<ExitCode> {
    let dataset = Dataset::open(&args.dataset)?;
    let findings = match &args.baseline {
        Some(file) => find_against(&dataset, &profile(file)?)?,
        None => found(&dataset)?,
    };
    if !args.alert.is_empty() {
        let alerted = alert::print(findings, &args.alert, args.json)?;
        return Ok(alert::status(alerted, super::status(args.strict, &dataset)));
    }
    report::print(&dataset, findings, if args.json { Form::Json } else { Form::Text })?;
    Ok(super::status(args.strict, &dataset))
}
