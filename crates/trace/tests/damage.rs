//! A million damaged perf.data: opening never panics, always ends, allocates no more than the file is worth, and what it
//! hands out lies inside the file.
#![allow(clippy::unwrap_used)]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

use havana_trace::{Facts, Map, Note, Said, Trace, TraceError, open_perf};
use zstd::stream::raw::{Encoder, InBuffer, Operation, OutBuffer};

/// `HAVANA_CASES` sets another number.
const CASES: u64 = 1_000_000;

/// xorshift64*.
struct Rng(u64);

impl Rng {
    fn new(seed: u64) -> Rng {
        let mut rng = Rng(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        rng.next();
        rng
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() >> 33) as usize % n.max(1)
    }
}

// ── small files of every kind ──

fn words(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|w| w.to_le_bytes()).collect()
}

fn pair(low: u32, high: u32) -> u64 {
    u64::from(low) | u64::from(high) << 32
}

fn record(kind: u32, misc: u16, body: &[u8]) -> Vec<u8> {
    let size = 8 + body.len() as u16;
    [&kind.to_le_bytes()[..], &misc.to_le_bytes(), &size.to_le_bytes(), body].concat()
}

const SAMPLE_TYPE: u64 = 0x10087;

/// Trailer of a record: thread, time, cpu, identifier.
fn sample(tid: u32, time: u64, cpu: u32) -> Vec<u8> {
    words(&[pair(100, tid), time, u64::from(cpu), 7])
}

fn attribute(pmu: u32, config: u64, flags: u64) -> Vec<u8> {
    let mut bytes = words(&[pair(pmu, 128), config, 1, SAMPLE_TYPE, 0, flags]);
    bytes.resize(128, 0);
    bytes
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Plain,
    Pipe,
    Compressed,
    Snapshot,
    Threads,
}

