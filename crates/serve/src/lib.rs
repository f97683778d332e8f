//! The web view of a dataset: a server for one person on one machine, and the page that it serves.
//!
//! ```text
//! connection ──► listen ──► guard ──► routes ──► api/… ──► view/… ──► store
//!              limits      who may   one file    params,   the answer,
//!                          ask       an answer   Arrow     no HTTP
//! ```
//!
//! Where it is asked for, the same is answered as the Trace Server Protocol (`tsp/` in place of `api/`), for other viewers.
//!
//! The page is in `ui/`; what is built of it, `ui/dist/`, is in the program.
//!
//! Of a fleet (feature `fleet`) it serves a page of all nodes, and under `/captures/…` the same views of each capture.
//!
//! Invariants: it reads one dataset, or one root, and nothing else; no path of a request is a path of the disk. It listens on loopback
//! unless told otherwise, and then asks for a token. However many ask, and however slowly they take the answer, memory and
//! threads are bounded.
#![forbid(unsafe_code)]

mod api;
mod error;
#[cfg(feature = "fleet")]
mod fleet;
mod guard;
mod ipc;
mod listen;
mod page;
mod routes;
mod tsp;
mod view;

use std::net::SocketAddr;

use havana_store::{Dataset, StoreError};

pub use guard::Token;
pub use listen::Server;

/// Why a view cannot be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The dataset.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The address is in use, or not this machine's.
    #[error("{address}: cannot listen: {source}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The system gives no randomness for a token, or no threads.
    #[error("cannot start the server: {0}")]
    Start(std::io::Error),
}

/// How a dataset is served.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where to listen; port 0: any free one.
    pub address: SocketAddr,
    /// What who asks must know; none only where nobody but this machine can ask.
    pub token: Option<Token>,
    /// What the dataset is compared with, and what changed: the page's tab of that; it is handed on as it is.
    pub compare: Option<serde_json::Value>,
    /// Whether other viewers may ask too, by the Trace Server Protocol.
    pub tsp: bool,
}

impl Options {
    /// Loopback needs no token; another address gets one.
    ///
    /// # Errors
    /// Where the system gives no randomness.
    pub fn new(address: SocketAddr) -> Result<Options, ServeError> {
        let token = if address.ip().is_loopback() { None } else { Some(Token::new().map_err(ServeError::Start)?) };
        Ok(Options { address, token, compare: None, tsp: false })
    }
}

/// A server of what is under a root: its nodes, and each capture's own view. `scratch`: where captures are put that are looked at.
///
/// # Errors
/// An address that is in use.
#[cfg(feature = "fleet")]
pub fn serve_fleet(
    root: havana_fleet::Root,
    scratch: std::path::PathBuf,
    options: Options,
) -> Result<Server, ServeError> {
    Server::of(listen::Shown::Fleet(std::sync::Arc::new(fleet::Fleet::new(root, scratch))), options)
}

/// A server of a dataset, which listens already. [`Server::run`] answers.
///
/// # Errors
/// A dataset that is damaged, an address that is in use.
pub fn serve(dataset: Dataset, options: Options) -> Result<Server, ServeError> {
    let mut options = options;
    let app = api::App::new(dataset, options.compare.take())?;
    Server::of(listen::Shown::Dataset(std::sync::Arc::new(app)), options)
}
