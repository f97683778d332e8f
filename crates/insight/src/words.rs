//! Numbers as a person reads them.

use havana_store::Clock;

/// Ticks a second, or none: then every time is ticks.
#[derive(Debug, Clone, Copy, Default)]
pub struct Rate(pub Option<u64>);

impl Rate {
    /// Nanoseconds, where a rate is known.
    pub fn ns(self, ticks: f64) -> Option<f64> {
        self.0.map(|hz| ticks * 1e9 / hz as f64)
    }

    /// `12.4 s`, `3.1 ms`, `±10 µs` without the sign; ticks where no rate is known.
    pub fn span(self, ticks: f64) -> String {
        match self.ns(ticks) {
            Some(ns) => duration(ns),
            None => format!("{} ticks", count(ticks as u64)),
        }
    }
}

/// `12.4 s`, `3.10 ms`.
pub fn duration(ns: f64) -> String {
    let (value, unit) = match ns.abs() {
        n if n < 999.5 => (ns, "ns"),
        n if n < 999_500.0 => (ns / 1e3, "µs"),
        n if n < 999.5e6 => (ns / 1e6, "ms"),
        n if n < 120e9 => (ns / 1e9, "s"),
        n if n < 7200e9 => (ns / 60e9, "min"),
        _ => (ns / 3600e9, "h"),
    };
    match value.abs() {
        v if v >= 100.0 || unit == "ns" => format!("{value:.0} {unit}"),
        v if v >= 10.0 => format!("{value:.1} {unit}"),
        _ => format!("{value:.2} {unit}"),
    }
}

/// `31,204`.
pub fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, d) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(d);
    }
    out
}

/// `61.3 %`, with as many decimals as mean something.
pub fn percent(share: f64) -> String {
    let p = share * 100.0;
    match p.abs() {
        v if v >= 99.95 || v == 0.0 => format!("{p:.0} %"),
        v if v >= 10.0 => format!("{p:.1} %"),
        v if v >= 0.995 => format!("{p:.1} %"),
        v if v >= 0.01 => format!("{p:.2} %"),
        _ => "<0.01 %".into(),
    }
}

/// `1.2 MB`.
pub fn bytes(n: u64) -> String {
    match n {
        0..=9_999 => format!("{n} B"),
        10_000..=9_999_999 => format!("{:.1} kB", n as f64 / 1e3),
        10_000_000..=9_999_999_999 => format!("{:.1} MB", n as f64 / 1e6),
        _ => format!("{:.1} GB", n as f64 / 1e9),
    }
}

/// The rate that a dataset's clock has.
pub fn rate_of(clock: &Clock) -> Rate {
    Rate(clock.hz())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!([0, 999, 1000, 31_204, 1_000_000].map(count), ["0", "999", "1,000", "31,204", "1,000,000"]);
        assert_eq!(
            [0.4, 999.0, 1_000.0, 10_240.0, 3.1e6, 12.4e9, 600e9, 9e13].map(duration),
            ["0 ns", "999 ns", "1.00 µs", "10.2 µs", "3.10 ms", "12.4 s", "10.0 min", "25.0 h"]
        );
        assert_eq!(
            [0.0, 1.0, 0.613, 0.0512, 0.0004, 0.00001].map(percent),
            ["0 %", "100 %", "61.3 %", "5.1 %", "0.04 %", "<0.01 %"]
        );
        assert_eq!(Rate(None).span(43008.0), "43,008 ticks");
    }
}
