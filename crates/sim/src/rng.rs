//! Numbers that look random and follow from a seed, the same on every machine and in every version: SplitMix64
//! (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014).

/// A row of numbers.
#[derive(Debug, Clone)]
pub struct Rng(u64);

impl Rng {
    /// The row of this seed.
    pub fn new(seed: u64) -> Rng {
        Rng(seed)
    }

    /// A row of its own for something that the seed's row is also used for.
    pub fn fork(&mut self) -> Rng {
        Rng(self.next_u64())
    }

    /// The next number.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// 0 … n − 1; 0 for n = 0.
    pub fn below(&mut self, n: u64) -> u64 {
        ((u128::from(self.next_u64()) * u128::from(n)) >> 64) as u64
    }

    /// True with this probability.
    pub fn chance(&mut self, p: f64) -> bool {
        self.unit() < p
    }

    /// 0 up to 1, 1 not among them.
    pub fn unit(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Around `mean`, from half of it to one and a half.
    pub fn about(&mut self, mean: f64) -> f64 {
        self.near(mean, 0.5)
    }

    /// Around `mean`, off by this part of it at most.
    pub fn near(&mut self, mean: f64, jitter: f64) -> f64 {
        mean * (1.0 - jitter + 2.0 * jitter * self.unit())
    }

    /// A time until the next of events that know nothing of each other.
    pub fn exponential(&mut self, mean: f64) -> f64 {
        -mean * (1.0 - self.unit()).ln()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_row_of_a_seed_never_changes() {
        let mut rng = Rng::new(1_234_567);
        // The reference numbers of SplitMix64.
        assert_eq!(
            [(); 3].map(|()| rng.next_u64()),
            [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]
        );
        assert!((0..1000).all(|_| rng.below(7) < 7));
        let mean: f64 = (0..100_000).map(|_| rng.exponential(5.0)).sum::<f64>() / 1e5;
        assert!((mean - 5.0).abs() < 0.1, "{mean}");
    }
}
