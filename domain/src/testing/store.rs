//! The conformance suite of stores: every adapter runs it, so that all give equal answers to equal commands.

use crate::ports::{Change, ListQuery, Op, Precondition, Rejected, Scope, Store, StoreError, Txn};
use crate::{ConfigMap, Key, Kind, Object, ObjectMeta, Pod, Resource as _, Revision, Stored, Str, Time};
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// Runs the whole suite; `open` makes an empty store for each part.
///
/// # Panics
/// When the store does not conform; the message says how.
pub async fn conformance<F, Fut>(open: F)
where
    F: Fn() -> Fut,
    Fut: Future<Output = Arc<dyn Store>>,
{
    preconditions(&*open().await).await;
    atomicity(&*open().await).await;
    lists(&*open().await).await;
    watches(&*open().await).await;
    watches_of_nodes(&*open().await).await;
    past(&*open().await).await;
    compaction(&*open().await).await;
    times(&*open().await).await;
    terms(&*open().await).await;
}

const T0: Time = Time::from_secs(1_700_000_000);

fn key(name: &str) -> Key {
    Key::new(Kind::ConfigMap, "ns", name)
}

fn object(key: &Key, value: &str) -> Object {
    let metadata = ObjectMeta { name: key.name.clone(), namespace: key.namespace.clone(), ..ObjectMeta::default() };
    let data = [("v", Str::from(value))].into_iter().collect();
    Object::ConfigMap(Arc::new(ConfigMap { metadata, data, ..ConfigMap::default() }))
}

fn value(object: &Object) -> String {
    match object {
        Object::ConfigMap(map) => map.data.get("v").map(ToString::to_string).unwrap_or_default(),
        other => panic!("a ConfigMap was stored and {} came back", other.kind()),
    }
}

fn put(key: &Key, v: &str) -> Op {
    Op::Put(key.clone(), object(key, v))
}

fn txn(preconditions: Vec<Precondition>, ops: Vec<Op>) -> Txn {
    Txn { preconditions, ops, at: T0 }
}

/// Commits one transaction and answers its last revision.
async fn commit(store: &dyn Store, txn: Txn) -> Result<Revision, Rejected> {
    let mut answers = store.commit(vec![txn]).await.expect("the store answers");
    assert_eq!(answers.len(), 1, "one answer for one transaction");
    answers.pop().expect("counted").map(|c| c.revision())
}

async fn set(store: &dyn Store, name: &str, v: &str) -> Revision {
    commit(store, txn(Vec::new(), vec![put(&key(name), v)])).await.expect("nothing is required")
}

async fn read(store: &dyn Store, name: &str, at: Option<Revision>) -> Option<String> {
    store.get(&key(name), at).await.expect("readable").map(|s| value(&s.object))
}

async fn preconditions(store: &dyn Store) {
    assert_eq!(store.head().await.expect("head").revision, Revision(0), "an empty store is at revision 0");
    let a = key("a");
    let first = commit(store, Txn::create(a.clone(), object(&a, "1"), T0)).await.expect("absent");
    assert_eq!(first, Revision(1), "revisions begin at 1");
    let again = commit(store, Txn::create(a.clone(), object(&a, "2"), T0)).await;
    assert_eq!(again, Err(Rejected::Exists(a.clone())));
    let second = commit(store, Txn::replace(a.clone(), first, object(&a, "2"), T0)).await.expect("current");
    assert_eq!(second, Revision(2), "a rejected transaction takes no revision");
    let stale = commit(store, Txn::replace(a.clone(), first, object(&a, "3"), T0)).await;
    assert_eq!(stale, Err(Rejected::Conflict { key: a.clone(), expected: first, found: second }));
    let missing = commit(store, Txn::replace(key("b"), first, object(&key("b"), "1"), T0)).await;
    assert_eq!(missing, Err(Rejected::NotFound(key("b"))));
    assert_eq!(commit(store, txn(vec![], vec![Op::Delete(key("b"))])).await, Err(Rejected::NotFound(key("b"))));
    let stored = store.get(&a, None).await.expect("readable").expect("present");
    assert_eq!((stored.revision, stored.object.meta().resource_version), (second, second), "the object is stamped");
    assert_eq!(value(&stored.object), "2");
    let gone = commit(store, Txn::remove(a.clone(), second, T0)).await.expect("current");
    assert_eq!(gone, Revision(3), "a removal takes a revision");
    assert_eq!(read(store, "a", None).await, None);
    assert!(commit(store, Txn::create(a.clone(), object(&a, "4"), T0)).await.is_ok(), "a removed key is absent");
}

