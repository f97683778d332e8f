//! `--metrics`: held against the frames that the same run prints, against the dataset, and against Prometheus itself.

mod dashboard;
mod told;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::cli::scratch;
use crate::common::{HAVANA, analyze, at_hand, bundled, havana, recording, skipped};
use told::{Told, close};

/// A program of Prometheus, where it is installed.
fn tool(test: &str, name: &str) -> Option<Command> {
    if Command::new(name).arg("--version").output().is_ok_and(|done| done.status.success()) {
        return Some(Command::new(name));
    }
    skipped(test, &format!("there is no {name} (Debian packages prometheus, prometheus-node-exporter)"));
    None
}

/// A program that is ended when it goes.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// An address at which nobody listens now.
fn free_address() -> String {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

/// What promtool says of metrics: nothing is good.
fn lint(promtool: &mut Command, text: &str) -> String {
    let mut child = promtool
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let done = child.wait_with_output().unwrap();
    let said = [done.stdout, done.stderr].concat();
    format!("{}{}", if done.status.success() { "" } else { "failed: " }, String::from_utf8_lossy(&said))
}

/// `GET`: status and body, where anybody answers.
fn get(address: &str, path: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(address).ok()?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
}

/// `havana top` that tells its metrics, and where.
fn top(args: &[&str], from: &Path) -> (Child, String) {
    let mut child = Command::new(HAVANA)
        .args(["top", "--plain", "--metrics", "127.0.0.1:0"])
        .args(args)
        .arg("--from")
        .arg(from)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let at = lines.find_map(|line| line.unwrap().strip_prefix("havana: metrics at http://").map(str::to_owned));
    (child, at.unwrap().strip_suffix("/metrics").unwrap().to_owned())
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or(0.0)
}

fn each(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// What frames, as JSON, add up to.
fn sums(frames: &[Value]) -> Told {
    let mut sums = Told::default();
    for frame in frames {
        let hz = number(&frame["tsc_hz"]);
        let node = frame["node"].as_str().unwrap_or("unknown");
        let mut add = |name: &str, labels: &[(&str, &str)], value: f64| {
            *sums.sample(name, &[&[("node", node)], labels].concat()) += value;
        };
        for cpu in each(&frame["cpus"]) {
            for state in ["guest", "hypervisor", "host", "idle", "lost", "unknown"] {
                let labels = [("cpu", &*cpu["cpu"].to_string()), ("state", state)];
                add("havana_cpu_seconds_total", &labels, number(&cpu[state]) / hz);
            }
        }
        for vm in each(&frame["vms"]) {
            let name = vm["name"].as_str().map_or_else(|| format!("vm {}", vm["number"]), str::to_owned);
            for vcpu in each(&vm["vcpus"]) {
                let number_of = vcpu["number"].to_string();
                for (state, ticks) in vcpu["states"].as_object().unwrap() {
                    if state == "inferred" {
                        let labels = [("vm", &*name), ("vcpu", &*number_of)];
                        add("havana_vcpu_inferred_seconds_total", &labels, number(ticks) / hz);
                    } else {
                        let labels = [("vm", &*name), ("vcpu", &*number_of), ("state", state)];
                        add("havana_vcpu_seconds_total", &labels, number(ticks) / hz);
                    }
                }
                add("havana_vcpu_exits_total", &[("vm", &name), ("vcpu", &number_of)], number(&vcpu["exits"]));
            }
            let mut untold = number(&vm["exits"]);
            for reason in each(&vm["reasons"]) {
                untold -= number(&reason[1]);
                let labels = [("vm", &*name), ("reason", reason[0].as_str().unwrap())];
                add("havana_vm_exits_total", &labels, number(&reason[1]));
            }
            add("havana_vm_exits_total", &[("vm", &name), ("reason", "untold")], untold);
            for (at, process) in each(&vm["processes"]).enumerate() {
                let rank = if at < 3 { (at + 1).to_string() } else { "rest".into() };
                let labels = [("vm", &*name), ("rank", &rank)];
                add("havana_vm_process_seconds_total", &labels, number(&process["ticks"]) / hz);
            }
        }
        for lost in each(&frame["losses"]) {
            let labels = [("cause", lost["cause"].as_str().unwrap())];
            add("havana_lost_seconds_total", &labels, number(&lost["ticks"]) / hz);
            add("havana_losses_total", &labels, number(&lost["count"]));
        }
        add("havana_nameless_guest_seconds_total", &[], number(&frame["nameless_guest"]) / hz);
        add("havana_top_windows_total", &[], 1.0);
        add("havana_top_trace_bytes_total", &[], number(&frame["cost"]["bytes"]));
        add("havana_top_analysis_seconds_total", &[], number(&frame["cost"]["seconds"]));
        add("havana_top_seconds_total", &[], (number(&frame["end_tsc"]) - number(&frame["start_tsc"])) / hz);
    }
    sums
}

/// Runs `top` over a trace, in windows of so long: its frames, and its metrics.
fn both(from: &Path, interval: &str) -> (Vec<Value>, String) {
    let dir = scratch();
    let file = dir.path().join("havana.prom");
    let mut command = havana();
    command.args(["top", "--speed", "max", "--json", "--interval", interval]);
    let done = command.arg("--metrics").arg(&file).arg("--from").arg(from).output().unwrap();
    let said = String::from_utf8(done.stderr).unwrap();
    assert!(done.status.success() && said.contains(&format!("havana: metrics at {}\n", file.display())), "{said}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left beside it");
    let frames = String::from_utf8(done.stdout).unwrap();
    (frames.lines().map(|line| serde_json::from_str(line).unwrap()).collect(), std::fs::read_to_string(file).unwrap())
}

#[test]
fn they_are_what_the_frames_add_up_to() {
    let mut inputs = vec![recording("steal-two-hogs"), recording("threads"), bundled("smp-idle"), bundled("hog-vma")];
    inputs.extend(at_hand("they_are_what_the_frames_add_up_to", "captures/perf/event-smp.perf.data"));
    inputs.extend(at_hand("they_are_what_the_frames_add_up_to", "captures/perf/small-buffer-loss.perf.data"));
    for from in inputs {
        let (frames, text) = both(&from, "130ms");
        assert!(frames.len() > 1, "{}", from.display());
        let (told, due) = (Told::read(&text), sums(&frames));
        for (key, value) in &due.0 {
            let is = told.0.get(key);
            assert!(is.is_some_and(|is| close(*is, *value)), "{}: {key} is {is:?}, not {value}", from.display());
        }
        // What was not summed up here is nought.
        for (key, value) in told.counters().filter(|(key, _)| !due.0.contains_key(*key)) {
            let summed = ["havana_top_cpu_seconds_total{", "havana_stolen_seconds_total{"];
            assert!(summed.iter().any(|name| key.starts_with(name)) || *value == 0.0, "{key} {value}");
        }
        // Whoever took it, together; and each VM that took much.
        let taken = |by: &dyn Fn(&Value) -> bool| -> f64 {
            let vms = frames.iter().flat_map(|frame| each(&frame["vms"]).map(move |vm| (number(&frame["tsc_hz"]), vm)));
            let taken = vms.flat_map(|(hz, vm)| each(&vm["taken"]).map(move |taken| (hz, taken)));
            taken.filter(|(_, taken)| by(&taken["by"])).map(|(hz, taken)| number(&taken["ticks"]) / hz).sum()
        };
        assert!(close(told.sum("havana_stolen_seconds_total", ""), taken(&|_| true)), "{}", from.display());
        for vm in ["vma", "vmb"] {
            let is = told.sum("havana_stolen_seconds_total", &format!("by_kind=\"vm\",by=\"{vm}\""));
            let due = taken(&|by| by["kind"] == "vm" && by["name"] == vm);
            assert!(is <= due + 1e-9 && is >= 0.95 * due, "{}: {vm} took {is} s of {due} s", from.display());
        }
    }
}

#[test]
fn they_are_what_the_dataset_says() {
    let dir = scratch();
    for from in [recording("steal-two-hogs"), bundled("smp-idle")] {
        let told = Told::read(&both(&from, "250ms").1);
        let dataset = dir.path().join("d.havana");
        analyze(&from, &dataset);
        let report = havana().args(["report", "--json"]).arg(&dataset).output().unwrap();
        std::fs::remove_dir_all(&dataset).unwrap();
        let report: Value = serde_json::from_slice(&report.stdout).unwrap();
        let seconds = number(&report["span_ns"]) / 1e9;
        // As far as windows tell states as the whole does, which is 0.25 % of the time.
        let near = |is: f64, share: f64| (is / seconds - share).abs() < 0.0025;
        for cpu in each(&report["cpus"]) {
            for (state, share) in cpu["states"].as_object().unwrap() {
                let labels = format!("cpu=\"{}\",state=\"{state}\"", cpu["cpu"]);
                let is = told.sum("havana_cpu_seconds_total", &labels);
                assert!(near(is, number(share)), "{labels}: {is} s, {share} of {seconds} s");
            }
        }
        let due: f64 = each(&report["vms"]).map(|vm| number(&vm["exits"])).sum();
        let exits = told.sum("havana_vm_exits_total", "");
        assert!((exits - due).abs() <= due * 0.005, "{exits} of {due}");
        for vm in each(&report["vms"]).filter(|vm| !vm["name"].is_null()) {
            let preempted: f64 = each(&vm["vcpus"]).map(|vcpu| number(&vcpu["preempted"]["share"])).sum();
            let is: f64 = told.vcpus(vm["name"].as_str().unwrap(), "preempted");
            assert!(near(is, preempted), "{}: {is} s", vm["name"]);
        }
    }
}

#[test]
fn counters_only_grow_while_it_runs() {
    let (mut child, address) = top(&["--speed", "0.5", "--interval", "50ms"], &recording("steal-two-hogs"));
    let mut last: BTreeMap<String, f64> = BTreeMap::new();
    let (mut windows, mut text) = (Vec::new(), String::new());
    while let Some((status, told)) = get(&address, "/metrics") {
        assert_eq!(status, 200);
        let now: BTreeMap<String, f64> =
            Told::read(&told).counters().map(|(key, value)| (key.clone(), *value)).collect();
        for (key, value) in &last {
            assert!(now.get(key).is_some_and(|now| now >= value), "{key} was {value} and is {:?}", now.get(key));
        }
        windows.extend(now.get("havana_top_windows_total{node=\"unknown\"}").map(|windows| *windows as u64));
        (last, text) = (now, told);
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(child.wait().unwrap().success());
    windows.dedup();
    assert!(windows.len() > 5, "{windows:?}");
    if let Some(mut promtool) = tool("counters_only_grow_while_it_runs", "promtool") {
        assert_eq!(lint(&mut promtool, &text), "");
        let wrong = text.replace("# HELP havana_vms", "# help havana_vms");
        assert!(lint(&mut tool("", "promtool").unwrap(), &wrong).contains("no help text"), "it looks");
    }
}

#[test]
fn what_the_recorder_tells_is_as_prometheus_wants_it() {
    let Some(mut promtool) = tool("what_the_recorder_tells", "promtool") else { return };
    assert_eq!(lint(&mut promtool, &dashboard::record(7).text()), "");
}

#[test]
fn the_textfile_collector_reads_the_file() {
    let Some(mut collector) = tool("the_textfile_collector_reads_the_file", "prometheus-node-exporter") else { return };
    let dir = scratch();
    let (_, text) = both(&recording("steal-two-hogs"), "250ms");
    std::fs::write(dir.path().join("top.prom"), &text).unwrap();
    std::fs::write(dir.path().join("record.prom"), dashboard::record(7).text()).unwrap();
    let address = free_address();
    let child = collector
        .args(["--collector.disable-defaults", "--collector.textfile"])
        .arg(format!("--collector.textfile.directory={}", dir.path().display()))
        .arg(format!("--web.listen-address={address}"))
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let _child = Running(child);
    let began = Instant::now();
    let told = loop {
        match get(&address, "/metrics") {
            Some((200, told)) => break told,
            _ => assert!(began.elapsed() < Duration::from_secs(30), "it does not answer"),
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    assert!(told.contains("\nnode_textfile_scrape_error 0\n"), "{told}");
    let samples = |text: &str| text.lines().filter(|line| line.starts_with("havana_")).count();
    assert_eq!(samples(&told), samples(&text) + samples(&dashboard::record(7).text()));
}

#[test]
fn where_they_cannot_be_told_is_said_in_one_sentence() {
    let said = |metrics: &str, code: i32| {
        let from = recording("steal-two-hogs");
        let mut command = havana();
        command.args(["top", "--speed", "max", "--plain", "--metrics", metrics, "--from"]).arg(from);
        let done = command.output().unwrap();
        assert_eq!((done.status.code(), done.stdout.len()), (Some(code), 0));
        String::from_utf8(done.stderr).unwrap()
    };
    let holder = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = holder.local_addr().unwrap().to_string();
    assert_eq!(
        said(&address, 1),
        format!("havana: metrics cannot be served at {address}: Address already in use (os error 98)\n")
    );
    assert!(
        said("/nowhere/a.prom", 1)
            .starts_with("havana: metrics are not told: /nowhere/a.prom: cannot write: No such file")
    );
    assert!(said("9117", 2).contains("should be an address, such as 127.0.0.1:9117, or a file"));
}