/// A recording of two cpus with some of everything.
fn file(kind: Kind) -> Vec<u8> {
    let mut kernel = Vec::new();
    let at = |i: u64| 1_000_000 + 10_000 * i;
    for i in 0..12u64 {
        let cpu = (i / 2 % 2) as u32;
        let misc = if i % 2 == 0 { 1 << 13 | 1 << 14 } else { 0 };
        let body = [words(&[pair(100, 101)]), sample(101 + i as u32 % 3, at(i), cpu)].concat();
        kernel.extend(record(15, misc, &body));
    }
    kernel.extend(record(
        3,
        0,
        &[&words(&[pair(100, 101)])[..], b"CPU 0/KVM\0\0\0\0\0\0\0", &sample(101, at(3), 0)].concat(),
    ));
    kernel.extend(record(7, 0, &[words(&[pair(9, 2), pair(9, 2), at(3)]), sample(9, at(3), 0)].concat()));
    kernel.extend(record(4, 0, &[words(&[pair(9, 2), pair(9, 2), at(9)]), sample(9, at(9), 0)].concat()));
    kernel.extend(record(2, 0, &[words(&[7, 3]), sample(9, at(9), 1)].concat()));
    kernel.extend(record(12, 0, &[words(&[pair(100, 101)]), sample(101, at(0), 0)].concat()));
    let flags = if kind == Kind::Snapshot { 2 } else { 0 };
    for (i, (from, size, flag)) in
        [(0u64, 100u64, flags), (100, 60, flags | 1), (160, 96, flags)].into_iter().enumerate()
    {
        for cpu in 0..2 {
            kernel.extend(record(
                11,
                0,
                &[words(&[from, size, flag]), sample(101, at(3 * i as u64 + 2), cpu)].concat(),
            ));
        }
    }
    if kind == Kind::Compressed {
        let mut zstd = Encoder::new(1).unwrap();
        let mut out = Vec::new();
        for piece in kernel.chunks(333) {
            let mut room = vec![0; 4000];
            let (mut input, mut output) = (InBuffer::around(piece), OutBuffer::around(&mut room[..]));
            zstd.run(&mut input, &mut output).unwrap();
            zstd.flush(&mut output).unwrap();
            let len = output.pos();
            let v2 = [&words(&[len as u64])[..], &room[..len]].concat();
            out.extend(if out.is_empty() { record(83, 0, &v2) } else { record(81, 0, &room[..len]) });
        }
        kernel = out;
    }
    let snapshot = u64::from(kind == Kind::Snapshot);
    let info = words(&[1, 9, 31, 1_022_611_261, 5, 1, 0x400, 0x800, 3, snapshot, 1, 0x200, 0x3c000, 168, 2, 2, 21]);
    let mut data = record(70, 0, &info);
    data.extend(record(79, 0, &words(&[31, 1_022_611_261, 5, 0, 0, 1])));
    data.extend(record(69, 0, &words(&[2, 7, 0, 0, u64::MAX, 8, 1, 1, u64::MAX])));
    data.extend(kernel);
    data.extend(record(68, 0, &[]));
    let tid = if kind == Kind::Threads { 101 } else { u32::MAX };
    let trace: Vec<u8> = (0..256u32).map(|i| if i % 16 < 8 { 2 } else { (i * 7) as u8 }).collect();
    for (from, size) in [(0, 128), (128, 128)] {
        for cpu in 0..2u32 {
            data.extend(record(71, 0, &words(&[size as u64, from as u64, at(9), pair(cpu, tid), pair(cpu, 0)])));
            data.extend(&trace[from..from + size]);
        }
    }
    data.extend(record(68, 0, &[]));
    let (pt, dummy) = (attribute(9, 0x0030_0e601, 1 << 18), attribute(1, 9, 1 << 18 | 1 << 26));
    let text = |text: &str| {
        let mut bytes = 64u32.to_le_bytes().to_vec();
        bytes.extend(text.as_bytes());
        bytes.resize(68, 0);
        bytes
    };
    let features = [(3u64, text("kvm7")), (4, text("6.1.0")), (6, text("x86_64")), (9, text("GenuineIntel,6,85,4"))];
    if kind == Kind::Pipe {
        let mut out = [&b"PERFILE2"[..], &words(&[16])].concat();
        for attribute in [&pt, &dummy] {
            out.extend(record(64, 0, &[&attribute[..], &words(&[7])].concat()));
        }
        for (bit, bytes) in &features {
            out.extend(record(80, 0, &[&words(&[*bit])[..], bytes].concat()));
        }
        out.extend(data);
        return out;
    }
    let (ids, attrs, from) = (104u64, 120u64, 120 + 2 * 144);
    let bits = features.iter().fold(0, |all, (bit, _)| all | 1 << bit);
    let mut out = [
        &b"PERFILE2"[..],
        &words(&[104, 144, attrs, 288, from, data.len() as u64, 0, 0, bits, 0, 0, 0]),
        &words(&[7, 8]),
        &pt,
        &words(&[ids, 8]),
        &dummy,
        &words(&[ids + 8, 8]),
        &data,
    ]
    .concat();
    let mut at = out.len() as u64 + 16 * features.len() as u64;
    for (_, bytes) in &features {
        out.extend(words(&[at, bytes.len() as u64]));
        at += bytes.len() as u64;
    }
    features.iter().for_each(|(_, bytes)| out.extend(bytes));
    out
}

fn files() -> Vec<Vec<u8>> {
    [Kind::Plain, Kind::Pipe, Kind::Compressed, Kind::Snapshot, Kind::Threads].map(file).to_vec()
}

// ── damage ──

const WILD: [u64; 12] =
    [0, 1, 7, 8, 0xff, 0xffff, 0x7fff_ffff, 0xffff_ffff, 1 << 32, 1 << 40, i64::MAX as u64, u64::MAX];