async fn atomicity(store: &dyn Store) {
    set(store, "a", "0").await;
    let (a, b) = (key("a"), key("b"));
    let batch = vec![
        txn(vec![], vec![put(&a, "1"), put(&b, "1")]),
        txn(vec![Precondition::Absent(b.clone())], vec![put(&a, "spoiled"), put(&key("c"), "spoiled")]),
        txn(vec![], vec![put(&key("d"), "spoiled"), Op::Delete(key("nothing"))]),
        txn(vec![Precondition::Revision(b.clone(), Revision(3))], vec![Op::Delete(b.clone()), put(&key("e"), "2")]),
    ];
    let answers = store.commit(batch).await.expect("the store answers");
    let shape: Vec<bool> = answers.iter().map(Result::is_ok).collect();
    assert_eq!(shape, [true, false, false, true], "each transaction stands alone and sees those before it");
    let revisions: Vec<u64> = answers.iter().flatten().flat_map(|c| c.results.iter().map(|s| s.revision.0)).collect();
    assert_eq!(revisions, [2, 3, 4, 5], "each op takes the next revision, without gaps");
    for (name, expected) in [("a", Some("1")), ("b", None), ("c", None), ("d", None), ("e", Some("2"))] {
        assert_eq!(read(store, name, None).await.as_deref(), expected, "{name}");
    }
    assert_eq!(store.commit(Vec::new()).await.expect("the store answers").len(), 0);
}

async fn lists(store: &dyn Store) {
    for (namespace, name) in [("b", "x"), ("a", "z"), ("a", "x"), ("a", "y"), ("aa", "x"), ("c", "x")] {
        let key = Key::new(Kind::ConfigMap, namespace, name);
        commit(store, txn(vec![], vec![put(&key, "1")])).await.expect("nothing is required");
    }
    let names = |items: &[Arc<crate::Stored>]| -> Vec<String> {
        items.iter().map(|s| format!("{}/{}", s.key.namespace, s.key.name)).collect()
    };
    let all = ListQuery { scope: Scope::kind(Kind::ConfigMap), ..ListQuery::default() };
    let page = store.list(all.clone()).await.expect("readable");
    assert_eq!(names(&page.items), ["a/x", "a/y", "a/z", "aa/x", "b/x", "c/x"], "lists are in key order");
    assert_eq!((page.revision, page.remaining), (Revision(6), 0));
    let one = ListQuery { scope: Scope::namespaced(Kind::ConfigMap, "a"), limit: 2, ..ListQuery::default() };
    let page = store.list(one.clone()).await.expect("readable");
    assert_eq!((names(&page.items), page.remaining), (vec!["a/x".into(), "a/y".into()], 1));
    // Writes between pages do not show: the second page is as of the first.
    commit(store, txn(vec![], vec![put(&Key::new(Kind::ConfigMap, "a", "yy"), "1")])).await.expect("free");
    let after = page.items.last().map(|s| s.key.clone());
    let rest = store.list(ListQuery { after, at: Some(page.revision), ..one }).await.expect("readable");
    assert_eq!((names(&rest.items), rest.revision), (vec!["a/z".into()], Revision(6)));
    let other = store.list(ListQuery { scope: Scope::kind(Kind::Pod), ..all }).await.expect("readable");
    assert!(other.items.is_empty());
    let everything = store.list(ListQuery::default()).await.expect("readable");
    assert_eq!(everything.items.len(), 7, "no kind means every kind");
}

/// What a poll of the next changes gives without waiting.
fn poll_next(stream: &mut Box<dyn crate::ports::WatchStream>) -> Poll<Result<Vec<Change>, StoreError>> {
    pin!(stream.next()).poll(&mut Context::from_waker(Waker::noop()))
}

async fn collect(stream: &mut Box<dyn crate::ports::WatchStream>, until: Revision) -> Vec<String> {
    let mut seen = Vec::new();
    while seen.last().is_none_or(|(r, _)| *r < until) {
        for change in stream.next().await.expect("retained") {
            let text = match &change {
                Change::Put { before, after } => {
                    format!(
                        "{}: {:?} -> {}",
                        after.key.name,
                        before.as_ref().map(|b| value(&b.object)),
                        value(&after.object)
                    )
                }
                Change::Delete { before, last } => {
                    assert_eq!(value(&before.object), value(&last.object), "the last object is what was there");
                    assert_eq!(last.object.meta().resource_version, last.revision);
                    format!("{} gone", last.key.name)
                }
            };
            seen.push((change.revision(), text));
        }
    }
    assert!(seen.windows(2).all(|w| w[0].0 < w[1].0), "changes come in revision order");
    seen.into_iter().map(|(_, text)| text).collect()
}

