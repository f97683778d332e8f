//! `/experiments/{experiment}/outputs`: what can be looked at.

use std::sync::Arc;

use axum::extract::{FromRequestParts, Path, State};
use axum::http::request::Parts;
use axum::response::Response;
use serde_json::{Value, json};

use super::answer::{model, plain};
use super::rows::Rows;
use super::{Asked, Tsp, TspError, experiments};
use crate::error::ApiError;

/// An output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Output {
    Resources,
    Vms,
    Busy,
    Exits,
    Time,
    Findings,
}

impl Output {
    const ALL: [Output; 6] =
        [Output::Resources, Output::Vms, Output::Busy, Output::Exits, Output::Time, Output::Findings];

    fn id(self) -> &'static str {
        match self {
            Output::Resources => "havana.resources",
            Output::Vms => "havana.vms",
            Output::Busy => "havana.busy",
            Output::Exits => "havana.exits",
            Output::Time => "havana.time",
            Output::Findings => "havana.findings",
        }
    }

    fn descriptor(self, tsp: &Tsp) -> Value {
        let (name, kind, description) = match self {
            Output::Resources => ("Resources", "TIME_GRAPH", "The cpus: which VM had each, and in which state"),
            Output::Vms => (
                "Virtual machines",
                "TIME_GRAPH",
                "VMs, their vCPUs and the guest processes on them: when each ran, waited, and who had its cpu",
            ),
            Output::Busy => ("Cpus in the guest", "TREE_TIME_XY", "How many cpus each VM had"),
            Output::Exits => ("VM exits", "TREE_TIME_XY", "How often each VM was left for the hypervisor"),
            Output::Time => ("Time by VM", "DATA_TREE", "How long each VM, vCPU and guest process was in which state"),
            Output::Findings => ("Findings", "TABLE", "What is unexpected, the first first"),
        };
        let opened = tsp.app.opened();
        json!({
            "id": self.id(), "name": name, "description": description, "type": kind, "final": true,
            "start": tsp.times.time(opened.first_tsc), "end": tsp.times.time(opened.last_tsc),
        })
    }

    /// The rows of a time graph.
    pub(super) fn rows(self, tsp: &Tsp) -> Result<&Rows, ApiError> {
        match self {
            Output::Resources => Ok(&tsp.cpus),
            Output::Vms => Ok(&tsp.vms),
            _ => Err(self.is_no("time graph")),
        }
    }

    /// That it is not of the kind that was asked for.
    pub(super) fn is_no(self, what: &str) -> ApiError {
        ApiError::NotFound(format!("the output {} is no {what}", self.id()))
    }
}

/// The output that the path names, of the experiment that it names.
pub(super) struct Known(pub(super) Output);

impl FromRequestParts<Arc<Tsp>> for Known {
    type Rejection = TspError;

    async fn from_request_parts(parts: &mut Parts, tsp: &Arc<Tsp>) -> Result<Known, TspError> {
        let path = Path::<(String, String)>::from_request_parts(parts, tsp).await;
        let Path((experiment, output)) = path.map_err(|wrong| ApiError::Request(wrong.body_text()))?;
        experiments::known(tsp, &experiment)?;
        let found = Output::ALL.into_iter().find(|known| known.id() == output);
        let none = || ApiError::NotFound(format!("there is no output {output}: GET …/outputs lists what there is"));
        Ok(Known(found.ok_or_else(none)?))
    }
}

/// `GET …/outputs`.
pub(super) async fn list(State(tsp): Asked, Path(experiment): Path<String>) -> Result<Response, TspError> {
    experiments::known(&tsp, &experiment)?;
    Ok(plain(&Output::ALL.map(|output| output.descriptor(&tsp)).to_vec().into()))
}

/// `GET …/outputs/{output}`.
pub(super) async fn one(State(tsp): Asked, Known(output): Known) -> Result<Response, TspError> {
    Ok(plain(&output.descriptor(&tsp)))
}

/// `GET …/outputs/{output}/configTypes`: nothing can be derived of an output.
pub(super) async fn config_types(_: Known) -> Result<Response, TspError> {
    Ok(plain(&json!([])))
}

/// `GET …/outputs/markerSets`: findings are annotations of every time graph, in no set.
pub(super) async fn marker_sets(State(tsp): Asked, Path(experiment): Path<String>) -> Result<Response, TspError> {
    experiments::known(&tsp, &experiment)?;
    Ok(model(json!([]))?)
}
