//! Captures of many nodes under one root, on a disk and in an S3-compatible server of this machine.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use havana_bucket::{Proxy, Server};
use parquet::file::reader::{FileReader, SerializedFileReader};

use crate::common::{HAVANA_SQL, NOON, answer, copy, fleet, havana, noisy, refusal, simulated, simulated_for, sql};

/// A program that asks S3 there.
pub(crate) fn at(program: &Path, address: SocketAddr) -> Command {
    let mut command = Command::new(program);
    command.envs(Server::environment(address));
    command
}

pub(crate) fn push(address: SocketAddr, words: &[&str]) -> Output {
    at(&havana(), address).arg("push").args(words).output().unwrap()
}

pub(crate) fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

pub(crate) fn pushed(output: &Output) -> String {
    assert!(output.status.success(), "{}", said(output));
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// The lines of an answer, in an order of their own: rows of the same time have none. Of sums of many numbers the last digits are not
/// told: they depend on which came first.
pub(crate) fn rows(output: &Output) -> Vec<String> {
    assert!(output.status.success(), "{}", said(output));
    let cell = |cell: &str| match cell.parse::<f64>() {
        Ok(number) if cell.contains('.') => format!("{number:.9e}"),
        _ => cell.to_string(),
    };
    let line = |line: &str| line.split(',').map(cell).collect::<Vec<_>>().join(",");
    let mut lines: Vec<String> = String::from_utf8_lossy(&output.stdout).lines().map(line).collect();
    lines[1..].sort();
    lines
}

/// The files under a directory, by their names there.
fn files(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut open = vec![root.to_path_buf()];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(&dir).into_iter().flatten() {
            let path = entry.unwrap().path();
            // The server's own, of what it has not yet whole.
            let hidden = path.file_name().unwrap().to_string_lossy().starts_with('.');
            if path.is_dir() {
                open.push(path);
            } else if !hidden {
                found.insert(path.strip_prefix(root).unwrap().display().to_string(), fs::read(&path).unwrap());
            }
        }
    }
    found
}

/// What a dataset's files are under a root: by table and content.
fn contents(dataset: &Path) -> Vec<(String, Vec<u8>)> {
    let of = |(name, bytes): (String, Vec<u8>)| Some((name.split_once('/')?.0.to_string(), bytes));
    let mut contents: Vec<_> = files(dataset).into_iter().filter_map(of).collect();
    contents.sort();
    contents
}

/// The fleet of 100 nodes in S3, which all tests may read, and its root.
pub(crate) fn in_s3() -> (&'static Server, &'static str) {
    static SERVER: OnceLock<Server> = OnceLock::new();
    let server = SERVER.get_or_init(|| {
        let server = Server::start("fleet");
        let datasets: Vec<&str> = fleet().iter().map(|dataset| dataset.to_str().unwrap()).collect();
        pushed(&push(server.address(), &[&datasets[..], &["s3://fleet/nodes"]].concat()));
        server
    });
    (server, "s3://fleet/nodes")
}

/// The same on a disk.
pub(crate) fn on_disk() -> &'static Path {
    static ROOT: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    let make = || {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        let said = pushed(&Command::new(havana()).arg("push").args(fleet()).arg(&root).output().unwrap());
        assert_eq!(said.lines().filter(|line| line.ends_with(": pushed")).count(), 100);
        (dir, root)
    };
    &ROOT.get_or_init(make).1
}

/// What is under a root but manifests, likewise.
fn tables(root: &Path) -> Vec<(String, Vec<u8>)> {
    let mut contents = contents(root);
    contents.retain(|(table, _)| table != "manifests");
    contents
}

/// The 20 questions, of datasets that were named one by one, of them under a root on disk, and in S3.
#[test]
fn every_question_has_the_same_answer_under_a_root() {
    let (root, (server, in_s3)) = (on_disk(), in_s3());
    let datasets: Vec<&str> = fleet().iter().map(|dataset| dataset.to_str().unwrap()).collect();
    let all = |root: &str| pushed(&push(server.address(), &[&datasets[..], &[root]].concat()));
    assert_eq!(all(in_s3).lines().filter(|line| line.ends_with(": was there already")).count(), 100);
    let questions = answer(&[datasets[0], "--list"]);
    let questions: Vec<&str> = questions.lines().map(|line| line.split_whitespace().next().unwrap()).collect();
    assert_eq!(questions.len(), 20);
    for question in questions {
        let ask = |words: &[&str]| {
            let words = [words, &[question, "--format", "csv", "--stats"]].concat();
            at(Path::new(HAVANA_SQL), server.address()).args(words).output().unwrap()
        };
        let named = ask(&datasets);
        let (here, there) = (ask(&[root.to_str().unwrap()]), ask(&[in_s3]));
        assert_eq!(rows(&here), rows(&named), "{question}");
        assert_eq!(rows(&there), rows(&named), "{question}");
        println!("{question}: {}", String::from_utf8_lossy(&there.stderr).trim());
    }
}

