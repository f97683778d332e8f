//! `havana packets`: the packets of a stream, one a line.

use std::io::{self, BufWriter, Read, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, bail};
use havana_packet::{Decoder, Item, Kind};
use havana_trace::{Facts, RawOptions, open_raw};

use crate::cli::{PacketFormat, Packets};
use crate::units;

/// The name of what is no packet.
const BAD: &str = "bad";

pub(crate) fn run(args: &Packets) -> anyhow::Result<ExitCode> {
    let filter = Filter::new(&args.only)?;
    let mut out = BufWriter::with_capacity(1 << 16, io::stdout().lock());
    if args.input == Path::new("-") {
        let mut bytes = Vec::new();
        io::stdin().lock().read_to_end(&mut bytes).context("standard input")?;
        print(args, &filter, &bytes, 0, args.cpu_model, &mut out)?;
    } else {
        let options = RawOptions { facts: Facts { cpu: args.cpu_model, ..Facts::default() }, cpu: Some(0) };
        let trace = open_raw(std::slice::from_ref(&args.input), &options)?;
        let [stream] = &trace.streams[..] else { bail!("{}: give one stream", args.input.display()) };
        let mut index = 0;
        while let Some(segment) = stream.segment(index) {
            print(args, &filter, segment.bytes, segment.offset, trace.facts.cpu, &mut out)?;
            index += 1;
        }
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// Which kinds are wanted.
struct Filter {
    kinds: [bool; Kind::ALL.len()],
    bad: bool,
}

impl Filter {
    fn new(only: &[String]) -> anyhow::Result<Self> {
        let all = only.is_empty();
        let mut filter = Filter { kinds: [all; Kind::ALL.len()], bad: all };
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

    fn wants(&self, item: &Item) -> bool {
        match &item.what {
            Ok(packet) => self.kinds[packet.kind().index()],
            Err(_) => self.bad,
        }
    }
}

fn print(
    args: &Packets,
    filter: &Filter,
    bytes: &[u8],
    base: u64,
    model: Option<havana_trace::CpuModel>,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let decoder = Decoder::new(bytes).with_errata(havana_timeline::errata_of(model));
    if decoder.synced_at().is_none() {
        let len = units::bytes(bytes.len() as u64);
        bail!("{}: at offset {base:#x}: no PSB in {len}: nothing to synchronise at", args.input.display());
    }
    if args.count {
        return count(args.format, filter, decoder, out);
    }
    for item in decoder.filter(|item| filter.wants(item)) {
        let offset = base + item.offset as u64;
        match (args.format, &item.what) {
            (PacketFormat::Tsv, Ok(packet)) => {
                let payload = packet.payload().to_string();
                let tab = if payload.is_empty() { "" } else { "\t" };
                writeln!(out, "{offset:x}\t{}{tab}{payload}", packet.kind().name())?;
            }
            (PacketFormat::Tsv, Err(reason)) => {
                writeln!(out, "{offset:x}\t{BAD}\tlen={:x} {reason}", item.len)?;
            }
            (PacketFormat::Text, Ok(packet)) => {
                let line = format!("{offset:>#10x}  {:<10} {}", packet.kind().name(), packet.payload());
                writeln!(out, "{}", line.trim_end())?;
            }
            (PacketFormat::Text, Err(reason)) => {
                writeln!(out, "{offset:>#10x}  {BAD:<10} {} bytes: {reason}", item.len)?;
            }
            (PacketFormat::Json, Ok(packet)) => {
                let payload = packet.payload().to_string();
                let row = serde_json::json!({"offset": offset, "len": item.len, "kind": packet.kind().name(), "payload": payload});
                writeln!(out, "{row}")?;
            }
            (PacketFormat::Json, Err(reason)) => {
                let row =
                    serde_json::json!({"offset": offset, "len": item.len, "kind": BAD, "payload": reason.to_string()});
                writeln!(out, "{row}")?;
            }
        }
    }
    Ok(())
}

fn count(format: PacketFormat, filter: &Filter, decoder: Decoder<'_>, out: &mut impl Write) -> anyhow::Result<()> {
    let mut counts = [0u64; Kind::ALL.len()];
    let mut bad = 0u64;
    for item in decoder.filter(|item| filter.wants(item)) {
        match item.what {
            Ok(packet) => counts[packet.kind().index()] += 1,
            Err(_) => bad += 1,
        }
    }
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
