//! The proxy itself: it turns descriptions of services into listening ports, and pods' comings and goings into what
//! the ports may choose from.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::backend::Pod;
use super::bind::{Binder, PortReport, SystemBinder, Wanted};
use super::budget::Budget;
use super::config::ProxyConfig;
use super::drain::Drain;
use super::listener::{run, try_listen};
use super::metrics::{Counters, ServiceMetrics};
use super::port::{Port, Shared};
use super::spec::{AppProtocol, ApplyError, Endpoint, PodUid, PortSpec, Protocol, ServiceKey, ServiceSpec};
use super::tunnel::Tunnel;

/// Reports kept for a slow reader; later ones are dropped, the state stays readable by [`Proxy::ports`].
const REPORTS_MAX: usize = 4096;

/// Drained pods remembered, so that a list computed before the drain cannot bring one back. Lists lag by seconds; this
/// many pods do not end on one host in that time.
const DRAINED_MAX: usize = 16_384;

/// A running proxy. Dropping it closes all listeners and cuts all connections.
pub struct Proxy {
    pub(super) shared: Arc<Shared>,
    runtime: Handle,
    state: Mutex<State>,
    /// Wakes visits whose pod was not known.
    pub(super) changed: Notify,
}

#[derive(Default)]
struct State {
    services: BTreeMap<ServiceKey, Service>,
    pods: Pods,
    tasks: JoinSet<()>,
    is_listening: bool,
    is_shut: bool,
}

struct Service {
    virtual_ip: Ipv4Addr,
    counters: Arc<Counters>,
    ports: BTreeMap<PortId, Running>,
}

/// A port by protocol and number; whether it is one of the host, or of the virtual IP.
type PortId = (Protocol, u16, bool);

/// The ports that a spec wants to listen, each with where it says so.
fn wanted(spec: &ServiceSpec) -> impl Iterator<Item = (PortId, &PortSpec)> {
    spec.ports.iter().flat_map(|port| {
        let of_host = port.node_port.map(|number| ((port.protocol, number, true), port));
        std::iter::once(((port.protocol, port.port, false), port)).chain(of_host)
    })
}

/// A port and the hold on its task, if it has one yet: dropping it closes the listener and retires the endpoints.
struct Running {
    port: Arc<Port>,
    stop: Option<oneshot::Sender<()>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.port.table.lock().retire_all();
    }
}

/// Every pod some port lists, and those that were drained.
#[derive(Default)]
struct Pods {
    known: HashMap<PodUid, Arc<Pod>>,
    drained: VecDeque<PodUid>,
}

impl Pods {
    fn get(&mut self, uid: &PodUid) -> Arc<Pod> {
        self.known.entry(uid.clone()).or_insert_with(|| Arc::new(Pod::new(uid.clone()))).clone()
    }

    /// The pod of an endpoint.
    fn of(&mut self, endpoint: &Endpoint) -> Arc<Pod> {
        let pod = self.get(&endpoint.pod);
        if endpoint.node.is_none() {
            pod.listens_on(endpoint.address);
        }
        pod
    }

    fn drain(&mut self, uid: &PodUid) -> Arc<Pod> {
        let pod = self.get(uid);
        if !pod.is_drained() {
            self.drained.push_back(uid.clone());
        }
        pod.drain();
        if self.drained.len() > DRAINED_MAX {
            self.drained.pop_front().and_then(|oldest| self.known.remove(&oldest));
        }
        pod
    }

    fn revive(&mut self, uid: &PodUid) {
        if let Some(pod) = self.known.get(uid) {
            pod.revive();
            self.drained.retain(|drained| drained != uid);
        }
    }

    /// Forgets pods that no port and no connection uses.
    fn prune(&mut self) {
        self.known.retain(|_, pod| Arc::strong_count(pod) > 1 || pod.is_drained());
    }
}

