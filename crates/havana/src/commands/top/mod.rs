//! `havana top`: what each VM does now, or did, as a recorded trace tells it.
//!
//! | module | its one question |
//! | --- | --- |
//! | `feed` | who makes frames while somebody looks at them? |
//! | `figures` | what stands in a row, and in which order are rows? |
//! | `plain` | what is a frame as text? |
//! | `state` | what does who looks want to see? |
//! | `screen` | what is a frame on a terminal? |
//! | `terminal` | who has the terminal, and gives it back? |

mod feed;
mod figures;
mod plain;
mod screen;
mod state;
mod terminal;

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::Instant;

use havana_capture::ring::Size;
use havana_capture::{Host, Signals};
use havana_live::{Frame, Looker, Options, Pace, Replay, Rings, Windows};
use havana_trace::{OpenOptions, open};

use super::analyze::facts;
use super::metrics::Metrics;
use super::names::Names;
use crate::cli::Top;
use feed::Feed;

/// A cpu's ring of the kernel's records.
const RECORDS: usize = 512 << 10;

pub(crate) fn run(args: &Top) -> anyhow::Result<ExitCode> {
    let names = args.names.as_deref().map(Names::read).transpose()?.unwrap_or_default();
    if args.from.is_empty() {
        live(args, &names)?
    } else {
        replay(args, &names)?
    }
    Ok(ExitCode::SUCCESS)
}

/// Names VMs as the user says, and as the recorder found them on the host.
fn looker(names: &Names) -> Looker<'_> {
    Looker::new(|trace, vms| {
        let names = names.and_found(trace.recording.recorder.iter().flat_map(|recorder| recorder.vms.values()));
        for vm in vms {
            names.name(vm);
        }
    })
}

/// This host.
fn live(args: &Top, names: &Names) -> anyhow::Result<()> {
    let options = Options {
        interval: args.interval,
        cpus: args.cpus.as_ref().map(|list| list.0.clone()).unwrap_or_default(),
        rings: Size { data: RECORDS, aux: usize::try_from(args.buffer)? },
        command: std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect(),
        version: env!("CARGO_PKG_VERSION").into(),
    };
    let rings = Rings::open(Host::here(), options)?;
    for warning in rings.warnings() {
        eprintln!("havana: warning: {warning}");
    }
    watch(args, rings, names, None)
}

/// A recorded trace.
fn replay(args: &Top, names: &Names) -> anyhow::Result<()> {
    let trace = open(&args.from, &OpenOptions { facts: facts(&args.facts), cpu: None })?;
    for note in &trace.recording.notes {
        eprintln!("havana: warning: {note}");
    }
    let windows = Replay::new(&trace, args.interval)?;
    let hz = trace.facts.tsc_hz.unwrap_or(1);
    let pace = Pace::new(args.speed, hz, windows.first(), Instant::now());
    watch(args, windows, names, Some(pace))
}

/// Shows them, and tells Prometheus where that is wanted.
fn watch(args: &Top, windows: impl Windows + Send, names: &Names, pace: Option<Pace>) -> anyhow::Result<()> {
    let metrics =
        Metrics::start(args.metrics.as_ref(), false, havana_metrics::Top::default(), havana_metrics::Top::text)?;
    let hear = |frame: &Frame| {
        if let Some(metrics) = &metrics {
            metrics.tell(|told| told.hear(frame));
        }
    };
    feed::with(windows, looker(names), pace, &hear, |feed| show(args, feed))
}

/// Shows frames until there are no more, or who looks has seen enough.
fn show(args: &Top, feed: &Feed<'_>) -> anyhow::Result<()> {
    let terminal = std::io::stdout().is_terminal() && std::io::stdin().is_terminal();
    if terminal && !args.plain && !args.json {
        return terminal::show(args, feed);
    }
    let mut shown = 0;
    let mut signals = Signals::new()?;
    while let Some(frame) = feed.next(&mut signals)? {
        write(args, &frame)?;
        shown += 1;
        if args.frames.is_some_and(|most| shown >= most) {
            break;
        }
    }
    Ok(())
}

fn write(args: &Top, frame: &Frame) -> anyhow::Result<()> {
    let mut text = if args.json { serde_json::to_string(frame)? } else { plain::text(frame, args.sort) };
    text.push('\n');
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}
