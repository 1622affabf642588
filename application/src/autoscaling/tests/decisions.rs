//! Decisions as a whole: bounds, windows, policies, several metrics. Vectors restated from Kubernetes' `horizontal_test.go`.

use super::Stand::*;
use super::*;
use serde_json::Value;
use steersman_domain::HorizontalPodAutoscaler;

/// An autoscaler for cpu at half of what is requested, with more in its spec.
fn autoscaler(min: i32, max: i32, spec: Value) -> HorizontalPodAutoscaler {
    let mut whole = json!({
        "metadata": {"name": "web", "namespace": "d"},
        "spec": {"scaleTargetRef": {"kind": "Deployment", "name": "web", "apiVersion": "apps/v1"},
            "minReplicas": min, "maxReplicas": max,
            "metrics": [{"type": "Resource", "resource": {"name": "cpu",
                "target": {"type": "Utilization", "averageUtilization": 50}}}]},
    });
    for (key, value) in spec.as_object().into_iter().flatten() {
        whole["spec"][key] = value.clone();
    }
    serde_json::from_value(whole).expect("an autoscaler")
}

/// The decision for pods that each use a percentage of what they request.
fn decide_at(
    autoscaler: &HorizontalPodAutoscaler,
    current: i32,
    percent: i64,
    history: &ScaleHistory,
) -> ScaleDecision {
    let count = usize::try_from(current).unwrap_or(0);
    let case = case(current, &vec![(Ready, percent * 10); count], Some(1000));
    HorizontalAutoScaler.decide(&ScaleQuestion {
        autoscaler,
        spec_replicas: current,
        status_replicas: current,
        pods: &case.pods,
        metrics: &case.metrics,
        history,
        now: NOW,
    })
}

fn limited(decision: &ScaleDecision) -> (&'static str, &'static str) {
    let of = |name: &str| decision.conditions.iter().find(|c| c.0 == name).map_or("", |c| c.2);
    (of("AbleToScale"), of("ScalingLimited"))
}

#[test]
fn without_rules_replicas_double_at_most_and_shrink_after_five_minutes() {
    let past = |recommendations: &[(i64, i32)]| ScaleHistory {
        recommendations: recommendations.iter().map(|(ago, n)| (Time::from_secs(100_000 - ago), *n)).collect(),
        ..ScaleHistory::default()
    };
    for (name, bounds, current, percent, history, wanted, why) in [
        ("up", (1, 10), 3, 100, past(&[]), 6, ("ReadyForNewScale", "DesiredWithinRange")),
        ("twice at most", (1, 100), 3, 500, past(&[]), 6, ("ReadyForNewScale", "ScaleUpLimit")),
        ("four at least", (1, 100), 1, 900, past(&[]), 4, ("ReadyForNewScale", "ScaleUpLimit")),
        ("the most", (1, 5), 3, 500, past(&[]), 5, ("ReadyForNewScale", "TooManyReplicas")),
        ("down at once", (1, 10), 6, 10, past(&[]), 2, ("ReadyForNewScale", "DesiredWithinRange")),
        ("the least", (3, 10), 6, 10, past(&[]), 3, ("ReadyForNewScale", "TooFewReplicas")),
        ("not yet", (1, 10), 6, 10, past(&[(200, 5)]), 5, ("ScaleDownStabilized", "DesiredWithinRange")),
        (
            "the highest of late",
            (1, 10),
            6,
            10,
            past(&[(299, 4), (100, 3)]),
            4,
            ("ScaleDownStabilized", "DesiredWithinRange"),
        ),
        ("long ago", (1, 10), 6, 10, past(&[(301, 6)]), 2, ("ReadyForNewScale", "DesiredWithinRange")),
        ("steady", (1, 10), 4, 50, past(&[(10, 4)]), 4, ("ReadyForNewScale", "DesiredWithinRange")),
    ] {
        let decision = decide_at(&autoscaler(bounds.0, bounds.1, json!({})), current, percent, &history);
        assert_eq!((decision.replicas, limited(&decision)), (Some(wanted), why), "{name}");
    }
}

