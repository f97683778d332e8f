//! An experiment for programs: what the table says, and each run.

use std::io::Write;

use havana_capture::overhead::{CONFIDENCE, Lost, Measured, Run, Slowdown};
use serde::Serialize;

use super::Told;

#[derive(Serialize)]
struct Experiment<'a> {
    command: &'a [String],
    rounds: u32,
    warm_up: u32,
    seed: u64,
    confidence: f64,
    ways: Vec<OfWay>,
    left_out: Vec<Left<'a>>,
    tracepoints: &'a [String],
}

#[derive(Serialize)]
struct OfWay {
    way: &'static str,
    precision: Option<&'static str>,
    wall_seconds_median: Option<f64>,
    cpu_seconds_median: Option<f64>,
    slowdown: Option<Compared>,
    cpu_slowdown: Option<Compared>,
    bytes_per_second: f64,
    reader_share: f64,
    lost: LostJson,
    failed: usize,
    runs: Vec<OfRun>,
}

/// Shares: 0.01 is one percent.
#[derive(Serialize)]
struct Compared {
    estimate: f64,
    interval: Option<IntervalJson>,
}

#[derive(Serialize)]
struct IntervalJson {
    least: f64,
    most: f64,
    would_be_seen: f64,
}

#[derive(Serialize)]
struct LostJson {
    stops: u64,
    records: u64,
    bytes: u64,
}

#[derive(Serialize)]
struct OfRun {
    wall_seconds: f64,
    cpu_seconds: f64,
    bytes: u64,
    reader_seconds: f64,
    lost: LostJson,
    /// How the command ended, in the system's words.
    status: String,
}

#[derive(Serialize)]
struct Left<'a> {
    ways: Vec<String>,
    why: &'a str,
}

pub(super) fn write(told: &Told<'_>, out: &mut impl Write) -> anyhow::Result<()> {
    let Told { command, plan, choice, outcome } = told;
    let way = |measured: &Measured| OfWay {
        way: measured.way.name(),
        precision: measured.way.trace().map(|(_, precision)| precision.name()),
        wall_seconds_median: measured.wall_seconds(),
        cpu_seconds_median: measured.cpu_seconds(),
        slowdown: outcome.slowdown(measured).map(compared),
        cpu_slowdown: outcome.cpu_slowdown(measured).map(compared),
        bytes_per_second: measured.bytes_a_second(),
        reader_share: measured.reader_share(),
        lost: lost(measured.lost()),
        failed: measured.failed(),
        runs: measured.runs.iter().map(of_run).collect(),
    };
    let left = choice.left_out.iter().map(|left| {
        let ways = left.ways.iter().map(ToString::to_string).collect();
        Left { ways, why: &left.why }
    });
    let experiment = Experiment {
        command,
        rounds: plan.rounds,
        warm_up: plan.warm_up,
        seed: plan.seed,
        confidence: CONFIDENCE,
        ways: outcome.ways.iter().map(way).collect(),
        left_out: left.collect(),
        tracepoints: choice.tracepoints.as_ref().map_or(&[], |tracepoints| tracepoints.names()),
    };
    serde_json::to_writer_pretty(&mut *out, &experiment)?;
    Ok(writeln!(out)?)
}

fn compared(slowdown: Slowdown) -> Compared {
    let interval =
        slowdown.interval.map(|i| IntervalJson { least: i.least, most: i.most, would_be_seen: i.would_be_seen });
    Compared { estimate: slowdown.estimate, interval }
}

fn lost(lost: Lost) -> LostJson {
    LostJson { stops: lost.stops, records: lost.records, bytes: lost.bytes }
}

fn of_run(run: &Run) -> OfRun {
    OfRun {
        wall_seconds: run.wall_seconds,
        cpu_seconds: run.cpu_seconds,
        bytes: run.bytes,
        reader_seconds: run.reader_seconds,
        lost: lost(run.lost),
        status: run.status.to_string(),
    }
}
