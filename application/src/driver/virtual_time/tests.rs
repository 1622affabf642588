//! The executor and the clock, without a cluster.

use super::*;
use crate::driver::spawner::Spawner;
use std::future::{pending, poll_fn};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;
use steersman_domain::ports::Clock;
use tokio::sync::{Notify, oneshot};

const HOUR: Duration = Duration::from_secs(3600);

/// Lets everyone else run who is ready.
async fn yielded() {
    let mut polled = false;
    poll_fn(|context| {
        if std::mem::replace(&mut polled, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// In which order five tasks take three turns each.
fn turns(order: Order) -> Vec<usize> {
    let mut executor = Executor::new(order);
    let taken = Arc::<Mutex<Vec<usize>>>::default();
    let handles: Vec<_> = (0..5)
        .map(|number| {
            let taken = taken.clone();
            let task = async move {
                for _ in 0..3 {
                    taken.lock().expect("no holder panics").push(number);
                    yielded().await;
                }
            };
            executor.spawner().spawn("turns", Box::pin(task))
        })
        .collect();
    let clock = executor.clock().clone();
    executor.run(async move { clock.sleep(HOUR).await }).expect("it ends");
    drop(handles);
    Arc::into_inner(taken).expect("all have ended").into_inner().expect("no holder panicked")
}

#[test]
fn the_order_of_ready_tasks_is_chosen_by_the_seed() {
    assert_eq!(turns(Order::Arrival), [0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 0, 1, 2, 3, 4]);
    let seeded: Vec<Vec<usize>> = (0..20).map(|seed| turns(Order::Seeded(seed))).collect();
    for (seed, taken) in (0..20).zip(&seeded) {
        assert_eq!(turns(Order::Seeded(seed)), *taken, "seed {seed}");
        assert_eq!(taken.len(), 15);
    }
    let distinct: std::collections::BTreeSet<_> = seeded.iter().collect();
    assert!(distinct.len() > 10, "{distinct:?}");
}

#[test]
fn time_passes_only_when_nothing_is_left_to_do() {
    let mut executor = Executor::new(Order::Seeded(1));
    let clock = executor.clock().clone();
    let seen = Arc::<Mutex<Vec<(u64, Duration)>>>::default();
    for seconds in [3, 1, 2] {
        let (clock, seen) = (clock.clone(), seen.clone());
        let task = async move {
            clock.sleep(Duration::from_secs(seconds)).await;
            for _ in 0..10 {
                yielded().await;
            }
            seen.lock().expect("no holder panics").push((seconds, clock.monotonic()));
        };
        executor.spawner().spawn("sleeper", Box::pin(task)).detach();
    }
    let waits = clock.clone();
    executor.run(async move { waits.sleep(HOUR).await }).expect("it ends");
    let ends = [1, 2, 3].map(|s| (s, Duration::from_secs(s)));
    assert_eq!(*seen.lock().expect("no holder panics"), ends);
    assert_eq!((clock.monotonic(), clock.next()), (HOUR, None));
}

#[test]
fn a_wait_that_is_given_up_moves_no_clock() {
    let mut executor = Executor::new(Order::Arrival);
    let clock = executor.clock().clone();
    let waits = clock.clone();
    executor
        .run(async move {
            tokio::select! {
                biased;
                () = waits.sleep(HOUR) => panic!("the shorter ends first"),
                () = waits.sleep(Duration::from_secs(1)) => {}
            }
        })
        .expect("it ends");
    assert_eq!((clock.monotonic(), clock.next()), (Duration::from_secs(1), None));
}

#[test]
fn who_waits_for_nothing_is_told_so() {
    let mut executor = Executor::new(Order::Seeded(3));
    executor.spawner().spawn("stuck", Box::pin(pending())).detach();
    let stalled = executor.run(pending::<()>()).expect_err("nothing can happen");
    assert!(stalled.to_string().contains("nobody waits for the clock"), "{stalled}");
    assert!(stalled.to_string().ends_with("simulation: stuck"), "{stalled}");
    let clock = executor.clock().clone();
    executor.run(async move { clock.sleep(HOUR).await }).expect("the next run goes on");
}

#[test]
fn who_waits_while_clocks_tick_is_told_in_the_end() {
    let mut executor = Executor::new(Order::Arrival);
    executor.set_limit(24 * HOUR);
    let clock = executor.clock().clone();
    let ticks = async move {
        loop {
            clock.sleep(HOUR).await;
        }
    };
    executor.spawner().spawn("ticks", Box::pin(ticks)).detach();
    let stalled = executor.run(pending::<()>()).expect_err("it never ends");
    assert_eq!(stalled, Stalled::Late { at: 25 * HOUR, limit: 24 * HOUR });
}

/// Notes when it is dropped.
struct Falls(Arc<Mutex<Vec<&'static str>>>, &'static str);

impl Drop for Falls {
    fn drop(&mut self) {
        self.0.lock().expect("no holder panics").push(self.1);
    }
}

#[test]
fn dropping_a_handle_ends_the_task_and_dropping_the_executor_ends_all() {
    let fallen = Arc::<Mutex<Vec<&'static str>>>::default();
    let mut executor = Executor::new(Order::Arrival);
    let spawner = executor.spawner();
    let spawn = |name: &'static str| {
        let falls = Falls(fallen.clone(), name);
        spawner.spawn(
            name,
            Box::pin(async move {
                let _falls = falls;
                pending().await
            }),
        )
    };
    let first = spawn("first");
    spawn("second").detach();
    executor.run(async { drop(first) }).expect("it ends");
    executor.run(yielded()).expect("it ends");
    assert_eq!(*fallen.lock().expect("no holder panics"), ["first"]);
    drop(executor);
    spawn("third").detach();
    assert_eq!(*fallen.lock().expect("no holder panics"), ["first", "second", "third"]);
}

#[test]
fn a_task_may_abort_itself() {
    let mut executor = Executor::new(Order::Arrival);
    let (sender, receiver) = oneshot::channel::<crate::driver::spawner::SpawnHandle>();
    let reached = Arc::new(Notify::new());
    let told = reached.clone();
    let task = async move {
        drop(receiver.await.expect("it is sent"));
        yielded().await;
        told.notify_one();
    };
    let handle = executor.spawner().spawn("itself", Box::pin(task));
    executor.run(async { drop(sender.send(handle)) }).expect("it ends");
    executor.run(reached.notified()).expect_err("it did not get that far");
}

#[test]
#[should_panic(expected = "a task of the cluster fell over")]
fn a_panic_of_a_task_is_the_callers() {
    let mut executor = Executor::new(Order::Arrival);
    executor.spawner().spawn("falls", Box::pin(async { panic!("a task of the cluster fell over") })).detach();
    let clock = executor.clock().clone();
    let _ended = executor.run(async move { clock.sleep(HOUR).await });
}

#[test]
fn dice_of_one_seed_fall_alike() {
    let fall = |dice: Dice| -> Vec<usize> { (0..50).map(|_| dice.below(6)).collect() };
    assert_eq!(fall(Dice::new(7)), fall(Dice::new(7)));
    assert_ne!(fall(Dice::of(7, 1)), fall(Dice::of(7, 2)));
    assert_eq!((1..=6).filter(|face| fall(Dice::new(7)).contains(&(face - 1))).count(), 6);
    let dice = Dice::new(1);
    assert!((0..100).all(|_| dice.duration(HOUR) <= HOUR));
    assert_eq!((dice.below(0), dice.below(1), dice.duration(Duration::ZERO)), (0, 0, Duration::ZERO));
}
