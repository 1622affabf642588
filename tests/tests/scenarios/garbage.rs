//! What becomes of dependents: the three ways to delete an owner, and the end of a namespace.

use serde_json::json;
use steersman_application::client::{Client as _, DeleteOptions, Propagation};
use steersman_domain::{Deployment, Key, Kind, Pod, ReplicaSet};

use crate::Web;
use crate::world::{Setup, World, check, key};

async fn up(world: &World) {
    world.create(Web::default().deployment()).await;
    world.until("web serves", |s| s.rolled_out("web", "v1", 3)).await;
}

#[test]
fn in_the_background_dependents_follow() {
    check(
        Setup::default(),
        async |world| {
            up(world).await;
            world.delete(Kind::Deployment, "web", Propagation::Background).await;
            let state = world.state().await;
            assert!(state.get::<Deployment>("web").is_none(), "the owner goes at once\n{state}");
            world.until("all is gone", |s| s.pods("web").is_empty() && s.all::<ReplicaSet>().count() == 0).await;
        },
        |_| {},
    );
}

#[test]
fn in_the_foreground_owners_wait_for_their_dependents() {
    check(
        Setup::default(),
        async |world| {
            up(world).await;
            world.delete(Kind::Deployment, "web", Propagation::Foreground).await;
            world.until("all is gone", |s| s.get::<Deployment>("web").is_none()).await;
        },
        |history| {
            history.each(|step| {
                let s = step.state;
                // From its creation on, the Deployment outlives its sets, and those outlive their pods.
                let gone = step.change.key() == &key(Kind::Deployment, "web") && s.get::<Deployment>("web").is_none();
                assert!(!gone || s.all::<ReplicaSet>().count() == 0, "{s}");
                let sets = s.all::<ReplicaSet>().count();
                assert!(sets > 0 || s.pods("web").is_empty(), "revision {}\n{s}", step.change.revision());
            });
        },
    );
}

#[test]
fn orphans_stay_and_are_found_again() {
    check(
        Setup::default(),
        async |world| {
            up(world).await;
            let pods = |s: &crate::history::State| -> Vec<String> {
                s.active("web").iter().map(|p| p.metadata.uid.to_string()).collect()
            };
            let before = pods(&world.state().await);
            world.delete(Kind::Deployment, "web", Propagation::Orphan).await;
            let state = world.until("the owner is gone", |s| s.get::<Deployment>("web").is_none()).await;
            let set = state.all::<ReplicaSet>().next().expect("it stays");
            assert!(set.metadata.owner_references.is_empty(), "{set:?}");
            let name = set.metadata.name.clone();
            world.delete(Kind::ReplicaSet, &name, Propagation::Orphan).await;
            let state = world.until("the set is gone too", |s| s.get::<ReplicaSet>(&name).is_none()).await;
            assert!(state.all::<Pod>().all(|p| p.metadata.owner_references.is_empty()), "{state}");
            world.create(Web::default().deployment()).await;
            let state = world.until("web is whole again", |s| s.rolled_out("web", "v1", 3)).await;
            assert_eq!(pods(&state), before, "the same pods, adopted");
        },
        |history| {
            history.keeps_bounds("web", |s| s.available("web") == 3, 3, 3);
        },
    );
}

#[test]
fn a_finalizer_holds_an_object_until_it_is_taken_off() {
    check(
        Setup::default(),
        async |world| {
            up(world).await;
            world.edit(Kind::Deployment, "web", |d| d["metadata"]["finalizers"] = json!(["example.com/hold"])).await;
            world.delete(Kind::Deployment, "web", Propagation::Background).await;
            let state = world.state().await;
            assert!(state.get::<Deployment>("web").is_some_and(|d| d.metadata.is_deleting()), "{state}");
            world.pass(std::time::Duration::from_secs(60)).await;
            let state = world.state().await;
            assert!(state.get::<Deployment>("web").is_some() && state.available("web") == 3, "held whole\n{state}");
            world.edit(Kind::Deployment, "web", |d| d["metadata"]["finalizers"] = json!([])).await;
            world.until("all is gone", |s| s.pods("web").is_empty() && s.get::<Deployment>("web").is_none()).await;
        },
        |_| {},
    );
}

#[test]
fn a_namespace_goes_with_all_that_is_in_it_and_nothing_else() {
    check(
        Setup::default(),
        async |world| {
            world.create(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}})).await;
            let mut inside = [Web::default().deployment(), Web::service(), Web::default().pod("alone")];
            for object in &mut inside {
                object["metadata"]["namespace"] = "shop".into();
                world.create(object.clone()).await;
            }
            world.create(Web::default().pod("outside")).await;
            world.until("all serve", |s| s.available("web") == 5).await;
            let shop = Key::cluster(Kind::Namespace, "shop");
            world.api.delete(&shop, &DeleteOptions::default()).await.expect("deleted");
            let state =
                world.until("the namespace is gone", |s| s.get::<steersman_domain::Namespace>("shop").is_none()).await;
            for kind in Kind::ALL {
                assert_eq!(state.count_in(*kind, "shop"), 0, "{kind}\n{state}");
            }
            assert!(state.get::<Pod>("outside").is_some_and(|p| p.is_ready()), "{state}");
        },
        |history| {
            let shop = Key::cluster(Kind::Namespace, "shop");
            let mut terminating = false;
            history.each(|step| {
                let key = step.change.key();
                // What is in a namespace never outlives it, and nothing new begins there once it ends.
                if *key == shop {
                    terminating |=
                        step.state.get::<steersman_domain::Namespace>("shop").is_some_and(|n| n.is_terminating());
                }
                let new = matches!(step.change, steersman_domain::ports::Change::Put { before: None, .. });
                assert!(!(terminating && new && key.namespace == "shop"), "{key} was made in an ending namespace");
            });
            assert!(terminating, "the namespace ended in order");
        },
    );
}