/// An hour, a node, a capture, and how many exits it has.
type Known = (String, String, String, u64);
/// Whether a condition is met.
type Met<'a> = &'a dyn Fn(&Known) -> bool;

/// What conditions on hours, nodes and captures leave is what they say, wherever in a question they stand.
#[test]
fn conditions_on_hours_nodes_and_captures_are_met() {
    const FIFTEEN: &str = "2026-11-20-15";
    let root = on_disk().to_str().unwrap();
    let ask = |words: &[&str]| answer(&[&[root], words, &["--format", "csv"]].concat());
    let all = ask(&["SELECT hour, node, capture, count(*) FROM exits GROUP BY ALL"]);
    let known = |line: &str| -> Known {
        let cells: Vec<&str> = line.split(',').collect();
        (cells[0].into(), cells[1].into(), cells[2].into(), cells[3].parse().unwrap())
    };
    let known: Vec<Known> = all.lines().skip(1).map(known).collect();
    assert_eq!(known.len(), 100);
    let capture = known[7].2.clone();
    let of_capture = format!("capture = '{capture}'");
    let is_of = |node: &str, numbers: std::ops::Range<u32>| numbers.contains(&node[5..].parse().unwrap());
    let conditions: [(&str, Met<'_>); 14] = [
        ("hour = '2026-11-20-15'", &|k| k.0 == FIFTEEN),
        ("hour = '2026-11-20-15' OR node = 'node-003'", &|k| k.0 == FIFTEEN || k.1 == "node-003"),
        ("NOT (hour >= '2026-11-20-15')", &|k| k.0.as_str() < FIFTEEN),
        ("hour IN ('2026-11-20-15', '2026-11-20-20') AND node <> 'node-030'", &|k| {
            [FIFTEEN, "2026-11-20-20"].contains(&k.0.as_str()) && k.1 != "node-030"
        }),
        ("hour IS NULL", &|_| false),
        ("hour LIKE '2026-11-20-2%'", &|k| k.0.starts_with("2026-11-20-2")),
        ("node BETWEEN 'node-010' AND 'node-019'", &|k| is_of(&k.1, 10..20)),
        ("hour <> 'unknown' AND CAST(substr(hour, 12) AS INT) >= 15", &|k| &k.0[11..] >= "15"),
        ("node LIKE 'node-00%' AND CAST(substr(node, 8) AS INT) < 5", &|k| is_of(&k.1, 0..5)),
        ("(hour = '2026-11-20-15' AND node = 'node-025') OR (hour = '2026-11-20-12' AND node = 'node-001')", &|k| {
            (k.0 == FIFTEEN && k.1 == "node-025") || (k.0 == "2026-11-20-12" && k.1 == "node-001")
        }),
        ("node = (SELECT max(node) FROM captures)", &|k| k.1 == "node-099"),
        ("node IN (SELECT node FROM captures WHERE hour = '2026-11-20-15')", &|k| k.0 == FIFTEEN),
        ("hour > 'no hour'", &|_| false),
        (&of_capture, &|k| k.2 == capture),
    ];
    for (condition, is_met) in conditions {
        let count: u64 = known.iter().filter(|known| is_met(known)).map(|known| known.3).sum();
        let question = format!("SELECT count(*) FROM exits WHERE {condition}");
        assert_eq!(ask(&[&question]), format!("count(*)\n{count}\n"), "{condition}");
    }
    let of = |hour: &str| -> u64 { known.iter().filter(|k| k.0 == hour).map(|k| k.3).sum() };
    for (question, expected) in [
        (
            "SELECT sum(n) FROM (SELECT count(*) AS n FROM exits WHERE hour = '2026-11-20-15' UNION ALL \
             SELECT count(*) AS n FROM exits WHERE hour = '2026-11-20-16')",
            of(FIFTEEN) + of("2026-11-20-16"),
        ),
        ("WITH x AS (SELECT * FROM exits WHERE hour = '2026-11-20-15') SELECT count(*) FROM x", of(FIFTEEN)),
        (
            "SELECT count(*) FROM captures LEFT JOIN (SELECT DISTINCT node, capture, hour AS there FROM exits \
             WHERE hour = '2026-11-20-15') USING (node, capture)",
            100,
        ),
        (
            "SELECT count(*) FROM captures c JOIN exits e USING (node, capture) WHERE c.hour = '2026-11-20-15'",
            of(FIFTEEN),
        ),
    ] {
        assert_eq!(ask(&[question]).lines().nth(1), Some(expected.to_string().as_str()), "{question}");
    }
    let said = ask(&["SELECT count(*) FROM exits", "--hours", "2026-11-20-15..2026-11-20-16"]);
    assert_eq!(said.lines().nth(1), Some((of(FIFTEEN) + of("2026-11-20-16")).to_string().as_str()));
    assert_eq!(
        refusal(&[root, "nodes", "--hours", "2026-11-19"]),
        format!("havana: {root}: no capture began in these hours")
    );
    assert!(refusal(&[root, "node"]).ends_with("and not with node: there is no such file, and no question of --list"));
    // One after the other in a session: what is prepared, what is made of an answer, and a file of somebody else's.
    let file = tempfile::NamedTempFile::with_suffix(".csv").unwrap();
    fs::write(file.path(), "a\n1\n").unwrap();
    let external = format!("CREATE EXTERNAL TABLE other STORED AS CSV LOCATION '{}'", file.path().display());
    let questions = [
        ("PREPARE q AS SELECT count(*) FROM exits WHERE hour = '2026-11-20-15'", None),
        ("SELECT count(*) FROM exits WHERE hour = '2026-11-20-16'", Some(of("2026-11-20-16"))),
        ("EXECUTE q", Some(of(FIFTEEN))),
        ("CREATE VIEW v AS SELECT * FROM exits WHERE hour = '2026-11-20-15'", None),
        ("SELECT count(*) FROM v", Some(of(FIFTEEN))),
        ("CREATE TABLE t AS SELECT * FROM exits WHERE hour = '2026-11-20-15'", None),
        ("SELECT count(*) FROM t", Some(of(FIFTEEN))),
        (external.as_str(), None),
        ("SELECT count(*) FROM other", Some(1)),
    ];
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let session = runtime.block_on(havana_query::Session::open(&[root.into()], None, 1 << 30, None)).unwrap();
    for (question, expected) in questions {
        let mut said = Vec::new();
        let form = havana_query::output::Form { format: havana_query::output::Format::Csv, name: "", streamed: false };
        runtime.block_on(session.answer(question, form, &mut said)).unwrap();
        if let Some(expected) = expected {
            let said = String::from_utf8(said).unwrap();
            assert_eq!(said.lines().nth(1), Some(expected.to_string().as_str()), "{question}");
        }
    }
}

/// A node may be called what a path may not.
#[test]
fn a_node_is_found_by_any_name() {
    const NODE: &str = "rack3:kvm 07~é";
    let dir = tempfile::tempdir().unwrap();
    let run = |words: &[&str]| pushed(&Command::new(havana()).current_dir(dir.path()).args(words).output().unwrap());
    let wall = NOON.to_string();
    run(&["simulate", "quiet", "--seconds", "1", "--form", "perf", "--no-truth", "--wall", &wall, "-o", "trace"]);
    run(&["analyze", "-q", "--node", NODE, "-o", "a.havana", "trace/perf.data"]);
    run(&["push", "a.havana", "root"]);
    for (from, condition) in [
        ("a.havana", format!("node = '{NODE}'")),
        ("root", format!("node = '{NODE}'")),
        ("root", format!("node = '{NODE}' AND hour = '2026-11-20-12'")),
    ] {
        let (from, question) = (dir.path().join(from), format!("SELECT DISTINCT node FROM exits WHERE {condition}"));
        let said = answer(&[from.to_str().unwrap(), &question, "--format", "csv"]);
        assert_eq!(said.lines().nth(1), Some(NODE), "{}: {condition}", from.display());
    }
}

/// Waits until the line is cut, or the program has come to its end.
fn until_cut(proxy: &Proxy, child: &mut Child) {
    let begin = Instant::now();
    while !proxy.is_cut() && child.try_wait().unwrap().is_none() {
        assert!(begin.elapsed() < Duration::from_secs(60), "neither cut nor at its end");
        thread::sleep(Duration::from_millis(2));
    }
}

/// A push that is broken off anywhere, by the network and by its death: a reader sees all of the capture or none, each file is
/// whole, and the same push brings what is missing and nothing twice.
#[test]
fn a_push_that_is_broken_off_anywhere_goes_on_where_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let dataset = simulated_for(dir.path(), "quiet", 3, "kvm-09", "1");
    let dataset = dataset.to_str().unwrap();
    let (server, question) = (Server::start("fleet"), "SELECT count(*), sum(exit_tsc) FROM exits");
    let expected = answer(&[dataset, question, "--format", "csv"]);
    let proxy = Proxy::to(server.address());
    pushed(&push(proxy.address(), &[dataset, "s3://fleet/whole"]));
    let whole = proxy.sent();
    let written = contents(Path::new(dataset));
    assert_eq!(tables(&server.directory().join("fleet/whole")), written);
    const STEPS: u64 = 40;
    let mut resumed = 0;
    for step in 0..STEPS {
        let root = format!("s3://fleet/cut-{step}");
        let there = server.directory().join(format!("fleet/cut-{step}"));
        // Somewhere in the middle of what is said, too.
        proxy.cut_after(whole * step / STEPS + step % 7);
        let mut command = at(&havana(), proxy.address());
        let mut child =
            command.args(["push", dataset, &root]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        until_cut(&proxy, &mut child);
        if step % 2 == 0 {
            // It dies there.
            child.kill().unwrap();
            child.wait().unwrap();
        } else {
            // The network comes back by and by.
            thread::sleep(Duration::from_millis(150));
            proxy.mend();
            pushed(&child.wait_with_output().unwrap());
        }
        // What a reader sees, who does not know of any of this.
        let seen =
            at(Path::new(HAVANA_SQL), server.address()).args([&root, question, "--format", "csv"]).output().unwrap();
        if seen.status.success() {
            assert_eq!(String::from_utf8_lossy(&seen.stdout), expected, "step {step}");
        } else {
            assert!(said(&seen).contains("no capture is there yet"), "step {step}: {}", said(&seen));
        }
        for (table, bytes) in tables(&there) {
            assert!(written.contains(&(table.clone(), bytes)), "step {step}: a file of {table} is not whole");
        }
        proxy.mend();
        let again = pushed(&push(server.address(), &[dataset, &root]));
        resumed += usize::from(again.contains("of them now"));
        assert_eq!(tables(&there), written, "step {step}");
        assert_eq!(files(&there.join("manifests")).len(), 1, "step {step}");
        let seen =
            at(Path::new(HAVANA_SQL), server.address()).args([&root, question, "--format", "csv"]).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&seen.stdout), expected, "step {step}: {}", said(&seen));
    }
    assert!(resumed > 5, "{resumed} pushes went on where they were");
}

