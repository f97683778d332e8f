//! `GET /health`, `/identifier`, `/config/types`: what is asked before anything else.

use axum::response::Response;
use serde_json::json;

use super::answer::plain;

/// The version of the protocol that was followed.
const TSP_VERSION: &str = "0.2.0";

pub(super) async fn health() -> Response {
    plain(&json!({ "status": "UP" }))
}

pub(super) async fn identifier() -> Response {
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    plain(&json!({
        "productId": "havana",
        "version": env!("CARGO_PKG_VERSION"),
        "tspVersion": TSP_VERSION,
        "launcherName": "havana view --tsp",
        "os": std::env::consts::OS,
        "osArch": std::env::consts::ARCH,
        "osVersion": std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim(),
        "cpuCount": cpus,
        "maxMemory": 0,
    }))
}

/// There is nothing to configure.
pub(super) async fn config_types() -> Response {
    plain(&json!([]))
}
