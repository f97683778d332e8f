//! A fleet: which nodes there are and what happened there, and each capture's own view.
//!
//! ```text
//! /                                      the page of the fleet     nodes    what is known of all nodes
//! /api/fleet, /api/vm?…                  what it asks              vm       where a VM was
//! /captures/HOUR/NODE/CAPTURE/…          a capture's own view      open     captures that are here, to be looked at
//! ```
//!
//! Only manifests are read, each once: what they say of their captures is all that the page shows. A capture is fetched when
//! somebody looks at it, into a directory that goes with the server.

mod nodes;
mod open;
mod vm;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{any, get};
use futures::{StreamExt, stream};
use havana_fleet::{Catalogue, Entry, FleetError, Kept, Root, hour_begins};
use tokio::sync::Mutex as Turn;

use crate::page;

/// Hours whose captures are shown: the newest, so many at least, and as many as have no more captures than these. Older ones are
/// there to be asked.
const HOURS: usize = 24;
const CAPTURES: usize = 100_000;
/// By how much a clock may be ahead that counts as right, seconds.
const AHEAD: i64 = 3600;
/// How long what is known of a root is shown before it is looked at again, and so many times as long as a look takes.
const FRESH: Duration = Duration::from_secs(5);
const LOOKS: u32 = 20;
/// Manifests that are kept: some kB each.
const ENTRIES: usize = 32_768;
/// Manifests that are read at once.
const AT_ONCE: usize = 32;

/// A root that is looked at.
pub(crate) struct Fleet {
    root: Root,
    listed: Turn<Option<(Instant, Arc<Listed>)>>,
    /// What manifests say, of captures that are asked for again and again.
    entries: Mutex<HashMap<(String, String, String), Arc<Entry>>>,
    open: open::Open,
}

/// The captures of the newest hours.
struct Listed {
    catalogue: Catalogue,
    /// The hours that there are before these.
    older: Vec<String>,
    /// How many hours these are.
    hours: usize,
    /// When that was, seconds since 1970.
    when: i64,
}

type Asked = State<Arc<Fleet>>;

impl Fleet {
    /// `scratch`: where captures are put that are looked at.
    pub(crate) fn new(root: Root, scratch: PathBuf) -> Fleet {
        Fleet { root, listed: Turn::new(None), entries: Mutex::default(), open: open::Open::new(scratch) }
    }

    /// Which captures there are of the newest hours, not long ago.
    async fn listed(&self) -> Result<Arc<Listed>, FleetError> {
        let mut listed = self.listed.lock().await;
        if let Some((until, listed)) = &*listed
            && Instant::now() < *until
        {
            return Ok(Arc::clone(listed));
        }
        let begin = Instant::now();
        let when = now();
        // Hours of clocks that are wrong take no right one's place.
        let is_past = |hour: &String| hour_begins(hour).is_some_and(|begin| begin <= when + AHEAD);
        let (mut older, others): (Vec<String>, Vec<String>) =
            Catalogue::hours(&self.root).await?.into_iter().partition(is_past);
        let mut shown = others;
        shown.extend(older.split_off(older.len().saturating_sub(HOURS)));
        let mut catalogue = Catalogue::of_hours(&self.root, &shown).await?;
        let more = hours_of(shown.len(), catalogue.captures().len());
        if !older.is_empty() && more > shown.len() {
            shown.extend(older.split_off(older.len().saturating_sub(more - shown.len())));
            catalogue = Catalogue::of_hours(&self.root, &shown).await?;
        }
        let fresh = Arc::new(Listed { catalogue, older, hours: shown.len(), when });
        *listed = Some((Instant::now() + FRESH.max(begin.elapsed() * LOOKS), Arc::clone(&fresh)));
        Ok(fresh)
    }

    /// A capture, however old, if it is there.
    async fn kept(&self, hour: &str, node: &str, capture: &str) -> Result<Option<Kept>, FleetError> {
        let find = |catalogue: &Catalogue| {
            let is_it = |kept: &&Kept| kept.hour() == hour && kept.node() == node && kept.capture() == capture;
            catalogue.readable().find(is_it).cloned()
        };
        let listed = self.listed().await?;
        if listed.older.iter().any(|older| older == hour) {
            return Ok(find(&Catalogue::of_nodes(&self.root, &[hour.into()], &[node.into()]).await?));
        }
        Ok(find(&listed.catalogue))
    }

    /// What is known of captures. One that cannot be read is left out: it may have gone since.
    async fn entries<'a>(&self, captures: Vec<&'a Kept>) -> Vec<(&'a Kept, Arc<Entry>)> {
        let read = captures.into_iter().map(|kept| async move {
            let key = (kept.hour().to_string(), kept.node().to_string(), kept.capture().to_string());
            let known = self.known().get(&key).cloned();
            if let Some(entry) = known {
                return Some((kept, entry));
            }
            let entry = Arc::new(kept.open(&self.root).await.ok()?);
            let mut known = self.known();
            if known.len() >= ENTRIES {
                // New captures come and come: those that are still asked for are soon here again.
                known.clear();
            }
            known.insert(key, Arc::clone(&entry));
            drop(known);
            Some((kept, entry))
        });
        // All futures first: a closure in the stream would be one too general for the compiler.
        let read: Vec<_> = read.collect();
        stream::iter(read).buffered(AT_ONCE).filter_map(std::future::ready).collect().await
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashMap<(String, String, String), Arc<Entry>>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How many hours have as many captures as are shown, where so many hours have these.
fn hours_of(hours: usize, captures: usize) -> usize {
    hours * CAPTURES / captures.max(1)
}

/// Seconds since 1970.
fn now() -> i64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |now| now.as_secs()) as i64
}

/// What can be asked.
pub(crate) fn router(fleet: Arc<Fleet>) -> Router {
    Router::new()
        .route("/api/fleet", get(nodes::get))
        .route("/api/vm", get(vm::get))
        .route("/api/{*path}", get(|| async { StatusCode::NOT_FOUND }))
        .route("/captures/{hour}/{node}/{capture}/", any(open::of_capture))
        .route("/captures/{hour}/{node}/{capture}/{*path}", any(open::of_capture))
        .route("/", get(page::fleet))
        .route("/{*path}", get(page::asset))
        .with_state(fleet)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_fleet_is_shown_for_longer() {
        // 100 nodes, a capture an hour: a month and more. 10,000 nodes, twelve an hour: the first hours alone.
        assert_eq!(hours_of(HOURS, 2_400), 1000);
        assert!(hours_of(HOURS, HOURS * 120_000) < HOURS);
        assert!(hours_of(HOURS, 0) > HOURS);
    }
}
