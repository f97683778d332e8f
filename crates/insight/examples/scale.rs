//! How long findings of very many intervals take, and how much memory: writes a dataset of a busy node row by row, as an
//! analysis does, and finds in it.
//!
//! ```text
//! cargo build --release --workspace --examples
//! scale write 100000000 DIR     rows of cpu_states and vcpu_states together; and a quarter as many exits
//! /usr/bin/time -v scale find DIR
//! ```
//!
//! The node: a cpu for each four vCPUs, each vCPU a VM with six guest processes. A vCPU runs, leaves its guest each some
//! 30 µs, and after some exits has its cpu taken by the next, or halts, and its cpu idles. One process of the first VM never
//! halts from the middle on.

use std::error::Error;
use std::path::Path;
use std::time::Instant;

use havana_rows::{
    CpuState, CpuStateKind as C, Evidence, Exit, Process, Sink, Taker, TakerKind, Time, Vcpu, VcpuState,
    VcpuStateKind as V, Vm,
};
use havana_sim::Rng;
use havana_store::{Clock, Dataset, DatasetWriter, Epoch, Manifest, WriterOptions};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const CPUS: usize = 8;
const VCPUS_A_CPU: usize = 4;
const PROCESSES: i32 = 6;
const TSC_HZ: u64 = 2_100_000_000;
/// Ticks a microsecond.
const US: f64 = TSC_HZ as f64 / 1e6;

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match &args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["write", rows, dir] => write(rows.parse()?, Path::new(dir)),
        ["find", dir] => find(Path::new(dir)),
        _ => Err("say `write ROWS DIR` or `find DIR`".into()),
    }
}

fn find(dir: &Path) -> Result<()> {
    let dataset = Dataset::open(dir)?;
    let rows = |name: &str| dataset.manifest().tables.get(name).map_or(0, |table| table.rows);
    let (cpus, vcpus, exits) = (rows("cpu_states"), rows("vcpu_states"), rows("exits"));
    let copied = gigabytes_copied();
    let begin = Instant::now();
    let findings = havana_insight::find(&dataset)?;
    let seconds = begin.elapsed().as_secs_f64();
    findings.iter().take(4).for_each(|finding| println!("{finding}"));
    println!("{} findings of {cpus} cpu_states, {vcpus} vcpu_states, {exits} exits in {seconds:.1} s", findings.len());
    println!("memcpy then: {copied:.1} GB/s");
    Ok(())
}

/// Gigabytes a second that this machine copies now.
fn gigabytes_copied() -> f64 {
    let (from, mut to) = (vec![1_u8; 64 << 20], vec![0_u8; 64 << 20]);
    let begin = Instant::now();
    for _ in 0..16 {
        to.copy_from_slice(std::hint::black_box(&from));
        std::hint::black_box(&to);
    }
    16.0 * from.len() as f64 / begin.elapsed().as_secs_f64() / 1e9
}

/// A cpu, and its vCPUs that take turns.
struct Cpu {
    at: i64,
    /// Which of its vCPUs is on it.
    turn: usize,
    /// Since when each is off, and who took its cpu.
    off: [Option<(i64, V)>; VCPUS_A_CPU],
}

fn write(rows: u64, dir: &Path) -> Result<()> {
    let options = WriterOptions { node: "many".into(), capture: "many".into(), ..WriterOptions::default() };
    let mut writer = DatasetWriter::create(dir, options)?;
    let mut rng = Rng::new(1);
    let first = 1_000_000_000;
    let new = |_| Cpu { at: first, turn: 0, off: [None; VCPUS_A_CPU] };
    let mut cpus: Vec<Cpu> = (0..CPUS).map(new).collect();
    let (mut written, mut exits) = (0, 0);
    while written < rows {
        let late = written > rows / 2;
        let c = (0..CPUS).min_by_key(|c| cpus[*c].at).unwrap_or(0);
        written += turn(&mut cpus[c], c, late, &mut exits, &mut rng, &mut writer)?;
    }
    let last = cpus.iter().map(|cpu| cpu.at).max().unwrap_or(first);
    for id in 0..(CPUS * VCPUS_A_CPU) as i32 {
        writer.vm(Vm {
            vm_id: id,
            host_cr3: 0x1_0000_0000 + 0x2000 * i64::from(id),
            first_tsc: first,
            last_tsc: last,
            tsc_offset: None,
            tsc_scale: None,
            name: None,
            uuid: None,
            pid: None,
        })?;
        writer.vcpu(Vcpu {
            vcpu_id: id,
            vm_id: id,
            vmcs: 0x3_0000_0000 + 0x1000 * i64::from(id),
            first_tsc: first,
            last_tsc: last,
            guest_lo_tsc: 0,
            guest_hi_tsc: last - first,
            index: Some(0),
            tid: None,
            name: None,
        })?;
        for process in 0..PROCESSES {
            writer.process(Process {
                process_id: id * PROCESSES + process,
                vm_id: Some(id),
                cr3: 0x540_0000 + 0x2000 * i64::from(process),
                first_tsc: first,
                last_tsc: last,
                evidence: Evidence::Observed,
                name: None,
            })?;
        }
    }
    let clock = Clock {
        tsc_hz: Some(TSC_HZ),
        tsc_hz_known: true,
        epoch: Epoch::FirstEvent,
        origin_tsc: first,
        origin_ns: Some(0),
    };
    let ended = writer.end(Manifest { clock, ..Manifest::default() })?;
    let found = havana_insight::rows(&havana_insight::find(ended.dataset())?);
    ended.put(Some(found))?;
    println!("{written} rows of {:.1} s", (last - first) as f64 / TSC_HZ as f64);
    Ok(())
}

