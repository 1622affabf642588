//! Autoscaling: how many replicas a workload should have by what its pods use, as the HorizontalPodAutoscaler of Kubernetes
//! decides it. Pure: what was recommended before comes with the question.

mod behavior;
mod calculator;
#[cfg(test)]
mod tests;

use calculator::{Answer, Question, Resource, Tolerances};
use std::time::Duration;
use steersman_domain::ports::{AutoScaler, ScaleDecision, ScaleHistory, ScaleQuestion};
use steersman_domain::{
    ContainerResourceMetricStatus, MetricSpec, MetricStatus, MetricTarget, MetricValueStatus, Quantity,
    ResourceMetricStatus, ScalingRules, Time,
};

/// The built-in autoscaler: the algorithm of `autoscaling/v2`.
#[derive(Clone, Copy, Debug, Default)]
pub struct HorizontalAutoScaler;

impl AutoScaler for HorizontalAutoScaler {
    fn decide(&self, question: &ScaleQuestion<'_>) -> ScaleDecision {
        decide(question)
    }
}

fn nothing(reason: &str) -> ScaleDecision {
    ScaleDecision {
        replicas: None,
        recommendation: None,
        reason: reason.to_owned(),
        conditions: Vec::new(),
        current: Vec::new(),
        failures: Vec::new(),
    }
}

fn decide(question: &ScaleQuestion<'_>) -> ScaleDecision {
    let (spec, current) = (&question.autoscaler.spec, question.spec_replicas);
    let min = question.autoscaler.min_replicas();
    if current == 0 && min != 0 {
        let message = "scaling is disabled since the replica count of the target is zero";
        let conditions = vec![("ScalingActive", false, "ScalingDisabled", message.to_owned())];
        return ScaleDecision { replicas: Some(0), conditions, ..nothing("") };
    }
    if current > spec.max_replicas {
        let reason = "Current number of replicas above Spec.MaxReplicas";
        return ScaleDecision { replicas: Some(spec.max_replicas), ..nothing(reason) };
    }
    if current < min {
        let reason = "Current number of replicas below Spec.MinReplicas";
        return ScaleDecision { replicas: Some(min), ..nothing(reason) };
    }
    by_metrics(question)
}

/// What one metric says.
struct Proposal {
    replicas: i32,
    name: String,
    status: MetricStatus,
}

