//! What the reader costs: rings are filled at a given rate, and read into files.
//!
//!     cargo bench -p havana-capture [-- DIRECTORY [SECONDS]]
//!
//! Prints for each rate the reader's CPU seconds a GB and its share of one core, beside what a memcpy of as many bytes
//! costs in the same run. 20 MB/s is what a node with 100,000 exits a second writes, at 200 bytes an exit.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use havana_capture::fake::{Bell, FakeKernel};
use havana_capture::output::{Files, OutputOptions, Target};
use havana_capture::ring::{Rings, Size};
use havana_capture::session::{Cpu, Events, Filled, Session};
use havana_trace::perf_data::{About, Attribute, Event, Flags, PtBits, Start, TimeConv};
use rustix::time::{ClockId, clock_gettime};

const RATES_MB: [u64; 5] = [1, 10, 20, 100, 1000];
const CPUS: u32 = 4;
const RING: Size = Size { data: 512 << 10, aux: 4 << 20 };

fn cpu_seconds() -> f64 {
    let used = clock_gettime(ClockId::ThreadCPUTime);
    used.tv_sec as f64 + used.tv_nsec as f64 / 1e9
}

fn attribute() -> Attribute {
    Attribute {
        pmu: 9,
        config: 1,
        sample_type: Attribute::BEHIND_RECORDS,
        flags: Flags::SAMPLE_ID_ALL,
        read_format: Attribute::READ,
        wakeup_watermark: 0,
        aux_watermark: (RING.aux / 4) as u32,
    }
}

fn start() -> Start {
    Start {
        events: vec![Event { name: "intel_pt//".into(), attribute: attribute(), ids: vec![1; CPUS as usize] }],
        cpus: (0..CPUS).collect(),
        clock: TimeConv::of_khz(2_000_000, 0),
        bits: PtBits::default(),
        tsc_ctc_ratio: (0, 0),
        max_nonturbo_ratio: 20,
        snapshot: false,
        event_trace: false,
    }
}

/// Fills the rings of all cpus in turns, so many bytes a second in all; rings the bell of one that is a quarter full.
fn feed(mut kernels: Vec<(FakeKernel, OwnedFd)>, rate: u64, stop: &AtomicBool) -> u64 {
    // A switch to a thread and one away, for each 4 KB of trace.
    let record = [&15u32.to_le_bytes()[..], &[0, 0], &48u16.to_le_bytes(), &[1; 40]].concat();
    let piece = vec![0x99; 16 << 10];
    let (begin, mut fed, mut due) = (Instant::now(), 0u64, vec![0usize; kernels.len()]);
    let mut at = 0;
    while !stop.load(Ordering::Relaxed) {
        if fed > (begin.elapsed().as_secs_f64() * rate as f64) as u64 {
            std::thread::sleep(Duration::from_millis(1));
            continue;
        }
        at = (at + 1) % kernels.len();
        let (kernel, bell) = &mut kernels[at];
        let wrote = kernel.trace(&piece);
        for _ in 0..8 {
            kernel.record(&record);
        }
        fed += wrote as u64;
        due[at] += wrote;
        if due[at] >= RING.aux / 4 || wrote < piece.len() {
            due[at] = 0;
            let _ = rustix::io::write(&*bell, &1u64.to_ne_bytes());
        }
        if wrote == 0 {
            std::thread::yield_now();
        }
    }
    fed
}

fn run(dir: &std::path::Path, rate_mb: u64, seconds: f64) -> Result<(f64, f64, f64), Box<dyn std::error::Error>> {
    let mut files = Files::new(OutputOptions {
        rotate_bytes: Some(256 << 20),
        max_bytes: Some(256 << 20),
        ..OutputOptions::to(Target::File(dir.join("bench.data")))
    });
    let (mut cpus, mut kernels) = (Vec::new(), Vec::new());
    for cpu in 0..CPUS {
        let bell = Bell::new()?;
        let (rings, kernel) = Rings::in_memory(RING)?;
        kernels.push((kernel, bell.rope()?));
        let (quiet, _) = Rings::in_memory(Size { data: 4096, aux: 0 })?;
        let side = Filled { control: Box::new(Bell::new()?), rings: quiet };
        cpus.push(Cpu::new(cpu, Some(Filled { control: Box::new(bell), rings }), side));
    }
    let bells: Vec<OwnedFd> = kernels.iter().map(|(_, bell)| bell.try_clone()).collect::<io::Result<_>>()?;
    let events = Events { trace: Some(attribute()), ..Events::records_only(4096, false) };
    let mut session = Session::of(events, cpus)?;
    let about = About::default();
    files.begin(&start(), &about, &[], &[])?;
    let stop = Arc::new(AtomicBool::new(false));
    let feeder = {
        let stop = stop.clone();
        std::thread::spawn(move || feed(kernels, rate_mb * 1_000_000, &stop))
    };
    let (begin, used) = (Instant::now(), cpu_seconds());
    while begin.elapsed().as_secs_f64() < seconds {
        session.wait(Duration::from_millis(200))?;
        for bell in &bells {
            let _ = rustix::io::read(bell, &mut [0; 8]);
        }
        if session.take(&mut files)? {
            files.round()?;
        }
        if files.is_due() {
            files.finish(&about, &[])?;
            files.begin(&start(), &about, &[], &[])?;
        }
    }
    let (took, used) = (begin.elapsed().as_secs_f64(), cpu_seconds() - used);
    stop.store(true, Ordering::Relaxed);
    feeder.join().map_err(|_| "the feeder panicked")?;
    files.finish(&about, &[])?;
    let read: u64 = session.cpus.iter().map(|c| c.cost.trace_bytes + c.cost.record_bytes).sum();
    Ok((read as f64 / took / 1e6, used / (read as f64 / 1e9), used / took))
}

fn memcpy_seconds_a_gb() -> f64 {
    let from = vec![1u8; 64 << 20];
    let mut to = vec![0u8; 64 << 20];
    to.copy_from_slice(&from);
    let used = cpu_seconds();
    for _ in 0..8 {
        to.copy_from_slice(std::hint::black_box(&from));
        std::hint::black_box(&mut to);
    }
    (cpu_seconds() - used) / (8.0 * from.len() as f64 / 1e9)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let scratch = tempfile::tempdir()?;
    let dir = args.first().map_or(scratch.path(), |dir| std::path::Path::new(dir));
    let seconds = args.get(1).and_then(|s| s.parse().ok()).unwrap_or(4.0);
    println!("asked MB/s   read MB/s   CPU s a GB   share of one core   memcpy of the same run, CPU s a GB");
    for rate in RATES_MB {
        let (read, a_gb, share) = run(dir, rate, seconds)?;
        println!("{rate:>10}  {read:>10.1}  {a_gb:>11.3}  {:>17.2} %  {:>11.3}", 100.0 * share, memcpy_seconds_a_gb());
    }
    Ok(())
}