/// An analysis that says something else of the same trace replaces it only where that is asked for.
#[test]
fn another_content_of_a_capture_replaces_it_where_forced() {
    let dir = tempfile::tempdir().unwrap();
    let dataset = simulated(dir.path(), "quiet", 4, "kvm-10");
    let (other, root) = (dir.path().join("other.havana"), dir.path().join("root"));
    let root = root.to_str().unwrap();
    copy(&dataset, &other);
    let manifest = other.join("manifest.json");
    let text = fs::read_to_string(&manifest).unwrap();
    fs::write(&manifest, text.replacen("\"tool_version\": \"", "\"tool_version\": \"later than ", 1)).unwrap();
    let run = |words: &[&str]| Command::new(havana()).arg("push").args(words).output().unwrap();
    pushed(&run(&[dataset.to_str().unwrap(), root]));
    let refused = run(&[other.to_str().unwrap(), root]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        said(&refused).contains("of node kvm-10 is there with another content; --force replaces it"),
        "{}",
        said(&refused)
    );
    pushed(&run(&[other.to_str().unwrap(), root, "--force"]));
    assert_eq!(tables(Path::new(root)), contents(&other));
    let manifests = files(&Path::new(root).join("manifests"));
    assert!(manifests.len() == 1 && String::from_utf8_lossy(manifests.values().next().unwrap()).contains("later than"));
}

