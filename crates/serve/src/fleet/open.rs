//! Captures that are here, to be looked at: the last few.

use std::path::{self, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::Uri;
use axum::response::{IntoResponse, Response};
use havana_fleet::Kept;
use havana_store::partition_value;
use tokio::sync::OnceCell;
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

#[derive(Clone)]
struct View {
    key: (String, String),
    directory: PathBuf,
    /// Once it is here. Who asks for the same at once waits for it, and for no other.
    router: Arc<OnceCell<Router>>,
}

impl Open {
    pub(super) fn new(scratch: PathBuf) -> Open {
        Open { scratch, views: Mutex::default() }
    }

    /// The place of a capture's view, and of one that must go for it.
    fn place(&self, kept: &Kept) -> (View, Option<View>) {
        let key = (kept.node().to_string(), kept.capture().to_string());
        let mut views = self.views.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = views.iter().position(|view| view.key == key) {
            let view = views.remove(at);
            views.push(view.clone());
            return (view, None);
        }
        let oldest = (views.len() >= HERE).then(|| views.remove(0));
        let name = format!("{}-{}", partition_value(&key.0), partition_value(&key.1));
        let view = View { key, directory: self.scratch.join(name), router: Arc::default() };
        views.push(view.clone());
        (view, oldest)
    }
}

impl Fleet {
    /// The view of a capture, which is fetched where it is not here.
    async fn view(&self, kept: &Kept) -> Result<Router, ApiError> {
        let (view, oldest) = self.open.place(kept);
        if let Some(oldest) = oldest {
            // Who still reads it is told that it is gone.
            let _ = tokio::fs::remove_dir_all(&oldest.directory).await;
        }
        let router = view.router.get_or_try_init(|| self.fetched(kept, &view.directory)).await?;
        Ok(router.clone())
    }

    async fn fetched(&self, kept: &Kept, directory: &path::Path) -> Result<Router, ApiError> {
        // Of one that was broken off.
        let _ = tokio::fs::remove_dir_all(directory).await;
        let entry = kept.open(&self.root).await?;
        let dataset = havana_fleet::fetch(&self.root, kept, &entry, directory).await?;
        let app = tokio::task::spawn_blocking(move || App::new(dataset, None)).await.map_err(|_| ApiError::Busy)??;
        Ok(routes::of_dataset(Arc::new(app)))
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
    let gone = || ApiError::NotFound(format!("capture {capture} of node {node} is not there"));
    let kept = fleet.kept(hour, node, capture).await?.ok_or_else(gone)?;
    let router = fleet.view(&kept).await?;
    let (mut head, body) = request.into_parts();
    // The rest of the path is that view's own; what this router found in it is not.
    head.extensions.clear();
    let rest = format!("/{}", part("path"));
    let query = head.uri.query().map_or(String::new(), |query| format!("?{query}"));
    head.uri = format!("{rest}{query}").parse::<Uri>().map_err(|_| gone())?;
    let answered = router.oneshot(Request::from_parts(head, body)).await;
    Ok(answered.into_response())
}