async fn watches(store: &dyn Store) {
    let start = set(store, "a", "1").await;
    let mut early = store.watch(Scope::namespaced(Kind::ConfigMap, "ns"), start).await.expect("retained");
    assert!(poll_next(&mut early).is_pending(), "nothing has happened yet");
    set(store, "a", "2").await;
    set(store, "b", "1").await;
    let other = Key::new(Kind::ConfigMap, "other", "x");
    commit(store, txn(vec![], vec![put(&other, "1")])).await.expect("free");
    let end = commit(store, txn(vec![], vec![Op::Delete(key("a"))])).await.expect("present");
    let expected = ["a: Some(\"1\") -> 2", "b: None -> 1", "a gone"];
    assert_eq!(collect(&mut early, end).await, expected);
    assert_eq!(early.progress(), end);
    let mut late = store.watch(Scope::namespaced(Kind::ConfigMap, "ns"), start).await.expect("retained");
    assert_eq!(collect(&mut late, end).await, expected, "a watch resumes from any retained revision");
    let mut all = store.watch(Scope::default(), Revision(0)).await.expect("retained");
    assert_eq!(collect(&mut all, end).await.len(), 5, "no kind means every kind");
    assert!(poll_next(&mut all).is_pending());
    let future = store.watch(Scope::default(), Revision(end.0 + 1)).await.err();
    assert_eq!(future, Some(StoreError::Future { wanted: Revision(end.0 + 1), newest: end }));
}

/// Puts a pod on a node; the empty name is none.
async fn bind(store: &dyn Store, name: &str, node: &str) -> Revision {
    let mut pod = Pod::default();
    (pod.metadata.namespace, pod.metadata.name, pod.spec.node_name) = ("ns".into(), name.into(), node.into());
    let op = Op::Put(pod.key(), Pod::into_object(Arc::new(pod)));
    commit(store, txn(Vec::new(), vec![op])).await.expect("nothing is required")
}

/// Whether a pod is or was on the node.
fn concerns(change: &Change, node: &str) -> bool {
    let on = |stored: &Arc<Stored>| stored.typed::<Pod>().is_some_and(|pod| pod.spec.node_name == node);
    match change {
        Change::Put { before, after } => before.as_ref().is_some_and(on) || on(after),
        Change::Delete { before, .. } => on(before),
    }
}

/// A store may deliver more than was asked for, but of what was asked for all of it, or say that it cannot.
async fn watches_of_nodes(store: &dyn Store) {
    let scope = |node: &str| Scope { node: Some(node.into()), ..Scope::kind(Kind::Pod) };
    let mut watches = Vec::new();
    for node in ["m", "n", "idle"] {
        watches.push((node, store.watch(scope(node), Revision(0)).await.expect("retained")));
    }
    bind(store, "a", "").await;
    bind(store, "b", "n").await;
    bind(store, "a", "m").await;
    set(store, "config", "1").await;
    bind(store, "a", "n").await;
    let gone = Key::new(Kind::Pod, "ns", "b");
    let end = commit(store, txn(Vec::new(), vec![Op::Delete(gone)])).await.expect("there");
    for (node, watch) in &mut watches {
        let mut seen = Vec::new();
        while let Poll::Ready(changes) = poll_next(watch) {
            let changes = changes.expect("nothing was compacted");
            seen.extend(changes.iter().filter(|change| concerns(change, node)).map(|change| change.revision().0));
        }
        let expected: &[u64] = match *node {
            "m" => &[3, 5],
            "n" => &[2, 5, 6],
            _ => &[],
        };
        assert_eq!(seen, expected, "node {node}: where the pod was, and where it is");
        assert_eq!(watch.progress(), end, "node {node}: all that is there has been delivered");
    }
    // Each falls behind by what another does, and by what is compacted.
    bind(store, "c", "m").await;
    bind(store, "c", "m").await;
    store.compact(Revision(end.0 + 1)).await.expect("in the past");
    let last = bind(store, "d", "idle").await;
    for (node, watch) in &mut watches {
        match poll_next(watch) {
            Poll::Ready(Err(StoreError::Compacted { .. })) => {}
            Poll::Ready(Ok(changes)) if *node == "m" => {
                panic!("a gap: {} changes after one that is lost", changes.len())
            }
            Poll::Ready(Ok(changes)) => {
                let seen = changes.iter().any(|change| change.revision() == last);
                assert!(seen || *node != "idle", "node {node}");
            }
            Poll::Ready(Err(error)) => panic!("node {node}: {error}"),
            Poll::Pending => assert_eq!(*node, "n", "it waits though something happened to it"),
        }
    }
}