#[test]
fn what_is_old_goes() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    let root = root.to_str().unwrap();
    for (seed, node) in [(5, "kvm-11"), (6, "kvm-12")] {
        let dataset = simulated_for(dir.path(), "quiet", seed, node, "1");
        pushed(&Command::new(havana()).args(["push", dataset.to_str().unwrap(), root]).output().unwrap());
    }
    let prune = |words: &[&str]| pushed(&Command::new(havana()).args(["prune", root]).args(words).output().unwrap());
    let before = files(Path::new(root));
    assert!(prune(&["--older", "10000d"]).starts_with("gone: 0 captures, 0 B; 2 captures stay"));
    let would = prune(&["--max-size", "1K", "--dry-run"]);
    assert!(would.contains("would go: 2 captures") && would.contains("kvm-11"), "{would}");
    assert_eq!(files(Path::new(root)), before);
    // What a push left, and nobody will end: as old as a day.
    let left = Path::new(root).join("exits/hour=unknown/node=kvm-13/capture=c0ffee/part-0000.0123456789abcdef.parquet");
    fs::create_dir_all(left.parent().unwrap()).unwrap();
    fs::write(&left, "half").unwrap();
    assert!(prune(&["--older", "10000d"]).starts_with("gone: 0 captures, 0 B"));
    let day_ago = std::time::SystemTime::now() - Duration::from_secs(25 * 3600);
    fs::File::options().write(true).open(&left).unwrap().set_modified(day_ago).unwrap();
    assert!(prune(&["--older", "10000d"]).starts_with("gone: 0 captures, and 1 files that pushes have left, 4 B"));
    assert_eq!(files(Path::new(root)), before);
    assert_eq!(answer(&[root, "SELECT count(DISTINCT node) FROM exits", "--format", "csv"]).lines().nth(1), Some("2"));
    assert!(prune(&["--older", "1ms"]).contains("gone: 2 captures"));
    assert_eq!(files(Path::new(root)).len(), 0);
}

