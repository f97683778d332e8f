//! A large table and its summaries, written by a thread of its own: encoding costs more than all that comes before it.
//!
//! Rows are handed over by the thousand. The channel is short, so a writer that is slower than the analysis holds it
//! back instead of filling memory. Rows keep their order, so the files are the same as without a thread.

use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use havana_rows::parquet::{Error, OrderedTable, TableSummary};

use crate::StoreError;
use crate::lod::pyramid::{Key, Pyramid};
use crate::lod::{Output, Part, Summed};

/// Rows handed over at once.
const BATCH: usize = 4096;
/// Batches under way at most: a table that sorts a run or closes a file must not hold the analysis back.
const UNDER_WAY: usize = 16;

/// What a table's thread wrote.
pub(crate) struct Written<R: Summed> {
    pub(crate) table: TableSummary,
    pub(crate) lod: Vec<Part<<R::Key as Key>::Row>>,
}

/// A table and its summaries.
pub(crate) struct Target<R: Summed> {
    pub(crate) table: OrderedTable<R>,
    /// Of each of [`Summed::PYRAMIDS`].
    pub(crate) lod: Vec<Output<<R::Key as Key>::Row>>,
}

/// The near end of a table's thread.
pub(crate) struct Worker<R: Summed> {
    batch: Vec<R>,
    // None after an error: there is nobody to take rows any more.
    rows: Option<SyncSender<Vec<R>>>,
    spent: std::sync::mpsc::Receiver<Vec<R>>,
    thread: Option<JoinHandle<Result<Written<R>, Error>>>,
}

impl<R: Summed> Worker<R> {
    /// Starts the thread, which makes the table.
    pub(crate) fn new(target: impl FnOnce() -> Target<R> + Send + 'static) -> Self {
        let (rows, taken) = sync_channel::<Vec<R>>(UNDER_WAY);
        let (give_back, spent) = sync_channel(UNDER_WAY + 2);
        let thread = thread::spawn(move || {
            let Target { mut table, lod } = target();
            let mut pyramids: Vec<_> = lod.into_iter().map(Pyramid::new).collect();
            for mut batch in taken {
                for row in batch.drain(..) {
                    row.add(&mut pyramids)?;
                    table.push(row)?;
                }
                // Where nobody wants it back it is freed.
                let _ = give_back.try_send(batch);
            }
            let mut lod = Vec::new();
            for pyramid in pyramids {
                let (finest, out) = pyramid.finish()?;
                lod.push(out.finish(finest)?);
            }
            Ok(Written { table: table.finish()?, lod })
        });
        Worker { batch: Vec::with_capacity(BATCH), rows: Some(rows), spent, thread: Some(thread) }
    }

    /// Takes a row.
    #[inline]
    pub(crate) fn push(&mut self, row: R) -> Result<(), StoreError> {
        self.batch.push(row);
        if self.batch.len() == BATCH { self.hand_over() } else { Ok(()) }
    }

    fn hand_over(&mut self) -> Result<(), StoreError> {
        let empty = self.spent.try_recv().unwrap_or_else(|_| Vec::with_capacity(BATCH));
        let batch = std::mem::replace(&mut self.batch, empty);
        let taken = self.rows.as_ref().is_some_and(|rows| rows.send(batch).is_ok());
        // The thread ends early only by an error.
        if taken { Ok(()) } else { self.join().map(|_| ()) }
    }

    /// Ends the table.
    pub(crate) fn finish(mut self) -> Result<Written<R>, StoreError> {
        if !self.batch.is_empty() {
            self.hand_over()?;
        }
        self.join()
    }

    fn join(&mut self) -> Result<Written<R>, StoreError> {
        self.rows = None;
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(summary)) => Ok(summary?),
            Some(Err(panic)) => std::panic::resume_unwind(panic),
            None => Err(StoreError::Broken),
        }
    }
}

impl<R: Summed> Drop for Worker<R> {
    /// Waits for the thread, so that its files are closed before their directory goes.
    fn drop(&mut self) {
        self.rows = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