/// A vCPU's turn on its cpu: how many rows of states it made.
fn turn(
    cpu: &mut Cpu,
    c: usize,
    late: bool,
    exits: &mut i32,
    rng: &mut Rng,
    writer: &mut DatasetWriter,
) -> Result<u64> {
    let mut rows = 0;
    let turn = cpu.turn;
    let id = (c * VCPUS_A_CPU + turn) as i32;
    let hog = late && id == 0;
    let process = id * PROCESSES + if hog { 0 } else { rng.below(PROCESSES as u64) as i32 };
    let times = |start: i64, end: i64| (around(start), around(end));
    let on = |start: i64, end: i64, in_guest: bool, writer: &mut DatasetWriter| -> Result<()> {
        let (start, end) = times(start, end);
        writer.cpu_state(CpuState {
            cpu: c as i32,
            start,
            end,
            state: if in_guest { C::Guest } else { C::Hypervisor },
            evidence: Evidence::Observed,
            vm_id: Some(id),
            vcpu_id: Some(id),
            process_id: Some(process),
            host_cr3: Some(0x1_0000_0000 + 0x2000 * i64::from(id)),
            guest_cr3: in_guest.then_some(0x540_0000 + 0x2000 * i64::from(process)),
            tid: None,
        })?;
        let state = if in_guest { V::Guest } else { V::Hypervisor };
        let row = row_of(id, (start, end), state);
        writer.vcpu_state(VcpuState { cpu: Some(c as i32), process_id: Some(process), ..row })?;
        Ok(())
    };
    if let Some((since, state)) = cpu.off[turn].take() {
        let taker = Taker { kind: TakerKind::Vm, id: Some((c * VCPUS_A_CPU + (turn + 1) % VCPUS_A_CPU) as i32) };
        let row = row_of(id, times(since, cpu.at), state);
        let taken_by = (state == V::Preempted).then_some(taker);
        writer.vcpu_state(VcpuState { process_id: Some(process), taken_by, ..row })?;
        rows += 1;
    }
    let runs = if hog { 150 } else { 10 + rng.below(30) };
    for _ in 0..runs {
        let entry = cpu.at;
        let exit = entry + (rng.near(30.0, 0.5) * US) as i64;
        let reentry = exit + (rng.near(3.0, 0.5) * US) as i64;
        on(entry, exit, true, writer)?;
        on(exit, reentry, false, writer)?;
        rows += 4;
        writer.exit(Exit {
            exit_id: *exits,
            vcpu_id: id,
            vm_id: id,
            cpu: c as i32,
            entry: Some(around(entry)),
            exit: around(exit),
            reentry: Some(around(reentry)),
            reentry_cpu: Some(c as i32),
            reentry_vector: None,
            guest_cr3: 0x540_0000 + 0x2000 * i64::from(process),
            process_id: process,
            reason: None,
            reason_evidence: None,
            guest_ip: None,
            evidence: Evidence::Observed,
        })?;
        *exits = exits.saturating_add(1);
        cpu.at = reentry;
    }
    let halts = !hog && rng.chance(0.5);
    cpu.off[turn] = Some((cpu.at, if halts { V::Waiting } else { V::Preempted }));
    cpu.turn = (turn + 1) % VCPUS_A_CPU;
    if halts {
        let end = cpu.at + (rng.near(200.0, 0.9) * US) as i64;
        let (start, end_time) = times(cpu.at, end);
        writer.cpu_state(CpuState {
            cpu: c as i32,
            start,
            end: end_time,
            state: C::Idle,
            evidence: Evidence::Inferred,
            vm_id: None,
            vcpu_id: None,
            process_id: None,
            host_cr3: None,
            guest_cr3: None,
            tid: None,
        })?;
        rows += 1;
        cpu.at = end;
    }
    Ok(rows)
}

/// A moment that is known to an MTC period.
fn around(tsc: i64) -> Time {
    const PERIOD: i64 = 43_008;
    let lo = tsc - tsc.rem_euclid(PERIOD);
    Time { tsc, lo, hi: lo + PERIOD }
}

fn row_of(id: i32, (start, end): (Time, Time), state: V) -> VcpuState {
    VcpuState {
        vcpu_id: id,
        vm_id: id,
        start,
        end,
        state,
        evidence: if state == V::Guest { Evidence::Observed } else { Evidence::Inferred },
        cpu: None,
        process_id: None,
        taken_by: None,
        taken_by_tid: None,
    }
}