#[test]
fn what_cannot_be_asked_is_a_sentence() {
    let server = Server::start("fleet");
    let ask = |root: &str, environment: &[(&str, &str)]| {
        let mut command = at(Path::new(HAVANA_SQL), server.address());
        let output = command.envs(environment.iter().copied()).args([root, "nodes"]).output().unwrap();
        assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0), "{}", said(&output));
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(said.lines().count(), 1, "{said}");
        said.trim_end().to_string()
    };
    assert_eq!(ask("s3://nobody/x", &[]), "havana: s3://nobody/x: there is no such bucket");
    assert_eq!(ask("s3://fleet/x", &[]), "havana: s3://fleet/x: no capture is there yet: havana push brings them");
    let denied = "access is denied: SignatureDoesNotMatch; AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY say who asks";
    assert_eq!(ask("s3://fleet/x", &[("AWS_SECRET_ACCESS_KEY", "wrong")]), format!("havana: s3://fleet/x: {denied}"));
    let said = ask("s3://fleet/x", &[("AWS_ENDPOINT_URL", "http://127.0.0.1:9")]);
    assert!(said.starts_with("havana: s3://fleet/x: cannot list its captures: "), "{said}");
    assert_eq!(ask("s3://", &[]), "havana: s3://: it names no bucket");
    let said = ask("s3://fleet/x", &[("AWS_ENDPOINT_URL", "minio.local:9000")]);
    assert!(
        said.ends_with("AWS_ENDPOINT_URL is \"minio.local:9000\", and should begin with https:// or http://"),
        "{said}"
    );
    assert!(refusal(&["gs://fleet", "nodes"]).starts_with("havana: gs://fleet: "));
}

