//! `GET /api/dataset`: what the dataset is about.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::response::Response;
use havana_rows::parquet::{ExitBounds, Table};
use havana_store::{Epoch, StoreError};
use serde_json::{Value, json};

use super::Asked;
use crate::error::ApiError;
use crate::view::Opened;

pub(crate) async fn get(State(app): Asked) -> Result<Response, ApiError> {
    let value = app.work(|opened| Ok(describe(opened)?)).await?;
    Ok(super::json(&value))
}

fn describe(opened: &Opened) -> Result<Value, StoreError> {
    let manifest = opened.dataset.manifest();
    let clock = &manifest.clock;
    let tsc_hz = clock.hz();
    let rows = |table: Table| manifest.tables.get(table.name()).map_or(0, |files| files.rows);
    let epoch = match (clock.epoch, tsc_hz) {
        (Epoch::Unix, Some(_)) => "unix",
        (Epoch::FirstEvent, Some(_)) => "first_event",
        _ => "ticks",
    };
    let address = super::address;
    let vms: Vec<Value> = opened
        .vms
        .iter()
        .map(|vm| json!({"vm_id": vm.vm_id, "name": vm.name, "host_cr3": address(vm.host_cr3), "uuid": vm.uuid, "pid": vm.pid}))
        .collect();
    let numbers = havana_rows::numbers(&opened.vcpus);
    let vcpus: Vec<Value> = opened
        .vcpus
        .iter()
        .map(|vcpu| {
            json!({
                "vcpu_id": vcpu.vcpu_id, "vm_id": vcpu.vm_id, "number": numbers[&vcpu.vcpu_id], "name": vcpu.name,
                "vmcs": address(vcpu.vmcs), "first": opened.rel(vcpu.first_tsc), "last": opened.rel(vcpu.last_tsc),
                "guest_lo": vcpu.guest_lo_tsc, "guest_hi": vcpu.guest_hi_tsc,
            })
        })
        .collect();
    let processes: Vec<Value> = opened
        .processes
        .iter()
        .map(|process| {
            json!({
                "process_id": process.process_id, "vm_id": process.vm_id, "cr3": address(process.cr3), "name": process.name,
                "first": opened.rel(process.first_tsc), "last": opened.rel(process.last_tsc),
            })
        })
        .collect();
    let ticks: BTreeMap<&str, i64> =
        manifest.losses.ticks.iter().map(|(cause, &ticks)| (cause.as_str(), ticks)).collect();
    Ok(json!({
        "node": manifest.node,
        "capture": manifest.capture,
        "path": opened.dataset.dir().display().to_string(),
        "tool_version": manifest.tool_version,
        "first_tsc": opened.first_tsc.to_string(),
        "span": opened.rel(opened.last_tsc),
        "tsc_hz": tsc_hz,
        "epoch": epoch,
        "first_ns": first_ns(opened, epoch == "unix", tsc_hz),
        "cpus": manifest.cpus,
        "vms": vms,
        "vcpus": vcpus,
        "processes": processes,
        "exits": rows(Table::Exits),
        "exit_within_ticks": exit_within(opened)?,
        "intervals": rows(Table::CpuStates) + rows(Table::VcpuStates),
        "losses": {"count": manifest.losses.count, "bytes": manifest.losses.bytes, "ticks": ticks},
        "warnings": manifest.warnings,
        "findings_known": manifest.tables.contains_key(Table::Findings.name()),
    }))
}

/// Unix time of the first tick.
fn first_ns(opened: &Opened, unix: bool, tsc_hz: Option<u64>) -> Option<f64> {
    let clock = &opened.dataset.manifest().clock;
    let (origin_ns, hz) = (clock.origin_ns.filter(|_| unix)?, tsc_hz.filter(|&hz| hz > 0)?);
    let since = i128::from(opened.first_tsc) - i128::from(clock.origin_tsc);
    Some((i128::from(origin_ns) + since * 1_000_000_000 / i128::from(hz)) as f64)
}

/// Median of half the width between the bounds of an exit; of a sample, where there are many.
fn exit_within(opened: &Opened) -> Result<Option<f64>, StoreError> {
    const SAMPLES: i64 = 16;
    let mut widths: Vec<i64> = Vec::new();
    let mut take = |row: &ExitBounds| widths.push(row.exit_hi_tsc.saturating_sub(row.exit_lo_tsc));
    let scan = || opened.dataset.scan(Table::Exits);
    if opened.dataset.manifest().tables.get(Table::Exits.name()).is_none_or(|files| files.rows < 300_000) {
        scan().each(&mut take)?;
    } else {
        let step = (opened.last_tsc - opened.first_tsc) / SAMPLES;
        for n in 0..SAMPLES {
            let at = opened.first_tsc + n * step + step / 2;
            scan().overlapping(at..=at).each(&mut take)?;
        }
    }
    if widths.is_empty() {
        return Ok(None);
    }
    let middle = widths.len() / 2;
    let (_, &mut median, _) = widths.select_nth_unstable(middle);
    Ok(Some(median as f64 / 2.0))
}
