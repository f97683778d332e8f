//! `GET /api/stolen`: where a VM lost its cpu to somebody.

use axum::extract::State;
use axum::response::Response;

use super::{Asked, Params};
use crate::error::ApiError;
use crate::ipc::Columns;
use crate::view::stolen::{Taker, longest};

pub(crate) async fn get(State(app): Asked, params: Params) -> Result<Response, ApiError> {
    app.work(move |opened| {
        let taker = match params.text("by_kind")? {
            "vm" => Taker::Vm(params.id("by_id")?),
            "host" => Taker::Host,
            other => return Err(ApiError::Request(format!("by_kind={other} is neither vm nor host"))),
        };
        let stolen = longest(opened, params.id("vm")?, taker, params.window(opened)?, params.count(100)?)?;
        let rows = &stolen.longest;
        let taken_by = |by: Option<havana_rows::Taker>| by.and_then(|by| by.id).filter(|_| taker == Taker::Host);
        Columns::default()
            .ids("vcpu", rows.iter().map(|row| row.vcpu_id))
            .numbers("start", rows.iter().map(|row| opened.rel(row.start_tsc)))
            .numbers("end", rows.iter().map(|row| opened.rel(row.end_tsc)))
            .ids("cpu", rows.iter().map(|row| row.cpu.unwrap_or(-1)))
            .ids("process", rows.iter().map(|row| taken_by(row.taken_by).unwrap_or(-1)))
            .bytes("evidence", rows.iter().map(|row| row.evidence as u8))
            .flag("complete", stolen.complete)
            .answer()
    })
    .await
}
