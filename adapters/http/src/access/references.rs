//! Which objects the pods of each node refer to, kept in line with the pods by their changes alone: a question costs what
//! has changed since the last one, however many pods there are. Nothing runs between questions.

use futures_util::FutureExt as _;
use std::collections::BTreeMap;
use std::time::Duration;
use steersman_application::client::{ApiError, Client as _, Selection};
use steersman_application::usecase::Api;
use steersman_domain::ports::{Change, Scope, WatchStream};
use steersman_domain::{Key, Kind, Pod, Stored, Str};
use tokio::sync::Mutex;

/// How long to wait for a store that has not delivered yet what it has committed, and how often: five seconds in all.
const WAIT: Duration = Duration::from_millis(5);
const MOST_WAITS: u32 = 1000;

/// The references of all nodes' pods.
#[derive(Default)]
pub(crate) struct References(Mutex<Option<Following>>);

impl References {
    /// Whether a pod that is bound to the node refers to the object, by everything that was committed before the question.
    pub(crate) async fn refer(&self, api: &Api, node: &str, key: &Key) -> Result<bool, ApiError> {
        let mut kept = self.0.lock().await;
        if let Some(following) = kept.as_mut() {
            match following.catch_up(api).await {
                Ok(()) => return Ok(following.counts.has(node, key)),
                // Nobody asked for so long that the changes since are forgotten.
                Err(ApiError::Expired(_)) => {}
                Err(error) => {
                    *kept = None;
                    return Err(error);
                }
            }
        }
        let following = kept.insert(Following::begin(api).await?);
        Ok(following.counts.has(node, key))
    }
}

struct Following {
    counts: Counts,
    changes: Box<dyn WatchStream>,
}

impl Following {
    async fn begin(api: &Api) -> Result<Self, ApiError> {
        let selection = Selection { scope: Scope::kind(Kind::Pod), ..Selection::default() };
        let page = api.list(&selection).await?;
        let mut counts = Counts::default();
        page.items.iter().for_each(|stored| counts.add(stored));
        Ok(Following { counts, changes: api.watch(&selection, page.revision).await? })
    }

    /// Takes in every change up to the newest revision.
    async fn catch_up(&mut self, api: &Api) -> Result<(), ApiError> {
        let newest = api.head().await?.revision;
        let mut waits = 0;
        while self.changes.progress() < newest {
            // Where no pod has changed the stream has nothing to say, but moves on when it is asked.
            let ready = self.changes.next().now_or_never();
            if ready.is_none() && self.changes.progress() >= newest {
                break;
            }
            let changes = match ready {
                Some(changes) => changes?,
                None if waits == MOST_WAITS => {
                    return Err(ApiError::Unavailable("the store does not deliver the changes of pods".into()));
                }
                None => {
                    waits += 1;
                    tokio::select! {
                        biased;
                        changes = self.changes.next() => changes?,
                        () = api.clock().sleep(WAIT) => Vec::new(),
                    }
                }
            };
            changes.iter().for_each(|change| self.counts.apply(change));
        }
        Ok(())
    }
}

/// For each node, how many of its pods refer to an object.
#[derive(Debug, Default, PartialEq)]
struct Counts(BTreeMap<Str, BTreeMap<Key, u32>>);

fn bound(stored: &Stored) -> Option<&Pod> {
    stored.typed::<Pod>().map(|pod| &**pod).filter(|pod| !pod.spec.node_name.is_empty())
}

impl Counts {
    fn has(&self, node: &str, key: &Key) -> bool {
        self.0.get(node).is_some_and(|counts| counts.contains_key(key))
    }

    fn apply(&mut self, change: &Change) {
        match change {
            Change::Put { before, after } => {
                let same = |b: &Stored| matches!((b.typed::<Pod>(), after.typed::<Pod>()), (Some(b), Some(a)) if b.spec == a.spec);
                if before.as_deref().is_some_and(same) {
                    return;
                }
                // What the pod goes on referring to is never counted out.
                self.add(after);
                before.iter().for_each(|before| self.take(before));
            }
            Change::Delete { before, .. } => self.take(before),
        }
    }

    fn add(&mut self, stored: &Stored) {
        let Some(pod) = bound(stored) else { return };
        let counts = self.0.entry(pod.spec.node_name.clone()).or_default();
        for key in pod.references() {
            *counts.entry(key).or_default() += 1;
        }
    }

    fn take(&mut self, stored: &Stored) {
        let Some(pod) = bound(stored) else { return };
        let Some(counts) = self.0.get_mut(&pod.spec.node_name) else { return };
        for key in pod.references() {
            if let Some(count) = counts.get_mut(&key) {
                *count -= 1;
                if *count == 0 {
                    counts.remove(&key);
                }
            }
        }
        if counts.is_empty() {
            self.0.remove(&pod.spec.node_name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::sync::Arc;
    use steersman_domain::{Object, Revision};

    fn stored(name: &str, node: &str, secret: &str) -> Arc<Stored> {
        let value = json!({"metadata": {"name": name, "namespace": "d"}, "spec": {"nodeName": node,
            "volumes": [{"name": "v", "secret": {"secretName": secret}}]}});
        let object = Object::from_value(Kind::Pod, value).expect("a pod");
        Arc::new(Stored::new(Key::new(Kind::Pod, "d", name), Revision(1), object))
    }

    #[test]
    fn references_come_and_go_with_the_last_pod_that_has_them() {
        let secret = |name: &str| Key::new(Kind::Secret, "d", name);
        let put = |before: Option<&Arc<Stored>>, after: &Arc<Stored>| Change::Put {
            before: before.cloned(),
            after: after.clone(),
        };
        let delete = |last: &Arc<Stored>| Change::Delete { before: last.clone(), last: last.clone() };
        let mut counts = Counts::default();
        let (open, a, b) = (stored("a", "", "s"), stored("a", "n1", "s"), stored("b", "n1", "s"));
        counts.apply(&put(None, &open));
        assert_eq!(counts, Counts::default(), "a pod that is not bound gives nobody anything");
        counts.apply(&put(Some(&open), &a));
        counts.apply(&put(None, &b));
        counts.apply(&put(Some(&b), &b));
        assert!(counts.has("n1", &secret("s")) && !counts.has("n2", &secret("s")) && !counts.has("n1", &secret("t")));
        counts.apply(&delete(&a));
        assert!(counts.has("n1", &secret("s")), "the other pod still refers to it");
        counts.apply(&delete(&b));
        assert_eq!(counts, Counts::default(), "nothing is kept of pods that are gone");
    }
}
