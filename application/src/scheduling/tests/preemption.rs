//! Preemption: who has to go, who never does, and that nobody goes in vain.

use super::*;
use proptest::prelude::*;
use steersman_domain::Time;
use steersman_domain::ports::{Decision, Preemption};
use steersman_domain::selector::Selector;

fn ranked(name: &str, cpu: i64, priority: i32) -> Arc<Pod> {
    let mut pod = pod(name, cpu);
    pod.metadata.namespace = "default".into();
    pod.metadata.uid = name.into();
    pod.spec.priority = Some(priority);
    Arc::new(pod)
}

fn on(pod: &Pod, node: &str, started: i64) -> Arc<Pod> {
    let mut pod = pod.clone();
    pod.spec.node_name = node.into();
    pod.status.start_time = Some(Time::from_secs(started));
    Arc::new(pod)
}

fn cluster(sizes: &[i64]) -> Nodes {
    let mut nodes = Nodes::default();
    for (at, cpu) in sizes.iter().enumerate() {
        nodes.put_node(node(&format!("n{}", at + 1), *cpu));
    }
    nodes
}

fn decide(nodes: &mut Nodes, pod: &Arc<Pod>) -> Decision {
    schedule(nodes, std::slice::from_ref(pod), &context()).remove(0)
}

fn preempts(nodes: &mut Nodes, pod: &Arc<Pod>) -> Preemption {
    match decide(nodes, pod).placement {
        Placement::Preempt(preemption) => preemption,
        other => panic!("{other:?}"),
    }
}

fn names(keys: &[Key]) -> Vec<&str> {
    keys.iter().map(|key| key.name.as_str()).collect()
}

#[test]
fn the_least_important_pods_go_and_only_as_many_as_must() {
    let mut nodes = cluster(&[1000, 1000]);
    for (name, cpu, priority, node) in
        [("a", 500, 5, "n1"), ("b", 500, 1, "n1"), ("c", 300, 3, "n2"), ("d", 300, 0, "n2"), ("e", 400, 0, "n2")]
    {
        nodes.put_pod(&on(&ranked(name, cpu, priority), node, 0));
    }
    // n1 would lose one of priority 1, n2 one of priority 0: the larger one alone is enough.
    let preemption = preempts(&mut nodes, &ranked("new", 400, 10));
    assert_eq!((preemption.node.as_str(), names(&preemption.victims)), ("n2", vec!["e"]));
    assert_eq!(preemption.why, "preempts 1 pod of lower priority on n2: default/e");
    assert!(preemption.unschedulable.starts_with("0/2 nodes are available: 2 Insufficient cpu."), "{preemption:?}");
}

#[test]
fn among_equal_victims_those_that_started_last_go() {
    let mut nodes = cluster(&[1000, 1000]);
    nodes.put_pod(&on(&ranked("old", 1000, 0), "n1", 100));
    nodes.put_pod(&on(&ranked("young", 1000, 0), "n2", 200));
    assert_eq!(names(&preempts(&mut nodes, &ranked("new", 1000, 1)).victims), ["young"]);
}

#[test]
fn nobody_goes_for_a_pod_of_equal_priority_or_one_that_never_preempts() {
    let mut nodes = cluster(&[1000]);
    nodes.put_pod(&on(&ranked("there", 1000, 7), "n1", 0));
    let equal = decide(&mut nodes, &ranked("equal", 1000, 7));
    assert!(matches!(equal.placement, Placement::Unschedulable(_)), "{equal:?}");
    let mut modest = Pod::clone(&ranked("modest", 1000, 9));
    modest.spec.preemption_policy = Some("Never".into());
    let modest = decide(&mut nodes, &Arc::new(modest));
    assert!(matches!(modest.placement, Placement::Unschedulable(_)), "{modest:?}");
}

#[test]
fn nobody_goes_in_vain() {
    let mut nodes = cluster(&[1000, 1000]);
    // Room could be made on n1, but its zone is not asked for; on n2 it cannot.
    nodes.put_pod(&on(&ranked("low", 1000, 0), "n1", 0));
    nodes.put_pod(&on(&ranked("high", 800, 50), "n2", 0));
    nodes.put_pod(&on(&ranked("small", 200, 0), "n2", 0));
    let mut choosy = Pod::clone(&ranked("choosy", 500, 10));
    choosy.spec.node_selector.insert("zone", "b".into());
    let decision = decide(&mut nodes, &Arc::new(choosy));
    assert!(matches!(decision.placement, Placement::Unschedulable(_)), "{decision:?}");
}

