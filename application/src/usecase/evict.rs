//! Eviction: the deletion of a pod that its disruption budget allows. The budget is charged in the transaction that deletes,
//! so that no two evictions are let in on one allowance.
//! Source of the rules: Kubernetes `pkg/registry/core/pod/storage/eviction.go`.

use super::Api;
use crate::client::{ApiError, Client as _, DeleteOptions, Part, Selection, Write, WriteOptions};
use std::sync::Arc;
use steersman_domain::ports::Scope;
use steersman_domain::{Key, Kind, Object, Pod, PodDisruptionBudget, PodPhase, Resource as _, Stored};

/// How often an eviction is tried again because the budget or the pod has changed meanwhile.
const MOST_ATTEMPTS: usize = 20;
/// Evictions of one budget that may be on their way.
const MOST_DISRUPTED: usize = 2000;

const REFUSED: &str = "Cannot evict pod as it would violate the pod's disruption budget.";

impl Api {
    /// Evicts a pod: deletes it, if its disruption budget allows.
    ///
    /// # Errors
    /// [`ApiError::TooManyRequests`] when the budget is spent for now; `NotSupported` when several budgets cover the pod.
    pub async fn evict(&self, key: &Key, options: &DeleteOptions) -> Result<Arc<Stored>, ApiError> {
        for _ in 0..MOST_ATTEMPTS {
            let stored = self.get(key).await?;
            let Some(pod) = stored.typed::<Pod>() else {
                return Err(ApiError::BadRequest(format!("{key} is not a pod and cannot be evicted")));
            };
            let Some(budget) = self.budget_of(pod).await? else { return self.delete(key, options).await };
            let Some(charged) = charge(&budget, pod, self.now().truncated())? else {
                return self.delete(key, options).await;
            };
            let mut delete = options.clone();
            delete.uid.get_or_insert_with(|| pod.metadata.uid.clone());
            let writes = vec![
                Write::Update(Object::PodDisruptionBudget(Arc::new(charged)), Part::Status),
                Write::Delete(key.clone(), delete),
            ];
            let how = WriteOptions { atomic: true, dry_run: options.dry_run, ..WriteOptions::default() };
            let mut answers = self.write(writes, &how).await.into_iter();
            match (answers.next(), answers.next()) {
                (Some(Ok(_)), Some(deleted)) => return deleted,
                // The budget has changed: what it allows now is another matter. Else it is the pod that stood in the way.
                (Some(Err(ApiError::Conflict { .. })), Some(refused)) => {
                    let now = self.get(&budget.key()).await;
                    if now.is_ok_and(|now| now.revision == budget.metadata.resource_version) {
                        return refused;
                    }
                }
                (Some(Err(error)), _) => return Err(error),
                _ => return Err(ApiError::Unavailable("the store gave no answer".into())),
            }
        }
        Err(busy("The disruption budget changes all the time."))
    }

    /// The budget that covers a pod; `None`: none does, or its end disrupts nothing.
    async fn budget_of(&self, pod: &Pod) -> Result<Option<Arc<PodDisruptionBudget>>, ApiError> {
        let ends = pod.metadata.is_deleting() || pod.is_terminal() || pod.status.phase == PodPhase::Pending;
        if ends {
            return Ok(None);
        }
        let namespace = Some(pod.metadata.namespace.clone());
        let scope = Scope { kind: Some(Kind::PodDisruptionBudget), namespace, node: None };
        let page = self.list(&Selection { scope, ..Selection::default() }).await?;
        let budgets = page.items.iter().filter_map(|s| s.typed::<PodDisruptionBudget>());
        let mut covering = budgets.filter(|budget| budget.covers(pod)).cloned();
        let first = covering.next();
        if covering.next().is_some() {
            let why =
                "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.";
            return Err(ApiError::NotSupported(why.into()));
        }
        Ok(first)
    }
}

fn busy(cause: &str) -> ApiError {
    ApiError::TooManyRequests { message: format!("{REFUSED} {cause}"), retry_after_secs: 10 }
}

/// The budget with one disruption less; `None`: the pod is not healthy, and the budget does not count it.
fn charge(
    budget: &PodDisruptionBudget,
    pod: &Pod,
    now: steersman_domain::Time,
) -> Result<Option<PodDisruptionBudget>, ApiError> {
    let (name, status) = (&budget.metadata.name, &budget.status);
    let (current, desired) = (status.current_healthy.0, status.desired_healthy.0);
    if !pod.is_ready() && (budget.always_allows_unhealthy() || desired > 0 && current >= desired) {
        return Ok(None);
    }
    if status.observed_generation < budget.metadata.generation {
        return Err(busy(&format!("The disruption budget {name} is still being processed by the server.")));
    }
    if status.disrupted_pods.iter().count() > MOST_DISRUPTED {
        let message = format!("the disruption budget {name} has too many evictions that are not confirmed yet");
        return Err(ApiError::Forbidden { key: pod.key(), message });
    }
    if status.disruptions_allowed.0 <= 0 {
        let cause = format!("The disruption budget {name} needs {desired} healthy pods and has {current} currently");
        return Err(busy(&cause));
    }
    let mut charged = budget.clone();
    charged.status.disruptions_allowed.0 -= 1;
    charged.status.disrupted_pods.insert(pod.metadata.name.clone(), now);
    Ok(Some(charged))
}
