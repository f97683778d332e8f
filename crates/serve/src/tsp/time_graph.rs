//! `…/outputs/timeGraph/{output}`: rows, their states, arrows between them, and what is known of one state.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::response::Response;
use havana_rows::{State as Kept, Taker};
use havana_store::StoreError;
use rustc_hash::{FxHashMap, FxHashSet};
use serde::Serialize;
use serde_json::{Value, json};

use super::answer::model;
use super::outputs::{Known, Output};
use super::query::{Query, Sampled};
use super::rows::{Of, Row, Rows};
use super::states::{self, State as Shown};
use super::styles::Look;
use super::{Asked, Tsp, TspError};
use crate::error::ApiError;
use crate::view::interval::Interval;
use crate::view::levels::Budget;
use crate::view::segments::{Picture, Segment, draw};
use crate::view::{Key, Kind, Opened, Window};

/// Rows of an answer at most: a client asks for those that are unfolded.
const ROWS: usize = 16_384;
/// Bins of all rows together, about: where rows are many, each has fewer.
const BINS: u32 = 1 << 20;
/// What a picture may read: about a tenth of a second's worth.
const BUDGET: Budget = Budget { rows: 500_000, lod_rows: 1_000_000 };

/// The rows.
pub(super) async fn tree(State(tsp): Asked, Known(output): Known, _: Query) -> Result<Response, TspError> {
    tsp.work(move |tsp, opened| model(output.rows(tsp)?.tree(tsp, opened))).await
}

/// The states of some rows.
pub(super) async fn states(State(tsp): Asked, Known(output): Known, query: Query) -> Result<Response, TspError> {
    tsp.work(move |tsp, opened| {
        let rows = output.rows(tsp)?;
        let asked = query.sampled(opened, &tsp.times)?;
        let wanted = wanted(rows, query.items()?)?;
        model(RowsModel { rows: of_rows(tsp, opened, &wanted, asked)? })
    })
    .await
}

/// The rows of these ids, each once. Such as there are not are left out.
fn wanted(rows: &Rows, ids: &[i64]) -> Result<Vec<(i64, Row)>, ApiError> {
    if ids.len() > ROWS {
        return Err(ApiError::Request(format!("{} items: {ROWS} at most", ids.len())));
    }
    let mut seen = FxHashSet::default();
    let once = ids.iter().filter(|id| seen.insert(**id));
    Ok(once.filter_map(|&id| Some((id, rows.get(id)?))).collect())
}

// Of states there are many: they are written as they are, and not made into values first.

#[derive(Serialize)]
struct RowsModel {
    rows: Vec<RowModel>,
}

#[derive(Serialize)]
struct RowModel {
    #[serde(rename = "entryId")]
    entry: i64,
    states: Vec<StateModel>,
}

#[derive(Serialize)]
struct StateModel {
    start: i64,
    end: i64,
    tags: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<String>,
    style: StyleModel,
}

#[derive(Serialize)]
struct StyleModel {
    #[serde(rename = "parentKey")]
    key: String,
    /// What differs from the style of that key: nothing.
    values: BTreeMap<String, Value>,
}

fn of_rows(tsp: &Tsp, opened: &Opened, wanted: &[(i64, Row)], asked: Sampled) -> Result<Vec<RowModel>, StoreError> {
    let mut shown: FxHashMap<(Kind, i32), Vec<Shown>> = FxHashMap::default();
    for kind in [Kind::Cpu, Kind::Vcpu, Kind::OnVcpu] {
        let of_kind = wanted.iter().filter_map(|(_, row)| Some((row.of.track()?, row.of)));
        let of_kind: BTreeMap<i32, Of> =
            of_kind.filter(|((of, _), _)| *of == kind).map(|((_, id), of)| (id, of)).collect();
        let picture = picture(opened, kind, &of_kind.keys().copied().collect::<Vec<_>>(), asked)?;
        for segments in picture.segments.chunk_by(|a, b| a.id == b.id) {
            let id = segments[0].id;
            let vm = of_kind.get(&id).and_then(|of| of.vm());
            let look = |segment: &Segment| Look::of(kind, vm, &segment.key);
            let states = if picture.binned {
                let within = Window { from: opened.first_tsc, to: opened.last_tsc };
                states::side_by_side(segments, look, asked.times as usize, within)
            } else {
                states::whole(segments, look)
            };
            shown.insert((kind, id), states);
        }
    }
    let row = |&(entry, row): &(i64, Row)| {
        let states = row.of.track().and_then(|track| shown.get(&track));
        let states = states.into_iter().flatten().map(|state| state_model(tsp, row.of, state));
        RowModel { entry, states: states.collect() }
    };
    Ok(wanted.iter().map(row).collect())
}

fn picture(opened: &Opened, kind: Kind, ids: &[i32], asked: Sampled) -> Result<Picture, StoreError> {
    let times = asked.times.min(BINS / (ids.len() as u32).max(1)).clamp(1, 16_384);
    draw(opened, kind, ids, asked.window, times, BUDGET)
}

fn state_model(tsp: &Tsp, of: Of, state: &Shown) -> StateModel {
    let style = StyleModel { key: state.look.key(), values: BTreeMap::new() };
    let label = state.interval.and_then(|interval| label(tsp, of, state.look, &interval));
    StateModel { start: tsp.times.time(state.start), end: tsp.times.time(state.end), tags: 0, label, style }
}

