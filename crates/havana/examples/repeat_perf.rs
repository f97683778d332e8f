//! Repeats a perf.data with time moved on, to get one of any size for measurements.
//!
//! `cargo run --release --example repeat_perf -- PERF_DATA OUT BYTES`
//!
//! What stands before the first FINISHED_ROUND is written once, where it has no time, and then each round: the kernel's
//! records with their times moved on, trace with its TSC packets. Each round begins a multiple of 2^24 crystal ticks
//! after the one before, so that all bits of TMA and MTC stay true. Between two rounds the packets contradict each
//! other: that is a loss a round and cpu.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Seek, SeekFrom, Write};

use anyhow::{Context, bail};
use havana_packet::{Errata, Packet};
use havana_timeline::{Content, Feed};
use havana_trace::{OpenOptions, open};

const SWITCHES: [u32; 2] = [14, 15];
const AUX: u32 = 11;
const FINISHED_ROUND: u32 = 68;
const AUXTRACE: u32 = 71;
const USER: u32 = 64;

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap_or_default())
}

fn add(bytes: &mut [u8], at: usize, more: u64) {
    let sum = u64_at(bytes, at).wrapping_add(more);
    bytes[at..at + 8].copy_from_slice(&sum.to_le_bytes());
}

/// What to move in each round's copy: where, and by what.
enum Move {
    Time,
    Tsc,
    /// Place in the ring of this cpu.
    Ring(u32),
}

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [from, to, bytes] = &args[..] else { bail!("usage: repeat_perf PERF_DATA OUT BYTES") };
    let bytes: f64 = bytes.parse().context("BYTES")?;
    let file = std::fs::read(from)?;
    let trace = open(&[from.into()], &OpenOptions::default())?;
    let (n, d) = trace.facts.tsc_ctc_ratio.context("no crystal")?;
    let hz = trace.facts.tsc_hz.context("no TSC rate")?;
    let unit = (u64::from(n) << 24).div_ceil(u64::from(d));

    let (begin, size) = (u64_at(&file, 40) as usize, u64_at(&file, 48) as usize);
    let (mut once, mut round, mut moves) = (Vec::new(), Vec::new(), Vec::new());
    // Where TSC packets are in the file, and what time they cover.
    let mut tscs = Vec::new();
    let (mut first, mut last) = (u64::MAX, 0);
    for stream in &trace.streams {
        let mut feed = Feed::new(stream, Errata::default());
        let mut nr = false;
        while feed.pump(4096, &mut |fed| match fed.what {
            Content::Packet(Packet::Pip { nr: now, .. }) => nr = now,
            Content::Packet(Packet::Tsc { tsc }) => {
                tscs.push(fed.offset as usize + 1);
                if !nr {
                    (first, last) = (first.min(tsc), last.max(tsc));
                }
            }
            _ => {}
        }) {}
    }
    let step = unit * (last - first).div_ceil(unit).max(1);
    let mut at = begin;
    let mut ends: BTreeMap<u32, u64> = BTreeMap::new();
    while at < begin + size {
        let kind = u32::from_le_bytes(file[at..at + 4].try_into()?);
        let len = usize::from(u16::from_le_bytes(file[at + 6..at + 8].try_into()?));
        let payload = if kind == AUXTRACE { u64_at(&file, at + 8) as usize } else { 0 };
        let record = &file[at..at + len + payload];
        // The trailer of the kernel's: …, time, cpu, identifier.
        let timed = kind < USER && u64_at(record, len - 24) > 0;
        let cpu = |record: &[u8], at: usize| u64_at(record, at) as u32;
        if timed || [AUXTRACE, FINISHED_ROUND].contains(&kind) {
            let here = round.len();
            if timed {
                moves.push((here + len - 24, Move::Time));
            }
            if kind == AUX {
                let cpu = cpu(record, len - 16);
                let end = ends.entry(cpu).or_default();
                *end = (*end).max(u64_at(record, 8) + u64_at(record, 16));
                moves.push((here + 8, Move::Ring(cpu)));
            }
            if kind == AUXTRACE {
                moves.push((here + 16, Move::Ring(cpu(record, 40))));
                let inside = tscs.iter().filter(|t| (at + len..at + len + payload).contains(*t));
                moves.extend(inside.map(|t| (here + t - at, Move::Tsc)));
            }
            round.extend_from_slice(record);
        } else if !SWITCHES.contains(&kind) {
            once.extend_from_slice(record);
        }
        at += len + payload;
    }
    let rounds = ((bytes - file.len() as f64) / round.len() as f64).ceil().max(0.0) as u64 + 1;

    let mut out = BufWriter::with_capacity(1 << 20, File::create(to)?);
    out.write_all(&file[..begin])?;
    out.write_all(&once)?;
    for i in 0..rounds {
        let mut copy = round.clone();
        let ticks = i * step;
        let ns = (u128::from(ticks) * 1_000_000_000 / u128::from(hz)) as u64;
        for (at, what) in &moves {
            match what {
                Move::Time => add(&mut copy, *at, ns),
                Move::Ring(cpu) => add(&mut copy, *at, i * ends.get(cpu).copied().unwrap_or(0)),
                Move::Tsc => {
                    let high = copy[at + 7];
                    add(&mut copy, *at, ticks);
                    copy[at + 7] = high;
                }
            }
        }
        out.write_all(&copy)?;
    }
    // The features move.
    let data = (once.len() as u64) + rounds * round.len() as u64;
    let mut features = file[begin + size..].to_vec();
    let count: u32 = (0..4).map(|i| u64_at(&file, 72 + 8 * i).count_ones()).sum();
    for i in 0..count as usize {
        add(&mut features, 16 * i, data.wrapping_sub(size as u64));
    }
    out.write_all(&features)?;
    let mut out = out.into_inner()?;
    out.seek(SeekFrom::Start(48))?;
    out.write_all(&data.to_le_bytes())?;
    println!("{rounds} rounds, {} bytes", begin as u64 + data + features.len() as u64);
    Ok(())
}
