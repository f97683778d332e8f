//! Files as they are written, read back by the crate that reads them.

use std::path::Path;

use havana_trace::perf_data::record::{self, By};
use havana_trace::perf_data::{Attribute, Event, MachineNote, PtBits, TimeConv, VmNote};
use havana_trace::{Note, OpenOptions, Thread, Trace};

use super::tail::PSB;
use super::*;

fn start() -> Start {
    let pt = Attribute {
        pmu: 9,
        config: 0x401,
        sample_type: Attribute::BEHIND_RECORDS,
        flags: 1 << 18,
        read_format: 4,
        wakeup_watermark: 0,
        aux_watermark: 0,
    };
    Start {
        events: vec![Event { name: "intel_pt/branch=0/".into(), attribute: pt, ids: vec![71, 72] }],
        cpus: vec![0, 1],
        clock: TimeConv::of_khz(2_000_000, 5_000),
        bits: PtBits::default(),
        tsc_ctc_ratio: (168, 2),
        max_nonturbo_ratio: 20,
        snapshot: false,
        event_trace: false,
    }
}

fn about() -> About {
    About {
        hostname: "kvm-07".into(),
        cpu_id: "GenuineIntel,6,85,4".into(),
        cpus_online: 2,
        thread_siblings: vec!["0-1".into()],
        ..About::default()
    }
}

fn first_notes() -> Vec<RecorderNote> {
    let vm = VmNote { pid: 7, name: Some("web".into()), ..VmNote::default() };
    vec![
        RecorderNote::Machine(MachineNote {
            hostname: "kvm-07".into(),
            cpus: 2,
            thread_siblings: vec!["0-1".into()],
            ..MachineNote::default()
        }),
        RecorderNote::Vms { tsc: 5, vms: vec![vm] },
    ]
}

fn end() -> RecorderNote {
    RecorderNote::End { why: "SIGINT".into(), until: None }
}

fn options(path: &Path) -> OutputOptions {
    OutputOptions::to(Target::File(path.join("t.data")))
}

/// An AUX record as the kernel writes it.
fn aux(cpu: u32, at: u64, size: u64) -> Vec<u8> {
    let thread = Thread { pid: 1, tid: 1 };
    record::aux(at, size, 0, &By { thread, ns: 9_000 + at, cpu, id: 71 + u64::from(cpu) })
}

/// A round: so many bytes of trace of a cpu, which begin with a PSB.
fn round(files: &mut Files, cpu: u32, at: u64, len: usize) -> Vec<u8> {
    let mut bytes = PSB.to_vec();
    bytes.resize(len, at as u8 | 1);
    files.records(cpu, [&aux(cpu, at, len as u64), &[]]).unwrap();
    files.trace(cpu, at, [&bytes[..len / 3], &bytes[len / 3..]]).unwrap();
    files.round().unwrap();
    bytes
}

fn open(path: &Path) -> Trace {
    havana_trace::open(&[path.into()], &OpenOptions::default()).unwrap()
}

fn trace_of(trace: &Trace, cpu: u32) -> Vec<u8> {
    let stream = trace.streams.iter().find(|s| s.cpu == cpu).unwrap();
    let mut bytes: Vec<u8> = (0..).map_while(|i| stream.segment(i)).flat_map(|s| s.bytes.to_vec()).collect();
    // A piece is filled up to eight bytes with zeros, which are packets that say nothing.
    while bytes.last() == Some(&0) {
        bytes.pop();
    }
    bytes
}

#[test]
fn what_was_written_is_read() {
    for compress in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let mut files = Files::new(OutputOptions { compress, ..options(dir.path()) });
        files.begin(&start(), &about(), &first_notes(), &[]).unwrap();
        let mut expected = round(&mut files, 0, 0, 1003);
        expected.extend(round(&mut files, 0, 1003, 777));
        let other = round(&mut files, 1, 0, 500);
        files.finish(&about(), &[end()]).unwrap();
        let trace = open(files.path().unwrap());
        assert!(trace_of(&trace, 0) == expected && trace_of(&trace, 1) == other);
        assert_eq!(trace.node.as_deref(), Some("kvm-07"));
        assert_eq!(trace.recording.thread_siblings, [[0, 1]]);
        let recorder = trace.recording.recorder.unwrap();
        assert_eq!(recorder.vms[&7].name.as_deref(), Some("web"));
        assert_eq!(recorder.ended.as_deref(), Some("SIGINT"));
        assert_eq!(trace.recording.notes, []);
    }
}