#[test]
fn rules_say_how_fast() {
    let up = |rules: Value| json!({"behavior": {"scaleUp": rules}});
    let down = |rules: Value| json!({"behavior": {"scaleDown": rules}});
    let done = |ups: &[(i64, i32)], downs: &[(i64, i32)]| {
        let list = |of: &[(i64, i32)]| of.iter().map(|(ago, n)| (Time::from_secs(100_000 - ago), *n)).collect();
        ScaleHistory { ups: list(ups), downs: list(downs), recommendations: Vec::new() }
    };
    let pods = |value: i32, period: i32| json!({"type": "Pods", "value": value, "periodSeconds": period});
    let percent = |value: i32, period: i32| json!({"type": "Percent", "value": value, "periodSeconds": period});
    for (name, spec, current, load, history, wanted) in [
        ("default up: four or double", up(json!({})), 2, 900, done(&[], &[]), 6),
        ("default up: double", up(json!({})), 10, 900, done(&[], &[]), 20),
        ("pods", up(json!({"policies": [pods(3, 60)]})), 10, 900, done(&[], &[]), 13),
        ("percent, rounded up", up(json!({"policies": [percent(25, 60)]})), 10, 900, done(&[], &[]), 13),
        ("some were added already", up(json!({"policies": [pods(3, 60)]})), 10, 900, done(&[(30, 2)], &[]), 11),
        ("all were added already", up(json!({"policies": [pods(3, 60)]})), 10, 900, done(&[(30, 3)], &[]), 10),
        ("that was long ago", up(json!({"policies": [pods(3, 60)]})), 10, 900, done(&[(61, 3)], &[]), 13),
        ("taken away before", up(json!({"policies": [pods(3, 60)]})), 10, 900, done(&[], &[(30, 4)]), 17),
        ("the larger policy", up(json!({"policies": [pods(3, 60), percent(100, 60)]})), 10, 900, done(&[], &[]), 20),
        (
            "the smaller policy",
            up(json!({"selectPolicy": "Min", "policies": [pods(3, 60), percent(100, 60)]})),
            10,
            900,
            done(&[], &[]),
            13,
        ),
        ("never up", up(json!({"selectPolicy": "Disabled"})), 10, 900, done(&[], &[]), 10),
        ("default down: all", down(json!({})), 10, 5, done(&[], &[]), 1),
        ("pods down", down(json!({"policies": [pods(2, 60)]})), 10, 5, done(&[], &[]), 8),
        ("percent down, cut off", down(json!({"policies": [percent(25, 60)]})), 10, 5, done(&[], &[]), 7),
        ("some were taken already", down(json!({"policies": [pods(2, 60)]})), 10, 5, done(&[], &[(10, 1)]), 9),
        ("added before", down(json!({"policies": [pods(2, 60)]})), 10, 5, done(&[(10, 5)], &[]), 3),
        (
            "the policy that takes more",
            down(json!({"policies": [pods(2, 60), percent(50, 60)]})),
            10,
            5,
            done(&[], &[]),
            5,
        ),
        (
            "the policy that takes less",
            down(json!({"selectPolicy": "Min", "policies": [pods(2, 60), percent(50, 60)]})),
            10,
            5,
            done(&[], &[]),
            8,
        ),
        ("never down", down(json!({"selectPolicy": "Disabled"})), 10, 5, done(&[], &[]), 10),
        ("a tenth of three is one", up(json!({"policies": [percent(10, 60)]})), 3, 900, done(&[], &[]), 4),
        ("more than there is", down(json!({"policies": [pods(20, 60)]})), 10, 5, done(&[], &[]), 1),
        ("a tenth down", down(json!({"policies": [percent(10, 60)]})), 10, 5, done(&[], &[]), 9),
        ("a third down", down(json!({"policies": [percent(33, 60)]})), 10, 5, done(&[], &[]), 6),
        ("added and taken, up", up(json!({"policies": [pods(3, 60)]})), 10, 900, done(&[(9, 2)], &[(8, 5)]), 16),
        ("added and taken, down", down(json!({"policies": [pods(2, 60)]})), 10, 5, done(&[(9, 4)], &[(8, 1)]), 5),
        (
            "each policy has its own period",
            up(json!({"policies": [pods(3, 60), pods(5, 10)]})),
            10,
            900,
            done(&[(30, 3)], &[]),
            15,
        ),
    ] {
        let decision = decide_at(&autoscaler(1, 100, spec), current, load, &history);
        assert_eq!(decision.replicas, Some(wanted), "{name}");
    }
}

