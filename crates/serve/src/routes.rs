//! What can be asked.

use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use axum::middleware;
use axum::routing::get;

use crate::api::{self, App};
use crate::guard::{Guard, guard};
use crate::listen::Shown;
use crate::page;
use crate::tsp;

/// Of all that a server shows.
pub(crate) fn router(shown: &Shown, rules: Arc<Guard>) -> Router {
    let router = match shown {
        Shown::Dataset(app) => {
            let router = of_dataset(Arc::clone(app));
            match rules.tsp_base() {
                Some(base) => router.nest(&base, tsp::router(Arc::clone(app))),
                None => router,
            }
        }
        #[cfg(feature = "fleet")]
        Shown::Fleet(fleet) => crate::fleet::router(Arc::clone(fleet)),
    };
    router.layer(middleware::from_fn_with_state(rules, guard))
}

/// Of a dataset.
pub(crate) fn of_dataset(app: Arc<App>) -> Router {
    Router::new()
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
        .with_state(app)
}
