//! `GET /api/sums`: how long every track was in which state.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;

use super::{App, Asked, Params};
use crate::error::ApiError;
use crate::ipc::Columns;
use crate::view::Opened;

pub(crate) async fn get(State(app): Asked, params: Params) -> Result<Response, ApiError> {
    let asked = Arc::clone(&app);
    app.work(move |opened| answer(&asked, opened, &params)).await
}

fn answer(app: &App, opened: &Opened, params: &Params) -> Result<Response, ApiError> {
    let sums = app.sums(opened, params.window(opened)?)?;
    let keys = || sums.iter().map(|(of, _)| of);
    Columns::default()
        .bytes("kind", keys().map(|(kind, ..)| *kind))
        .ids("id", keys().map(|(_, id, _)| *id))
        .bytes("state", keys().map(|(.., key)| key.state))
        .bytes("evidence", keys().map(|(.., key)| key.evidence))
        .bytes("by_kind", keys().map(|(.., key)| key.by_kind))
        .ids("by_id", keys().map(|(.., key)| key.by_id))
        .numbers("ticks", sums.iter().map(|(_, sum)| sum.ticks as f64))
        .numbers("count", sums.iter().map(|(_, sum)| sum.count as f64))
        .answer()
}
