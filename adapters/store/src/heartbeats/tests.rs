use super::*;
use crate::MemoryStore;
use steersman_domain::{ConfigMap, MicroTime, ObjectMeta, Resource};

const NOW: Time = Time::from_secs(1_700_000_000);

fn lease(name: &str, second: i64) -> Lease {
    let metadata = ObjectMeta { name: name.into(), namespace: NAMESPACE.into(), ..ObjectMeta::default() };
    let mut lease = Lease { metadata, ..Lease::default() };
    lease.spec.holder_identity = name.into();
    lease.spec.renew_time = Some(MicroTime(Time::from_secs(second)));
    lease
}

fn put(lease: Lease, revision: Option<Revision>) -> Txn {
    let key = lease.key();
    let precondition = match revision {
        None => Precondition::Absent(key.clone()),
        Some(revision) => Precondition::Revision(key.clone(), revision),
    };
    Txn { preconditions: vec![precondition], ops: vec![Op::Put(key, Lease::into_object(Arc::new(lease)))], at: NOW }
}

async fn commit(store: &Heartbeats, txn: Txn) -> Result<Arc<Stored>, Rejected> {
    let mut answers = store.commit(vec![txn]).await.expect("the store answers");
    answers.remove(0).map(|committed| committed.results[0].clone())
}

/// When a lease was renewed, in seconds, and its revision.
fn read(stored: &Stored) -> (i64, u64) {
    let renewed = stored.typed::<Lease>().and_then(|l| l.spec.renew_time).expect("a renewed lease");
    (renewed.0.micros() / 1_000_000, stored.revision.0)
}

async fn new_lease(store: &Heartbeats, name: &str) -> Revision {
    commit(store, put(lease(name, 1), None)).await.expect("created").revision
}

#[tokio::test]
async fn conforms() {
    steersman_domain::testing::store::conformance(async || {
        let store: Arc<dyn Store> = Arc::new(Heartbeats::beside(Arc::new(MemoryStore::new())));
        store
    })
    .await;
}

#[tokio::test]
async fn renewals_take_no_revision_and_no_line_of_the_journal() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("journal");
    let store = Heartbeats::beside(Arc::new(MemoryStore::open(&path).expect("a new journal")));
    let revision = new_lease(&store, "n1").await;
    let written = std::fs::metadata(&path).expect("a file").len();
    for second in 2..100 {
        let renewed = commit(&store, put(lease("n1", second), Some(revision))).await.expect("renewed");
        assert_eq!(read(&renewed), (second, revision.0));
    }
    assert_eq!(std::fs::metadata(&path).expect("a file").len(), written, "nothing was written");
    assert_eq!(store.head().await.expect("head").revision, revision);
    let key = lease("n1", 0).key();
    assert_eq!(read(&store.get(&key, None).await.expect("readable").expect("there")), (99, revision.0));
    let page = store.list(ListQuery::default()).await.expect("readable");
    assert_eq!(page.items.iter().map(|item| read(item)).collect::<Vec<_>>(), [(99, revision.0)]);
    let again = Heartbeats::beside(Arc::new(MemoryStore::open(&path).expect("a whole journal")));
    assert_eq!(read(&again.get(&key, None).await.expect("readable").expect("there")), (1, revision.0), "as written");
}

#[tokio::test]
async fn whatever_is_no_renewal_is_written() {
    let store = Heartbeats::beside(Arc::new(MemoryStore::new()));
    let first = new_lease(&store, "n1").await;
    commit(&store, put(lease("n1", 5), Some(first))).await.expect("renewed");
    let mut taken = lease("n1", 6);
    taken.spec.holder_identity = "another".into();
    let second = commit(&store, put(taken, Some(first))).await.expect("written");
    assert_eq!(read(&second), (6, first.0 + 1));
    let late = commit(&store, put(lease("n1", 7), Some(first))).await.expect_err("stale");
    assert!(matches!(late, Rejected::Conflict { found, .. } if found == second.revision), "{late}");
    let mut elsewhere = lease("leader", 1);
    elsewhere.metadata.namespace = "default".into();
    let created = commit(&store, put(elsewhere.clone(), None)).await.expect("created").revision;
    elsewhere.spec.renew_time = Some(MicroTime(Time::from_secs(2)));
    let renewed = commit(&store, put(elsewhere, Some(created))).await.expect("written");
    assert_eq!(renewed.revision.0, created.0 + 1, "another lease is an ordinary object");
}