fn damage(rng: &mut Rng, bytes: &mut Vec<u8>) {
    let len = bytes.len();
    if len == 0 {
        return;
    }
    let at = rng.below(len);
    match rng.below(9) {
        0 => bytes[at] ^= 1 << rng.below(8),
        1 => bytes[at] = rng.next() as u8,
        2 => bytes.truncate(at),
        3 | 4 => {
            // A field, most likely: an aligned one, of any width.
            let (at, width) = (at & !7 | (rng.below(4) * 2), [2, 4, 8][rng.below(3)]);
            let value = WILD[rng.below(WILD.len())].wrapping_add(rng.below(3) as u64).to_le_bytes();
            let end = (at + width).min(len);
            if at < end {
                bytes[at..end].copy_from_slice(&value[..end - at]);
            }
        }
        5 => {
            let end = (at + rng.below(64)).min(len);
            bytes.drain(at..end);
        }
        6 => {
            let end = (at + rng.below(200)).min(len);
            let piece = bytes[at..end].to_vec();
            let to = rng.below(len);
            bytes.splice(to..to, piece);
        }
        7 => {
            let end = (at + rng.below(40)).min(len);
            bytes[at..end].iter_mut().for_each(|b| *b = rng.next() as u8);
        }
        // The type of a record.
        _ => {
            let at = at & !7;
            bytes[at] = [2, 3, 4, 7, 9, 10, 11, 12, 14, 15, 64, 66, 68, 69, 70, 71, 79, 80, 81, 83][rng.below(20)];
        }
    }
}

/// What must hold of any file.
fn sound(bytes: &[u8], opened: &Result<Trace, TraceError>) -> Result<(), String> {
    let trace = match opened {
        Ok(trace) => trace,
        Err(error) => {
            let text = error.to_string();
            return if text.starts_with("F: ") && !text.contains('\n') { Ok(()) } else { Err(text) };
        }
    };
    let mut all = 0;
    for stream in &trace.streams {
        let mut index = 0;
        while let Some(segment) = stream.segment(index) {
            let (from, len) = (segment.offset as usize, segment.bytes.len());
            if len == 0 || bytes.get(from..from + len) != Some(segment.bytes) {
                return Err(format!("segment {index} of cpu {}: {from} + {len}", stream.cpu));
            }
            index += 1;
        }
        all += stream.len();
        if index == 0 || stream.is_empty() {
            return Err(format!("cpu {} has no segment", stream.cpu));
        }
    }
    if all > bytes.len() as u64 {
        return Err(format!("{all} bytes of trace in {} of file", bytes.len()));
    }
    let mut count = 0;
    let records = trace.sideband.as_ref().unwrap().records();
    for record in records {
        count += 1;
        if let Said::Name(_, name) | Said::Program { file: name, .. } = &record.what
            && name.len() > 3 * 256
        {
            return Err(format!("a name of {} bytes", name.len()));
        }
    }
    // The shortest record has 8 bytes; what is compressed may be a thousandfold, and no more than a record can hold.
    if count > bytes.len() * 200 {
        return Err(format!("{count} records in {} bytes", bytes.len()));
    }
    Ok(())
}

