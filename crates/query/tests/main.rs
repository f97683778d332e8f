//! The program as its users run it, and its answers against those of other engines.
#![allow(clippy::unwrap_used)]

mod cluster;
mod common;
mod docs;
mod engines;
mod errors;
mod fleet;
mod forms;
mod functions;
mod notebook;
mod reads;
mod shell;
