//! What is drawn and summed from the summaries, against the same from the rows.

#![allow(clippy::unwrap_used, reason = "helpers of tests stand outside of them")]

use std::collections::BTreeMap;

use havana_rows::*;
use havana_store::{Dataset, DatasetWriter, Manifest, WriterOptions};

use super::grid::Grid;
use super::levels::Budget;
use super::segments::{Picture, draw};
use super::{Kind, Opened, Window, busy, exits, sums};

/// A node of two cpus and three vCPUs, with intervals from a few ticks to many buckets long, and gaps where a vCPU was not there.
fn node(dir: &std::path::Path) -> Opened {
    let options = WriterOptions { node: "n".into(), capture: "c1".into(), ..WriterOptions::default() };
    let mut writer = DatasetWriter::create(dir, options).unwrap();
    let mut seed = 88_172_645_463_325_252_u64;
    let mut random = |below: i64| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed % below as u64) as i64
    };
    let mut length = |n: i64| {
        if n % 97 == 0 {
            3_000_000
        } else if n % 7 == 0 {
            0
        } else {
            1 + random(40_000)
        }
    };
    for track in 0..5i32 {
        let mut at = 1_000_003 + i64::from(track) * 77_777;
        for n in 0..6000i64 {
            let (start, end) = (at, at + length(n));
            at = end + if track == 4 && n % 50 == 0 { 5_000_000 } else { 0 };
            let evidence = if n % 3 == 0 { Evidence::Inferred } else { Evidence::Observed };
            let (start, end) = (Time::exact(start), Time::exact(end));
            let process_id = (n % 5 != 0).then_some((n % 2) as i32);
            if track < 2 {
                let state = CpuStateKind::ALL[(n % 6) as usize];
                let vm_id = (n % 2 == 0).then_some((n % 3) as i32);
                let row = CpuState {
                    cpu: track,
                    start,
                    end,
                    state,
                    evidence,
                    vm_id,
                    vcpu_id: None,
                    process_id: None,
                    host_cr3: None,
                    guest_cr3: None,
                    tid: None,
                };
                writer.cpu_state(row).unwrap();
            } else {
                let taken_by = match n % 4 {
                    0 => None,
                    1 => Some(Taker { kind: TakerKind::Host, id: Some((n % 9) as i32) }),
                    _ => Some(Taker { kind: TakerKind::Vm, id: Some((n % 2) as i32) }),
                };
                let state = VcpuStateKind::ALL[(n % 7) as usize];
                let row = VcpuState {
                    vcpu_id: track,
                    vm_id: track % 2,
                    start,
                    end,
                    state,
                    evidence,
                    cpu: None,
                    process_id,
                    taken_by,
                    taken_by_tid: None,
                };
                writer.vcpu_state(row).unwrap();
                let exit = Exit {
                    exit_id: n as i32,
                    vcpu_id: track,
                    vm_id: track % 2,
                    cpu: 0,
                    entry: None,
                    exit: start,
                    reentry: (n % 11 != 0).then_some(end),
                    reentry_cpu: None,
                    reentry_vector: None,
                    guest_cr3: 0,
                    process_id: 0,
                    reason: (n % 2 == 0).then_some(12),
                    reason_evidence: None,
                    guest_ip: None,
                    evidence,
                };
                writer.exit(exit).unwrap();
            }
        }
    }
    for (vcpu_id, vm_id) in [(2, 0), (3, 1), (4, 0)] {
        let row = Vcpu {
            vcpu_id,
            vm_id,
            vmcs: 0,
            first_tsc: 0,
            last_tsc: 0,
            guest_lo_tsc: 0,
            guest_hi_tsc: 0,
            index: None,
            tid: None,
            name: None,
        };
        writer.vcpu(row).unwrap();
    }
    writer.finish(Manifest::default()).unwrap();
    Opened::new(Dataset::open(dir).unwrap()).unwrap()
}

fn windows(opened: &Opened) -> Vec<Window> {
    let (first, last) = (opened.first_tsc, opened.last_tsc);
    let span = last - first;
    vec![
        Window { from: first, to: last },
        Window { from: first - 1_000_000, to: last + 123_456_789 },
        Window { from: first + span / 3, to: first + span / 2 },
        Window { from: first + span / 7 + 1, to: first + span / 7 + 30_000_001 },
        Window { from: first + 5, to: first + 200_000 },
    ]
}

#[test]
fn pictures_of_summaries_are_those_of_rows() {
    let root = tempfile::tempdir().unwrap();
    let opened = node(&root.path().join("x"));
    let parts = |picture: Picture| -> BTreeMap<_, _> {
        assert!(picture.binned && picture.exact);
        picture.segments.into_iter().map(|s| ((s.id, s.start, s.end, s.key), (s.y0, s.y1))).collect()
    };
    let mut compared = 0;
    for window in windows(&opened) {
        for (kind, ids) in [
            (Kind::Cpu, vec![0, 1]),
            (Kind::Node, vec![0]),
            (Kind::Vcpu, vec![4, 2]),
            (Kind::Vm, vec![0, 1]),
            (Kind::Process, vec![0, 1]),
            (Kind::OnVcpu, vec![0, 4]),
        ] {
            for pixels in [1, 7, 100] {
                // Of bins that are narrower than the finest bucket there is no such picture.
                if Grid::of_pixels(window, pixels).bits() < 16 {
                    continue;
                }
                let picture =
                    |rows, lod_rows| draw(&opened, kind, &ids, window, pixels, Budget { rows, lod_rows }).unwrap();
                let (rows, lod) = (picture(u64::MAX, 0), picture(0, u64::MAX));
                if rows.binned {
                    assert_eq!(parts(lod), parts(rows), "{kind:?} {window:?} {pixels}");
                    compared += 1;
                }
            }
        }
    }
    assert!(compared > 20, "{compared}");
}

#[test]
fn cpus_in_the_guest_are_those_of_rows() {
    let root = tempfile::tempdir().unwrap();
    let opened = node(&root.path().join("x"));
    let whole = Window { from: opened.first_tsc, to: opened.last_tsc };
    for pixels in [1, 7, 100] {
        let rate = |rows, lod_rows| busy::rate_with(&opened, whole, pixels, Budget { rows, lod_rows }).unwrap();
        let (rows, lod) = (rate(u64::MAX, 0), rate(0, u64::MAX));
        assert!(!rows.is_empty());
        assert_eq!(lod, rows);
        let guest = sums::with(&opened, whole, u64::MAX).unwrap();
        let guest = guest.iter().filter(|((code, _, key), _)| *code == 0 && key.state == 0 && key.by_kind == 1);
        assert_eq!(rows.iter().map(|bin| bin.3.ticks).sum::<i64>(), guest.map(|(_, sum)| sum.ticks).sum::<i64>());
    }
}

#[test]
fn sums_with_summaries_are_those_of_rows() {
    let root = tempfile::tempdir().unwrap();
    let opened = node(&root.path().join("x"));
    for window in windows(&opened) {
        let (rows, lod) = (sums::with(&opened, window, u64::MAX).unwrap(), sums::with(&opened, window, 0).unwrap());
        assert!(!rows.is_empty());
        assert_eq!(lod, rows, "{window:?}");
        let exits = |few| exits::histogram_with(&opened, window, few).unwrap();
        assert_eq!(exits(0), exits(u64::MAX), "{window:?}");
        for vm in [None, Some(1)] {
            let slowest = |few| exits::slowest_with(&opened, window, 20, vm, few).unwrap();
            assert_eq!(slowest(0), slowest(u64::MAX), "{window:?} {vm:?}");
        }
    }
}
