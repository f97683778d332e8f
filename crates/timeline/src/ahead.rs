//! A stream that a thread of its own reads ahead, where there is more than one core.
//!
//! ```text
//!   Feed ──batches of what it gives──► Track
//!    ▲                                   │
//!    └────── the same vectors, empty ◄───┘
//! ```
//!
//! Few batches are under way, so that nobody runs far ahead; what is given, and in which order, is as without a thread.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::Scope;

use crate::feed::{Fed, Feed};

/// Items handed over at once, and batches under way at the most.
const BATCH: usize = 1024;
const UNDER_WAY: usize = 3;

/// Gives the items of a stream.
#[derive(Debug)]
pub(crate) enum Ahead<'a> {
    /// Reads when it is asked to.
    Here(Box<Feed<'a>>),
    /// A thread has read it.
    There { batches: Receiver<Batch>, spent: SyncSender<Vec<Fed>> },
    /// It was read to its end.
    Ended,
}

/// Items, and whether more come.
pub(crate) struct Batch {
    items: Vec<Fed>,
    more: bool,
}

impl<'a> Ahead<'a> {
    /// Hands on some items. False at the end.
    #[inline]
    pub(crate) fn pump(&mut self, f: &mut impl FnMut(Fed)) -> bool {
        match self {
            Ahead::Here(feed) => feed.pump(BATCH, f),
            Ahead::Ended => false,
            Ahead::There { batches, spent } => {
                let Ok(Batch { mut items, more }) = batches.recv() else { return false };
                items.drain(..).for_each(f);
                // Where nobody wants it back it is freed.
                let _ = spent.try_send(items);
                more
            }
        }
    }

    /// From now on a thread reads.
    pub(crate) fn start<'scope>(&mut self, scope: &'scope Scope<'scope, '_>)
    where
        'a: 'scope,
    {
        let Ahead::Here(mut feed) = std::mem::replace(self, Ahead::Ended) else { return };
        let (give, batches) = sync_channel(UNDER_WAY);
        let (spent, empty) = sync_channel::<Vec<Fed>>(UNDER_WAY + 2);
        *self = Ahead::There { batches, spent };
        scope.spawn(move || {
            let mut more = true;
            while more {
                let mut items = empty.try_recv().unwrap_or_else(|_| Vec::with_capacity(BATCH));
                more = feed.pump(BATCH, &mut |fed| items.push(fed));
                if give.send(Batch { items, more }).is_err() {
                    // Nobody listens any more.
                    return;
                }
            }
        });
    }
}
