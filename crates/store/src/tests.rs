//! Datasets written, broken and read.

use std::fs;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use havana_rows::parquet::{Limits, NsClock, Table};
use havana_rows::*;
use havana_whole::WholeError;

use crate::*;

fn options() -> WriterOptions {
    WriterOptions {
        node: "host/1".into(),
        capture: "c0ffee".into(),
        ns_clock: Some(NsClock { origin_tsc: 0, origin_ns: 0, num: 1, den: NonZeroU64::new(2).unwrap() }),
        limits: Limits { reorder_rows: 16, late_rows: 8, file_rows: 40_000, ..Limits::default() },
        ..WriterOptions::default()
    }
}

fn replacing() -> WriterOptions {
    WriterOptions { overwrite: true, ..options() }
}

fn state(cpu: i32, tsc: i64) -> CpuState {
    CpuState {
        cpu,
        start: Time { tsc, lo: tsc - 5, hi: tsc + 5 },
        end: Time::exact(tsc + 10),
        state: CpuStateKind::Guest,
        evidence: Evidence::Observed,
        vm_id: Some(1),
        vcpu_id: Some(2),
        process_id: None,
        host_cr3: Some(0x1000),
        guest_cr3: Some(i64::MIN),
        tid: Some(7),
    }
}

/// A dataset with a row or two in every table but those of findings.
fn write_small(dir: &Path, options: WriterOptions) -> Result<Dataset, StoreError> {
    let mut writer = DatasetWriter::create(dir, options)?;
    writer.cpu_state(state(3, 20))?;
    writer.cpu_state(state(0, 10))?;
    writer.vcpu_state(VcpuState {
        vcpu_id: 2,
        vm_id: 1,
        start: Time::exact(5),
        end: Time::exact(6),
        state: VcpuStateKind::Preempted,
        evidence: Evidence::Inferred,
        cpu: None,
        process_id: Some(4),
        taken_by: Some(Taker { kind: TakerKind::Host, id: Some(9) }),
        taken_by_tid: None,
    })?;
    writer.exit(Exit {
        exit_id: 0,
        vcpu_id: 2,
        vm_id: 1,
        cpu: 3,
        entry: None,
        exit: Time::exact(7),
        reentry: Some(Time::exact(8)),
        reentry_cpu: Some(1),
        reentry_vector: None,
        guest_cr3: 0x2000,
        process_id: 4,
        reason: None,
        reason_evidence: Some(Evidence::Observed),
        guest_ip: Some(-1),
        evidence: Evidence::Observed,
    })?;
    for start_tsc in [2, 1] {
        writer.loss(Loss {
            cpu: 0,
            start_tsc,
            end_tsc: 10,
            cause: LossCause::Overflow,
            source: "cpu0.pt".into(),
            offset_bytes: 100,
            bytes: 16,
        })?;
    }
    writer.vm(Vm {
        vm_id: 1,
        host_cr3: 0x1000,
        first_tsc: 1,
        last_tsc: 9,
        tsc_offset: Some(Time { tsc: -5, lo: -6, hi: -4 }),
        tsc_scale: None,
        name: Some("db".into()),
        uuid: None,
        pid: Some(77),
    })?;
    writer.vm_offset(VmOffset {
        vm_id: 1,
        start_tsc: 1,
        end_tsc: 9,
        tsc_offset: Time { tsc: -5, lo: -6, hi: -4 },
        tsc_scale: Some(1.5),
    })?;
    writer.vcpu(Vcpu {
        vcpu_id: 2,
        vm_id: 1,
        vmcs: 0x3000,
        first_tsc: 1,
        last_tsc: 9,
        guest_lo_tsc: 3,
        guest_hi_tsc: 4,
        index: Some(0),
        tid: None,
        name: None,
    })?;
    writer.thread(Thread {
        tid: 101,
        pid: 100,
        kind: ThreadKind::User,
        first_tsc: 10,
        last_tsc: 20,
        name: Some("CPU 0/KVM".into()),
        vm_id: Some(1),
        vcpu_id: None,
    })?;
    writer.process(Process {
        process_id: 4,
        vm_id: Some(1),
        cr3: 0x2000,
        first_tsc: 1,
        last_tsc: 9,
        evidence: Evidence::Observed,
        name: None,
    })?;
    writer.finish(Manifest { tool_version: "0.1.0".into(), ..Manifest::default() })
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn what_was_written_is_read_and_the_manifest_tells_of_it() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("x.havana");
    write_small(&dir, options()).unwrap();
    assert_eq!(names(root.path()), ["x.havana"]);
    assert!(dir.join("exits/node=host%2F1/capture=c0ffee/part-0000.parquet").is_file());

    let dataset = Dataset::open(&dir).unwrap();
    let states: Vec<CpuState> = dataset.cpu_states().unwrap().map(Result::unwrap).collect();
    assert_eq!(states, [state(0, 10), state(3, 20)]);
    assert_eq!(dataset.vcpu_states().unwrap().count(), 1);
    assert_eq!(dataset.exits().unwrap().next().unwrap().unwrap().reentry, Some(Time::exact(8)));
    assert_eq!(dataset.losses().unwrap().map(|loss| loss.unwrap().start_tsc).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(dataset.vms().unwrap()[0].tsc_offset, Some(Time { tsc: -5, lo: -6, hi: -4 }));
    assert_eq!(dataset.vm_offsets().unwrap()[0].tsc_scale, Some(1.5));
    assert_eq!(dataset.vcpus().unwrap()[0].vmcs, 0x3000);
    assert_eq!(dataset.processes().unwrap()[0].vm_id, Some(1));
    let threads: Vec<Thread> = dataset.threads().unwrap().map(Result::unwrap).collect();
    assert_eq!((threads.len(), threads[0].tid, threads[0].name.as_deref()), (1, 101, Some("CPU 0/KVM")));

    let manifest = dataset.manifest();
    assert_eq!((manifest.node.as_str(), manifest.capture.as_str()), ("host/1", "c0ffee"));
    assert_eq!((manifest.first_tsc, manifest.last_tsc), (Some(10), Some(30)));
    assert_eq!(manifest.cpus, [0, 3]);
    assert_eq!(manifest.tables["cpu_states"].rows, 2);
    let ticks = [("overflow".to_string(), 17)].into();
    assert_eq!(manifest.losses, LossSummary { count: 2, bytes: 32, ticks });
}

#[test]
fn tables_without_rows_have_their_columns() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("x");
    DatasetWriter::create(&dir, options()).unwrap().finish(Manifest::default()).unwrap();
    let dataset = Dataset::open(&dir).unwrap();
    for &table in Table::ALL {
        let files = if [Table::Findings, Table::FindingSpans].contains(&table) { 0 } else { 1 };
        assert_eq!(dataset.files(table).unwrap().len(), files);
        assert_eq!(
            dataset.scan(table).columns(&[table.start_column()]).batches().unwrap().count(),
            usize::from(table == Table::Captures)
        );
    }
    assert_eq!(dataset.findings().unwrap(), None);
}