impl Proxy {
    /// Starts a proxy without services on the current runtime. The receiver hears of every change of a port's state.
    /// All sockets are served by that runtime, whichever thread later calls the other methods.
    ///
    /// # Panics
    /// Outside of a Tokio runtime.
    pub fn start(config: ProxyConfig) -> (Self, mpsc::Receiver<PortReport>) {
        let (proxy, reports) = Self::with(config, Arc::new(SystemBinder), None);
        proxy.listen();
        (proxy, reports)
    }

    /// As [`Proxy::start`], but it listens only from [`Proxy::listen`] on: until then another process of this host serves
    /// the addresses, and this one lets visits in and drains its pods. Pods of other nodes are reached by the tunnel.
    ///
    /// # Panics
    /// Outside of a Tokio runtime.
    pub fn standby(config: ProxyConfig, tunnel: Arc<dyn Tunnel>) -> (Self, mpsc::Receiver<PortReport>) {
        Self::with(config, Arc::new(SystemBinder), Some(tunnel))
    }

    #[cfg(test)]
    pub(super) fn with_binder(config: ProxyConfig, binder: Arc<dyn Binder>) -> (Self, mpsc::Receiver<PortReport>) {
        let (proxy, reports) = Self::with(config, binder, None);
        proxy.listen();
        (proxy, reports)
    }

    fn with(
        config: ProxyConfig,
        binder: Arc<dyn Binder>,
        tunnel: Option<Arc<dyn Tunnel>>,
    ) -> (Self, mpsc::Receiver<PortReport>) {
        let (reports, receiver) = mpsc::channel(REPORTS_MAX);
        let budget = Budget::new(config.descriptors);
        let halt = watch::Sender::new(false);
        let shared = Arc::new(Shared { config, budget, binder, tunnel, reports, halt });
        let (runtime, changed) = (Handle::current(), Notify::new());
        (Self { shared, runtime, state: Mutex::default(), changed }, receiver)
    }

    /// Listens on the addresses of all services, those applied so far and those to come. Ports that can be bound listen
    /// when this returns.
    pub fn listen(&self) {
        let mut state = self.state.lock();
        let state = &mut *state;
        state.is_listening = true;
        for running in state.services.values_mut().flat_map(|service| service.ports.values_mut()) {
            if running.stop.is_none() {
                running.stop = Some(self.launch(&running.port, &mut state.tasks));
            }
        }
    }

    /// Makes the proxy serve `spec`, whatever it served under that key before. Ports that can be bound listen when this
    /// returns; others are reported and tried again. Connections end only with their own endpoint.
    ///
    /// # Errors
    /// [`ApplyError`] when the spec breaks a rule or the proxy was shut down; nothing has changed then.
    pub fn apply(&self, spec: &ServiceSpec) -> Result<(), ApplyError> {
        spec.validate()?;
        let mut state = self.state.lock();
        let state = &mut *state;
        if state.is_shut {
            return Err(ApplyError::ShutDown { service: spec.key.clone() });
        }
        while state.tasks.try_join_next().is_some() {}
        let service = state.services.entry(spec.key.clone()).or_insert_with(|| Service {
            virtual_ip: spec.virtual_ip,
            counters: Arc::default(),
            ports: BTreeMap::new(),
        });
        let ports_before = service.ports.len();
        if service.virtual_ip != spec.virtual_ip {
            service.ports.retain(|(.., of_host), _| *of_host);
            service.virtual_ip = spec.virtual_ip;
        }
        service.ports.retain(|id, _| wanted(spec).any(|(wanted, _)| wanted == *id));
        let mut pods_left = service.ports.len() < ports_before;
        for (id, wanted) in wanted(spec) {
            if let Some(running) = service.ports.get(&id) {
                pods_left |= configure(&running.port, wanted, spec, &mut state.pods);
            } else {
                let port = self.port(spec, id, &service.counters);
                configure(&port, wanted, spec, &mut state.pods);
                let stop = state.is_listening.then(|| self.launch(&port, &mut state.tasks));
                service.ports.insert(id, Running { port, stop });
            }
        }
        if pods_left {
            state.pods.prune();
        }
        self.changed.notify_waiters();
        Ok(())
    }

