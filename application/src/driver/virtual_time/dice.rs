//! Chance out of a seed.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use steersman_domain::ports::Entropy;

/// A reproducible sequence of numbers. Source: SplitMix64, Steele, Lea and Flood, "Fast splittable pseudorandom number
/// generators" (2014). Not for secrets.
#[derive(Debug)]
pub struct Dice(AtomicU64);

impl Dice {
    /// The sequence of a seed.
    pub const fn new(seed: u64) -> Self {
        Dice(AtomicU64::new(seed))
    }

    /// A sequence of its own for one purpose, so that what others draw does not change it.
    pub fn of(seed: u64, purpose: u64) -> Self {
        Dice::new(Dice::new(seed ^ purpose.rotate_left(32)).random())
    }

    /// A number below `bound`; 0 for a bound of 0 or 1. The bias is below bound / 2⁶⁴.
    pub fn below(&self, bound: usize) -> usize {
        let bound = u64::try_from(bound).unwrap_or(u64::MAX);
        if bound < 2 {
            return 0;
        }
        usize::try_from(self.random() % bound).expect("it is below a usize")
    }

    /// A time of whole microseconds up to `longest`.
    pub fn duration(&self, longest: Duration) -> Duration {
        let micros = u64::try_from(longest.as_micros()).unwrap_or(u64::MAX - 1);
        Duration::from_micros(if micros == 0 { 0 } else { self.random() % (micros + 1) })
    }
}

impl Entropy for Dice {
    fn random(&self) -> u64 {
        let step = 0x9e37_79b9_7f4a_7c15_u64;
        let mut z = self.0.fetch_add(step, Ordering::Relaxed).wrapping_add(step);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}
