//! `GET /api/exits/rate`, `/api/exits/histogram`, `/api/exits/slowest`, and what reasons are called.

use axum::extract::State;
use axum::response::Response;
use havana_rows::{Exit, Time, reason};
use serde_json::Value;

use super::{Asked, Params};
use crate::error::ApiError;
use crate::ipc::Columns;
use crate::view::exits;

/// Exits by time and VM.
pub(crate) async fn rate(State(app): Asked, params: Params) -> Result<Response, ApiError> {
    app.work(move |opened| {
        let bins = exits::rate(opened, params.window(opened)?, params.pixels()?)?;
        Columns::default()
            .numbers("start", bins.iter().map(|(start, ..)| opened.rel(*start)))
            .numbers("end", bins.iter().map(|(_, end, ..)| opened.rel(*end)))
            .ids("vm", bins.iter().map(|(_, _, vm, _)| *vm))
            .numbers("count", bins.iter().map(|(.., sum)| sum.count as f64))
            .numbers("ticks", bins.iter().map(|(.., sum)| sum.ticks as f64))
            .answer()
    })
    .await
}

/// Exits by VM, reason and how long they took.
pub(crate) async fn histogram(State(app): Asked, params: Params) -> Result<Response, ApiError> {
    app.work(move |opened| {
        let sums = exits::histogram(opened, params.window(opened)?)?;
        Columns::default()
            .ids("vm", sums.keys().map(|(vm, ..)| *vm))
            .ids("reason", sums.keys().map(|(_, reason, _)| *reason))
            .ids("class", sums.keys().map(|(.., class)| *class))
            .numbers("count", sums.values().map(|sum| sum.count as f64))
            .numbers("ticks", sums.values().map(|sum| sum.ticks as f64))
            .answer()
    })
    .await
}

/// Those that took longest.
pub(crate) async fn slowest(State(app): Asked, params: Params) -> Result<Response, ApiError> {
    app.work(move |opened| {
        let rows = exits::slowest(opened, params.window(opened)?, params.count(50)?, params.maybe_id("vm")?)?;
        let ids = |of: fn(&Exit) -> i32| rows.iter().map(of);
        let ticks = |of: fn(&Exit) -> i64| rows.iter().map(move |row| opened.rel(of(row)));
        // Only exits with a re-entry are among them.
        let reentry = |row: &Exit| row.reentry.unwrap_or(Time::exact(row.exit.tsc));
        Columns::default()
            .ids("exit_id", ids(|row| row.exit_id))
            .ids("vcpu", ids(|row| row.vcpu_id))
            .ids("vm", ids(|row| row.vm_id))
            .ids("cpu", ids(|row| row.cpu))
            .ids("process", ids(|row| row.process_id))
            .numbers("exit", ticks(|row| row.exit.tsc))
            .numbers("exit_lo", ticks(|row| row.exit.lo))
            .numbers("exit_hi", ticks(|row| row.exit.hi))
            .numbers("reentry", rows.iter().map(|row| opened.rel(reentry(row).tsc)))
            .numbers("reentry_lo", rows.iter().map(|row| opened.rel(reentry(row).lo)))
            .numbers("reentry_hi", rows.iter().map(|row| opened.rel(reentry(row).hi)))
            .ids("reentry_cpu", ids(|row| row.reentry_cpu.unwrap_or(-1)))
            .ids("reason", ids(|row| row.reason.unwrap_or(-1)))
            .answer()
    })
    .await
}

/// What reasons are called.
pub(crate) async fn reasons() -> Response {
    let names = reason::NAMES.iter().map(|(number, name)| (number.to_string(), Value::from(*name)));
    super::json(&Value::Object(names.collect()))
}
