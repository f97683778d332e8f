//! `havana analyze`: trace → dataset → report.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use havana_insight::Profile;
use havana_rows::Sink;
use havana_rows::parquet::NsClock;
use havana_store::{CaptureSettings, Clock, Dataset, DatasetWriter, Epoch, Manifest, WriterOptions};
use havana_timeline::{Analysis, Feed, Handlers, Summary, Survey};
use havana_trace::{Facts, OpenOptions, STDIN, Trace, open};

use super::learn::profile;
use super::names::{Named, Names};
use super::part::{Keep, Parted};
use super::{alert, identity, progress, warnings};
use crate::cli::{self, Analyze};
use crate::report::{self, Form};

pub(crate) fn run(args: &Analyze) -> anyhow::Result<ExitCode> {
    let output = match &args.output {
        Some(dir) => dir.clone(),
        None => default_output(&args.inputs)?,
    };
    let names = args.names.as_deref().map(Names::read).transpose()?.unwrap_or_default();
    let baseline = args.baseline.as_deref().map(profile).transpose()?;
    let options = OpenOptions { facts: facts(&args.facts), cpu: args.part.cpu.first().copied() };
    let mut trace = open(&args.inputs, &options)?;
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
        names,
        baseline,
        handlers: handlers(args)?,
    };
    let dataset = write(&trace, &plan)?;
    for warning in &dataset.manifest().warnings {
        eprintln!("havana: warning: {warning}");
    }
    if !args.alert.is_empty() {
        let alerted = alert::print(havana_insight::found(&dataset)?, &args.alert, args.json)?;
        return Ok(alert::status(alerted, super::status(args.strict, &dataset)));
    }
    if !args.quiet {
        report::print(&dataset, havana_insight::found(&dataset)?, if args.json { Form::Json } else { Form::Text })?;
    }
    if !args.json && !args.quiet {
        writeln!(std::io::stdout(), "\ndataset  {}", output.display())?;
    }
    Ok(super::status(args.strict, &dataset))
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
    pub(crate) names: Names,
    /// What is normal there.
    pub(crate) baseline: Option<Profile>,
    pub(crate) handlers: Option<Handlers>,
}

impl<'a> Plan<'a> {
    /// The id of what is kept: a part of a capture is not the capture, and is told from its other parts.
    fn capture(&self, whole: String) -> String {
        if self.from.is_none() && self.to.is_none() && self.vms.is_empty() {
            return whole;
        }
        let part = format!("{:?} {:?} {:?}", self.from, self.to, self.vms);
        format!("{whole}p{:08x}", xxhash_rust::xxh3::xxh3_64(part.as_bytes()) as u32)
    }

    /// All of it, into a place where nothing stands.
    pub(crate) fn whole(output: &'a Path, node: String) -> Plan<'a> {
        Plan {
            output,
            node,
            overwrite: false,
            from: None,
            to: None,
            vms: Vec::new(),
            names: Names::default(),
            baseline: None,
            handlers: None,
        }
    }
}

/// Analyzes a trace into a dataset.
pub(crate) fn write(trace: &Trace, plan: &Plan<'_>) -> anyhow::Result<Dataset> {
    // Both read all of the trace: at once, where two cores can.
    let ((sources, capture), survey) = if std::thread::available_parallelism().map_or(1, usize::from) == 1 {
        (identity::of(trace), Survey::of(trace))
    } else {
        std::thread::scope(|scope| {
            let identity = scope.spawn(|| identity::of(trace));
            let survey = Survey::of(trace);
            (identity.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)), survey)
        })
    };
    let survey = match &plan.handlers {
        Some(handlers) => survey.with_handlers(handlers.clone()),
        None => survey,
    };
    let whole = Analysis::new(trace, &survey, None);
    let Some(first) = whole.first_tsc() else {
        let (name, bytes) = trace.streams.first().map_or(("the input", 0), |s| (s.name.as_str(), s.len()));
        let errata = havana_timeline::errata_of(trace.facts.cpu);
        if trace.streams.iter().all(|s| Feed::new(s, errata).is_at_end()) {
            bail!("{name}: neither a perf.data nor Intel PT: there is no PSB from offset 0 on");
        }
        bail!(
            "{name}: no moment of it can be dated: from offset 0 to {bytes} there is no PSB with a TSC packet of the \
             host (was it recorded with tsc=1?)"
        );
    };
    let per_second = trace.facts.tsc_hz.map_or(1.0, |hz| hz as f64);
    let tick = |at: f64| first.saturating_add((at * per_second) as i64);
    // What stands in the file before or after this one, too, counts there.
    let recorder = trace.recording.recorder.as_ref();
    let (begin, end) = recorder.map_or((None, None), |r| (r.continues, r.until));
    let window = (plan.from.is_some() || plan.to.is_some() || begin.is_some() || end.is_some()).then(|| {
        let from = plan.from.map_or(i64::MIN / 4, tick).max(begin.unwrap_or(i64::MIN / 4));
        (from, plan.to.map_or(i64::MAX / 4, tick).min(end.unwrap_or(i64::MAX / 4)))
    });
    if window.is_some_and(|(from, to)| from >= to) {
        bail!("--from must be before --to");
    }
    let analysis = if window.is_none() { whole } else { Analysis::new(trace, &survey, window) };
    let capture = plan.capture(capture);
    let wall = trace.recording.wall;
    let ns_clock = NsClock::of(trace.facts.tsc_hz, wall.map_or((first, 0), |w| (w.tsc, w.ns)));
    let options =
        WriterOptions { node: plan.node.clone(), capture, ns_clock, overwrite: plan.overwrite, ..Default::default() };
    let mut writer = DatasetWriter::create(plan.output, options)?;
    let keep = Keep { window, vms: plan.vms.clone() };
    let names = plan.names.and_found(recorder.iter().flat_map(|r| r.vms.values()));
    let mut named = Named::new(&names, Parted::new(keep, &mut writer));
    let summary = read(trace, analysis, &mut named)?;
    named.sink.check()?;
    let mut said = warnings::of(trace, &summary);
    said.extend(named.warning());
    let manifest = Manifest {
        tool_version: env!("CARGO_PKG_VERSION").into(),
        clock: Clock {
            tsc_hz: trace.facts.tsc_hz,
            tsc_hz_known: trace.facts.tsc_hz.is_some(),
            epoch: match (trace.facts.tsc_hz, wall) {
                (None, _) => Epoch::Ticks,
                (Some(_), None) => Epoch::FirstEvent,
                (Some(_), Some(_)) => Epoch::Unix,
            },
            origin_tsc: ns_clock.map_or(first, |c| c.origin_tsc),
            origin_ns: ns_clock.map(|c| c.origin_ns),
        },
        sources,
        settings: settings(trace, &summary),
        packets: envelope(&summary),
        warnings: said,
        ..Manifest::default()
    };
    let ended = writer.end(manifest)?;
    let findings = match &plan.baseline {
        Some(profile) => havana_insight::find_against(ended.dataset(), profile)?,
        None => havana_insight::find(ended.dataset())?,
    };
    Ok(ended.put(Some(havana_insight::rows(&findings)))?)
}

