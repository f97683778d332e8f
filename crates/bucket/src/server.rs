//! The server.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::thread;

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use s3s_fs::FileSystem;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::runtime;
use tokio::sync::oneshot;

/// Who may ask.
pub const ACCESS_KEY: &str = "AKIAHAVANA";
/// And how that is proved.
pub const SECRET_KEY: &str = "of-a-test";

/// A server with one bucket, until it is dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    root: TempDir,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Server {
    /// Starts one that has this bucket.
    ///
    /// # Panics
    /// Where it cannot be started: that is no test's fault.
    pub fn start(bucket: &str) -> Server {
        let root = tempfile::tempdir().expect("a directory");
        fs::create_dir(root.path().join(bucket)).expect("a bucket");
        let files = FileSystem::new(root.path()).expect("a file system");
        let mut builder = S3ServiceBuilder::new(files);
        builder.set_auth(SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY));
        let service = builder.build();
        let runtime = runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a port");
        let address = listener.local_addr().expect("an address");
        let (stop, stopped) = oneshot::channel::<()>();
        let serve = async move {
            while let Ok((stream, _)) = listener.accept().await {
                // Else an answer of two parts waits for the other side, 40 ms each time.
                let _ = stream.set_nodelay(true);
                let service = service.clone();
                tokio::spawn(async move {
                    // Who hangs up ends it.
                    let _ = Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
                });
            }
        };
        let thread = thread::spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = serve => {}
                    _ = stopped => {}
                }
            });
            runtime.shutdown_background();
        });
        Server { address, root, stop: Some(stop), thread: Some(thread) }
    }

    /// Where it is asked.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where its buckets are.
    pub fn directory(&self) -> &Path {
        self.root.path()
    }

    /// The environment of a client that asks at an address: this server's, or that of a proxy before it.
    pub fn environment(address: SocketAddr) -> [(&'static str, String); 4] {
        [
            ("AWS_ENDPOINT_URL", format!("http://{address}")),
            ("AWS_ACCESS_KEY_ID", ACCESS_KEY.into()),
            ("AWS_SECRET_ACCESS_KEY", SECRET_KEY.into()),
            ("AWS_REGION", "us-east-1".into()),
        ]
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        let _ = self.thread.take().map(thread::JoinHandle::join);
    }
}
