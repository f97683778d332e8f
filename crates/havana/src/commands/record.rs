//! `havana record`: this host's hardware trace, into a perf.data.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use anyhow::{Context, anyhow, bail};
use havana_capture::host::cpu_list;
use havana_capture::output::{OutputOptions, Target};
use havana_capture::ring::Size;
use havana_capture::workload::{self, Workload};
use havana_capture::{CaptureError, Host, Mode, Options, Recorder, Signals, Summary, Tell};
use havana_trace::STDIN;

use super::metrics::Metrics;
#[cfg(feature = "fleet")]
use super::ship::{Of, Shipper};
use crate::cli::{Record, RecordMode};
use havana_insight::words::{bytes, count};

pub(crate) fn run(args: &Record) -> anyhow::Result<ExitCode> {
    let options = options(args)?;
    let say = |text: &str| {
        // Standard error may be closed: the recording goes on.
        let _ = writeln!(std::io::stderr(), "havana: {text}");
    };
    if args.output.as_os_str() == STDIN && std::io::stdout().is_terminal() {
        bail!("standard output is a terminal: say -o FILE, or give it to a program");
    }
    if let Some(nice) = args.reader.nice {
        havana_capture::host::be_nice(nice).with_context(|| format!("--nice {nice}"))?;
    }
    if let Some(list) = &args.reader.reader_cpus {
        let at = || format!("--reader-cpus {}", cpu_list(&list.0));
        havana_capture::host::run_on(&list.0).with_context(at)?;
    }
    let rotates = options.output.rotates();
    // One that comes while rings are opened ends the recording too, even where a shell had it ignored.
    let signals = Signals::new()?;
    let host = Host::here();
    let node = host.name();
    #[cfg(feature = "fleet")]
    let (shipper, options) = shipper(args, options)?;
    #[cfg(feature = "fleet")]
    let earlier = options.output.earlier.clone();
    let mut recorder = Recorder::new(host, options).map_err(with_doctor)?;
    let metrics =
        Metrics::start(args.metrics.as_ref(), args.quiet, told(node, &recorder), havana_metrics::Record::text)?;
    for warning in recorder.warnings() {
        say(&format!("warning: {warning}"));
    }
    recorder.start().map_err(with_doctor)?;
    #[cfg(feature = "fleet")]
    if let Some(shipper) = &shipper {
        shipper.begin(earlier)?;
    }
    if !args.quiet {
        let vms = recorder.vms().len();
        say(&format!(
            "recording cpu {} with {}, {vms} VM{} found; {}",
            cpu_list(&recorder.cpus()),
            recorder.event(),
            if vms == 1 { "" } else { "s" },
            if args.workload.is_empty() { "Ctrl-C ends" } else { "until the command ends" },
        ));
    }
    let mut workload =
        workload::command(&args.workload).map(|mut command| Workload::start(&mut command)).transpose()?;
    let until = workload.as_ref().map(Workload::end);
    let summary = recorder.run(signals, until, &mut |tell| match tell {
        Tell::Warning(text) => say(&format!("warning: {text}")),
        Tell::Snapshot(why) => say(&format!("snapshot written: {why}")),
        Tell::Counted(counted) => {
            if let Some(metrics) = &metrics {
                metrics.tell(|told| told.counted = counted);
            }
        }
        Tell::File(path) => {
            if !args.quiet && rotates {
                say(&format!("{} is whole", path.display()));
            }
            #[cfg(feature = "fleet")]
            if let Some(shipper) = &shipper {
                shipper.take(&path, Of::This);
            }
        }
        _ => {}
    })?;
    report(&summary, args, &say);
    #[cfg(feature = "fleet")]
    if shipper.is_some_and(|shipper| !shipper.end()) {
        bail!("not all that was recorded could be pushed: havana analyze and havana push bring what stays");
    }
    if let Some(failed) = summary.failed {
        bail!("{failed}; what was written before is whole");
    }
    // Where the recording ended first, there is none.
    let status = workload.as_mut().map(Workload::status).transpose()?.flatten().and_then(|status| status.code());
    Ok(status.and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::SUCCESS, ExitCode::from))
}

/// What brings its files under a root, where that is asked for.
#[cfg(feature = "fleet")]
fn shipper(args: &Record, mut options: Options) -> anyhow::Result<(Option<Shipper>, Options)> {
    let Some(root) = &args.push else { return Ok((None, options)) };
    if args.output.as_os_str() == STDIN {
        bail!("--push brings files: say -o FILE");
    }
    let say = |text: &str| _ = writeln!(std::io::stderr(), "havana: {text}");
    // What one that was killed has left keeps its names until it is pushed.
    options.output.earlier = Shipper::left_of(&args.output).with_context(|| args.output.display().to_string())?;
    let shipper = Shipper::start(root, &args.output, args.quiet, say)?;
    Ok((Some(shipper), options))
}

