//! `--metrics`: what a command counts, for Prometheus to read while it runs.

use std::io::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use havana_metrics::{Exporter, Target};

/// What is told, and who tells it: until it goes.
pub(super) struct Metrics<T> {
    told: Arc<Mutex<T>>,
    _exporter: Exporter,
}

fn lock<T>(told: &Mutex<T>) -> MutexGuard<'_, T> {
    told.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<T: Clone + Send + 'static> Metrics<T> {
    /// Begins, where the user wants it, and says where unless `quiet`. `text`: what is told, as Prometheus reads it.
    pub(super) fn start(
        target: Option<&Target>,
        quiet: bool,
        told: T,
        text: fn(&T) -> String,
    ) -> anyhow::Result<Option<Self>> {
        let Some(target) = target else { return Ok(None) };
        let told = Arc::new(Mutex::new(told));
        let now = Arc::clone(&told);
        // A copy is made into text: nobody who counts waits for that.
        let copy = move || T::clone(&lock(&now));
        let exporter = Exporter::start(target, move || text(&copy()))?;
        if !quiet {
            // Standard error may be closed.
            let _ = writeln!(std::io::stderr(), "havana: metrics at {}", exporter.at());
        }
        Ok(Some(Metrics { told, _exporter: exporter }))
    }

    /// It has changed.
    pub(super) fn tell(&self, change: impl FnOnce(&mut T)) {
        change(&mut lock(&self.told));
    }
}
