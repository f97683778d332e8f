//! The dashboard and the alerts: each query of each panel is answered by a real Prometheus that scrapes a real `top`, and
//! a recorder's metrics; Grafana's own schema knows each field.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use havana_capture::Counted;
use havana_metrics::{Exporter, RECORD, Record, TOP};
use havana_trace::perf_data::{CostNote, CpuCost};
use serde_json::Value;

use super::{Running, each, free_address, get, tool, top};
use crate::cli::scratch;
use crate::common::{python_with, recording};

/// What a recorder may have counted after so many looks.
pub(super) fn record(looks: u64) -> Record {
    let cpu = |cpu| CpuCost {
        cpu,
        trace_bytes: looks << 20,
        record_bytes: looks << 16,
        stops: looks / 3,
        lost_records: looks / 2,
        unwritten_bytes: 0,
    };
    let cost = CostNote {
        seconds: looks as f64 / 10.0,
        cpu_seconds: looks as f64 / 1000.0,
        memory_bytes: 50 << 20,
        bytes: looks << 21,
        cpus: vec![cpu(0), cpu(1)],
    };
    Record {
        node: "kvm-07".into(),
        version: "0.1.0".into(),
        event: "intel_pt/branch=0,tsc=1/".into(),
        counted: Counted { cost, files: 1 + looks / 10, snapshots: looks / 5, wakeups: looks * 4, vms: 3 },
    }
}

fn docs(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/grafana").join(file)
}

fn dashboard() -> Value {
    serde_json::from_str(&std::fs::read_to_string(docs("havana.json")).unwrap()).unwrap()
}

/// Panels, and their queries.
fn queries(dashboard: &Value) -> Vec<(String, String)> {
    let of = |panel: &Value| {
        let title = panel["title"].as_str().unwrap().to_owned();
        each(&panel["targets"])
            .map(|target| (title.clone(), target["expr"].as_str().unwrap().to_owned()))
            .collect::<Vec<_>>()
    };
    each(&dashboard["panels"]).flat_map(of).collect()
}

fn escaped(text: &str) -> String {
    text.bytes()
        .map(|b| if b.is_ascii_alphanumeric() { char::from(b).to_string() } else { format!("%{b:02X}") })
        .collect()
}

/// What Prometheus answers.
fn ask(address: &str, path: &str) -> Vec<Value> {
    let Some((status, body)) = get(address, path) else { return Vec::new() };
    // It is not ready at once.
    if status == 503 {
        return Vec::new();
    }
    let answer: Value = serde_json::from_str(&body).unwrap_or_else(|_| panic!("{path}: {body}"));
    assert_eq!(answer["status"], "success", "{path}: {body}");
    let data = &answer["data"];
    each(if data.is_array() { data } else { &data["result"] }).cloned().collect()
}

#[test]
fn each_panel_has_data() {
    let test = "each_panel_has_data";
    let Some(mut prometheus) = tool(test, "prometheus") else { return };
    let dir = scratch();
    let odd = "web \"2\" \\ {a=~b}";
    std::fs::write(dir.path().join("names.toml"), format!("[[vm]]\npid = {}\nname = '{odd}'\n", pid_of_one())).unwrap();
    let names = dir.path().join("names.toml");
    let args = ["--speed", "0.03", "--interval", "10ms", "--names", names.to_str().unwrap()];
    let (child, of_top) = top(&args, &recording("steal-two-hogs"));
    let _child = Running(child);
    let looks = AtomicU64::new(0);
    let text = move || record(looks.fetch_add(1, Ordering::Relaxed)).text();
    let exporter = Exporter::start(&"127.0.0.1:0".parse().unwrap(), text).unwrap();
    let of_record = exporter.at().trim_start_matches("http://").trim_end_matches("/metrics");
    let config = dir.path().join("prometheus.yml");
    std::fs::write(
        &config,
        format!(
            "global: {{scrape_interval: 200ms, scrape_timeout: 200ms}}\nscrape_configs:\n- job_name: havana\n  \
             static_configs: [{{targets: ['{of_top}', '{of_record}']}}]\n"
        ),
    )
    .unwrap();
    let address = free_address();
    let log = dir.path().join("log");
    let _prometheus = Running(
        prometheus
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", dir.path().join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(&log).unwrap())
            .spawn()
            .unwrap(),
    );
    let began = Instant::now();
    let wait = |path: &str| loop {
        let found = ask(&address, path);
        if !found.is_empty() {
            return found;
        }
        let log = || std::fs::read_to_string(&log).unwrap_or_default();
        assert!(began.elapsed() < Duration::from_secs(60), "no data: {path}\n{}", log());
        std::thread::sleep(Duration::from_millis(100));
    };
    let dashboard = dashboard();
    for (title, query) in queries(&dashboard) {
        let query = query.replace("$node", ".*").replace("$vm", ".*").replace("$__rate_interval", "30s");
        assert!(!query.contains('$'), "{title}: {query}");
        let found = wait(&format!("/api/v1/query?query={}", escaped(&query)));
        println!("{title}: {} series", found.len());
    }
    for variable in each(&dashboard["templating"]["list"]).filter(|variable| variable["type"] == "query") {
        let query = variable["query"]["query"].as_str().unwrap().replace("$node", ".*");
        let inside = query.strip_prefix("label_values(").unwrap().strip_suffix(')').unwrap();
        let (of, label) = inside.rsplit_once(", ").unwrap();
        let found = wait(&format!("/api/v1/label/{label}/values?match%5B%5D={}", escaped(of)));
        let due: &[&str] = if label == "node" { &["kvm-07", "unknown"] } else { &["vma", odd] };
        assert!(due.iter().all(|due| found.iter().any(|value| value == due)), "{label}: {found:?}");
    }
    // All of them are there.
    let known = wait("/api/v1/label/__name__/values");
    for family in TOP.iter().chain(RECORD).filter(|family| family.name != "havana_top_window_end_timestamp_seconds") {
        assert!(known.iter().any(|name| name == family.name), "{} is not known", family.name);
    }
}

