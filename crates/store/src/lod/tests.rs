//! Summaries against the naive way: each interval cut at every bucket's edge, level by level.

use std::collections::BTreeMap;
use std::path::Path;

use havana_rows::parquet::Limits;
use havana_rows::*;
use proptest::prelude::*;

use super::pyramid::{COARSEST, FINEST};
use crate::*;

/// What a dataset's summaries should be at a level: ticks and count by bucket and all else.
fn naive(cpus: &[CpuState], vcpus: &[VcpuState], level: i32) -> BTreeMap<String, (i64, i64)> {
    let mut sums = BTreeMap::new();
    type Of = (TrackKind, i32, Option<i32>);
    let mut add =
        |(kind, id, vcpu): Of, state: State, evidence: Evidence, by: Option<Taker>, (start, end): (i64, i64)| {
            let width = 16i64.pow(level as u32);
            let mut at = start;
            let mut count = 1;
            loop {
                let bucket = at.div_euclid(width);
                let to = ((bucket + 1) * width).min(end);
                let key = format!("{bucket} {kind:?} {id} {vcpu:?} {state:?} {evidence:?} {by:?}");
                let sum: &mut (i64, i64) = sums.entry(key).or_default();
                *sum = (sum.0 + to - at, sum.1 + count);
                count = 0;
                at = to;
                if at >= end {
                    break;
                }
            }
        };
    for row in cpus {
        let state = State::from(row.state);
        let its = matches!(state, State::Guest | State::Hypervisor);
        let by = row.vm_id.filter(|_| its).map(|vm| Taker { kind: TakerKind::Vm, id: Some(vm) });
        add((TrackKind::Cpu, row.cpu, None), state, row.evidence, by, (row.start.tsc, row.end.tsc));
    }
    for row in vcpus {
        let by = row.taken_by.map(|by| Taker { id: by.id.filter(|_| by.kind == TakerKind::Vm), ..by });
        let state = State::from(row.state);
        add((TrackKind::Vcpu, row.vcpu_id, None), state, row.evidence, by, (row.start.tsc, row.end.tsc));
        if let Some(process) = row.process_id {
            add(
                (TrackKind::Process, process, Some(row.vcpu_id)),
                state,
                row.evidence,
                by,
                (row.start.tsc, row.end.tsc),
            );
        }
    }
    sums
}

/// The same, as the dataset has it. Checks what a row says of itself on the way.
fn stored(dataset: &Dataset, level: i32) -> BTreeMap<String, (i64, i64)> {
    let mut sums = BTreeMap::new();
    for row in dataset.rows::<Lod>().unwrap().map(Result::unwrap).filter(|row| row.level == level) {
        let width = 16i64.pow(level as u32);
        assert_eq!(row.bucket_start_tsc.rem_euclid(width), 0);
        let buckets = (row.bucket_end_tsc - row.bucket_start_tsc) / width;
        assert_eq!(row.tile, row.bucket_start_tsc.div_euclid(width * 256));
        assert!((1..=256).contains(&buckets));
        assert!(buckets == 1 || row.busy_tsc == buckets * width, "{row:?}");
        for n in 0..buckets {
            let bucket = row.bucket_start_tsc / width + n;
            let key = format!(
                "{bucket} {:?} {} {:?} {:?} {:?} {:?}",
                row.track_kind, row.track_id, row.vcpu_id, row.state, row.evidence, row.by
            );
            let sum: &mut (i64, i64) = sums.entry(key).or_default();
            *sum = (sum.0 + row.busy_tsc / buckets, sum.1 + if n == 0 { row.count } else { 0 });
        }
    }
    sums
}

fn write(dir: &Path, cpus: &[CpuState], vcpus: &[VcpuState]) -> Dataset {
    let options = WriterOptions {
        node: "n".into(),
        capture: "c".into(),
        limits: Limits { reorder_rows: 64, late_rows: 64, ..Limits::default() },
        ..WriterOptions::default()
    };
    let mut writer = DatasetWriter::create(dir, options).unwrap();
    cpus.iter().for_each(|row| writer.cpu_state(*row).unwrap());
    vcpus.iter().for_each(|row| writer.vcpu_state(*row).unwrap());
    writer.finish(Manifest::default()).unwrap();
    Dataset::open(dir).unwrap()
}

fn cpu_state(cpu: i32, start: i64, end: i64, state: CpuStateKind) -> CpuState {
    CpuState {
        cpu,
        start: Time::exact(start),
        end: Time::exact(end),
        state,
        evidence: if start % 3 == 0 { Evidence::Inferred } else { Evidence::Observed },
        vm_id: (start % 2 == 0).then_some((start % 4) as i32),
        vcpu_id: None,
        process_id: None,
        host_cr3: None,
        guest_cr3: None,
        tid: None,
    }
}

