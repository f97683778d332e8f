//! `…/outputs/data/{output}/tree`: how long each VM, vCPU and guest process was in which state, exact to the tick.

use axum::extract::State;
use axum::response::Response;
use havana_rows::State as Kept;
use rustc_hash::FxHashMap;
use serde_json::{Value, json};

use super::answer::model;
use super::outputs::{Known, Output};
use super::query::Query;
use super::{Asked, Tsp, TspError};
use crate::view::Opened;

/// The states of vCPUs, a column each.
const STATES: [Kept; 7] =
    [Kept::Guest, Kept::Hypervisor, Kept::Preempted, Kept::Waiting, Kept::OffCpu, Kept::Unknown, Kept::Lost];

/// Ticks in each of [`STATES`].
type Ticks = [i64; STATES.len()];

/// The tree, over a stretch of time or all.
pub(super) async fn tree(State(tsp): Asked, Known(output): Known, query: Query) -> Result<Response, TspError> {
    tsp.work(move |tsp, opened| {
        if output != Output::Time {
            return Err(output.is_no("data tree"));
        }
        let window = query.window(opened, &tsp.times)?;
        let mut vcpus: FxHashMap<i32, Ticks> = FxHashMap::default();
        let mut processes: FxHashMap<i32, Ticks> = FxHashMap::default();
        for ((code, id, key), sum) in tsp.app.sums(opened, window)?.iter() {
            let of = match code {
                1 => &mut vcpus,
                2 => &mut processes,
                _ => continue,
            };
            if let Some(column) = STATES.iter().position(|state| *state as u8 == key.state) {
                of.entry(*id).or_default()[column] += sum.ticks;
            }
        }
        model(lay_out(tsp, opened, &vcpus, &processes))
    })
    .await
}

fn lay_out(tsp: &Tsp, opened: &Opened, vcpus: &FxHashMap<i32, Ticks>, processes: &FxHashMap<i32, Ticks>) -> Value {
    let unit = if tsp.times.are_ns() { "s" } else { "ticks" };
    let number = |ticks: i64| {
        if tsp.times.are_ns() { format!("{:.9}", tsp.times.seconds(ticks)) } else { ticks.to_string() }
    };
    let mut entries: Vec<Value> = Vec::new();
    let mut add = |parent: Option<usize>, name: String, ticks: &Ticks| {
        let id = entries.len();
        let labels: Vec<String> = std::iter::once(name).chain(ticks.iter().map(|&ticks| number(ticks))).collect();
        let mut entry = json!({ "id": id, "labels": labels, "hasData": true });
        if let Some(parent) = parent {
            entry["parentId"] = parent.into();
        }
        entries.push(entry);
        id
    };
    for vm in opened.vms.iter().map(|vm| vm.vm_id) {
        let its: Vec<i32> = opened.vcpus.iter().filter(|vcpu| vcpu.vm_id == vm).map(|vcpu| vcpu.vcpu_id).collect();
        let mut sum = Ticks::default();
        for ticks in its.iter().filter_map(|vcpu| vcpus.get(vcpu)) {
            sum.iter_mut().zip(ticks).for_each(|(sum, ticks)| *sum += ticks);
        }
        let heading = add(None, tsp.names.vm(vm), &sum);
        for vcpu in its {
            add(Some(heading), tsp.names.vcpu(vcpu), vcpus.get(&vcpu).unwrap_or(&Ticks::default()));
        }
        let seen = opened.processes.iter().filter(|process| process.vm_id == Some(vm));
        let mut seen: Vec<(i32, &Ticks)> =
            seen.filter_map(|process| Some((process.process_id, processes.get(&process.process_id)?))).collect();
        seen.sort_by_key(|(id, ticks)| (std::cmp::Reverse(ticks[0]), *id));
        for (process, ticks) in seen {
            add(Some(heading), format!("process {}", tsp.names.process(process)), ticks);
        }
    }
    let of_state = |state: &Kept| json!({ "name": format!("{} [{unit}]", state.name().replace('_', " ")), "tooltip": "", "dataType": "NUMBER" });
    let name = json!({ "name": "Name", "tooltip": "VMs, their vCPUs and guest processes", "dataType": "STRING" });
    let headers: Vec<Value> = std::iter::once(name).chain(STATES.iter().map(of_state)).collect();
    json!({ "headers": headers, "entries": entries, "autoExpandLevel": 1 })
}
