//! Datasets in the formats of other tools, held against what pyarrow reads: the programs in `export/` read what other
//! tools would, with these tools where they are at hand.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use havana_rows::Sink;
use havana_rows::parquet::NsClock;
use havana_store::{Dataset, DatasetWriter, Epoch, WriterOptions};
use snapbox::str;

use crate::cli::{havana, scratch};
use crate::common::{HAVANA, analyze, bundled, recording, skipped};

const FORMATS: [&str; 7] = ["perfetto", "ctf1", "ctf2", "folded", "pprof", "csv", "jsonl"];

/// What is exported: captures, recordings and simulated nodes; with the clock of 1970, from the first event on, and none.
fn inputs(dir: &Path) -> Vec<(&'static str, PathBuf)> {
    let mut inputs = vec![("tsc-only", bundled("tsc-only")), ("threads", recording("threads"))];
    for (scenario, file) in [("lossy", "simulated-lossy/perf.data"), ("overcommit", "simulated-overcommit")] {
        let run = havana(dir).args(["simulate", scenario, "--seconds", "0.3", "--no-truth"]);
        run.args(["-o", &format!("simulated-{scenario}")]).assert().success();
        inputs.push((scenario, dir.join(file)));
    }
    let ticks = dir.join("without-facts");
    fs::create_dir(&ticks).unwrap();
    for file in ["cpu0.pt", "cpu1.pt"] {
        fs::copy(bundled("smp-idle").join(file), ticks.join(file)).unwrap();
    }
    inputs.push(("no-rate", ticks));
    inputs
}

/// The same rows by a clock that counts from 1970.
fn of_unix_time(dataset: &Dataset, dir: &Path) -> Dataset {
    let mut manifest = dataset.manifest().clone();
    let origin = (manifest.clock.origin_tsc, 1_790_000_000_123_456_789);
    manifest.clock.epoch = Epoch::Unix;
    manifest.clock.origin_ns = Some(origin.1);
    let options = WriterOptions {
        node: manifest.node.clone(),
        capture: manifest.capture.clone(),
        ns_clock: NsClock::of(manifest.clock.tsc_hz, origin),
        ..WriterOptions::default()
    };
    let mut writer = DatasetWriter::create(dir, options).unwrap();
    dataset.cpu_states().unwrap().for_each(|row| writer.cpu_state(row.unwrap()).unwrap());
    dataset.vcpu_states().unwrap().for_each(|row| writer.vcpu_state(row.unwrap()).unwrap());
    dataset.exits().unwrap().for_each(|row| writer.exit(row.unwrap()).unwrap());
    dataset.losses().unwrap().for_each(|row| writer.loss(row.unwrap()).unwrap());
    dataset.threads().unwrap().for_each(|row| writer.thread(row.unwrap()).unwrap());
    dataset.vms().unwrap().into_iter().for_each(|row| writer.vm(row).unwrap());
    dataset.vm_offsets().unwrap().into_iter().for_each(|row| writer.vm_offset(row).unwrap());
    dataset.vcpus().unwrap().into_iter().for_each(|row| writer.vcpu(row).unwrap());
    dataset.processes().unwrap().into_iter().for_each(|row| writer.process(row).unwrap());
    let found = (dataset.findings().unwrap().unwrap(), dataset.finding_spans().unwrap());
    writer.end(manifest).unwrap().put(Some(found)).unwrap()
}

/// Whether a program is there that a check needs.
fn is_at_hand(test: &str, program: &str, args: &[&str]) -> bool {
    let there = Command::new(program).args(args).output().is_ok_and(|done| done.status.success());
    if !there {
        skipped(test, &format!("{program} {} fails", args.join(" ")));
    }
    there
}

/// Runs a check; what it says of itself is printed.
fn check(python: &str, dir: &Path, args: &[&str]) {
    let checks = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/export");
    let done = Command::new(python).arg("-B").arg(checks.join(args[0])).args(&args[1..]).current_dir(dir).output();
    let done = done.unwrap();
    let said = String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{args:?}: {said}");
    print!("{}: {said}", args[1..].join(" "));
}

