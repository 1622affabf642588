//! Scenarios restated from Kubernetes' tests of the EndpointSlice and Endpoints controllers.

use super::*;
use crate::client::{Part, Write};
use crate::reconcile::garbage::cluster::{Cluster, running_pod};
use steersman_domain::{
    Condition, Container, ContainerPort, EndpointSlice, Endpoints, IntOrString, PodPhase, ServicePort, Shared, Time,
};

fn service(ports: &[(&str, IntOrString)]) -> Service {
    let mut service = Service::default();
    service.metadata.name = "web".into();
    service.metadata.namespace = "ns".into();
    service.metadata.labels.insert("team", "a".into());
    service.spec.selector.insert("app", "web".into());
    service.spec.ports = ports
        .iter()
        .map(|(name, target)| ServicePort {
            name: (*name).into(),
            port: 80,
            target_port: Some(target.clone()),
            app_protocol: Some("http".into()),
            ..ServicePort::default()
        })
        .collect();
    service
}

fn simple() -> Service {
    service(&[("http", IntOrString::Int(8080))])
}

fn pod(at: usize) -> Pod {
    running_pod("ns", &format!("p{at:04}"), "n1", &format!("10.0.{}.{}", at / 250, at % 250 + 1))
}

fn cluster(service: Service, pods: usize) -> Cluster {
    let mut cluster = Cluster::new();
    cluster.put(service);
    (0..pods).for_each(|at| drop(cluster.put(pod(at))));
    cluster.settle(&mut EndpointsReconciler);
    cluster
}

fn slices(cluster: &Cluster) -> Vec<Arc<EndpointSlice>> {
    cluster.world.in_namespace::<EndpointSlice>("ns").cloned().collect()
}

fn only(cluster: &Cluster) -> Arc<EndpointSlice> {
    let mut all = slices(cluster);
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0)
}

fn conditions(slice: &EndpointSlice) -> Vec<(bool, bool, bool)> {
    let flag = |f: Option<bool>| f.expect("always said");
    let of = |e: &steersman_domain::Endpoint| {
        (flag(e.conditions.ready), flag(e.conditions.serving), flag(e.conditions.terminating))
    };
    slice.endpoints.iter().map(of).collect()
}

#[test]
fn a_slice_says_where_a_pod_answers() {
    let cluster = cluster(simple(), 1);
    let slice = only(&cluster);
    let meta = &slice.metadata;
    assert!(meta.name.starts_with("web-") && meta.name.len() == 9, "{}", meta.name);
    assert_eq!(meta.labels.get(SERVICE_NAME).map(Str::as_str), Some("web"));
    assert_eq!(meta.labels.get(MANAGED_BY).map(Str::as_str), Some(MANAGER));
    assert_eq!(meta.labels.get("team").map(Str::as_str), Some("a"));
    assert_eq!(meta.owner_references, [cluster.get::<Service>("ns", "web").controller_reference()]);
    let port = &slice.ports[0];
    assert_eq!(
        (port.name.as_deref(), port.port, port.app_protocol.as_deref()),
        (Some("http"), Some(8080), Some("http"))
    );
    let endpoint = &slice.endpoints[0];
    let target = endpoint.target_ref.as_ref().expect("a target");
    assert_eq!((endpoint.addresses.as_slice(), endpoint.node_name.as_deref()), (&["10.0.0.1".into()][..], Some("n1")));
    assert_eq!((target.kind.as_str(), target.uid.as_str()), ("Pod", "uid-pod-p0000"));
    assert_eq!(conditions(&slice), [(true, true, false)]);
    let older = cluster.get::<Endpoints>("ns", "web");
    assert_eq!(older.subsets[0].addresses[0].ip, "10.0.0.1");
    assert_eq!((older.subsets[0].ports[0].port, older.subsets.len()), (Some(8080), 1));
}

#[test]
fn conditions_follow_the_pod() {
    let mut cluster = cluster(simple(), 3);
    cluster.edit::<Pod>("ns", "p0000", |p| p.status.conditions[0].status = "False".into());
    cluster.edit::<Pod>("ns", "p0001", |p| p.metadata.deletion_timestamp = Some(Time::from_secs(1)));
    cluster.react(&mut EndpointsReconciler);
    assert_eq!(conditions(&only(&cluster)), [(false, false, false), (false, true, true), (true, true, false)]);
    let subset = &cluster.get::<Endpoints>("ns", "web").subsets[0];
    let ips = |list: &[steersman_domain::EndpointAddress]| list.iter().map(|a| a.ip.to_string()).collect::<Vec<_>>();
    assert_eq!(ips(&subset.addresses), ["10.0.0.3"]);
    assert_eq!(ips(&subset.not_ready_addresses), ["10.0.0.1"]);
    cluster.edit::<Service>("ns", "web", |s| s.spec.publish_not_ready_addresses = true);
    cluster.react(&mut EndpointsReconciler);
    assert_eq!(conditions(&only(&cluster)), [(true, false, false), (true, true, true), (true, true, false)]);
    assert_eq!(cluster.get::<Endpoints>("ns", "web").subsets[0].addresses.len(), 3);
}

