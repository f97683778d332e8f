//! `havana simulate`: a node that is not there: its trace, and the truth.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use havana_sim::hw::{Hw, Watch};
use havana_sim::{NAMED, Node, Scenario, Streams, Truth};

use crate::cli::Simulate;
use crate::units;

/// The scenario as it was played, beside its trace: what makes a directory one of ours.
const PLAYED: &str = "scenario.toml";

pub(crate) fn run(args: &Simulate) -> anyhow::Result<ExitCode> {
    let (name, mut scenario) = scenario(&args.scenario)?;
    let node = &mut scenario.node;
    node.seed = args.seed.unwrap_or(node.seed);
    node.seconds = args.seconds.unwrap_or(node.seconds);
    node.cpus = args.cpus.unwrap_or(node.cpus);
    scenario.check().with_context(|| args.scenario.clone())?;
    if args.print {
        write!(io::stdout(), "{}", toml::to_string(&scenario)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let output = args.output.clone().unwrap_or_else(|| PathBuf::from(&name));
    if output.exists() && !(args.force && output.join(PLAYED).exists()) {
        let hint = if output.join(PLAYED).exists() { "; --force replaces it" } else { "" };
        bail!("{}: exists already{hint}", output.display());
    }
    let made = play(&scenario, &output, !args.no_truth)?;
    writeln!(
        io::stdout(),
        "{name}: {} of {} cpus, {} of trace, {} VM exits\ncapture  {}",
        units::duration(scenario.node.seconds * 1e9),
        scenario.node.cpus,
        units::bytes(made.bytes),
        units::count(made.exits),
        output.display()
    )?;
    Ok(ExitCode::SUCCESS)
}

/// A scenario of that name, or of that file; and what to call it.
fn scenario(said: &str) -> anyhow::Result<(String, Scenario)> {
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
fn play(scenario: &Scenario, output: &Path, with_truth: bool) -> anyhow::Result<Made> {
    let full = std::path::absolute(output)?;
    let name = full.file_name().with_context(|| format!("{}: no name of a directory", output.display()))?;
    let parts = full.with_file_name(format!(".{}.{}.part", name.to_string_lossy(), std::process::id()));
    let made = write(scenario, &parts, with_truth).and_then(|made| {
        if full.exists() {
            fs::remove_dir_all(&full).with_context(|| full.display().to_string())?;
        }
        fs::rename(&parts, &full).with_context(|| full.display().to_string())?;
        Ok(made)
    });
    if made.is_err() {
        let _ = fs::remove_dir_all(&parts);
    }
    made
}

fn write(scenario: &Scenario, dir: &Path, with_truth: bool) -> anyhow::Result<Made> {
    fs::create_dir_all(dir).with_context(|| dir.display().to_string())?;
    let create = |name: &str| File::create(dir.join(name)).with_context(|| dir.join(name).display().to_string());
    create("trace.toml")?.write_all(scenario.facts().as_bytes())?;
    create(PLAYED)?.write_all(toml::to_string(scenario)?.as_bytes())?;

    let mut node = Node::new(scenario);
    let (begin, cr3) = (node.begin(), node.host_cr3());
    let mut files = Vec::with_capacity(cr3.len());
    for (cpu, cr3) in cr3.iter().enumerate() {
        files.push((*cr3, create(&format!("cpu{cpu}.pt"))?));
    }
    let streams = Streams::new(&scenario.mode(), scenario.clock(), scenario.node.seed, begin, files);
    let failed = || dir.display().to_string();
    let (streams, exits) = if with_truth {
        let out = zstd::Encoder::new(BufWriter::new(create("truth.zst")?), 1)?.auto_finish();
        let truth = Truth::new(out, begin, &cr3, node.vcpu_threads())?;
        let mut watch = ((streams, truth), Exits(0));
        node.run(&mut watch);
        let ((streams, truth), exits) = watch;
        drop(truth.finish(node.end()).with_context(failed)?);
        (streams, exits)
    } else {
        let mut watch = (streams, Exits(0));
        node.run(&mut watch);
        watch
    };
    let written = streams.finish(node.end()).with_context(failed)?;
    Ok(Made { bytes: written.iter().map(|(_, bytes)| bytes).sum(), exits: exits.0 })
}
