//! A recorded trace, cut into windows.
//!
//! It is gone through once, front to back: places where a decoder can begin ([`begins`](crate::begins)) and the kernel's
//! records ([`said`](crate::said)) are known of the stretch that a window needs, and forgotten behind it. What a window
//! costs does not depend on how long the trace is.

use std::iter::Peekable;
use std::time::Duration;

use havana_packet::Errata;
use havana_timeline::{Analysis, Survey, errata_of};
use havana_trace::{Record, Stream, Trace};

use crate::LiveError;
use crate::begins::Begins;
use crate::said::Heard;
use crate::window::{Window, Windows, margins, ticks};

/// A recorded trace.
pub struct Replay<'a> {
    trace: &'a Trace,
    errata: Errata,
    hz: u64,
    interval: Duration,
    begins: Vec<Begins>,
    said: Peekable<Box<dyn Iterator<Item = Record> + Send + 'a>>,
    heard: Heard,
    first: i64,
    /// What is later is another file's.
    until: Option<i64>,
    /// Where the next window begins.
    from: i64,
    /// The streams of the window before it went to their ends.
    last: bool,
    ended: bool,
}

impl<'a> Replay<'a> {
    /// Of a trace, in windows so long.
    ///
    /// # Errors
    /// That the trace has no moment, or that nothing says how long a second is.
    pub fn new(trace: &'a Trace, interval: Duration) -> Result<Self, LiveError> {
        let hz = trace.facts.tsc_hz.ok_or(LiveError::NoRate)?;
        let first = Analysis::new(trace, &Survey::of(trace), None).first_tsc().ok_or_else(|| {
            let name = trace.streams.first().map_or("the input", |stream| &stream.name);
            LiveError::NoTime { name: name.into() }
        })?;
        // What stands in the file before or after this one, too, counts there.
        let recorder = trace.recording.recorder.as_ref();
        let (begin, until) = recorder.map_or((None, None), |r| (r.continues, r.until));
        let first = begin.map_or(first, |begin| begin.max(first));
        let said: Box<dyn Iterator<Item = Record> + Send + 'a> = match &trace.sideband {
            Some(sideband) => sideband.records(),
            None => Box::new(std::iter::empty()),
        };
        Ok(Replay {
            trace,
            errata: errata_of(trace.facts.cpu),
            hz,
            interval,
            begins: trace.streams.iter().map(|_| Begins::default()).collect(),
            said: said.peekable(),
            heard: Heard::default(),
            first,
            until,
            from: first,
            last: false,
            ended: false,
        })
    }

    /// Host TSC of the first moment.
    pub fn first(&self) -> i64 {
        self.first
    }

    /// The window, from `self.from` on.
    fn window(&mut self) -> Window {
        let (lead, tail) = margins(self.interval);
        let (lead, tail) = (ticks(lead, self.hz), ticks(tail, self.hz));
        let from = self.from;
        let to = from.saturating_add(ticks(self.interval, self.hz));
        let to = self.until.map_or(to, |until| until.min(to).max(from));
        let (begin, end) = (from.saturating_sub(lead), to.saturating_add(tail));
        let mut streams: Vec<Stream> = Vec::new();
        let mut last = true;
        for (stream, begins) in self.trace.streams.iter().zip(&mut self.begins) {
            begins.scan(stream, self.errata, end);
            begins.forget(begin);
            let stop = begins.after(end);
            last &= stop.is_none();
            streams.push(stream.part(begins.before(begin)..stop.unwrap_or(u64::MAX)));
        }
        streams.retain(|stream| !stream.is_empty());
        while let Some(record) = self.said.next_if(|_| self.heard.newest().is_none_or(|newest| newest <= end)) {
            self.heard.hear(record);
        }
        self.heard.forget(begin);
        let whole = self.trace;
        let trace = Trace {
            node: whole.node.clone(),
            streams,
            facts: whole.facts,
            recording: whole.recording.clone(),
            sideband: whole.sideband.as_ref().map(|sideband| sideband.only(self.heard.until(end))),
            sources: Vec::new(),
        };
        Window { trace, from, to, last, says: Vec::new() }
    }
}

impl Windows for Replay<'_> {
    fn next(&mut self, stop: &dyn Fn() -> bool) -> Result<Option<Window>, LiveError> {
        if self.ended || stop() {
            return Ok(None);
        }
        let window = self.window();
        self.ended = self.until.is_some_and(|until| until <= window.to);
        (self.from, self.last) = (window.to, window.last);
        Ok(Some(window))
    }

    fn told(&mut self, last: Option<i64>) {
        self.ended |= self.last && last.is_none_or(|last| last < self.from);
    }

    fn set_interval(&mut self, interval: Duration) {
        self.interval = interval;
    }
}

#[cfg(test)]
mod tests;
