//! How fast the replicas may follow what the metrics ask for: windows of stabilization and policies. Source of the
//! algorithm: Kubernetes `pkg/controller/podautoscaler/horizontal.go`.

use std::time::Duration;
use steersman_domain::ports::{ScaleHistory, ScaleQuestion};
use steersman_domain::{ScalingPolicy, ScalingRules, Time};

/// For how long a recommendation holds against scaling down.
const DOWN_WINDOW: i32 = 300;
/// Without rules, replicas at most double at once, or become four.
const UP_FACTOR: i32 = 2;
const UP_LEAST: i32 = 4;

/// A number of replicas, with the condition that says what bounds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bounded {
    pub(super) replicas: i32,
    /// Reason and message of `AbleToScale`.
    pub(super) able: (&'static str, &'static str),
    /// Whether it is limited, with reason and message.
    pub(super) limited: (bool, &'static str, String),
}

/// Brings what the metrics ask for between all bounds.
pub(super) fn bound(question: &ScaleQuestion<'_>, desired: i32) -> Bounded {
    let (current, history, now) = (question.spec_replicas, question.history, question.now);
    let spec = &question.autoscaler.spec;
    let (up, down) = match &spec.behavior {
        Some(behavior) => (behavior.scale_up.as_ref(), behavior.scale_down.as_ref()),
        None => (None, None),
    };
    let window =
        |rules: Option<&ScalingRules>, default| rules.and_then(|r| r.stabilization_window_seconds).unwrap_or(default);
    let stable = stabilize(current, desired, (window(up, 0), window(down, DOWN_WINDOW)), (history, now));
    let able = match stable.cmp(&desired) {
        std::cmp::Ordering::Equal => ("ReadyForNewScale", "recommended size matches current size"),
        std::cmp::Ordering::Greater => (
            "ScaleDownStabilized",
            "recent recommendations were higher than current one, applying the highest recent recommendation",
        ),
        std::cmp::Ordering::Less => (
            "ScaleUpStabilized",
            "recent recommendations were lower than current one, applying the lowest recent recommendation",
        ),
    };
    let bounds = (question.autoscaler.min_replicas(), spec.max_replicas);
    let (replicas, limited) = if spec.behavior.is_some() {
        by_rules(current, stable, bounds, (up, down), (history, now))
    } else {
        let limit = (current.saturating_mul(UP_FACTOR)).max(UP_LEAST);
        if stable > limit.min(bounds.1) && limit < bounds.1 {
            (limit, (true, "ScaleUpLimit", TOO_FAST_UP.to_owned()))
        } else {
            within(stable, bounds)
        }
    };
    Bounded { replicas, able, limited }
}

const TOO_FAST_UP: &str = "the desired replica count is increasing faster than the maximum scale rate";
const TOO_FAST_DOWN: &str = "the desired replica count is decreasing faster than the maximum scale rate";

