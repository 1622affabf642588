//! Gangs: all or none.

use super::*;
use steersman_domain::ports::Decision;

fn member(name: &str, cpu: i64, size: &str) -> Pod {
    let mut pod = pod(name, cpu);
    pod.metadata.namespace = "default".into();
    pod.metadata.uid = name.into();
    pod.metadata.annotations.insert(GANG, "train".into());
    pod.metadata.annotations.insert(GANG_SIZE, size.into());
    pod
}

fn gang(count: usize, cpu: i64) -> Vec<Arc<Pod>> {
    (0..count).map(|n| Arc::new(member(&format!("m{n}"), cpu, &count.to_string()))).collect()
}

fn cluster(sizes: &[i64]) -> Nodes {
    let mut nodes = Nodes::default();
    for (at, cpu) in sizes.iter().enumerate() {
        nodes.put_node(node(&format!("n{}", at + 1), *cpu));
    }
    nodes
}

fn placed(decisions: &[Decision]) -> usize {
    decisions.iter().filter(|d| matches!(d.placement, Placement::Node(_))).count()
}

fn why(decision: &Decision) -> &str {
    match &decision.placement {
        Placement::Unschedulable(why) => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_gang_that_fits_is_placed_whole() {
    let mut nodes = cluster(&[1000, 1000]);
    assert_eq!(placed(&schedule(&mut nodes, &gang(4, 500), &context())), 4);
}

#[test]
fn a_gang_that_does_not_fit_leaves_no_trace() {
    let mut nodes = cluster(&[1000, 1000]);
    let decisions = schedule(&mut nodes, &gang(4, 600), &context());
    assert_eq!(placed(&decisions), 0);
    for decision in &decisions {
        assert_eq!(
            why(decision),
            "gang default/train is placed whole: it needs 4 pods; 2 of 4 found a place. For the others: 0/2 nodes are \
             available: 2 Insufficient cpu. The pod requests 600m cpu. Even without other pods the \
             nodes that suit have room for 2 such pods: add nodes, or make the gang or its requests smaller."
        );
    }
    assert_eq!(nodes.pods(), 0);
    // The room is there for others at once, those that failed before included.
    assert_eq!(placed(&schedule(&mut nodes, &[Arc::new(pod("other", 1000))], &context())), 1);
}

#[test]
fn a_gang_waits_until_enough_of_it_are_there() {
    let mut nodes = cluster(&[4000]);
    let members = gang(3, 100);
    let decisions = schedule(&mut nodes, &members[..2], &context());
    assert_eq!(why(&decisions[0]), "gang default/train is placed whole: it needs 3 pods; 2 are waiting here.");
    assert_eq!(placed(&schedule(&mut nodes, &members, &context())), 3);
    // One that is replaced joins those that are there.
    nodes.remove_pod(&members[0].key());
    let replacement = [Arc::new(member("m9", 100, "3"))];
    assert_eq!(placed(&schedule(&mut nodes, &replacement, &context())), 1);
}

#[test]
fn more_than_the_gang_needs_are_placed_as_far_as_there_is_room() {
    let mut nodes = cluster(&[1000]);
    let members: Vec<Arc<Pod>> = (0..5).map(|n| Arc::new(member(&format!("m{n}"), 300, "2"))).collect();
    let decisions = schedule(&mut nodes, &members, &context());
    assert_eq!(placed(&decisions), 3);
    assert!(why(&decisions[4]).starts_with("0/1 nodes are available"), "{:?}", decisions[4].placement);
}

#[test]
fn a_gang_preempts_whole_or_not_at_all() {
    let low = |name: &str, node: &str, priority| {
        let mut pod = pod(name, 1000);
        pod.metadata.namespace = "default".into();
        pod.spec.node_name = node.into();
        pod.spec.priority = Some(priority);
        Arc::new(pod)
    };
    let important = |count| -> Vec<Arc<Pod>> {
        let raise = |pod: Arc<Pod>| {
            let mut pod = Pod::clone(&pod);
            pod.spec.priority = Some(10);
            Arc::new(pod)
        };
        gang(count, 1000).into_iter().map(raise).collect()
    };
    let mut nodes = cluster(&[1000, 1000, 1000]);
    nodes.put_pod(&low("a", "n1", 0));
    nodes.put_pod(&low("b", "n2", 50));
    // Three do not fit even so: nobody has to go.
    let decisions = schedule(&mut nodes, &important(3), &context());
    assert!(decisions.iter().all(|d| why(d).contains("2 of 3 found a place")), "{decisions:?}");
    // Two do: one has room, keeps it and waits for the other's.
    let members = important(2);
    let preemptions = |decisions: &[Decision]| -> Vec<(Str, usize)> {
        let preempts = decisions.iter().filter_map(|d| match &d.placement {
            Placement::Preempt(p) => Some((p.node.clone(), p.victims.len())),
            _ => None,
        });
        let mut all: Vec<_> = preempts.collect();
        all.sort();
        all
    };
    let wanted = |victims| vec![(Str::from("n1"), victims), (Str::from("n3"), 0)];
    assert_eq!(preemptions(&schedule(&mut nodes, &members, &context())), wanted(1));
    assert_eq!(preemptions(&schedule(&mut nodes, &members, &context())), wanted(0), "nobody else has to go meanwhile");
    let taker = schedule(&mut nodes, &[Arc::new(pod("taker", 100))], &context());
    assert_eq!(placed(&taker), 0, "the places are kept: {taker:?}");
    nodes.remove_pod(&low("a", "n1", 0).key());
    assert_eq!(placed(&schedule(&mut nodes, &members, &context())), 2);
}

#[test]
fn a_gang_as_large_as_it_may_be_is_given_up_in_one_pass() {
    let mut nodes = cluster(&[1000; 10]);
    let decisions = schedule(&mut nodes, &gang(1000, 10), &context());
    assert_eq!(placed(&decisions), 0);
    assert!(why(&decisions[0]).contains("have room for 100 such pods"), "{}", why(&decisions[0]));
    assert_eq!(nodes.pods(), 0);
}
