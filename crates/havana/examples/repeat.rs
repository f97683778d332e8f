//! Repeats a raw capture with time moved on, to get inputs of any size for measurements.
//!
//! `cargo run --release --example repeat -- CAPTURE_DIR OUT_DIR BYTES`
//!
//! Only TSC packets are rewritten: each round begins a multiple of 2^24 crystal ticks after the one before, so that all
//! bits of TMA and MTC stay true. Every cpu's stream is repeated as often. Between two rounds the packets contradict each
//! other (the end of a capture does not lead to its start): that is one loss a round and cpu.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::{Context, bail};
use havana_packet::{Decoder, Packet};
use havana_trace::{RawOptions, open_raw};

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [from, to, bytes] = &args[..] else { bail!("usage: repeat CAPTURE_DIR OUT_DIR BYTES") };
    let bytes: f64 = bytes.parse().context("BYTES")?;
    let trace = open_raw(&[from.into()], &RawOptions::default())?;
    let (n, d) = trace.facts.tsc_ctc_ratio.unwrap_or((84, 1));
    let step = (u64::from(n) << 24).div_ceil(u64::from(d));

    // Where the TSC packets of each stream are, and how much time all of it covers.
    let mut streams = Vec::new();
    let (mut first, mut last) = (u64::MAX, 0);
    for stream in &trace.streams {
        let segment = stream.segment(0).context("an empty stream")?;
        let start = havana_packet::find_psb(segment.bytes, 0).context("no PSB")?;
        let mut at = Vec::new();
        let (mut nr, mut psb, mut inside) = (false, false, Vec::new());
        for item in Decoder::new(segment.bytes) {
            match item.what {
                Ok(Packet::Psb) => psb = true,
                Ok(Packet::PsbEnd) => {
                    psb = false;
                    for tsc in inside.drain(..).filter(|_| !nr) {
                        (first, last) = (first.min(tsc), last.max(tsc));
                    }
                }
                Ok(Packet::Pip { nr: guest, .. }) => nr = guest,
                Ok(Packet::Tsc { tsc }) => {
                    at.push((item.offset, tsc));
                    if psb {
                        inside.push(tsc);
                    }
                }
                _ => {}
            }
        }
        streams.push((stream.cpu, &segment.bytes[start..], at, start));
    }
    // The last events lie after the last TSC: a second is room for them.
    let round = (last - first + trace.facts.tsc_hz.unwrap_or(1 << 32)).div_ceil(step) * step;
    let size: usize = streams.iter().map(|s| s.1.len()).sum();
    let rounds = (bytes / size as f64).ceil().max(1.0) as u64;

    let to = Path::new(to);
    std::fs::create_dir_all(to)?;
    let facts = Path::new(from).join("trace.toml");
    if facts.exists() {
        std::fs::copy(facts, to.join("trace.toml"))?;
    }
    for (cpu, bytes, at, start) in streams {
        let mut out = BufWriter::with_capacity(1 << 20, File::create(to.join(format!("cpu{cpu}.pt")))?);
        let mut bytes = bytes.to_vec();
        for r in 0..rounds {
            for &(offset, tsc) in &at {
                let moved = (tsc + r * round) & ((1 << 56) - 1);
                bytes[offset - start + 1..offset - start + 8].copy_from_slice(&moved.to_le_bytes()[..7]);
            }
            out.write_all(&bytes)?;
        }
        out.flush()?;
    }
    println!("{} rounds, {} bytes", rounds, rounds as usize * size);
    Ok(())
}
