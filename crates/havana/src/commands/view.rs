//! `havana view`: the web view of a dataset, or of a trace that is analyzed for it.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;

#[cfg(feature = "fleet")]
use havana_fleet::Root;
use havana_serve::{Options, serve};
use havana_store::{Dataset, StoreError};
use havana_trace::OpenOptions;

use super::analyze::{self, Plan};
use super::scratch::Scratch;
use crate::cli::{Page, View};

pub(crate) fn run(args: &View) -> anyhow::Result<ExitCode> {
    #[cfg(feature = "fleet")]
    if let [one] = &args.inputs[..]
        && (one.to_str().is_some_and(Root::is_url) || Root::is_in(one))
    {
        return of_fleet(&one.to_string_lossy(), args);
    }
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
    show(dataset, &args.page, Shown { compare: None, tsp: args.tsp })?;
    Ok(ExitCode::SUCCESS)
}

/// Where clients of the Trace Server Protocol look, if they are told nothing else.
const TSP_PORT: u16 = 8080;

/// Serves the view of all nodes of a fleet until it is interrupted.
#[cfg(feature = "fleet")]
fn of_fleet(root: &str, args: &View) -> anyhow::Result<ExitCode> {
    if args.tsp {
        anyhow::bail!("{root}: the Trace Server Protocol is of one dataset: --tsp is for those");
    }
    let root = Root::open(root)?;
    // A root that cannot be asked is told of here, and not on the page.
    tokio::runtime::Runtime::new()?.block_on(havana_fleet::Catalogue::hours(&root))?;
    let scratch = Scratch::new("fleet")?;
    let address = args.page.listen.unwrap_or(SocketAddr::from((Ipv4Addr::LOCALHOST, args.page.port.unwrap_or(0))));
    let server = havana_serve::serve_fleet(root, scratch.path().into(), Options::new(address)?)?;
    announce(&server.url(), None, args.page.no_open)?;
    server.run()?;
    Ok(ExitCode::SUCCESS)
}

/// Says where it is, and opens it there.
fn announce(url: &str, tsp: Option<String>, no_open: bool) -> anyhow::Result<()> {
    let mut out = std::io::stdout();
    writeln!(out, "{url}")?;
    if let Some(url) = tsp {
        writeln!(out, "Trace Server Protocol: {url}")?;
    }
    out.flush()?;
    if !no_open && open::that_detached(url).is_err() {
        eprintln!("havana: no browser could be opened: open the address above");
    }
    Ok(())
}

/// What is shown beside the dataset itself.
pub(super) struct Shown {
    /// What changed to another dataset: its tab is opened.
    pub(super) compare: Option<serde_json::Value>,
    /// Other viewers may ask.
    pub(super) tsp: bool,
}

/// Serves the view of a dataset until it is interrupted.
pub(super) fn show(dataset: Dataset, page: &Page, Shown { compare, tsp }: Shown) -> anyhow::Result<()> {
    let port = page.port.unwrap_or(if tsp { TSP_PORT } else { 0 });
    let address = page.listen.unwrap_or(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    let tab = if compare.is_some() { "#tab=compare" } else { "" };
    let server = serve(dataset, Options { compare, tsp, ..Options::new(address)? })?;
    let url = format!("{}{tab}", server.url());
    announce(&url, server.tsp_url(), page.no_open || tsp)?;
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
