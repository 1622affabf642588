//! What one metric asks for. Vectors restated from Kubernetes' `replica_calculator_test.go`.

mod decisions;

use super::calculator::{Question, Resource, Tolerances};
use super::*;
use serde_json::json;
use std::sync::Arc;
use steersman_domain::Pod;
use steersman_domain::ports::PodMetrics;

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