async fn past(store: &dyn Store) {
    let r1 = set(store, "a", "1").await;
    let r2 = set(store, "a", "2").await;
    let r3 = commit(store, txn(vec![], vec![Op::Delete(key("a"))])).await.expect("present");
    let r4 = set(store, "a", "4").await;
    set(store, "b", "5").await;
    for (at, expected) in [(Revision(0), None), (r1, Some("1")), (r2, Some("2")), (r3, None), (r4, Some("4"))] {
        assert_eq!(read(store, "a", Some(at)).await.as_deref(), expected, "at {at}");
        let page = store.list(ListQuery { at: Some(at), ..ListQuery::default() }).await.expect("readable");
        let values: Vec<String> = page.items.iter().map(|s| value(&s.object)).collect();
        assert_eq!((values.first().map(String::as_str), page.revision), (expected, at));
    }
}

async fn compaction(store: &dyn Store) {
    for n in 0..10 {
        set(store, "a", &n.to_string()).await;
    }
    let mut behind = store.watch(Scope::kind(Kind::ConfigMap), Revision(2)).await.expect("retained");
    let mut current = store.watch(Scope::kind(Kind::ConfigMap), Revision(10)).await.expect("retained");
    assert_eq!(store.compact(Revision(5)).await, Ok(Revision(5)));
    assert_eq!(store.compact(Revision(3)).await, Ok(Revision(5)), "compaction never goes back");
    let compacted = |wanted: u64| StoreError::Compacted { wanted: Revision(wanted), oldest: Revision(5) };
    assert_eq!(store.get(&key("a"), Some(Revision(4))).await.err(), Some(compacted(4)));
    assert_eq!(store.watch(Scope::default(), Revision(4)).await.err(), Some(compacted(4)));
    let query = ListQuery { at: Some(Revision(4)), ..ListQuery::default() };
    assert_eq!(store.list(query).await.err(), Some(compacted(4)));
    assert_eq!(behind.next().await.err(), Some(compacted(2)), "a watcher that fell behind is told");
    assert_eq!(read(store, "a", Some(Revision(5))).await.as_deref(), Some("4"), "the oldest is readable");
    let mut resumed = store.watch(Scope::default(), Revision(5)).await.expect("the oldest can be watched from");
    assert_eq!(collect(&mut resumed, Revision(10)).await.len(), 5);
    assert!(poll_next(&mut current).is_pending(), "a current watcher goes on");
    assert_eq!(store.compact(Revision(99)).await, Ok(Revision(10)), "only what has happened can be forgotten");
    assert_eq!(read(store, "a", None).await.as_deref(), Some("9"));
}

async fn times(store: &dyn Store) {
    for n in 1..=3 {
        let mut txn = txn(vec![], vec![put(&key("a"), "1"), put(&key("b"), "1")]);
        txn.at = Time::from_secs(T0.secs() + n * 10);
        commit(store, txn).await.expect("nothing is required");
    }
    let at = |secs: i64| Time::from_secs(T0.secs() + secs);
    assert_eq!(store.revision_at(at(5)).await, Ok(Revision(0)));
    assert_eq!(store.revision_at(at(10)).await, Ok(Revision(2)));
    assert_eq!(store.revision_at(at(29)).await, Ok(Revision(4)));
    assert_eq!(store.revision_at(at(99)).await, Ok(Revision(6)));
    assert_eq!(store.time_of(Revision(3)).await, Ok(at(20)));
    store.compact(Revision(4)).await.expect("the store answers");
    assert!(matches!(store.revision_at(at(10)).await, Err(StoreError::Compacted { .. })));
    assert_eq!(store.time_of(Revision(4)).await, Ok(at(20)));
    assert_eq!(store.revision_at(at(20)).await, Ok(Revision(4)));
}

async fn terms(store: &dyn Store) {
    let in_term = |term: u64| txn(vec![Precondition::Term(term)], vec![put(&key("a"), "1")]);
    assert!(commit(store, in_term(0)).await.is_ok(), "the first term is 0");
    store.set_term(3).await.expect("the store answers");
    assert_eq!(commit(store, in_term(0)).await, Err(Rejected::Term { expected: 0, found: 3 }));
    assert!(commit(store, in_term(3)).await.is_ok());
    store.set_term(2).await.expect("the store answers");
    assert!(commit(store, in_term(3)).await.is_ok(), "a term never goes back");
}
