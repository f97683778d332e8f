//! `havana analyze`: trace → dataset → report.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use havana_rows::Sink;
use havana_store::{
    CaptureSettings, Clock, Dataset, DatasetWriter, Epoch, MANIFEST_FILE, Manifest, Source, StoreError, WriterOptions,
};
use havana_timeline::{Analysis, Summary, Survey};
use havana_trace::{Facts, RawOptions, Trace, open_raw};
use indicatif::{ProgressBar, ProgressStyle};

use super::part::{Keep, Parted};
use crate::cli::{self, Analyze};
use crate::report::{self, Form};
use crate::units::{self, count};

/// Memory of a file is given back after each such step of reading it.
const STEP: usize = 64 << 20;

pub(crate) fn run(args: &Analyze) -> anyhow::Result<ExitCode> {
    let output = match &args.output {
        Some(dir) => dir.clone(),
        None => default_output(&args.inputs)?,
    };
    let options = RawOptions { facts: facts(&args.facts), cpu: args.part.cpu.first().copied() };
    let mut trace = open_raw(&args.inputs, &options)?;
    if !args.part.cpu.is_empty() {
        trace.streams.retain(|s| args.part.cpu.contains(&s.cpu));
        if trace.streams.is_empty() {
            bail!("no stream of cpu {:?} in the input", args.part.cpu);
        }
    }
    let plan = Plan {
        output: &output,
        node: args.node.clone().or_else(|| trace.node.clone()).unwrap_or_else(|| "unknown".into()),
        overwrite: args.force,
        from: args.part.from,
        to: args.part.to,
        vms: args.part.vm.clone(),
    };
    let dataset = write(&trace, &plan)?;
    let lost = dataset.manifest().losses.count > 0;
    for warning in &dataset.manifest().warnings {
        eprintln!("havana: warning: {warning}");
    }
    if !args.quiet {
        report::print(&dataset, if args.json { Form::Json } else { Form::Text })?;
    }
    if !args.json && !args.quiet {
        writeln!(std::io::stdout(), "\ndataset  {}", output.display())?;
    }
    Ok(super::status(args.strict, lost))
}

/// What to make of a trace.
pub(crate) struct Plan<'a> {
    pub(crate) output: &'a Path,
    pub(crate) node: String,
    pub(crate) overwrite: bool,
    /// Seconds since the first event; ticks where no rate is known.
    pub(crate) from: Option<f64>,
    pub(crate) to: Option<f64>,
    pub(crate) vms: Vec<i32>,
}

/// Analyzes a trace into a dataset.
pub(crate) fn write(trace: &Trace, plan: &Plan<'_>) -> anyhow::Result<Dataset> {
    let sources: Vec<Source> = trace.streams.iter().map(source).collect();
    let capture = capture_id(&sources, trace);
    let survey = Survey::of(trace);
    let Some(first) = Analysis::new(trace, &survey, None).first_tsc() else {
        let (name, bytes) = trace.streams.first().map_or(("the input", 0), |s| (s.name.as_str(), s.len()));
        bail!(
            "{name}: no moment of it can be dated: from offset 0 to {bytes} there is no PSB with a TSC packet of the \
             host (was it recorded with tsc=1?)"
        );
    };
    let per_second = trace.facts.tsc_hz.map_or(1.0, |hz| hz as f64);
    let tick = |at: f64| first.saturating_add((at * per_second) as i64);
    let window = (plan.from.is_some() || plan.to.is_some())
        .then(|| (plan.from.map_or(i64::MIN / 4, tick), plan.to.map_or(i64::MAX / 4, tick)));
    if window.is_some_and(|(from, to)| from >= to) {
        bail!("--from must be before --to");
    }
    let analysis = Analysis::new(trace, &survey, window);
    let ns_clock = units::ns_clock(trace.facts.tsc_hz, first);
    let options =
        WriterOptions { node: plan.node.clone(), capture, ns_clock, overwrite: plan.overwrite, ..Default::default() };
    let mut writer = DatasetWriter::create(plan.output, options).map_err(|error| {
        let replaceable = matches!(error, StoreError::Exists { .. }) && plan.output.join(MANIFEST_FILE).exists();
        let error = anyhow::Error::new(error);
        if replaceable { anyhow::anyhow!("{error:#}; --force replaces it") } else { error }
    })?;
    let keep = Keep { window, vms: plan.vms.clone() };
    let mut parted = Parted::new(keep, &mut writer);
    let summary = read(trace, analysis, &mut parted)?;
    parted.check()?;
    let manifest = Manifest {
        tool_version: env!("CARGO_PKG_VERSION").into(),
        clock: Clock {
            tsc_hz: trace.facts.tsc_hz,
            tsc_hz_known: trace.facts.tsc_hz.is_some(),
            epoch: if trace.facts.tsc_hz.is_some() { Epoch::FirstEvent } else { Epoch::Ticks },
            origin_tsc: first,
            origin_ns: ns_clock.map(|c| c.origin_ns),
        },
        sources,
        settings: settings(trace, &summary),
        packets: envelope(&summary),
        warnings: warnings(trace, &summary),
        ..Manifest::default()
    };
    writer.finish(manifest)?;
    Ok(Dataset::open(plan.output)?)
}