#[test]
fn every_format_says_what_the_dataset_says() {
    let test = "export";
    let python = std::env::var("HAVANA_PYTHON").unwrap_or_else(|_| "python3".into());
    if !is_at_hand(test, &python, &["-c", "import pyarrow.parquet"]) {
        return;
    }
    let has_protobuf = is_at_hand("export: pprof", &python, &["-c", "import google.protobuf"]);
    let has_perfetto = is_at_hand("export: Perfetto", &python, &["-c", "import perfetto.trace_processor"]);
    let has_babeltrace = is_at_hand("export: CTF", "babeltrace2", &["--version"]);
    let dir = scratch();
    let mut epochs = Vec::new();
    for (name, input) in inputs(dir.path()) {
        let mut dataset = analyze(&input, &dir.path().join(name));
        if name == "threads" {
            let analyzed = dir.path().join("analyzed");
            fs::rename(dir.path().join(name), &analyzed).unwrap();
            dataset = of_unix_time(&Dataset::open(&analyzed).unwrap(), &dir.path().join(name));
        }
        let clock = &dataset.manifest().clock;
        epochs.push(clock.epoch);
        // In its midst: what is cut at both ends.
        let ticks = (dataset.manifest().last_tsc.unwrap() - dataset.manifest().first_tsc.unwrap()) as f64;
        let length = ticks / clock.tsc_hz.map_or(1.0, |hz| hz as f64);
        let part =
            [format!("{}", (length * 0.31 * 1e6).round() / 1e6), format!("{}", (length * 0.64 * 1e6).round() / 1e6)];
        for part in [&[][..], &part] {
            let of = |format: &str| format!("{name}-{}.{format}", part.len());
            for format in FORMATS {
                let mut run = havana(dir.path()).args(["export", name, "--format", format, "-o", &of(format)]);
                if let [from, to] = part {
                    run = run.args(["--from", from, "--to", to]);
                }
                run.assert().success();
            }
            let held = |args: &[&str]| {
                let all: Vec<&str> = args.iter().copied().chain(part.iter().map(String::as_str)).collect();
                check(&python, dir.path(), &all);
            };
            if has_perfetto {
                held(&["check_perfetto.py", name, &of("perfetto")]);
            }
            if has_babeltrace {
                held(&["check_ctf.py", name, &of("ctf1")]);
                held(&["check_ctf.py", name, &of("ctf2")]);
            }
            if has_protobuf {
                held(&["check_stacks.py", name, &of("folded"), &of("pprof")]);
            }
            held(&["check_tables.py", name, &of("csv"), &of("jsonl")]);
        }
    }
    for epoch in [Epoch::Unix, Epoch::FirstEvent, Epoch::Ticks] {
        assert!(epochs.contains(&epoch), "none of {epoch:?} among {epochs:?}");
    }
}

/// All that an export wrote, whatever it is made of.
fn bytes_of(path: &Path) -> Vec<u8> {
    if path.is_file() {
        return fs::read(path).unwrap();
    }
    fs::read_dir(path).unwrap().flat_map(|entry| fs::read(entry.unwrap().path()).unwrap()).collect()
}

