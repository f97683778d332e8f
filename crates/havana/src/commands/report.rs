//! `havana report`: the report of a dataset again.

use std::process::ExitCode;

use havana_store::Dataset;

use crate::cli::Report;
use crate::report::{self, Form};

pub(crate) fn run(args: &Report) -> anyhow::Result<ExitCode> {
    let dataset = Dataset::open(&args.dataset)?;
    report::print(&dataset, if args.json { Form::Json } else { Form::Text })?;
    Ok(super::status(args.strict, &dataset))
}
