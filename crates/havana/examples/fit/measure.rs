//! What is counted and timed of a trace and its truth, so that a capture and a simulated node can stand side by side.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

use anyhow::Context;
use havana_packet::{Decoder, Kind};
use havana_sim::{Node, Scenario, Streams, Truth};
use havana_trace::{RawOptions, open_raw};

/// Kinds of stretches that are timed, and what each is.
pub(crate) const STRETCHES: [(&str, &str); 6] = [
    ("guest", "entry to exit"),
    ("handling", "exit to the same vCPU's entry, its thread on the cpu all the time"),
    ("away", "exit to the same vCPU's entry, with a switch or a sleep between"),
    ("switch", "exit to another vCPU's entry, no sleep between"),
    ("sleep", "of the cpu"),
    ("wake", "end of a sleep to an entry, no other sleep between"),
];

/// What one trace has.
#[derive(Debug, Default)]
pub(crate) struct Measured {
    /// How long it is.
    pub(crate) seconds: f64,
    /// Packets by kind.
    pub(crate) packets: BTreeMap<&'static str, u64>,
    /// VM exits by basic reason.
    pub(crate) exits: BTreeMap<u16, u64>,
    /// Lengths in microseconds, in order, as [`STRETCHES`].
    pub(crate) lengths: [Vec<f64>; 6],
}

/// What a cpu is in the middle of.
#[derive(Debug, Default)]
struct Cpu<'a> {
    entry: Option<i64>,
    /// The last exit: when, and of which VMCS.
    exit: Option<(i64, &'a str)>,
    /// There was a switch, or a sleep, since.
    switched: bool,
    slept: bool,
    asleep: Option<i64>,
    awake: Option<i64>,
}

impl Measured {
    /// A capture: `cpuN.pt`, `trace.toml`, `truth.zst`.
    pub(crate) fn capture(dir: &Path) -> anyhow::Result<Measured> {
        let trace = open_raw(&[dir.into()], &RawOptions::default())?;
        let path = dir.join("truth.zst");
        let text = zstd::decode_all(File::open(&path).with_context(|| path.display().to_string())?)?;
        let mut measured = Measured::default();
        measured.truth(&String::from_utf8(text)?, trace.facts.tsc_hz.context("no tsc_hz in trace.toml")?)?;
        for stream in &trace.streams {
            (0..).map_while(|i| stream.segment(i)).for_each(|segment| measured.stream(segment.bytes));
        }
        Ok(measured)
    }

    /// A scenario, played for so long.
    pub(crate) fn scenario(mut scenario: Scenario, seconds: f64) -> anyhow::Result<Measured> {
        scenario.node.seconds = seconds;
        let mut node = Node::new(&scenario);
        let cpus = node.host_cr3().into_iter().map(|cr3| (cr3, Vec::new()));
        let streams = Streams::new(&scenario.mode(), scenario.clock(), scenario.node.seed, node.begin(), cpus);
        let truth = Truth::new(Vec::new(), &node)?;
        let mut watch = (streams, truth);
        node.run(&mut watch);
        let mut measured = Measured::default();
        measured.truth(&String::from_utf8(watch.1.finish(node.end())?)?, scenario.node.tsc_hz)?;
        for (bytes, _) in watch.0.finish(node.end())? {
            measured.stream(&bytes);
        }
        Ok(measured)
    }

    /// All VM exits.
    pub(crate) fn all_exits(&self) -> u64 {
        self.exits.values().sum()
    }

    /// A length that so many percent do not exceed; none where there is no stretch of the kind.
    pub(crate) fn length(&self, stretch: usize, percent: usize) -> Option<f64> {
        let sorted = &self.lengths[stretch];
        sorted.get((sorted.len() * percent / 100).min(sorted.len().saturating_sub(1))).copied()
    }

    fn stream(&mut self, bytes: &[u8]) {
        for packet in Decoder::new(bytes).filter_map(|item| item.what.ok()) {
            let kind = packet.kind();
            if kind != Kind::Pad {
                *self.packets.entry(kind.name()).or_default() += 1;
            }
        }
    }

    fn truth(&mut self, text: &str, tsc_hz: u64) -> anyhow::Result<()> {
        let mut cpus: BTreeMap<&str, Cpu<'_>> = BTreeMap::new();
        // Of each VMCS, its last exit that was followed by a switch or a sleep.
        let mut away: BTreeMap<&str, i64> = BTreeMap::new();
        let (mut first, mut last) = (i64::MAX, i64::MIN);
        let ticks_a_us = tsc_hz as f64 / 1e6;
        for line in text.lines().filter(|line| !line.starts_with(['#', 'T'])) {
            let f: Vec<&str> = line.split(',').collect();
            let field = |i: usize| f.get(i).copied().with_context(|| format!("the truth has a line {line}"));
            let tsc: i64 = field(2)?.parse()?;
            (first, last) = (first.min(tsc), last.max(tsc));
            let cpu = cpus.entry(field(1)?).or_default();
            let mut took = |stretch: usize, since: i64| self.lengths[stretch].push((tsc - since) as f64 / ticks_a_us);
            match field(0)? {
                "E" => {
                    let vmcs = field(3)?;
                    match cpu.exit.take() {
                        Some((exit, of)) if of == vmcs && !cpu.switched && !cpu.slept => took(1, exit),
                        Some((exit, of)) if of != vmcs && !cpu.slept => took(3, exit),
                        _ => {}
                    }
                    if let Some(exit) = away.remove(vmcs) {
                        took(2, exit);
                    }
                    if let Some(awake) = cpu.awake.take() {
                        took(5, awake);
                    }
                    cpu.entry = Some(tsc);
                    (cpu.switched, cpu.slept) = (false, false);
                }
                "X" => {
                    if let Some(entry) = cpu.entry.take() {
                        took(0, entry);
                    }
                    *self.exits.entry(field(4)?.parse()?).or_default() += 1;
                    cpu.exit = Some((tsc, field(3)?));
                }
                "H" => (cpu.asleep, cpu.awake, cpu.slept) = (Some(tsc), None, true),
                "W" => {
                    if let Some(asleep) = cpu.asleep.take() {
                        took(4, asleep);
                    }
                    cpu.awake = Some(tsc);
                }
                "C" if field(3)? == "0" => cpu.switched = true,
                "P" => cpu.switched = true,
                _ => {}
            }
            if let (true, Some((exit, vmcs))) = (cpu.switched || cpu.slept, cpu.exit) {
                away.entry(vmcs).or_insert(exit);
            }
        }
        self.seconds = (last - first) as f64 / tsc_hz as f64;
        self.lengths.iter_mut().for_each(|lengths| lengths.sort_by(f64::total_cmp));
        Ok(())
    }
}
