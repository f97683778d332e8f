//! The culprit is the first finding, and a quiet node has nothing of severity high: one variation of each scenario that
//! `examples/judge` judges by the hundred.

#[path = "../examples/judge/case.rs"]
mod case;
#[path = "../examples/judge/play.rs"]
mod play;
#[path = "../examples/judge/vary.rs"]
mod vary;

use havana_insight::Severity;

#[test]
fn the_culprit_is_first() {
    // A guest's clock is seen in PSB+ only, and these are too rare where they come each 16 KiB.
    for name in vary::SCENARIOS.iter().filter(|name| !name.contains(',')) {
        let case::Case { varied, findings, is } = case::case(name, 7).unwrap();
        let said: String = findings.iter().map(|finding| format!("{finding}\n")).collect();
        if *name == "quiet" {
            assert!(findings.iter().all(|finding| finding.severity < Severity::High), "{name}:\n{said}");
            continue;
        }
        let first = is.first().is_some_and(|tells| tells.iter().any(|truth| varied.truths[*truth].first));
        assert!(first, "{name}:\n{said}");
        for (at, truth) in varied.truths.iter().enumerate().filter(|(_, truth)| truth.expected && truth.first) {
            assert!(is.iter().any(|tells| tells.contains(&at)), "{name}: {:?} is not told:\n{said}", truth.kind);
        }
        assert!(
            findings.iter().all(|finding| !finding.title.is_empty() && !finding.spans.is_empty()),
            "{name}:\n{said}"
        );
    }
}
