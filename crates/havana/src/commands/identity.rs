//! Which capture this is: checksums of its files, and of the trace bytes of its cpus.
//!
//! The capture's id is of the trace bytes alone, so that one recording has one id, be it a file, a pipe's, compressed
//! or taken apart into raw streams.

use havana_store::Source;
use havana_trace::Trace;
use xxhash_rust::xxh3::Xxh3;

/// Memory of a file is given back after each such step of reading it.
const STEP: usize = 64 << 20;

/// The files of a trace, and the capture's id. Reads each file once, front to back.
pub(crate) fn of(trace: &Trace) -> (Vec<Source>, String) {
    let mut streams: Vec<Xxh3> = trace.streams.iter().map(|_| Xxh3::new()).collect();
    let mut sources = Vec::new();
    for source in &trace.sources {
        let file: &[u8] = &source.map;
        let mut whole = Xxh3::new();
        let mut at = 0;
        match parts(trace, file)[..] {
            // A raw file is all stream: one sum is both.
            [(0, to, stream)] if to == file.len() => {
                feed(&source.map, 0..to, &mut [&mut whole]);
                streams[stream] = whole.clone();
                at = to;
            }
            ref parts => {
                for &(from, to, stream) in parts {
                    feed(&source.map, at..from.max(at), &mut [&mut whole]);
                    feed(&source.map, from.max(at)..to, &mut [&mut whole, &mut streams[stream]]);
                    at = to;
                }
            }
        }
        feed(&source.map, at..file.len(), &mut [&mut whole]);
        sources.push(Source {
            name: source.name.clone(),
            bytes: file.len() as u64,
            xxh3: format!("{:016x}", whole.digest()),
        });
    }
    let mut id = Xxh3::new();
    for (stream, hash) in trace.streams.iter().zip(&streams) {
        id.update(format!("{} {} {:016x}\n", stream.cpu, stream.len(), hash.digest()).as_bytes());
    }
    // The letter keeps engines from taking it for a number.
    (sources, format!("c{:016x}", id.digest()))
}

/// Where the trace bytes of each stream are in this file: from, to, which stream; in the order of the file.
fn parts(trace: &Trace, file: &[u8]) -> Vec<(usize, usize, usize)> {
    let mut parts = Vec::new();
    for (i, stream) in trace.streams.iter().enumerate() {
        if std::ptr::eq(stream.file(), file) {
            let segments = (0..).map_while(|index| stream.segment(index));
            parts.extend(segments.map(|s| (s.offset as usize, s.offset as usize + s.bytes.len(), i)));
        }
    }
    parts.sort_unstable();
    parts
}

fn feed(map: &havana_trace::Map, range: std::ops::Range<usize>, hashes: &mut [&mut Xxh3]) {
    let mut at = range.start;
    for chunk in map.get(range).unwrap_or_default().chunks(STEP) {
        hashes.iter_mut().for_each(|hash| hash.update(chunk));
        map.release(at..at + chunk.len());
        at += chunk.len();
    }
}