fn has(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

#[test]
fn redacted_nothing_is_named() {
    let dir = scratch();
    let run = havana(dir.path()).args(["analyze", "-q", "-o", "d", "--node", "kvm-07.example"]);
    run.arg(recording("steal-two-hogs")).assert().success();
    let dataset = Dataset::open(&dir.path().join("d")).unwrap();
    let mut names: Vec<String> = Vec::new();
    let mut addresses: Vec<i64> = Vec::new();
    for vm in dataset.vms().unwrap() {
        names.extend(vm.name.into_iter().chain(vm.uuid));
        addresses.push(vm.host_cr3);
    }
    addresses.extend(dataset.vcpus().unwrap().iter().map(|vcpu| vcpu.vmcs));
    addresses.extend(dataset.processes().unwrap().iter().map(|process| process.cr3));
    names.extend(dataset.processes().unwrap().into_iter().filter_map(|process| process.name));
    names.push(dataset.manifest().node.clone());
    names.extend(dataset.threads().unwrap().filter_map(|thread| thread.unwrap().name));
    // Shorter ones may be anywhere.
    names.retain(|name| name.len() > 2);
    // Bytes of shorter ones may be anywhere, too.
    addresses.retain(|address| *address > 0xff_ffff && address.trailing_zeros() < 16);
    let addresses: Vec<u64> = addresses.into_iter().map(i64::cast_unsigned).collect();
    assert!(names.contains(&"vma".to_string()) && addresses.len() > 5, "{names:?}");
    for format in FORMATS {
        let plain = format!("plain.{format}");
        let run = |out: &str| havana(dir.path()).args(["export", "d", "--format", format, "-o", out]);
        run(&plain).assert().success();
        run(format).arg("--redact").assert().success();
        let gunzip = |bytes: Vec<u8>| match format {
            "pprof" => {
                let mut out = Vec::new();
                std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&bytes[..]), &mut out).unwrap();
                out
            }
            _ => bytes,
        };
        let told = gunzip(bytes_of(&dir.path().join(format)));
        let plain = gunzip(bytes_of(&dir.path().join(&plain)));
        assert!(names.iter().any(|name| has(&plain, name.as_bytes())), "{format} has no names at all");
        for name in &names {
            assert!(!has(&told, name.as_bytes()), "{format} names {name}");
        }
        let is_in = |bytes: &[u8], address: u64| {
            has(bytes, format!("{address:#x}").as_bytes()) || has(bytes, &address.to_le_bytes())
        };
        assert!(addresses.iter().any(|&address| is_in(&plain, address)), "{format} has no addresses at all");
        for &address in &addresses {
            assert!(!is_in(&told, address), "{format} has {address:#x}");
        }
    }
}