#[test]
fn the_place_is_kept_until_the_victims_have_gone() {
    let mut nodes = cluster(&[1000]);
    let low = on(&ranked("low", 1000, 0), "n1", 0);
    nodes.put_pod(&low);
    let high = ranked("high", 800, 10);
    assert_eq!(names(&preempts(&mut nodes, &high).victims), ["low"]);
    // Tried again before the victim has gone: it waits, and nobody else is told to go.
    assert_eq!(preempts(&mut nodes, &high).victims, []);
    nodes.remove_pod(&low.key());
    // What is free is not for pods of lower priority, but what is beyond it is.
    let decision = decide(&mut nodes, &ranked("later", 300, 0));
    assert!(matches!(decision.placement, Placement::Unschedulable(_)), "{decision:?}");
    assert_eq!(decide(&mut nodes, &ranked("tiny", 200, 0)).placement, Placement::Node("n1".into()));
    assert_eq!(decide(&mut nodes, &high).placement, Placement::Node("n1".into()));
}

#[test]
fn a_restarted_scheduler_keeps_the_place_that_the_status_names() {
    let mut nodes = cluster(&[1000]);
    let mut high = Pod::clone(&ranked("high", 800, 10));
    high.status.nominated_node_name = "n1".into();
    let high = Arc::new(high);
    assert!(nodes.put_nominated(&high, &context()));
    let decision = decide(&mut nodes, &ranked("later", 300, 0));
    assert!(matches!(decision.placement, Placement::Unschedulable(_)), "{decision:?}");
    assert_eq!(decide(&mut nodes, &high).placement, Placement::Node("n1".into()));
}

#[test]
fn a_more_important_pod_takes_a_place_that_is_only_kept() {
    let mut nodes = cluster(&[1000]);
    let low = on(&ranked("low", 1000, 0), "n1", 0);
    nodes.put_pod(&low);
    assert_eq!(names(&preempts(&mut nodes, &ranked("high", 1000, 10)).victims), ["low"]);
    let higher = preempts(&mut nodes, &ranked("higher", 1000, 20));
    assert_eq!(higher.victims, [], "the one victim ends already: {}", higher.why);
    assert_eq!(higher.why, "takes the room on n1 of pods that end already");
}

#[test]
fn a_port_can_be_what_is_in_the_way() {
    let with_port = |name: &str, priority| {
        let mut pod = Pod::clone(&ranked(name, 100, priority));
        let mut container = Container::clone(&pod.spec.containers[0]);
        container.ports = vec![ContainerPort { host_port: 80, container_port: 80, ..Default::default() }];
        pod.spec.containers = vec![Arc::new(container)];
        Arc::new(pod)
    };
    let mut nodes = cluster(&[1000]);
    nodes.put_pod(&on(&with_port("web", 0), "n1", 0));
    nodes.put_pod(&on(&ranked("other", 100, 0), "n1", 0));
    assert_eq!(names(&preempts(&mut nodes, &with_port("new", 1)).victims), ["web"]);
}

#[test]
fn anti_affinity_of_a_victim_goes_with_it() {
    let mut nodes = cluster(&[1000]);
    let mut hermit = Pod::clone(&ranked("hermit", 900, 0));
    let apart: Affinity = serde_json::from_value(serde_json::json!({"podAntiAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": [
            {"labelSelector": {"matchLabels": {"app": "x"}}, "topologyKey": "zone"}]}}))
    .expect("an affinity");
    hermit.spec.affinity = Some(apart.into());
    nodes.put_pod(&on(&hermit, "n1", 0));
    let mut pod = Pod::clone(&ranked("new", 500, 5));
    pod.metadata.labels.insert("app", "x".into());
    assert_eq!(names(&preempts(&mut nodes, &Arc::new(pod)).victims), ["hermit"]);
}

