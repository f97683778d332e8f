//! `GET /api/vm?uuid=…`, `?born=…`: where a VM was, node by node: by its uuid, or by its clock, which it takes along.

use axum::extract::State;
use axum::response::Response;
use havana_fleet::{Kept, VmSummary};
use serde_json::{Value, json};

use super::Asked;
use crate::api::{Params, json as answer};
use crate::error::ApiError;

/// Captures that are looked through, the newest first.
const CAPTURES: usize = 4096;
/// Clocks of nodes differ by so much, ns.
const APART: i64 = 50_000_000;

pub(super) async fn get(State(fleet): Asked, params: Params) -> Result<Response, ApiError> {
    let uuid = params.maybe_text("uuid");
    let number = |text: &str| text.parse::<i64>().map_err(|_| ApiError::Request(format!("born={text} is no time")));
    let born = params.maybe_text("born").map(number).transpose()?;
    if uuid.is_none() && born.is_none() {
        return Err(ApiError::Request("uuid or born is missing".into()));
    }
    let listed = fleet.listed().await?;
    let mut captures: Vec<&Kept> = listed.catalogue.readable().collect();
    captures.sort_by_key(|kept| std::cmp::Reverse((kept.hour(), kept.came)));
    let more = captures.len() > CAPTURES || !listed.older.is_empty();
    captures.truncate(CAPTURES);
    let mut seen: Vec<(Option<i64>, Value)> = Vec::new();
    for (kept, entry) in fleet.entries(captures).await {
        let summary = &entry.summary;
        for vm in summary.vms.iter().filter(|vm| is_it(vm, uuid, born)) {
            let row = json!({
                "node": kept.node(), "hour": kept.hour(), "capture": kept.capture(), "vm_id": vm.vm_id, "name": vm.name,
                "uuid": vm.uuid, "cpus": vm.cpus, "first_ns": summary.first_ns.map(|ns| ns.to_string()),
                "last_ns": summary.last_ns.map(|ns| ns.to_string()),
            });
            seen.push((summary.first_ns, row));
        }
    }
    seen.sort_by_key(|(first, _)| *first);
    let seen: Vec<Value> = seen.into_iter().map(|(_, row)| row).collect();
    Ok(answer(&json!({ "seen": seen, "more": more })))
}

/// Its uuid says so; where it has none, its clock.
fn is_it(vm: &VmSummary, uuid: Option<&str>, born: Option<i64>) -> bool {
    match (uuid, &vm.uuid) {
        (Some(asked), Some(has)) => asked == has,
        _ => {
            born.zip(vm.born_ns).is_some_and(|(asked, (born, by))| asked.abs_diff(born) <= (APART + by).unsigned_abs())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_says_more_than_a_clock() {
        let vm =
            |uuid: Option<&str>, born| VmSummary { uuid: uuid.map(Into::into), born_ns: born, ..VmSummary::default() };
        assert!(is_it(&vm(Some("a"), None), Some("a"), None));
        assert!(!is_it(&vm(Some("b"), Some((5, 0))), Some("a"), Some(5)));
        assert!(is_it(&vm(None, Some((5, 0))), Some("a"), Some(5 + APART)));
        assert!(!is_it(&vm(None, Some((5, 0))), Some("a"), Some(6 + APART)));
        assert!(!is_it(&vm(None, None), None, Some(5)));
    }
}
