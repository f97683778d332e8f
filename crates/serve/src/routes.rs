//! What can be asked.

use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use axum::middleware;
use axum::routing::get;

use crate::api::{self, App};
use crate::guard::{Guard, guard};
use crate::page;
use crate::tsp;

pub(crate) fn router(app: Arc<App>, rules: Arc<Guard>) -> Router {
    let router = Router::new()
        .route("/api/dataset", get(api::dataset::get))
        .route("/api/segments", get(api::segments::get))
        .route("/api/sums", get(api::sums::get))
        .route("/api/exits/rate", get(api::exits::rate))
        .route("/api/exits/histogram", get(api::exits::histogram))
        .route("/api/exits/slowest", get(api::exits::slowest))
        .route("/api/reasons", get(api::exits::reasons))
        .route("/api/at", get(api::interval::at))
        .route("/api/step", get(api::interval::step))
        .route("/api/stolen", get(api::stolen::get))
        .route("/api/findings", get(api::findings::get))
        .route("/api/compare", get(api::compare::get))
        .route("/api/{*path}", get(|| async { StatusCode::NOT_FOUND }))
        .route("/", get(page::index))
        .route("/{*path}", get(page::asset))
        .with_state(Arc::clone(&app));
    let router = match rules.tsp_base() {
        Some(base) => router.nest(&base, tsp::router(app)),
        None => router,
    };
    router.layer(middleware::from_fn_with_state(rules, guard))
}
