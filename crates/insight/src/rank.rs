//! One list, the culprit first.
//!
//! By severity; then by what the culprit costs: of a guest process the cpu time that it had, and the time that others waited
//! for it, so that who only is busy comes after who has as much and is in the way; of others the score. Then, about one
//! process, what explains most comes first ([`Kind::ALL`]): an exit storm is why a process takes a cpu, and that is why another
//! waits. What is wrong with the trace stands before all of its severity, since the rest is read in its light.

use std::cmp::Reverse;
use std::collections::HashMap;

use crate::finding::{Finding, Kind, Severity};
use crate::trouble::DOUBT;

pub(crate) fn rank(findings: &mut [Finding]) {
    // What is lost may be as bad as the worst that is seen.
    let worst = findings.iter().map(|f| f.severity).max().unwrap_or(Severity::Low);
    for finding in findings.iter_mut() {
        if finding.kind == Kind::Trace && finding.who.vm_id.is_none() && finding.score >= DOUBT {
            finding.severity = finding.severity.max(worst);
        }
    }
    let about = |f: &Finding| (f.severity, f.who.vm_id, f.who.process_id);
    let mut groups: HashMap<_, f64> = HashMap::new();
    for finding in findings.iter().filter(|f| f.kind != Kind::Trace) {
        let of = groups.entry(about(finding)).or_default();
        *of = of.max(finding.cost);
    }
    let whole =
        |f: &Finding| if f.kind == Kind::Trace { f64::INFINITY } else { groups.get(&about(f)).copied().unwrap_or(0.0) };
    findings.sort_by(|a, b| {
        let who = |f: &Finding| (f.who.vm_id, f.who.process_id, f.start_tsc);
        Reverse(a.severity)
            .cmp(&Reverse(b.severity))
            .then(whole(b).total_cmp(&whole(a)))
            .then(a.kind.cmp(&b.kind))
            .then(b.score.total_cmp(&a.score))
            .then(who(a).cmp(&who(b)))
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Who;

    #[test]
    fn what_explains_comes_before_what_it_explains() {
        let finding = |kind, severity, score, process| {
            let mut finding = Finding::new(kind, severity, score, String::new());
            finding.who = Who { vm_id: Some(0), vcpu_id: None, process_id: Some(process) };
            finding
        };
        let mut lost = Finding::new(Kind::Trace, Severity::Medium, 0.05, String::new());
        lost.who = Who::default();
        let mut found = vec![
            finding(Kind::Consumption, Severity::High, 0.8, 2),
            finding(Kind::Steal, Severity::High, 0.9, 1),
            finding(Kind::Exits, Severity::High, 0.3, 1),
            finding(Kind::Steal, Severity::Low, 1.0, 3),
            lost,
        ];
        let orders = |found: &[Finding]| found.iter().map(|f| (f.kind, f.who.process_id)).collect::<Vec<_>>();
        let right = [
            (Kind::Trace, None),
            (Kind::Exits, Some(1)),
            (Kind::Steal, Some(1)),
            (Kind::Consumption, Some(2)),
            (Kind::Steal, Some(3)),
        ];
        for _ in 0..found.len() {
            found.rotate_left(1);
            let mut ranked = found.clone();
            rank(&mut ranked);
            assert_eq!(orders(&ranked), right);
        }
    }
}
