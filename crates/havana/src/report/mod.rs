//! The report: facts summed from a dataset, then written for a person or as JSON.

mod columns;
mod facts;
mod histogram;
mod text;

use std::io::{self, IsTerminal, Write};

use havana_insight::Finding;
use havana_store::Dataset;

pub(crate) use facts::{Facts, FindingFacts};

/// How to write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Text,
    Json,
}

/// Sums up a dataset and prints it, after what was found in it.
pub(crate) fn print(dataset: &Dataset, findings: Vec<Finding>, form: Form) -> anyhow::Result<()> {
    let facts = Facts::of(dataset, findings)?;
    let mut out = io::BufWriter::new(io::stdout().lock());
    match form {
        Form::Text => {
            let colour = io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            text::write(&facts, colour, &mut out)?;
        }
        Form::Json => {
            serde_json::to_writer_pretty(&mut out, &facts)?;
            writeln!(out)?;
        }
    }
    Ok(out.flush()?)
}
