//! How long the server takes to answer a page that looks around in a large dataset.
//!
//! ```text
//! cargo bench -p havana-serve -- DATASET [REQUESTS] [SEED]
//! ```
//!
//! First what a page asks for when it opens, one after the other, on a server that has just started. Then pans and zooms at random: a window
//! anywhere, of any width from a millionth to all, of forty rows that are used most, 1,400 pixels wide. Prints percentiles of
//! each kind of request, and the memory that the process had at most.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use havana_serve::{Options, serve};
use havana_store::Dataset;

/// A browser's connection, as far as it matters.
struct Client {
    stream: BufReader<TcpStream>,
    host: String,
}

impl Client {
    fn new(url: &str) -> Client {
        let host = url.trim_start_matches("http://").trim_end_matches('/').to_string();
        let stream = TcpStream::connect(&host).expect("the server listens");
        stream.set_nodelay(true).expect("a socket");
        Client { stream: BufReader::new(stream), host }
    }

    /// The body of an answer that must be one, and how long it took.
    fn get(&mut self, path: &str) -> (Vec<u8>, Duration) {
        let begin = Instant::now();
        write!(self.stream.get_mut(), "GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", self.host).expect("a connection");
        let mut line = String::new();
        self.stream.read_line(&mut line).expect("a status");
        let status = line.clone();
        let mut length = 0;
        while line != "\r\n" {
            line.clear();
            self.stream.read_line(&mut line).expect("a header");
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().expect("a length");
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).expect("a body");
        let took = begin.elapsed();
        assert!(status.contains(" 200 "), "{path}: {status}{}", String::from_utf8_lossy(&body));
        (body, took)
    }
}

/// Enough for places to look at (xorshift64*).
struct Random(u64);

impl Random {
    fn unit(&mut self) -> f64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11) as f64 / (1u64 << 53) as f64
    }
}

fn list(ids: impl Iterator<Item = i64>) -> String {
    ids.take(40).map(|id| id.to_string()).collect::<Vec<_>>().join(",")
}

fn milliseconds(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    format!("median {:7.1} ms   99 % {:7.1} ms   max {:7.1} ms", at(0.5), at(0.99), at(1.0))
}

fn peak_mb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) / 1024
}

fn main() {
    let mut args = std::env::args().skip(1).filter(|arg| arg != "--bench");
    let Some(path) = args.next() else {
        println!("which dataset? cargo bench -p havana-serve -- DATASET [REQUESTS] [SEED]");
        return;
    };
    let requests: usize = args.next().map_or(200, |n| n.parse().expect("REQUESTS is a number"));
    let mut random = Random(args.next().map_or(7, |n| n.parse::<u64>().expect("SEED is a number")) | 1);
    let begin = Instant::now();
    let dataset = Dataset::open(Path::new(&path)).expect("a dataset");
    let server = serve(dataset, Options::new(([127, 0, 0, 1], 0).into()).expect("options")).expect("a server");
    let url = server.url();
    let opened = begin.elapsed();
    std::thread::spawn(move || server.run());
    let mut client = Client::new(&url);

    let (body, first) = client.get("/api/dataset");
    let about: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
    let span = about["span"].as_f64().expect("a span");
    let ids = |table: &str, id: &str| -> Vec<i64> {
        let rows = about[table].as_array().into_iter().flatten();
        let guests = rows.filter(|row| table != "processes" || !row["vm_id"].is_null());
        guests.filter_map(|row| row[id].as_i64()).collect()
    };
    let cpus = list(about["cpus"].as_array().into_iter().flatten().filter_map(serde_json::Value::as_i64));
    let rows = [
        ("cpu", cpus),
        ("vcpu", list(ids("vcpus", "vcpu_id").into_iter())),
        ("process", list(ids("processes", "process_id").into_iter())),
        ("vm", list(ids("vms", "vm_id").into_iter())),
        ("node", "0".to_string()),
    ];
    println!(
        "{} intervals, {} cpus, {} vCPUs, {} processes",
        about["intervals"],
        about["cpus"].as_array().map_or(0, Vec::len),
        ids("vcpus", "vcpu_id").len(),
        ids("processes", "process_id").len()
    );
    println!("opened in {:.0} ms; /api/dataset {:.0} ms", opened.as_secs_f64() * 1e3, first.as_secs_f64() * 1e3);

    let all = format!("from=0&to={span}");
    let mut sum = opened + first;
    for path in [
        format!("/api/sums?{all}"),
        format!("/api/segments?kind=node&{all}&px=1400"),
        format!("/api/segments?kind=cpu&ids={}&{all}&px=1400", rows[0].1),
        format!("/api/segments?kind=vcpu&ids={}&{all}&px=1400", rows[1].1),
        "/api/findings".to_string(),
    ] {
        let (body, took) = client.get(&path);
        sum += took;
        let path: String = path.chars().take(40).collect();
        println!("  first picture: {path:40} {:7.1} ms {:8} bytes", took.as_secs_f64() * 1e3, body.len());
    }
    println!("first picture, all of it one after the other: {:.0} ms", sum.as_secs_f64() * 1e3);

    let mut look = |name: &str, detail: &str, requests: usize, path: &dyn Fn(&str) -> String| {
        let mut times = Vec::new();
        let mut slowest = (Duration::ZERO, String::new());
        let mut bytes = 0;
        for _ in 0..requests {
            let width = span * 10f64.powf(-6.0 * random.unit());
            let from = (span - width) * random.unit();
            let path = path(&format!("from={}&to={}{detail}", from as i64, (from + width) as i64 + 1));
            let (body, took) = client.get(&path);
            bytes = bytes.max(body.len());
            if took > slowest.0 {
                slowest = (took, path);
            }
            times.push(took);
        }
        let worst: String = slowest.1.rsplit('?').next().unwrap_or_default().chars().rev().take(60).collect();
        let worst: String = worst.chars().rev().collect();
        println!("{name:18} {}   {:6} kB at most   (…{worst})", milliseconds(times), bytes / 1024);
    };
    for (kind, ids) in &rows {
        look(kind, "", requests, &|window| format!("/api/segments?kind={kind}&ids={ids}&px=1400&{window}"));
    }
    look("sums", "", requests, &|window| format!("/api/sums?{window}"));
    look("exits/rate", "", requests, &|window| format!("/api/exits/rate?px=1400&{window}"));
    look("exits/histogram", "", requests, &|window| format!("/api/exits/histogram?{window}"));
    look("exits/slowest", "", requests.div_ceil(4), &|window| format!("/api/exits/slowest?{window}"));
    look("cpu, fine", "&detail=fine", requests.div_ceil(10), &|window| {
        format!("/api/segments?kind=cpu&ids={}&px=1400&{window}", rows[0].1)
    });
    println!("memory at most {} MB", peak_mb());
}