fn within(replicas: i32, (min, max): (i32, i32)) -> (i32, (bool, &'static str, String)) {
    if replicas < min {
        let message = "the desired replica count is less than the minimum replica count";
        return (min, (true, "TooFewReplicas", message.to_owned()));
    }
    if replicas > max {
        let message = "the desired replica count is more than the maximum replica count";
        return (max, (true, "TooManyReplicas", message.to_owned()));
    }
    (replicas, (false, "DesiredWithinRange", "the desired count is within the acceptable range".to_owned()))
}

/// Whether something was within so many seconds. What seems to come from the future was there before the clock was set
/// back, and says nothing any more.
fn after(time: Time, seconds: i32, now: Time) -> bool {
    time <= now && now.since(time) < Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}

/// The recommendation that all of the window agree on.
fn stabilize(
    current: i32,
    desired: i32,
    (up_window, down_window): (i32, i32),
    (history, now): (&ScaleHistory, Time),
) -> i32 {
    let (mut lowest, mut highest) = (desired, desired);
    for (at, recommendation) in &history.recommendations {
        if after(*at, up_window, now) {
            lowest = lowest.min(*recommendation);
        }
        if after(*at, down_window, now) {
            highest = highest.max(*recommendation);
        }
    }
    // Up to the lowest of late, down to the highest; between the two, nothing moves.
    if current < lowest {
        lowest
    } else if current > highest {
        highest
    } else {
        current
    }
}

fn by_rules(
    current: i32,
    stable: i32,
    (min, max): (i32, i32),
    (up, down): (Option<&ScalingRules>, Option<&ScalingRules>),
    past: (&ScaleHistory, Time),
) -> (i32, (bool, &'static str, String)) {
    if stable > current {
        let limit = up_limit(current, up, past).max(current);
        if limit < max && stable > limit {
            return (limit.max(min), (true, "ScaleUpLimit", TOO_FAST_UP.to_owned()));
        }
    } else if stable < current {
        let limit = down_limit(current, down, past).min(current);
        if limit > min && stable < limit {
            return (limit.min(max), (true, "ScaleDownLimit", TOO_FAST_DOWN.to_owned()));
        }
    }
    within(stable, (min, max))
}

fn changed(list: &[(Time, i32)], period: i32, now: Time) -> i32 {
    list.iter().filter(|(at, _)| after(*at, period, now)).map(|(_, change)| *change).sum()
}

fn policy(kind: &str, value: i32, period_seconds: i32) -> ScalingPolicy {
    ScalingPolicy { kind: kind.into(), value, period_seconds, ..ScalingPolicy::default() }
}

fn policies(rules: Option<&ScalingRules>, default: Vec<ScalingPolicy>) -> Vec<ScalingPolicy> {
    rules.map(|r| &r.policies).filter(|p| !p.is_empty()).cloned().unwrap_or(default)
}

fn selects(rules: Option<&ScalingRules>) -> &str {
    rules.map_or("", |r| r.select_policy.as_str())
}

fn up_limit(current: i32, rules: Option<&ScalingRules>, (history, now): (&ScaleHistory, Time)) -> i32 {
    if selects(rules) == "Disabled" {
        return current;
    }
    let default = vec![policy("Pods", 4, 15), policy("Percent", 100, 15)];
    let limits = policies(rules, default).into_iter().map(|policy| {
        let added = changed(&history.ups, policy.period_seconds, now);
        let removed = changed(&history.downs, policy.period_seconds, now);
        let start = current - added + removed;
        match policy.kind.as_str() {
            "Pods" => start.saturating_add(policy.value),
            _ => (f64::from(start) * (1.0 + f64::from(policy.value) / 100.0)).ceil() as i32,
        }
    });
    let limit = if selects(rules) == "Min" { limits.min() } else { limits.max() };
    limit.unwrap_or(current)
}

fn down_limit(current: i32, rules: Option<&ScalingRules>, (history, now): (&ScaleHistory, Time)) -> i32 {
    if selects(rules) == "Disabled" {
        return current;
    }
    let limits = policies(rules, vec![policy("Percent", 100, 15)]).into_iter().map(|policy| {
        let added = changed(&history.ups, policy.period_seconds, now);
        let removed = changed(&history.downs, policy.period_seconds, now);
        let start = current + removed - added;
        match policy.kind.as_str() {
            "Pods" => start.saturating_sub(policy.value),
            // From floats, `as` drops what follows the point.
            _ => (f64::from(start) * (1.0 - f64::from(policy.value) / 100.0)) as i32,
        }
    });
    let limit = if selects(rules) == "Min" { limits.max() } else { limits.min() };
    limit.unwrap_or(current)
}

/// For how long events of the past count.
pub(super) fn memory(question: &ScaleQuestion<'_>) -> Duration {
    let behavior = question.autoscaler.spec.behavior.as_ref();
    let rules = behavior.into_iter().flat_map(|b| b.scale_up.iter().chain(&b.scale_down));
    let seconds = rules.flat_map(|r| r.policies.iter().map(|p| p.period_seconds).chain(r.stabilization_window_seconds));
    let longest = seconds.max().unwrap_or(0).max(DOWN_WINDOW);
    Duration::from_secs(u64::try_from(longest).unwrap_or(0))
}
