//! Virtual time: a clock that moves only when nothing is left to do, the executor that knows when that is, and chance out of
//! a seed. Together they make a run of everything that waits and spawns through the ports a function of its seed. Which
//! parts a simulated cluster has, and what goes wrong in it, is not decided here.

mod clock;
mod dice;
mod executor;
mod tasks;

pub use clock::VirtualClock;
pub use dice::Dice;
pub use executor::{Executor, Order, Stalled};
pub use tasks::TaskSpawner;

#[cfg(test)]
mod tests;