#[test]
fn budgets_are_spared_where_others_can_go() {
    let mut nodes = cluster(&[1000, 1000]);
    for (name, node, app) in [("guarded", "n1", "db"), ("free", "n2", "batch")] {
        let mut pod = Pod::clone(&on(&ranked(name, 1000, 0), node, 0));
        pod.metadata.labels.insert("app", app.into());
        nodes.put_pod(&Arc::new(pod));
    }
    let selector = Selector::parse("app=db").expect("a selector");
    let budget = Budget { namespace: "default".into(), selector, allowed: 0 };
    nodes.put_budget(Key::new(Kind::Pod, "default", "budget"), budget);
    assert_eq!(names(&preempts(&mut nodes, &ranked("first", 1000, 9)).victims), ["free"]);
    // Nothing else is left: the budget is a wish, priority a rule.
    assert_eq!(names(&preempts(&mut nodes, &ranked("second", 1000, 9)).victims), ["guarded"]);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever preempts whatever: victims are of lower priority, no victim could have stayed, chains of preemption end, and
    /// everyone who preempted gets its place.
    #[test]
    fn chains_end_and_every_preemption_makes_room(
        sizes in prop::collection::vec(500i64..2000, 1..5),
        pods in prop::collection::vec((100i64..900, 0i32..5), 1..40),
    ) {
        let mut nodes = cluster(&sizes);
        let mut coming =
            pods.iter().enumerate().map(|(n, (cpu, priority))| ranked(&format!("p{n}"), *cpu, *priority));
        let mut waiting: Vec<Arc<Pod>> = Vec::new();
        let mut placed: Vec<Arc<Pod>> = Vec::new();
        let mut kept: Vec<(Key, i32)> = Vec::new();
        for round in 0.. {
            // Each preemption replaces lower by higher priority, so there are fewer rounds than pods times priorities.
            prop_assert!(round < 6 * pods.len() + 5, "it never ends");
            let news = coming.next();
            let last = news.is_none();
            waiting.extend(news);
            waiting.sort_by_key(|p| (std::cmp::Reverse(p.priority()), p.key()));
            let decisions = schedule(&mut nodes, &waiting, &context());
            let mut victims = Vec::new();
            waiting.clear();
            for decision in decisions {
                match decision.placement {
                    Placement::Node(node) => {
                        kept.retain(|(key, _)| *key != decision.pod.key());
                        placed.push(on(&decision.pod, &node, round as i64));
                        nodes.put_pod(placed.last().expect("just placed"));
                    }
                    Placement::Unschedulable(_) => {
                        prop_assert!(
                            !kept.iter().any(|(key, _)| *key == decision.pod.key()),
                            "{} was promised a place", decision.pod.key()
                        );
                        waiting.push(decision.pod);
                    }
                    Placement::Preempt(preemption) => {
                        for victim in &preemption.victims {
                            let lower = placed.iter().find(|p| p.key() == *victim).map(|p| p.priority());
                            prop_assert!(lower.is_some_and(|p| p < decision.pod.priority()), "{victim} is no lower");
                        }
                        victims.extend(preemption.victims);
                        // A promise holds until somebody more important needs the place.
                        let (key, priority) = (decision.pod.key(), decision.pod.priority());
                        kept.retain(|(other, p)| *other != key && *p >= priority);
                        kept.push((key, priority));
                        waiting.push(decision.pod);
                    }
                }
            }
            if victims.is_empty() && last {
                break;
            }
            for victim in victims {
                nodes.remove_pod(&victim);
                let at = placed.iter().position(|p| p.key() == victim).expect("it was placed");
                let mut again = Pod::clone(&placed.remove(at));
                again.spec.node_name = Str::default();
                waiting.push(Arc::new(again));
            }
        }
        // Whoever waits in the end has no node where those that matter as much or more leave room.
        for pod in &waiting {
            for (n, size) in sizes.iter().enumerate() {
                let there = |p: &&Arc<Pod>| p.spec.node_name == format!("n{}", n + 1) && p.priority() >= pod.priority();
                let taken: i64 = placed.iter().filter(there).map(|p| cpu(p)).sum();
                let count = placed.iter().filter(there).count();
                prop_assert!(taken + cpu(pod) > *size || count >= 10, "{} could have n{}", pod.key(), n + 1);
            }
        }
    }
}

fn cpu(pod: &Pod) -> i64 {
    Load::of(pod).request.cpu_milli
}
