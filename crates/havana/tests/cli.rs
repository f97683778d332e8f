//! What the program prints, how it ends, and what it leaves behind.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use havana_packet::{Ip, PSB, Packet, encode};
use havana_rows::{CpuState, Exit};
use havana_store::Dataset;
use snapbox::cmd::Command;
use snapbox::{file, str};
use tempfile::TempDir;

use crate::common::{HAVANA, analyze, bundled};

/// The program in a directory, at a width of 100, not on a terminal.
pub(crate) fn havana(dir: &Path) -> Command {
    Command::new(HAVANA).current_dir(dir).env("COLUMNS", "100").stdin("")
}

pub(crate) fn scratch() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// A stream of a few packets with three bytes in it that are none.
fn small() -> Vec<u8> {
    let mut bytes = b"\x19\x00".to_vec();
    let ip = Ip::compress(0xffff_ffff_8107_3914, 0);
    let before = [
        Packet::Psb,
        Packet::Pip { cr3: 0x7c6c_8000, nr: false },
        Packet::Vmcs { base: 0x3_f9f9_8000 },
        Packet::Tsc { tsc: 0xaf8_0c30 },
        Packet::Cbr { ratio: 21 },
        Packet::ModeExec { cs_l: true, cs_d: false, if_flag: true },
        Packet::PsbEnd,
        Packet::Fup(ip),
        Packet::Pip { cr3: 0x7bb6_1000, nr: true },
        Packet::Tip(ip),
        Packet::Tnt8 { bits: 0b101, count: 3 },
        Packet::Pad,
        Packet::Ovf,
    ];
    for packet in &before {
        encode(packet, &mut bytes).unwrap();
    }
    bytes.extend([0xc9, 0xff, 0xc9]);
    for packet in [Packet::Psb, Packet::PsbEnd] {
        encode(&packet, &mut bytes).unwrap();
    }
    bytes
}

/// A directory with `small.pt` in it.
fn with_small() -> TempDir {
    let dir = scratch();
    fs::write(dir.path().join("small.pt"), small()).unwrap();
    dir
}

