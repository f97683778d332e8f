//! What is told of a dataset.

use std::fmt;

/// What kind of thing was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// The trace itself: losses, clocks that were set, VMs that came or went.
    Trace,
    /// Exits out of proportion.
    Exits,
    /// A vCPU that is stopped again and again.
    Waiting,
    /// A process that comes again and again.
    Period,
    /// A process that has most of a cpu, perhaps from some time on.
    Consumption,
    /// Who had the cpu that a vCPU wanted.
    Steal,
}

impl Kind {
    /// All, the one first that explains most: of findings about one process, an earlier kind is the reason of a later.
    pub const ALL: [Kind; 6] = [Kind::Trace, Kind::Exits, Kind::Waiting, Kind::Period, Kind::Consumption, Kind::Steal];

    /// Its name in the dataset.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Trace => "trace",
            Kind::Exits => "exits",
            Kind::Waiting => "waiting",
            Kind::Period => "period",
            Kind::Consumption => "consumption",
            Kind::Steal => "steal",
        }
    }
}

/// How much it matters. What makes which is said at each kind's module, always as a part of something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Severity {
    /// Good to know.
    Low,
    /// Worth a look.
    Medium,
    /// Somebody suffers, or what is told cannot be relied on.
    High,
}

impl Severity {
    /// Its name in the dataset.
    pub const fn name(self) -> &'static str {
        match self {
            Severity::Low => "low",
            Severity::Medium => "medium",
            Severity::High => "high",
        }
    }
}

/// Whom it is about, as far as is known: ids of the dataset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[allow(missing_docs)]
pub struct Who {
    pub vm_id: Option<i32>,
    pub vcpu_id: Option<i32>,
    pub process_id: Option<i32>,
}

/// An interval that proves a finding: a cpu's, or a vCPU's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Span {
    pub cpu: Option<i32>,
    pub vcpu_id: Option<i32>,
    pub process_id: Option<i32>,
    pub start_tsc: i64,
    pub end_tsc: i64,
}

/// Something unexpected.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// What it is.
    pub kind: Kind,
    /// How much it matters.
    pub severity: Severity,
    /// How much it is, 0 to 1 (of what, each kind's module says).
    pub score: f64,
    /// How surely it is so, 0 to 1.
    pub sure: f64,
    /// What orders findings of one severity: of a guest process the part of a cpu that it had, and that others waited for it
    /// ([`crate::steal::Steal::cost`]); else the score.
    pub(crate) cost: f64,
    /// In plain words.
    pub title: String,
    /// The culprit.
    pub who: Who,
    /// From when on; none: all along.
    pub start_tsc: Option<i64>,
    /// Until when; none: to the end, or it is a moment. Of a moment that is known within bounds, the later one.
    pub end_tsc: Option<i64>,
    /// [`start_tsc`](Self::start_tsc) by the dataset's clock.
    pub start_ns: Option<i64>,
    /// [`end_tsc`](Self::end_tsc) by the dataset's clock.
    pub end_ns: Option<i64>,
    /// What proves it: the longest intervals, not all.
    pub spans: Vec<Span>,
}

impl Finding {
    /// One that is sure, of no time and nobody.
    pub(crate) fn new(kind: Kind, severity: Severity, score: f64, title: String) -> Finding {
        Finding {
            kind,
            severity,
            score: score.clamp(0.0, 1.0),
            sure: 1.0,
            cost: score.clamp(0.0, 1.0),
            title,
            who: Who::default(),
            start_tsc: None,
            end_tsc: None,
            start_ns: None,
            end_ns: None,
            spans: Vec::new(),
        }
    }
}

/// One line.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.severity.name(), self.kind.name(), self.title)
    }
}
