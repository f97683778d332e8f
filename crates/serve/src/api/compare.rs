//! `GET /api/compare`: what changed from side A, which is of this dataset, to side B, as whoever started the server worked it
//! out. `known` is false where nothing is compared.

use axum::extract::State;
use axum::response::Response;
use serde_json::{Value, json};

use super::Asked;

pub(crate) async fn get(State(app): Asked) -> Response {
    super::json_text(app.compare.clone())
}

/// The answer: the same as long as the server runs.
pub(super) fn answer(diff: Option<Value>) -> String {
    json!({ "known": diff.is_some(), "diff": diff }).to_string()
}
