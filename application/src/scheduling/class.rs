//! Classes of pods that ask the same of node objects (selector, affinity, tolerations, runtime): for each class, which nodes
//! suit it and how well, worked out once and kept. Nodes that changed since a class was last asked are looked at again when
//! it is asked the next time.

use super::profile::Profile;
use super::topology::Eligible;
use super::{Basis, Demand, NodeInfo};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use steersman_domain::NodeAffinity;
use steersman_domain::ports::MOST_SCORES;
use steersman_domain::selector::Selector;
use steersman_domain::{Shared, Str, Toleration};

/// Nodes in all classes together at most: bounds the memory at about half a gigabyte.
const MOST_ENTRIES: usize = 4 << 20;
/// Classes that are kept in any case.
const LEAST_CLASSES: usize = 8;
const MOST_CLASSES: usize = 256;

/// What pods of a class have in common.
#[derive(Clone, Debug)]
struct ClassKey {
    profile: Str,
    handler: Str,
    selector: Selector,
    affinity: Option<Shared<NodeAffinity>>,
    tolerations: Vec<Shared<Toleration>>,
    extended: Vec<Str>,
    images: Vec<Str>,
}

impl ClassKey {
    fn of(demand: &Demand, profile: &Profile) -> Self {
        let spec = &demand.pod.spec;
        ClassKey {
            profile: profile.name.clone(),
            handler: demand.handler.clone(),
            selector: demand.selector.clone(),
            affinity: spec.affinity.as_ref().and_then(|a| a.node_affinity.clone()),
            tolerations: demand.tolerations.clone(),
            extended: demand.request().extended.keys().cloned().collect(),
            images: spec.containers.iter().map(|c| c.image.clone()).collect(),
        }
    }

    fn is(&self, demand: &Demand, profile: &Profile, images: bool) -> bool {
        let spec = &demand.pod.spec;
        let affinity = spec.affinity.as_ref().and_then(|a| a.node_affinity.as_ref());
        let same_affinity = match (&self.affinity, affinity) {
            (None, None) => true,
            (Some(a), Some(b)) => Shared::ptr_eq(a, b) || a == b,
            _ => false,
        };
        same_affinity
            && self.profile == profile.name
            && self.handler == demand.handler
            && self.selector == demand.selector
            && self.tolerations.len() == demand.tolerations.len()
            && self.tolerations.iter().zip(&demand.tolerations).all(|(a, b)| Shared::ptr_eq(a, b) || a == b)
            && self.extended.iter().eq(demand.request().extended.keys())
            && (!images || self.images.iter().eq(spec.containers.iter().map(|c| &c.image)))
    }
}

/// A node that does not suit.
pub(super) const UNSUITABLE: i32 = i32::MIN;

/// One class.
#[derive(Clone, Debug)]
pub(super) struct Class {
    key: ClassKey,
    demand: Arc<Demand>,
    /// By node: the weighted sum of the scores that depend on the node alone, or that it does not suit.
    suits: Vec<i32>,
    /// The scores of each node that depend on the node alone; the others are 0.
    scores: Vec<[u8; MOST_SCORES]>,
    /// The nodes that suit, by how well, best first.
    pub(super) groups: BTreeMap<Reverse<i32>, BTreeSet<u32>>,
    pub(super) len: usize,
    eligible: Option<Arc<Eligible>>,
    /// Nodes to look at again.
    dirty: Vec<u32>,
    used: u64,
}

impl Class {
    fn new(demand: &Arc<Demand>, profile: &Profile, infos: &[NodeInfo]) -> Self {
        let mut class = Class {
            key: ClassKey::of(demand, profile),
            demand: demand.clone(),
            suits: Vec::new(),
            scores: Vec::new(),
            groups: BTreeMap::new(),
            len: 0,
            eligible: None,
            dirty: infos.iter().map(|i| i.index).collect(),
            used: 0,
        };
        class.catch_up(profile, infos);
        class
    }

    fn judge(&mut self, profile: &Profile, info: &NodeInfo) -> i32 {
        if info.node.is_none() || !profile.node_filters().all(|f| f.passes(&self.demand, info)) {
            return UNSUITABLE;
        }
        let mut total = 0;
        let values = &mut self.scores[info.index as usize];
        for (value, (score, weight)) in values.iter_mut().zip(profile.scores()) {
            if score.basis() == Basis::Node {
                let points = score.of(&self.demand, info).clamp(0, 100);
                *value = u8::try_from(points).unwrap_or(100);
                total += points * weight;
            }
        }
        i32::try_from(total).unwrap_or(i32::MAX)
    }