/// What is written into a state: whose it is, or who took it.
fn label(tsp: &Tsp, of: Of, look: Look, interval: &Segment) -> Option<String> {
    match (of, interval.key.by_kind) {
        (Of::Vcpu { .. }, 0) if look.is_guest() && interval.process >= 0 => Some(tsp.names.process(interval.process)),
        (_, Key::VM) => Some(tsp.names.vm(interval.key.by_id)),
        (_, 0) => None,
        _ => Some("host".into()),
    }
}

/// Where a VM went from cpu to cpu, a process from vCPU to vCPU: told where single intervals are seen.
pub(super) async fn arrows(State(tsp): Asked, Known(output): Known, query: Query) -> Result<Response, TspError> {
    tsp.work(move |tsp, opened| {
        let rows = output.rows(tsp)?;
        let asked = query.sampled(opened, &tsp.times)?;
        // What moves between cpus is a vCPU; between vCPUs, whose processes are the rows, a process.
        let kind = if output == Output::Vms { Kind::OnVcpu } else { Kind::Cpu };
        let ids: Vec<i32> =
            rows.all().filter_map(|(_, row)| row.of.track()).filter(|(of, _)| *of == kind).map(|(_, id)| id).collect();
        let picture = picture(opened, kind, &ids, asked)?;
        let arrows = if picture.binned { Vec::new() } else { moves(picture.segments, kind) };
        let most = asked.times as usize;
        let arrows = arrows.iter().take(most).filter_map(|(from, to)| {
            let (source, target) = (rows.of_track(kind, from.id)?, rows.of_track(kind, to.id)?);
            let style = json!({ "parentKey": "moved", "values": {} });
            let (start, end) = (tsp.times.time(from.end), tsp.times.time(to.start));
            Some(json!({ "sourceId": source, "targetId": target, "start": start, "end": end, "style": style }))
        });
        model(arrows.collect::<Vec<Value>>())
    })
    .await
}

/// Successive stretches in the guest of what moves, on different rows; in the order of time.
fn moves(mut segments: Vec<Segment>, kind: Kind) -> Vec<(Segment, Segment)> {
    let mover = |segment: &Segment| if kind == Kind::Cpu { segment.vcpu } else { segment.process };
    segments.retain(|segment| segment.key.state == Kept::Guest as u8 && mover(segment) >= 0);
    segments.sort_by_key(|segment| (mover(segment), segment.start));
    let two = segments.windows(2).map(|two| (two[0], two[1]));
    // On two vCPUs at once it did not move.
    let moved = |(a, b): &(Segment, Segment)| mover(a) == mover(b) && a.id != b.id && a.end <= b.start;
    let mut moves: Vec<_> = two.filter(moved).collect();
    moves.sort_by_key(|(_, to)| to.start);
    moves
}

/// All that is known of a state.
pub(super) async fn tooltip(State(tsp): Asked, Known(output): Known, query: Query) -> Result<Response, TspError> {
    tsp.work(move |tsp, opened| {
        let rows = output.rows(tsp)?;
        let element = query.requested_element.as_ref();
        let time = query.time().or_else(|| element.map(|element| element.time));
        let time = time.ok_or_else(|| ApiError::Request("requested_times is missing".into()))?;
        let Some((_, row)) = wanted(rows, query.items()?)?.first().copied() else {
            return model(json!({}));
        };
        let Some(track) = row.of.intervals() else { return model(json!({})) };
        let Some(interval) = track.at(opened, tsp.times.tick(time))? else { return model(json!({})) };
        let mut told = about(tsp, &interval);
        let (start, end) = (tsp.times.time(interval.start().tsc), tsp.times.time(interval.end().tsc));
        if element.is_some_and(|element| (element.time, element.time.saturating_add(element.duration)) != (start, end))
        {
            told.push(("Shown", "the shares of a stretch, side by side: zoom in for its intervals".into()));
        }
        model(told.into_iter().map(|(name, value)| (name.to_string(), value)).collect::<BTreeMap<_, _>>())
    })
    .await
}

fn about(tsp: &Tsp, interval: &Interval) -> Vec<(&'static str, String)> {
    let mut told: Vec<(&'static str, String)> = Vec::new();
    let (vm, vcpu, process, cpu, taker): (_, _, _, _, Option<Taker>) = match interval {
        Interval::Cpu(row) => {
            told.push(("State", row.state.name().into()));
            told.push(("Evidence", row.evidence.name().into()));
            (row.vm_id, row.vcpu_id, row.process_id, Some(row.cpu), None)
        }
        Interval::Vcpu(row) => {
            told.push(("State", row.state.name().replace('_', " ")));
            told.push(("Evidence", row.evidence.name().into()));
            (Some(row.vm_id), Some(row.vcpu_id), row.process_id, row.cpu, row.taken_by)
        }
    };
    let named = [
        ("VM", vm.map(|vm| tsp.names.vm(vm))),
        ("vCPU", vcpu.map(|vcpu| tsp.names.vcpu(vcpu))),
        ("Process", process.map(|process| tsp.names.process(process))),
        ("Cpu", cpu.map(|cpu| cpu.to_string())),
        ("Its cpu had", taker.map(|by| tsp.names.taker(by))),
    ];
    told.extend(named.into_iter().filter_map(|(name, value)| Some((name, value?))));
    let unit = if tsp.times.are_ns() { "ns" } else { "ticks" };
    for (name, time) in [("Begins", interval.start()), ("Ends", interval.end())] {
        let (lo, hi) = (tsp.times.time(time.lo), tsp.times.time(time.hi));
        told.push((name, format!("{} {unit}, surely from {lo} to {hi}", tsp.times.time(time.tsc))));
    }
    told
}
