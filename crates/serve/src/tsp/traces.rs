//! `/traces`: the one that is served.

use std::sync::atomic::Ordering;

use axum::extract::{Path, State};
use axum::response::Response;
use havana_rows::parquet::Table;
use havana_store::Epoch;
use serde_json::{Value, json};

use super::answer::plain;
use super::query::Query;
use super::{Asked, Tsp, TspError};
use crate::error::ApiError;

/// A name that stays the same as long as the dataset does, in the form that the protocol wants.
pub(super) fn uuid(tsp: &Tsp, of: &str) -> String {
    let manifest = tsp.app.opened().dataset.manifest();
    let mut bits = [0_u64; 2];
    // FNV-1a, twice: not for security, but so that two nodes' captures are told apart.
    for (seed, half) in bits.iter_mut().enumerate() {
        *half = 0xcbf2_9ce4_8422_2325 ^ seed as u64;
        for byte in [of, "\0", &manifest.node, "\0", &manifest.capture].iter().flat_map(|text| text.bytes()) {
            *half = (*half ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    // Version 8 (RFC 9562): bits that are our own.
    let bits = (u128::from(bits[0]) << 64 | u128::from(bits[1])) & !(0xf << 76) & !(0b11 << 62) | 8 << 76 | 0b10 << 62;
    let hex = format!("{bits:032x}");
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

/// The trace as the protocol describes one.
pub(super) fn model(tsp: &Tsp) -> Value {
    let opened = tsp.app.opened();
    let manifest = opened.dataset.manifest();
    let time = match manifest.clock.epoch {
        _ if !tsp.times.are_ns() => "ticks of the TSC: no rate is known",
        Epoch::Unix => "ns, Unix time",
        _ => "ns since the first event",
    };
    let properties: Value = [
        ("node", manifest.node.clone()),
        ("capture", manifest.capture.clone()),
        ("cpus", manifest.cpus.len().to_string()),
        ("VMs", opened.vms.len().to_string()),
        ("time", time.to_string()),
        ("warnings", manifest.warnings.join("; ")),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_string(), Value::from(value)))
    .collect::<serde_json::Map<_, _>>()
    .into();
    let path = opened.dataset.dir();
    json!({
        "UUID": uuid(tsp, "trace"),
        "name": name(tsp),
        "path": path.canonicalize().unwrap_or_else(|_| path.to_path_buf()).display().to_string(),
        "start": tsp.times.time(opened.first_tsc),
        "end": tsp.times.time(opened.last_tsc),
        "nbEvents": events(tsp),
        "indexingStatus": "COMPLETED",
        "properties": properties,
    })
}

/// The name of the dataset; where times are ticks it says so, as clients show them as nanoseconds.
pub(super) fn name(tsp: &Tsp) -> String {
    let dir = tsp.app.opened().dataset.dir();
    let name = dir.canonicalize().ok().and_then(|dir| Some(dir.file_name()?.to_string_lossy().into_owned()));
    let name = name.unwrap_or_else(|| "dataset".into());
    if tsp.times.are_ns() { name } else { format!("{name} (times are ticks, not ns)") }
}

/// Intervals and exits.
pub(super) fn events(tsp: &Tsp) -> u64 {
    let tables = &tsp.app.opened().dataset.manifest().tables;
    let rows = |table: Table| tables.get(table.name()).map_or(0, |files| files.rows);
    rows(Table::CpuStates) + rows(Table::VcpuStates) + rows(Table::Exits)
}

fn known(tsp: &Tsp, trace: &str) -> Result<(), ApiError> {
    if tsp.trace.load(Ordering::Relaxed) && trace.eq_ignore_ascii_case(&uuid(tsp, "trace")) {
        return Ok(());
    }
    Err(ApiError::NotFound(format!("there is no trace {trace} here: GET /traces lists what there is")))
}

/// `GET /traces`.
pub(super) async fn list(State(tsp): Asked) -> Response {
    let open = tsp.trace.load(Ordering::Relaxed);
    plain(&Value::Array(open.then(|| model(&tsp)).into_iter().collect()))
}

/// `POST /traces`: whatever is to be opened, it is the dataset that is served. Its path is nothing that is looked for on the disk.
pub(super) async fn open(State(tsp): Asked, query: Query) -> Result<Response, TspError> {
    if query.uri.is_none() {
        return Err(ApiError::Request("uri is missing".into()).into());
    }
    tsp.trace.store(true, Ordering::Relaxed);
    Ok(plain(&model(&tsp)))
}

/// `GET /traces/{trace}`.
pub(super) async fn one(State(tsp): Asked, Path(trace): Path<String>) -> Result<Response, TspError> {
    known(&tsp, &trace)?;
    Ok(plain(&model(&tsp)))
}

/// `DELETE /traces/{trace}`: closes it; on the disk nothing changes.
pub(super) async fn close(State(tsp): Asked, Path(trace): Path<String>) -> Result<Response, TspError> {
    known(&tsp, &trace)?;
    if tsp.experiment.load(Ordering::Relaxed) {
        let error = ApiError::Conflict("the trace is part of an experiment: close that first");
        return Err(TspError::about(error, "trace", model(&tsp)));
    }
    tsp.trace.store(false, Ordering::Relaxed);
    Ok(plain(&model(&tsp)))
}
