//! The quick scheduler places every pod where the naive one would, whatever came before.

use super::{context, node};
use crate::scheduling::{Nodes, reference, schedule};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use steersman_domain::ports::Placement;
use steersman_domain::{Key, Node, Pod, Quantity, Resource, Str, Taint};

/// What pods of a template ask for.
#[derive(Clone, Debug)]
struct Template {
    cpu: i64,
    packing: bool,
    affinity: u8,
    spread: u8,
    extra: u8,
    app: u8,
}

impl Template {
    /// One pod, to be cloned: its clones share its parts, as pods of one controller do.
    fn pod(&self) -> Pod {
        let app = format!("app{}", self.app);
        let same = json!({"labelSelector": {"matchLabels": {"app": app}}, "topologyKey": "zone"});
        let host = json!({"labelSelector": {"matchLabels": {"app": app}}, "topologyKey": "host"});
        let other = json!({"labelSelector": {"matchLabels": {"app": "app0"}}, "topologyKey": "zone"});
        let required = |terms: Value| json!({"requiredDuringSchedulingIgnoredDuringExecution": terms});
        let preferred = |term: &Value, weight: i32| json!({"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": weight, "podAffinityTerm": term}]});
        let affinity = match self.affinity {
            0 => json!({"podAntiAffinity": required(json!([host]))}),
            1 => json!({"podAffinity": required(json!([same]))}),
            2 => json!({"podAffinity": preferred(&other, 40), "podAntiAffinity": preferred(&host, 7)}),
            3 => json!({"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
                {"weight": 9, "preference": {"matchExpressions": [
                    {"key": "zone", "operator": "In", "values": ["z1"]}]}}]}}),
            4 => json!({"nodeAffinity": required(json!({"nodeSelectorTerms": [{"matchExpressions": [
                {"key": "zone", "operator": "NotIn", "values": ["z0"]}]}]}))}),
            5 => json!({"nodeAffinity": required(json!({"nodeSelectorTerms": [{"matchFields": [
                {"key": "metadata.name", "operator": "In", "values": ["n003", "n007"]}]}]}))}),
            _ => Value::Null,
        };
        let constraint = |key: &str, when: &str| {
            json!([{"maxSkew": 1, "topologyKey": key, "whenUnsatisfiable": when,
                "labelSelector": {"matchLabels": {"app": app}}}])
        };
        let spread = match self.spread {
            0 => constraint("zone", "DoNotSchedule"),
            1 => constraint("host", "ScheduleAnyway"),
            _ => Value::Null,
        };
        let mut requests = json!({"cpu": format!("{}m", self.cpu), "memory": format!("{}Mi", self.cpu / 2)});
        let mut ports = Value::Null;
        let mut tolerations = Value::Null;
        match self.extra {
            0 => requests["example.com/gpu"] = json!("1"),
            1 => ports = json!([{"containerPort": 80, "hostPort": 80}]),
            2 => tolerations = json!([{"key": "gpu", "operator": "Exists"}]),
            _ => {}
        }
        let spec = json!({
            "schedulerName": if self.packing { "bin-packing" } else { "default-scheduler" },
            "affinity": affinity, "topologySpreadConstraints": spread, "tolerations": tolerations,
            "containers": [{"name": "c", "ports": ports, "resources": {"requests": requests}}],
        });
        let whole = json!({"metadata": {"namespace": "ns", "labels": {"app": app}}, "spec": spec});
        serde_json::from_value(whole).expect("a pod")
    }
}

fn templates() -> impl Strategy<Value = Vec<Template>> {
    let one = (50_i64..900, any::<bool>(), 0_u8..16, 0_u8..10, 0_u8..12, 0_u8..4).prop_map(
        |(cpu, packing, affinity, spread, extra, app)| Template { cpu, packing, affinity, spread, extra, app },
    );
    proptest::collection::vec(one, 1..8)
}

fn machine(at: usize, shape: u8) -> Arc<Node> {
    let mut node = Node::clone(&node(&format!("n{at:03}"), 1000 + 500 * i64::from(shape % 4)));
    let labels = [("zone", format!("z{}", at % 3)), ("host", format!("n{at:03}"))];
    // Some nodes are in no zone.
    node.metadata.labels = labels
        .into_iter()
        .filter(|(key, _)| *key != "zone" || shape % 11 != 10)
        .map(|(k, v)| (k, Str::from(v)))
        .collect();
    if shape % 5 == 4 {
        node.status.allocatable.insert("example.com/gpu", Quantity::from_units(2));
        let effect = if shape.is_multiple_of(2) { "NoSchedule" } else { "PreferNoSchedule" };
        node.spec.taints = vec![Taint { key: "gpu".into(), effect: effect.into(), ..Taint::default() }];
    }
    node.spec.unschedulable = shape % 17 == 16;
    Arc::new(node)
}

/// What happens: most of the time a pod comes.
type Step = (u8, usize, u8);

fn play(start: usize, templates: &[Template], steps: &[Step]) -> Result<(), TestCaseError> {
    let context = context();
    let mut nodes = Nodes::default();
    (0..start).for_each(|at| {
        nodes.put_node(machine(at, u8::try_from(at % 200).expect("small")));
    });
    let templates: Vec<Pod> = templates.iter().map(Template::pod).collect();
    let mut placed: BTreeMap<Key, ()> = BTreeMap::new();
    for (n, (what, which, shape)) in steps.iter().enumerate() {
        match what {
            0..=69 => {
                let mut pod = templates[which % templates.len()].clone();
                pod.metadata.name = format!("p{n}").into();
                let pod = Arc::new(pod);
                let expected = reference::place(&mut nodes, &pod, &context);
                let decision = schedule(&mut nodes, std::slice::from_ref(&pod), &context).remove(0);
                let got = match decision.placement {
                    Placement::Node(node) => Some(node),
                    Placement::Unschedulable(_) | Placement::Preempt(_) => None,
                };
                prop_assert_eq!(&got, &expected, "step {}: {:?}", n, decision.verdicts);
                if got.is_some() {
                    placed.insert(pod.key(), ());
                }
            }
            70..=89 => {
                if let Some(key) = placed.keys().nth(which % placed.len().max(1)).cloned() {
                    placed.remove(&key);
                    prop_assert!(nodes.remove_pod(&key));
                }
            }
            90..=95 => {
                nodes.put_node(machine(which % (start + 20), *shape));
            }
            _ => nodes.remove_node(&format!("n{:03}", which % start)),
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn on_small_clusters(
        start in 1_usize..40,
        templates in templates(),
        steps in proptest::collection::vec((0_u8..100, any::<usize>(), any::<u8>()), 1..200),
    ) {
        play(start, &templates, &steps)?;
    }

    #[test]
    fn on_large_clusters(
        start in 65_usize..260,
        templates in templates(),
        steps in proptest::collection::vec((0_u8..100, any::<usize>(), any::<u8>()), 1..150),
    ) {
        play(start, &templates, &steps)?;
    }
}
