//! What is told of a dataset.

use std::fmt;

use havana_rows::FindingSpan;
pub use havana_rows::{FindingKind as Kind, Severity};

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
    /// What proves it: the longest intervals, not all; their order says nothing.
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

/// The rows of findings in this order, and of what proves them.
pub fn rows(findings: &[Finding]) -> (Vec<havana_rows::Finding>, Vec<FindingSpan>) {
    let mut spans = Vec::new();
    let mut rows = Vec::with_capacity(findings.len());
    for (finding_id, finding) in (0..).zip(findings) {
        let Who { vm_id, vcpu_id, process_id } = finding.who;
        let Finding { kind, severity, score, sure, start_tsc, end_tsc, .. } = *finding;
        let title = finding.title.clone();
        rows.push(havana_rows::Finding {
            finding_id,
            kind,
            severity,
            score,
            sure,
            title,
            vm_id,
            vcpu_id,
            process_id,
            start_tsc,
            end_tsc,
        });
        spans.extend(finding.spans.iter().map(|span| {
            let Span { cpu, vcpu_id, process_id, start_tsc, end_tsc } = *span;
            FindingSpan { finding_id, cpu, vcpu_id, process_id, start_tsc, end_tsc }
        }));
    }
    // As their table is sorted.
    spans.sort_by_key(|span| span.start_tsc);
    (rows, spans)
}

/// [`rows`] backwards; without `_ns`.
pub(crate) fn of_rows(rows: Vec<havana_rows::Finding>, spans: &[FindingSpan]) -> Vec<Finding> {
    let of = |row: havana_rows::Finding| {
        let mine = spans.iter().filter(|span| span.finding_id == row.finding_id);
        let havana_rows::Finding { vm_id, vcpu_id, process_id, .. } = row;
        Finding {
            sure: row.sure,
            who: Who { vm_id, vcpu_id, process_id },
            start_tsc: row.start_tsc,
            end_tsc: row.end_tsc,
            spans: mine
                .map(|&FindingSpan { cpu, vcpu_id, process_id, start_tsc, end_tsc, .. }| Span {
                    cpu,
                    vcpu_id,
                    process_id,
                    start_tsc,
                    end_tsc,
                })
                .collect(),
            ..Finding::new(row.kind, row.severity, row.score, row.title)
        }
    };
    rows.into_iter().map(of).collect()
}

/// One line.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.severity.name(), self.kind.name(), self.title)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_its_rows() {
        let span = |start_tsc| Span { cpu: Some(1), vcpu_id: None, process_id: Some(7), start_tsc, end_tsc: 90 };
        let mut steal = Finding::new(Kind::Steal, Severity::High, 0.5, "somebody waited".into());
        steal.who = Who { vm_id: Some(1), vcpu_id: None, process_id: Some(7) };
        (steal.start_tsc, steal.sure, steal.spans) = (Some(5), 0.5, vec![span(5), span(20)]);
        let trace = Finding::new(Kind::Trace, Severity::Low, 0.1, "something was lost".into());
        let findings = [steal, trace];
        let (rows, spans) = rows(&findings);
        assert_eq!([rows[0].finding_id, rows[1].finding_id, spans[1].finding_id], [0, 1, 0]);
        assert_eq!(of_rows(rows, &spans), findings);
    }
}
