//! The Trace Server Protocol as the network sees it: who may ask, what is refused and how, and that no answer is larger than it may be. What is
//! right of an answer a real client says (`ui/e2e/tests/tsp.spec.ts`).

#![allow(clippy::unwrap_used, reason = "helpers of tests stand outside of them")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use havana_rows::*;
use havana_serve::{Options, serve};
use havana_store::{Clock, Dataset, DatasetWriter, Epoch, Manifest, WriterOptions};
use serde_json::{Value, json};

/// Intervals of each cpu.
const INTERVALS: i64 = 50_000;
/// The first tick, and the last.
const FIRST: i64 = 5000;
const LAST: i64 = FIRST + INTERVALS * 100;

struct Running {
    host: String,
    /// The path of the protocol.
    base: String,
    experiment: String,
    _root: tempfile::TempDir,
}

/// A node of two cpus and a VM that moves between them each 100 ticks.
fn start(address: &str, clock: Clock) -> Running {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("x.havana");
    let options = WriterOptions { node: "n".into(), capture: "c1".into(), ..WriterOptions::default() };
    let mut writer = DatasetWriter::create(&dir, options).unwrap();
    for n in 0..INTERVALS {
        for cpu in 0..2 {
            let runs = (n % 2) as i32 == cpu;
            writer
                .cpu_state(CpuState {
                    cpu,
                    start: Time::exact(FIRST + n * 100),
                    end: Time::exact(FIRST + n * 100 + 100),
                    state: if runs { CpuStateKind::Guest } else { CpuStateKind::Idle },
                    evidence: Evidence::Observed,
                    vm_id: runs.then_some(0),
                    vcpu_id: runs.then_some(0),
                    process_id: None,
                    host_cr3: None,
                    guest_cr3: None,
                    tid: None,
                })
                .unwrap();
        }
    }
    let ended = writer.end(Manifest { clock, ..Manifest::default() }).unwrap();
    ended.put(None).unwrap();
    let options = Options { tsp: true, ..Options::new(address.parse().unwrap()).unwrap() };
    let server = serve(Dataset::open(&dir).unwrap(), options).unwrap();
    let url = server.tsp_url().unwrap();
    std::thread::spawn(move || server.run().unwrap());
    let (host, base) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let mut running = Running { host: host.into(), base: format!("/{base}"), experiment: String::new(), _root: root };
    running.experiment = running.get("/experiments").1[0]["UUID"].as_str().unwrap().into();
    running
}

fn known() -> Clock {
    Clock {
        tsc_hz: Some(2_000_000_000),
        tsc_hz_known: true,
        epoch: Epoch::Unix,
        origin_tsc: 0,
        origin_ns: Some(1_700_000_000_000_000_000),
    }
}

impl Running {
    fn raw(&self, request: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.host.replace("0.0.0.0", "127.0.0.1")).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        // One who is refused may be hung up on before all was sent.
        let _ = stream.write_all(request.as_bytes());
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let status = text.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        (status, text)
    }

    fn ask(&self, method: &str, path: &str, headers: &str, body: &str) -> (u16, String) {
        let Running { host, base, .. } = self;
        let length = body.len();
        self.raw(&format!(
            "{method} {base}{path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {length}\r\n{headers}Connection: close\r\n\r\n{body}"
        ))
    }

    fn told(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
        let (status, text) = self.ask(method, path, "Content-Type: application/json\r\n", body);
        assert!(text.to_lowercase().contains("\r\ncontent-type: application/json\r\n"), "{path}: {text}");
        (status, serde_json::from_str(text.split("\r\n\r\n").nth(1).unwrap()).unwrap())
    }

    fn get(&self, path: &str) -> (u16, Value) {
        self.told("GET", path, "")
    }

    /// Asks something of an output.
    fn post(&self, path: &str, parameters: Value) -> (u16, Value) {
        let path = format!("/experiments/{}/outputs/{path}", self.experiment);
        self.told("POST", &path, &json!({ "parameters": parameters }).to_string())
    }

    fn states(&self, start: i64, end: i64, times: i64, items: Value) -> (u16, Value) {
        let range = json!({ "start": start, "end": end, "nbTimes": times });
        let (status, mut answer) = self.post(
            "timeGraph/havana.resources/states",
            json!({ "requested_timerange": range, "requested_items": items }),
        );
        (status, if status == 200 { answer["model"]["rows"].take() } else { answer })
    }
}

