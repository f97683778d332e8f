//! `GET /api/segments`: the rectangles of some rows.

use axum::extract::State;
use axum::response::Response;

use super::{Asked, Params};
use crate::error::ApiError;
use crate::ipc::Columns;
use crate::view::levels::Budget;
use crate::view::segments::draw;
use crate::view::{Kind, Opened};

pub(crate) async fn get(State(app): Asked, params: Params) -> Result<Response, ApiError> {
    app.work(move |opened| answer(opened, &params)).await
}

fn answer(opened: &Opened, params: &Params) -> Result<Response, ApiError> {
    let kind = params.kind()?;
    let ids = if kind == Kind::Node { vec![0] } else { params.ids()? };
    let (window, pixels) = (params.window(opened)?, params.pixels()?);
    let budget = if params.is("detail", "fine") { Budget::PATIENT } else { Budget::MOMENT };
    let picture = draw(opened, kind, &ids, window, pixels, budget)?;
    let of = &picture.segments;
    Columns::default()
        .ids("id", of.iter().map(|s| s.id))
        .numbers("start", of.iter().map(|s| opened.rel(s.start)))
        .numbers("end", of.iter().map(|s| opened.rel(s.end)))
        .bytes("state", of.iter().map(|s| s.key.state))
        .bytes("evidence", of.iter().map(|s| s.key.evidence))
        .bytes("by_kind", of.iter().map(|s| s.key.by_kind))
        .ids("by_id", of.iter().map(|s| s.key.by_id))
        .shares("y0", of.iter().map(|s| s.y0))
        .shares("y1", of.iter().map(|s| s.y1))
        .ids("cpu", of.iter().map(|s| s.cpu))
        .ids("vcpu", of.iter().map(|s| s.vcpu))
        .ids("process", of.iter().map(|s| s.process))
        .flag("exact", picture.exact)
        .flag("binned", picture.binned)
        .answer()
}
