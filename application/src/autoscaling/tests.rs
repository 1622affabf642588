//! Vectors restated from Kubernetes' `replica_calculator_test.go` and `horizontal_test.go`.

use super::calculator::{Question, Resource, Tolerances};
use super::*;
use serde_json::{Value, json};
use std::sync::Arc;
use steersman_domain::ports::PodMetrics;
use steersman_domain::{HorizontalPodAutoscaler, Pod};

const NOW: Time = Time::from_secs(100_000);

/// How a pod stands.
#[derive(Clone, Copy)]
enum Stand {
    /// Started long ago, and ready since.
    Ready,
    /// Started a minute ago, and not ready.
    Starting,
    /// Started a minute ago, ready for ten seconds: its last window began before.
    Fresh,
    Pending,
    Failed,
    Deleting,
    /// Long ago it was ready; now it is not.
    Broken,
}

use Stand::*;

fn pod(at: usize, stand: Stand, request: Option<i64>) -> Arc<Pod> {
    let time = |secs_ago: i64| Time::from_secs(100_000 - secs_ago);
    let (phase, start, ready, since) = match stand {
        Ready => ("Running", 10_000, true, 9_990),
        Starting => ("Running", 60, false, 60),
        Fresh => ("Running", 60, true, 10),
        Pending => ("Pending", 60, false, 60),
        Failed => ("Failed", 10_000, false, 100),
        Deleting => ("Running", 10_000, true, 9_990),
        Broken => ("Running", 10_000, false, 500),
    };
    let requests = request.map_or(json!({}), |milli| json!({"cpu": format!("{milli}m"), "memory": milli.to_string()}));
    let mut pod: Pod = serde_json::from_value(json!({
        "metadata": {"name": format!("p{at}"), "namespace": "d", "uid": format!("u{at}")},
        "spec": {"containers": [{"name": "c", "resources": {"requests": requests}}]},
        "status": {"phase": phase, "conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }}]},
    }))
    .expect("a pod");
    pod.status.start_time = Some(time(start));
    pod.status.conditions[0].last_transition_time = Some(time(since));
    if matches!(stand, Deleting) {
        pod.metadata.deletion_timestamp = Some(NOW);
    }
    Arc::new(pod)
}

/// A case: how the pods stand, what they use (`-1`: not known), and what each requests.
struct Case {
    pods: Vec<Arc<Pod>>,
    metrics: Vec<Option<Arc<PodMetrics>>>,
    current: i32,
    resource: Resource,
    tolerances: Tolerances,
}

fn case(current: i32, stands: &[(Stand, i64)], request: Option<i64>) -> Case {
    let pods: Vec<Arc<Pod>> = stands.iter().enumerate().map(|(at, (stand, _))| pod(at, *stand, request)).collect();
    let measured = |used: i64| PodMetrics {
        at: NOW,
        window: Duration::from_secs(60),
        containers: vec![("c".into(), used, Some(used))],
    };
    let metrics = stands.iter().map(|(_, used)| (*used >= 0).then(|| Arc::new(measured(*used)))).collect();
    Case { pods, metrics, current, resource: Resource::Cpu, tolerances: Tolerances::DEFAULT }
}

impl Case {
    fn memory(mut self) -> Self {
        self.resource = Resource::Memory;
        self
    }

    fn question(&self) -> Question<'_> {
        Question {
            current: self.current,
            resource: self.resource,
            container: None,
            tolerances: self.tolerances,
            pods: &self.pods,
            metrics: &self.metrics,
            now: NOW,
        }
    }

    /// Replicas and utilization.
    fn utilization(&self, target: i32) -> Result<(i32, i32), String> {
        self.question().by_utilization(target).map(|answer| (answer.replicas, answer.utilization))
    }

    /// Replicas and average.
    fn average(&self, target: i64) -> Result<(i32, i64), String> {
        self.question().by_average(target).map(|answer| (answer.replicas, answer.average))
    }
}

fn ready(used: &[i64]) -> Vec<(Stand, i64)> {
    used.iter().map(|used| (Ready, *used)).collect()
}

