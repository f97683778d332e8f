//! `havana bench`: how fast this machine is with a trace, against its own memory.

use std::hint::black_box;
use std::io::Write;
use std::process::ExitCode;

use havana_packet::psb_offsets;
use havana_race::Race;
use havana_timeline::{Content, Fed, Feed, errata_of};
use havana_trace::{OpenOptions, Stream, Trace, open};

use super::analyze::{self, Plan};
use super::scratch::Scratch;
use crate::cli::Bench;
use havana_insight::words;

/// What is copied, or searched, before its memory is given back.
const STEP: usize = 4 << 20;

pub(crate) fn run(args: &Bench) -> anyhow::Result<ExitCode> {
    let trace = open(&args.inputs, &OpenOptions { facts: analyze::facts(&args.facts), cpu: None })?;
    let bytes: u64 = trace.streams.iter().map(Stream::len).sum();
    let scratch = Scratch::new("bench")?;
    let dataset = scratch.path().join("bench.havana");
    // The rounds after the first find a dataset there.
    let plan = Plan { overwrite: true, ..Plan::whole(&dataset, "bench".into()) };
    let envelope = count(&trace, Feed::envelope);
    let mut failed = None;
    let mut buffer = vec![0u8; STEP];
    let race = Race::new(bytes as usize)
        .with("memcpy", || {
            each_step(&trace, &mut |step| {
                buffer[..step.len()].copy_from_slice(step);
                black_box(&buffer);
            });
            0
        })
        .with("PSB search", || {
            let mut psbs = 0;
            each_step(&trace, &mut |step| psbs += psb_offsets(step).count() as u64);
            psbs
        })
        .with(SCAN, || count(&trace, Feed::envelope))
        .with("full walk", || count(&trace, Feed::new))
        .with("analyze, to a dataset", || {
            failed = failed.take().or(analyze::write(&trace, &plan).err());
            envelope
        })
        .run(args.rounds.into());
    let table = race.table(&["memcpy", "PSB search", SCAN]);
    drop(race);
    if let Some(error) = failed {
        return Err(error);
    }
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let (size, streams) = (words::bytes(bytes), trace.streams.len());
    let mut out = std::io::stdout().lock();
    writeln!(out, "{size} in {streams} streams, {envelope} packets of the envelope")?;
    writeln!(
        out,
        "{cores} cores, vector instructions {:?}, {} rounds in turns\n",
        havana_packet::Level::best(),
        args.rounds
    )?;
    write!(out, "{table}")?;
    Ok(ExitCode::SUCCESS)
}

const SCAN: &str = "envelope scan";

/// Goes through all bytes of a trace, and gives their memory back.
fn each_step(trace: &Trace, f: &mut impl FnMut(&[u8])) {
    for stream in &trace.streams {
        for segment in (0..).map_while(|index| stream.segment(index)) {
            let mut at = segment.offset;
            for step in segment.bytes.chunks(STEP) {
                f(black_box(step));
                stream.release(at..at + step.len() as u64);
                at += step.len() as u64;
            }
        }
    }
}

/// Reads all streams; gives how many packets they have.
fn count<'a>(trace: &'a Trace, feed: impl Fn(&'a Stream, havana_packet::Errata) -> Feed<'a>) -> u64 {
    let mut packets = 0;
    let mut sum = 0u64;
    for stream in &trace.streams {
        let mut feed = feed(stream, errata_of(trace.facts.cpu));
        let mut take = |fed: Fed| {
            packets += u64::from(matches!(fed.what, Content::Packet(_)));
            sum = sum.wrapping_add(fed.offset);
        };
        while feed.pump(1 << 16, &mut take) {}
    }
    black_box(sum);
    packets
}
