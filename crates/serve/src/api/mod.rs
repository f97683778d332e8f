//! What can be asked, a file an answer: parameters, what is worked out ([`view`](crate::view)), its form.

pub(crate) mod compare;
pub(crate) mod dataset;
pub(crate) mod exits;
pub(crate) mod findings;
pub(crate) mod interval;
mod params;
pub(crate) mod segments;
pub(crate) mod stolen;
pub(crate) mod sums;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use havana_store::{Dataset, MANIFEST_FILE, StoreError};
use tokio::sync::Semaphore;

use crate::error::ApiError;
use crate::view::sums::{Sums, Whole};
use crate::view::{self, Opened, Window};

pub(crate) use params::Params;

/// Answers worked out at once: more would only take each other's time …
const AT_ONCE: usize = 2;
/// … and those that wait for it.
const WAITING: usize = 256;

/// What all answers are made of.
pub(crate) struct App {
    opened: Opened,
    whole: Whole,
    /// The answer to what changed, as it is sent.
    compare: String,
    /// What the manifest was when it was opened.
    manifest: Stamp,
    at_once: Semaphore,
    waiting: Semaphore,
}

/// What tells one file from another of its name.
type Stamp = (u64, u64, SystemTime);

fn stamp(dataset: &Dataset) -> std::io::Result<Stamp> {
    let metadata = fs::metadata(dataset.dir().join(MANIFEST_FILE))?;
    Ok((metadata.ino(), metadata.len(), metadata.modified()?))
}

impl App {
    pub(crate) fn new(dataset: Dataset, compare: Option<serde_json::Value>) -> Result<App, StoreError> {
        let path = dataset.dir().join(MANIFEST_FILE);
        let manifest = stamp(&dataset).map_err(|source| StoreError::Io { action: "read", path, source })?;
        let opened = Opened::new(dataset)?;
        Ok(App {
            opened,
            whole: Whole::default(),
            compare: compare::answer(compare),
            manifest,
            at_once: Semaphore::new(AT_ONCE),
            waiting: Semaphore::new(WAITING),
        })
    }

    /// Works out what every page asks for first, before one does.
    pub(crate) fn prepare(&self) {
        // An error will be met again by who asks, and be told there.
        let _ = self.whole.get(&self.opened);
    }

    /// Sums of all tracks over a window; over all of the dataset they are worked out once.
    pub(crate) fn sums(&self, opened: &Opened, window: Window) -> Result<Arc<Sums>, StoreError> {
        let all = window.from <= opened.first_tsc && window.to >= opened.last_tsc;
        if all { self.whole.get(opened) } else { Ok(Arc::new(view::sums::of(opened, window)?)) }
    }

    /// Whether the dataset is still the one that was opened.
    fn check(&self) -> Result<(), ApiError> {
        let dataset = &self.opened.dataset;
        match stamp(dataset) {
            Ok(now) if now == self.manifest => Ok(()),
            Ok(_) => Err(ApiError::Gone(format!(
                "{}: was replaced by another dataset: start the view again",
                dataset.dir().display()
            ))),
            Err(error) => Err(ApiError::Gone(format!("{}: is not there any more: {error}", dataset.dir().display()))),
        }
    }

    /// The dataset, for what asks nothing of the disk.
    pub(crate) fn opened(&self) -> &Opened {
        &self.opened
    }

    /// Works something out, on a thread where that may take its time.
    pub(crate) async fn work<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Opened) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let _waiting = self.waiting.try_acquire().map_err(|_| ApiError::Busy)?;
        let turn = tokio::time::timeout(Duration::from_secs(30), self.at_once.acquire()).await;
        let _turn = turn.map_err(|_| ApiError::Busy)?.map_err(|_| ApiError::Busy)?;
        let app = Arc::clone(self);
        let work = move || {
            app.check()?;
            // A file that went while it was read: say that rather than which one.
            work(&app.opened).map_err(|error| app.check().err().unwrap_or(error))
        };
        tokio::task::spawn_blocking(work).await.map_err(|_| ApiError::Busy)?
    }
}

pub(crate) type Asked = State<Arc<App>>;

pub(crate) fn json(value: &serde_json::Value) -> Response {
    json_text(value.to_string())
}

fn json_text(text: String) -> Response {
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];
    (headers, text).into_response()
}

/// An address, as people write them.
fn address(value: i64) -> String {
    format!("{value:#x}")
}