#[test]
fn what_is_wrong_with_a_request_is_said_in_the_protocols_form() {
    let server = start("127.0.0.1:0", known());
    let outputs = format!("/experiments/{}/outputs", server.experiment);
    let of = |path: &str| format!("{outputs}/{path}");
    let range = r#"{"parameters":{"requested_timerange":{"start":0,"end":9},"requested_items":[0]}}"#;
    for (method, path, body, status, title) in [
        ("GET", "/nothing".into(), "", 404, "the protocol has nothing at this address"),
        ("GET", of("timeGraph/havana.vms"), "", 404, "the protocol has nothing at this address"),
        ("GET", "/traces/0".into(), "", 404, "there is no trace 0 here"),
        ("GET", "/experiments/0".into(), "", 404, "there is no experiment 0 here"),
        ("GET", "/experiments/0/outputs".into(), "", 404, "there is no experiment 0 here"),
        ("GET", of("x"), "", 404, "there is no output x"),
        ("POST", of("timeGraph/x/tree"), range, 404, "there is no output x"),
        ("POST", of("timeGraph/havana.busy/states"), range, 404, "the output havana.busy is no time graph"),
        ("POST", of("XY/havana.vms/xy"), range, 404, "the output havana.vms is no XY chart"),
        ("POST", of("data/havana.vms/tree"), range, 404, "the output havana.vms is no data tree"),
        ("POST", of("table/havana.vms/lines"), range, 404, "the output havana.vms is no table"),
        ("POST", of("timeGraph/havana.vms/states"), "", 400, "the request is no JSON"),
        ("POST", of("timeGraph/havana.vms/states"), "{}", 400, "parameters is missing"),
        ("POST", of("timeGraph/havana.vms/states"), r#"{"parameters":{"requested_items":"x"}}"#, 400, "parameters: "),
        ("POST", of("timeGraph/havana.vms/tooltip"), range, 400, "requested_times is missing"),
        ("POST", of("table/havana.findings/lines"), range, 400, "requested_table_count is missing"),
        ("POST", "/traces".into(), r#"{"parameters":{}}"#, 400, "uri is missing"),
        ("POST", "/experiments".into(), r#"{"parameters":{"name":"x"}}"#, 400, "traces is missing, or empty"),
        ("PUT", "/traces".into(), "{}", 405, "that cannot be done here"),
        ("DELETE", format!("/experiments/{}/bookmarks/1", server.experiment), "", 404, "there is no bookmark 1"),
    ] {
        let (is, answer) = server.told(method, &path, body);
        let said = answer["title"].as_str().unwrap_or_default();
        assert!(is == status && said.starts_with(title), "{method} {path}: {is} {answer}");
    }
    for (start, end, times, title) in [
        (9, 0, 10, "start=9 is after end=0"),
        (0, 9, 0, "nbTimes=0 is not from 1 to 65536"),
        (0, 9, 65_537, "nbTimes=65537 is not from 1 to 65536"),
    ] {
        assert_eq!(server.states(start, end, times, json!([0])), (400, json!({ "title": title })));
    }
    let many: Vec<i64> = (0..20_000).collect();
    assert_eq!(server.states(0, 9, 1, json!(many)), (400, json!({ "title": "20000 items: 16384 at most" })));
    let long = "x".repeat(3 << 20);
    assert!(matches!(server.ask("POST", "/traces", "", &long).0, 0 | 400));
}

#[test]
fn ranges_may_be_anywhere_and_answers_are_bounded() {
    let server = start("127.0.0.1:0", known());
    let ns = |tsc: i64| 1_700_000_000_000_000_000 + tsc / 2;
    let lengths = |rows: &Value| -> Vec<i64> {
        let states = rows[0]["states"].as_array().unwrap();
        states.iter().map(|state| state["end"].as_i64().unwrap() - state["start"].as_i64().unwrap()).collect()
    };
    // Beside the dataset there is nothing, and of what goes beyond it only what is there.
    for (start, end) in [(0, 10), (ns(LAST) + 1, i64::MAX), (i64::MIN, i64::MIN)] {
        let (status, rows) = server.states(start, end, 1000, json!([1]));
        assert_eq!((status, rows), (200, json!([{ "entryId": 1, "states": [] }])));
    }
    for (start, end) in [(ns(FIRST), ns(LAST)), (i64::MIN, i64::MAX), (0, ns(LAST) + 5)] {
        let (status, rows) = server.states(start, end, 65_536, json!([1]));
        assert_eq!((status, lengths(&rows).iter().sum::<i64>()), (200, ns(LAST) - ns(FIRST)));
        assert!(lengths(&rows).len() <= 2 * 65_536);
    }
    // Few times, few states; one id many times is one row, and one that is none is no row.
    let (_, rows) = server.states(ns(FIRST), ns(LAST), 100, json!([1, 1, 2, 77, -5]));
    assert_eq!(rows.as_array().unwrap().len(), 2);
    assert!(lengths(&rows).len() <= 100);
    // An interval by itself; whoever begins before is told from there.
    let (_, rows) = server.states(ns(FIRST) + 60, ns(FIRST) + 70, 10, json!([1]));
    let [state] = &rows[0]["states"].as_array().unwrap()[..] else { panic!("{rows}") };
    assert_eq!((state["start"].as_i64(), state["end"].as_i64()), (Some(ns(FIRST + 100)), Some(ns(FIRST + 200))));
    // As older clients ask.
    let times: Vec<i64> = (0..10).map(|n| ns(FIRST) + 60 + n).collect();
    let asked = json!({ "requested_times": times, "requested_items": [1] });
    assert_eq!(server.post("timeGraph/havana.resources/states", asked).1["model"]["rows"], rows);
    for path in
        ["XY/havana.busy/xy", "XY/havana.exits/xy", "timeGraph/havana.resources/arrows", "havana.vms/annotations"]
    {
        let range = json!({ "start": i64::MIN, "end": i64::MAX, "nbTimes": 65_536 });
        assert_eq!(
            server.post(path, json!({ "requested_timerange": range, "requested_items": [0, 1] })).0,
            200,
            "{path}"
        );
    }
}

#[test]
fn without_a_rate_times_are_ticks_and_that_is_said() {
    let server = start("127.0.0.1:0", Clock { tsc_hz_known: false, ..known() });
    let (_, traces) = server.get("/traces");
    assert_eq!((&traces[0]["start"], &traces[0]["end"]), (&json!(FIRST), &json!(LAST)));
    assert!(traces[0]["name"].as_str().unwrap().contains("times are ticks"), "{traces}");
    assert!(traces[0]["properties"]["time"].as_str().unwrap().contains("no rate is known"), "{traces}");
    let (_, rows) = server.states(FIRST + 100, FIRST + 199, 10, json!([1]));
    assert_eq!(rows[0]["states"][0]["start"], json!(FIRST + 100));
}

#[test]
fn vs_codes_webviews_may_ask_and_read_the_answer() {
    let server = start("127.0.0.1:0", known());
    let allowed = |text: &str| text.lines().any(|line| line == "access-control-allow-origin: vscode-webview://0a1b");
    let preflight = "Origin: vscode-webview://0a1b\r\nAccess-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: content-type\r\n";
    let (status, text) = server.ask("OPTIONS", "/traces", preflight, "");
    assert!(
        status == 204 && allowed(&text) && text.contains("access-control-allow-headers: accept, content-type"),
        "{text}"
    );
    let (status, text) =
        server.ask("GET", "/traces", "Origin: vscode-webview://0a1b\r\nSec-Fetch-Site: cross-site\r\n", "");
    assert!(status == 200 && allowed(&text), "{text}");
    for origin in ["https://evil.example", "null", "http://localhost:3000"] {
        let (status, text) = server.ask("GET", "/traces", &format!("Origin: {origin}\r\n"), "");
        assert!(status == 403 && text.contains(r#"{"title":"a page of another site may not ask"}"#), "{text}");
        assert!(!text.contains("access-control"), "{text}");
    }
    // Nor is the page's own answer to be had.
    let page = |path: &str| {
        let host = &server.host;
        server
            .raw(&format!(
                "GET {path} HTTP/1.1\r\nHost: {host}\r\nOrigin: vscode-webview://0a1b\r\nConnection: close\r\n\r\n"
            ))
            .0
    };
    assert_eq!((page("/api/dataset"), page("/tsp/api/health")), (403, 200));
}

#[test]
fn elsewhere_than_on_loopback_the_token_is_in_the_path() {
    let server = start("0.0.0.0:0", known());
    let token = server.base.strip_prefix("/tsp/").and_then(|base| base.strip_suffix("/api")).unwrap();
    assert_eq!(token.len(), 32);
    assert_eq!(server.get("/health").0, 200);
    let host = &server.host;
    for path in ["/tsp/api/health", "/tsp/00000000000000000000000000000000/api/health"] {
        let (status, text) = server.raw(&format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"));
        assert!(status == 403 && text.contains(r#"{"title":"the token is missing"#), "{text}");
    }
}