#[test]
fn what_is_no_root_is_not_made_one() {
    let dir = tempfile::tempdir().unwrap();
    let dataset = simulated_for(dir.path(), "quiet", 12, "kvm-18", "1");
    let before = files(&dataset);
    let push = |root: &str| {
        let output = Command::new(havana())
            .current_dir(dir.path())
            .arg("push")
            .args([noisy(), Path::new(root)])
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1), "{}", said(&output));
        said(&output)
    };
    assert!(push(dataset.to_str().unwrap()).contains("it is a dataset, and no root"));
    assert_eq!(files(&dataset), before);
    assert!(push("s3:/fleet/x").contains("a root is s3://BUCKET/PREFIX, or a directory"));
    let prune = Command::new(havana()).args(["prune", "root", "--older", "30"]).output().unwrap();
    assert!(prune.status.code() == Some(2) && said(&prune).contains("with its unit, such as 30d"), "{}", said(&prune));
}

/// Captures of another version are left out, and a node whose clock is wrong is told of.
#[test]
fn versions_that_are_mixed_and_clocks_that_are_wrong_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    for (seed, node) in [(7, "kvm-14"), (8, "kvm-15"), (9, "kvm-16")] {
        let dataset = simulated_for(dir.path(), "quiet", seed, node, "1");
        pushed(&Command::new(havana()).arg("push").args([&dataset, &root]).output().unwrap());
    }
    let hour_of = |node: &str| -> PathBuf {
        let hours = fs::read_dir(root.join("manifests")).unwrap().map(|entry| entry.unwrap().path());
        hours.into_iter().find(|hour| hour.join(format!("node={node}")).exists()).unwrap()
    };
    let hour = hour_of("kvm-14").join("node=kvm-14");
    let manifest = fs::read_dir(&hour).unwrap().next().unwrap().unwrap().path();
    let name = manifest.file_name().unwrap().to_str().unwrap().replace(".v2.json", ".v99.json");
    fs::rename(&manifest, hour.join(name)).unwrap();
    // As one whose clock is a year ahead names it.
    let hour = hour_of("kvm-15");
    for table in fs::read_dir(&root).unwrap().map(|entry| entry.unwrap().path()) {
        let (from, to) = (table.join(hour.file_name().unwrap()).join("node=kvm-15"), table.join("hour=2099-01-01-00"));
        fs::create_dir_all(&to).unwrap();
        fs::rename(from, to.join("node=kvm-15")).unwrap();
    }
    let output = sql(&[root.to_str().unwrap(), "SELECT DISTINCT node FROM exits ORDER BY node", "--format", "csv"]);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "node\nkvm-15\nkvm-16\n");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("1 of 3 captures are left out") && said.contains("kvm-14: version 99"), "{said}");
    assert!(said.contains("wrong clock: kvm-15") && said.lines().count() == 2, "{said}");
}

/// Of one hour only its files are read, and of these what the columns weigh: their chunks, and the files' ends that say where these
/// are.
#[test]
fn only_what_is_asked_for_is_read() {
    let (server, root) = in_s3();
    let exits = server.directory().join("fleet/nodes/exits");
    let hour = "2026-11-20-15";
    for (question, columns, below) in [
        ("SELECT sum(exit_tsc) FROM exits", vec!["exit_tsc"], exits.clone()),
        (
            "SELECT node, count(*), max(reentry_tsc - exit_tsc) FROM exits WHERE hour = '2026-11-20-15' GROUP BY node",
            vec!["exit_tsc", "reentry_tsc"],
            exits.join(format!("hour={hour}")),
        ),
        (
            "SELECT reason, count(*) FROM exits WHERE node = 'node-013' GROUP BY reason",
            vec!["reason"],
            exits.join("hour=2026-11-20-13/node=node-013"),
        ),
    ] {
        let mut command = at(Path::new(HAVANA_SQL), server.address());
        let output = command.args([root, question, "--format", "csv", "--stats"]).output().unwrap();
        assert!(output.stdout.iter().filter(|byte| **byte == b'\n').count() > 1, "{question}: {}", said(&output));
        let said = said(&output);
        let read: f64 = said.split(" s, ").nth(1).and_then(|said| said.split(' ').next()).unwrap().parse().unwrap();
        let weight: u64 = files(&below).into_values().map(|bytes| weight(bytes, &columns)).sum();
        println!("{question}: read {read} MB, which weighs {:.1} MB", weight as f64 / 1e6);
        assert!(read * 1e6 <= 2.0 * weight as f64 + 5e4, "{question}: read {read} MB of {weight}");
    }
}

