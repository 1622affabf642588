//! The repositories on the store in memory.

use std::sync::Arc;
use steersman_domain::ports::{NodeRepository, PodRepository, RepositoryError};
use steersman_domain::repository::StoreRepository;
use steersman_domain::testing::ManualClock;
use steersman_domain::{Node, Pod, PodPhase, Revision};
use steersman_store::MemoryStore;

fn repository() -> StoreRepository {
    StoreRepository::new(Arc::new(MemoryStore::new()), Arc::new(ManualClock::default()))
}

fn pod(namespace: &str, name: &str) -> Pod {
    let mut pod = Pod::default();
    (pod.metadata.namespace, pod.metadata.name) = (namespace.into(), name.into());
    pod
}

#[tokio::test]
async fn pods_are_saved_by_their_revision() {
    let pods: Box<dyn PodRepository> = Box::new(repository());
    let saved = pods.save(pod("a", "x")).await.expect("new");
    assert_eq!(saved.metadata.resource_version, Revision(1));
    let again = pods.save(pod("a", "x")).await;
    assert_eq!(again, Err(RepositoryError::AlreadyExists("pod a/x".into())));
    let mut changed = Pod::clone(&saved);
    changed.status.phase = PodPhase::Running;
    let newer = pods.save(changed.clone()).await.expect("current");
    assert_eq!((newer.status.phase, newer.metadata.resource_version), (PodPhase::Running, Revision(2)));
    let conflict = RepositoryError::Conflict { what: "pod a/x".into(), expected: Revision(1), found: Revision(2) };
    assert_eq!(pods.save(changed).await, Err(conflict), "the object has moved on");
    assert_eq!(pods.find("a", "x").await.expect("readable"), Some(newer));
    assert_eq!(pods.find("a", "y").await.expect("readable"), None);
}

#[tokio::test]
async fn lists_are_by_namespace_and_removal_is_told() {
    let pods = repository();
    for (namespace, name) in [("b", "x"), ("a", "y"), ("a", "x")] {
        PodRepository::save(&pods, pod(namespace, name)).await.expect("new");
    }
    let names = |list: Vec<Arc<Pod>>| -> Vec<String> {
        list.iter().map(|p| format!("{}/{}", p.metadata.namespace, p.metadata.name)).collect()
    };
    assert_eq!(names(PodRepository::list(&pods, None).await.expect("readable")), ["a/x", "a/y", "b/x"]);
    assert_eq!(names(PodRepository::list(&pods, Some("a".into())).await.expect("readable")), ["a/x", "a/y"]);
    PodRepository::remove(&pods, "a", "x").await.expect("present");
    let gone = PodRepository::remove(&pods, "a", "x").await;
    assert_eq!(gone, Err(RepositoryError::NotFound("pod a/x".into())));
}

#[tokio::test]
async fn nodes_have_no_namespace() {
    let nodes: Box<dyn NodeRepository> = Box::new(repository());
    let mut node = Node::default();
    node.metadata.name = "n1".into();
    nodes.save(node).await.expect("new");
    assert_eq!(nodes.find("", "n1").await.expect("readable").map(|n| n.metadata.name.clone()), Some("n1".into()));
    assert_eq!(nodes.list(None).await.expect("readable").len(), 1);
}
