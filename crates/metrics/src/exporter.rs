//! Who answers, or writes the file, while the others work: a thread of its own.
//!
//! One request a connection, and few connections: who asks slowly, or does not read, is hung up on. On loopback any process
//! of this machine may ask, but no page of another site that a browser shows: such a page reaches us under its own name (DNS
//! rebinding). A file is renamed into place, so that who reads it sees all of it.

use std::convert::Infallible;
use std::future::Future;
use std::io::Write;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use havana_whole::{WholeError, WholeFile};
use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_TYPE, HOST, HeaderValue};
use hyper::http::uri::Authority;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Semaphore, oneshot};

use crate::sheet;
use crate::{MetricsError, Target};

/// Connections at once.
const CONNECTIONS: usize = 16;
/// How long one may take, all told: as long as Prometheus waits.
const LONGEST: Duration = Duration::from_secs(10);
/// A file is written so often: each is read some times a minute.
const EVERY: Duration = Duration::from_secs(2);
/// Where they are.
const PATH: &str = "/metrics";

/// The text of the metrics, as they are when it is asked for.
type Text = Arc<dyn Fn() -> String + Send + Sync>;

/// What is served, and to whom.
struct Served {
    text: Text,
    /// To who is on this machine.
    loopback: bool,
}

/// Tells metrics until it goes.
#[derive(Debug)]
pub struct Exporter {
    at: String,
    stop: Option<oneshot::Sender<Infallible>>,
    thread: Option<JoinHandle<()>>,
}

impl Exporter {
    /// Begins. `text`: the metrics, as they are then.
    ///
    /// # Errors
    /// That the address cannot be listened at, or the file not be written.
    pub fn start(target: &Target, text: impl Fn() -> String + Send + Sync + 'static) -> Result<Exporter, MetricsError> {
        let runtime = Builder::new_current_thread().enable_all().build().map_err(MetricsError::Start)?;
        let text: Text = Arc::new(text);
        match target {
            Target::Address(address) => {
                let fail = |source| MetricsError::Listen { address: *address, source };
                let listener = TcpListener::bind(address).map_err(fail)?;
                listener.set_nonblocking(true).map_err(fail)?;
                let at: SocketAddr = listener.local_addr().map_err(fail)?;
                let served = Arc::new(Served { text, loopback: at.ip().is_loopback() });
                Self::of(format!("http://{at}{PATH}"), runtime, answer(listener, served), || {})
            }
            Target::File(path) => {
                write(path, &text())?;
                let (every, last) = ((path.clone(), Arc::clone(&text)), (path.clone(), text));
                let again = async move {
                    loop {
                        tokio::time::sleep(EVERY).await;
                        // A disk that is full may not stay so: the file's age tells.
                        let _ = write(&every.0, &(every.1)());
                    }
                };
                Self::of(path.display().to_string(), runtime, again, move || {
                    let _ = write(&last.0, &(last.1)());
                })
            }
        }
    }

    fn of(
        at: String,
        runtime: Runtime,
        work: impl Future<Output = ()> + Send + 'static,
        last: impl FnOnce() + Send + 'static,
    ) -> Result<Exporter, MetricsError> {
        let (stop, stopped) = oneshot::channel();
        let run = move || {
            runtime.block_on(async {
                tokio::select! {
                    () = work => {}
                    _ = stopped => {}
                }
            });
            last();
        };
        let thread = std::thread::Builder::new().name("metrics".into()).spawn(run).map_err(MetricsError::Start)?;
        Ok(Exporter { at, stop: Some(stop), thread: Some(thread) })
    }

    /// Where they are told: an address for a browser, or the file.
    pub fn at(&self) -> &str {
        &self.at
    }
}