#[test]
fn what_is_found_in_a_dataset_comes_with_it() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("x");
    let mut writer = DatasetWriter::create(&dir, options()).unwrap();
    writer.cpu_state(state(3, 20)).unwrap();
    let ended = writer.end(Manifest::default()).unwrap();
    // It can be read, and is in its place for nobody else.
    assert_eq!(ended.dataset().cpu_states().unwrap().count(), 1);
    assert!(!dir.exists());
    let finding = Finding {
        finding_id: 0,
        kind: FindingKind::Steal,
        severity: Severity::High,
        score: 0.5,
        sure: 1.0,
        title: "somebody waited".into(),
        vm_id: None,
        vcpu_id: Some(2),
        process_id: None,
        start_tsc: Some(20),
        end_tsc: None,
    };
    let span = FindingSpan { finding_id: 0, cpu: Some(3), vcpu_id: None, process_id: None, start_tsc: 20, end_tsc: 25 };
    let dataset = ended.put(Some((vec![finding.clone()], vec![span]))).unwrap();
    assert_eq!(dataset.dir(), dir);
    for dataset in [dataset, Dataset::open(&dir).unwrap()] {
        assert_eq!(dataset.findings().unwrap(), Some(vec![finding.clone()]));
        assert_eq!(dataset.finding_spans().unwrap(), [span]);
        assert_eq!(dataset.manifest().tables["findings"].rows, 1);
    }
    // One that is ended, and not put in its place, leaves nothing.
    let other = root.path().join("y");
    drop(DatasetWriter::create(&other, options()).unwrap().end(Manifest::default()).unwrap());
    assert_eq!(names(root.path()), ["x"]);
}