/// The VMM of one of the recording's VMs.
fn pid_of_one() -> i64 {
    let mut command = crate::common::havana();
    command.args(["top", "--json", "--speed", "max", "--frames", "1", "--from"]).arg(recording("steal-two-hogs"));
    let frame: Value = serde_json::from_slice(&command.output().unwrap().stdout).unwrap();
    let vm = each(&frame["vms"]).find(|vm| vm["name"] == "vmb").unwrap();
    vm["pid"].as_i64().unwrap()
}

#[test]
fn queries_name_what_there_is() {
    let alerts = std::fs::read_to_string(docs("alerts.yml")).unwrap();
    let dashboard = std::fs::read_to_string(docs("havana.json")).unwrap();
    let known: BTreeSet<&str> = TOP.iter().chain(RECORD).map(|family| family.name).collect();
    let text = [alerts, dashboard].concat();
    let words = text.split(|c: char| c != '_' && !c.is_ascii_lowercase());
    let named: BTreeSet<&str> = words.filter(|word| word.starts_with("havana_") && !word.ends_with('_')).collect();
    let unknown: Vec<&&str> = named.difference(&known).collect();
    assert!(named.len() > 15 && unknown.is_empty(), "{unknown:?}");
}

#[test]
fn promtool_takes_the_alerts() {
    let Some(mut promtool) = tool("promtool_takes_the_alerts", "promtool") else { return };
    let done = promtool.args(["check", "rules"]).arg(docs("alerts.yml")).output().unwrap();
    let said = String::from_utf8([done.stdout, done.stderr].concat()).unwrap();
    assert!(done.status.success() && said.contains("SUCCESS"), "{said}");
}

#[test]
fn alerts_fire_when_they_should() {
    let Some(mut promtool) = tool("alerts_fire_when_they_should", "promtool") else { return };
    let dir = scratch();
    std::fs::copy(docs("alerts.yml"), dir.path().join("alerts.yml")).unwrap();
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/metrics/alerts.yml");
    std::fs::copy(cases, dir.path().join("cases.yml")).unwrap();
    let done = promtool.args(["test", "rules"]).arg(dir.path().join("cases.yml")).output().unwrap();
    let said = String::from_utf8([done.stdout, done.stderr].concat()).unwrap();
    assert!(done.status.success() && said.contains("SUCCESS"), "{said}");
}

#[test]
fn the_schema_of_grafana_knows_each_field() {
    let test = "the_schema_of_grafana_knows_each_field";
    let Some(python) = python_with(test, "grafana_foundation_sdk") else { return };
    let check = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/metrics/grafana.py");
    let dir = scratch();
    let verdict = |dashboard: &Value| {
        let file = dir.path().join("dashboard.json");
        std::fs::write(&file, dashboard.to_string()).unwrap();
        let done = Command::new(&python).arg(&check).arg(&file).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap()
    };
    let mut dashboard = dashboard();
    assert_eq!(verdict(&dashboard), "");
    // It looks closely.
    dashboard["panels"][1]["targets"][0]["exprs"] = "up".into();
    dashboard["panels"][1]["fieldConfig"]["defaults"]["custom"]["stacks"] = 1.into();
    let said = verdict(&dashboard);
    assert!(said.contains(".targets[0].exprs: unknown") && said.contains(".custom.stacks: unknown"), "{said}");
}