#[tokio::test]
async fn a_group_keeps_its_order() {
    let store = Heartbeats::beside(Arc::new(MemoryStore::new()));
    let revision = new_lease(&store, "n1").await;
    let metadata = ObjectMeta { name: "m".into(), namespace: "ns".into(), ..ObjectMeta::default() };
    let map = ConfigMap { metadata, ..ConfigMap::default() };
    let map = Txn::create(map.key(), ConfigMap::into_object(Arc::new(map)), NOW);
    let key = lease("n1", 0).key();
    let group = vec![
        map.clone(),
        put(lease("n1", 2), Some(revision)),
        map,
        Txn::remove(key.clone(), revision, NOW),
        put(lease("n1", 3), Some(revision)),
    ];
    let answers = store.commit(group).await.expect("the store answers");
    let told: Vec<_> =
        answers.iter().map(|a| a.as_ref().map(|c| c.revision().0).map_err(ToString::to_string)).collect();
    assert_eq!(told[..2], [Ok(revision.0 + 1), Ok(revision.0)]);
    assert!(told[2].as_ref().is_err_and(|e| e.contains("exists already")), "{told:?}");
    assert_eq!(told[3], Ok(revision.0 + 2));
    assert!(told[4].as_ref().is_err_and(|e| e.contains("does not exist")), "{told:?}");
    assert!(store.get(&key, None).await.expect("readable").is_none());
}

#[tokio::test]
async fn watchers_see_renewals_after_the_lease_and_never_after_its_end() {
    let store = Heartbeats::beside(Arc::new(MemoryStore::new()));
    let mut all = store.watch(Scope::default(), Revision(0)).await.expect("a watch");
    let mut maps = store.watch(Scope::kind(Kind::ConfigMap), Revision(0)).await.expect("a watch");
    let revision = new_lease(&store, "n1").await;
    commit(&store, put(lease("n1", 2), Some(revision))).await.expect("renewed");
    commit(&store, put(lease("n1", 3), Some(revision))).await.expect("renewed");
    let told = |changes: &[Change]| -> Vec<(bool, i64, u64)> {
        let tell = |change: &Change| match change {
            Change::Put { before, after } => (before.is_none(), read(after).0, read(after).1),
            Change::Delete { last, .. } => (false, -1, last.revision.0),
        };
        changes.iter().map(tell).collect()
    };
    assert_eq!(told(&all.next().await.expect("a change")), [(true, 1, revision.0)]);
    assert_eq!(told(&all.next().await.expect("a change")), [(false, 3, revision.0)], "the newest renewal alone");
    commit(&store, put(lease("n1", 4), Some(revision))).await.expect("renewed");
    commit(&store, Txn::remove(lease("n1", 0).key(), revision, NOW)).await.expect("removed");
    assert_eq!(told(&all.next().await.expect("a change")), [(false, -1, revision.0 + 1)]);
    assert_eq!(all.progress().0, revision.0 + 1);
    for watch in [&mut all, &mut maps] {
        let more = tokio::time::timeout(std::time::Duration::ZERO, watch.next()).await;
        assert!(more.is_err(), "{more:?}");
    }
    let mut late = store.watch(Scope::namespaced(Kind::Lease, NAMESPACE), revision).await.expect("a watch");
    assert_eq!(told(&late.next().await.expect("a change")), [(false, -1, revision.0 + 1)], "resumed");
}