#[test]
fn a_range_gives_just_its_rows_from_main_and_late_files() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("x");
    let mut writer = DatasetWriter::create(&dir, options()).unwrap();
    // 100 k rows in three files with several pages each, and every thousandth of them once more, far too late.
    for tsc in 0..100_000 {
        writer.cpu_state(state(0, tsc * 2)).unwrap();
    }
    for tsc in (0..100_000).step_by(1000) {
        writer.cpu_state(state(1, tsc * 2)).unwrap();
    }
    writer.finish(Manifest::default()).unwrap();

    let dataset = Dataset::open(&dir).unwrap();
    let files = dataset.files(Table::CpuStates).unwrap();
    let late = files.iter().position(|path| path.ends_with("part-late-0000.parquet")).unwrap();
    assert_eq!((late, files.len()), (3, 3 + 100usize.div_ceil(8)));
    for range in [0..=0, 1..=1, 39_999..=80_002, 79_000..=79_000, 150_000..=i64::MAX, i64::MIN..=-1] {
        let mut found = Vec::new();
        for batch in dataset.scan(Table::CpuStates).columns(&["start_tsc"]).starting(range.clone()).batches().unwrap() {
            found.extend_from_slice(batch.unwrap().column(0).as_primitive::<Int64Type>().values());
        }
        let expected = (0..100_000)
            .flat_map(|n| std::iter::repeat_n(n * 2, if n % 1000 == 0 { 2 } else { 1 }))
            .filter(|tsc| range.contains(tsc))
            .collect::<Vec<i64>>();
        found.sort_unstable();
        assert_eq!(found, expected, "{range:?}");
        let typed = dataset.scan(Table::CpuStates).starting(range).rows::<CpuState>().unwrap();
        assert_eq!(typed.map(Result::unwrap).filter(|row| row.cpu == 1).count(), {
            expected.iter().filter(|tsc| *tsc % 2000 == 0).count() / 2
        });
    }
}

#[test]
fn a_writer_dropped_leaves_nothing() {
    let root = tempfile::tempdir().unwrap();
    let mut writer = DatasetWriter::create(&root.path().join("x"), options()).unwrap();
    writer.cpu_state(state(0, 1)).unwrap();
    assert!(names(root.path())[0].starts_with(".x.partial-"));
    drop(writer);
    assert!(names(root.path()).is_empty());
}

#[test]
fn a_dataset_is_replaced_only_where_that_was_asked_for() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("x");
    write_small(&dir, options()).unwrap();
    assert!(matches!(write_small(&dir, options()), Err(StoreError::Whole(WholeError::Exists { .. }))));
    DatasetWriter::create(&dir, replacing()).unwrap().finish(Manifest::default()).unwrap();
    assert_eq!(Dataset::open(&dir).unwrap().cpu_states().unwrap().count(), 0);
    assert_eq!(names(root.path()), ["x"]);
}

#[test]
fn nothing_but_a_dataset_or_an_empty_directory_is_replaced() {
    let root = tempfile::tempdir().unwrap();
    let empty = root.path().join("empty");
    fs::create_dir(&empty).unwrap();
    write_small(&empty, options()).unwrap();

    let other = root.path().join("other");
    fs::create_dir(&other).unwrap();
    fs::write(other.join("manifest.json"), "{\"name\": \"a web page\"}").unwrap();
    let file = root.path().join("file");
    fs::write(&file, "").unwrap();
    for path in [&other, &file] {
        assert!(matches!(write_small(path, replacing()), Err(StoreError::Whole(WholeError::Other { .. }))));
    }
    assert!(matches!(write_small("/".as_ref(), replacing()), Err(StoreError::Whole(WholeError::NoName { .. }))));
    assert_eq!(names(root.path()), ["empty", "file", "other"]);
}

#[test]
fn a_finish_that_fails_leaves_the_old_dataset() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("x");
    write_small(&dir, options()).unwrap();
    let writer = DatasetWriter::create(&dir, replacing()).unwrap();
    let partial = names(root.path()).into_iter().find(|name| name.starts_with('.')).unwrap();
    fs::remove_dir_all(root.path().join(partial)).unwrap();
    let error = writer.finish(Manifest::default()).unwrap_err();
    assert!(error.to_string().contains("part-0000.parquet: cannot create"), "{error}");
    assert_eq!(Dataset::open(&dir).unwrap().cpu_states().unwrap().count(), 2);
    assert_eq!(names(root.path()), ["x"]);

    // Somebody put other things there meanwhile.
    let writer = DatasetWriter::create(&dir, replacing()).unwrap();
    fs::remove_file(dir.join(MANIFEST_FILE)).unwrap();
    assert!(matches!(writer.finish(Manifest::default()), Err(StoreError::Whole(WholeError::Other { .. }))));
    assert!(dir.join("exits").is_dir());
    assert_eq!(names(root.path()), ["x"]);
}

