//! How fast rows of `cpu_states` become Parquet, and how large they are.
//!
//! `cargo run --release -p havana-rows --features parquet --example write_speed -- [MILLION_ROWS] [DIR]`
//!
//! Eight cpus in turns of 500 rows, each guest ↔ hypervisor with a host process or idle now and then, 2 000 to 60 000
//! ticks a row. Bounds: `edges` are those of the clock packet before and after (what a trace gives: many rows share
//! them), `noise` are independent and up to 20 000 ticks wide (the worst for size).

use std::num::NonZeroU64;
use std::path::PathBuf;
use std::time::Instant;

use havana_rows::parquet::{Limits, NsClock, OrderedTable};
use havana_rows::{CpuState, CpuStateKind, Evidence, Time};

const CPUS: usize = 8;
const TURN_ROWS: usize = 500;
const EDGE_TICKS: i64 = 1 << 14;

/// Numbers without order, the same every time.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, n: i64) -> i64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        ((self.0 >> 33) as i64) % n
    }
}

struct Cpu {
    cpu: i32,
    now: Time,
    vm: i32,
    state: CpuStateKind,
}

impl Cpu {
    fn step(&mut self, numbers: &mut Numbers, noise: bool) -> CpuState {
        let start = self.now;
        let tsc = start.tsc + 2_000 + numbers.below(58_000);
        let (lo, hi) = if noise {
            (tsc - numbers.below(20_000), tsc + numbers.below(20_000))
        } else {
            (tsc / EDGE_TICKS * EDGE_TICKS, (tsc / EDGE_TICKS + 1) * EDGE_TICKS)
        };
        self.now = Time { tsc, lo, hi };
        let state = self.state;
        self.state = match (state, numbers.below(16)) {
            (CpuStateKind::Guest, _) => CpuStateKind::Hypervisor,
            (CpuStateKind::Hypervisor, 0) => CpuStateKind::Idle,
            (CpuStateKind::Hypervisor, 1) => CpuStateKind::Host,
            _ => CpuStateKind::Guest,
        };
        if state == CpuStateKind::Host {
            self.vm = numbers.below(20) as i32;
        }
        let vm = i64::from(self.vm);
        let process = numbers.below(12);
        let in_guest = state == CpuStateKind::Guest;
        let has_vm = in_guest || state == CpuStateKind::Hypervisor;
        CpuState {
            cpu: self.cpu,
            start,
            end: self.now,
            state,
            evidence: if state == CpuStateKind::Idle { Evidence::Inferred } else { Evidence::Observed },
            vm_id: has_vm.then_some(self.vm),
            vcpu_id: has_vm.then_some(self.vm * 4 + self.cpu % 4),
            process_id: (state != CpuStateKind::Idle).then_some(if in_guest {
                (vm * 12 + process) as i32
            } else {
                1000 + self.vm
            }),
            host_cr3: Some(0x1_0000_0000 + (vm << 21)),
            guest_cr3: in_guest.then_some(0x200_0000 + (process << 17)),
            tid: None,
        }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let rows = args.next().map_or(Ok(8), |text| text.parse::<usize>())? * 1_000_000;
    let dir = args.next().map_or_else(|| std::env::temp_dir().join("havana-write-speed"), PathBuf::from);
    let den = NonZeroU64::new(2_593_904).ok_or("no rate")?;
    let clock = NsClock { origin_tsc: 0, origin_ns: 1_700_000_000_000_000_000, num: 1_000_000, den };
    for (name, noise) in [("edges", false), ("noise", true)] {
        let mut numbers = Numbers(1);
        let mut cpus: Vec<Cpu> = (0..CPUS as i32)
            .map(|cpu| Cpu { cpu, now: Time::exact(1 << 44), vm: cpu, state: CpuStateKind::Host })
            .collect();
        // Made beforehand, so that only the writing is measured.
        let turns = rows.min(4_000_000) / (CPUS * TURN_ROWS);
        let mut made: Vec<CpuState> = Vec::new();
        for _ in 0..turns {
            for cpu in &mut cpus {
                made.extend((0..TURN_ROWS).map(|_| cpu.step(&mut numbers, noise)));
            }
        }
        let span = cpus.iter().map(|cpu| cpu.now.tsc).max().unwrap_or_default() - (1 << 44);

        std::fs::create_dir_all(&dir)?;
        let begun = Instant::now();
        let mut table = OrderedTable::new(&dir, Some(clock), Limits::default());
        let mut left = rows;
        let mut later = 0;
        while left > 0 {
            for row in made.iter().take(left) {
                let mut row = *row;
                for time in [&mut row.start, &mut row.end] {
                    *time = Time { tsc: time.tsc + later, lo: time.lo + later, hi: time.hi + later };
                }
                table.push(row)?;
            }
            left -= left.min(made.len());
            later += span;
        }
        let summary = table.finish()?;
        let seconds = begun.elapsed().as_secs_f64();
        println!(
            "{name}: {:.2} M rows/s, {:.2} bytes/row, {} files, {:.0} MB/s of rows",
            rows as f64 / seconds / 1e6,
            summary.bytes as f64 / summary.rows as f64,
            summary.files,
            (rows * size_of::<CpuState>()) as f64 / seconds / 1e6,
        );
    }
    Ok(())
}
