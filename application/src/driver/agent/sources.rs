//! The objects that a pod refers to (ConfigMaps, Secrets, services): which ones, how they are fetched, and a watch on them
//! that tells the pods when they change. One watch for each object, however many pods of the node refer to it.

use super::env::ConfigError;
use super::inbox::Inbox;
use super::observe::Observation;
use super::shared::Shared;
use crate::client::{ApiError, Client, Selection};
use crate::driver::spawner::SpawnHandle;
use base64::Engine as _;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use steersman_domain::ports::Scope;
use steersman_domain::selector::{FieldRequirement, FieldSelector};
use steersman_domain::{ConfigMap, Key, Kind, Pod, Secret, Service, Stored, Str, Uid};

/// The objects that one start of a container needs, as they were when it was begun.
#[derive(Clone, Debug, Default)]
pub(super) struct Sources {
    /// `None`: looked for and not there.
    pub(super) objects: BTreeMap<Key, Option<Arc<Stored>>>,
    pub(super) services: Vec<Arc<Service>>,
}

impl Sources {
    fn find(&self, kind: Kind, what: &str, namespace: &str, name: &str) -> Result<&Arc<Stored>, ConfigError> {
        let found = self.objects.get(&Key::new(kind, namespace, name)).and_then(Option::as_ref);
        found.ok_or_else(|| ConfigError(format!("{what} \"{name}\" not found")))
    }

    /// A ConfigMap; `None` when it is optional and not there.
    pub(super) fn config_map(
        &self,
        namespace: &str,
        name: &str,
        optional: bool,
    ) -> Result<Option<&Arc<ConfigMap>>, ConfigError> {
        match self.find(Kind::ConfigMap, "configmap", namespace, name) {
            Ok(stored) => Ok(stored.typed::<ConfigMap>()),
            Err(_) if optional => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// A Secret; `None` when it is optional and not there.
    pub(super) fn secret(
        &self,
        namespace: &str,
        name: &str,
        optional: bool,
    ) -> Result<Option<&Arc<Secret>>, ConfigError> {
        match self.find(Kind::Secret, "secret", namespace, name) {
            Ok(stored) => Ok(stored.typed::<Secret>()),
            Err(_) if optional => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// The bytes of a base64 value; the error names the object and key.
pub(super) fn decode_base64(what: &str, name: &str, key: &str, text: &str) -> Result<Vec<u8>, ConfigError> {
    base64::engine::general_purpose::STANDARD
        .decode(text)
        .map_err(|e| ConfigError(format!("key {key} of {what} {name} is not base64: {e}")))
}

/// The texts of a ConfigMap by key.
pub(super) fn config_texts(map: &Arc<ConfigMap>) -> Vec<(String, String)> {
    map.data.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect()
}

/// The values of a Secret as text by key.
pub(super) fn secret_texts(secret: &Arc<Secret>) -> Result<Vec<(String, String)>, ConfigError> {
    let text = |(k, v): (&Str, &Str)| {
        let bytes = decode_base64("Secret", &secret.metadata.name, k, v)?;
        Ok((k.to_string(), String::from_utf8_lossy(&bytes).into_owned()))
    };
    secret.data.iter().map(text).collect()
}

/// Reads objects; those that are not there are noted as such.
pub(super) async fn fetch(client: &dyn Client, keys: Vec<Key>) -> Result<Sources, ApiError> {
    let mut sources = Sources::default();
    for key in keys {
        let found = match client.get(&key).await {
            Ok(stored) => Some(stored),
            Err(ApiError::NotFound(_)) => None,
            Err(error) => return Err(error),
        };
        sources.objects.insert(key, found);
    }
    Ok(sources)
}

/// Reads all that the environment of a container is made of: the objects of these keys, and services if the pod links them.
pub(super) async fn of_container(client: &dyn Client, pod: &Pod, keys: Vec<Key>) -> Result<Sources, ApiError> {
    let mut found = fetch(client, keys).await?;
    if pod.spec.enable_service_links != Some(false) {
        found.services = services(client, &pod.metadata.namespace).await?;
    }
    Ok(found)
}

/// Reads the services of a namespace.
async fn services(client: &dyn Client, namespace: &str) -> Result<Vec<Arc<Service>>, ApiError> {
    let selection = Selection { scope: Scope::namespaced(Kind::Service, namespace), ..Selection::default() };
    let page = client.list(&selection).await?;
    Ok(page.items.iter().filter_map(|s| s.typed::<Service>().cloned()).collect())
}

struct Entry {
    subscribers: BTreeMap<Uid, Arc<Inbox>>,
    /// Ends the watch with the entry.
    _watch: SpawnHandle,
}

/// The watched objects and who wants to know of their changes.
#[derive(Default)]
pub(super) struct SourceWatches {
    entries: Mutex<BTreeMap<Key, Entry>>,
}

impl SourceWatches {
    /// Tells `inbox` of every change of the object from now on, and once at the beginning: what changed between the read
    /// and the watch would be lost else.
    pub(super) fn subscribe(&self, shared: &Arc<Shared>, key: Key, inbox: &Arc<Inbox>) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = entries.entry(key.clone()).or_insert_with(|| Entry {
            subscribers: BTreeMap::new(),
            _watch: shared.spawner.spawn("agent-source-watch", Box::pin(watch(Arc::clone(shared), key))),
        });
        entry.subscribers.insert(inbox.uid().clone(), Arc::clone(inbox));
    }

    /// Forgets a pod; objects that no other pod refers to are watched no longer.
    pub(super) fn unsubscribe(&self, uid: &Uid) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.retain(|_, entry| {
            entry.subscribers.remove(uid);
            !entry.subscribers.is_empty()
        });
    }

    /// Ends all watches.
    pub(super) fn clear(&self) {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn notify(&self, key: &Key) {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        for inbox in entries.get(key).into_iter().flat_map(|e| e.subscribers.values()) {
            inbox.observed(Observation::SourcesChanged);
        }
    }
}

/// Watches one object for ever. A watch that breaks begins anew after a second.
async fn watch(shared: Arc<Shared>, key: Key) {
    let name = FieldRequirement { path: "metadata.name".into(), value: key.name.clone(), equal: true };
    let selection = Selection {
        scope: Scope::namespaced(key.kind, &key.namespace),
        fields: FieldSelector(vec![name]),
        ..Selection::default()
    };
    loop {
        if let Ok(page) = shared.client.list(&selection).await {
            shared.sources.notify(&key);
            if let Ok(mut stream) = shared.client.watch(&selection, page.revision).await {
                while stream.next().await.is_ok() {
                    shared.sources.notify(&key);
                }
            }
        }
        shared.clock.sleep(Duration::from_secs(1)).await;
    }
}