fn by_metrics(question: &ScaleQuestion<'_>) -> ScaleDecision {
    let current = question.spec_replicas;
    let mut failures: Vec<(&'static str, String)> = Vec::new();
    let mut proposals: Vec<Proposal> = Vec::new();
    for metric in &question.autoscaler.spec.metrics {
        match propose(question, metric) {
            Ok(proposal) => proposals.push(proposal),
            Err(failure) => failures.push(failure),
        }
    }
    let statuses: Vec<MetricStatus> = proposals.iter().map(|p| p.status.clone()).collect();
    let best = proposals.into_iter().reduce(|best, next| if next.replicas > best.replicas { next } else { best });
    // With a metric missing, others may still ask for more, but not for less.
    let proposal = match best {
        Some(best) if failures.is_empty() || best.replicas >= current => best,
        _ => {
            let (reason, message) =
                failures.first().cloned().unwrap_or(("InvalidMetricSourceType", "no metric".into()));
            let text = format!("the HPA was unable to compute the replica count: {message}");
            let mut told = failures;
            told.push(("FailedComputeMetricsReplicas", format!("invalid metrics: {message}")));
            let conditions = vec![("ScalingActive", false, reason, text)];
            return ScaleDecision { conditions, current: statuses, failures: told, ..nothing("") };
        }
    };
    let bounded = behavior::bound(question, proposal.replicas);
    let active = format!("the HPA was able to successfully calculate a replica count from {}", proposal.name);
    let (able_reason, able_message) = bounded.able;
    let (limited, limit_reason, limit_message) = bounded.limited;
    let reason = match bounded.replicas.cmp(&current) {
        std::cmp::Ordering::Greater => format!("{} above target", proposal.name),
        std::cmp::Ordering::Less => "All metrics below target".to_owned(),
        std::cmp::Ordering::Equal => String::new(),
    };
    ScaleDecision {
        replicas: Some(bounded.replicas),
        recommendation: Some(proposal.replicas),
        reason,
        conditions: vec![
            ("AbleToScale", true, able_reason, able_message.to_owned()),
            ("ScalingActive", true, "ValidMetricFound", active),
            ("ScalingLimited", limited, limit_reason, limit_message),
        ],
        current: statuses,
        failures,
    }
}

fn propose(question: &ScaleQuestion<'_>, metric: &MetricSpec) -> Result<Proposal, (&'static str, String)> {
    match (metric.kind.as_str(), &metric.resource, &metric.container_resource) {
        ("Resource", Some(source), _) => {
            let (answer, value, name) =
                resource(question, (&source.name, None), &source.target).map_err(|e| ("FailedGetResourceMetric", e))?;
            let current =
                ResourceMetricStatus { name: source.name.clone(), current: value, ..ResourceMetricStatus::default() };
            let status = MetricStatus { kind: metric.kind.clone(), resource: Some(current), ..MetricStatus::default() };
            Ok(Proposal { replicas: answer.replicas, name, status })
        }
        ("ContainerResource", _, Some(source)) => {
            let what = (source.name.as_str(), Some(source.container.as_str()));
            let (answer, value, name) =
                resource(question, what, &source.target).map_err(|e| ("FailedGetContainerResourceMetric", e))?;
            let current = ContainerResourceMetricStatus {
                name: source.name.clone(),
                container: source.container.clone(),
                current: value,
                ..ContainerResourceMetricStatus::default()
            };
            let status = MetricStatus {
                kind: metric.kind.clone(),
                container_resource: Some(current),
                ..MetricStatus::default()
            };
            Ok(Proposal { replicas: answer.replicas, name, status })
        }
        (kind, ..) => Err((
            "InvalidMetricSourceType",
            format!("there is no source of metrics of the type {kind:?}: use Resource or ContainerResource"),
        )),
    }
}

/// Replicas, status, and name of a resource metric.
fn resource(
    question: &ScaleQuestion<'_>,
    (name, container): (&str, Option<&str>),
    target: &MetricTarget,
) -> Result<(Answer, MetricValueStatus, String), String> {
    let resource = Resource::parse(name)
        .ok_or_else(|| format!("unable to get metric {name}: only cpu and memory of pods are measured"))?;
    let ask = Question {
        current: question.spec_replicas,
        resource,
        container,
        tolerances: tolerances(question),
        pods: question.pods,
        metrics: question.metrics,
        now: question.now,
    };
    let place = container.map_or_else(String::new, |c| format!("container {c} "));
    let failed = |error: String| {
        format!(
            "failed to get {name} {}: {error}",
            if target.average_value.is_some() { "usage" } else { "utilization" }
        )
    };
    let quantity = |value: i64| match resource {
        Resource::Cpu => Quantity::from_milli(value),
        Resource::Memory => Quantity::from_units(value),
    };
    let (answer, label) = match (&target.average_value, target.average_utilization) {
        (Some(average), _) => {
            let wanted = if resource == Resource::Cpu { average.milli() } else { average.value() };
            (ask.by_average(wanted).map_err(failed)?, format!("{name} {place}resource"))
        }
        (None, Some(utilization)) => {
            let label = format!("{name} {place}resource utilization (percentage of request)");
            (ask.by_utilization(utilization).map_err(failed)?, label)
        }
        (None, None) => {
            return Err(
                "invalid resource metric source: neither an average utilization nor an average value target was set"
                    .to_owned(),
            );
        }
    };
    let status = MetricValueStatus {
        average_value: Some(quantity(answer.average)),
        average_utilization: target.average_value.is_none().then_some(answer.utilization),
        ..MetricValueStatus::default()
    };
    Ok((answer, status, label))
}

fn tolerances(question: &ScaleQuestion<'_>) -> Tolerances {
    let behavior = question.autoscaler.spec.behavior.as_ref();
    let own = |rules: Option<&ScalingRules>, default: f64| {
        let tolerance = rules.and_then(|r| r.tolerance.as_ref());
        tolerance.map_or(default, |t| t.milli() as f64 / 1000.0)
    };
    Tolerances {
        down: own(behavior.and_then(|b| b.scale_down.as_ref()), Tolerances::DEFAULT.down),
        up: own(behavior.and_then(|b| b.scale_up.as_ref()), Tolerances::DEFAULT.up),
    }
}

/// What is to be remembered after a decision: of `history`, what still counts, with the recommendation and the change.
pub fn remember(question: &ScaleQuestion<'_>, decision: &ScaleDecision, applied: bool) -> ScaleHistory {
    let (now, keep) = (question.now, behavior::memory(question));
    let fresh = |list: &[(Time, i32)]| -> Vec<(Time, i32)> {
        list.iter().filter(|(at, _)| *at <= now && now.since(*at) < keep.max(Duration::from_secs(1))).copied().collect()
    };
    let history = question.history;
    let mut next = ScaleHistory {
        recommendations: fresh(&history.recommendations),
        ups: fresh(&history.ups),
        downs: fresh(&history.downs),
    };
    next.recommendations.extend(decision.recommendation.map(|replicas| (now, replicas)));
    let change = decision.replicas.filter(|_| applied).map_or(0, |replicas| replicas - question.spec_replicas);
    if change > 0 {
        next.ups.push((now, change));
    } else if change < 0 {
        next.downs.push((now, -change));
    }
    next
}