/// What columns of a Parquet file weigh, and its end that says where they are.
fn weight(bytes: Vec<u8>, columns: &[&str]) -> u64 {
    let end = u32::from_le_bytes(bytes[bytes.len() - 8..bytes.len() - 4].try_into().unwrap());
    let reader = SerializedFileReader::new(bytes::Bytes::from(bytes)).unwrap();
    let groups = reader.metadata().row_groups().iter();
    let chunks = groups
        .flat_map(|group| group.columns())
        .filter(|chunk| columns.contains(&chunk.column_path().string().as_str()));
    u64::from(end) + 8 + chunks.map(|chunk| chunk.compressed_size() as u64).sum::<u64>()
}

/// Captures of an hour that follow each other become one: the same answers, of fewer files; a part that is pushed once more is
/// there already.
#[test]
fn captures_that_follow_each_other_become_one() {
    let (dir, server) = (tempfile::tempdir().unwrap(), Server::start("fleet"));
    let run = |words: &[&str]| {
        let output = at(&havana(), server.address()).current_dir(dir.path()).args(words).output().unwrap();
        pushed(&output)
    };
    let wall = NOON.to_string();
    run(&["simulate", "overcommit", "--seconds", "4", "--form", "perf", "--no-truth", "--wall", &wall, "-o", "trace"]);
    run(&["analyze", "-q", "--node", "kvm-17", "-o", "whole.havana", "trace/perf.data"]);
    for second in 0..4 {
        let (from, to, name) = (second.to_string(), (second + 1).to_string(), format!("{second}.havana"));
        run(&["analyze", "-q", "--node", "kvm-17", "--from", &from, "--to", &to, "-o", &name, "trace/perf.data"]);
        run(&["push", &name, "s3://fleet/x"]);
    }
    let ask = |of: &str, question: &str| {
        let mut command = at(Path::new(HAVANA_SQL), server.address());
        rows(&command.current_dir(dir.path()).args([of, question, "--format", "csv"]).output().unwrap())
    };
    let questions = [
        "SELECT state, sum(end_tsc - start_tsc) FROM cpu_states GROUP BY state",
        "SELECT v.name, s.state, sum(s.end_tsc - s.start_tsc) FROM vcpu_states s JOIN vms v USING (node, capture, vm_id) GROUP BY ALL",
        "SELECT v.name, count(*), sum(exit_tsc), sum(reentry_tsc - exit_tsc) FROM exits e JOIN vms v USING (node, capture, vm_id) GROUP BY v.name",
        "SELECT p.cr3, sum(s.end_tsc - s.start_tsc) FROM vcpu_states s JOIN processes p USING (node, capture, process_id) GROUP BY p.cr3",
        "SELECT severity, count(*) FROM findings GROUP BY severity",
        "SELECT count(*), sum(end_tsc - start_tsc) FROM finding_spans",
    ];
    let before: Vec<_> = questions.iter().map(|question| ask("s3://fleet/x", question)).collect();
    let files_before = files(&server.directory().join("fleet/x")).len();
    // Two places share the nodes: the one is of the one or of the other.
    let said = ["1/2", "2/2"].map(|share| run(&["compact", "s3://fleet/x", "--share", share])).concat();
    assert!(
        said.contains("kvm-17  4 captures") && said.contains("nothing to do") && said.lines().count() == 2,
        "{said}"
    );
    let after: Vec<_> = questions.iter().map(|question| ask("s3://fleet/x", question)).collect();
    assert_eq!(after, before);
    assert!(files(&server.directory().join("fleet/x")).len() * 2 < files_before);
    // Who was who in all parts is one, as if it had been one from the beginning.
    for question in [
        "SELECT name, tsc_offset, first_tsc, last_tsc FROM vms",
        "SELECT count(*), sum(guest_lo_tsc), sum(guest_hi_tsc) FROM vcpus",
        "SELECT count(*), sum(cr3) FROM processes",
        "SELECT count(*) FROM threads",
        "SELECT count(DISTINCT exit_id), sum(exit_tsc) FROM exits",
        "SELECT track_kind, state, sum(busy_tsc) FROM lod WHERE level = 10 GROUP BY ALL",
    ] {
        assert_eq!(ask("s3://fleet/x", question), ask("whole.havana", question), "{question}");
    }
    let again = run(&["push", "2.havana", "s3://fleet/x"]);
    assert!(again.contains("was there already"), "{again}");
    assert!(run(&["compact", "s3://fleet/x"]).starts_with("nothing to do"));
}
