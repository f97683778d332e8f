//! `GET /api/findings`: what is unexpected. Nothing searches a dataset for that yet, and the answer says so.

use axum::extract::State;
use axum::response::Response;
use serde_json::json;

use super::Asked;
use crate::error::ApiError;

pub(crate) async fn get(State(app): Asked) -> Result<Response, ApiError> {
    app.work(|_| Ok(super::json(&json!({ "known": false, "findings": [] })))).await
}
