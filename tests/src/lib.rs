//! What the tests of Steersman as a whole stand on.
//!
//! [`arrows`] and [`tree`] are the rules of the house as functions over data. [`steer`] starts the real binary on a fresh
//! data directory, [`kubectl`] drives it the way people do, [`load`] sends requests and counts the lost ones, [`process`]
//! finds and signals processes, [`agent`] and [`netns`] add nodes and hosts, and [`wait`] is the one place that waits.
//!
//! Everything here panics when what a test stands on does not hold, and says what it saw: a fixture has no caller who
//! could act on an error.

pub mod agent;
pub mod arrows;
pub mod kubectl;
pub mod load;
pub mod manifests;
pub mod netns;
pub mod process;
pub mod steer;
pub mod tree;
pub mod wait;

/// The guides, whose programs are tests.
#[cfg(doctest)]
mod guides {
    #[doc = include_str!("../../docs/guides/embed.md")]
    mod embed {}
    #[doc = include_str!("../../docs/guides/test-your-operator.md")]
    mod test_your_operator {}
}
