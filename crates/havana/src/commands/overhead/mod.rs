//! `havana overhead`: what recording costs a workload of the user's own, on the user's own host.

mod json;
mod text;

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use anyhow::{Context, bail};
use havana_capture::overhead::{Choice, Outcome, Plan, Runner, Way, choose, experiment};
use havana_capture::{Host, Precision, Signals};
use indicatif::{ProgressBar, ProgressStyle};

use super::scratch::Scratch;
use crate::cli::{Overhead, OverheadWay};

/// A cpu's ring of the kernel's records, as `record` has it.
const RECORD_BYTES: usize = 512 << 10;

pub(crate) fn run(args: &Overhead) -> anyhow::Result<ExitCode> {
    let host = Host::here();
    let choice = choose(&host, &wanted(args), &args.tracepoints);
    let left_out: Vec<String> = choice.left_out.iter().map(ToString::to_string).collect();
    if choice.ways == [Way::Nothing] {
        let why = if left_out.is_empty() { "say more --ways".into() } else { left_out.join("; ") };
        bail!("there is nothing to compare with nothing recorded: {why}");
    }
    for text in choice.warnings.iter().map(|warning| format!("warning: {warning}")).chain(left_out) {
        // Standard error may be closed: the experiment goes on.
        let _ = writeln!(io::stderr(), "havana: {text}");
    }
    let scratch = match &args.output {
        Some(dir) => Scratch::within(dir, "overhead")?,
        None => Scratch::new("overhead")?,
    };
    let plan = Plan {
        ways: choice.ways.clone(),
        rounds: args.rounds,
        warm_up: args.warm_up,
        seed: args.seed,
        ignore_status: args.ignore_status,
    };
    let mut runner = Runner {
        host,
        command: args.workload.clone(),
        shown: args.show,
        cpus: args.cpus.as_ref().map(|list| list.0.clone()).unwrap_or_default(),
        ring_bytes: args.buffer.map(usize::try_from).transpose()?,
        record_bytes: RECORD_BYTES,
        tracepoints: choice.tracepoints.clone(),
        dir: scratch.path().into(),
        signals: Signals::new().context("signals")?,
    };
    let bar = progress(plan.runs(), args.show);
    let outcome = experiment(&plan, &mut |way| runner.run(way), &mut || bar.inc(1));
    bar.finish_and_clear();
    let told = Told { command: words(args), plan: &plan, choice: &choice, outcome: &outcome? };
    let mut out = io::BufWriter::new(io::stdout().lock());
    if args.json { json::write(&told, &mut out) } else { text::write(&told, &mut out) }?;
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// What is told of an experiment.
struct Told<'a> {
    command: Vec<String>,
    plan: &'a Plan,
    choice: &'a Choice,
    outcome: &'a Outcome,
}

fn words(args: &Overhead) -> Vec<String> {
    args.workload.iter().map(|word| word.to_string_lossy().into_owned()).collect()
}

fn wanted(args: &Overhead) -> Vec<Way> {
    use OverheadWay as Named;
    let all = [Named::Envelope, Named::Coarse, Named::Full, Named::Tracepoints];
    let named = if args.ways.is_empty() { &all[..] } else { &args.ways };
    let way = |named: &Named| match named {
        Named::Nothing => Way::Nothing,
        Named::Envelope => Way::Envelope(args.precision.into()),
        Named::Coarse => Way::Envelope(Precision::Coarse),
        Named::Full => Way::Full(args.precision.into()),
        Named::Tracepoints => Way::Tracepoints,
    };
    named.iter().map(way).collect()
}

/// None in a pipe, nor amid what the command prints.
fn progress(runs: u64, shown: bool) -> ProgressBar {
    let visible = io::stderr().is_terminal() && !shown;
    let bar = if visible { ProgressBar::new(runs) } else { ProgressBar::hidden() };
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len} runs {eta}") {
        bar.set_style(style);
    }
    bar.tick();
    bar
}

