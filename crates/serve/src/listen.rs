//! Connections: how many, and for how long.
//!
//! A browser needs six at once, and keeps them. Who opens a thousand waits; who sends no request, or does not take the
//! answer, is hung up on.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use havana_store::Dataset;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Semaphore;
use tokio_io_timeout::TimeoutStream;

use crate::api::App;
use crate::guard::Guard;
use crate::routes::router;
use crate::{Options, ServeError};

/// Connections at once; more wait to be accepted.
const CONNECTIONS: usize = 256;
/// How long a request's head may take, from the connection or the last answer on: an idle browser comes back.
const HEAD: Duration = Duration::from_secs(30);
/// How long nothing of an answer may be taken.
const STALL: Duration = Duration::from_secs(20);

/// A server that listens.
pub struct Server {
    runtime: Runtime,
    listener: TcpListener,
    address: SocketAddr,
    options: Options,
    app: Arc<App>,
}

impl Server {
    pub(crate) fn new(dataset: Dataset, options: Options) -> Result<Server, ServeError> {
        let app = Arc::new(App::new(dataset)?);
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().map_err(ServeError::Start)?;
        let listen = |source| ServeError::Listen { address: options.address, source };
        let listener = runtime.block_on(TcpListener::bind(options.address)).map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        Ok(Server { runtime, listener, address, options, app })
    }

    /// The address of the page.
    pub fn url(&self) -> String {
        match &self.options.token {
            Some(token) => format!("http://{}/?token={}", self.address, token.as_str()),
            None => format!("http://{}/", self.address),
        }
    }

    /// Answers, until the program is interrupted (SIGINT, SIGTERM).
    ///
    /// # Errors
    /// Where signals cannot be waited for.
    pub fn run(self) -> Result<(), ServeError> {
        let Server { runtime, listener, address, options, app } = self;
        let rules = Arc::new(Guard { token: options.token, port: address.port() });
        let accept = accept(listener, router(app, rules));
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

async fn accept(listener: TcpListener, router: axum::Router) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        // Never closed, so always given.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            // Out of file descriptors, or the other side is gone: neither lasts.
            Err(_) => {
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let _ = stream.set_nodelay(true);
        let service = TowerToHyperService::new(router.clone());
        tokio::spawn(async move {
            let mut stream = TimeoutStream::new(stream);
            stream.set_write_timeout(Some(STALL));
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD)
                .max_buf_size(64 << 10)
                .serve_connection(TokioIo::new(Box::pin(stream)), service);
            // How a connection ends is nobody's concern but its own.
            let _ = connection.await;
            drop(place);
        });
    }
}
