//! The server as the network sees it: what it answers, what it refuses, and that neither many nor slow ones hurt it.

#![allow(clippy::unwrap_used, reason = "helpers of tests stand outside of them")]

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use havana_rows::*;
use havana_serve::{Options, Server, serve};
use havana_store::{Dataset, Manifest, WriterOptions};

type Found = (Vec<Finding>, Vec<FindingSpan>);

fn write(dir: &Path, overwrite: bool) {
    write_with(dir, overwrite, None);
}

fn write_with(dir: &Path, overwrite: bool, found: Option<Found>) {
    let options = WriterOptions { node: "n".into(), capture: "c1".into(), overwrite, ..WriterOptions::default() };
    let mut writer = havana_store::DatasetWriter::create(dir, options).unwrap();
    for n in 0..1000i64 {
        writer
            .cpu_state(CpuState {
                cpu: 0,
                start: Time::exact(5000 + n * 100),
                end: Time::exact(5000 + n * 100 + 100),
                state: if n % 2 == 0 { CpuStateKind::Guest } else { CpuStateKind::Idle },
                evidence: Evidence::Observed,
                vm_id: (n % 2 == 0).then_some(0),
                vcpu_id: (n % 2 == 0).then_some(0),
                process_id: None,
                host_cr3: None,
                guest_cr3: None,
                tid: None,
            })
            .unwrap();
    }
    writer.end(Manifest::default()).unwrap().put(found).unwrap();
}

struct Running {
    url: String,
    host: String,
    root: tempfile::TempDir,
}

fn start(address: &str) -> Running {
    start_with(address, None, None)
}

fn start_with(address: &str, found: Option<Found>, compare: Option<serde_json::Value>) -> Running {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("x.havana");
    write_with(&dir, false, found);
    let address: SocketAddr = address.parse().unwrap();
    let options = Options { compare, ..Options::new(address).unwrap() };
    let server: Server = serve(Dataset::open(&dir).unwrap(), options).unwrap();
    let url = server.url();
    std::thread::spawn(move || server.run().unwrap());
    let host = url.strip_prefix("http://").unwrap().split('/').next().unwrap().to_string();
    Running { url, host, root }
}

