//! The executor: one task at a time, and time passes when none is ready. It runs on whatever thread calls it and needs
//! nothing around it; that thread must not run another executor's task, whose rules of fairness would reach in here.

use super::clock::VirtualClock;
use super::dice::Dice;
use super::tasks::{ROOT, TaskSpawner, Tasks};
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll};
use std::time::Duration;
use steersman_domain::ports::Clock;

/// How many steps may be taken without time passing. A burst of ten thousand pods takes about a million; whoever takes ten
/// million goes round in circles.
const STEPS_AT_ONE_TIME: u64 = 10_000_000;

/// In which order tasks run that are ready at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// First those that became ready first; of those, the ones that were spawned first.
    Arrival,
    /// As the dice of this seed fall: every seed is another interleaving.
    Seeded(u64),
}

/// Why a run cannot go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Stalled {
    /// Nothing can happen any more.
    #[error(
        "at {at:?} nothing is left to do and nobody waits for the clock, so nothing can happen any more; these tasks wait for \
         something that is not part of the simulation: {}", listed(.tasks)
    )]
    Idle {
        /// When.
        at: Duration,
        /// How many tasks of each name wait.
        tasks: BTreeMap<&'static str, usize>,
    },
    /// Things happen without end, and no time passes.
    #[error(
        "at {at:?} more than {STEPS_AT_ONE_TIME} steps were taken and no time passed: something goes round in circles; \
         these tasks live: {}", listed(.tasks)
    )]
    Circling {
        /// When.
        at: Duration,
        /// How many tasks of each name there are.
        tasks: BTreeMap<&'static str, usize>,
    },
    /// It takes longer than it may.
    #[error(
        "it is not over after {at:?} of the simulation's time, and {limit:?} is the limit: does it wait for something that never comes?"
    )]
    Late {
        /// When.
        at: Duration,
        /// How long it was to take at most.
        limit: Duration,
    },
}

fn listed(tasks: &BTreeMap<&'static str, usize>) -> String {
    let each = tasks.iter().map(|(name, count)| if *count == 1 { (*name).into() } else { format!("{count} {name}") });
    let all: Vec<String> = each.collect();
    if all.is_empty() { "none".into() } else { all.join(", ") }
}

/// Runs tasks in virtual time. Dropping it drops them.
pub struct Executor {
    tasks: Tasks,
    clock: VirtualClock,
    dice: Option<Dice>,
    limit: Duration,
}

/// Without it a future that waits for something that never comes would be waited for as long as any clock ticks.
const LIMIT: Duration = Duration::from_secs(30 * 24 * 3600);

impl std::fmt::Debug for Executor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Executor").field("now", &self.clock.monotonic()).field("tasks", &self.tasks.names()).finish()
    }
}

impl Executor {
    /// An executor without tasks whose clock is at its start.
    pub fn new(order: Order) -> Self {
        let dice = match order {
            Order::Arrival => None,
            Order::Seeded(seed) => Some(Dice::new(seed)),
        };
        Executor { tasks: Tasks::default(), clock: VirtualClock::default(), dice, limit: LIMIT }
    }

    /// How long a run may take by the clock; 30 days unless told otherwise.
    pub fn set_limit(&mut self, limit: Duration) {
        self.limit = limit;
    }

    /// Its clock.
    pub fn clock(&self) -> &VirtualClock {
        &self.clock
    }

    /// Spawns onto it.
    pub fn spawner(&self) -> TaskSpawner {
        TaskSpawner(self.tasks.clone())
    }

    /// How many steps it has taken, each the poll of one task.
    pub fn steps(&self) -> u64 {
        self.tasks.steps()
    }

    /// Runs a future and all tasks until the future ends; the tasks stay as they are then, and go on in the next run. A panic
    /// in any of them is the caller's.
    ///
    /// # Errors
    /// When the future cannot end: see [`Stalled`].
    pub fn run<F: Future>(&mut self, future: F) -> Result<F::Output, Stalled> {
        let mut root = pin!(future);
        let tasks = self.tasks.clone();
        tasks.enter_root();
        // However the run ends, a later one must not find this one's root.
        let _leave = Leave(&tasks);
        let mut moved = self.tasks.steps();
        let end = self.clock.monotonic().saturating_add(self.limit);
        loop {
            let next = self.tasks.next(|count| self.dice.as_ref().map_or(0, |dice| dice.below(count)));
            let Some(turn) = next else {
                if !self.clock.jump() {
                    return Err(Stalled::Idle { at: self.clock.monotonic(), tasks: self.tasks.names() });
                }
                moved = self.tasks.steps();
                if self.clock.monotonic() > end {
                    return Err(Stalled::Late { at: self.clock.monotonic(), limit: self.limit });
                }
                continue;
            };
            if self.tasks.steps() - moved > STEPS_AT_ONE_TIME {
                return Err(Stalled::Circling { at: self.clock.monotonic(), tasks: self.tasks.names() });
            }
            let mut context = Context::from_waker(&turn.waker);
            match turn.future {
                None => {
                    debug_assert_eq!(turn.id, ROOT, "only the root is held elsewhere");
                    if let Poll::Ready(output) = root.as_mut().poll(&mut context) {
                        return Ok(output);
                    }
                }
                Some(mut task) => match task.as_mut().poll(&mut context) {
                    Poll::Ready(()) => {
                        // Its destructors run while it still counts as living, as those of a future that ends do.
                        drop(task);
                        self.tasks.ended(turn.id);
                    }
                    Poll::Pending => self.tasks.pending(turn.id, task),
                },
            }
        }
    }
}

impl Drop for Executor {
    fn drop(&mut self) {
        self.tasks.close();
    }
}

/// Forgets the root when a run ends.
struct Leave<'a>(&'a Tasks);

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        self.0.leave_root();
    }
}
