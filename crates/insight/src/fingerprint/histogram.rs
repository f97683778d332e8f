//! Numbers by their size, in half octaves, and how far two of such distributions are apart.

use havana_rows::latency_class;
use serde::{Deserialize, Serialize};

/// Classes: up to some 4 s, where a tick is a nanosecond. What is longer is in the last one.
pub(crate) const CLASSES: usize = 64;

/// Weights by class ([`latency_class`]).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(from = "Vec<f64>", into = "Vec<f64>")]
pub struct Histogram {
    weights: [f64; CLASSES],
}

impl Default for Histogram {
    fn default() -> Self {
        Histogram { weights: [0.0; CLASSES] }
    }
}

/// In a file, without the zeros at the end.
impl From<Histogram> for Vec<f64> {
    fn from(of: Histogram) -> Vec<f64> {
        let used = of.weights.iter().rposition(|weight| *weight > 0.0).map_or(0, |last| last + 1);
        of.weights[..used].to_vec()
    }
}

impl From<Vec<f64>> for Histogram {
    fn from(of: Vec<f64>) -> Histogram {
        let mut all = Histogram::default();
        let sound = |weight: &f64| if weight.is_finite() { weight.max(0.0) } else { 0.0 };
        for (class, weight) in of.iter().enumerate() {
            all.weights[class.min(CLASSES - 1)] += sound(weight);
        }
        all
    }
}

impl Histogram {
    /// Where a length belongs.
    pub(crate) fn class(length: f64) -> usize {
        usize::try_from(latency_class(length as i64)).unwrap_or(0).min(CLASSES - 1)
    }

    /// Where a class begins.
    pub(crate) fn start(class: usize) -> f64 {
        let octave = (1_u64 << (class / 2)) as f64;
        if class % 2 == 1 { octave * 1.5 } else { octave }
    }

    pub(crate) fn add(&mut self, length: f64, weight: f64) {
        self.weights[Histogram::class(length)] += weight;
    }

    pub(crate) fn round(&mut self) {
        self.weights.iter_mut().for_each(|weight| *weight = weight.round());
    }

    pub(crate) fn merge(&mut self, other: &Histogram) {
        self.weights.iter_mut().zip(&other.weights).for_each(|(a, b)| *a += b);
    }

    /// The weight of what is longer than a class.
    pub(crate) fn above(&self, class: usize) -> f64 {
        self.weights.iter().skip(class + 1).sum()
    }

    pub(crate) fn total(&self) -> f64 {
        self.weights.iter().sum()
    }

    /// The class below which so much of the weight is; none of nothing.
    pub(crate) fn quantile_class(&self, part: f64) -> Option<usize> {
        let most = self.total() * part;
        let mut sum = 0.0;
        let mut found = None;
        for (class, weight) in self.weights.iter().enumerate().filter(|(_, weight)| **weight > 0.0) {
            found = Some(class);
            sum += weight;
            if sum >= most {
                break;
            }
        }
        found
    }

    /// A length below which so much of the weight is, as if a class's were spread over it evenly; none of nothing.
    pub(crate) fn quantile(&self, part: f64) -> Option<f64> {
        let class = self.quantile_class(part)?;
        let before: f64 = self.weights[..class].iter().sum();
        let inside = ((self.total() * part - before) / self.weights[class]).clamp(0.0, 1.0);
        let (from, to) = (Histogram::start(class), Histogram::start(class + 1));
        Some(from + (to - from) * inside)
    }

    /// As parts of one, each spread over its neighbours: what lies at a border of two classes belongs to both.
    fn smooth(&self) -> Option<[f64; CLASSES]> {
        let total = self.total();
        if total <= 0.0 {
            return None;
        }
        let mut smooth = [0.0; CLASSES];
        for (class, weight) in self.weights.iter().enumerate().filter(|(_, weight)| **weight > 0.0) {
            for (by, part) in [(0, 0.125), (1, 0.25), (2, 0.25), (3, 0.25), (4, 0.125)] {
                let to = (class + by).saturating_sub(2).min(CLASSES - 1);
                smooth[to] += part * weight / total;
            }
        }
        Some(smooth)
    }

    /// The Jensen-Shannon distance: the root of the divergence in bits (Lin 1991), which is a metric (Endres, Schindelin
    /// 2003); 0 to 1. None where one has nothing.
    pub(crate) fn distance(&self, other: &Histogram) -> Option<f64> {
        Some(jensen_shannon(&self.smooth()?, &other.smooth()?))
    }
}

/// The Jensen-Shannon distance of two distributions.
pub(crate) fn jensen_shannon(p: &[f64], q: &[f64]) -> f64 {
    let part = |x: f64, middle: f64| if x > 0.0 { x * (x / middle).log2() } else { 0.0 };
    let sum: f64 = p.iter().zip(q).map(|(p, q)| part(*p, (p + q) / 2.0) + part(*q, (p + q) / 2.0)).sum();
    (sum / 2.0).clamp(0.0, 1.0).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(lengths: &[f64]) -> Histogram {
        let mut histogram = Histogram::default();
        lengths.iter().for_each(|length| histogram.add(*length, 1.0));
        histogram
    }

    #[test]
    fn a_distance_is_one_of_what_is_shared() {
        let a = of(&[1000.0, 1100.0, 1200.0]);
        assert_eq!(a.distance(&a), Some(0.0));
        assert_eq!(a.distance(&of(&[1e6])), Some(1.0));
        assert_eq!(a.distance(&Histogram::default()), None);
        let near = a.distance(&of(&[1600.0])).unwrap();
        assert!(near > 0.1 && near < 0.6, "{near}");
        assert!((jensen_shannon(&[1.0, 0.0], &[0.5, 0.5]).powi(2) - 0.3113).abs() < 1e-4);
    }

    #[test]
    fn quantiles_lie_in_their_class() {
        let all = of(&[10.0, 100.0, 100.0, 1e4, 1e30]);
        let median = all.quantile(0.5).unwrap();
        assert!((96.0..128.0).contains(&median), "{median}");
        assert_eq!(all.quantile_class(1.0), Some(CLASSES - 1));
        assert_eq!(Histogram::default().quantile(0.5), None);
        for class in 2..CLASSES {
            assert_eq!(Histogram::class(Histogram::start(class)), class);
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let all = of(&[10.0, 100.0, 1e9]);
        let text = serde_json::to_string(&all).unwrap();
        assert_eq!(serde_json::from_str::<Histogram>(&text).unwrap(), all);
        // Whatever stands there.
        let odd: Histogram = serde_json::from_str(&format!("[-1.0{}]", ", 1e300".repeat(99))).unwrap();
        assert!(odd.total() > 0.0);
    }
}