#[test]
fn a_recorder_that_is_killed_has_written_what_it_wrote() {
    for compress in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let mut files = Files::new(OutputOptions { compress, ..options(dir.path()) });
        files.begin(&start(), &about(), &first_notes(), &[]).unwrap();
        let expected = round(&mut files, 0, 0, 1003);
        let path = files.path().unwrap().to_path_buf();
        // Nothing is ended.
        std::mem::forget(files);
        let trace = open(&path);
        assert!(trace_of(&trace, 0) == expected);
        assert_eq!(trace.node.as_deref(), Some("kvm-07"), "told at the begin");
        assert_eq!(trace.recording.thread_siblings, [[0, 1]]);
        assert!(trace.recording.notes.iter().any(|n| matches!(n, Note::Unfinished | Note::Cut { .. })));
    }
}

#[test]
fn the_next_file_begins_with_the_end_of_the_one_before() {
    let dir = tempfile::tempdir().unwrap();
    let mut files = Files::new(OutputOptions { rotate_bytes: Some(1000), ..options(dir.path()) });
    files.begin(&start(), &about(), &first_notes(), &[]).unwrap();
    let first = round(&mut files, 0, 0, 1003);
    assert!(files.is_due());
    files.finish(&about(), &[end()]).unwrap();
    files.begin(&start(), &about(), &[RecorderNote::Continues { tsc: 99, files: 1 }], &[]).unwrap();
    let second = round(&mut files, 0, 1003, 500);
    files.finish(&about(), &[end()]).unwrap();
    let trace = open(&dir.path().join("t-000002.data"));
    assert!(trace_of(&trace, 0) == [first, second].concat());
    assert_eq!(trace.recording.recorder.unwrap().continues, Some(99));
    assert!(dir.path().join("t-000001.data").exists());
}

#[test]
fn the_oldest_files_go_where_there_is_room_for_so_many_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let all = OutputOptions { rotate_bytes: Some(1), max_bytes: Some(20_000), ..options(dir.path()) };
    let mut files = Files::new(all);
    for n in 0..6 {
        files.begin(&start(), &about(), &[], &[]).unwrap();
        round(&mut files, 0, 0, 6000 + n);
        files.finish(&about(), &[end()]).unwrap();
    }
    let sizes = |e: io::Result<fs::DirEntry>| e.unwrap().metadata().unwrap().len();
    let left: Vec<u64> = fs::read_dir(&dir).unwrap().map(sizes).collect();
    assert!(left.iter().sum::<u64>() <= 20_000 && !left.is_empty(), "{left:?}");
    assert!(files.path().unwrap().ends_with("t-000006.data") && files.path().unwrap().exists());
}

#[test]
fn a_file_that_fails_is_cut_behind_its_last_whole_round() {
    let dir = tempfile::tempdir().unwrap();
    let mut files = Files::new(options(dir.path()));
    files.begin(&start(), &about(), &first_notes(), &[]).unwrap();
    let expected = round(&mut files, 0, 0, 1003);
    // A round that does not come to its end.
    files.records(0, [&aux(0, 1003, 100), &[]]).unwrap();
    files.trace(0, 1003, [&[1; 100], &[]]).unwrap();
    files.rescue(&about(), &[end()]);
    let trace = open(files.path().unwrap());
    assert!(trace_of(&trace, 0) == expected);
    assert_eq!(trace.recording.notes, []);
}

#[test]
fn numbers_go_on_after_what_was_left() {
    let dir = tempfile::tempdir().unwrap();
    let left = dir.path().join("left");
    std::fs::write(&left, [0; 500]).unwrap();
    let files = Files::new(OutputOptions { earlier: vec![(7, left.clone())], ..options(dir.path()) });
    assert_eq!((files.options.last_number(), files.path()), (7, None));
    assert_eq!(files.kept, [(left, 500)]);
}

#[test]
fn one_file_after_the_other_without_rotation_too() {
    let dir = tempfile::tempdir().unwrap();
    let mut files = Files::new(options(dir.path()));
    let mut all = Vec::new();
    for name in ["t.data", "t-000002.data"] {
        files.begin(&start(), &about(), &[], &[]).unwrap();
        let at = all.len();
        all.extend(round(&mut files, 0, at as u64, 504));
        files.finish(&about(), &[end()]).unwrap();
        assert!(files.path().unwrap().ends_with(name));
        assert!(trace_of(&open(files.path().unwrap()), 0) == all, "from a PSB before the cut");
    }
}

#[test]
fn one_that_stands_there_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("t.data");
    fs::write(&path, "precious").unwrap();
    let mut files = Files::new(options(dir.path()));
    files.try_place().unwrap();
    files.begin(&start(), &about(), &[], &[]).unwrap();
    assert_eq!(fs::read_to_string(dir.path().join("t.data.old")).unwrap(), "precious");
    let nowhere = Files::new(options(&dir.path().join("no such directory")));
    assert!(nowhere.try_place().unwrap_err().to_string().contains("no such directory"));
}
