//! `GET /api/fleet`: every node, by what its newest capture says.

use axum::extract::State;
use axum::response::Response;
use havana_fleet::{Catalogue, Entry, Kept, hour_begins};
use serde_json::{Value, json};
use std::collections::BTreeMap;

use super::Asked;
use crate::api::json as answer;
use crate::error::ApiError;

/// VMs of a node that are shown.
const VMS: usize = 5;
/// A node is silent that was not heard from for so many times its usual pause, and at least so many seconds.
const PAUSES: i64 = 3;
const AT_LEAST: i64 = 60;

pub(super) async fn get(State(fleet): Asked) -> Result<Response, ApiError> {
    let listed = fleet.listed().await?;
    let catalogue = &listed.catalogue;
    let nodes = by_node(catalogue);
    let newest = nodes.values().filter_map(|captures| captures.last().copied()).collect();
    let entries = fleet.entries(newest).await;
    let now = listed.when;
    let usual = median(nodes.values().filter_map(|captures| pause(captures)).collect());
    let rows: Vec<Value> = entries
        .iter()
        .map(|(kept, entry)| {
            let captures = nodes.get(kept.node()).map_or(&[][..], Vec::as_slice);
            let pause = pause(captures).or(usual);
            let silent = pause.map(|pause| now - kept.came > (pause * PAUSES).max(AT_LEAST));
            node(kept, entry, captures.len(), silent)
        })
        .collect();
    Ok(answer(&json!({
        "root": fleet.root.name(), "now": now, "captures": catalogue.captures().len(), "hours": listed.hours,
        "older_hours": listed.older.len(), "warnings": catalogue.warnings(), "nodes": rows,
    })))
}

/// The captures of each node that can be looked at, in the order in which they came.
fn by_node(catalogue: &Catalogue) -> BTreeMap<&str, Vec<&Kept>> {
    let mut nodes: BTreeMap<&str, Vec<&Kept>> = BTreeMap::new();
    catalogue.readable().for_each(|kept| nodes.entry(kept.node()).or_default().push(kept));
    nodes.values_mut().for_each(|captures| captures.sort_by_key(|kept| (kept.hour(), kept.came, kept.capture())));
    nodes
}

/// How long it usually is from one of its captures to the next, seconds: where there are enough to say. Those that came all at once
/// may have begun hours apart.
fn pause(captures: &[&Kept]) -> Option<i64> {
    let began = captures.iter().filter_map(|kept| hour_begins(kept.hour())).collect();
    usual(captures.iter().map(|kept| kept.came).collect()).max(usual(began))
}

/// The usual distance of moments.
fn usual(mut moments: Vec<i64>) -> Option<i64> {
    moments.sort_unstable();
    (moments.len() > 2).then(|| median(moments.windows(2).map(|pair| pair[1] - pair[0]).collect())).flatten()
}

fn median(mut of: Vec<i64>) -> Option<i64> {
    let middle = of.len() / 2;
    (!of.is_empty()).then(|| *of.select_nth_unstable(middle).1)
}

fn node(kept: &Kept, entry: &Entry, captures: usize, silent: Option<bool>) -> Value {
    let (manifest, summary) = (&entry.manifest, &entry.summary);
    let vms: Vec<Value> = summary
        .vms
        .iter()
        .take(VMS)
        .map(|vm| json!({ "vm_id": vm.vm_id, "name": vm.name, "uuid": vm.uuid, "cpus": vm.cpus, "born_ns": vm.born_ns.map(|born| born.0.to_string()) }))
        .collect();
    let ticks: i64 = manifest.losses.ticks.values().sum();
    let span = manifest.first_tsc.zip(manifest.last_tsc).map_or(0, |(first, last)| last - first);
    let lost = ticks as f64 / (span as f64 * manifest.cpus.len() as f64).max(1.0);
    json!({
        "node": kept.node(), "hour": kept.hour(), "capture": kept.capture(), "came": kept.came, "captures": captures,
        "silent": silent, "cpus": manifest.cpus.len(), "seconds": manifest.clock.hz().map(|hz| span as f64 / hz as f64),
        "first_ns": summary.first_ns.map(|ns| ns.to_string()), "vm_count": summary.vm_count, "vms": vms,
        "findings": summary.findings, "found": summary.found, "lost": lost,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_pause_is_the_median() {
        assert_eq!(median(vec![5, 1, 9]), Some(5));
        assert_eq!(median(vec![]), None);
        assert_eq!((usual(vec![]), usual(vec![5, 6]), usual(vec![9, 1, 5])), (None, None, Some(4)));
    }
}
