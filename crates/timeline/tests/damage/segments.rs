//! A stream cut into segments that continue each other tells the very same rows as in one.

use havana_trace::{Stream, Trace};
use proptest::prelude::*;

use crate::check::{Rows, analyze};
use crate::inputs::{Input, Rng, captures, damage, made_up, noise, slices};

fn rows(input: &Input, cuts: &[u64]) -> Rows {
    let mut trace: Trace = input.trace();
    trace.streams = trace.streams.into_iter().map(|s| s.cut_at(cuts)).collect::<Vec<Stream>>();
    analyze(&trace).0
}

fn same(input: &Input, cuts: &[u64]) -> Result<(), TestCaseError> {
    let (whole, cut) = (rows(input, &[]), rows(input, cuts));
    prop_assert_eq!(&whole.losses, &cut.losses, "cut at {:?}", cuts);
    prop_assert!(whole == cut, "cut at {:?}: {:?} became {:?}", cuts, whole, cut);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn anywhere(seed: u64, times in 0..4u32, cuts in prop::collection::vec(0..3000u64, 0..40)) {
        let mut rng = Rng::new(seed);
        let mut input = made_up(&mut rng, seed % 2 == 0);
        if seed % 8 == 1 {
            input.streams = vec![noise(&mut rng)];
        }
        for _ in 0..times {
            damage(&mut rng, &mut input.streams[0]);
        }
        same(&input, &cuts)?;
    }

    #[test]
    fn at_every_byte_of_a_few(seed: u64, from in 0..600u64, count in 1..60u64) {
        let mut rng = Rng::new(seed);
        let mut input = made_up(&mut rng, false);
        damage(&mut rng, &mut input.streams[0]);
        same(&input, &(from..from + count).collect::<Vec<_>>())?;
    }
}

#[test]
fn captures_cut_into_pieces() {
    let mut rng = Rng::new(1);
    for input in slices(&captures(), 6) {
        let cuts: Vec<u64> = (0..20).map(|_| rng.below(5000)).collect();
        same(&input, &cuts).unwrap();
    }
}

/// Long enough for many blocks, and for what was learnt in one to tell in the next.
#[test]
fn a_whole_capture_cut_into_pieces() {
    let captures = captures();
    let whole = |trace: &Trace| Input {
        facts: trace.facts,
        streams: trace.streams.iter().map(|s| s.file().to_vec()).collect(),
    };
    let mut rng = Rng::new(2);
    for trace in &captures[..3] {
        let input = whole(trace);
        let cuts: Vec<u64> = (0..3000).map(|_| rng.below(input.streams[0].len() as u64)).collect();
        assert!(rows(&input, &[]) == rows(&input, &cuts));
    }
}
