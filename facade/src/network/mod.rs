//! The data path of services in this process: follows Services, EndpointSlices and Nodes, keeps the proxy in line with them,
//! and tells of ports that cannot be bound. It decides nothing about which pods are ready: slices say so.

mod path;
mod peers;
mod seat;
mod specs;
mod threads;

pub use path::PathError;
pub(crate) use path::{DataPath, PathOptions};

use self::peers::Peers;
use async_trait::async_trait;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use steersman_application::client::{ApiError, Client, Part, Selection, Write, WriteOptions};
use steersman_application::driver::agent::TrafficDrain;
use steersman_domain::meta::set_condition;
use steersman_domain::ports::{Change, Clock, Entropy, Scope, WatchStream};
use steersman_domain::{
    Condition, EndpointSlice, Event, EventSource, Key, Kind, MicroTime, Node, Object, ObjectMeta, ObjectReference,
    Service, Stored, Str, Uid, names,
};
use steersman_runtime::proxy::{PodUid, PortReport, PortState, Proxy, ServiceKey};
use tokio::sync::mpsc;

/// How long to wait before listing again after the API could not be reached.
const RETRY: Duration = Duration::from_millis(200);

/// What the loop needs.
struct Network {
    proxy: Arc<Proxy>,
    peers: Arc<Peers>,
    own: OwnNodes,
    client: Arc<dyn Client>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    reports: mpsc::Receiver<PortReport>,
}

/// The nodes whose pods are reached from here; those of others by their agents.
struct OwnNodes(Vec<Str>);

impl OwnNodes {
    fn contains(&self, node: &str) -> bool {
        self.0.iter().any(|own| own == node)
    }
}

/// The proxy as agents know it.
pub(crate) struct ProxyDrain(pub(crate) Arc<Proxy>);

fn pod_uid(uid: &Uid) -> PodUid {
    PodUid::from(uid.as_str())
}

#[async_trait]
impl TrafficDrain for ProxyDrain {
    async fn endpoint_down(&self, pod: &Uid) {
        self.0.endpoint_down(&pod_uid(pod));
    }

    async fn endpoint_up(&self, pod: &Uid) {
        self.0.endpoint_up(&pod_uid(pod));
    }

    async fn drain(&self, pod: &Uid, deadline: Duration) {
        let drain = self.0.drain(&pod_uid(pod));
        if let Err(still) = drain.idle_within(deadline).await {
            tracing::debug!(%pod, connections = still.connections, "connections outlived the drain");
        }
    }
}

/// The objects that the proxy's tables are made of.
#[derive(Default)]
struct Tables {
    services: BTreeMap<ServiceKey, Arc<Service>>,
    /// Slices by service, then by name.
    slices: BTreeMap<ServiceKey, BTreeMap<String, Arc<EndpointSlice>>>,
    nodes: BTreeMap<Str, Arc<Node>>,
}

/// The service that a slice belongs to.
fn service_of(slice: &EndpointSlice) -> Option<ServiceKey> {
    let name = slice.metadata.labels.get("kubernetes.io/service-name")?;
    Some(ServiceKey::new(slice.metadata.namespace.as_str(), name.as_str()))
}

impl Network {
    /// Runs until its future is dropped.
    async fn run(mut self) {
        loop {
            if let Err(error) = self.follow().await {
                tracing::warn!(%error, "the service proxy lists again");
                self.clock.sleep(RETRY).await;
            }
        }
    }

    async fn follow(&mut self) -> Result<(), ApiError> {
        let mut tables = Tables::default();
        let mut services = self.open(&mut tables, Kind::Service).await?;
        let mut slices = self.open(&mut tables, Kind::EndpointSlice).await?;
        let mut nodes = self.open(&mut tables, Kind::Node).await?;
        self.meet(&tables);
        let known: Vec<ServiceKey> = tables.services.keys().cloned().collect();
        for key in self.proxy.metrics().into_keys().filter(|key| !tables.services.contains_key(key)) {
            self.proxy.remove(&key);
        }
        for key in known {
            self.apply(&tables, &key);
        }
        loop {
            let changes = tokio::select! {
                biased;
                changes = services.next() => changes?,
                changes = slices.next() => changes?,
                changes = nodes.next() => changes?,
                Some(report) = self.reports.recv() => {
                    self.tell(&tables, &report).await;
                    continue;
                }
            };
            let mut touched: Vec<ServiceKey> = changes.iter().filter_map(|c| tables.apply(c)).collect();
            if changes.iter().any(|c| c.key().kind == Kind::Node) {
                self.meet(&tables);
            }
            touched.sort();
            touched.dedup();
            for key in touched {
                self.apply(&tables, &key);
            }
        }
    }

    async fn open(&self, tables: &mut Tables, kind: Kind) -> Result<Box<dyn WatchStream>, ApiError> {
        let selection = Selection { scope: Scope::kind(kind), ..Selection::default() };
        let page = self.client.list(&selection).await?;
        for stored in &page.items {
            tables.put(stored);
        }
        self.client.watch(&selection, page.revision).await
    }

