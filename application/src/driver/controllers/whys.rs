//! Why each object was left or changed as it is: the last reasons of every controller for every key, for `steer why`.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use steersman_domain::{Key, Time};

/// How many objects are remembered; the oldest go first. A record takes about 300 bytes.
const MAX_KEYS: usize = 20_000;

/// The last reasons of one controller about one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Why {
    /// The controller.
    pub controller: &'static str,
    /// When these reasons first held.
    pub since: Time,
    /// What it said, in its own words.
    pub reasons: Vec<String>,
}

/// Reasons by object; cheap to clone, shared between the driver that writes and whoever explains.
#[derive(Clone, Debug, Default)]
pub struct Whys(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    records: BTreeMap<Key, Vec<Why>>,
    order: VecDeque<Key>,
}

impl Whys {
    /// The last reasons about an object, by controller.
    pub fn get(&self, key: &Key) -> Vec<Why> {
        self.lock().records.get(key).cloned().unwrap_or_default()
    }

    /// Remembers reasons. None given: the last ones stay.
    pub(super) fn note(&self, key: &Key, controller: &'static str, reasons: Vec<String>, now: Time) {
        if reasons.is_empty() {
            return;
        }
        let mut inner = self.lock();
        if !inner.records.contains_key(key) {
            if inner.order.len() >= MAX_KEYS
                && let Some(oldest) = inner.order.pop_front()
            {
                inner.records.remove(&oldest);
            }
            inner.order.push_back(key.clone());
        }
        let list = inner.records.entry(key.clone()).or_default();
        match list.iter_mut().find(|w| w.controller == controller) {
            Some(why) if why.reasons == reasons => {}
            Some(why) => (why.since, why.reasons) = (now, reasons),
            None => list.push(Why { controller, since: now, reasons }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A holder that panicked left whole records behind.
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use steersman_domain::Kind;

    #[test]
    fn keeps_the_last_reasons_and_since_when() {
        let whys = Whys::default();
        let key = Key::new(Kind::Deployment, "d", "web");
        let at = Time::from_secs;
        for (reason, time) in [("a", 1), ("a", 2), ("b", 3)] {
            whys.note(&key, "x", vec![reason.to_owned()], at(time));
            let since = if time == 3 { 3 } else { 1 };
            let expected = Why { controller: "x", since: at(since), reasons: vec![reason.to_owned()] };
            assert_eq!(whys.get(&key), [expected]);
        }
        whys.note(&key, "x", Vec::new(), at(4));
        assert_eq!(whys.get(&key).len(), 1);
        for n in 0..MAX_KEYS {
            whys.note(&Key::new(Kind::Pod, "d", &n.to_string()), "x", vec![String::new()], at(5));
        }
        assert_eq!(whys.get(&key), [], "bounded: the oldest is forgotten");
    }
}
