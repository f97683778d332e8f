//! `havana diff`: what changed from one stretch of time to another.

mod text;

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use havana_insight::diff::{Side, diff};
use havana_store::Dataset;

use crate::cli::Diff;

/// Changes that are told on a terminal, where nothing says how many.
const TOP: usize = 15;

pub(crate) fn run(args: &Diff) -> anyhow::Result<ExitCode> {
    let times = &args.times;
    if args.b.is_none() && [times.a_from, times.a_to, times.b_from, times.b_to].iter().all(Option::is_none) {
        anyhow::bail!(
            "{} alone: give another dataset, or two stretches of its time, such as --a-to 10 --b-from 10",
            args.a.display()
        );
    }
    let a = Dataset::open(&args.a)?;
    let b = args.b.as_ref().map_or_else(|| Ok(a.clone()), |b| Dataset::open(b))?;
    let mut found = diff(&Side::new(&a, times.a_from, times.a_to)?, &Side::new(&b, times.b_from, times.b_to)?)?;
    let [a_status, b_status] = [&a, &b].map(|dataset| super::status(args.strict, dataset));
    let status = if a_status == ExitCode::SUCCESS { b_status } else { a_status };
    if args.view {
        let compare = Some(serde_json::to_value(&found)?);
        super::view::show(a, &args.page, super::view::Shown { compare, tsp: false })?;
        return Ok(status);
    }
    let mut out = io::BufWriter::new(io::stdout().lock());
    if args.json {
        found.changes.truncate(args.top.unwrap_or(usize::MAX));
        serde_json::to_writer_pretty(&mut out, &found)?;
        writeln!(out)?;
    } else {
        let colour = io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        text::write(&found, args.top.unwrap_or(TOP), colour, &mut out)?;
    }
    out.flush()?;
    Ok(status)
}