#[test]
fn pods_without_an_address_or_at_their_end_are_left_out() {
    let mut cluster = cluster(simple(), 3);
    cluster.edit::<Pod>("ns", "p0000", |p| p.status.pod_ip = Str::default());
    cluster.edit::<Pod>("ns", "p0001", |p| p.status.phase = PodPhase::Failed);
    cluster.edit::<Pod>("ns", "p0002", |p| p.metadata.labels = Map::default());
    cluster.react(&mut EndpointsReconciler);
    let slice = only(&cluster);
    assert!(slice.endpoints.is_empty(), "one empty slice stays");
    assert!(cluster.get::<Endpoints>("ns", "web").subsets.is_empty());
    cluster.edit::<Pod>("ns", "p0002", |p| drop(p.metadata.labels.insert("app", "web".into())));
    cluster.react(&mut EndpointsReconciler);
    assert_eq!((only(&cluster).metadata.name.as_str(), only(&cluster).ports.len()), (slice.metadata.name.as_str(), 1));
}

#[test]
fn named_ports_may_differ_from_pod_to_pod() {
    let mut cluster = Cluster::new();
    cluster.put(service(&[("http", IntOrString::Text("web".into()))]));
    for (at, number) in [(0, 8080), (1, 9090), (2, 8080), (3, 0)] {
        let mut pod = pod(at);
        let port = ContainerPort { name: "web".into(), container_port: number, ..ContainerPort::default() };
        let ports = if number == 0 { Vec::new() } else { vec![port] };
        pod.spec.containers = vec![Shared::new(Container { ports, ..Container::default() })];
        cluster.put(pod);
    }
    cluster.settle(&mut EndpointsReconciler);
    let mut found: Vec<(Option<i32>, usize)> =
        slices(&cluster).iter().map(|s| (s.ports.first().and_then(|p| p.port), s.endpoints.len())).collect();
    found.sort_unstable();
    assert_eq!(found, [(None, 1), (Some(8080), 2), (Some(9090), 1)]);
    let older = cluster.get::<Endpoints>("ns", "web");
    let subsets: Vec<_> = older.subsets.iter().map(|s| (s.ports[0].port, s.addresses.len())).collect();
    assert_eq!(subsets, [(Some(8080), 2), (Some(9090), 1)]);
}

#[test]
fn slices_hold_a_hundred_and_a_change_touches_one() {
    let mut cluster = cluster(simple(), 250);
    let mut sizes: Vec<usize> = slices(&cluster).iter().map(|s| s.endpoints.len()).collect();
    sizes.sort_unstable();
    assert_eq!(sizes, [50, 100, 100]);
    // A pod is replaced: its successor takes its place in the slice that changes anyway.
    cluster.remove(&pod(120).key());
    cluster.put(pod(300));
    let before: Vec<_> = slices(&cluster).iter().map(|s| s.metadata.resource_version).collect();
    assert_eq!(cluster.react(&mut EndpointsReconciler), 2, "one slice and the older object");
    let after: Vec<_> = slices(&cluster).iter().map(|s| s.metadata.resource_version).collect();
    assert_eq!(before.iter().zip(&after).filter(|(a, b)| a != b).count(), 1);
    // What endpoints do not show is no reason to look.
    cluster.edit::<Pod>("ns", "p0001", |p| p.status.message = "hello".into());
    assert_eq!(cluster.react(&mut EndpointsReconciler), 0);
    let all: BTreeSet<Str> =
        slices(&cluster).iter().flat_map(|s| s.endpoints.iter()).map(|e| e.addresses[0].clone()).collect();
    assert_eq!(all.len(), 250);
}

#[test]
fn slices_that_become_empty_go() {
    let mut cluster = cluster(simple(), 150);
    (0..100).for_each(|at| cluster.remove(&pod(at).key()));
    cluster.react(&mut EndpointsReconciler);
    assert_eq!(only(&cluster).endpoints.len(), 50);
}

