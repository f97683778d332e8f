//! `…/outputs/{output}/annotations`: findings, on the time axis and on the rows that prove them.

use axum::extract::State;
use axum::response::Response;
use havana_rows::{Finding, FindingSpan};
use rustc_hash::FxHashMap;
use serde_json::{Value, json};

use super::answer::model;
use super::outputs::{Known, Output};
use super::query::Query;
use super::rows::Rows;
use super::{Asked, Tsp, TspError, styles};
use crate::view::{Kind, Opened, Window};

/// The category of all of them.
const FINDINGS: &str = "Findings";
/// Annotations of an answer at most, the first findings first.
const MOST: usize = 2_000;

/// `GET`: which there are.
pub(super) async fn categories(_: Known) -> Result<Response, TspError> {
    Ok(model(json!({ "annotationCategories": [FINDINGS] }))?)
}

/// `POST`: those of a stretch of time.
pub(super) async fn list(State(tsp): Asked, Known(output): Known, query: Query) -> Result<Response, TspError> {
    tsp.work(move |tsp, opened| {
        let window = query.sampled(opened, &tsp.times)?.window;
        let wanted = query.requested_marker_categories.as_ref();
        let mut annotations = Vec::new();
        if wanted.is_none_or(|wanted| wanted.iter().any(|category| category == FINDINGS)) {
            let findings = opened.dataset.findings()?.unwrap_or_default();
            annotations.extend(findings.iter().filter_map(|finding| on_axis(tsp, opened, finding, window)));
            if let (Output::Resources | Output::Vms, true) = (output, !findings.is_empty()) {
                let rows = output.rows(tsp)?;
                let findings: FxHashMap<i32, &Finding> = findings.iter().map(|of| (of.finding_id, of)).collect();
                let mut spans = opened.dataset.finding_spans()?;
                spans.sort_by_key(|span| (span.finding_id, span.start_tsc));
                let spans = spans.iter().filter(|span| overlaps(window, span.start_tsc, span.end_tsc));
                let on_rows =
                    spans.filter_map(|span| Some(on_rows(tsp, opened, rows, findings.get(&span.finding_id)?, span)));
                annotations.extend(on_rows.flatten().take(MOST));
            }
        }
        annotations.truncate(MOST);
        model(json!({ "annotations": { FINDINGS: annotations } }))
    })
    .await
}

fn overlaps(window: Window, start: i64, end: i64) -> bool {
    start < window.to && end.max(start + 1) > window.from
}

/// As far as it goes: of no row.
fn on_axis(tsp: &Tsp, opened: &Opened, finding: &Finding, window: Window) -> Option<Value> {
    let (start, end) = finding.span(opened.first_tsc, opened.last_tsc);
    overlaps(window, start, end).then(|| annotation(tsp, -1, finding, start, end))
}

/// What proves it, on each row that it is about.
fn on_rows<'a>(
    tsp: &'a Tsp,
    opened: &Opened,
    rows: &'a Rows,
    finding: &'a Finding,
    span: &'a FindingSpan,
) -> impl Iterator<Item = Value> + 'a {
    let both = span.process_id.zip(span.vcpu_id);
    let on_vcpu = both.and_then(|(process, vcpu)| opened.lanes.on_vcpu(process, vcpu));
    let tracks = [(Kind::Cpu, span.cpu), (Kind::Vcpu, span.vcpu_id), (Kind::OnVcpu, on_vcpu)];
    let its_rows = tracks.into_iter().filter_map(|(kind, id)| rows.of_track(kind, id?));
    its_rows.map(move |row| annotation(tsp, row as i64, finding, span.start_tsc, span.end_tsc))
}

fn annotation(tsp: &Tsp, row: i64, finding: &Finding, start: i64, end: i64) -> Value {
    let (time, end) = (tsp.times.time(start), tsp.times.time(end));
    let colour = styles::of_severity(finding.severity);
    json!({
        "time": time, "duration": end - time, "entryId": row, "type": "CHART", "label": finding.title,
        "style": { "parentKey": finding.severity.name(), "values": { "color": colour, "opacity": 0.3 } },
    })
}
