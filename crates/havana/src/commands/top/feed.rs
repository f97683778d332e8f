//! Who makes frames while somebody looks at them: two threads, one frame ahead at most.

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, sync_channel};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use havana_capture::Signals;
use havana_live::{Frame, LiveError, Looker, Pace, Window, Windows};

/// Signals are looked for so often, and rings emptied while a window is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// What who looks wants.
#[derive(Debug, Default)]
struct Wants {
    stop: bool,
    paused: bool,
    interval: Option<Duration>,
}

#[derive(Debug, Default)]
struct Control {
    wants: Mutex<Wants>,
    changed: Condvar,
}

impl Control {
    fn wants(&self) -> MutexGuard<'_, Wants> {
        self.wants.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn want(&self, change: impl FnOnce(&mut Wants)) {
        change(&mut self.wants());
        self.changed.notify_all();
    }

    fn stopped(&self) -> bool {
        self.wants().stop
    }

    /// Waits until a moment of the trace is due. False where it is not wanted any more.
    fn wait(&self, pace: &mut Pace, tsc: i64) -> bool {
        let mut wants = self.wants();
        loop {
            if wants.stop {
                return false;
            }
            let now = Instant::now();
            let left = pace.left(tsc, now);
            if !wants.paused && left.is_zero() {
                return true;
            }
            let most = if wants.paused { Duration::from_secs(3600) } else { left };
            let held = wants.paused;
            wants = self.changed.wait_timeout(wants, most).unwrap_or_else(PoisonError::into_inner).0;
            if held {
                pace.pause(now.elapsed());
            }
        }
    }
}

/// Frames as they come.
pub(super) struct Feed<'a> {
    frames: Receiver<Result<Frame, LiveError>>,
    control: &'a Control,
    /// Hears each of them, also of those that nobody looks at.
    hear: &'a dyn Fn(&Frame),
}

/// Makes frames in a thread of their own while `show` looks at them. `pace`: of a recorded trace.
pub(super) fn with<R>(
    windows: impl Windows + Send,
    looker: Looker<'_>,
    pace: Option<Pace>,
    hear: &dyn Fn(&Frame),
    show: impl FnOnce(&Feed<'_>) -> R,
) -> R {
    let control = Control::default();
    std::thread::scope(|scope| {
        let (send, frames) = sync_channel(1);
        let control = &control;
        scope.spawn(move || make(windows, looker, pace, control, &send));
        let feed = Feed { frames, control, hear };
        // Also where it panics: the scope waits for its thread.
        let stop = Stop(control);
        let shown = show(&feed);
        drop((stop, feed));
        shown
    })
}

/// Stops the thread when it goes.
struct Stop<'a>(&'a Control);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.want(|wants| wants.stop = true);
    }
}

/// Makes frames until nobody wants more. One thread asks for windows, another looks at them, so that rings are emptied
/// meanwhile.
fn make(
    mut windows: impl Windows,
    mut looker: Looker<'_>,
    mut pace: Option<Pace>,
    control: &Control,
    send: &SyncSender<Result<Frame, LiveError>>,
) {
    std::thread::scope(|scope| {
        let (give, given) = sync_channel::<Window>(1);
        let (tell, told) = sync_channel(1);
        scope.spawn(move || {
            for window in given {
                if tell.send(looker.look(&window)).is_err() {
                    return;
                }
            }
        });
        loop {
            if let Some(interval) = control.wants().interval.take() {
                windows.set_interval(interval);
            }
            let (frame, last) = match one(&mut windows, control, &give, &told) {
                Ok(Some(frame)) => frame,
                Ok(None) => return,
                Err(error) => {
                    // Who does not listen any more need not know.
                    let _ = send.send(Err(error));
                    return;
                }
            };
            windows.told(last);
            if pace.as_mut().is_some_and(|pace| !control.wait(pace, frame.end_tsc)) || send.send(Ok(frame)).is_err() {
                return;
            }
        }
    });
}

/// A frame, and the last moment of its trace.
type Looked = (Frame, Option<i64>);

