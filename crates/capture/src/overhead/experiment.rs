//! Which run when, and what of them is kept.
//!
//! In a round each way has one run, in an order that is drawn anew each round: what one run leaves to the next (a warm
//! cache, a hot processor) then favours no way. Rounds that warm up do not count.

use super::runner::{Lost, Run};
use super::stats::{Slowdown, median, slowdown};
use super::ways::Way;
use crate::CaptureError;

/// What is run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// What is compared, [`Way::Nothing`] among them.
    pub ways: Vec<Way>,
    /// Rounds that count.
    pub rounds: u32,
    /// Rounds before them.
    pub warm_up: u32,
    /// The orders follow from it.
    pub seed: u64,
    /// Commands may fail.
    pub ignore_status: bool,
}

/// The runs of one way, one a round.
#[derive(Debug, Clone, PartialEq)]
pub struct Measured {
    /// Which.
    pub way: Way,
    /// In the order of the rounds.
    pub runs: Vec<Run>,
}

/// What came out: all ways of the plan, in its order.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// Their runs.
    pub ways: Vec<Measured>,
}

impl Plan {
    /// How many runs there are, those that do not count among them.
    pub fn runs(&self) -> u64 {
        self.ways.len() as u64 * (u64::from(self.warm_up) + u64::from(self.rounds))
    }
}

/// Does it. `run` is one run in one way; `told` hears of each that is done.
///
/// # Errors
/// Of the first run that cannot be done, or whose command failed.
pub fn experiment(
    plan: &Plan,
    run: &mut dyn FnMut(Way) -> Result<Run, CaptureError>,
    told: &mut dyn FnMut(),
) -> Result<Outcome, CaptureError> {
    let mut rng = fastrand::Rng::with_seed(plan.seed);
    let mut ways: Vec<Measured> = plan.ways.iter().map(|way| Measured { way: *way, runs: Vec::new() }).collect();
    let mut order: Vec<usize> = (0..ways.len()).collect();
    for round in 0..plan.warm_up.saturating_add(plan.rounds) {
        rng.shuffle(&mut order);
        for &at in &order {
            let Measured { way, runs } = &mut ways[at];
            let done = run(*way)?;
            if !done.status.success() && !plan.ignore_status {
                return Err(CaptureError::Failed { status: done.status, way: way.to_string() });
            }
            if round >= plan.warm_up {
                runs.push(done);
            }
            told();
        }
    }
    Ok(Outcome { ways })
}

impl Outcome {
    /// How much longer the command took than with nothing recorded.
    pub fn slowdown(&self, of: &Measured) -> Option<Slowdown> {
        self.against_nothing(of, |run| run.wall_seconds)
    }

    /// How much more CPU time it used.
    pub fn cpu_slowdown(&self, of: &Measured) -> Option<Slowdown> {
        self.against_nothing(of, |run| run.cpu_seconds)
    }

    /// `None` of nothing itself, and of what took no time that could be measured.
    fn against_nothing(&self, of: &Measured, seconds: fn(&Run) -> f64) -> Option<Slowdown> {
        let nothing = self.ways.iter().find(|measured| measured.way == Way::Nothing && measured.way != of.way)?;
        let ratios = of.runs.iter().zip(&nothing.runs).map(|(run, without)| seconds(run) / seconds(without));
        slowdown(&ratios.collect::<Vec<_>>())
    }
}

impl Measured {
    /// Median of the command's time.
    pub fn wall_seconds(&self) -> Option<f64> {
        median(self.runs.iter().map(|run| run.wall_seconds))
    }

    /// Median of its CPU time.
    pub fn cpu_seconds(&self) -> Option<f64> {
        median(self.runs.iter().map(|run| run.cpu_seconds))
    }

    /// Recorded in a second of the command.
    pub fn bytes_a_second(&self) -> f64 {
        self.sum(|run| run.bytes as f64) / self.sum(|run| run.wall_seconds)
    }

    /// The reader's CPU time in a second of the command.
    pub fn reader_share(&self) -> f64 {
        self.sum(|run| run.reader_seconds) / self.sum(|run| run.wall_seconds)
    }

    /// In all of its runs.
    pub fn lost(&self) -> Lost {
        self.runs.iter().fold(Lost::default(), |sum, run| sum + run.lost)
    }

    /// In how many of them the command failed.
    pub fn failed(&self) -> usize {
        self.runs.iter().filter(|run| !run.status.success()).count()
    }