/// Name, replicas now, pods, target in percent; replicas and utilization that are wanted.
type Vector = (&'static str, i32, Vec<(Stand, i64)>, i32, (i32, i32));

#[test]
fn utilization_of_requests() {
    let cases: [Vector; 24] = [
        ("up", 3, ready(&[300, 500, 700]), 30, (5, 50)),
        ("up, one unready", 3, vec![(Starting, 300), (Ready, 500), (Ready, 700)], 30, (4, 60)),
        ("up, hot but starting", 3, vec![(Starting, 0), (Starting, 500), (Ready, 700)], 30, (3, 70)),
        ("up, one pending", 3, vec![(Ready, 300), (Ready, 500), (Pending, -1)], 30, (3, 40)),
        ("up, one failed", 3, vec![(Ready, 500), (Ready, 700), (Failed, -1)], 30, (4, 60)),
        ("up, one deleting", 3, vec![(Ready, 500), (Ready, 700), (Deleting, -1)], 30, (4, 60)),
        ("down", 5, ready(&[100, 300, 500, 250, 250]), 50, (3, 28)),
        (
            "down, one missing",
            5,
            vec![(Ready, 100), (Ready, 300), (Ready, 500), (Ready, 250), (Ready, -1)],
            50,
            (5, 28),
        ),
        (
            "down, unready left out",
            5,
            vec![(Ready, 100), (Ready, 300), (Ready, 500), (Starting, 250), (Starting, 250)],
            50,
            (2, 30),
        ),
        (
            "down, failed left out",
            5,
            vec![(Ready, 100), (Ready, 300), (Ready, 500), (Failed, 250), (Failed, 250)],
            50,
            (2, 30),
        ),
        ("within tolerance", 3, ready(&[1010, 1030, 1020]), 100, (3, 102)),
        ("at the edge of it, above", 3, ready(&[1100, 1100, 1100]), 100, (3, 110)),
        ("beyond it", 3, ready(&[1110, 1110, 1110]), 100, (4, 111)),
        ("at the edge of it, below", 3, ready(&[900, 900, 900]), 100, (3, 90)),
        ("below it", 3, ready(&[890, 890, 890]), 100, (3, 89)),
        ("one missing, hot", 3, vec![(Ready, 500), (Ready, 700), (Ready, -1)], 30, (4, 60)),
        ("one missing, it would turn round", 3, vec![(Ready, 1000), (Ready, -1)], 100, (3, 100)),
        ("a great load", 2, ready(&[2000, 2000]), 50, (8, 200)),
        ("nothing is used", 4, ready(&[0, 0, 0, 0]), 50, (0, 0)),
        ("ready for less than its window", 2, vec![(Fresh, 900), (Ready, 300)], 60, (1, 30)),
        ("broken for long, measured", 2, vec![(Broken, 900), (Ready, 300)], 60, (2, 60)),
        ("missing holds back a shrinking", 4, vec![(Ready, 200), (Ready, 200), (Ready, -1), (Ready, -1)], 50, (4, 20)),
        ("missing slows a growth", 2, vec![(Ready, 900), (Ready, -1)], 30, (3, 90)),
        ("all wait but one", 3, vec![(Ready, 900), (Pending, -1), (Pending, -1)], 50, (3, 90)),
    ];
    for (name, current, stands, target, wanted) in cases {
        assert_eq!(case(current, &stands, Some(1000)).utilization(target), Ok(wanted), "{name}");
    }
}

#[test]
fn utilization_where_some_are_not_known() {
    let cases: [Vector; 12] = [
        ("at the target, one missing", 2, vec![(Ready, 1000), (Ready, -1)], 100, (2, 100)),
        ("it would turn round: down", 3, vec![(Starting, 100), (Ready, 450), (Ready, -1)], 50, (3, 45)),
        ("it would turn round: up", 3, vec![(Starting, 100), (Ready, 950), (Ready, -1)], 50, (3, 95)),
        ("hot enough whatever the others do", 3, vec![(Starting, 100), (Ready, 2000), (Ready, -1)], 50, (4, 200)),
        (
            "down, with the missing at what they may",
            4,
            vec![(Starting, 100), (Ready, 100), (Ready, 100), (Ready, -1)],
            50,
            (3, 10),
        ),
        (
            "the missing may use more than they ask for",
            4,
            vec![(Ready, 500), (Ready, 500), (Ready, -1), (Ready, -1)],
            200,
            (3, 50),
        ),
        ("none is missing, the target is high", 4, ready(&[500, 500, 500, 500]), 200, (1, 50)),
        (
            "all that is known is unready but one",
            4,
            vec![(Starting, 900), (Starting, 900), (Starting, 900), (Ready, 400)],
            40,
            (4, 40),
        ),
        ("those that go do not count", 3, vec![(Deleting, 900), (Deleting, 900), (Ready, 300)], 30, (3, 30)),
        ("pending and hot", 2, vec![(Pending, -1), (Ready, 600)], 30, (2, 60)),
        ("pending and hotter", 2, vec![(Pending, -1), (Ready, 900)], 30, (3, 90)),
        ("cold and pending", 2, vec![(Pending, -1), (Ready, 100)], 30, (1, 10)),
    ];
    for (name, current, stands, target, wanted) in cases {
        assert_eq!(case(current, &stands, Some(1000)).utilization(target), Ok(wanted), "{name}");
    }
}

#[test]
fn one_container_of_each_pod() {
    let mut case = case(2, &ready(&[0, 0]), None);
    let pod = |pod: &Arc<Pod>| {
        let mut pod = Pod::clone(pod);
        pod.spec.containers = ["a", "b"]
            .iter()
            .zip(["1000m", "100m"])
            .map(|(name, cpu)| {
                let container = json!({"name": name, "resources": {"requests": {"cpu": cpu}}});
                serde_json::from_value(container).expect("a container")
            })
            .collect();
        Arc::new(pod)
    };
    case.pods = case.pods.iter().map(pod).collect();
    for metrics in case.metrics.iter_mut().flatten() {
        Arc::make_mut(metrics).containers = vec![("a".into(), 500, None), ("b".into(), 100, None)];
    }
    for (container, target, wanted) in [
        (None, 27, (4, 54)),
        (Some("a"), 50, (2, 50)),
        (Some("a"), 25, (4, 50)),
        (Some("b"), 50, (4, 100)),
        (Some("b"), 100, (2, 100)),
    ] {
        let answer = Question { container, ..case.question() }.by_utilization(target).expect("measured");
        assert_eq!((answer.replicas, answer.utilization), wanted, "{container:?}");
    }
    let none = Question { container: Some("c"), ..case.question() }.by_utilization(50);
    assert!(none.is_err_and(|e| e.contains("did not receive metrics")), "no such container");
    let memory = Question { resource: Resource::Memory, ..case.question() }.by_average(100);
    assert!(memory.is_err_and(|e| e.contains("did not receive metrics")), "nobody knows their memory");
}

#[test]
fn memory_counts_whether_or_not_a_pod_is_ready() {
    for (name, current, stands, target, wanted) in [
        ("up", 3, ready(&[300, 500, 700]), 30, (5, 50)),
        ("unready ones count", 3, vec![(Starting, 300), (Ready, 500), (Ready, 700)], 30, (5, 50)),
        ("pending ones do not", 3, vec![(Pending, 300), (Ready, 500), (Ready, 700)], 30, (4, 60)),
        ("down", 5, ready(&[100, 300, 500, 250, 250]), 50, (3, 28)),
    ] {
        assert_eq!(case(current, &stands, Some(1000)).memory().utilization(target), Ok(wanted), "{name}");
    }
}

#[test]
fn averages() {
    for (name, current, stands, target, wanted) in [
        ("up", 3, ready(&[20_000, 10_000, 30_000]), 15_000, (4, 20_000)),
        ("down", 5, ready(&[10_000; 5]), 20_000, (3, 10_000)),
        ("within tolerance", 3, ready(&[20_000, 21_000, 21_000]), 20_000, (3, 20_666)),
        ("missing, up", 3, vec![(Ready, 20_000), (Ready, 30_000), (Ready, -1)], 15_000, (4, 25_000)),
        ("missing, down", 4, vec![(Ready, 5_000), (Ready, 5_000), (Ready, -1), (Ready, -1)], 20_000, (3, 5_000)),
        ("pending, up", 3, vec![(Ready, 50_000), (Ready, 10_000), (Pending, -1)], 15_000, (4, 30_000)),
        ("failed, up", 3, vec![(Ready, 50_000), (Ready, 10_000), (Failed, -1)], 15_000, (4, 30_000)),
    ] {
        assert_eq!(case(current, &stands, Some(1000)).average(target), Ok(wanted), "{name}");
    }
}

#[test]
fn tolerances_of_each_direction() {
    for (name, tolerances, used, wanted) in [
        ("none, up", Tolerances { down: 0.0, up: 0.0 }, 1010, 4),
        ("none, down", Tolerances { down: 0.0, up: 0.0 }, 660, 2),
        ("wide, up", Tolerances { down: 0.1, up: 0.3 }, 1300, 3),
        ("wide, down", Tolerances { down: 0.5, up: 0.1 }, 510, 3),
    ] {
        let mut case = case(3, &ready(&[used; 3]), Some(1000));
        case.tolerances = tolerances;
        assert_eq!(case.utilization(100).map(|(replicas, _)| replicas), Ok(wanted), "{name}");
    }
}

#[test]
fn what_is_not_known_is_an_error() {
    let none = case(3, &[(Ready, -1), (Ready, -1)], Some(1000)).utilization(50);
    assert!(none.is_err_and(|e| e.contains("did not receive metrics for targeted pods")));
    let unready = case(3, &[(Starting, 500), (Pending, -1)], Some(1000)).utilization(50);
    assert!(unready.is_err_and(|e| e.contains("pods might be unready")));
    let bare = case(1, &ready(&[500]), None);
    assert!(bare.utilization(50).is_err_and(|e| e.starts_with("missing request for cpu in container c of Pod p0")));
    assert_eq!(bare.average(250), Ok((2, 500)), "averages need no requests");
}

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