/// The next window, looked at.
fn one(
    windows: &mut impl Windows,
    control: &Control,
    give: &SyncSender<Window>,
    told: &Receiver<Looked>,
) -> Result<Option<Looked>, LiveError> {
    let Some(window) = windows.next(&|| control.stopped())? else { return Ok(None) };
    if give.send(window).is_err() {
        return Ok(None);
    }
    loop {
        match told.recv_timeout(LOOK) {
            Ok(looked) => return Ok(Some(looked)),
            Err(RecvTimeoutError::Timeout) => windows.meanwhile()?,
            Err(RecvTimeoutError::Disconnected) => return Ok(None),
        }
    }
}

impl Feed<'_> {
    /// The next frame; `None` where there are no more, or a signal wants an end.
    pub(super) fn next(&self, signals: &mut Signals) -> anyhow::Result<Option<Frame>> {
        loop {
            match self.frames.recv_timeout(LOOK) {
                Ok(frame) => return Ok(Some(self.heard(frame?))),
                Err(RecvTimeoutError::Disconnected) => return Ok(None),
                Err(RecvTimeoutError::Timeout) => {}
            }
            if signals.end() {
                return Ok(None);
            }
        }
    }

    /// A frame, where there is one already.
    pub(super) fn poll(&self) -> anyhow::Result<Polled> {
        Ok(match self.frames.try_recv() {
            Ok(frame) => Polled::Frame(Box::new(self.heard(frame?))),
            Err(TryRecvError::Empty) => Polled::NotYet,
            Err(TryRecvError::Disconnected) => Polled::NoMore,
        })
    }

    fn heard(&self, frame: Frame) -> Frame {
        (self.hear)(&frame);
        frame
    }

    /// A recorded trace stands still, or goes on.
    pub(super) fn pause(&self, paused: bool) {
        self.control.want(|wants| wants.paused = paused);
    }

    /// Frames are of so much time from now on.
    pub(super) fn set_interval(&self, interval: Duration) {
        self.control.want(|wants| wants.interval = Some(interval));
    }
}

/// What there is already.
#[derive(Debug)]
pub(super) enum Polled {
    Frame(Box<Frame>),
    NotYet,
    NoMore,
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use havana_live::Replay;
    use havana_trace::{OpenOptions, open};

    use super::*;

    fn with_capture<R>(interval: Duration, speed: f64, show: impl FnOnce(&Feed<'_>) -> R) -> R {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/captures/hog-vma");
        let trace = open(&[path], &OpenOptions::default()).unwrap();
        let replay = Replay::new(&trace, interval).unwrap();
        let pace = Pace::new(speed, trace.facts.tsc_hz.unwrap(), replay.first(), Instant::now());
        with(replay, Looker::new(|_, _| {}), Some(pace), &|_| {}, show)
    }

    fn frame(feed: &Feed<'_>) -> Option<Frame> {
        feed.frames.recv().ok().map(Result::unwrap)
    }

    #[test]
    fn frames_come_to_an_end_and_are_as_long_as_is_wanted() {
        let lengths = with_capture(Duration::from_millis(100), 0.0, |feed| {
            let mut lengths = vec![frame(feed).unwrap().ticks()];
            feed.set_interval(Duration::from_millis(500));
            lengths.extend(std::iter::from_fn(|| frame(feed)).map(|frame| frame.ticks()));
            assert!(matches!(feed.poll().unwrap(), Polled::NoMore));
            lengths
        });
        assert_eq!(lengths[0], 210_000_000);
        // A few were made ahead; the last one is what is left.
        let long = lengths.iter().filter(|ticks| **ticks == 1_050_000_000).count();
        assert!(long >= 5 && lengths.len() <= long + 6, "{lengths:?}");
    }

    #[test]
    fn who_has_seen_enough_waits_for_nobody() {
        // An hour from frame to frame; and one that stands still.
        for paused in [false, true] {
            with_capture(Duration::from_secs(1), 1.0 / 3600.0, |feed| {
                feed.pause(paused);
                assert!(matches!(feed.poll().unwrap(), Polled::NotYet));
            });
        }
    }
}
