//! What scheduling needs to know beside nodes and pods.

use super::Profile;
use std::collections::BTreeMap;
use std::sync::Arc;
use steersman_domain::{Pod, RuntimeClass, Str};

/// Profiles, runtime classes and defaults.
#[derive(Clone, Debug, Default)]
pub struct SchedulingContext {
    profiles: Vec<Profile>,
    classes: BTreeMap<Str, Arc<RuntimeClass>>,
    default_runtime: Str,
    /// Counts changes, so that what was worked out from an older state is not used.
    version: u64,
}

impl SchedulingContext {
    /// `default_runtime` is the runtime of pods that name none.
    pub fn new(profiles: Vec<Profile>, default_runtime: &str) -> Self {
        SchedulingContext { profiles, default_runtime: default_runtime.into(), version: 1, ..Default::default() }
    }

    /// The profile of a pod; `None`: another scheduler's.
    pub fn profile(&self, pod: &Pod) -> Option<&Profile> {
        self.profiles.iter().find(|p| p.name == pod.scheduler_name())
    }

    /// The runtime class object of a pod, when there is one.
    pub fn class(&self, pod: &Pod) -> Option<&RuntimeClass> {
        self.classes.get(&pod.spec.runtime_class_name).map(|c| &**c)
    }

    /// The runtime handler of a pod: its class's, else the class name itself, else the default.
    pub fn handler<'a>(&'a self, pod: &'a Pod) -> &'a str {
        match self.class(pod) {
            Some(class) if !class.handler.is_empty() => &class.handler,
            _ if !pod.spec.runtime_class_name.is_empty() => &pod.spec.runtime_class_name,
            _ => &self.default_runtime,
        }
    }

    /// A runtime class was added or has changed.
    pub fn put_class(&mut self, class: Arc<RuntimeClass>) {
        self.classes.insert(class.metadata.name.clone(), class);
        self.version += 1;
    }

    /// A runtime class is gone. Answers whether it was there.
    pub fn remove_class(&mut self, name: &str) -> bool {
        self.version += 1;
        self.classes.remove(name).is_some()
    }

    /// Forgets the runtime classes.
    pub fn clear_classes(&mut self) {
        self.classes.clear();
        self.version += 1;
    }

    pub(super) fn version(&self) -> u64 {
        self.version
    }
}
