//! An API in memory for tests: without rules, but with revisions, conflicts, watches, uids and graceful deletion of pods.

use crate::client::{ApiError, Client, DeleteOptions, Part, Selection, Write, WriteOptions};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use steersman_domain::ports::{Change, ListPage, StoreError, WatchStream};
use steersman_domain::{Event, Key, Kind, Object, Pod, Revision, Stored, Uid};
use tokio::sync::Notify;

#[derive(Default)]
struct Objects {
    now: BTreeMap<Key, Arc<Stored>>,
    log: Vec<Change>,
    revision: u64,
    conflicts: u32,
}

/// An API without rules, but with revisions, watches, uids and graceful deletion of pods.
#[derive(Default)]
pub(super) struct MemoryApi {
    objects: Mutex<Objects>,
    bell: Arc<Notify>,
    /// How many writes to refuse before the next one passes.
    pub(super) outages: AtomicU32,
    requests: AtomicU32,
}

impl Objects {
    fn put(&mut self, key: Key, object: Object) -> Arc<Stored> {
        self.revision += 1;
        let after = Arc::new(Stored::new(key.clone(), Revision(self.revision), object));
        let before = self.now.insert(key, Arc::clone(&after));
        self.log.push(Change::Put { before, after: Arc::clone(&after) });
        after
    }

    fn remove(&mut self, key: &Key) -> Option<Arc<Stored>> {
        let before = self.now.remove(key)?;
        self.revision += 1;
        let last = Arc::new(Stored::new(key.clone(), Revision(self.revision), before.object.clone()));
        self.log.push(Change::Delete { before, last: Arc::clone(&last) });
        Some(last)
    }

    fn perform(&mut self, write: Write) -> Result<Arc<Stored>, ApiError> {
        let key_of =
            |o: &Object| Key { kind: o.kind(), namespace: o.meta().namespace.clone(), name: o.meta().name.clone() };
        match write {
            Write::Create(mut object) => {
                let key = key_of(&object);
                if self.now.contains_key(&key) {
                    return Err(ApiError::AlreadyExists(key));
                }
                if object.meta().uid.as_str().is_empty() {
                    object.meta_mut().uid = Uid::from(format!("uid-{}", key.name).as_str());
                }
                Ok(self.put(key, object))
            }
            Write::Update(object, part) => {
                let key = key_of(&object);
                let old = self.now.get(&key).cloned().ok_or_else(|| ApiError::NotFound(key.clone()))?;
                let wanted = object.meta().resource_version;
                if wanted.0 != 0 && wanted != old.revision {
                    return Err(ApiError::Conflict { key, message: "the object has been modified".into() });
                }
                let merged = match (&old.object, object, part) {
                    (Object::Pod(old), Object::Pod(new), Part::Status) => {
                        let mut pod = Pod::clone(old);
                        pod.status = new.status.clone();
                        Object::Pod(Arc::new(pod))
                    }
                    (_, new, _) => new,
                };
                Ok(self.put(key, merged))
            }
            Write::Delete(key, _) if self.conflicts > 0 => {
                self.conflicts -= 1;
                Err(ApiError::Conflict { key, message: "the object has been modified".into() })
            }
            Write::Delete(key, options) => self.delete(&key, &options),
            Write::Bind { pod, .. } => Err(ApiError::NotFound(pod)),
        }
    }

    fn delete(&mut self, key: &Key, options: &DeleteOptions) -> Result<Arc<Stored>, ApiError> {
        let old = self.now.get(key).cloned().ok_or_else(|| ApiError::NotFound(key.clone()))?;
        if options.uid.as_ref().is_some_and(|uid| *uid != old.object.meta().uid) {
            return Err(ApiError::Conflict { key: key.clone(), message: "another uid".into() });
        }
        match old.typed::<Pod>() {
            Some(pod) if options.grace_period_seconds != Some(0) => {
                let mut pod = Pod::clone(pod);
                pod.metadata.deletion_timestamp = Some(steersman_domain::Time::from_secs(1));
                pod.metadata.deletion_grace_period_seconds = options.grace_period_seconds.or(Some(pod.grace_seconds()));
                Ok(self.put(key.clone(), Object::Pod(Arc::new(pod))))
            }
            Some(_) | None => self.remove(key).ok_or_else(|| ApiError::NotFound(key.clone())),
        }
    }
}

impl MemoryApi {
    pub(super) fn with<T>(&self, key: &Key, read: impl FnOnce(Option<&Arc<Stored>>) -> T) -> T {
        read(self.objects.lock().unwrap().now.get(key))
    }

