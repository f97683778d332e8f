//! `GET /api/at` and `/api/step`: one interval, with all that is known of it.

use axum::extract::State;
use axum::response::Response;
use havana_rows::{CpuState, Time, VcpuState};
use serde_json::{Value, json};

use super::{Asked, Params, address};
use crate::error::ApiError;
use crate::view::interval::{Interval, Step, Track, exists};
use crate::view::{Kind, Opened};

/// The interval at a moment.
pub(crate) async fn at(State(app): Asked, params: Params) -> Result<Response, ApiError> {
    app.work(move |opened| {
        let found = track(opened, &params)?.at(opened, params.tick(opened)?)?;
        Ok(super::json(&describe(opened, found)))
    })
    .await
}

/// The one after it, or before.
pub(crate) async fn step(State(app): Asked, params: Params) -> Result<Response, ApiError> {
    app.work(move |opened| {
        let step = match params.text("to")? {
            "next" => Step::Next,
            "previous" => Step::Previous,
            other => return Err(ApiError::Request(format!("to={other} is neither next nor previous"))),
        };
        let found = track(opened, &params)?.step(opened, params.tick(opened)?, step)?;
        Ok(super::json(&describe(opened, found)))
    })
    .await
}

fn track(opened: &Opened, params: &Params) -> Result<Track, ApiError> {
    let track = Track { kind: params.kind()?, id: params.id("id")?, vcpu: params.maybe_id("vcpu")? };
    if matches!(track.kind, Kind::Vm | Kind::Node) {
        return Err(ApiError::Request("a VM and the node have no intervals of their own".into()));
    }
    if exists(opened, track) {
        Ok(track)
    } else {
        Err(ApiError::NotFound(format!("there is no {} {} in this dataset", params.text("kind")?, track.id)))
    }
}

fn describe(opened: &Opened, interval: Option<Interval>) -> Value {
    let Some(interval) = interval else { return json!({ "interval": null }) };
    let mut value = match &interval {
        Interval::Cpu(row) => of_cpu(row),
        Interval::Vcpu(row) => of_vcpu(row),
    };
    let mut time = |name: &str, Time { tsc, lo, hi }: Time| {
        value[name] = opened.rel(tsc).into();
        value[format!("{name}_lo")] = opened.rel(lo).into();
        value[format!("{name}_hi")] = opened.rel(hi).into();
    };
    time("start", interval.start());
    time("end", interval.end());
    json!({ "interval": value })
}

fn of_cpu(row: &CpuState) -> Value {
    json!({
        "state": row.state.name(), "evidence": row.evidence.name(), "cpu": row.cpu, "vm_id": row.vm_id,
        "vcpu_id": row.vcpu_id, "process_id": row.process_id, "guest_cr3": row.guest_cr3.map(address),
        "host_cr3": row.host_cr3.map(address), "taken_by": null, "tid": row.tid,
    })
}

fn of_vcpu(row: &VcpuState) -> Value {
    json!({
        "state": row.state.name(), "evidence": row.evidence.name(), "cpu": row.cpu, "vm_id": row.vm_id,
        "vcpu_id": row.vcpu_id, "process_id": row.process_id, "guest_cr3": null, "host_cr3": null,
        "taken_by": row.taken_by.map(|by| json!({"kind": by.kind.name(), "id": by.id})), "tid": row.taken_by_tid,
    })
}
