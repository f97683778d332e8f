//! `/experiments`: the one of the trace, which is what a client opens.

use std::sync::atomic::Ordering;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::answer::plain;
use super::query::Query;
use super::{Asked, Tsp, TspError, traces};
use crate::error::ApiError;

fn model(tsp: &Tsp) -> Value {
    let trace = traces::model(tsp);
    json!({
        "UUID": traces::uuid(tsp, "experiment"),
        "name": traces::name(tsp),
        "start": trace["start"],
        "end": trace["end"],
        "nbEvents": traces::events(tsp),
        "indexingStatus": "COMPLETED",
        "traces": [trace],
    })
}

/// Whether it is the one there is.
pub(super) fn known(tsp: &Tsp, experiment: &str) -> Result<(), ApiError> {
    let open = tsp.experiment.load(Ordering::Relaxed);
    if open && experiment.eq_ignore_ascii_case(&traces::uuid(tsp, "experiment")) {
        return Ok(());
    }
    Err(ApiError::NotFound(format!("there is no experiment {experiment} here: GET /experiments lists what there is")))
}

/// `GET /experiments`.
pub(super) async fn list(State(tsp): Asked) -> Response {
    let open = tsp.experiment.load(Ordering::Relaxed);
    plain(&Value::Array(open.then(|| model(&tsp)).into_iter().collect()))
}

/// `POST /experiments`: of the one trace, whatever it is to be called.
pub(super) async fn create(State(tsp): Asked, query: Query) -> Result<Response, TspError> {
    if query.name.is_none() {
        return Err(ApiError::Request("name is missing".into()).into());
    }
    let traces = query.traces.unwrap_or_default();
    if traces.is_empty() {
        return Err(ApiError::Request("traces is missing, or empty".into()).into());
    }
    let ours = traces::uuid(&tsp, "trace");
    if !tsp.trace.load(Ordering::Relaxed) || traces.iter().any(|trace| !trace.eq_ignore_ascii_case(&ours)) {
        // The protocol's answer where one of the traces has not been opened.
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    tsp.experiment.store(true, Ordering::Relaxed);
    Ok(plain(&model(&tsp)))
}

/// `GET /experiments/{experiment}`.
pub(super) async fn one(State(tsp): Asked, Path(experiment): Path<String>) -> Result<Response, TspError> {
    known(&tsp, &experiment)?;
    Ok(plain(&model(&tsp)))
}

/// `DELETE /experiments/{experiment}`: closes it; on the disk nothing changes.
pub(super) async fn close(State(tsp): Asked, Path(experiment): Path<String>) -> Result<Response, TspError> {
    known(&tsp, &experiment)?;
    tsp.experiment.store(false, Ordering::Relaxed);
    Ok(plain(&model(&tsp)))
}

/// `GET /experiments/{experiment}/bookmarks`: none are kept.
pub(super) async fn bookmarks(State(tsp): Asked, Path(experiment): Path<String>) -> Result<Response, TspError> {
    known(&tsp, &experiment)?;
    Ok(plain(&json!([])))
}

/// One of them.
pub(super) async fn bookmark(
    State(tsp): Asked,
    Path((experiment, bookmark)): Path<(String, String)>,
) -> Result<Response, TspError> {
    known(&tsp, &experiment)?;
    Err(ApiError::NotFound(format!("there is no bookmark {bookmark}: none are kept here")).into())
}
