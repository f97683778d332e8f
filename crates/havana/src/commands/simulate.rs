//! `havana simulate`: a node that is not there: its trace, and the truth.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use havana_rows::parquet::NsClock;
use havana_sim::hw::{Hw, Watch};
use havana_sim::scenario::Form;
use havana_sim::{NAMED, Node, Recording, Scenario, Tables, Truth};
use havana_store::{Clock, DatasetWriter, Epoch, Manifest, WriterOptions};
use havana_whole::WholeDirectory;

use crate::cli::{self, Simulate};
use havana_insight::words;

/// The truth as a dataset.
const TRUE: &str = "truth.havana";

/// The scenario as it was played, beside its trace: what makes a directory one of ours.
const PLAYED: &str = "scenario.toml";

pub(crate) fn run(args: &Simulate) -> anyhow::Result<ExitCode> {
    let (name, mut scenario) = scenario(&args.scenario, args.seed)?;
    let node = &mut scenario.node;
    node.seconds = args.seconds.unwrap_or(node.seconds);
    node.cpus = args.cpus.unwrap_or(node.cpus);
    node.wall = args.wall.unwrap_or(node.wall);
    if let Some(form) = args.form {
        scenario.trace.form = match form {
            cli::Form::Raw => Form::Raw,
            cli::Form::Perf => Form::Perf,
        };
    }
    scenario.check().with_context(|| args.scenario.clone())?;
    if args.print {
        write!(io::stdout(), "{}", toml::to_string(&scenario)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let output = args.output.clone().unwrap_or_else(|| PathBuf::from(&name));
    let made = play(&scenario, &output, args)?;
    writeln!(
        io::stdout(),
        "{name}: {} of {} cpus, {} of trace, {} VM exits\ncapture  {}",
        words::duration(scenario.node.seconds * 1e9),
        scenario.node.cpus,
        words::bytes(made.bytes),
        words::count(made.exits),
        output.display()
    )?;
    Ok(ExitCode::SUCCESS)
}

/// A scenario of that name, or of that file, with this seed; and what to call it.
fn scenario(said: &str, seed: Option<u64>) -> anyhow::Result<(String, Scenario)> {
    // What is drawn has another seed for what happens.
    match said {
        "random" => return Ok((said.to_string(), Scenario::random(seed.unwrap_or(0)))),
        "random-lossy" => return Ok((said.to_string(), Scenario::random_lossy(seed.unwrap_or(0)))),
        _ => {}
    }
    let (name, mut scenario) = written(said)?;
    scenario.node.seed = seed.unwrap_or(scenario.node.seed);
    Ok((name, scenario))
}

/// A scenario that somebody wrote.
fn written(said: &str) -> anyhow::Result<(String, Scenario)> {
    if let Some(scenario) = Scenario::named(said) {
        return Ok((said.to_string(), scenario));
    }
    let path = Path::new(said);
    if !path.exists() {
        let known: Vec<&str> = NAMED.iter().map(|(name, _)| *name).collect();
        bail!("{said}: no such file, and no scenario of that name; there are {}", known.join(", "));
    }
    let text = fs::read_to_string(path).with_context(|| said.to_string())?;
    let scenario = Scenario::parse(&text).with_context(|| said.to_string())?;
    let name = path.file_stem().and_then(|n| n.to_str()).context("the file has no name to call the capture by")?;
    Ok((name.to_string(), scenario))
}

/// What was written.
struct Made {
    bytes: u64,
    exits: u64,
}

/// Counts.
struct Exits(u64);

impl Watch for Exits {
    fn see(&mut self, _: usize, _: i64, hw: &Hw) {
        self.0 += u64::from(matches!(hw, Hw::Exit { .. }));
    }
}

/// Writes it beside its place, and moves it there when it is whole.
fn play(scenario: &Scenario, output: &Path, args: &Simulate) -> anyhow::Result<Made> {
    let directory = WholeDirectory::create(output, args.force, |dir| dir.join(PLAYED).exists())?;
    let made = write(scenario, directory.partial(), args)?;
    directory.put()?;
    Ok(made)
}

fn write(scenario: &Scenario, dir: &Path, args: &Simulate) -> anyhow::Result<Made> {
    fs::create_dir_all(dir).with_context(|| dir.display().to_string())?;
    let create = |name: &str| {
        let file = File::create(dir.join(name)).with_context(|| dir.join(name).display().to_string());
        file.map(BufWriter::new)
    };
    fs::write(dir.join(PLAYED), toml::to_string(scenario)?).with_context(|| dir.join(PLAYED).display().to_string())?;

    let mut node = Node::new(scenario);
    let recording = Recording::new(scenario, &node, create)?;
    let failed = || dir.display().to_string();
    let (mut truth, mut tables) = (None, None);
    if !args.no_truth {
        truth = Some(Truth::new(zstd::Encoder::new(create("truth.zst")?, 1)?.auto_finish(), &node)?);
    }
    if !args.no_truth && !args.no_tables {
        tables = Some(Tables::new(truth_dataset(scenario, node.begin(), &dir.join(TRUE))?, &node));
    }
    let mut watch = ((recording, Exits(0)), (truth, tables));
    node.run(&mut watch);
    let ((recording, exits), (truth, tables)) = watch;
    if let Some(truth) = truth {
        drop(truth.finish(node.end()).with_context(failed)?);
    }
    if let Some(tables) = tables {
        let dataset = tables.finish(node.end()).with_context(failed)?;
        dataset.finish(manifest(scenario, node.begin())).with_context(failed)?;
    }
    let bytes = recording.finish(node.end()).with_context(failed)?;
    Ok(Made { bytes, exits: exits.0 })
}

/// The dataset of someone who knows everything.
fn truth_dataset(scenario: &Scenario, begin: i64, dir: &Path) -> anyhow::Result<DatasetWriter> {
    let ns_clock = NsClock::of(Some(scenario.node.tsc_hz), (begin, 0));
    let (node, capture) = ("simulated".to_string(), "truth".to_string());
    Ok(DatasetWriter::create(dir, WriterOptions { node, capture, ns_clock, ..WriterOptions::default() })?)
}

fn manifest(scenario: &Scenario, begin: i64) -> Manifest {
    Manifest {
        tool_version: env!("CARGO_PKG_VERSION").into(),
        clock: Clock {
            tsc_hz: Some(scenario.node.tsc_hz),
            tsc_hz_known: true,
            epoch: Epoch::FirstEvent,
            origin_tsc: begin,
            origin_ns: Some(0),
        },
        ..Manifest::default()
    }
}
