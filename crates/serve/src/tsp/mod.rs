//! The same dataset to who speaks the Trace Server Protocol: Trace Compass' extension of VS Code, and other clients of it.
//!
//! ```text
//! server       health, identifier, configurations (none)
//! traces       the one that is served        experiments  the one of that trace
//! outputs      what can be looked at         styles       how states look
//! time_graph   rows, states, arrows, tooltip ─ rows, states: what they are made of
//! annotations  findings on the time axis     xy           lines by VM
//! table        findings as a table           data_tree    who spent how long in which state
//! ```
//!
//! The protocol (<https://github.com/eclipse-cdt-cloud/trace-server-protocol>) is of trace servers that import traces. Here one
//! is there from the beginning, imported and indexed, and "open" always means that one.
//!
//! Invariants: every answer is made of [`view`](crate::view), as the page's are; no answer is larger than what a screen shows, however much is
//! asked for; an error is the protocol's `{"title": …}`, one sentence.

mod annotations;
mod answer;
mod data_tree;
mod experiments;
mod names;
mod outputs;
mod query;
mod rows;
mod server;
mod states;
mod styles;
mod table;
mod time_graph;
mod times;
mod traces;
mod xy;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use axum::Router;
use axum::extract::State;
use axum::routing::{any, delete, get, post};

use crate::api::App;
use crate::error::ApiError;
use crate::view::Opened;
use names::Names;
use rows::Rows;
use times::Times;

pub(crate) use answer::TspError;

/// What every answer needs.
struct Tsp {
    app: Arc<App>,
    names: Names,
    times: Times,
    cpus: Rows,
    vms: Rows,
    /// Whether the trace, and the experiment of it, are open: a client may close them, and open them again.
    trace: AtomicBool,
    experiment: AtomicBool,
}

type Asked = State<Arc<Tsp>>;

impl Tsp {
    fn new(app: Arc<App>) -> Tsp {
        let opened = app.opened();
        Tsp {
            names: Names::of(opened),
            times: Times::of(opened),
            cpus: Rows::of_cpus(opened),
            vms: Rows::of_vms(opened),
            trace: AtomicBool::new(true),
            experiment: AtomicBool::new(true),
            app,
        }
    }

    /// Works an answer out, where that may take its time.
    async fn work<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Tsp, &Opened) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, TspError> {
        let tsp = Arc::clone(self);
        Ok(self.app.work(move |opened| work(&tsp, opened)).await?)
    }
}

/// What can be asked, below the address that clients are given.
pub(crate) fn router(app: Arc<App>) -> Router {
    let outputs = Router::new()
        .route("/", get(outputs::list))
        .route("/markerSets", get(outputs::marker_sets))
        .route("/timeGraph/{output}/tree", post(time_graph::tree))
        .route("/timeGraph/{output}/states", post(time_graph::states))
        .route("/timeGraph/{output}/arrows", post(time_graph::arrows))
        .route("/timeGraph/{output}/tooltip", post(time_graph::tooltip))
        .route("/XY/{output}/tree", post(xy::tree))
        .route("/XY/{output}/xy", post(xy::lines))
        .route("/data/{output}/tree", post(data_tree::tree))
        .route("/table/{output}/columns", post(table::columns))
        .route("/table/{output}/lines", post(table::lines))
        .route("/{output}", get(outputs::one))
        .route("/{output}/style", post(styles::get))
        .route("/{output}/annotations", get(annotations::categories).post(annotations::list))
        .route("/{output}/configTypes", get(outputs::config_types));
    Router::new()
        .route("/health", get(server::health))
        .route("/identifier", get(server::identifier))
        .route("/config/types", get(server::config_types))
        .route("/traces", get(traces::list).post(traces::open))
        .route("/traces/{trace}", get(traces::one).delete(traces::close))
        .route("/experiments", get(experiments::list).post(experiments::create))
        .route("/experiments/{experiment}", get(experiments::one).delete(experiments::close))
        .route("/experiments/{experiment}/bookmarks", get(experiments::bookmarks))
        .route(
            "/experiments/{experiment}/bookmarks/{bookmark}",
            delete(experiments::bookmark).get(experiments::bookmark),
        )
        .nest("/experiments/{experiment}/outputs", outputs)
        // A route, as the page has one for whatever there is not.
        .route("/{*path}", any(answer::nothing_there))
        .method_not_allowed_fallback(answer::read_only)
        .with_state(Arc::new(Tsp::new(app)))
}