impl Drop for Exporter {
    /// Nobody is answered any more; a file tells what was last.
    fn drop(&mut self) {
        drop(self.stop.take());
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Whole: the collector passes over what does not end in .prom.
fn write(path: &Path, text: &str) -> Result<(), WholeError> {
    let mut file = WholeFile::create(path, true)?;
    file.write_all(text.as_bytes()).map_err(|source| WholeError::Io { action: "write", path: path.into(), source })?;
    file.show()
}

async fn answer(listener: TcpListener, served: Arc<Served>) {
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let connection = serve(stream, Arc::clone(&served));
                tokio::spawn(async move {
                    let _ = tokio::time::timeout(LONGEST, connection).await;
                    drop(place);
                });
            }
            // Out of file descriptors, or the other side is gone: neither lasts.
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

/// One request.
async fn serve(stream: TcpStream, served: Arc<Served>) {
    let service = service_fn(|request: Request<Incoming>| {
        let answer = served.respond(&request);
        async { Ok::<_, Infallible>(answer) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .keep_alive(false)
        .max_buf_size(16 << 10)
        .serve_connection(TokioIo::new(stream), service);
    // How a connection ends is nobody's concern but its own.
    let _ = connection.await;
}

impl Served {
    fn respond(&self, request: &Request<Incoming>) -> Response<String> {
        let host = request.headers().get(HOST).map(HeaderValue::to_str);
        let (status, body) = match (request.uri().path(), request.method()) {
            _ if self.loopback && host.is_some_and(|host| !host.is_ok_and(is_loopback)) => {
                (StatusCode::FORBIDDEN, "this answers to the name of this machine's loopback only\n".into())
            }
            (PATH, &Method::GET | &Method::HEAD) => (StatusCode::OK, (self.text)()),
            (PATH, _) => (StatusCode::METHOD_NOT_ALLOWED, format!("{PATH} can be read, and no more\n")),
            _ => (StatusCode::NOT_FOUND, format!("metrics are at {PATH}\n")),
        };
        let kind = if status == StatusCode::OK { sheet::CONTENT_TYPE } else { "text/plain; charset=utf-8" };
        let mut response = Response::new(body);
        *response.status_mut() = status;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        if status == StatusCode::METHOD_NOT_ALLOWED {
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        }
        response
    }
}

/// Whether a Host is this machine's loopback, at whatever port: that may be another end of a tunnel.
fn is_loopback(host: &str) -> bool {
    let Ok(host) = host.parse::<Authority>() else { return false };
    let name = host.host().trim_start_matches('[').trim_end_matches(']');
    name.parse::<IpAddr>().map_or(name.eq_ignore_ascii_case("localhost"), |ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Instant;

    use super::*;

    fn counting() -> impl Fn() -> String + Send + Sync + 'static {
        let count = AtomicU64::new(0);
        move || format!("asked {}\n", count.fetch_add(1, Ordering::Relaxed))
    }

    fn listening() -> (Exporter, String) {
        let exporter = Exporter::start(&"127.0.0.1:0".parse().unwrap(), counting()).unwrap();
        let address = exporter.at().strip_prefix("http://").unwrap().strip_suffix("/metrics").unwrap().to_owned();
        (exporter, address)
    }

    fn ask(address: &str, request: &str) -> String {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    #[test]
    fn who_asks_is_answered() {
        let (exporter, address) = listening();
        let get = |line: &str| ask(&address, &format!("{line} HTTP/1.1\r\nHost: localhost:1\r\n\r\n"));
        for at in 0..2 {
            let told = get("GET /metrics?a=b");
            assert!(
                told.starts_with("HTTP/1.1 200 OK\r\n") && told.ends_with(&format!("\r\n\r\nasked {at}\n")),
                "{told}"
            );
            assert!(told.contains("content-type: text/plain; version=0.0.4; charset=utf-8\r\n"), "{told}");
        }
        let head = get("HEAD /metrics");
        assert!(head.contains("content-length: 8\r\n") && head.ends_with("\r\n\r\n"), "{head}");
        assert!(get("GET /").starts_with("HTTP/1.1 404 "));
        assert!(get("GET /metrics/").ends_with("metrics are at /metrics\n"));
        let post = get("POST /metrics");
        assert!(post.starts_with("HTTP/1.1 405 ") && post.contains("allow: GET, HEAD\r\n"), "{post}");
        assert!(get("nonsense").starts_with("HTTP/1.1 400 "));
        let long = ask(&address, &format!("GET /metrics HTTP/1.1\r\nHost: {}\r\n\r\n", "a".repeat(20_000)));
        assert!(long.starts_with("HTTP/1.1 431 "), "{long}");
        drop(exporter);
        assert!(TcpStream::connect(&address).is_err(), "nobody listens any more");
    }

    #[test]
    fn on_loopback_it_answers_to_its_own_names_only() {
        let (_exporter, address) = listening();
        let status =
            |host: &str| ask(&address, &format!("GET /metrics HTTP/1.1\r\nHost: {host}\r\n\r\n"))[9..12].to_owned();
        for host in [&*address, "localhost", "LOCALHOST:7", "127.1.2.3:7000", "[::1]:7000"] {
            assert_eq!(status(host), "200", "{host}");
        }
        for host in ["evil.example", "localhost.evil:7000", "10.0.0.1:7000", "a b", ""] {
            assert_eq!(status(host), "403", "{host}");
        }
    }

    #[test]
    fn who_is_slow_holds_up_nobody() {
        let (exporter, address) = listening();
        let slow: Vec<TcpStream> = (0..CONNECTIONS - 1).map(|_| TcpStream::connect(&address).unwrap()).collect();
        assert!(ask(&address, "GET /metrics HTTP/1.0\r\n\r\n").starts_with("HTTP/1.0 200 "));
        // And one more than there are places for: it is answered when the others are hung up on.
        let more: Vec<TcpStream> = (0..4).map(|_| TcpStream::connect(&address).unwrap()).collect();
        let began = Instant::now();
        assert!(ask(&address, "GET /metrics HTTP/1.0\r\n\r\n").starts_with("HTTP/1.0 200 "));
        assert!(began.elapsed() < 3 * LONGEST);
        drop((slow, more, exporter));
    }

    #[test]
    fn a_file_is_whole_and_the_last_word() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("havana.prom");
        let target = Target::File(path.clone());
        let exporter = Exporter::start(&target, counting()).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "asked 0\n");
        drop(exporter);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "asked 1\n");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn where_it_cannot_be_told_is_said() {
        let (_exporter, address) = listening();
        let error = Exporter::start(&address.parse().unwrap(), String::new).unwrap_err().to_string();
        assert!(error.starts_with(&format!("metrics cannot be served at {address}: ")), "{error}");
        let error = Exporter::start(&Target::File("/nowhere/a.prom".into()), String::new).unwrap_err().to_string();
        assert!(error.starts_with("metrics are not told: /nowhere/a.prom: cannot write: No such file"), "{error}");
    }
}