impl Running {
    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.host.replace("0.0.0.0", "127.0.0.1")).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream
    }

    /// Sends bytes as they are; the status and all of the answer.
    fn raw(&self, request: &str) -> (u16, String) {
        let mut stream = self.connect();
        stream.write_all(request.as_bytes()).unwrap();
        answer(&mut stream)
    }

    fn get(&self, path: &str) -> (u16, String) {
        self.raw(&format!("GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.host))
    }

    fn body(&self, path: &str) -> String {
        let (status, text) = self.get(path);
        assert_eq!(status, 200, "{path}");
        text.split("\r\n\r\n").nth(1).unwrap().to_string()
    }
}

fn answer(stream: &mut TcpStream) -> (u16, String) {
    let mut bytes = Vec::new();
    // A connection that is closed on us has no more to say.
    let _ = stream.read_to_end(&mut bytes);
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    (status, text)
}

#[test]
fn what_is_wrong_with_a_request_is_said() {
    let server = start("127.0.0.1:0");
    assert_eq!(server.get("/").0, 200);
    assert_eq!(server.get("/api/dataset").0, 200);
    assert_eq!(server.get("/api/segments?kind=cpu&ids=0&from=0&to=1000&px=10").0, 200);
    let error = |path: &str| {
        let (status, text) = server.get(path);
        let body = text.split("\r\n\r\n").nth(1).unwrap_or_default().to_string();
        format!("{status} {body}")
    };
    for (path, expected) in [
        ("/api/segments", "400 {\"error\":\"kind is missing\"}"),
        ("/api/segments?kind=dog", "400 {\"error\":\"kind=dog is none of cpu, vcpu, process, vm, node\"}"),
        ("/api/segments?kind=cpu&ids=x", "400 {\"error\":\"ids: x is no id\"}"),
        ("/api/segments?kind=cpu&ids=0&from=1e99", "400 {\"error\":\"from=1e99 is no number of ticks\"}"),
        ("/api/segments?kind=cpu&ids=0&from=NaN", "400 {\"error\":\"from=NaN is no number of ticks\"}"),
        ("/api/segments?kind=cpu&ids=0&from=9&to=3", "400 {\"error\":\"from=9 is after to=3\"}"),
        ("/api/segments?kind=cpu&ids=0&from=0&to=3&px=0", "400 {\"error\":\"px=0 is not from 1 to 16384\"}"),
        ("/api/segments?kind=cpu&ids=0&from=0&to=3&px=1e9", "400 {\"error\":\"px=1000000000 is not from 1 to 16384\"}"),
        ("/api/sums?from=0", "400 {\"error\":\"to is missing\"}"),
        ("/api/at?kind=cpu&id=7&t=0", "404 {\"error\":\"there is no cpu 7 in this dataset\"}"),
        ("/api/at?kind=vm&id=0&t=0", "400 {\"error\":\"a VM and the node have no intervals of their own\"}"),
        ("/api/step?kind=cpu&id=0&t=0&to=up", "400 {\"error\":\"to=up is neither next nor previous\"}"),
        ("/api/exits/slowest?from=0&to=1&n=99999", "400 {\"error\":\"n=99999 is not from 0 to 10000\"}"),
        ("/api/exits/slowest?from=0&to=1&vm=99999999999", "400 {\"error\":\"vm=99999999999 is no id\"}"),
        ("/api/stolen?vm=0&by_kind=me&from=0&to=1", "400 {\"error\":\"by_kind=me is neither vm nor host\"}"),
    ] {
        assert_eq!(error(path), expected, "{path}");
    }
    let many = (0..600).map(|id| id.to_string()).collect::<Vec<_>>().join(",");
    assert_eq!(error(&format!("/api/segments?kind=cpu&ids={many}")), "400 {\"error\":\"600 ids: 512 at most\"}");
    assert_eq!(server.get("/api/nothing").0, 404);
    let host = &server.host;
    assert_eq!(server.raw(&format!("POST /api/dataset HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")).0, 405);
    assert_eq!(server.raw("GET / HTTP/1.1\r\nConnection: close\r\n\r\n").0, 400);
    assert_eq!(server.raw("nonsense\r\n\r\n").0, 400);
    assert_eq!(server.raw("GET / HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n").0, 403);
    let long = "x".repeat(100_000);
    assert!(matches!(server.get(&format!("/{long}")).0, 0 | 400..=499));
}

#[test]
fn findings_are_those_of_the_tables() {
    let nobody_looked = start("127.0.0.1:0");
    assert_eq!(nobody_looked.body("/api/findings"), r#"{"findings":[],"known":false}"#);
    assert!(nobody_looked.body("/api/dataset").contains(r#""findings_known":false"#));
    let nothing = start_with("127.0.0.1:0", Some((Vec::new(), Vec::new())), None);
    assert_eq!(nothing.body("/api/findings"), r#"{"findings":[],"known":true}"#);
    assert!(nothing.body("/api/dataset").contains(r#""findings_known":true"#));

    let steal = Finding {
        finding_id: 0,
        kind: FindingKind::Steal,
        severity: Severity::High,
        score: 0.75,
        sure: 0.5,
        title: "VM 1 waited for \"x\"".into(),
        vm_id: Some(0),
        vcpu_id: None,
        process_id: Some(7),
        start_tsc: Some(5200),
        end_tsc: None,
    };
    let trace = Finding {
        finding_id: 1,
        kind: FindingKind::Trace,
        severity: Severity::Low,
        start_tsc: None,
        title: "lost".into(),
        ..steal.clone()
    };
    let span = |finding_id, cpu, start_tsc| FindingSpan {
        finding_id,
        cpu,
        vcpu_id: Some(1),
        process_id: None,
        start_tsc,
        end_tsc: start_tsc + 50,
    };
    let spans = vec![span(0, Some(0), 5300), span(1, None, 5400), span(0, None, 6000)];
    // Ticks count from the dataset's first, which is 5000; what is not known is null.
    let interval = |cpu: &str, start: i64| {
        let end = start + 50;
        format!(r#"{{"cpu":{cpu},"end":{end}.0,"process_id":null,"start":{start}.0,"vcpu_id":1}}"#)
    };
    let expected = format!(
        concat!(
            r#"{{"findings":[{{"end":null,"finding_id":0,"kind":"steal","process_id":7,"score":0.75,"severity":"high","#,
            r#""spans":[{},{}],"start":200.0,"sure":0.5,"title":"VM 1 waited for \"x\"","vcpu_id":null,"vm_id":0}},"#,
            r#"{{"end":null,"finding_id":1,"kind":"trace","process_id":7,"score":0.75,"severity":"low","#,
            r#""spans":[{}],"start":null,"sure":0.5,"title":"lost","vcpu_id":null,"vm_id":0}}],"known":true}}"#,
        ),
        interval("0", 300),
        interval("null", 1000),
        interval("null", 400),
    );
    let server = start_with("127.0.0.1:0", Some((vec![steal, trace], spans)), None);
    assert_eq!(server.body("/api/findings"), expected);
}

#[test]
fn what_changed_is_handed_on_as_it_is() {
    assert_eq!(start("127.0.0.1:0").body("/api/compare"), r#"{"diff":null,"known":false}"#);
    let diff = serde_json::json!({ "one_dataset": true, "changes": [{ "who": "VM \"x\"", "a": 0.25, "p": 1e-300 }] });
    let server = start_with("127.0.0.1:0", None, Some(diff.clone()));
    let answer: serde_json::Value = serde_json::from_str(&server.body("/api/compare")).unwrap();
    assert_eq!(answer, serde_json::json!({ "known": true, "diff": diff }));
    // Nothing else of it is on the disk or can be asked for.
    assert_eq!(server.get("/api/compare/changes").0, 404);
}

#[test]
fn no_path_leaves_the_page() {
    let server = start("127.0.0.1:0");
    fs::write(server.root.path().join("secret"), "swordfish").unwrap();
    for path in [
        "/../secret",
        "/../../etc/passwd",
        "/%2e%2e/secret",
        "/..%2fsecret",
        "/%2e%2e%2f%2e%2e%2fetc/passwd",
        "//etc/passwd",
        "/x.havana/manifest.json",
        "/manifest.json",
        "/api/../secret",
        "/api/%2e%2e/secret",
        "/\\..\\secret",
        "/.",
        "/%00",
    ] {
        let (status, text) = server.get(path);
        assert!((400..500).contains(&status), "{path}: {status}");
        assert!(!text.contains("swordfish") && !text.contains("root:") && !text.contains("havana-dataset"), "{path}");
    }
}

#[test]
fn elsewhere_than_on_loopback_it_asks_for_a_token() {
    let server = start("0.0.0.0:0");
    let token = server.url.split("?token=").nth(1).unwrap().to_string();
    assert_eq!(token.len(), 32);
    assert_eq!(server.get("/").0, 403);
    assert_eq!(server.get("/api/dataset").0, 403);
    assert_eq!(server.get("/api/dataset?token=00000000000000000000000000000000").0, 403);
    let (status, text) = server.get(&format!("/?token={token}"));
    assert_eq!(status, 200);
    let cookie = text.lines().find_map(|line| line.strip_prefix("set-cookie: ")).unwrap();
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
    let pair = cookie.split(';').next().unwrap();
    let host = &server.host;
    let request = format!("GET /api/dataset HTTP/1.1\r\nHost: {host}\r\nCookie: {pair}\r\nConnection: close\r\n\r\n");
    assert_eq!(server.raw(&request).0, 200);
    assert!(!start("127.0.0.1:0").url.contains("token"));
}

#[test]
fn a_thousand_at_once_are_all_answered() {
    let server = start("127.0.0.1:0");
    std::thread::scope(|scope| {
        for worker in 0..20 {
            let server = &server;
            scope.spawn(move || {
                let ask = |n: usize| {
                    let from = (worker * 50 + n) * 50;
                    let path = format!("/api/segments?kind=cpu&ids=0&from={from}&to={}&px=100", from + 5000);
                    let mut stream = server.connect();
                    write!(stream, "GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", server.host)
                        .unwrap();
                    stream
                };
                let mut streams: Vec<TcpStream> = (0..50).map(ask).collect();
                for stream in &mut streams {
                    assert_eq!(answer(stream).0, 200);
                }
            });
        }
    });
}

#[test]
fn slow_ones_do_not_keep_others_out() {
    let server = start("127.0.0.1:0");
    // More than there are places: some that say nothing, some that stop in the middle of a request, some that never take the answer.
    let path = "/api/segments?kind=cpu&ids=0&from=0&to=100000&px=4000";
    let mut slow = Vec::new();
    for n in 0..200 {
        let mut stream = server.connect();
        match n % 3 {
            0 => {}
            1 => stream.write_all(b"GET /api/dat").unwrap(),
            _ => write!(stream, "GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", server.host).unwrap(),
        }
        slow.push(stream);
    }
    let begin = Instant::now();
    for _ in 0..20 {
        assert_eq!(server.get("/api/dataset").0, 200);
    }
    // Not a timing: without places being taken back it is never.
    assert!(begin.elapsed() < Duration::from_secs(25), "{:?}", begin.elapsed());
    drop(slow);
}

#[test]
fn a_dataset_that_goes_or_breaks_is_told() {
    let server = start("127.0.0.1:0");
    let dir = server.root.path().join("x.havana");
    let path = "/api/segments?kind=cpu&ids=0&from=0&to=1000&px=10";
    let file = dir.join("cpu_states/node=n/capture=c1/part-0000.parquet");
    let bytes = fs::read(&file).unwrap();
    fs::write(&file, &bytes[..bytes.len() / 2]).unwrap();
    let (status, text) = server.get(path);
    assert!(status == 422 && text.contains("part-0000.parquet: damaged Parquet file"), "{text}");
    fs::write(&file, vec![0xff; bytes.len()]).unwrap();
    assert_eq!(server.get(path).0, 422);
    fs::remove_file(&file).unwrap();
    let (status, text) = server.get(path);
    assert!(status == 422 && text.contains("0 files of 1"), "{text}");
    fs::write(&file, bytes).unwrap();
    assert_eq!(server.get(path).0, 200);

    write(&dir, true);
    let (status, text) = server.get(path);
    assert!(status == 410 && text.contains("was replaced by another dataset"), "{text}");
    fs::remove_dir_all(&dir).unwrap();
    let (status, text) = server.get(path);
    assert!(status == 410 && text.contains("is not there any more"), "{text}");
    // The page stands, to say so.
    assert_eq!(server.get("/").0, 200);
}