fn resident_at_most() -> usize {
    let text = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find(|l| l.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() >> 10
}

fn open(bytes: &[u8]) -> Result<Trace, TraceError> {
    open_perf(Path::new("F"), Map::from(bytes.to_vec()), Facts::default())
}

#[test]
fn undamaged_files_are_read() {
    for (i, bytes) in files().iter().enumerate() {
        let trace = open(bytes).unwrap();
        sound(bytes, &Ok(open(bytes).unwrap())).unwrap();
        assert_eq!(trace.streams.len(), 2, "file {i}");
        assert_eq!(trace.node.as_deref(), Some("kvm7"));
        assert_eq!(trace.facts.tsc_hz, Some(2_100_000_000));
        assert_eq!((trace.facts.mtc_period, trace.facts.tsc_ctc_ratio), (Some(3), Some((168, 2))));
        let said: Vec<_> = trace.sideband.as_ref().unwrap().records().collect();
        assert_eq!(said.len(), 16, "file {i}: {said:?}");
        assert!(said.is_sorted_by_key(|record| record.tsc));
    }
}

#[test]
fn a_million_cases() {
    let cases = std::env::var("HAVANA_CASES").map_or(CASES, |n| n.parse().unwrap());
    let bases = files();
    let begin = Instant::now();
    let mut slowest = Duration::ZERO;
    let mut opened = 0u64;
    if std::env::var_os("HAVANA_LOUD").is_none() {
        std::panic::set_hook(Box::new(|_| {}));
    }
    for seed in 0..cases {
        let mut rng = Rng::new(seed);
        let mut bytes = bases[rng.below(bases.len())].clone();
        for _ in 0..=rng.below(5) {
            damage(&mut rng, &mut bytes);
        }
        if bytes.is_empty() {
            continue;
        }
        let start = Instant::now();
        let checked = catch_unwind(AssertUnwindSafe(|| {
            let trace = open(&bytes);
            (trace.is_ok(), sound(&bytes, &trace))
        }));
        slowest = slowest.max(start.elapsed());
        match checked {
            Ok((ok, Ok(()))) => opened += u64::from(ok),
            Ok((_, Err(why))) => panic!("case {seed}: {why}"),
            Err(_) => panic!("case {seed}: a panic"),
        }
    }
    let _ = std::panic::take_hook();
    println!("{cases} cases in {:?}, {opened} of them read; the slowest took {slowest:?}", begin.elapsed());
    assert!(opened * 10 > cases);
    assert!(slowest < Duration::from_secs(20), "{slowest:?}");
    let resident = resident_at_most();
    println!("{resident} MB resident at most");
    assert!(resident < 300, "{resident} MB");
}

/// At every byte: what is before the cut is read as it was, and what is behind it is said to be lost.
#[test]
fn cut_at_every_byte() {
    for bytes in files() {
        let whole = open(&bytes).unwrap();
        let of = |trace: &Trace| -> Vec<(u32, Vec<u8>)> {
            let all =
                |s: &havana_trace::Stream| (0..).map_while(|i| s.segment(i)).flat_map(|s| s.bytes.to_vec()).collect();
            trace.streams.iter().map(|s| (s.cpu, all(s))).collect()
        };
        let expected = of(&whole);
        // Where the records end; behind that are only features.
        let records = match bytes[8] {
            16 => bytes.len(),
            _ => {
                usize::from_le_bytes(bytes[40..48].try_into().unwrap())
                    + usize::from_le_bytes(bytes[48..56].try_into().unwrap())
            }
        };
        let (mut read, mut clean) = (0, 0);
        for cut in 1..records {
            match open(&bytes[..cut]) {
                Err(error) => {
                    let text = error.to_string();
                    // A pipe may end after any record.
                    let ended = bytes[8] == 16 && text.contains("no intel_pt event");
                    assert!(text.contains("offset") || ended, "cut at {cut}: {error}");
                }
                Ok(trace) => {
                    read += 1;
                    for (cpu, bytes) in of(&trace) {
                        let (_, all) = expected.iter().find(|s| s.0 == cpu).unwrap();
                        assert!(all.starts_with(&bytes), "cut at {cut}: other bytes of cpu {cpu}");
                    }
                    let said = trace
                        .recording
                        .notes
                        .iter()
                        .any(|n| matches!(n, Note::Cut { offset } if *offset == cut as u64));
                    // A pipe says nothing of its end: after a whole record it may be there.
                    clean += u32::from(!said);
                    assert!(said || bytes[8] == 16, "cut at {cut}: {:?}", trace.recording.notes);
                    assert!(!said || trace.streams.iter().all(|s| s.end.is_some()), "cut at {cut}: no loss");
                }
            }
        }
        assert!(read > 500 && clean < 10, "{read} read, {clean} of them with no word");
    }
}
