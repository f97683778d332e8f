//! `GET /api/findings`: what is unexpected, as the dataset's tables have it. `known` is false where nobody looked for any.

use std::collections::HashMap;

use axum::extract::State;
use axum::response::Response;
use havana_rows::{Finding, FindingSpan};
use havana_store::StoreError;
use serde_json::{Value, json};

use super::Asked;
use crate::error::ApiError;
use crate::view::Opened;

pub(crate) async fn get(State(app): Asked) -> Result<Response, ApiError> {
    let value = app.work(|opened| Ok(tell(opened)?)).await?;
    Ok(super::json(&value))
}

fn tell(opened: &Opened) -> Result<Value, StoreError> {
    let Some(findings) = opened.dataset.findings()? else {
        return Ok(json!({ "known": false, "findings": [] }));
    };
    let mut spans: HashMap<i32, Vec<Value>> = HashMap::new();
    for span in opened.dataset.finding_spans()? {
        spans.entry(span.finding_id).or_default().push(interval(opened, &span));
    }
    let findings: Vec<Value> = findings
        .iter()
        .map(|finding| about(opened, finding, spans.remove(&finding.finding_id).unwrap_or_default()))
        .collect();
    Ok(json!({ "known": true, "findings": findings }))
}

fn about(opened: &Opened, finding: &Finding, spans: Vec<Value>) -> Value {
    json!({
        "finding_id": finding.finding_id, "kind": finding.kind.name(), "severity": finding.severity.name(),
        "score": finding.score, "sure": finding.sure, "title": finding.title,
        "vm_id": finding.vm_id, "vcpu_id": finding.vcpu_id, "process_id": finding.process_id,
        "start": finding.start_tsc.map(|tsc| opened.rel(tsc)), "end": finding.end_tsc.map(|tsc| opened.rel(tsc)),
        "spans": spans,
    })
}

fn interval(opened: &Opened, span: &FindingSpan) -> Value {
    json!({
        "cpu": span.cpu, "vcpu_id": span.vcpu_id, "process_id": span.process_id,
        "start": opened.rel(span.start_tsc), "end": opened.rel(span.end_tsc),
    })
}
