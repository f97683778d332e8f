//! Captures that are here, to be looked at: the last few.

use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::Uri;
use axum::response::{IntoResponse, Response};
use havana_fleet::Kept;
use tokio::sync::Mutex;
use tower::ServiceExt;

use super::{Asked, Fleet};
use crate::api::App;
use crate::error::ApiError;
use crate::routes;

/// Captures that are here at once.
const HERE: usize = 4;

/// Captures, each with its own view.
pub(super) struct Open {
    scratch: PathBuf,
    /// The last one that was asked for is the last.
    views: Mutex<Vec<View>>,
}

struct View {
    key: (String, String),
    router: Router,
    directory: PathBuf,
}

impl Open {
    pub(super) fn new(scratch: PathBuf) -> Open {
        Open { scratch, views: Mutex::default() }
    }
}

impl Fleet {
    /// The view of a capture, which is fetched where it is not here.
    async fn view(self: &Arc<Self>, kept: &Kept) -> Result<Router, ApiError> {
        let key = (kept.node().to_string(), kept.capture().to_string());
        // One after the other: who asks for the same at once waits for it.
        let mut views = self.open.views.lock().await;
        if let Some(at) = views.iter().position(|view| view.key == key) {
            let view = views.remove(at);
            let router = view.router.clone();
            views.push(view);
            return Ok(router);
        }
        if views.len() >= HERE {
            // Who still reads it is told that it is gone.
            let oldest = views.remove(0);
            let _ = tokio::fs::remove_dir_all(&oldest.directory).await;
        }
        let directory = self.open.scratch.join(format!(
            "{}-{}",
            havana_store::partition_value(&key.0),
            havana_store::partition_value(&key.1)
        ));
        let entry = kept.open(&self.root).await?;
        let _ = tokio::fs::remove_dir_all(&directory).await;
        let dataset = havana_fleet::fetch(&self.root, kept, &entry, &directory).await?;
        let app = tokio::task::spawn_blocking(move || App::new(dataset, None)).await.map_err(|_| ApiError::Busy)??;
        let router = routes::of_dataset(Arc::new(app));
        views.push(View { key, router: router.clone(), directory });
        Ok(router)
    }
}

/// `…/captures/HOUR/NODE/CAPTURE/…`: what the view of that capture answers.
pub(super) async fn of_capture(
    State(fleet): Asked,
    Path(parts): Path<Vec<(String, String)>>,
    request: Request<Body>,
) -> Result<Response, ApiError> {
    let part =
        |name: &str| parts.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str()).unwrap_or_default();
    let (hour, node, capture) = (part("hour"), part("node"), part("capture"));
    let catalogue = fleet.catalogue().await?;
    let is_it = |kept: &&Kept| kept.hour() == hour && kept.node() == node && kept.capture() == capture;
    let gone = || ApiError::NotFound(format!("capture {capture} of node {node} is not there"));
    let kept = catalogue.readable().find(is_it).ok_or_else(gone)?;
    let router = fleet.view(kept).await?;
    let (mut head, body) = request.into_parts();
    // The rest of the path is that view's own; what this router found in it is not.
    head.extensions.clear();
    let rest = format!("/{}", part("path"));
    let query = head.uri.query().map_or(String::new(), |query| format!("?{query}"));
    head.uri = format!("{rest}{query}").parse::<Uri>().map_err(|_| gone())?;
    let answered = router.oneshot(Request::from_parts(head, body)).await;
    Ok(answered.into_response())
}
