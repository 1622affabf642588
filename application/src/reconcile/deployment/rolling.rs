//! Rolling out: step by step within the bounds, or all at once after the old pods are gone.

use super::{Rollout, bounds};
use steersman_domain::Pod;

impl Rollout<'_> {
    /// One step of a rolling update: the new set up as far as the surge allows; else the old ones down as far as
    /// availability allows, unhealthy pods first.
    pub(super) fn roll(&mut self) {
        if let Some(new) = self.ensure_new() {
            let scaled = self.grow_new(new) || self.shrink_old(new);
            if !scaled && self.is_complete(&self.count()) {
                self.clean_up();
            }
        }
        self.report();
    }

    /// Replaces all pods at once: the old ones must be gone, down to the last that is still ending.
    pub(super) fn recreate(&mut self) {
        self.take_new();
        let mut scaled = false;
        for at in self.old() {
            scaled |= self.sets[at].is_active() && self.scale_to(at, 0);
        }
        if scaled || self.old_pods_run() {
            self.why("waits until the old pods are gone".into());
            return self.report();
        }
        if let Some(new) = self.ensure_new() {
            let scaled = self.sets[new].replicas() != self.deployment.replicas()
                && self.scale_to(new, self.deployment.replicas());
            if !scaled && self.is_complete(&self.count()) {
                self.clean_up();
            }
        }
        self.report();
    }

    fn old_pods_run(&self) -> bool {
        self.old().into_iter().any(|at| {
            let set = &self.sets[at].now;
            set.status.replicas.0 > 0 || self.world.controlled::<Pod>(&set.metadata.uid).any(|pod| !pod.is_terminal())
        })
    }

    /// The replicas that the new set may have now.
    pub(super) fn new_replicas(&self, new: usize) -> i32 {
        let (has, wanted) = (self.sets[new].replicas(), self.deployment.replicas());
        if !bounds::is_rolling(&self.deployment) {
            return wanted;
        }
        let room = bounds::max_total(&self.deployment).saturating_sub(self.total());
        if room <= 0 { has } else { has.saturating_add(room.min(wanted.saturating_sub(has))) }
    }

    fn grow_new(&mut self, new: usize) -> bool {
        let (has, wanted) = (self.sets[new].replicas(), self.deployment.replicas());
        let goal = match has.cmp(&wanted) {
            std::cmp::Ordering::Equal => return false,
            std::cmp::Ordering::Greater => wanted,
            std::cmp::Ordering::Less => self.new_replicas(new),
        };
        goal != has && self.scale_to(new, goal)
    }

    fn shrink_old(&mut self, new: usize) -> bool {
        let old = self.old();
        if old.iter().all(|&at| !self.sets[at].is_active()) {
            return false;
        }
        if let Some(set) = self.sets.iter().find(|set| !set.is_observed()) {
            let why = format!("waits until {} has been seen by its controller as it is", set.now.metadata.name);
            self.why(why);
            return false;
        }
        let least = self.deployment.replicas() - bounds::max_unavailable(&self.deployment);
        let new_unavailable = self.sets[new].replicas() - self.sets[new].available();
        let room = self.total().saturating_sub(least).saturating_sub(new_unavailable);
        if room <= 0 {
            self.why(format!("waits until more pods of the new template are available: {least} must be"));
            return false;
        }
        let cleaned = self.drop_unhealthy(&old, room);
        let available = self.sets.iter().map(super::Set::available).fold(0, i32::saturating_add);
        // The room by wanted numbers bounds the way down too: a status may lag behind an earlier step.
        let spare = (available - least).min(room - cleaned);
        let mut left = spare.max(0);
        for at in old {
            let has = self.sets[at].replicas();
            let down = has.min(left);
            if down > 0 && self.scale_to(at, has - down) {
                left -= down;
            }
        }
        cleaned > 0 || left < spare
    }

    /// Takes pods that are not available out of the old sets, at most `room`; answers how many.
    fn drop_unhealthy(&mut self, old: &[usize], room: i32) -> i32 {
        let mut cleaned = 0;
        for &at in old {
            let has = self.sets[at].replicas();
            let down = (has - self.sets[at].available()).min(room - cleaned);
            if down > 0 && self.scale_to(at, has - down) {
                cleaned += down;
            }
        }
        cleaned
    }
}
