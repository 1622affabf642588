//! The tasks of a virtual executor: which live, which are ready to go on, and since when. What one step wakes is ordered by
//! when the tasks were spawned, so it does not matter in which order it woke them.

use crate::driver::spawner::{SpawnHandle, Spawner, Task};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Wake, Waker};

/// The number of the future that a run is for; spawned tasks count from 1.
pub(super) const ROOT: u64 = 0;

struct Live {
    name: &'static str,
    /// `None` while it is being polled, and for the root.
    future: Option<Task>,
    waker: Waker,
    /// The step at which it became ready, if it is.
    ready: Option<u64>,
}

#[derive(Default)]
struct State {
    live: BTreeMap<u64, Live>,
    /// The step at which each became ready, and its number. One that was aborted since, or polled, is passed over.
    ready: VecDeque<(u64, u64)>,
    /// Those that the last step woke, in any order.
    fresh: Vec<u64>,
    /// Aborted: their destructors run between two steps, in the order of aborting.
    doomed: Vec<Task>,
    spawned: u64,
    steps: u64,
    closed: bool,
}

impl State {
    fn make_ready(&mut self, id: u64) {
        let now = self.steps;
        if let Some(live) = self.live.get_mut(&id).filter(|live| live.ready.is_none()) {
            live.ready = Some(now);
            self.fresh.push(id);
        }
    }

    fn remove(&mut self, id: u64) -> Option<Live> {
        self.live.remove(&id)
    }

    /// Takes the next that is ready: `choose` is asked for an index when there are several.
    fn take_ready(&mut self, choose: &mut impl FnMut(usize) -> usize) -> Option<u64> {
        self.fresh.sort_unstable();
        let now = self.steps;
        self.ready.extend(self.fresh.drain(..).map(|id| (now, id)));
        loop {
            let count = self.ready.len();
            let at = if count < 2 { 0 } else { choose(count) };
            // The first without disturbing the others; any other with the last in its place.
            let (since, id) = if at == 0 { self.ready.pop_front() } else { self.ready.swap_remove_back(at) }?;
            if self.live.get(&id).is_some_and(|live| live.ready == Some(since)) {
                return Some(id);
            }
        }
    }
}

/// All tasks of one executor.
#[derive(Clone, Default)]
pub(super) struct Tasks(Arc<Mutex<State>>);

/// What is to be polled next.
pub(super) struct Turn {
    pub(super) id: u64,
    /// `None` for the root.
    pub(super) future: Option<Task>,
    pub(super) waker: Waker,
}

impl Tasks {
    fn lock(&self) -> MutexGuard<'_, State> {
        // No code but this file's runs under the lock, and it leaves whole states behind.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn waker(&self, id: u64) -> Waker {
        Waker::from(Arc::new(TaskWaker { tasks: self.clone(), id }))
    }

    /// Enters the future of a run as ready.
    pub(super) fn enter_root(&self) {
        let waker = self.waker(ROOT);
        let mut state = self.lock();
        state.live.insert(ROOT, Live { name: "the run itself", future: None, waker, ready: None });
        state.make_ready(ROOT);
    }

    /// Forgets the future of a run.
    pub(super) fn leave_root(&self) {
        let root = self.lock().remove(ROOT);
        drop(root);
    }

    fn spawn(&self, name: &'static str, task: Task) -> u64 {
        let mut state = self.lock();
        if state.closed {
            drop(state);
            // Nothing would ever poll it; dropped after the lock is free.
            drop(task);
            return ROOT;
        }
        state.spawned += 1;
        let id = state.spawned;
        let waker = self.waker(id);
        state.live.insert(id, Live { name, future: Some(task), waker, ready: None });
        state.make_ready(id);
        id
    }

    fn abort(&self, id: u64) {
        let mut state = self.lock();
        let Some(live) = state.remove(id) else { return };
        // One that aborts itself has no future here: it is dropped after its poll.
        state.doomed.extend(live.future);
    }

    /// The next turn: `choose` is asked for an index when several tasks are ready. `None` when none is.
    pub(super) fn next(&self, mut choose: impl FnMut(usize) -> usize) -> Option<Turn> {
        self.bury();
        let mut state = self.lock();
        let id = state.take_ready(&mut choose)?;
        state.steps += 1;
        let live = state.live.get_mut(&id).expect("what is ready lives");
        live.ready = None;
        Some(Turn { id, future: live.future.take(), waker: live.waker.clone() })
    }

    /// Takes a task back that waits for something, or has been aborted meanwhile.
    pub(super) fn pending(&self, id: u64, future: Task) {
        let mut state = self.lock();
        match state.live.get_mut(&id) {
            Some(live) => live.future = Some(future),
            None => state.doomed.push(future),
        }
    }

    /// A task has ended.
    pub(super) fn ended(&self, id: u64) {
        let live = self.lock().remove(id);
        drop(live);
    }

    /// Runs the destructors of aborted tasks, which may abort others.
    fn bury(&self) {
        loop {
            let doomed = std::mem::take(&mut self.lock().doomed);
            if doomed.is_empty() {
                return;
            }
            drop(doomed);
        }
    }

    /// How many steps there have been.
    pub(super) fn steps(&self) -> u64 {
        self.lock().steps
    }

    /// The names of all spawned tasks that live, with how many bear each.
    pub(super) fn names(&self) -> BTreeMap<&'static str, usize> {
        let mut names = BTreeMap::new();
        for (_, live) in self.lock().live.iter().filter(|(id, _)| **id != ROOT) {
            *names.entry(live.name).or_default() += 1;
        }
        names
    }

    /// Drops all tasks in the order of spawning, and whatever is spawned from now on.
    pub(super) fn close(&self) {
        let live = {
            let mut state = self.lock();
            state.closed = true;
            state.ready.clear();
            state.fresh.clear();
            std::mem::take(&mut state.live)
        };
        drop(live);
        self.bury();
    }
}

struct TaskWaker {
    tasks: Tasks,
    id: u64,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.tasks.lock().make_ready(self.id);
    }
}

/// Spawns onto a virtual executor. Tasks run while the executor does.
#[derive(Clone)]
pub struct TaskSpawner(pub(super) Tasks);

impl std::fmt::Debug for TaskSpawner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TaskSpawner").field("tasks", &self.0.names()).finish()
    }
}

impl Spawner for TaskSpawner {
    fn spawn(&self, name: &'static str, task: Task) -> SpawnHandle {
        let id = self.0.spawn(name, task);
        let tasks = self.0.clone();
        SpawnHandle::new(move || {
            if id != ROOT {
                tasks.abort(id);
            }
        })
    }
}
