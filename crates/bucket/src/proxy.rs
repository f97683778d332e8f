//! A network that fails: what goes through is cut off after so many bytes.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// A port that leads to another, until it is cut.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    line: Arc<Line>,
}

#[derive(Debug)]
struct Line {
    to: SocketAddr,
    /// Bytes that have gone to the server.
    sent: AtomicU64,
    /// From this many on it is cut.
    limit: AtomicU64,
    is_cut: AtomicBool,
    /// All connections, to be cut with it.
    open: Mutex<Vec<TcpStream>>,
}

impl Proxy {
    /// Begins one to an address.
    ///
    /// # Panics
    /// Where there is no port: that is no test's fault.
    pub fn to(to: SocketAddr) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let line = Arc::new(Line {
            to,
            sent: AtomicU64::new(0),
            limit: AtomicU64::new(u64::MAX),
            is_cut: AtomicBool::new(false),
            open: Mutex::default(),
        });
        let accepting = Arc::clone(&line);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                // A line that is cut hangs up.
                if !accepting.is_cut.load(Ordering::SeqCst) {
                    accepting.join(client);
                }
            }
        });
        Proxy { address, line }
    }

    /// Where it is asked.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Bytes that have gone to the server so far.
    pub fn sent(&self) -> u64 {
        self.line.sent.load(Ordering::SeqCst)
    }

    /// Is cut once this many more bytes have gone to the server, in the middle of what is said.
    pub fn cut_after(&self, bytes: u64) {
        self.line.limit.store(self.sent() + bytes, Ordering::SeqCst);
    }

    /// Whether it is.
    pub fn is_cut(&self) -> bool {
        self.line.is_cut.load(Ordering::SeqCst)
    }

    /// Is whole again.
    pub fn mend(&self) {
        self.line.limit.store(u64::MAX, Ordering::SeqCst);
        self.line.is_cut.store(false, Ordering::SeqCst);
    }
}

impl Line {
    fn join(self: &Arc<Self>, client: TcpStream) {
        let Ok(server) = TcpStream::connect(self.to) else { return };
        let both = || Some((client.try_clone().ok()?, server.try_clone().ok()?));
        let (Some(there), Some(back)) = (both(), both()) else { return };
        self.open().extend([client, server]);
        let line = Arc::clone(self);
        thread::spawn(move || line.carry(there.0, there.1, true));
        let line = Arc::clone(self);
        thread::spawn(move || line.carry(back.1, back.0, false));
    }

    fn open(&self) -> std::sync::MutexGuard<'_, Vec<TcpStream>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn carry(&self, mut from: TcpStream, mut to: TcpStream, counts: bool) {
        let mut piece = [0; 4096];
        while let Ok(read @ 1..) = from.read(&mut piece) {
            let mut read = read;
            if counts {
                let before = self.sent.fetch_add(read as u64, Ordering::SeqCst);
                let left = self.limit.load(Ordering::SeqCst).saturating_sub(before);
                if left < read as u64 {
                    read = left as usize;
                    let _ = to.write_all(&piece[..read]);
                    self.cut();
                    return;
                }
            }
            if to.write_all(&piece[..read]).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Write);
    }

    fn cut(&self) {
        self.is_cut.store(true, Ordering::SeqCst);
        for stream in self.open().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}
