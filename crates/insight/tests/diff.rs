//! What is different is first, and where nothing is, nothing is told: a few of the pairs that `examples/diff_judge` judges by
//! the hundred.

#[path = "../examples/diff_judge/pair.rs"]
mod pair;
#[path = "../examples/judge/play.rs"]
mod play;

#[test]
fn what_is_different_is_first_and_chance_is_not_told() {
    for case in pair::CASES {
        let judged = pair::judge(case, 7).unwrap();
        // Raw streams name nobody: a VM whose clock is not seen in both is said to be unmatched.
        let is_said = judged.culprit.is_some() && !judged.diff.unmatched_b.is_empty();
        assert!(judged.first || is_said, "{case}: {:x?}:\n{}", judged.culprit, judged.said());
        assert!(judged.diff.compared > 0, "{case}");
        let told = judged.told().count();
        assert!(judged.diff.changes.iter().take(told).all(|change| change.told), "{case}: what is told is first");
        for (at, change) in judged.diff.changes.iter().enumerate() {
            assert!(change.lo <= change.change && change.change <= change.hi, "{case}: {change:?}");
            assert!(
                change.explained_by.is_none_or(|by| by != at && judged.diff.changes[by].told),
                "{case}: {change:?}"
            );
        }
    }
}
