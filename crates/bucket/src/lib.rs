//! An S3-compatible server on this machine, and a network that fails: for tests.
//!
//! The server is [s3s-fs](https://crates.io/crates/s3s-fs): buckets are directories of a directory that is gone with it.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod proxy;
mod server;

pub use proxy::Proxy;
pub use server::{ACCESS_KEY, SECRET_KEY, Server};
