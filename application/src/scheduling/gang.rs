//! Gangs: pods that are placed all together or not at all. Its members are decided one after the other, each on the nodes as
//! those before it leave them; when fewer find a place than the gang needs, everything is as it was before. Where members
//! find a place only by preemption, those that have one keep it, unbound, until there is room for all.
//! Source: all-or-nothing scheduling as kube-scheduler's `Coscheduling` plug-in and Kubernetes' `Workload` kind mean it.

use super::decide::Attempt;
use super::{Nodes, SchedulingContext};
use std::sync::Arc;
use steersman_domain::ports::{Decision, NodeVerdict, Placement, Preemption};
use steersman_domain::{Gang, Pod, Resource as _};

/// Pods of a gang that stand next to each other in a batch.
pub(super) fn run<'a>(pods: &'a [Arc<Pod>], gang: &Gang<'_>) -> &'a [Arc<Pod>] {
    let count =
        pods.iter().take_while(|pod| pod.gang().is_some_and(|g| (g.namespace, g.name) == (gang.namespace, gang.name)));
    &pods[..count.count()]
}

/// Decides on the members of a gang that wait.
pub(super) fn decide(
    nodes: &mut Nodes,
    gang: &Gang<'_>,
    members: &[Arc<Pod>],
    context: &SchedulingContext,
) -> Vec<Decision> {
    let members: Vec<&Arc<Pod>> = members.iter().filter(|pod| context.profile(pod).is_some()).collect();
    // Should members differ, none of them is to be disappointed.
    let size = members.iter().filter_map(|pod| pod.gang()).map(|g| g.size).max().unwrap_or(gang.size);
    let bound = nodes.gang_members(gang);
    let whole = Whole { name: format!("{}/{}", gang.namespace, gang.name), size, bound };
    if bound + members.len() < size {
        for pod in &members {
            nodes.unreserve(pod);
        }
        let why = whole.short(members.len());
        return members.into_iter().map(|pod| waits(pod, why.clone(), Arc::default(), nodes.known())).collect();
    }
    nodes.displaced.clear();
    let mut decisions = Vec::with_capacity(members.len());
    let missing = size.saturating_sub(bound);
    let mut refused = 0;
    for pod in members {
        let Some(profile) = context.profile(pod) else { continue };
        let demand = nodes.demands.of(pod, context);
        let decision = Attempt { pod, demand: &demand, profile, context }.decide(nodes);
        refused += usize::from(matches!(decision.placement, Placement::Unschedulable(_)));
        decisions.push(decision);
    }
    if decisions.len() - refused < missing {
        give_up(nodes, &mut decisions, &whole, context);
    } else if decisions.iter().filter(|d| matches!(d.placement, Placement::Node(_))).count() < missing {
        keep_places(nodes, &mut decisions, &whole, context);
    }
    decisions
}

/// What a gang needs.
struct Whole {
    name: String,
    size: usize,
    bound: usize,
}

impl Whole {
    fn needs(&self) -> String {
        let placed = if self.bound > 0 { format!(", {} of which are placed", self.bound) } else { String::new() };
        format!("gang {} is placed whole: it needs {} pods{placed}", self.name, self.size)
    }

    fn short(&self, here: usize) -> String {
        let are = if here == 1 { "is" } else { "are" };
        format!("{}; {here} {are} waiting here.", self.needs())
    }
}

fn waits(pod: &Arc<Pod>, why: String, verdicts: Arc<Vec<NodeVerdict>>, nodes: usize) -> Decision {
    Decision { pod: pod.clone(), placement: Placement::Unschedulable(why), verdicts, nodes }
}

/// Takes back all placements and preemptions, and tells every member why.
fn give_up(nodes: &mut Nodes, decisions: &mut [Decision], whole: &Whole, context: &SchedulingContext) {
    let mut found = 0;
    for decision in decisions.iter().rev() {
        match &decision.placement {
            Placement::Unschedulable(_) => continue,
            Placement::Node(_) => {}
            Placement::Preempt(preemption) => {
                preemption.victims.iter().for_each(|victim| nodes.set_going(victim, false))
            }
        }
        found += 1;
        nodes.take_pod(&decision.pod.key());
    }
    for displaced in std::mem::take(&mut nodes.displaced) {
        nodes.give_back(displaced);
    }
    let refused = decisions.iter().find_map(|d| match &d.placement {
        Placement::Unschedulable(why) => Some((d.pod.clone(), why.clone(), d.verdicts.clone())),
        Placement::Node(_) | Placement::Preempt(_) => None,
    });
    let Some((first, why, verdicts)) = refused else { return };
    let room = capacity(nodes, &first, context);
    let mut text = format!("{}; {found} of {} found a place. For the others: {why}", whole.needs(), decisions.len());
    if room < whole.size {
        text = format!(
            "{text} Even without other pods the nodes that suit have room for {room} such pods: add nodes, or make the gang \
             or its requests smaller."
        );
    }
    for decision in decisions {
        decision.placement = Placement::Unschedulable(text.clone());
        decision.verdicts = verdicts.clone();
    }
}

/// How many pods like this one the nodes that suit have room for, were they empty.
fn capacity(nodes: &mut Nodes, pod: &Arc<Pod>, context: &SchedulingContext) -> usize {
    let Some(profile) = context.profile(pod) else { return 0 };
    let demand = nodes.demands.of(pod, context);
    let (place, class) = nodes.classes.take(&demand, profile, &nodes.infos);
    let members = class.groups.values().flatten().map(|at| &nodes.infos[*at as usize].allocatable);
    let room: i64 = members.map(|of| of.fits_times(demand.request())).fold(0, i64::saturating_add);
    nodes.classes.put_back(place, class);
    usize::try_from(room).unwrap_or(usize::MAX)
}

/// Some members wait for others to end: those that have a place keep it meanwhile.
fn keep_places(nodes: &mut Nodes, decisions: &mut [Decision], whole: &Whole, context: &SchedulingContext) {
    for decision in decisions {
        let Placement::Node(node) = &decision.placement else { continue };
        let preemption = Preemption {
            node: node.clone(),
            victims: Vec::new(),
            why: format!("keeps its place on {node} until the whole gang has room"),
            unschedulable: format!("{}; some wait for pods of lower priority to end.", whole.needs()),
        };
        nodes.unplace(&decision.pod.key());
        nodes.put_kept(&decision.pod, node, context);
        decision.placement = Placement::Preempt(preemption);
    }
}
