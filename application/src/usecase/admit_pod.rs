//! What the server fills into a new pod from objects beside it: its priority from a PriorityClass, its overhead from a
//! RuntimeClass. Both are copied once, so that a class which changes later changes no pod that exists.

use super::round::{Round, key_of};
use crate::client::ApiError;
use std::sync::Arc;
use steersman_domain::ports::{ListQuery, Scope};
use steersman_domain::validate::{FieldError, FieldErrorKind};
use steersman_domain::{Key, Kind, Object, Pod, PriorityClass, RuntimeClass};

impl Round<'_> {
    /// Fills in priority and overhead; the breaches where what the client wrote contradicts the classes.
    pub(super) async fn admit_classes(&mut self, pod: &mut Arc<Pod>) -> Result<(), ApiError> {
        let mut errors = Vec::new();
        self.admit_priority(pod, &mut errors).await?;
        self.admit_overhead(pod, &mut errors).await?;
        if errors.is_empty() {
            return Ok(());
        }
        Err(ApiError::Invalid { key: key_of(&Object::Pod(pod.clone())), errors })
    }

    async fn admit_priority(&mut self, pod: &mut Arc<Pod>, errors: &mut Vec<FieldError>) -> Result<(), ApiError> {
        let named = pod.spec.priority_class_name.clone();
        let class = if named.is_empty() {
            self.default_priority_class().await?
        } else {
            let key = Key::cluster(Kind::PriorityClass, &named);
            let Some(class) = self.shared(&key).await?.and_then(|stored| stored.typed::<PriorityClass>().cloned())
            else {
                let object = key_of(&Object::Pod(pod.clone()));
                let message = format!(
                    "no PriorityClass with name {named} was found: create it, or choose one of `kubectl get \
                     priorityclasses`"
                );
                return Err(ApiError::Forbidden { key: object, message });
            };
            Some(class)
        };
        let wanted = class.as_ref().map_or(0, |c| c.value);
        let policy = class.as_ref().and_then(|c| c.preemption_policy.clone());
        if pod.spec.priority.is_some_and(|p| p != wanted) {
            let detail = format!(
                "the integer value of priority ({}) must not be provided in pod spec; priority admission computed \
                 {wanted} from the given PriorityClass name",
                pod.priority()
            );
            errors.push(FieldError::new(FieldErrorKind::Forbidden, "spec.priority", detail));
        }
        if let (Some(given), Some(policy)) = (&pod.spec.preemption_policy, &policy)
            && given != policy
        {
            let detail = format!("must not differ from that of its PriorityClass, {policy}: leave it out");
            errors.push(FieldError::new(FieldErrorKind::Forbidden, "spec.preemptionPolicy", detail));
        }
        // A cluster without classes has pods without priorities: nothing to copy, nothing to store.
        if let Some(class) = class {
            let spec = &mut Arc::make_mut(pod).spec;
            spec.priority = Some(wanted);
            spec.priority_class_name = class.metadata.name.clone();
            if spec.preemption_policy.is_none() {
                spec.preemption_policy = policy;
            }
        }
        Ok(())
    }

    /// The class of pods that name none; of several the one of the lowest value, as in Kubernetes.
    async fn default_priority_class(&mut self) -> Result<Option<Arc<PriorityClass>>, ApiError> {
        if let Some(known) = &self.default_priority {
            return Ok(known.clone());
        }
        let query = ListQuery { scope: Scope::kind(Kind::PriorityClass), ..ListQuery::default() };
        let page = self.api.store.list(query).await?;
        let classes = page.items.iter().filter_map(|stored| stored.typed::<PriorityClass>());
        let found = classes.filter(|c| c.global_default).min_by_key(|c| c.value).cloned();
        self.default_priority = Some(found.clone());
        Ok(found)
    }

    async fn admit_overhead(&mut self, pod: &mut Arc<Pod>, errors: &mut Vec<FieldError>) -> Result<(), ApiError> {
        let class = pod.spec.runtime_class_name.clone();
        let fixed = if class.is_empty() {
            None
        } else {
            let stored = self.shared(&Key::cluster(Kind::RuntimeClass, &class)).await?;
            let class = stored.as_ref().and_then(|s| s.typed::<RuntimeClass>());
            class.and_then(|c| c.overhead.as_ref().map(|o| o.pod_fixed.clone()))
        };
        let given = &pod.spec.overhead;
        match fixed {
            Some(fixed) if given.is_empty() => Arc::make_mut(pod).spec.overhead = fixed,
            Some(fixed) if *given == fixed => {}
            None if given.is_empty() => {}
            Some(_) | None => {
                let detail = "must be what the pod's RuntimeClass says: leave it out, the server fills it in";
                errors.push(FieldError::new(FieldErrorKind::Forbidden, "spec.overhead", detail));
            }
        }
        Ok(())
    }
}