    fn sum(&self, of: fn(&Run) -> f64) -> f64 {
        self.runs.iter().map(of).sum()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;

    use super::*;
    use crate::Precision;

    const ENVELOPE: Way = Way::Envelope(Precision::Normal);
    const WAYS: [Way; 3] = [Way::Nothing, ENVELOPE, Way::Tracepoints];

    fn plan(rounds: u32) -> Plan {
        Plan { ways: WAYS.to_vec(), rounds, warm_up: 1, seed: 7, ignore_status: false }
    }

    fn took(wall_seconds: f64) -> Run {
        Run {
            wall_seconds,
            cpu_seconds: 0.0,
            bytes: 0,
            reader_seconds: 0.0,
            lost: Lost::default(),
            status: ExitStatus::default(),
        }
    }

    #[test]
    fn each_way_once_a_round_in_an_order_of_its_own() {
        let orders = |seed| {
            let (mut seen, mut told) = (Vec::new(), 0);
            let mut run = |way| {
                seen.push(way);
                Ok(took(1.0))
            };
            let outcome = experiment(&Plan { seed, ..plan(20) }, &mut run, &mut || told += 1).unwrap();
            assert_eq!(told, plan(20).runs());
            assert!(outcome.ways.iter().map(|m| m.way).eq(WAYS));
            assert!(outcome.ways.iter().all(|m| m.runs.len() == 20), "what warms up does not count");
            seen
        };
        let seen = orders(7);
        let mut firsts = Vec::new();
        for round in seen.chunks(WAYS.len()) {
            assert!(WAYS.iter().all(|way| round.contains(way)), "{round:?}");
            firsts.push(round[0]);
        }
        assert!(WAYS.iter().all(|way| firsts.contains(way)), "each is first at times: {firsts:?}");
        assert_eq!(seen, orders(7));
        assert_ne!(seen, orders(8));
    }

    #[test]
    fn a_slowdown_is_of_one_round_s_runs() {
        // The machine gets slower all the while: far more than the ways differ.
        let mut runs = 0;
        let mut run = |way| {
            let round = f64::from(runs / 3);
            runs += 1;
            let factor = if way == ENVELOPE { 1.01 + 0.0001 * round } else { 1.0 };
            let bytes = if way == ENVELOPE { 2_000_000 } else { 0 };
            let lost = Lost { records: u64::from(way == ENVELOPE), ..Lost::default() };
            Ok(Run { bytes, lost, reader_seconds: 0.01, ..took((1.0 + round) * factor) })
        };
        let outcome = experiment(&plan(9), &mut run, &mut || {}).unwrap();
        let [nothing, envelope, tracepoints] = &outcome.ways[..] else { panic!() };
        assert_eq!(outcome.slowdown(nothing), None);
        let found = outcome.slowdown(envelope).unwrap();
        let interval = found.interval.unwrap();
        assert!((found.estimate - 0.0105).abs() < 1e-4 && interval.least > 0.01 && interval.most < 0.011, "{found:?}");
        assert_eq!(outcome.slowdown(tracepoints).unwrap().estimate, 0.0);
        assert_eq!(outcome.cpu_slowdown(envelope), None, "no time is no ratio");
        assert_eq!(nothing.wall_seconds(), Some(6.0));
        assert!((envelope.bytes_a_second() / (9.0 * 2e6 / 54.0) - 1.0).abs() < 0.02);
        assert!((tracepoints.reader_share() - 0.09 / 54.0).abs() < 1e-9);
        assert_eq!(envelope.lost(), Lost { records: 9, ..Lost::default() });
    }

    #[test]
    fn a_command_that_fails_ends_it() {
        let mut run = |way| {
            let status = ExitStatus::from_raw(if way == ENVELOPE { 1 << 8 } else { 0 });
            Ok(Run { status, ..took(1.0) })
        };
        let said = experiment(&plan(2), &mut run, &mut || {}).unwrap_err().to_string();
        assert!(said.starts_with("the command failed (exit status: 1) with envelope recorded"), "{said}");
        let outcome = experiment(&Plan { ignore_status: true, ..plan(2) }, &mut run, &mut || {}).unwrap();
        assert_eq!(outcome.ways.iter().map(Measured::failed).collect::<Vec<_>>(), [0, 2, 0]);
    }
}