#[test]
fn windows_of_stabilization_hold_both_ways() {
    let past = |recommendations: &[(i64, i32)]| ScaleHistory {
        recommendations: recommendations.iter().map(|(ago, n)| (Time::from_secs(100_000 - ago), *n)).collect(),
        ..ScaleHistory::default()
    };
    let window = |up: i32, down: i32| json!({"behavior": {"scaleUp": {"stabilizationWindowSeconds": up}, "scaleDown": {"stabilizationWindowSeconds": down}}});
    for (name, spec, current, load, history, wanted, able) in [
        ("up, the lowest of late", window(60, 300), 4, 100, past(&[(30, 5)]), 5, "ScaleUpStabilized"),
        ("up, long ago", window(60, 300), 4, 100, past(&[(61, 5)]), 8, "ReadyForNewScale"),
        ("up, nothing was wanted of late", window(60, 300), 4, 100, past(&[(30, 3)]), 4, "ScaleUpStabilized"),
        ("down, no window", window(0, 0), 8, 10, past(&[(1, 8)]), 2, "ReadyForNewScale"),
        ("down, the highest of late", window(0, 100), 8, 10, past(&[(90, 6), (50, 3)]), 6, "ScaleDownStabilized"),
        ("the clock was set back an hour", window(0, 300), 8, 10, past(&[(-3500, 8)]), 2, "ReadyForNewScale"),
        ("the clock was set forward an hour", window(0, 300), 8, 10, past(&[(3610, 8)]), 2, "ReadyForNewScale"),
        ("down, beyond its window", window(0, 100), 8, 10, past(&[(101, 8)]), 2, "ReadyForNewScale"),
    ] {
        let decision = decide_at(&autoscaler(1, 100, spec), current, load, &history);
        assert_eq!((decision.replicas, limited(&decision).0), (Some(wanted), able), "{name}");
    }
}

#[test]
fn bounds_hold_without_any_metric() {
    let autoscaler = autoscaler(2, 5, json!({}));
    for (current, wanted, reason) in [
        (9, 5, "Current number of replicas above Spec.MaxReplicas"),
        (1, 2, "Current number of replicas below Spec.MinReplicas"),
    ] {
        let decision = decide_at(&autoscaler, current, -1, &ScaleHistory::default());
        assert_eq!((decision.replicas, decision.reason.as_str()), (Some(wanted), reason));
    }
    let asleep = decide_at(&autoscaler, 0, 50, &ScaleHistory::default());
    assert_eq!((asleep.replicas, asleep.conditions[0].2), (Some(0), "ScalingDisabled"), "somebody scaled it to zero");
}

#[test]
fn of_several_metrics_the_one_that_asks_for_the_most_counts_and_a_missing_one_stops_shrinking() {
    let cpu = |percent: i32| json!({"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": percent}}});
    let memory = json!({"type": "Resource", "resource": {"name": "memory", "target": {"type": "AverageValue", "averageValue": "100"}}});
    let unknown = json!({"type": "External", "external": {"metric": {"name": "queue"}, "target": {"type": "Value", "value": "1"}}});
    let decide = |metrics: &[&Value], percent: i64| {
        decide_at(&autoscaler(1, 100, json!({"metrics": metrics})), 4, percent, &ScaleHistory::default())
    };
    // 50 % of 1000 is 500: five times as much memory as there should be, and just enough cpu.
    let most = decide(&[&cpu(50), &memory], 50);
    assert_eq!((most.replicas, most.current.len()), (Some(8), 2));
    assert!(most.reason.starts_with("memory resource above target"), "{}", most.reason);
    let more = decide(&[&cpu(25), &unknown], 50);
    assert_eq!(more.replicas, Some(8), "what is known asks for more");
    assert_eq!(more.failures[0].0, "InvalidMetricSourceType");
    let less = decide(&[&cpu(100), &unknown], 10);
    assert_eq!((less.replicas, less.conditions[0].1), (None, false), "but for less only if all is known");
    let none = decide(&[&unknown], 10);
    assert_eq!((none.replicas, none.failures.len()), (None, 2));
}

#[test]
fn what_is_remembered_is_what_still_counts() {
    let autoscaler = autoscaler(
        1,
        100,
        json!({"behavior": {"scaleUp": {"policies": [{"type": "Pods", "value": 9, "periodSeconds": 600}]}}}),
    );
    let time = |ago: i64| Time::from_secs(100_000 - ago);
    let history = ScaleHistory {
        recommendations: vec![(time(700), 1), (time(500), 2)],
        ups: vec![(time(601), 1), (time(599), 2)],
        downs: Vec::new(),
    };
    let case = case(4, &[(Ready, 1000); 4], Some(1000));
    let question = ScaleQuestion {
        autoscaler: &autoscaler,
        spec_replicas: 4,
        status_replicas: 4,
        pods: &case.pods,
        metrics: &case.metrics,
        history: &history,
        now: NOW,
    };
    let decision = HorizontalAutoScaler.decide(&question);
    assert_eq!(decision.replicas, Some(8));
    let next = remember(&question, &decision, true);
    assert_eq!(next.recommendations, [(time(500), 2), (NOW, 8)]);
    assert_eq!((next.ups, next.downs.len()), (vec![(time(599), 2), (NOW, 4)], 0));
    assert_eq!(remember(&question, &decision, false).ups, [(time(599), 2)], "nothing was done");
}