/// Where KVM's handlers are, as the symbols say that were given or stand beside the trace.
fn handlers(args: &Analyze) -> anyhow::Result<Option<Handlers>> {
    let beside = match &args.inputs[..] {
        [dir] => Some(dir.join(KCORE_SYMBOLS)).filter(|file| file.is_file()),
        _ => None,
    };
    let Some(file) = args.kallsyms.as_ref().or(beside.as_ref()) else { return Ok(None) };
    let name = || file.display().to_string();
    let bytes = std::fs::read(file).with_context(name)?;
    let bytes = if bytes.starts_with(&ZSTD) { zstd::decode_all(&bytes[..]).with_context(name)? } else { bytes };
    let handlers = Handlers::of_kallsyms(&String::from_utf8_lossy(&bytes));
    if handlers.is_none() && args.kallsyms.is_some() {
        bail!("{}: no address of a function of kvm_intel: copy /proc/kallsyms as root, with kvm_intel loaded", name());
    }
    Ok(handlers)
}

/// The symbols in a directory of `perf record --kcore`.
const KCORE_SYMBOLS: &str = "kcore_dir/kallsyms";

/// How zstd's frames begin.
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// Runs the analysis, with a bar on a terminal.
fn read<S: Sink>(trace: &Trace, analysis: Analysis<'_>, sink: &mut S) -> Result<Summary, S::Error> {
    let total: u64 = trace.streams.iter().map(|s| s.len()).sum();
    let bar = progress::of_bytes(total);
    let summary = analysis.run(sink, &mut |at| bar.set_position(at));
    bar.finish_and_clear();
    summary
}

pub(super) fn facts(args: &cli::Facts) -> Facts {
    Facts { tsc_hz: args.tsc_hz, tsc_ctc_ratio: args.tsc_ctc_ratio, mtc_period: args.mtc_period, cpu: args.cpu_model }
}

/// The input's name, in this directory.
fn default_output(inputs: &[PathBuf]) -> anyhow::Result<PathBuf> {
    let first = inputs.first().context("no input")?;
    if first == Path::new(STDIN) {
        bail!("standard input has no name to call the dataset by: say -o DIR");
    }
    let full = std::path::absolute(first)?;
    // perf.data.1 and perf.data.2 are two.
    let known = full.extension().is_some_and(|ext| ext == "pt" || ext == "data");
    let name = if known && !full.is_dir() { full.file_stem() } else { full.file_name() };
    let name = name.and_then(|n| n.to_str()).context("the input has no name to call the dataset by: say -o DIR")?;
    Ok(PathBuf::from(format!("{name}.havana")))
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
    let recording = &trace.recording;
    let words = [("os_release", &recording.os_release), ("cpu_name", &recording.cpu_name)];
    other.extend(words.into_iter().filter_map(|(key, value)| Some((key.to_string(), value.clone()?.into()))));
    let flags = [("system_wide", recording.system_wide), ("kernel", recording.kernel), ("user", recording.user)];
    other.extend(flags.into_iter().filter_map(|(key, value)| Some((key.to_string(), value?.into()))));
    if !recording.thread_siblings.is_empty() {
        other.insert("thread_siblings".to_string(), serde_json::json!(recording.thread_siblings));
    }
    if !recording.command.is_empty() {
        other.insert("command".to_string(), recording.command.join(" ").into());
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