    /// Performs a write as somebody else than the agent.
    pub(super) fn act(&self, write: Write) -> Arc<Stored> {
        let stored = self.objects.lock().unwrap().perform(write).expect("the test's own write");
        self.bell.notify_waiters();
        stored
    }

    /// Makes the next deletes collide with somebody else's write.
    pub(super) fn collide(&self, times: u32) {
        self.objects.lock().unwrap().conflicts = times;
    }

    /// How many write requests there were.
    pub(super) fn requests(&self) -> u32 {
        self.requests.load(Ordering::Relaxed)
    }

    pub(super) fn pod(&self, name: &str) -> Option<Arc<Pod>> {
        self.with(&Key::new(Kind::Pod, "default", name), |s| s.and_then(|s| s.typed::<Pod>().cloned()))
    }

    /// Reasons and counts of all events, in the order of their names.
    pub(super) fn events(&self) -> Vec<Arc<Event>> {
        self.objects.lock().unwrap().now.values().filter_map(|s| s.typed::<Event>().cloned()).collect()
    }

    /// Every status that a pod ever had, oldest first.
    pub(super) fn history(&self, name: &str) -> Vec<Arc<Pod>> {
        let objects = self.objects.lock().unwrap();
        let of = |c: &Change| match c {
            Change::Put { after, .. } => after.typed::<Pod>().filter(|p| p.metadata.name == name).cloned(),
            Change::Delete { .. } => None,
        };
        objects.log.iter().filter_map(of).collect()
    }
}

fn selected(selection: &Selection, stored: &Stored) -> bool {
    let field = |path: &str| match (path, &stored.object) {
        ("metadata.name", _) => Some(stored.key.name.as_str()),
        ("spec.nodeName", Object::Pod(pod)) => Some(pod.spec.node_name.as_str()),
        _ => None,
    };
    selection.scope.contains(&stored.key) && selection.fields.matches(field)
}

struct MemoryWatch {
    api: Arc<MemoryApi>,
    selection: Selection,
    at: usize,
}

#[async_trait::async_trait]
impl WatchStream for MemoryWatch {
    async fn next(&mut self) -> Result<Vec<Change>, StoreError> {
        loop {
            let bell = Arc::clone(&self.api.bell);
            let rung = bell.notified();
            let fresh: Vec<Change> = {
                let objects = self.api.objects.lock().unwrap();
                let fresh = objects.log[self.at..].to_vec();
                self.at = objects.log.len();
                fresh
            };
            let wanted = |c: &Change| match c {
                Change::Put { after, .. } => selected(&self.selection, after),
                Change::Delete { before, .. } => selected(&self.selection, before),
            };
            let fresh: Vec<Change> = fresh.into_iter().filter(wanted).collect();
            if !fresh.is_empty() {
                return Ok(fresh);
            }
            rung.await;
        }
    }

    fn progress(&self) -> Revision {
        Revision(self.at as u64)
    }
}

/// The API as the agent holds it.
#[derive(Clone)]
pub(super) struct ApiHandle(pub(super) Arc<MemoryApi>);

#[async_trait::async_trait]
impl Client for ApiHandle {
    async fn get(&self, key: &Key) -> Result<Arc<Stored>, ApiError> {
        self.0.with(key, |s| s.cloned()).ok_or_else(|| ApiError::NotFound(key.clone()))
    }

    async fn list(&self, selection: &Selection) -> Result<ListPage, ApiError> {
        let objects = self.0.objects.lock().unwrap();
        let items = objects.now.values().filter(|s| selected(selection, s)).cloned().collect();
        Ok(ListPage { items, revision: Revision(objects.revision), remaining: 0 })
    }

    async fn watch(&self, selection: &Selection, after: Revision) -> Result<Box<dyn WatchStream>, ApiError> {
        let at = usize::try_from(after.0).unwrap();
        Ok(Box::new(MemoryWatch { api: Arc::clone(&self.0), selection: selection.clone(), at }))
    }

    async fn write(&self, writes: Vec<Write>, _: &WriteOptions) -> Vec<Result<Arc<Stored>, ApiError>> {
        self.0.requests.fetch_add(1, Ordering::Relaxed);
        let down = self.0.outages.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1)).is_ok();
        if down {
            return writes.iter().map(|_| Err(ApiError::Unavailable("an outage".into()))).collect();
        }
        let answers = {
            let mut objects = self.0.objects.lock().unwrap();
            writes.into_iter().map(|w| objects.perform(w)).collect()
        };
        self.0.bell.notify_waiters();
        answers
    }
}