    /// Brings what is known of other nodes in line.
    fn meet(&self, tables: &Tables) {
        for node in tables.nodes.values().filter(|node| !self.own.contains(&node.metadata.name)) {
            self.peers.put(node);
        }
        self.peers.retain(|name| tables.nodes.contains_key(name));
    }

    fn apply(&self, tables: &Tables, key: &ServiceKey) {
        let spec = tables.services.get(key).and_then(|service| {
            let slices = tables.slices.get(key);
            specs::service_spec(key, service, slices.into_iter().flat_map(BTreeMap::values), &self.own)
        });
        match spec {
            None => {
                self.proxy.remove(key);
            }
            Some(spec) => {
                if let Err(error) = self.proxy.apply(&spec) {
                    tracing::warn!(%error, "a service is not proxied");
                }
            }
        }
    }

    /// An Event and a condition on the service whose port does not listen as asked; the condition is lifted when it does.
    async fn tell(&self, tables: &Tables, report: &PortReport) {
        let Some(service) = tables.services.get(&report.service) else { return };
        let worst = self.proxy.ports(&report.service);
        let problem = worst.iter().find_map(|r| match &r.state {
            PortState::Listening { .. } => None,
            PortState::Remapped { problem, .. } => Some(("PortRemapped", problem)),
            PortState::Blocked { problem } => Some(("PortBlocked", problem)),
        });
        let now = self.clock.now();
        let condition = match problem {
            None => Condition::new("PortsBound", true, "Listening", "every port listens", now.truncated()),
            Some((reason, p)) => {
                Condition::new("PortsBound", false, reason, format!("{}: {}", p.cause, p.cure), now.truncated())
            }
        };
        let was_told = service.status.conditions.iter().any(|c| c.kind == "PortsBound");
        if problem.is_none() && !was_told {
            return;
        }
        let mut changed = Service::clone(service);
        if !set_condition(&mut changed.status.conditions, condition) {
            return;
        }
        let mut writes = vec![Write::Update(Object::Service(Arc::new(changed)), Part::Status)];
        if let Some((reason, p)) = problem {
            writes.push(self.event(service, reason, format!("port {}: {}: {}", p.port, p.cause, p.cure)));
        }
        let options = WriteOptions { field_manager: "service-proxy".into(), ..WriteOptions::default() };
        for error in self.client.write(writes, &options).await.into_iter().filter_map(Result::err) {
            tracing::debug!(%error, "a port report was not recorded");
        }
    }

    fn event(&self, service: &Service, reason: &str, message: String) -> Write {
        let (now, meta) = (self.clock.now(), &service.metadata);
        let suffix = format!(".{:016x}", self.entropy.random());
        let source = EventSource { component: "service-proxy".into(), ..EventSource::default() };
        Write::Create(Object::Event(Arc::new(Event {
            metadata: ObjectMeta {
                name: names::generated(&meta.name, &suffix).into(),
                namespace: meta.namespace.clone(),
                ..ObjectMeta::default()
            },
            involved_object: ObjectReference {
                kind: "Service".into(),
                api_version: "v1".into(),
                namespace: meta.namespace.clone(),
                name: meta.name.clone(),
                uid: meta.uid.clone(),
                ..ObjectReference::default()
            },
            reason: reason.into(),
            message: message.into(),
            source,
            first_timestamp: Some(now.truncated()),
            last_timestamp: Some(now.truncated()),
            event_time: Some(MicroTime(now)),
            count: 1,
            kind: "Warning".into(),
            action: "Bind".into(),
            reporting_component: "service-proxy".into(),
            reporting_instance: "service-proxy".into(),
            ..Event::default()
        })))
    }
}

impl Tables {
    fn put(&mut self, stored: &Stored) -> Option<ServiceKey> {
        match &stored.object {
            Object::Service(service) => {
                let key = key_of(&stored.key);
                self.services.insert(key.clone(), service.clone());
                Some(key)
            }
            Object::EndpointSlice(slice) => {
                let key = service_of(slice)?;
                self.slices.entry(key.clone()).or_default().insert(stored.key.name.to_string(), slice.clone());
                Some(key)
            }
            Object::Node(node) => {
                self.nodes.insert(stored.key.name.clone(), node.clone());
                None
            }
            _ => None,
        }
    }

    fn apply(&mut self, change: &Change) -> Option<ServiceKey> {
        match change {
            Change::Put { after, .. } => self.put(after),
            Change::Delete { last, .. } => match &last.object {
                Object::Service(_) => {
                    let key = key_of(&last.key);
                    self.services.remove(&key);
                    Some(key)
                }
                Object::EndpointSlice(slice) => {
                    let key = service_of(slice)?;
                    let slices = self.slices.get_mut(&key)?;
                    slices.remove(last.key.name.as_str());
                    if slices.is_empty() {
                        self.slices.remove(&key);
                    }
                    Some(key)
                }
                Object::Node(_) => {
                    self.nodes.remove(&last.key.name);
                    None
                }
                _ => None,
            },
        }
    }
}

fn key_of(key: &Key) -> ServiceKey {
    ServiceKey::new(key.namespace.as_str(), key.name.as_str())
}