#[test]
fn what_killed_processes_left_is_cleaned_up() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("x");
    write_small(&dir, options()).unwrap();
    let own = std::process::id();
    // Moved aside by a process that was killed before the new one was there.
    fs::rename(&dir, root.path().join(".x.old-4194305-1-0")).unwrap();
    fs::create_dir_all(root.path().join(".x.partial-4194305-1-0/exits")).unwrap();
    // This process's id, but another start: used again.
    fs::create_dir(root.path().join(format!(".x.partial-{own}-1-0"))).unwrap();
    for kept in [".xy.partial-4194305-1-0", ".x.partial-mine"] {
        fs::create_dir(root.path().join(kept)).unwrap();
    }
    let writing = DatasetWriter::create(&dir, replacing()).unwrap();
    let beside = DatasetWriter::create(&dir, replacing()).unwrap();
    assert_eq!(names(root.path()).iter().filter(|name| name.starts_with(&format!(".x.partial-{own}"))).count(), 2);
    drop((writing, beside));
    assert_eq!(names(root.path()), [".x.partial-mine", ".xy.partial-4194305-1-0", "x"]);
    assert_eq!(Dataset::open(&dir).unwrap().cpu_states().unwrap().count(), 2);
}

#[test]
fn every_way_to_be_no_dataset_has_its_word() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("x");
    let error = || Dataset::open(&dir).unwrap_err().to_string().replace(&format!("{}", root.path().display()), "");
    assert_eq!(error(), "/x: no such dataset");
    fs::create_dir(&dir).unwrap();
    assert_eq!(error(), "/x: not a dataset (no manifest.json of HAVAna in it)");
    write_small(&dir, options()).unwrap();

    let manifest = dir.join(MANIFEST_FILE);
    let text = fs::read_to_string(&manifest).unwrap();
    fs::write(&manifest, &text[..40]).unwrap();
    assert!(error().starts_with("/x/manifest.json: damaged manifest: EOF"), "{}", error());
    fs::write(&manifest, text.replace("\"schema_version\": 2", "\"schema_version\": 1")).unwrap();
    assert_eq!(error(), "/x: dataset of schema version 1; this program reads version 2");
    fs::write(&manifest, text.replacen('{', "{ \"of_a_later_version\": [1],", 1)).unwrap();
    Dataset::open(&dir).unwrap();

    fs::remove_file(dir.join("exits/node=host%2F1/capture=c0ffee/part-0000.parquet")).unwrap();
    assert_eq!(error(), "/x/exits/node=host%2F1/capture=c0ffee: damaged dataset: 0 files of 1");
}

#[test]
fn a_damaged_file_is_named() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("x");
    write_small(&dir, options()).unwrap();
    let dataset = Dataset::open(&dir).unwrap();
    let path: PathBuf = dataset.files(Table::CpuStates).unwrap().remove(0);
    let bytes = fs::read(&path).unwrap();
    for damaged in [&bytes[..0], &bytes[..bytes.len() / 2], &bytes[4..]] {
        fs::write(&path, damaged).unwrap();
        let results: Vec<_> = dataset.cpu_states().unwrap().collect();
        let Some(Err(error)) = results.last() else { panic!("no error") };
        assert!(error.to_string().starts_with(&format!("{}: damaged Parquet file", path.display())), "{error}");
        assert!(results.len() <= 3, "an error ends the rows");
    }
    // Of another table.
    fs::copy(dataset.files(Table::Vms).unwrap().remove(0), &path).unwrap();
    let error = dataset.cpu_states().unwrap().next().unwrap().unwrap_err();
    assert!(
        error.to_string().ends_with(
            "part-0000.parquet: no column start_tsc; if another version of havana wrote it: analyze the trace again"
        ),
        "{error}"
    );
}

#[test]
fn node_and_capture_need_a_name() {
    let root = tempfile::tempdir().unwrap();
    let options = WriterOptions { node: String::new(), ..options() };
    let error = DatasetWriter::create(&root.path().join("x"), options).err().unwrap();
    assert!(matches!(error, StoreError::EmptyKey { key: "node", .. }));
    assert!(names(root.path()).is_empty());
}