fn length() -> impl Strategy<Value = i64> {
    // Few: gaps are cut one bucket at a time by the naive way.
    prop_oneof![10 => 0..100_000i64, 2 => 0..3_000_000i64, 1 => Just(65_536), 1 => Just(0)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn summaries_are_what_the_rows_give(
        begin in -1_000_000..1_000_000i64,
        steps in prop::collection::vec((length(), length(), 0..6usize, 0..3i32), 1..200),
    ) {
        let mut at = [begin; 3];
        let (mut cpus, mut vcpus) = (Vec::new(), Vec::new());
        for (gap, length, state, track) in steps {
            let start = at[track as usize] + if state == 5 { gap } else { 0 };
            let end = start + length;
            at[track as usize] = end;
            cpus.push(cpu_state(track, start, end, CpuStateKind::ALL[state]));
            vcpus.push(VcpuState {
                vcpu_id: track,
                vm_id: 0,
                start: Time::exact(start),
                end: Time::exact(end),
                state: VcpuStateKind::ALL[state],
                evidence: Evidence::Observed,
                cpu: None,
                process_id: (length % 3 != 0).then_some((length % 2) as i32),
                taken_by: match gap % 4 {
                    0 => None,
                    1 => Some(Taker { kind: TakerKind::Vm, id: Some(track) }),
                    _ => Some(Taker { kind: TakerKind::Host, id: Some(gap as i32 % 9) }),
                },
                taken_by_tid: None,
            });
        }
        let root = tempfile::tempdir().unwrap();
        let dataset = write(&root.path().join("x"), &cpus, &vcpus);
        prop_assert_eq!(&dataset.manifest().lod["cpu"], &FINEST);
        for level in FINEST..=COARSEST {
            prop_assert_eq!(stored(&dataset, level), naive(&cpus, &vcpus, level), "level {}", level);
        }
    }

    #[test]
    fn classes_are_half_octaves(ticks in prop_oneof![0..100i64, 0..i64::MAX]) {
        let class = latency_class(ticks);
        let from = |class: i32| if class % 2 == 0 { 1i128 << (class / 2) } else { 3i128 << (class / 2) >> 1 };
        prop_assert!(class == 0 && ticks < 2 || from(class) <= i128::from(ticks) && i128::from(ticks) < from(class + 1));
    }
}

/// So many rows that they go to files, and so spread out that the finest levels do not pay; with a gap that has more
/// buckets than there is time.
#[test]
fn levels_that_do_not_pay_are_dropped_and_the_others_are_whole() {
    let mut cpus = Vec::new();
    for n in 0..450_000i64 {
        let at = n * 200_000 + if n > 400_000 { 1 << 55 } else { 0 };
        cpus.push(cpu_state(0, at, at + 1000, CpuStateKind::Guest));
    }
    cpus.push(cpu_state(1, 0, 1 << 56, CpuStateKind::Idle));
    let root = tempfile::tempdir().unwrap();
    let dataset = write(&root.path().join("x"), &cpus, &[]);
    let finest = dataset.manifest().lod["cpu"];
    assert!(finest > FINEST, "{finest}");
    let rows: Vec<Lod> = dataset.rows::<Lod>().unwrap().map(Result::unwrap).collect();
    assert!(rows.iter().all(|row| row.level >= finest));
    assert!((rows.len() as u64) < 3 * (256 << 10) + cpus.len() as u64, "{}", rows.len());
    for level in finest..=COARSEST {
        let of = |cpu: i32| rows.iter().filter(move |row| row.level == level && row.track_id == cpu);
        assert_eq!(of(0).map(|row| row.busy_tsc).sum::<i64>(), 450_000_000);
        assert_eq!(of(0).map(|row| row.count).sum::<i64>(), 450_000);
        assert_eq!(of(1).map(|row| row.busy_tsc).sum::<i64>(), 1 << 56);
        assert_eq!(of(1).map(|row| row.count).sum::<i64>(), 1);
    }
    // By level: a reader of one opens its files only.
    let scan = dataset.scan(havana_rows::parquet::Table::Lod).only("level", COARSEST);
    let few = scan.rows_at_most().unwrap();
    assert!(few < rows.len() as u64 / 10, "{few} of {}", rows.len());
    let wide = naive(&cpus[..450_000], &[], COARSEST);
    let found: i64 = rows.iter().filter(|row| row.level == COARSEST && row.track_id == 0).map(|row| row.busy_tsc).sum();
    assert_eq!(wide.values().map(|sum| sum.0).sum::<i64>(), found);
}

#[test]
fn exits_are_summed_by_reason_and_class() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("x");
    let options = WriterOptions { node: "n".into(), capture: "c".into(), ..WriterOptions::default() };
    let mut writer = DatasetWriter::create(&dir, options).unwrap();
    for n in 0..1000i64 {
        let exit = n * 5000;
        writer
            .exit(Exit {
                exit_id: n as i32,
                vcpu_id: (n % 2) as i32,
                vm_id: 0,
                cpu: 0,
                entry: None,
                exit: Time::exact(exit),
                reentry: (n % 10 != 0).then_some(Time::exact(exit + n)),
                reentry_cpu: None,
                reentry_vector: None,
                guest_cr3: 0,
                process_id: 0,
                reason: (n % 3 == 0).then_some(12),
                reason_evidence: None,
                guest_ip: None,
                evidence: Evidence::Observed,
            })
            .unwrap();
    }
    writer.finish(Manifest::default()).unwrap();
    let dataset = Dataset::open(&dir).unwrap();
    for level in dataset.manifest().lod["exits"]..=COARSEST {
        let mut found: BTreeMap<String, (i64, i64)> = BTreeMap::new();
        for row in dataset.rows::<LodExits>().unwrap().map(Result::unwrap).filter(|row| row.level == level) {
            let key = format!("{} {} {:?} {:?}", row.bucket_start_tsc, row.vcpu_id, row.reason, row.latency_class);
            let sum = found.entry(key).or_default();
            *sum = (sum.0 + row.latency_tsc, sum.1 + row.count);
        }
        let mut expected: BTreeMap<String, (i64, i64)> = BTreeMap::new();
        for n in 0..1000i64 {
            let latency = (n % 10 != 0).then_some(n);
            let reason = (n % 3 == 0).then_some(12);
            let bucket = (n * 5000) >> (4 * level) << (4 * level);
            let key = format!("{bucket} {} {reason:?} {:?}", n % 2, latency.map(latency_class));
            let sum = expected.entry(key).or_default();
            *sum = (sum.0 + latency.unwrap_or(0), sum.1 + 1);
        }
        assert_eq!(found, expected, "level {level}");
    }
}