#[test]
fn what_is_asked_for_and_not_there() {
    let dir = scratch();
    analyze(&bundled("tsc-only"), &dir.path().join("d"));
    fs::write(dir.path().join("there"), "mine").unwrap();
    fs::create_dir(dir.path().join("full")).unwrap();
    fs::write(dir.path().join("full/metadata"), "").unwrap();
    fs::create_dir(dir.path().join("full/below")).unwrap();
    let refused = |args: &[&str], status: i32| {
        let run = havana(dir.path()).arg("export").args(args);
        run.assert().code(status).stdout_eq("")
    };
    let csv = ["d", "--format", "csv", "-o", "out"];
    let with = |more: &[&'static str]| [&csv[..], more].concat();
    refused(&with(&["--vm", "7"]), 1).stderr_eq("havana: the dataset has no VM 7; it has [0, 1, 2]\n");
    refused(&with(&["--cpu", "9"]), 1).stderr_eq("havana: the dataset has no cpu 9; it has [0]\n");
    refused(&with(&["--from", "2", "--to", "1"]), 1)
        .stderr_eq("havana: the part ends before it begins: --from must be before --to\n");
    refused(&with(&["--from", "99"]), 1).stderr_eq(str![[r#"
havana: the dataset has nothing in that time: it is 1.029 s long

"#]]);
    refused(&with(&["--table", "exit"]), 2).stderr_eq(str![[r#"
error: invalid value 'exit' for '--table <NAME>': no table "exit": there are cpu_states, vcpu_states, exits, [..]

For more information, try '--help'.

"#]]);
    refused(&["d", "--format", "csv", "-o", "-"], 1).stderr_eq(str![[r#"
havana: standard output takes one file: say -o DIR, or of csv and jsonl which --table

"#]]);
    refused(&["d", "--format", "ctf2", "-o", "-"], 1).stderr_eq(str![[r#"
havana: standard output takes one file: say -o DIR, or of csv and jsonl which --table

"#]]);
    refused(&["d", "--format", "perfetto", "-o", "there"], 1)
        .stderr_eq("havana: there: exists already; --force replaces it\n");
    refused(&["d", "--format", "ctf1", "-o", "there"], 1).stderr_eq(str![[r#"
havana: there: exists already, and is something else: choose another name

"#]]);
    refused(&["d", "--format", "ctf1", "-o", "full", "--force"], 1).stderr_eq(str![[r#"
havana: full: exists already, and is something else: choose another name

"#]]);
    refused(&["d", "--format", "pprof", "-o", "no/such/place"], 1).stderr_eq(str![[r#"
havana: no/such/place: cannot write: No such file or directory (os error 2)

"#]]);
    refused(&["d", "--format", "perfetto", "--table", "exits", "-o", "out"], 1).stderr_eq(str![[r#"
havana: --table is for --format csv and jsonl

"#]]);
    refused(&["there", "--format", "folded", "-o", "-"], 1).stderr_eq(str![[r#"
havana: there: not a dataset (no manifest.json of HAVAna in it)

"#]]);
    assert_eq!(fs::read_to_string(dir.path().join("there")).unwrap(), "mine");
}

#[test]
fn a_closed_pipe_is_no_error() {
    let dir = scratch();
    analyze(&bundled("tsc-only"), &dir.path().join("d"));
    for format in ["perfetto", "folded", "pprof", "csv", "jsonl"] {
        let table: &[&str] = if ["csv", "jsonl"].contains(&format) { &["--table", "exits"] } else { &[] };
        let mut run = Command::new(HAVANA);
        run.args(["export", "d", "--format", format, "-o", "-"]).args(table).current_dir(dir.path());
        let mut child = run.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let done = child.wait_with_output().unwrap();
        assert!(done.status.success() && done.stderr.is_empty(), "{format}: {}", String::from_utf8_lossy(&done.stderr));
    }
}

/// What cannot be read to its end is not written to its begin.
#[test]
fn a_damaged_dataset_leaves_nothing() {
    let dir = scratch();
    let dataset = analyze(&bundled("tsc-only"), &dir.path().join("d"));
    let file = dataset.files(havana_rows::parquet::Table::Exits).unwrap().remove(0);
    let bytes = fs::read(&file).unwrap();
    fs::write(&file, &bytes[..bytes.len() / 2]).unwrap();
    for format in FORMATS {
        let run = havana(dir.path()).args(["export", "d", "--format", format, "-o", "out"]);
        run.assert().code(1).stdout_eq("").stderr_eq("havana: [..]: damaged Parquet file: [..]\n");
        let left: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["d"], "{format}");
    }
}

#[test]
fn forced_it_replaces_what_was_exported_before() {
    let dir = scratch();
    analyze(&bundled("tsc-only"), &dir.path().join("d"));
    for format in FORMATS {
        for _ in 0..2 {
            havana(dir.path()).args(["export", "d", "--force", "--format", format, "-o", format]).assert().success();
        }
        let refused = havana(dir.path()).args(["export", "d", "--format", format, "-o", format]).assert().code(1);
        refused.stderr_eq(format!("havana: {format}: exists already; --force replaces it\n"));
    }
}

#[test]
fn one_table_goes_to_standard_output() {
    let dir = scratch();
    analyze(&bundled("tsc-only"), &dir.path().join("d"));
    let run = |format: &str| {
        havana(dir.path()).args(["export", "d", "--format", format, "--table", "vms", "-o", "-"]).assert().success()
    };
    run("csv").stderr_eq("").stdout_eq(str![[r#"
vm_id,host_cr3,first_tsc,last_tsc,tsc_offset,tsc_offset_lo,tsc_offset_hi,tsc_scale,name,uuid,pid
0,0x4d40000,69145069199,71282572186,-17222159178,-17225963363,-17218354993,,,,
1,0x4d3e000,69149520376,71265964473,-17213932075,-17216909920,-17210954229,,,,
2,0x4d42000,69159123362,71290967240,-17237850371,-17241962416,-17233738326,,,,

"#]]);
    run("jsonl").stderr_eq("").stdout_eq(str![[r#"
{"vm_id":0,"host_cr3":"0x4d40000","first_tsc":69145069199,"last_tsc":71282572186,"tsc_offset":-17222159178,"tsc_offset_lo":-17225963363,"tsc_offset_hi":-17218354993,"tsc_scale":null,"name":null,"uuid":null,"pid":null}
{"vm_id":1,"host_cr3":"0x4d3e000","first_tsc":69149520376,"last_tsc":71265964473,"tsc_offset":-17213932075,"tsc_offset_lo":-17216909920,"tsc_offset_hi":-17210954229,"tsc_scale":null,"name":null,"uuid":null,"pid":null}
{"vm_id":2,"host_cr3":"0x4d42000","first_tsc":69159123362,"last_tsc":71290967240,"tsc_offset":-17237850371,"tsc_offset_lo":-17241962416,"tsc_offset_hi":-17233738326,"tsc_scale":null,"name":null,"uuid":null,"pid":null}

"#]]);
}

/// Of a VM there is what it did, and what was found of it; of the cpus all, as they say who had its time.
#[test]
fn a_part_is_of_its_vms_and_cpus() {
    let dir = scratch();
    let run = havana(dir.path()).args(["simulate", "overcommit", "--seconds", "1", "--no-truth", "-o", "n"]);
    run.assert().success();
    analyze(&dir.path().join("n"), &dir.path().join("d"));
    let rows = |table: &str, part: &[&str]| -> Vec<serde_json::Value> {
        let run = havana(dir.path()).args(["export", "d", "--format", "jsonl", "--table", table, "-o", "-"]).args(part);
        let output = run.assert().success().get_output().stdout.clone();
        output
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| serde_json::from_slice(line).unwrap())
            .collect()
    };
    let ids = |rows: &[serde_json::Value], column: &str| -> BTreeSet<i64> {
        rows.iter().filter_map(|row| row[column].as_i64()).collect()
    };
    let only = |table: &str, part: &[&str], keep: &dyn Fn(&serde_json::Value) -> bool| {
        let (all, part) = (rows(table, &[]), rows(table, part));
        let expected: Vec<_> = all.iter().filter(|row| keep(row)).cloned().collect();
        assert!(!part.is_empty() && part.len() < all.len(), "{table}: {} of {}", part.len(), all.len());
        assert!(part == expected, "{table}: {} rows, not {}", part.len(), expected.len());
        part
    };
    let vm =
        rows("findings", &[]).iter().find_map(|finding| finding["vm_id"].as_i64()).expect("something is found of a VM");
    let said = vm.to_string();
    let part = ["--vm", said.as_str()];
    for table in ["exits", "vcpu_states", "vms", "lod_exits"] {
        only(table, &part, &|row| row["vm_id"] == vm);
    }
    assert_eq!(rows("cpu_states", &part), rows("cpu_states", &[]));
    let vcpus = ids(&only("vcpus", &part, &|row| row["vm_id"] == vm), "vcpu_id");
    let processes = ids(&only("processes", &part, &|row| row["vm_id"].is_null() || row["vm_id"] == vm), "process_id");
    only("lod", &part, &|row| match row["track_kind"].as_str() {
        Some("vcpu") => vcpus.contains(&row["track_id"].as_i64().unwrap()),
        Some("process") => processes.contains(&row["track_id"].as_i64().unwrap()),
        _ => true,
    });
    let findings = ids(&rows("findings", &part), "finding_id");
    let of = |row: &serde_json::Value| findings.contains(&row["finding_id"].as_i64().unwrap());
    let spans: Vec<_> = rows("finding_spans", &[]).into_iter().filter(of).collect();
    assert_eq!(rows("finding_spans", &part), spans);

    let part = ["--cpu", "1"];
    for table in ["cpu_states", "vcpu_states", "exits"] {
        only(table, &part, &|row| row["cpu"] == 1);
    }
    let run = havana(dir.path()).args(["export", "d", "--format", "csv", "--table", "lod", "--cpu", "1", "-o", "-"]);
    run.assert().code(1).stderr_eq("havana: lod sums up all cpus: it has no part by --cpu\n");
}
