//! Recordings by perf, and traces of which pieces are missing, through the whole timeline.

use std::path::{Path, PathBuf};

use havana_rows::LossCause;
use havana_trace::{Cause, Facts, Join, Map, Missing, Pause, Trace, open_perf};

use crate::check::{Rows, analyze, whole};
use crate::inputs::{Rng, captures, slices};

fn recordings() -> Vec<Vec<u8>> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/recordings");
    let mut files: Vec<PathBuf> = ["compressed", "threads"].map(|n| here.join(format!("{n}.perf.data"))).to_vec();
    match std::env::var_os("HAVANA_TESTDATA").map(PathBuf::from) {
        Some(dir) => {
            let more = ["event-smp", "smp-hog-envelope", "idle-full"];
            files.extend(
                more.map(|n| dir.join(format!("captures/perf/{n}.perf.data"))).into_iter().filter(|f| f.is_file()),
            );
        }
        None => eprintln!("skipped: recordings of two cpus, as HAVANA_TESTDATA is not set"),
    }
    files.iter().map(|f| std::fs::read(f).unwrap()).collect()
}

/// What a recorder could not write is not among the file's bytes.
fn not_in_the_file(rows: &mut Rows) {
    let lost = rows.losses.iter_mut().filter(|l| l.cause == LossCause::Truncated);
    lost.for_each(|l| l.bytes = 0);
}

fn sound(bytes: Vec<u8>) -> Result<bool, String> {
    let Ok(trace) = open_perf(Path::new("F"), Map::from(bytes), Facts::default()) else { return Ok(false) };
    let (mut rows, _) = analyze(&trace);
    not_in_the_file(&mut rows);
    whole(&trace, &rows)?;
    let kinds = rows.threads.iter().all(|t| t.first_tsc <= t.last_tsc);
    if kinds { Ok(true) } else { Err("a thread ends before it begins".into()) }
}

/// Flips and wild numbers in what the kernel said, and in the trace; the file stays a file.
#[test]
fn damaged_recordings() {
    let mut read = 0;
    for (i, whole) in recordings().into_iter().enumerate() {
        assert_eq!(sound(whole.clone()), Ok(true), "recording {i}");
        for seed in 0..60 {
            let mut rng = Rng::new(seed << 8 | i as u64);
            let mut bytes = whole.clone();
            for _ in 0..1 << rng.below(9) {
                let at = 1000 + rng.below(bytes.len() as u64 - 1000) as usize;
                let at = at & !7 | (rng.below(2) * 4) as usize;
                match rng.below(3) {
                    0 => bytes[at] ^= 1 << rng.below(8),
                    1 => bytes[at] = rng.next() as u8,
                    _ if at + 8 <= bytes.len() => {
                        let wild = [0, u64::MAX, 1 << 63, rng.next(), 101, 123][rng.below(6) as usize];
                        bytes[at..at + 8].copy_from_slice(&wild.to_le_bytes());
                    }
                    _ => {}
                }
            }
            read += u32::from(sound(bytes).unwrap_or_else(|why| panic!("recording {i}, seed {seed}: {why}")));
        }
    }
    println!("{read} damaged recordings were read");
    assert!(read > 50);
}

/// Pieces of real captures with trace missing in any place, and times that need not be true.
#[test]
fn trace_missing_anywhere() {
    let mut rng = Rng::new(7);
    let captures = captures();
    for input in slices(&captures, 40) {
        let mut trace: Trace = input.trace();
        let (rows, _) = analyze(&trace);
        let (first, last) =
            rows.cpu_states.iter().fold((i64::MAX, 0), |(lo, hi), r| (lo.min(r.start.tsc), hi.max(r.end.tsc)));
        let time = |rng: &mut Rng| match rng.below(8) {
            0 => None,
            1 => Some(rng.next() as i64 >> 2),
            _ => Some(first + rng.below((last - first).max(1) as u64) as i64),
        };
        let missing = |rng: &mut Rng| Missing {
            cause: [Cause::Dropped, Cause::Off, Cause::Truncated][rng.below(3) as usize],
            stopped: time(rng),
            resumed: time(rng),
            at_packet: rng.once_in(2),
            bytes: rng.below(100),
        };
        trace.streams = trace
            .streams
            .into_iter()
            .map(|mut stream| {
                for _ in 0..1 + rng.below(6) {
                    let at = rng.below(stream.len());
                    let join = if rng.once_in(3) {
                        Join::Paused(Pause { stopped: time(&mut rng), moment: rng.once_in(2) })
                    } else {
                        Join::Missing(missing(&mut rng))
                    };
                    stream = stream.cut_with(&[at], join);
                }
                if rng.once_in(2) {
                    stream.end = Some(Missing { bytes: 0, ..missing(&mut rng) });
                }
                stream.began = time(&mut rng);
                stream
            })
            .collect();
        let (mut rows, _) = analyze(&trace);
        not_in_the_file(&mut rows);
        whole(&trace, &rows).unwrap();
    }
}