    /// Makes up for what has changed.
    fn catch_up(&mut self, profile: &Profile, infos: &[NodeInfo]) {
        if self.dirty.is_empty() {
            return;
        }
        self.eligible = None;
        self.suits.resize(infos.len(), UNSUITABLE);
        self.scores.resize(infos.len(), [0; MOST_SCORES]);
        for node in std::mem::take(&mut self.dirty) {
            let at = node as usize;
            let (old, new) = (self.suits[at], self.judge(profile, &infos[at]));
            if old == new {
                continue;
            }
            if old != UNSUITABLE {
                self.len -= 1;
                if let Some(group) = self.groups.get_mut(&Reverse(old)) {
                    group.remove(&node);
                    if group.is_empty() {
                        self.groups.remove(&Reverse(old));
                    }
                }
            }
            if new != UNSUITABLE {
                self.len += 1;
                self.groups.entry(Reverse(new)).or_default().insert(node);
            }
            self.suits[at] = new;
        }
    }

    /// How well a node suits: see [`UNSUITABLE`].
    pub(super) fn suits(&self, node: u32) -> i32 {
        self.suits.get(node as usize).copied().unwrap_or(UNSUITABLE)
    }

    /// The scores of a node that depend on the node alone, in the order of the profile; the others are 0.
    pub(super) fn scores(&self, node: u32) -> [u8; MOST_SCORES] {
        self.scores.get(node as usize).copied().unwrap_or_default()
    }

    /// Which nodes count for topology spread of the class.
    pub(super) fn eligible(&mut self, infos: &[NodeInfo]) -> Arc<Eligible> {
        let demand = self.demand.clone();
        self.eligible.get_or_insert_with(|| Arc::new(super::eligible(&demand, infos))).clone()
    }
}

/// All classes.
#[derive(Clone, Debug, Default)]
pub(super) struct Classes {
    list: Vec<Option<Box<Class>>>,
    uses: u64,
}

impl Classes {
    /// Takes out the class of a demand, up to date; it must be put back.
    pub(super) fn take(&mut self, demand: &Arc<Demand>, profile: &Profile, infos: &[NodeInfo]) -> (usize, Box<Class>) {
        self.uses += 1;
        let images = profile.reads_images;
        let is = |class: &Option<Box<Class>>| {
            class.as_ref().is_some_and(|c| Arc::ptr_eq(&c.demand, demand) || c.key.is(demand, profile, images))
        };
        let hint = demand.class.load(Ordering::Relaxed);
        let at = if self.list.get(hint).is_some_and(is) {
            hint
        } else {
            let at = self.list.iter().position(is).unwrap_or_else(|| self.add(demand, profile, infos));
            demand.class.store(at, Ordering::Relaxed);
            at
        };
        let mut class = self.list[at].take().unwrap_or_else(|| Box::new(Class::new(demand, profile, infos)));
        class.used = self.uses;
        class.catch_up(profile, infos);
        (at, class)
    }

    fn add(&mut self, demand: &Arc<Demand>, profile: &Profile, infos: &[NodeInfo]) -> usize {
        let room = (MOST_ENTRIES / infos.len().max(1)).clamp(LEAST_CLASSES, MOST_CLASSES);
        let class = Some(Box::new(Class::new(demand, profile, infos)));
        if self.list.len() < room {
            self.list.push(class);
            return self.list.len() - 1;
        }
        let oldest = self.list.iter().enumerate().min_by_key(|(_, c)| c.as_ref().map(|c| c.used));
        let at = oldest.map_or(0, |(at, _)| at);
        self.list[at] = class;
        at
    }

    pub(super) fn put_back(&mut self, at: usize, class: Box<Class>) {
        if let Some(slot) = self.list.get_mut(at) {
            *slot = Some(class);
        }
    }

    /// A node was added, has changed, or is gone.
    pub(super) fn node_changed(&mut self, node: u32) {
        for class in self.list.iter_mut().flatten() {
            class.dirty.push(node);
            // A class that nobody has asked for long notes each node once.
            if class.dirty.len() > class.suits.len().max(64) * 2 {
                class.dirty.sort_unstable();
                class.dirty.dedup();
            }
        }
    }

    /// Forgets all.
    pub(super) fn forget(&mut self) {
        self.list.clear();
    }
}
