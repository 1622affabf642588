//! Schedulers, profiles and plug-ins of the host, and what is explained of them.

use std::sync::Arc;
use std::time::Duration;

use steersman::Scheduling;
use steersman::simulation::{Simulation, size};
use steersman_application::driver::world::World;
use steersman_application::scheduling::{
    Basis, Demand, Filter, NodeInfo, Nodes, Profile, ProfileError, Reason, Scheduler, SchedulingContext, Score,
};
use steersman_application::usecase::explain::Explanation;
use steersman_domain::ports::{Decision, Placement};
use steersman_domain::{Key, Kind, Pod};

/// Never on machines whose name ends with 1.
#[derive(Debug)]
struct NotTheFirst;

impl Filter for NotTheFirst {
    fn name(&self) -> &'static str {
        "NotTheFirst"
    }
    fn basis(&self) -> Basis {
        Basis::Node
    }
    fn passes(&self, _: &Demand, node: &NodeInfo) -> bool {
        !node.name.ends_with('1')
    }
    fn explain(&self, _: &Demand, _: &NodeInfo) -> Reason {
        "node(s) were the first".into()
    }
}

/// The higher its number, the better.
#[derive(Debug)]
struct LastOnes;

impl Score for LastOnes {
    fn name(&self) -> &'static str {
        "LastOnes"
    }
    fn explain(&self) -> &'static str {
        "ten times the number of the node"
    }
    fn basis(&self) -> Basis {
        Basis::Node
    }
    fn of(&self, _: &Demand, node: &NodeInfo) -> i64 {
        10 * node.name.rsplit('-').next().and_then(|n| n.parse().ok()).unwrap_or(0)
    }
}

/// A scheduler that puts everything on one node, whatever the profile.
#[derive(Debug)]
struct OneNode(&'static str);

impl Scheduler for OneNode {
    fn schedule(&self, nodes: &mut Nodes, pods: &[Arc<Pod>], context: &SchedulingContext) -> Vec<Decision> {
        let all = nodes.len();
        pods.iter()
            .map(|pod| {
                nodes.assume(pod, &self.0.into(), context);
                let placement = Placement::Node(self.0.into());
                Decision { pod: pod.clone(), placement, verdicts: Arc::default(), nodes: all }
            })
            .collect()
    }
}

const POD: &str = "
apiVersion: v1
kind: Pod
metadata: {name: p}
spec: {schedulerName: mine, containers: [{name: main, image: i}]}
";

/// Where the pod went, and why.
fn place(scheduling: Scheduling, manifest: &str) -> (String, Explanation) {
    let builder = Simulation::builder().nodes(3, size(4, 8)).scheduling(scheduling);
    let mut simulation = builder.start().expect("the cluster starts");
    let placed = simulation.run(async |cluster| {
        cluster.apply(manifest).await.expect("applied");
        let decided = |world: &World| world.all::<Pod>().any(|p| !p.status.conditions.is_empty());
        let world = cluster.until("it is decided", Duration::from_secs(60), decided).await.expect("in time");
        let node = world.all::<Pod>().next().expect("the pod").spec.node_name.to_string();
        let key = Key::new(Kind::Pod, "default", "p");
        (node, cluster.api().explain(&key).await.expect("the pod is there").expect("it is explained"))
    });
    placed.expect("the run ends")
}

#[test]
fn filters_and_scores_of_the_host_decide_and_are_explained() {
    let profile = || Profile::spreading("mine").filter(Arc::new(NotTheFirst));
    let mine = profile().and_then(|p| p.score(Arc::new(LastOnes), 5)).expect("a profile");
    let (node, why) = place(Scheduling::default().profile(mine).expect("a name"), POD);
    assert_eq!(node, "node-3");
    assert_eq!(why.nodes[0].reason, "NotTheFirst: node(s) were the first");
    assert_eq!(why.nodes[2].scores.get("LastOnes"), Some(&30));
    assert_eq!(why.scores.get("LastOnes").map(|s| s.as_str()), Some("ten times the number of the node"));
    assert!(why.scores.contains_key("LeastAllocated"), "{:?}", why.scores);
    // A weight of nothing switches a score off.
    let off = profile().and_then(|p| p.score(Arc::new(LastOnes), 0)).expect("a profile");
    assert_eq!(place(Scheduling::default().profile(off).expect("a name"), POD).0, "node-2");
}

#[test]
fn a_scheduler_of_the_host_takes_the_place_of_the_built_in_one() {
    let scheduling = Scheduling::default().scheduler(Arc::new(OneNode("node-2")));
    let (node, why) = place(scheduling, &POD.replace("schedulerName: mine, ", ""));
    assert_eq!((node.as_str(), why.phase.as_str()), ("node-2", "Bound"));
}

#[test]
fn what_a_profile_cannot_be_is_said() {
    let error = |profile: Result<Profile, ProfileError>| profile.expect_err("refused").to_string();
    let unknown = error(Profile::packing("p").weight("LeastAllocated", 1));
    assert!(unknown.starts_with("the profile p has no score \"LeastAllocated\": it has MostAllocated, "), "{unknown}");
    let heavy = error(Profile::packing("p").weight("MostAllocated", 101));
    assert_eq!(heavy, "the weight 101 of MostAllocated in the profile p is not between 0 and 100");
    let without = error(Profile::packing("p").without("Fit"));
    assert!(without.contains("no filter \"Fit\": it has ") && without.contains("NodeResourcesFit"), "{without}");
    let named = Scheduling::default().profile(Profile::packing("Not A Name")).expect_err("refused").to_string();
    assert!(named.starts_with("a profile cannot be called \"Not A Name\": "), "{named}");
}

#[test]
fn extended_resources_are_counted_like_others() {
    // No simulated node has any: the reason names the resource.
    let asks = POD
        .replace("schedulerName: mine, ", "")
        .replace("image: i", "image: i, resources: {limits: {example.com/gpu: 2}}");
    let (node, why) = place(Scheduling::default(), &asks);
    assert_eq!(node, "");
    assert!(why.summary.contains("3 Insufficient example.com/gpu"), "{}", why.summary);
    assert!(why.summary.contains("2 example.com/gpu"), "{}", why.summary);
}