#[test]
fn headless_services_have_endpoints_without_ports() {
    let mut headless = service(&[]);
    headless.spec.cluster_ip = "None".into();
    let cluster = cluster(headless, 2);
    let slice = only(&cluster);
    assert_eq!((slice.endpoints.len(), slice.ports.len()), (2, 0));
    assert!(slice.metadata.labels.contains_key(HEADLESS));
    assert_eq!(cluster.get::<Endpoints>("ns", "web").subsets[0].addresses.len(), 2);
}

#[test]
fn without_a_selector_everything_stays() {
    let mut cluster = cluster(simple(), 2);
    let before = only(&cluster);
    cluster.edit::<Service>("ns", "web", |s| s.spec.selector = Map::default());
    cluster.remove(&pod(0).key());
    assert_eq!(cluster.react(&mut EndpointsReconciler), 0);
    assert_eq!(*only(&cluster), *before);
}

#[test]
fn slices_of_an_earlier_service_of_the_name_go() {
    let mut cluster = cluster(simple(), 1);
    let old = only(&cluster).metadata.uid.clone();
    cluster.remove(&simple().key());
    let mut again = simple();
    again.metadata.uid = "another".into();
    cluster.put(again);
    cluster.react(&mut EndpointsReconciler);
    let slice = only(&cluster);
    assert_ne!(slice.metadata.uid, old);
    assert_eq!(slice.metadata.controller().map(|c| c.uid.as_str()), Some("another"));
    assert_eq!(cluster.get::<Endpoints>("ns", "web").metadata.owner_references[0].uid.as_str(), "another");
}

#[test]
fn somebody_elses_changes_are_mended() {
    let mut cluster = cluster(simple(), 3);
    let name = only(&cluster).metadata.name.clone();
    cluster.edit::<EndpointSlice>("ns", &name, |s| {
        s.endpoints.remove(0);
        let twice = s.endpoints[0].clone();
        s.endpoints.push(twice);
        s.metadata.labels.insert("team", "b".into());
    });
    cluster.edit::<Endpoints>("ns", "web", |e| e.subsets.clear());
    cluster.react(&mut EndpointsReconciler);
    let slice = only(&cluster);
    assert_eq!((slice.endpoints.len(), slice.metadata.labels.get("team").map(Str::as_str)), (3, Some("a")));
    cluster.remove(&slice.key());
    cluster.react(&mut EndpointsReconciler);
    assert_eq!(only(&cluster).metadata.name, name, "the name is the same each time");
}

#[test]
fn the_order_of_input_does_not_matter() {
    let (mut there, mut back) = (Cluster::new(), Cluster::new());
    for cluster in [&mut there, &mut back] {
        cluster.put(simple());
    }
    (0..120).for_each(|at| drop(there.put(pod(at))));
    (0..120).rev().for_each(|at| drop(back.put(pod(at))));
    let key = simple().key();
    let decide = |c: &Cluster| EndpointsReconciler.reconcile(&c.world, &key, c.now);
    assert_eq!(decide(&there), decide(&back));
}

#[test]
fn stale_input_and_crashes_do_no_harm() {
    let mut stale = Cluster::new();
    stale.put(simple());
    (0..120).for_each(|at| drop(stale.put(pod(at))));
    let outcome = EndpointsReconciler.reconcile(&stale.world, &simple().key(), stale.now);
    assert!(outcome.writes.iter().all(|w| matches!(w, Write::Create(_))));
    stale.perform_twice(&outcome);
    stale.edit::<Pod>("ns", "p0003", |p| p.status.conditions = vec![Condition::default()]);
    let outcome = EndpointsReconciler.reconcile(&stale.world, &simple().key(), stale.now);
    assert!(outcome.writes.iter().all(|w| matches!(w, Write::Update(_, Part::Main))));
    stale.perform_twice(&outcome);

    let mut crashing = Cluster::new();
    crashing.put(simple());
    (0..250).for_each(|at| drop(crashing.put(pod(at))));
    assert_eq!(crashing.settle_through_crashes(|| EndpointsReconciler), 4);
    assert_eq!(slices(&crashing).iter().map(|s| s.endpoints.len()).sum::<usize>(), 250);
}

#[test]
fn a_service_that_is_being_deleted_makes_no_more() {
    let mut cluster = Cluster::new();
    let mut ending = simple();
    ending.metadata.deletion_timestamp = Some(Time::from_secs(1));
    ending.metadata.finalizers = vec!["foregroundDeletion".into()];
    cluster.put(ending);
    cluster.put(pod(0));
    assert_eq!(cluster.settle(&mut EndpointsReconciler), 0);
}
