//! Changing the number of replicas, also while a rollout is under way or paused: then every active set grows or shrinks in
//! proportion, so that a risk taken with few pods is not multiplied.

use super::revision::{DESIRED, MOST, count};
use super::{Rollout, bounds};
use std::cmp::Reverse;

impl Rollout<'_> {
    /// Whether the wanted number of replicas has changed since the sets were last scaled.
    pub(super) fn is_scaling(&self) -> bool {
        let active = self.active();
        let moved = |at: &usize| {
            count(&self.sets[*at].now.metadata, DESIRED).is_some_and(|desired| desired != self.deployment.replicas())
        };
        // Who recreates never has two active sets for long; the rollout itself then brings one of them to nothing.
        let undecided = !bounds::is_rolling(&self.deployment) && active.len() > 1;
        !undecided && active.iter().any(moved)
    }

    fn active(&self) -> Vec<usize> {
        (0..self.sets.len()).filter(|&at| self.sets[at].is_active()).collect()
    }

    /// Scales to the wanted number without moving from one template to another.
    pub(super) fn scale(&mut self) {
        let wanted = self.deployment.replicas();
        let active = self.active();
        let only = match active.as_slice() {
            [] => self.new.or_else(|| self.sets.len().checked_sub(1)),
            [one] => Some(*one),
            _ => None,
        };
        if let Some(at) = only {
            self.scale_to(at, wanted);
        } else if self.new.is_some_and(|new| self.is_saturated(new)) {
            for at in self.old() {
                if self.sets[at].is_active() {
                    self.scale_to(at, 0);
                }
            }
        } else if bounds::is_rolling(&self.deployment) {
            self.scale_in_proportion(active);
        }
    }

    /// Whether the new set alone has all pods, and they are available.
    fn is_saturated(&self, new: usize) -> bool {
        let (set, wanted) = (&self.sets[new].now, self.deployment.replicas());
        set.replicas() == wanted
            && count(&set.metadata, DESIRED) == Some(wanted)
            && set.status.available_replicas == wanted
    }

    fn scale_in_proportion(&mut self, mut active: Vec<usize>) {
        let wanted = self.deployment.replicas();
        let allowed = if wanted > 0 { bounds::max_total(&self.deployment) } else { 0 };
        let to_add = allowed.saturating_sub(self.total());
        // The largest first; of equal ones the newest when growing, the oldest when shrinking.
        active.sort_by_key(|&at| {
            let age = i64::try_from(at).unwrap_or(i64::MAX);
            (Reverse(self.sets[at].replicas()), if to_add > 0 { -age } else { age })
        });
        let mut added = 0;
        let mut sizes = Vec::new();
        for &at in &active {
            let share = if to_add == added { 0 } else { self.share(at, to_add - added, to_add > 0) };
            added += share;
            sizes.push(self.sets[at].replicas() + share);
        }
        if let Some(first) = sizes.first_mut() {
            *first = (*first + to_add - added).max(0);
        }
        for (at, size) in active.into_iter().zip(sizes) {
            self.scale_to(at, size);
        }
    }

    /// What a set gets of the pods that are left to add (or, negative, to remove).
    fn share(&self, at: usize, left: i32, is_growing: bool) -> i32 {
        let fraction = self.fraction(at);
        if is_growing { fraction.min(left) } else { fraction.max(left) }
    }

    /// By how much a set is to change so that it keeps its part of the whole.
    fn fraction(&self, at: usize) -> i32 {
        let set = &self.sets[at];
        let has = set.replicas();
        if self.deployment.replicas() == 0 {
            return -has;
        }
        let before = count(&set.now.metadata, MOST).filter(|&n| n > 0).unwrap_or(self.deployment.status.replicas);
        if before <= 0 {
            return 0;
        }
        let (before, product) =
            (i64::from(before), i64::from(has).saturating_mul(i64::from(bounds::max_total(&self.deployment))));
        // Rounded to the nearest, a half up.
        let size = product.saturating_mul(2).saturating_add(before) / before.saturating_mul(2);
        i32::try_from(size).unwrap_or(i32::MAX).saturating_sub(has)
    }
}
