//! Connections: how many, and for how long.
//!
//! A browser needs six at once, and keeps them. Of a thousand at once some wait to be accepted. Who sends no request, or
//! does not take the answer, is hung up on: in the end always, and soon where others wait for the place.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hyper::server::conn::http1;
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;
use tokio_io_timeout::TimeoutStream;

use crate::api::App;
use crate::guard::Guard;
use crate::routes::router;
use crate::{Options, ServeError};

/// Connections at once: each may hold an answer of some MB.
const CONNECTIONS: usize = 128;
/// How long a request's head may take, from the connection or the last answer on: an idle browser comes back.
const HEAD: Duration = Duration::from_secs(30);
/// How long nothing of an answer may be taken.
const STALL: Duration = Duration::from_secs(20);
/// How long a connection without a request keeps its place where others wait for one.
const IDLE: Duration = Duration::from_secs(2);
/// How often it is looked for such places.
const LOOK: Duration = Duration::from_millis(20);

/// A server that listens.
pub struct Server {
    runtime: Runtime,
    listener: TcpListener,
    address: SocketAddr,
    options: Options,
    shown: Shown,
}

/// What a server shows.
pub(crate) enum Shown {
    /// A dataset.
    Dataset(Arc<App>),
    /// All nodes of a fleet.
    #[cfg(feature = "fleet")]
    Fleet(Arc<crate::fleet::Fleet>),
}

impl Server {
    pub(crate) fn of(shown: Shown, options: Options) -> Result<Server, ServeError> {
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().map_err(ServeError::Start)?;
        let listen = |source| ServeError::Listen { address: options.address, source };
        let listener = runtime.block_on(TcpListener::bind(options.address)).map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        Ok(Server { runtime, listener, address, options, shown })
    }

    /// The address of the page.
    pub fn url(&self) -> String {
        match &self.options.token {
            Some(token) => format!("http://{}/?token={}", self.address, token.as_str()),
            None => format!("http://{}/", self.address),
        }
    }

    /// What to tell a client of the Trace Server Protocol, where it may ask.
    pub fn tsp_url(&self) -> Option<String> {
        Some(format!("http://{}{}", self.address, self.rules().tsp_base()?))
    }

    fn rules(&self) -> Guard {
        Guard { token: self.options.token.clone(), port: self.address.port(), tsp: self.options.tsp }
    }

    /// Answers, until the program is interrupted (SIGINT, SIGTERM).
    ///
    /// # Errors
    /// Where signals cannot be waited for.
    pub fn run(self) -> Result<(), ServeError> {
        let rules = Arc::new(self.rules());
        let Server { runtime, listener, shown, .. } = self;
        match &shown {
            Shown::Dataset(app) => {
                let prepared = Arc::clone(app);
                runtime.spawn_blocking(move || prepared.prepare());
            }
            #[cfg(feature = "fleet")]
            Shown::Fleet(_) => {}
        }
        let accept = accept(listener, router(&shown, rules));
        let stopped = runtime.block_on(async {
            tokio::select! {
                () = accept => Ok(()),
                interrupted = interrupted() => interrupted,
            }
        });
        // What is being worked out is not waited for.
        runtime.shutdown_background();
        stopped.map_err(ServeError::Start)
    }
}

async fn interrupted() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminated = signal(SignalKind::terminate())?;
    tokio::select! {
        interrupt = tokio::signal::ctrl_c() => interrupt,
        _ = terminated.recv() => Ok(()),
    }
}

/// A connection, and since when it has no request.
struct Connection {
    task: JoinHandle<()>,
    idle_since: Arc<Mutex<Option<Instant>>>,
}

impl Connection {
    fn is_idle(&self) -> bool {
        let since = *self.idle_since.lock().unwrap_or_else(PoisonError::into_inner);
        since.is_some_and(|since| since.elapsed() > IDLE)
    }
}

async fn accept(listener: TcpListener, router: axum::Router) {
    let mut connections: Vec<Connection> = Vec::new();
    loop {
        connections.retain(|connection| !connection.task.is_finished());
        if connections.len() >= CONNECTIONS {
            // The oldest stand first.
            match connections.iter().position(Connection::is_idle) {
                Some(idle) => connections.remove(idle).task.abort(),
                None => tokio::time::sleep(LOOK).await,
            }
            continue;
        }
        match listener.accept().await {
            Ok((stream, _)) => connections.push(connect(stream, router.clone())),
            // Out of file descriptors, or the other side is gone: neither lasts.
            Err(_) => tokio::time::sleep(LOOK).await,
        }
    }
}

fn connect(stream: TcpStream, router: axum::Router) -> Connection {
    let idle_since = Arc::new(Mutex::new(Some(Instant::now())));
    let mark = {
        let idle_since = Arc::clone(&idle_since);
        move |since| *idle_since.lock().unwrap_or_else(PoisonError::into_inner) = since
    };
    let service = hyper::service::service_fn(move |request| {
        let (router, mark) = (TowerToHyperService::new(router.clone()), mark.clone());
        async move {
            mark(None);
            let response = router.call(request).await;
            mark(Some(Instant::now()));
            response
        }
    });
    let task = tokio::spawn(async move {
        let _ = stream.set_nodelay(true);
        let mut stream = TimeoutStream::new(stream);
        stream.set_write_timeout(Some(STALL));
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD)
            .max_buf_size(64 << 10)
            .serve_connection(TokioIo::new(Box::pin(stream)), service);
        // How a connection ends is nobody's concern but its own.
        let _ = connection.await;
    });
    Connection { task, idle_since }
}