/// A directory with a capture of this repository in it.
fn with_capture(name: &str) -> TempDir {
    let dir = scratch();
    let to = dir.path().join(name);
    fs::create_dir(&to).unwrap();
    for entry in fs::read_dir(bundled(name)).unwrap().map(Result::unwrap) {
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
    dir
}

#[test]
fn help() {
    let dir = scratch();
    let help = |command: &[&str]| havana(dir.path()).args(command).arg("--help").assert().success().stderr_eq("");
    help(&[]).stdout_eq(file!["snapshots/help.txt"]);
    help(&["record"]).stdout_eq(file!["snapshots/help-record.txt"]);
    help(&["doctor"]).stdout_eq(file!["snapshots/help-doctor.txt"]);
    help(&["overhead"]).stdout_eq(file!["snapshots/help-overhead.txt"]);
    help(&["analyze"]).stdout_eq(file!["snapshots/help-analyze.txt"]);
    help(&["report"]).stdout_eq(file!["snapshots/help-report.txt"]);
    help(&["diff"]).stdout_eq(file!["snapshots/help-diff.txt"]);
    help(&["export"]).stdout_eq(file!["snapshots/help-export.txt"]);
    help(&["learn"]).stdout_eq(file!["snapshots/help-learn.txt"]);
    help(&["view"]).stdout_eq(file!["snapshots/help-view.txt"]);
    help(&["top"]).stdout_eq(file!["snapshots/help-top.txt"]);
    help(&["packets"]).stdout_eq(file!["snapshots/help-packets.txt"]);
    help(&["demo"]).stdout_eq(file!["snapshots/help-demo.txt"]);
    help(&["simulate"]).stdout_eq(file!["snapshots/help-simulate.txt"]);
    help(&["completions"]).stdout_eq(file!["snapshots/help-completions.txt"]);
    help(&["man"]).stdout_eq(file!["snapshots/help-man.txt"]);
}

#[test]
fn packets_as_text() {
    havana(with_small().path()).args(["packets", "small.pt"]).assert().success().stderr_eq("").stdout_eq(str![[r#"
       0x2  psb
      0x12  pip        cr3=7c6c8000 nr=0
      0x1a  vmcs       3f9f98000
      0x21  tsc        af80c30
      0x29  cbr        15
      0x2d  mode.exec  cs.l=1 cs.d=0 if=1
      0x2f  psbend
      0x31  fup        ipc=3 ip=ffff81073914
      0x38  pip        cr3=7bb61000 nr=1
      0x40  tip        ipc=3 ip=ffff81073914
      0x47  tnt8       TNT
      0x48  pad
      0x49  ovf
      0x4b  bad        3 bytes: unknown opcode
      0x4e  psb
      0x5e  psbend

"#]]);
}

#[test]
fn packets_as_tsv() {
    let command = ["packets", "small.pt", "--format", "tsv"];
    havana(with_small().path()).args(command).assert().success().stderr_eq("").stdout_eq(str![[r#"
2	psb
12	pip	cr3=7c6c8000 nr=0
1a	vmcs	3f9f98000
21	tsc	af80c30
29	cbr	15
2d	mode.exec	cs.l=1 cs.d=0 if=1
2f	psbend
31	fup	ipc=3 ip=ffff81073914
38	pip	cr3=7bb61000 nr=1
40	tip	ipc=3 ip=ffff81073914
47	tnt8	TNT
48	pad
49	ovf
4b	bad	len=3 unknown opcode
4e	psb
5e	psbend

"#]]);
}

#[test]
fn packets_as_json() {
    let command = ["packets", "small.pt", "--format", "json"];
    havana(with_small().path()).args(command).assert().success().stderr_eq("").stdout_eq(str![[r#"
{"kind":"psb","len":16,"offset":2,"payload":""}
{"kind":"pip","len":8,"offset":18,"payload":"cr3=7c6c8000 nr=0"}
{"kind":"vmcs","len":7,"offset":26,"payload":"3f9f98000"}
{"kind":"tsc","len":8,"offset":33,"payload":"af80c30"}
{"kind":"cbr","len":4,"offset":41,"payload":"15"}
{"kind":"mode.exec","len":2,"offset":45,"payload":"cs.l=1 cs.d=0 if=1"}
{"kind":"psbend","len":2,"offset":47,"payload":""}
{"kind":"fup","len":7,"offset":49,"payload":"ipc=3 ip=ffff81073914"}
{"kind":"pip","len":8,"offset":56,"payload":"cr3=7bb61000 nr=1"}
{"kind":"tip","len":7,"offset":64,"payload":"ipc=3 ip=ffff81073914"}
{"kind":"tnt8","len":1,"offset":71,"payload":"TNT"}
{"kind":"pad","len":1,"offset":72,"payload":""}
{"kind":"ovf","len":2,"offset":73,"payload":""}
{"kind":"bad","len":3,"offset":75,"payload":"unknown opcode"}
{"kind":"psb","len":16,"offset":78,"payload":""}
{"kind":"psbend","len":2,"offset":94,"payload":""}

"#]]);
}

#[test]
fn packets_of_some_kinds() {
    let command = ["packets", "small.pt", "--only", "pip,bad", "--format", "tsv"];
    havana(with_small().path()).args(command).assert().success().stderr_eq("").stdout_eq(str![[r#"
12	pip	cr3=7c6c8000 nr=0
38	pip	cr3=7bb61000 nr=1
4b	bad	len=3 unknown opcode

"#]]);
}

#[test]
fn packets_counted() {
    let dir = with_small();
    let count =
        |more: &[&str]| havana(dir.path()).args(["packets", "small.pt", "--count"]).args(more).assert().success();
    count(&[]).stdout_eq(str![[r#"
           1  pad
           2  psb
           2  psbend
           1  tip
           1  fup
           1  tnt8
           2  pip
           1  vmcs
           1  tsc
           1  cbr
           1  mode.exec
           1  ovf
           1  bad

"#]]);
    count(&["--format", "tsv", "--only", "pip,vmcs,bad"]).stdout_eq(str![[r#"
pip	2
vmcs	1
bad	1

"#]]);
    count(&["--format", "json"]).stdout_eq(str![[r#"
{"bad":1,"cbr":1,"fup":1,"mode.exec":1,"ovf":1,"pad":1,"pip":2,"psb":2,"psbend":2,"tip":1,"tnt8":1,"tsc":1,"vmcs":1}

"#]]);
}

#[test]
fn packets_of_standard_input() {
    let only = ["packets", "-", "--only", "pip"];
    havana(scratch().path()).args(only).stdin(small()).assert().success().stderr_eq("").stdout_eq(str![[r#"
      0x12  pip        cr3=7c6c8000 nr=0
      0x38  pip        cr3=7bb61000 nr=1

"#]]);
}

#[test]
fn demo() {
    let dir = scratch();
    havana(dir.path()).arg("demo").assert().success().stderr_eq("").stdout_eq(file!["snapshots/demo.txt"]);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "it leaves something behind");
    havana(dir.path()).args(["demo", "-o", "kept"]).assert().success();
    Dataset::open(&dir.path().join("kept")).unwrap();
}

#[test]
fn report_of_two_cpus() {
    let dir = with_capture("smp-idle");
    let report = havana(dir.path()).args(["analyze", "smp-idle", "--node", "kvm7"]).assert().success();
    report.stderr_eq("").stdout_eq(file!["snapshots/smp-idle.txt"]);
    // The same again, less the last lines, which say where the dataset is.
    let analyzed =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots/smp-idle.txt")).unwrap();
    let again = analyzed.strip_suffix("\n\ndataset  smp-idle.havana\n").unwrap();
    havana(dir.path())
        .args(["report", "smp-idle.havana"])
        .assert()
        .success()
        .stderr_eq("")
        .stdout_eq(format!("{again}\n"));
}

/// Of each value that is no list and no object, where it is.
fn paths(value: &serde_json::Value, at: &str, all: &mut BTreeSet<String>) {
    match value {
        serde_json::Value::Object(fields) => fields.iter().for_each(|(key, v)| paths(v, &format!("{at}.{key}"), all)),
        serde_json::Value::Array(items) => items.iter().for_each(|v| paths(v, &format!("{at}[]"), all)),
        _ => {
            all.insert(at.to_string());
        }
    }
}

#[test]
fn report_as_json() {
    let dir = with_capture("hog-vma");
    let done = havana(dir.path()).args(["analyze", "hog-vma", "--json"]).assert().success().stderr_eq("");
    let json = done.get_output().stdout.clone();
    havana(dir.path())
        .args(["report", "hog-vma.havana", "--json"])
        .assert()
        .success()
        .stdout_eq(String::from_utf8(json.clone()).unwrap());
    let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
    let mut all = BTreeSet::new();
    paths(&json, "", &mut all);
    let all: Vec<String> = all.into_iter().collect();
    snapbox::assert_data_eq!(all.join("\n") + "\n", file!["snapshots/report-keys.txt"]);
    let shares: f64 = json["cpus"][0]["states"].as_object().unwrap().values().map(|v| v.as_f64().unwrap()).sum();
    assert!((shares - 1.0).abs() < 1e-9, "{shares}");
    assert_eq!(json["vms"].as_array().unwrap().len(), 2);
    assert_eq!(json["exits"], 8936);
}

#[test]
fn without_a_rate_times_are_ticks() {
    let dir = with_capture("tsc-only");
    fs::remove_file(dir.path().join("tsc-only/trace.toml")).unwrap();
    let done = havana(dir.path()).args(["analyze", "tsc-only"]).assert().success();
    done.stderr_eq("havana: warning: the TSC rate is not known (tsc_hz): times are ticks\n")
        .stdout_eq(file!["snapshots/no-rate.txt"]);
    let manifest = fs::read_to_string(dir.path().join("tsc-only.havana/manifest.json")).unwrap();
    assert!(manifest.contains("\"tsc_hz_known\": false"), "{manifest}");
}

/// VMs are loaded and none is seen to run: what KVM's host-guest mode leaves of a trace.
#[test]
fn guests_that_are_never_seen() {
    let mut bytes = Vec::new();
    for packet in [
        Packet::Psb,
        Packet::Tsc { tsc: 0xaf8_0c30 },
        Packet::Pip { cr3: 0x7c6c_8000, nr: false },
        Packet::Vmcs { base: 0x3_f9f9_8000 },
        Packet::PsbEnd,
        Packet::Pip { cr3: 0x7c6c_a000, nr: false },
        Packet::Tsc { tsc: 0xaf9_0c30 },
    ] {
        encode(&packet, &mut bytes).unwrap();
    }
    let dir = scratch();
    fs::write(dir.path().join("cpu0.pt"), bytes).unwrap();
    let done = havana(dir.path()).args(["analyze", "cpu0.pt", "--tsc-hz", "2e9", "-q"]).assert().success();
    done.stderr_eq(str![[r#"
havana: warning: VMs were loaded (VMCS packets) and none was seen to run: kvm_intel may trace guests apart (pt_mode=1); load it with pt_mode=0, or no VM ran

"#]]);
}

#[test]
fn wrong_usage_is_2() {
    let dir = with_small();
    let wrong = |args: &[&str]| havana(dir.path()).args(args).assert().code(2).stdout_eq("");
    wrong(&["analyze", "small.pt", "--colour"]).stderr_eq(str![[r#"
error: unexpected argument '--colour' found

  tip: to pass '--colour' as a value, use '-- --colour'

Usage: havana analyze <INPUT>...

For more information, try '--help'.

"#]]);
    wrong(&["packets", "small.pt", "--only", "pip,nope"]).stderr_eq(str![[r#"
error: 'nope' is no kind of packet; they are pad psb psbend tip tip.pge tip.pgd fup tnt8 tnt64 pip vmcs tsc tma mtc cyc cbr mode.exec mode.tsx ovf stop mnt ptw exstop mwait pwre pwrx bbp bip bep cfe evd trig bad

"#]]);
    wrong(&["packets", "small.pt", "--format", "xml"]).stderr_eq(str![[r#"
error: invalid value 'xml' for '--format <FORMAT>'
  [possible values: text, tsv, json]

For more information, try '--help'.

"#]]);
    wrong(&["analyze", "small.pt", "--tsc-hz", "fast"]).stderr_eq(str![[r#"
error: invalid value 'fast' for '--tsc-hz <HZ>': should be a number of ticks a second

For more information, try '--help'.

"#]]);
    wrong(&["analyze", "small.pt", "--cpu-model", "skylake"]).stderr_eq(str![[r#"
error: invalid value 'skylake' for '--cpu-model <F/M/S>': should be family/model/stepping, decimal, such as 6/85/4

For more information, try '--help'.

"#]]);
    wrong(&["report"]).stderr_eq(str![[r#"
error: the following required arguments were not provided:
  <DATASET>

Usage: havana report <DATASET>

For more information, try '--help'.

"#]]);
    wrong(&["frobnicate"]).stderr_eq(str![[r#"
error: unrecognized subcommand 'frobnicate'

Usage: havana <COMMAND>

For more information, try '--help'.

"#]]);
    wrong(&[]);
}

#[test]
fn no_answer_is_1() {
    let dir = with_small();
    fs::write(dir.path().join("empty.pt"), "").unwrap();
    fs::write(dir.path().join("garbage.pt"), [0x5a; 3000]).unwrap();
    fs::create_dir(dir.path().join("folder")).unwrap();
    let none = |args: &[&str]| havana(dir.path()).args(args).assert().code(1).stdout_eq("");
    none(&["view", "nothing.havana", "--no-open"]).stderr_eq("havana: nothing.havana: no such dataset\n");
    none(&["view", "folder", "--no-open"]).stderr_eq(
        "havana: folder: not a dataset (no manifest.json of HAVAna in it), and no trace: folder: no .pt file in this directory\n",
    );
    none(&["analyze", "missing.pt"]).stderr_eq(str![[r#"
havana: missing.pt: No such file or directory (os error 2)

"#]]);
    none(&["analyze", "empty.pt"]).stderr_eq(str![[r#"
havana: empty.pt: the file is empty

"#]]);
    none(&["analyze", "folder"]).stderr_eq(str![[r#"
havana: folder: no .pt file in this directory

"#]]);
    fs::write(dir.path().join("cpu0.pt"), small()).unwrap();
    none(&["packets", "cpu0.pt", "--cpu", "1"]).stderr_eq(str![[r#"
havana: cpu0.pt: no stream of cpu 1: it has [0]

"#]]);
    fs::remove_file(dir.path().join("cpu0.pt")).unwrap();
    none(&["analyze", "garbage.pt"]).stderr_eq(str![[r#"
havana: garbage.pt: neither a perf.data nor Intel PT: there is no PSB from offset 0 on

"#]]);
    fs::write(dir.path().join("recorded.pt"), b"PERFILE2 and so on").unwrap();
    none(&["analyze", "recorded.pt"]).stderr_eq(str![[r#"
havana: recorded.pt: the file ends at offset 0x12, before there is any trace in it

"#]]);
    none(&["analyze", "small.pt", "--from", "1e9"]).stderr_eq(str![[r#"
havana: the trace has nothing between --from and --to

"#]]);
    none(&["analyze", "small.pt", "--vm", "77"]).stderr_eq(str![[r#"
havana: the trace has no VM 77; it has [..]

"#]]);
    none(&["analyze", "small.pt", "small.pt"]).stderr_eq(str![[r#"
havana: small.pt: the name does not say which cpu this is; name it cpuN.pt, or give one file with --cpu N

"#]]);
    none(&["packets", "missing.pt"]).stderr_eq(str![[r#"
havana: missing.pt: No such file or directory (os error 2)

"#]]);
    none(&["packets", "garbage.pt"]).stderr_eq(str![[r#"
havana: garbage.pt: at offset 0x0: no PSB in 3000 B: nothing to synchronise at

"#]]);
    none(&["report", "missing"]).stderr_eq(str![[r#"
havana: missing: no such dataset

"#]]);
    none(&["report", "folder"]).stderr_eq(str![[r#"
havana: folder: not a dataset (no manifest.json of HAVAna in it)

"#]]);
    none(&["report", "small.pt"]).stderr_eq(str![[r#"
havana: small.pt: not a dataset (no manifest.json of HAVAna in it)

"#]]);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 5, "it leaves something behind");
}

#[test]
fn a_dataset_is_replaced_only_when_told_to() {
    let dir = with_capture("smp-idle");
    let run = |more: &[&str]| havana(dir.path()).args(["analyze", "smp-idle", "-q", "-o", "d"]).args(more).assert();
    run(&[]).success().stdout_eq("").stderr_eq("");
    run(&[]).code(1).stderr_eq(str![[r#"
havana: d: exists already; --force replaces it

"#]]);
    run(&["--force"]).success().stderr_eq("");
    // What is no dataset is not replaced even then.
    fs::write(dir.path().join("d/manifest.json"), "{}").unwrap();
    run(&["--force"]).code(1);
    assert_eq!(fs::read_to_string(dir.path().join("d/manifest.json")).unwrap(), "{}");
}

#[test]
fn losses_are_warnings_unless_strict() {
    let dir = with_capture("hog-vma");
    let stream = dir.path().join("hog-vma/cpu0.pt");
    let mut bytes = fs::read(&stream).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 600].fill(0xff);
    fs::write(&stream, bytes).unwrap();
    let run = |more: &[&str]| havana(dir.path()).args(["analyze", "hog-vma", "-f", "-q"]).args(more).assert();
    run(&[]).success().stderr_eq(str![[r#"
havana: warning: 1 stretch of bytes is no packet: see losses

"#]]);
    run(&["--strict"]).code(1).stderr_eq(str![[r#"
havana: warning: 1 stretch of bytes is no packet: see losses
havana: trace was lost, in 1 stretch of it (damaged, 1,882 bytes): see the table losses

"#]]);
    havana(dir.path()).args(["report", "hog-vma.havana"]).assert().success();
    havana(dir.path()).args(["report", "hog-vma.havana", "--strict"]).assert().code(1);
}

/// Wherever a stream is cut, what is before the cut is told.
#[test]
fn a_truncated_stream_is_read_up_to_its_end() {
    let dir = with_capture("hog-vma");
    let stream = dir.path().join("hog-vma/cpu0.pt");
    let bytes = fs::read(&stream).unwrap();
    let whole = analyze(&dir.path().join("hog-vma"), &dir.path().join("whole")).exits().unwrap().count();
    for eighth in 1..8 {
        fs::write(&stream, &bytes[..bytes.len() * eighth / 8 + eighth]).unwrap();
        havana(dir.path()).args(["analyze", "hog-vma", "-f", "-q"]).assert().success();
        let exits = Dataset::open(&dir.path().join("hog-vma.havana")).unwrap().exits().unwrap().count();
        let share = exits as f64 / whole as f64;
        assert!((share - eighth as f64 / 8.0).abs() < 0.1, "{exits} exits of {whole} in {eighth} eighths");
    }
}

/// Closes standard output, after a line of it where asked to, and says how the program ended.
fn close_after(dir: &Path, args: &[&str], line: bool) -> (Option<i32>, String) {
    let mut command = std::process::Command::new(HAVANA);
    let mut child = command.current_dir(dir).args(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut out = BufReader::with_capacity(64, child.stdout.take().unwrap());
    if line {
        out.read_line(&mut String::new()).unwrap();
    }
    drop(out);
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    (child.wait().unwrap().code(), said)
}

#[test]
fn a_closed_pipe_is_no_error() {
    let dir = with_capture("hog-vma");
    analyze(&dir.path().join("hog-vma"), &dir.path().join("d"));
    let commands: &[&[&str]] = &[
        &["packets", "hog-vma/cpu0.pt"],
        &["packets", "hog-vma/cpu0.pt", "--format", "json"],
        &["demo"],
        &["report", "d"],
        &["report", "d", "--json"],
        &["analyze", "hog-vma", "-f"],
        &["completions", "bash"],
    ];
    for args in commands {
        for line in [false, true] {
            assert_eq!(close_after(dir.path(), args, line), (Some(0), String::new()), "{args:?}");
        }
    }
}

fn exits(dataset: &Dataset) -> Vec<Exit> {
    dataset.exits().unwrap().map(Result::unwrap).collect()
}

fn cpu_states(dataset: &Dataset) -> Vec<CpuState> {
    dataset.cpu_states().unwrap().map(Result::unwrap).collect()
}

#[test]
fn a_part_in_time_is_that_part_of_the_whole() {
    let dir = with_capture("smp-idle");
    let whole = analyze(&dir.path().join("smp-idle"), &dir.path().join("whole"));
    havana(dir.path())
        .args(["analyze", "smp-idle", "-q", "-o", "part", "--from", "0.5", "--to", "0.9"])
        .assert()
        .success();
    let part = Dataset::open(&dir.path().join("part")).unwrap();
    let first = whole.manifest().clock.origin_tsc;
    let (from, to) = (first + 1_050_000_000, first + 1_890_000_000);
    assert_eq!((part.manifest().first_tsc, part.manifest().last_tsc), (Some(from), Some(to)));

    let inside = |exits: Vec<Exit>| -> Vec<_> {
        let inside = exits.into_iter().filter(|e| (from..to).contains(&e.exit.tsc));
        inside.map(|e| (e.cpu, e.entry, e.exit, e.guest_cr3)).collect()
    };
    let (all, some) = (inside(exits(&whole)), inside(exits(&part)));
    assert_eq!(some.len(), exits(&part).len());
    assert!(all.len() > 1000);
    assert_eq!(all, some);
    for cpu in [0, 1] {
        let rows: Vec<CpuState> = cpu_states(&part).into_iter().filter(|row| row.cpu == cpu).collect();
        assert_eq!((rows[0].start.tsc, rows[rows.len() - 1].end.tsc), (from, to));
        assert!(rows.windows(2).all(|pair| pair[0].end.tsc == pair[1].start.tsc));
    }
}

#[test]
fn a_part_by_cpu_and_by_vm() {
    let dir = with_capture("smp-idle");
    let whole = analyze(&dir.path().join("smp-idle"), &dir.path().join("whole"));
    let part = |name: &str, args: &[&str]| {
        havana(dir.path()).args(["analyze", "smp-idle", "-q", "-o", name]).args(args).assert().success();
        Dataset::open(&dir.path().join(name)).unwrap()
    };
    let cpu1 = part("cpu1", &["--cpu", "1"]);
    assert_eq!(cpu1.manifest().cpus, [1]);
    assert_eq!(exits(&cpu1).len(), exits(&whole).iter().filter(|e| e.cpu == 1).count());

    let vm1 = part("vm1", &["--vm", "1"]);
    assert_eq!(vm1.vms().unwrap().iter().map(|vm| vm.vm_id).collect::<Vec<_>>(), [1]);
    assert_eq!(exits(&vm1), exits(&whole).into_iter().filter(|e| e.vm_id == 1).collect::<Vec<_>>());
    assert_eq!(cpu_states(&vm1), cpu_states(&whole), "who else had the cpus stays");
    havana(dir.path()).args(["report", "vm1"]).assert().success();
}

/// What a killed run leaves does not look like a dataset, and the next one clears it away.
#[test]
fn a_killed_run_leaves_nothing_that_looks_whole() {
    let dir = with_capture("hog-vma");
    // Ten times the bytes: a run that takes long enough to be killed.
    let stream = dir.path().join("hog-vma/cpu0.pt");
    fs::write(&stream, fs::read(&stream).unwrap().repeat(10)).unwrap();
    let hidden = || -> Vec<String> {
        let names = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name != "hog-vma").collect()
    };
    let mut killed = 0;
    for wait in [0, 1, 5, 20, 50] {
        let mut child = start(dir.path());
        let began = Instant::now();
        while hidden().is_empty() && child.try_wait().unwrap().is_none() {
            assert!(began.elapsed() < Duration::from_secs(60), "nothing is written");
            std::thread::sleep(Duration::from_micros(200));
        }
        std::thread::sleep(Duration::from_millis(wait));
        child.kill().unwrap();
        let ended = child.wait().unwrap();
        let left = hidden();
        if ended.success() {
            fs::remove_dir_all(dir.path().join("d")).unwrap();
            continue;
        }
        killed += 1;
        assert!(left.iter().all(|name| name.starts_with(".d.partial-")), "{left:?}");
        for name in &left {
            Dataset::open(&dir.path().join(name)).unwrap_err();
        }
        havana(dir.path()).args(["report", "d"]).assert().code(1);
    }
    assert!(killed > 0, "every run was done before it could be killed");
    assert!(start(dir.path()).wait().unwrap().success());
    assert_eq!(hidden(), ["d"]);
}

fn start(dir: &Path) -> Child {
    let mut command = std::process::Command::new(HAVANA);
    command.current_dir(dir).args(["analyze", "hog-vma", "-q", "-o", "d"]).stderr(Stdio::null()).spawn().unwrap()
}

#[test]
fn man_pages_and_completions() {
    let dir = scratch();
    havana(dir.path()).args(["man", "man1"]).assert().success().stdout_eq("").stderr_eq("");
    let mut pages: Vec<_> = fs::read_dir(dir.path().join("man1")).unwrap().map(|e| e.unwrap().file_name()).collect();
    pages.sort();
    for command in ["analyze", "completions", "demo", "man", "packets", "report"] {
        let page = format!("havana-{command}.1");
        assert!(pages.contains(&page.clone().into()), "no {page} in {pages:?}");
        let text = fs::read_to_string(dir.path().join("man1").join(page)).unwrap();
        assert!(text.contains(".SH SYNOPSIS"), "{text}");
    }
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let done = havana(dir.path()).args(["completions", shell]).assert().success().stderr_eq("");
        let script = String::from_utf8_lossy(&done.get_output().stdout).into_owned();
        assert!(script.contains("havana") && script.contains("tsc-ctc-ratio"), "{shell}: {script}");
    }
}

/// A PSB that ends a stream is a place to synchronise at, with nothing behind it.
#[test]
fn a_lone_psb_is_a_packet() {
    havana(scratch().path())
        .args(["packets", "-", "--format", "tsv"])
        .stdin(&PSB[..])
        .assert()
        .success()
        .stdout_eq("0\tpsb\n");
}

/// A node that is not there: written whole, never over what is not ours, and the same each time.
#[test]
fn simulate() {
    let dir = tempfile::tempdir().unwrap();
    let run = |args: &[&str]| havana(dir.path()).args(["simulate"]).args(args).assert();
    run(&["quiet", "--seconds", "0.1", "--cpus", "2"]).success().stderr_eq("").stdout_eq(str![[r#"
quiet: 100 ms of 2 cpus, [..] of trace, [..] VM exits
capture  quiet

"#]]);
    let read = |name: &str| fs::read(dir.path().join(name)).unwrap();
    let files = fs::read_dir(dir.path().join("quiet")).unwrap().map(|f| f.unwrap().file_name().into_string().unwrap());
    let mut files: Vec<_> = files.collect();
    files.sort();
    assert_eq!(files, ["cpu0.pt", "cpu1.pt", "scenario.toml", "trace.toml", "truth.havana", "truth.zst"]);
    havana(dir.path()).args(["analyze", "quiet", "--strict"]).assert().success();

    run(&["quiet"]).code(1).stdout_eq("").stderr_eq(str![[r#"
havana: quiet: exists already; --force replaces it

"#]]);
    fs::create_dir(dir.path().join("mine")).unwrap();
    fs::write(dir.path().join("mine/notes.txt"), "").unwrap();
    run(&["quiet", "-o", "mine", "--force"]).code(1).stderr_eq(str![[r#"
havana: mine: exists already, and is something else: choose another name

"#]]);
    let before = read("quiet/cpu0.pt");
    // Its own scenario gives it again; another seed does not.
    fs::copy(dir.path().join("quiet/scenario.toml"), dir.path().join("again.toml")).unwrap();
    run(&["again.toml"]).success();
    assert_eq!(read("again/cpu0.pt"), before);
    run(&["again.toml", "--force", "--no-tables"]).success();
    assert_eq!(read("again/truth.zst"), read("quiet/truth.zst"));
    assert!(!dir.path().join("again/truth.havana").exists());
    run(&["again.toml", "--force", "--seed", "2", "--no-truth"]).success();
    assert_ne!(read("again/cpu0.pt"), before);
    assert!(!dir.path().join("again/truth.zst").exists() && !dir.path().join("again/truth.havana").exists());

    run(&["nobody"]).code(1).stderr_eq(str![[r#"
havana: nobody: no such file, and no scenario of that name; there are quiet, noisy-neighbour, cron-burst, exit-storm, overcommit, throttled, migration, clock-jump, lossy, big

"#]]);
    fs::write(dir.path().join("bad.toml"), "[node]\ncpus = 2\nsecond = 1\n").unwrap();
    run(&["bad.toml"]).code(1).stderr_eq(str![[r#"
havana: bad.toml: line 3: unknown field `second`, expected [..]

"#]]);
    run(&["quiet", "-o", "x", "--cpus", "0"]).code(1).stderr_eq(str![[r#"
havana: quiet: node.cpus = 0: should be 1 to 4096

"#]]);
    let left = fs::read_dir(dir.path()).unwrap().map(|f| f.unwrap().file_name().into_string().unwrap());
    assert!(left.into_iter().all(|name| !name.starts_with('.')), "nothing half-written is left");
}
