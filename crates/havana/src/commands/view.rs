//! `havana view`: the web view of a dataset, or of a trace that is analyzed for it.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;

use havana_serve::{Options, serve};
use havana_store::{Dataset, StoreError};
use havana_trace::OpenOptions;

use super::analyze::{self, Plan};
use super::scratch::Scratch;
use crate::cli::{Page, View};

pub(crate) fn run(args: &View) -> anyhow::Result<ExitCode> {
    // Lives as long as the view: the dataset of a trace is in it.
    let mut scratch = None;
    let dataset = match &args.inputs[..] {
        [one] if one.is_dir() || !one.exists() => match Dataset::open(one) {
            Err(none @ StoreError::NotADataset { .. }) => analyzed(args, &mut scratch)
                .map_err(|error| anyhow::anyhow!("{none}, and no trace: {}", super::one_line(&error)))?,
            dataset => dataset?,
        },
        _ => analyzed(args, &mut scratch)?,
    };
    show(dataset, &args.page, None)?;
    Ok(ExitCode::SUCCESS)
}

/// Serves the view of a dataset until it is interrupted; with what changed to another, that tab is opened.
pub(super) fn show(dataset: Dataset, page: &Page, compare: Option<serde_json::Value>) -> anyhow::Result<()> {
    let address = page.listen.unwrap_or(SocketAddr::from((Ipv4Addr::LOCALHOST, page.port)));
    let tab = if compare.is_some() { "#tab=compare" } else { "" };
    let server = serve(dataset, Options { compare, ..Options::new(address)? })?;
    let url = format!("{}{tab}", server.url());
    let mut out = std::io::stdout();
    writeln!(out, "{url}")?;
    out.flush()?;
    if !page.no_open && open::that_detached(&url).is_err() {
        eprintln!("havana: no browser could be opened: open the address above");
    }
    server.run()?;
    Ok(())
}

/// A dataset of a trace, for this view only.
fn analyzed(args: &View, scratch: &mut Option<Scratch>) -> anyhow::Result<Dataset> {
    let options = OpenOptions { facts: analyze::facts(&args.facts), cpu: None };
    let trace = havana_trace::open(&args.inputs, &options)?;
    let scratch = scratch.insert(Scratch::new("view")?);
    let output = scratch.path().join("view.havana");
    let plan = Plan::whole(&output, trace.node.clone().unwrap_or_else(|| "unknown".into()));
    let dataset = analyze::write(&trace, &plan)?;
    for warning in &dataset.manifest().warnings {
        eprintln!("havana: warning: {warning}");
    }
    Ok(dataset)
}