    /// The pod that a service lists at this address of this node.
    pub(super) fn pod_at(&self, uid: &PodUid, address: SocketAddrV4) -> Option<Arc<Pod>> {
        let state = self.state.lock();
        state.pods.known.get(uid).filter(|pod| pod.is_listening_on(address)).cloned()
    }

    /// Stops serving a service: its listeners close now, its connections end on their own. Returns whether it existed.
    pub fn remove(&self, key: &ServiceKey) -> bool {
        let mut state = self.state.lock();
        let existed = state.services.remove(key).is_some();
        state.pods.prune();
        existed
    }

    /// Takes a pod out of every service, now and in every later spec. When this returns no new connection can reach it
    /// and every one that may is counted by the returned [`Drain`]. Connections finish; HTTP ones are asked to close.
    pub fn drain(&self, pod: &PodUid) -> Drain {
        Drain { pod: self.state.lock().pods.drain(pod) }
    }

    /// Takes a dead pod out of every service until [`Proxy::endpoint_up`], until a spec without it (or with it draining)
    /// is followed by one with it ready, or until `down_hold` has passed.
    pub fn endpoint_down(&self, pod: &PodUid) {
        if let Some(pod) = self.state.lock().pods.known.get(pod) {
            pod.set_down(Instant::now() + self.shared.config.down_hold);
        }
    }

    /// Lets a pod that was down or drained take connections again wherever a spec lists it ready.
    pub fn endpoint_up(&self, pod: &PodUid) {
        self.state.lock().pods.revive(pod);
    }

    /// Where the ports of a service stand; empty when the service is unknown.
    pub fn ports(&self, key: &ServiceKey) -> Vec<PortReport> {
        let state = self.state.lock();
        let ports = state.services.get(key).into_iter().flat_map(|service| service.ports.values());
        ports
            .filter_map(|running| {
                let Wanted { service, protocol, port, .. } = running.port.wanted.clone();
                running.port.state().map(|state| PortReport { service, protocol, port, state })
            })
            .collect()
    }

    /// The counters of every service.
    pub fn metrics(&self) -> BTreeMap<ServiceKey, ServiceMetrics> {
        let state = self.state.lock();
        state.services.iter().map(|(key, service)| (key.clone(), service.counters.snapshot())).collect()
    }

    /// Closes all listeners, cuts all connections, and returns when they are gone. Later applies are refused.
    pub async fn shutdown(&self) {
        let mut tasks = {
            let mut state = self.state.lock();
            state.is_shut = true;
            self.shared.halt.send_replace(true);
            state.services.clear();
            std::mem::take(&mut state.tasks)
        };
        while tasks.join_next().await.is_some() {}
    }

    fn port(&self, spec: &ServiceSpec, (protocol, port, of_host): PortId, counters: &Arc<Counters>) -> Arc<Port> {
        let virtual_ip = if of_host { Ipv4Addr::UNSPECIFIED } else { spec.virtual_ip };
        let wanted = Wanted { service: spec.key.clone(), protocol, port, virtual_ip };
        Arc::new(Port::new(wanted, counters.clone(), self.shared.clone()))
    }

    /// Starts the port's task; dropping the answer ends it.
    fn launch(&self, port: &Arc<Port>, tasks: &mut JoinSet<()>) -> oneshot::Sender<()> {
        let (stop, stopped) = oneshot::channel();
        let listening = try_listen(port);
        tasks.spawn_on(run(port.clone(), listening, stopped), &self.runtime);
        stop
    }
}

/// Brings a port's table in line with the spec. Returns whether an endpoint left.
fn configure(port: &Port, wanted: &PortSpec, spec: &ServiceSpec, pods: &mut Pods) -> bool {
    port.set_http(wanted.app_protocol == Some(AppProtocol::Http));
    let mut table = port.table.lock();
    table.set_affinity(spec.session_affinity);
    table.update(&wanted.endpoints, |endpoint| pods.of(endpoint))
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let services = self.state.lock().services.len();
        f.debug_struct("Proxy")
            .field("services", &services)
            .field("config", &self.shared.config)
            .finish_non_exhaustive()
    }
}
