//! Times ways to do one thing in turns, and prints how they compare.
//!
//! Machines are noisy, and noise lasts. So all contestants run once a round, one behind the other, and a ratio is the median
//! over the rounds of the ratio *within* a round. A speed is the median of its own.
#![forbid(unsafe_code)]

use std::fmt::Write;
use std::time::{Duration, Instant};

/// What is raced over some bytes.
pub struct Race<'a> {
    bytes: usize,
    contestants: Vec<Contestant<'a>>,
}

struct Contestant<'a> {
    name: &'static str,
    /// Does it once; gives how many packets it met, 0 where it counts none.
    run: Box<dyn FnMut() -> u64 + 'a>,
    packets: u64,
    times: Vec<Duration>,
}

impl<'a> Race<'a> {
    /// A race over so many bytes.
    pub fn new(bytes: usize) -> Race<'a> {
        Race { bytes, contestants: vec![] }
    }

    /// Adds a contestant: what it does once, which gives the number of packets it met (0 where it counts none).
    #[must_use]
    pub fn with(mut self, name: &'static str, run: impl FnMut() -> u64 + 'a) -> Race<'a> {
        self.contestants.push(Contestant { name, run: Box::new(run), packets: 0, times: vec![] });
        self
    }

    /// Runs so many rounds, after one that does not count.
    #[must_use]
    pub fn run(mut self, rounds: usize) -> Race<'a> {
        for round in 0..=rounds {
            for contestant in &mut self.contestants {
                let begin = Instant::now();
                contestant.packets = (contestant.run)();
                if round > 0 {
                    contestant.times.push(begin.elapsed());
                }
            }
        }
        self
    }

    /// Median seconds of that contestant.
    pub fn seconds(&self, name: &str) -> Option<f64> {
        self.of(name).map(|c| median(c.times.iter().map(Duration::as_secs_f64).collect()))
    }

    /// How many times as fast the one is as the other.
    pub fn ratio(&self, name: &str, other: &str) -> Option<f64> {
        let (one, other) = (self.of(name)?, self.of(other)?);
        let ratios = one.times.iter().zip(&other.times).map(|(one, other)| other.as_secs_f64() / one.as_secs_f64());
        Some(median(ratios.collect()))
    }

    fn of(&self, name: &str) -> Option<&Contestant<'a>> {
        self.contestants.iter().find(|c| c.name == name)
    }

    /// A line a contestant: speed, packets, and how many times as fast it is as each of `others`.
    pub fn table(&self, others: &[&str]) -> String {
        let mut text = format!("{:<26}{:>7}{:>12}", "", "GB/s", "Mpackets/s");
        let present: Vec<&str> = others.iter().copied().filter(|other| self.of(other).is_some()).collect();
        for other in &present {
            let _ = write!(text, "  {:>12}", format!("× {other}"));
        }
        text.push('\n');
        for Contestant { name, packets, .. } in &self.contestants {
            let Some(seconds) = self.seconds(name) else { continue };
            let _ = write!(text, "{name:<26}{:>7.2}", self.bytes as f64 / seconds / 1e9);
            match packets {
                0 => text.push_str("            "),
                _ => drop(write!(text, "{:>12.1}", *packets as f64 / seconds / 1e6)),
            }
            for other in &present {
                let _ = write!(
                    text,
                    "  {:>width$.2}",
                    self.ratio(name, other).unwrap_or(f64::NAN),
                    width = 12.max(other.len() + 2)
                );
            }
            text.push('\n');
        }
        text
    }
}

fn median(mut of: Vec<f64>) -> f64 {
    of.sort_by(f64::total_cmp);
    match of.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => of[n / 2],
        n => (of[n / 2 - 1] + of[n / 2]) / 2.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_counts() {
        assert_eq!(median(vec![9.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![1.0, 2.0, 4.0, 100.0]), 3.0);
        assert!(median(vec![]).is_nan());
    }

    #[test]
    fn each_runs_every_round_and_in_turns() {
        let order = std::cell::RefCell::new(vec![]);
        let race = Race::new(8)
            .with("one", || {
                order.borrow_mut().push(1);
                7
            })
            .with("two", || {
                order.borrow_mut().push(2);
                0
            })
            .run(2);
        assert_eq!(*order.borrow(), [1, 2, 1, 2, 1, 2]);
        assert!(race.ratio("one", "two").is_some() && race.ratio("one", "three").is_none());
        let table = race.table(&["two", "three"]);
        assert_eq!(table.lines().count(), 3);
        assert!(table.contains("× two") && !table.contains("× three"));
    }
}
