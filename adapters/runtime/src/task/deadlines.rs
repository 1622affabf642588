//! The deadlines of questions. Almost all are answered long before, so entering one and taking it back must cost little: an
//! entry in a table without order, and one task for all, which sleeps until the earliest and ends when there is none.

use super::exchange::Asked;
use parking_lot::Mutex;
use slab::Slab;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;
use steersman_domain::ports::{Clock, SpawnHandle, Spawner, Task};
use tokio::sync::Notify;

/// How much later than the earliest deadline the task looks, for each entry that it has to look at: so that 100,000 entries
/// are not gone through more often than every 10 ms.
const LOOK: u64 = 100;
/// Tables, so that threads seldom wait for each other.
const TABLES: usize = 8;
/// The task does not look by itself.
const NEVER: u64 = u64::MAX;

struct Entry {
    due: u64,
    /// `None`: it has been told.
    asked: Option<Arc<dyn Asked>>,
}

/// Times are nanoseconds of the monotonic clock.
pub(super) struct Deadlines {
    clock: Arc<dyn Clock>,
    spawner: Arc<dyn Spawner>,
    tables: [Mutex<Slab<Entry>>; TABLES],
    /// When the task looks next. Changed under the lock of the task alone.
    looks_at: AtomicU64,
    task: Mutex<Option<SpawnHandle>>,
    earlier: Arc<Notify>,
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).map_or(NEVER - 1, |nanos| nanos.min(NEVER - 1))
}

impl Deadlines {
    pub(super) fn new(clock: Arc<dyn Clock>, spawner: Arc<dyn Spawner>) -> Arc<Self> {
        Arc::new(Deadlines {
            clock,
            spawner,
            tables: Default::default(),
            looks_at: AtomicU64::new(NEVER),
            task: Mutex::default(),
            earlier: Arc::default(),
        })
    }

    /// Lets a question expire after a while, unless the guard is dropped before.
    pub(super) fn enter(self: &Arc<Self>, within: Duration, asked: Arc<dyn Asked>) -> Entered<'_> {
        let due = nanos(self.clock.monotonic().saturating_add(within));
        // Two questions at a time are two pieces of memory, whose addresses differ by their size at least.
        let table = &self.tables[(Arc::as_ptr(&asked).cast::<()>().addr() >> 6) % TABLES];
        let key = table.lock().insert(Entry { due, asked: Some(asked) });
        if due < self.looks_at.load(Ordering::Relaxed) {
            self.look_by(due);
        }
        Entered { table, key }
    }

    #[cold]
    fn look_by(self: &Arc<Self>, due: u64) {
        let mut task = self.task.lock();
        if self.looks_at.load(Ordering::Relaxed) <= due {
            return;
        }
        self.looks_at.store(due, Ordering::Relaxed);
        match &*task {
            Some(_) => self.earlier.notify_one(),
            None => {
                let work = look(Arc::downgrade(self), self.clock.clone(), self.earlier.clone());
                *task = Some(self.spawner.spawn("function-deadlines", work));
            }
        }
    }

    /// Takes out what is due; answers how long to sleep until the next, if there is any.
    fn due(&self) -> (Vec<Arc<dyn Asked>>, Option<Duration>) {
        let now = nanos(self.clock.monotonic());
        let mut task = self.task.lock();
        // Whoever enters what the tables do not show any more sees this, and comes back when the lock is free.
        self.looks_at.store(NEVER, Ordering::Relaxed);
        let (mut due, mut next, mut count) = (Vec::new(), NEVER, 0);
        for table in &self.tables {
            for (_, entry) in &mut *table.lock() {
                count += 1;
                match &entry.asked {
                    Some(_) if entry.due <= now => due.extend(entry.asked.take()),
                    Some(_) => next = next.min(entry.due),
                    None => {}
                }
            }
        }
        if next == NEVER {
            if let Some(task) = task.take() {
                // It is the task that asks, which ends by itself.
                task.detach();
            }
            return (due, None);
        }
        let next = next.max(now.saturating_add(LOOK * count));
        self.looks_at.store(next, Ordering::Relaxed);
        (due, Some(Duration::from_nanos(next - now)))
    }
}

fn look(deadlines: Weak<Deadlines>, clock: Arc<dyn Clock>, earlier: Arc<Notify>) -> Task {
    Box::pin(async move {
        loop {
            let Some(this) = deadlines.upgrade() else { return };
            let (due, pause) = this.due();
            drop(this);
            for asked in due {
                asked.expire();
            }
            let Some(pause) = pause else { return };
            tokio::select! {
                biased;
                () = earlier.notified() => {}
                () = clock.sleep(pause) => {}
            }
        }
    })
}

/// A deadline that holds until this is dropped.
pub(super) struct Entered<'a> {
    table: &'a Mutex<Slab<Entry>>,
    key: usize,
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        let entry = self.table.lock().remove(self.key);
        // Dropped outside the lock.
        drop(entry);
    }
}
