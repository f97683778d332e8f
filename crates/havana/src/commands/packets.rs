//! `havana packets`: the packets of a stream, one a line.

use std::io::{self, BufWriter, Write};
use std::process::ExitCode;

use anyhow::bail;
use havana_packet::Kind;
use havana_timeline::{Content, Fed, Feed};
use havana_trace::{Facts, OpenOptions, open};

use crate::cli::{PacketFormat, Packets};
use havana_insight::words;

/// The name of what is no packet.
const BAD: &str = "bad";

pub(crate) fn run(args: &Packets) -> anyhow::Result<ExitCode> {
    let filter = Filter::new(&args.only)?;
    let facts = Facts { cpu: args.cpu_model, ..Facts::default() };
    let mut trace = open(std::slice::from_ref(&args.input), &OpenOptions { facts, cpu: args.cpu.or(Some(0)) })?;
    let cpus: Vec<u32> = trace.streams.iter().map(|s| s.cpu).collect();
    if let Some(cpu) = args.cpu {
        trace.streams.retain(|s| s.cpu == cpu);
        if trace.streams.is_empty() {
            bail!("{}: no stream of cpu {cpu}: it has {cpus:?}", args.input.display());
        }
    }
    let [stream] = &trace.streams[..] else {
        bail!("{}: it has the cpus {cpus:?}: say which with --cpu N", args.input.display());
    };
    let mut out = BufWriter::with_capacity(1 << 16, io::stdout().lock());
    let mut feed = Feed::new(stream, havana_timeline::errata_of(trace.facts.cpu));
    if feed.is_at_end() {
        let (first, len) = (stream.segment(0).map_or(0, |s| s.offset), words::bytes(stream.len()));
        bail!("{}: at offset {first:#x}: no PSB in {len}: nothing to synchronise at", args.input.display());
    }
    if args.count {
        count(args.format, &filter, feed, &mut out)?;
    } else {
        let mut result = Ok(());
        while result.is_ok()
            && feed.pump(4096, &mut |fed| {
                if result.is_ok() && filter.wants(&fed.what) {
                    result = print(args.format, &fed, &mut out);
                }
            })
        {}
        result?;
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// Which kinds are wanted.
struct Filter {
    kinds: [bool; Kind::ALL.len()],
    bad: bool,
    missing: bool,
}

impl Filter {
    fn new(only: &[String]) -> anyhow::Result<Self> {
        let all = only.is_empty();
        let mut filter = Filter { kinds: [all; Kind::ALL.len()], bad: all, missing: all };
        for name in only {
            match Kind::from_name(name) {
                Some(kind) => filter.kinds[kind.index()] = true,
                None if name == BAD => filter.bad = true,
                None => {
                    let known: Vec<&str> = Kind::ALL.iter().map(|k| k.name()).chain([BAD]).collect();
                    eprintln!("error: '{name}' is no kind of packet; they are {}", known.join(" "));
                    std::process::exit(2);
                }
            }
        }
        Ok(filter)
    }

    fn wants(&self, what: &Content) -> bool {
        match what {
            Content::Packet(packet) => self.kinds[packet.kind().index()],
            Content::Bad(_) => self.bad,
            Content::Missing(_) => self.missing,
            Content::Paused(_) => false,
        }
    }
}

fn print(format: PacketFormat, fed: &Fed, out: &mut impl Write) -> io::Result<()> {
    let Fed { offset, len, what, .. } = fed;
    match (format, what) {
        (PacketFormat::Tsv, Content::Packet(packet)) => {
            let payload = packet.payload().to_string();
            let tab = if payload.is_empty() { "" } else { "\t" };
            writeln!(out, "{offset:x}\t{}{tab}{payload}", packet.kind().name())
        }
        (PacketFormat::Tsv, Content::Bad(reason)) => writeln!(out, "{offset:x}\t{BAD}\tlen={len:x} {reason}"),
        (PacketFormat::Text, Content::Packet(packet)) => {
            let line = format!("{offset:>#10x}  {:<10} {}", packet.kind().name(), packet.payload());
            writeln!(out, "{}", line.trim_end())
        }
        (PacketFormat::Text, Content::Bad(reason)) => writeln!(out, "{offset:>#10x}  {BAD:<10} {len} bytes: {reason}"),
        // No packet, and no line for those who read packets.
        (PacketFormat::Text, Content::Missing(_)) => writeln!(out, "{offset:>#10x}  -- trace is missing here"),
        (PacketFormat::Json, Content::Packet(packet)) => {
            let (kind, payload) = (packet.kind().name(), packet.payload().to_string());
            let row = serde_json::json!({"offset": offset, "len": len, "kind": kind, "payload": payload});
            writeln!(out, "{row}")
        }
        (PacketFormat::Json, Content::Bad(reason)) => {
            let row = serde_json::json!({"offset": offset, "len": len, "kind": BAD, "payload": reason.to_string()});
            writeln!(out, "{row}")
        }
        (_, Content::Missing(_) | Content::Paused(_)) => Ok(()),
    }
}

fn count(format: PacketFormat, filter: &Filter, mut feed: Feed<'_>, out: &mut impl Write) -> anyhow::Result<()> {
    let mut counts = [0u64; Kind::ALL.len()];
    let mut bad = 0u64;
    let mut add = |fed: Fed| match fed.what {
        what if !filter.wants(&what) => {}
        Content::Packet(packet) => counts[packet.kind().index()] += 1,
        Content::Bad(_) => bad += 1,
        Content::Missing(_) | Content::Paused(_) => {}
    };
    while feed.pump(4096, &mut add) {}
    let all = Kind::ALL.iter().map(|k| (k.name(), counts[k.index()])).chain([(BAD, bad)]);
    let some: Vec<(&str, u64)> = all.filter(|(_, n)| *n > 0).collect();
    if format == PacketFormat::Json {
        let map: serde_json::Map<String, serde_json::Value> =
            some.iter().map(|(name, n)| ((*name).to_string(), (*n).into())).collect();
        writeln!(out, "{}", serde_json::Value::Object(map))?;
        return Ok(());
    }
    for (name, n) in some {
        match format {
            PacketFormat::Text => writeln!(out, "{n:>12}  {name}")?,
            _ => writeln!(out, "{name}\t{n}")?,
        }
    }
    Ok(())
}