#[cfg(test)]
mod tests {
    use havana_capture::overhead::{LeftOut, Lost, Run};

    use super::*;

    /// An experiment whose every time is known: machines get slower by the round, each way by its own factor.
    fn told(rounds: u32, f: impl FnOnce(&Told<'_>)) {
        let ways = vec![
            Way::Nothing,
            Way::Envelope(Precision::Normal),
            Way::Envelope(Precision::Coarse),
            Way::Full(Precision::Normal),
            Way::Tracepoints,
        ];
        let plan = Plan { ways: ways.clone(), rounds, warm_up: 1, seed: 1, ignore_status: true };
        let mut done = 0;
        let mut run = |way: Way| {
            let round = f64::from(done / 5);
            done += 1;
            let noise = (round * 2.0).sin() / 100.0;
            let (factor, bytes, reader, lost) = match way {
                Way::Nothing => (1.0, 0, 0.0, Lost::default()),
                Way::Envelope(Precision::Normal) => (1.004 + noise, 37_000_000, 0.011, Lost::default()),
                Way::Envelope(_) => (1.003, 17_000_000, 0.005, Lost::default()),
                Way::Full(_) => (1.21 + noise, 900_000_000, 0.6, Lost { stops: 1, bytes: 5_000, ..Lost::default() }),
                Way::Tracepoints => (1.08 + noise / 2.0, 80_000_000, 0.09, Lost { records: 1200, ..Lost::default() }),
            };
            let status = std::process::ExitStatus::default();
            let wall_seconds = (2.0 + 0.1 * round) * factor;
            Ok(Run { wall_seconds, cpu_seconds: 3.0 * factor, bytes, reader_seconds: reader, lost, status })
        };
        let outcome = experiment(&plan, &mut run, &mut || {}).unwrap();
        let left = LeftOut { ways: vec![Way::Tracepoints], why: "not on this one".into() };
        let choice = Choice { ways, left_out: vec![left], warnings: vec![], tracepoints: None };
        f(&Told { command: vec!["make".into(), "-j8".into()], plan: &plan, choice: &choice, outcome: &outcome });
    }

    fn text(rounds: u32) -> String {
        let mut out = Vec::new();
        told(rounds, |told| text::write(told, &mut out).unwrap());
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_table_and_a_sentence_a_way() {
        snapbox::assert_data_eq!(text(10), snapbox::file!["snapshots/ten-rounds.txt"].raw());
    }

    #[test]
    fn too_few_rounds_for_an_interval() {
        snapbox::assert_data_eq!(text(3), snapbox::file!["snapshots/three-rounds.txt"].raw());
    }

    #[test]
    fn the_same_as_json_with_each_run() {
        let mut out = Vec::new();
        told(8, |told| json::write(told, &mut out).unwrap());
        let json: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(json["command"], serde_json::json!(["make", "-j8"]));
        assert_eq!(json["rounds"], 8);
        let ways = json["ways"].as_array().unwrap();
        assert_eq!(ways.len(), 5);
        assert!(ways.iter().all(|way| way["runs"].as_array().unwrap().len() == 8));
        assert_eq!(ways[0]["way"], "nothing");
        assert!(ways[0]["slowdown"].is_null());
        let coarse = &ways[2];
        assert_eq!((&coarse["way"], &coarse["precision"]), (&"envelope".into(), &"coarse".into()));
        assert!((coarse["slowdown"]["estimate"].as_f64().unwrap() - 0.003).abs() < 1e-9);
        assert!(coarse["slowdown"]["interval"]["would_be_seen"].as_f64().unwrap() < 1e-9);
        assert_eq!(ways[3]["lost"]["stops"], 8);
        assert_eq!(json["left_out"][0]["ways"][0], "tracepoints");
        told(2, |told| {
            let mut out = Vec::new();
            json::write(told, &mut out).unwrap();
            let json: serde_json::Value = serde_json::from_slice(&out).unwrap();
            assert!(json["ways"][1]["slowdown"]["interval"].is_null());
        });
    }
}