/// What Prometheus is told of it.
fn told(node: String, recorder: &Recorder) -> havana_metrics::Record {
    havana_metrics::Record {
        node,
        version: env!("CARGO_PKG_VERSION").into(),
        event: recorder.event().into(),
        counted: recorder.counted(),
    }
}

/// Where the host stands in the way, more can be told.
fn with_doctor(error: CaptureError) -> anyhow::Error {
    if error.is_of_host() { anyhow!("{error}; havana doctor tells more") } else { error.into() }
}

/// What is to be recorded, and how.
pub(crate) fn options(args: &Record) -> anyhow::Result<Options> {
    let mode = match args.mode {
        RecordMode::Envelope => Mode::Envelope,
        RecordMode::Full => Mode::Full,
        RecordMode::Snapshot => Mode::Snapshot,
    };
    if !args.on.is_empty() && mode != Mode::Snapshot {
        bail!("--on says when a snapshot is written: say --mode snapshot too");
    }
    let target = if args.output.as_os_str() == STDIN { Target::Stdout } else { Target::File(args.output.clone()) };
    let output = OutputOptions {
        rotate_bytes: args.long.rotate_size,
        rotate_every: args.long.rotate_time,
        max_bytes: args.long.max_size,
        compress: args.long.zstd,
        ..OutputOptions::to(target)
    };
    if output.target == Target::Stdout && output.rotates() {
        bail!("standard output is one: --rotate-size and --rotate-time need -o FILE");
    }
    Ok(Options {
        mode,
        precision: args.precision.into(),
        cpus: args.cpus.as_ref().map(|list| list.0.clone()).unwrap_or_default(),
        rings: Size {
            data: usize::try_from(args.reader.records)?,
            aux: args.reader.buffer.map_or(Ok(mode.ring_bytes()), usize::try_from)?,
        },
        output,
        max_duration: args.long.max_duration,
        flush: args.reader.flush,
        on: args.on.clone(),
        command: std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect(),
        version: env!("CARGO_PKG_VERSION").into(),
    })
}

/// What came of it, and what it cost.
fn report(summary: &Summary, args: &Record, say: &dyn Fn(&str)) {
    let cost = &summary.cost;
    let all = |of: fn(&havana_trace::perf_data::CpuCost) -> u64| cost.cpus.iter().map(of).sum::<u64>();
    let lost: Vec<String> = cost
        .cpus
        .iter()
        .filter(|c| c.stops + c.lost_records + c.unwritten_bytes > 0)
        .map(|c| {
            let mut says = Vec::new();
            if c.stops > 0 {
                says.push(format!("its trace stopped {} times, the ring being full", count(c.stops)));
            }
            if c.lost_records > 0 {
                says.push(format!("{} of the kernel's records were lost", count(c.lost_records)));
            }
            if c.unwritten_bytes > 0 {
                says.push(format!("{} of trace could not be written", bytes(c.unwritten_bytes)));
            }
            format!("cpu {}: {}", c.cpu, says.join("; "))
        })
        .collect();
    for line in &lost {
        say(&format!("warning: {line}"));
    }
    if all(|c| c.stops) + all(|c| c.lost_records) > 0 {
        say("warning: a larger --buffer or --records, or --nice -10, loses less");
    }
    if args.quiet {
        return;
    }
    let trace = all(|c| c.trace_bytes);
    let cpus = cost.cpus.len().max(1) as f64;
    let seconds = cost.seconds.max(1e-9);
    say(&format!(
        "{}: {:.1} s, {} of trace ({} a second and cpu), {} of the kernel's records{}; the reader used {:.2} s of CPU \
         ({:.2} % of one), {} of memory at most",
        summary.why,
        cost.seconds,
        bytes(trace),
        bytes((trace as f64 / cpus / seconds) as u64),
        bytes(all(|c| c.record_bytes)),
        if lost.is_empty() { ", nothing lost" } else { "" },
        cost.cpu_seconds,
        100.0 * cost.cpu_seconds / seconds,
        bytes(cost.memory_bytes),
    ));
    if let Some(last) = &summary.last {
        let more = if summary.files > 1 { format!(", the last of {} files", summary.files) } else { String::new() };
        say(&format!("{}{more}: havana analyze {0}", last.display()));
    }
}