/// Runs the analysis, with a bar on a terminal.
fn read<S: Sink>(trace: &Trace, analysis: Analysis<'_>, sink: &mut S) -> Result<Summary, S::Error> {
    let total: u64 = trace.streams.iter().map(|s| s.len()).sum();
    let bar = if std::io::stderr().is_terminal() { ProgressBar::new(total) } else { ProgressBar::hidden() };
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {bytes}/{total_bytes} {bytes_per_sec} {eta}") {
        bar.set_style(style);
    }
    let summary = analysis.run(sink, &mut |at| bar.set_position(at));
    bar.finish_and_clear();
    summary
}

fn facts(args: &cli::Facts) -> Facts {
    Facts { tsc_hz: args.tsc_hz, tsc_ctc_ratio: args.tsc_ctc_ratio, mtc_period: args.mtc_period, cpu: args.cpu_model }
}

/// The input's name, in this directory.
fn default_output(inputs: &[PathBuf]) -> anyhow::Result<PathBuf> {
    let first = inputs.first().context("no input")?;
    let full = std::path::absolute(first)?;
    let name = if full.is_dir() { full.file_name() } else { full.file_stem() };
    let name = name.and_then(|n| n.to_str()).context("the input has no name to call the dataset by: say -o DIR")?;
    Ok(PathBuf::from(format!("{name}.havana")))
}

fn source(stream: &havana_trace::Stream) -> Source {
    let mut hash = xxhash_rust::xxh3::Xxh3::new();
    let bytes = stream.file();
    for (i, chunk) in bytes.chunks(STEP).enumerate() {
        hash.update(chunk);
        let start = (i * STEP) as u64;
        stream.release(start..start + chunk.len() as u64);
    }
    Source { name: stream.name.clone(), bytes: bytes.len() as u64, xxh3: format!("{:016x}", hash.digest()) }
}

/// A hash of the sources; the letter keeps engines from taking it for a number.
fn capture_id(sources: &[Source], trace: &Trace) -> String {
    let mut hash = xxhash_rust::xxh3::Xxh3::new();
    for (source, stream) in sources.iter().zip(&trace.streams) {
        hash.update(format!("{} {} {}\n", stream.cpu, source.bytes, source.xxh3).as_bytes());
    }
    format!("c{:016x}", hash.digest())
}

fn settings(trace: &Trace, summary: &Summary) -> CaptureSettings {
    let has = |kind: &str| summary.packets.contains_key(kind);
    let mut other = BTreeMap::new();
    if let Some(cpu) = trace.facts.cpu {
        other.insert("cpu_model".to_string(), cpu.to_string().into());
    }
    if let Some((n, d)) = trace.facts.tsc_ctc_ratio {
        other.insert("tsc_ctc_ratio".to_string(), serde_json::json!([n, d]));
    }
    CaptureSettings {
        branches: summary.branches,
        tsc: has("tsc"),
        cyc: has("cyc"),
        mtc_period: trace.facts.mtc_period.filter(|_| has("mtc")),
        psb_count: summary.packets.get("psb").copied().unwrap_or(0),
        other,
    }
}

/// Envelope packets by kind: branches and padding are not counted there.
fn envelope(summary: &Summary) -> BTreeMap<String, u64> {
    let kinds = havana_packet::Kind::ALL.iter().filter(|k| k.is_envelope());
    kinds.filter_map(|k| Some((k.name().to_string(), *summary.packets.get(k.name())?))).collect()
}

/// What the reader should know before believing the rest.
fn warnings(trace: &Trace, summary: &Summary) -> Vec<String> {
    let mut all = Vec::new();
    let has = |kind: &str| summary.packets.contains_key(kind);
    if has("mtc") && !summary.sleep_shows {
        all.push(
            "the trace has MTC packets, and nothing says their period and the crystal's ratio (mtc_period, \
             tsc_ctc_ratio): they are not used, and times are less sure"
                .into(),
        );
    }
    if trace.facts.tsc_hz.is_none() {
        all.push("the TSC rate is not known (tsc_hz): times are ticks".into());
    }
    if !has("pip") {
        all.push("there is no PIP packet: what ran cannot be told (was the kernel traced?)".into());
    }
    if summary.no_host_time {
        all.push("no TSC packet was made by the host: guests' clocks cannot be tied to it".into());
    }
    for cpu in &summary.timeless {
        all.push(format!("cpu {cpu}: nothing in its stream can be dated; it is left out"));
    }
    if summary.nameless_exits > 0 {
        all.push(format!("{} VM exits are of no known vCPU: no VMCS packet names it", count(summary.nameless_exits)));
    }
    if summary.damaged > 0 {
        let what =
            if summary.damaged == 1 { "stretch of bytes is no packet" } else { "stretches of bytes are no packets" };
        all.push(format!("{} {what}: see losses", count(summary.damaged)));
    }
    all
}
