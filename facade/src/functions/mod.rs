//! Functions as pods: a host registers them by name, pods of the runtime `task` run them, and messages find them by the name
//! of the pod or of a service.
//!
//! ```no_run
//! use steersman::functions::Context;
//! # async fn run() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
//! let cluster = steersman::Cluster::builder().start().await?;
//! cluster.functions().register("workers/echo_worker", async |mut ctx: Context, prefix: String| {
//!     ctx.answer_each(|text: String| {
//!         let prefix = prefix.clone();
//!         async move { Ok::<String, String>(format!("{prefix}: {text}")) }
//!     })
//!     .await;
//! })?;
//! // A pod with `runtimeClassName: task`, `image: workers/echo_worker` and `args: ['"ECHO"']` runs it.
//! let answer: String = cluster.reach("pod/echo", "default")?.ask("hello").await?;
//! # Ok(())
//! # }
//! ```

pub mod workers;

use crate::Handle;
use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;
use steersman_application::client::{ApiError, Client, Selection};
use steersman_application::driver::spawner::{Spawner, Task};
use steersman_domain::ports::{Change, Clock, Entropy, Messenger, Runtime, Scope};
use steersman_domain::{EndpointSlice, Kind, Object, Service, Str};
use steersman_runtime::task::{TaskConfig, TaskRuntime};

pub use steersman_runtime::task::{
    Address, Balance, BoxError, Context, HANG_AFTER, MAILBOX, Message, Outcome, PodIdentity, RegisterError, Registry,
    Reply, Switchboard, Worker, block_on,
};

/// The annotation of a service that says how it chooses among its functions: `round-robin` (the default), `random` or
/// `least-loaded`.
pub const BALANCE: &str = "steersman.io/balance";

/// The first address of functions, and how many there are, on nodes that have no range of their own: nothing listens there.
pub(crate) const ADDRESSES: (Ipv4Addr, u32) = (Ipv4Addr::new(127, 80, 0, 1), 1 << 16);

/// How long to wait before listing again after the API could not be reached.
const RETRY: Duration = Duration::from_millis(200);

/// What functions of a cluster are given beside their own context.
pub trait InCluster {
    /// The API of the cluster that the function runs in.
    ///
    /// # Panics
    /// Outside a cluster of this crate.
    fn client(&self) -> Arc<dyn Client>;

    /// The cluster that the function runs in, as a host program has it.
    ///
    /// # Panics
    /// As [`InCluster::client`].
    fn cluster(&self) -> Handle;
}

impl InCluster for Worker {
    fn client(&self) -> Arc<dyn Client> {
        self.cluster().client()
    }

    fn cluster(&self) -> Handle {
        self.host::<Host>().expect("functions of a cluster are given it").0.clone()
    }
}

/// What is behind [`Worker::host`].
struct Host(Handle);

/// The functions of a cluster, and how messages reach them.
#[derive(Clone)]
pub(crate) struct Functions {
    pub(crate) registry: Registry,
    pub(crate) board: Switchboard,
    host: Arc<dyn Any + Send + Sync>,
    client: Arc<dyn Client>,
    clock: Arc<dyn Clock>,
}

/// Where a runtime of functions works.
pub(crate) struct Seat {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) spawner: Arc<dyn Spawner>,
    pub(crate) addresses: (Ipv4Addr, u32),
    pub(crate) live: bool,
}

impl Functions {
    pub(crate) fn new(
        registry: Registry,
        client: Arc<dyn Client>,
        (clock, entropy, spawner): (Arc<dyn Clock>, Arc<dyn Entropy>, Arc<dyn Spawner>),
    ) -> Self {
        let board = Switchboard::new(clock.clone(), entropy, spawner);
        let host = Arc::new(Host(Handle::new(client.clone(), clock.clone(), Some(board.clone()))));
        Functions { registry, board, host, client, clock }
    }

    /// A runtime for a node.
    pub(crate) fn runtime(&self, seat: Seat) -> Arc<dyn Runtime> {
        Arc::new(TaskRuntime::new(TaskConfig {
            registry: self.registry.clone(),
            board: self.board.clone(),
            clock: seat.clock,
            entropy: seat.entropy,
            spawner: seat.spawner,
            host: self.host.clone(),
            addresses: seat.addresses,
            live: seat.live,
        }))
    }

    pub(crate) fn messenger(&self) -> Arc<dyn Messenger> {
        Arc::new(self.board.clone())
    }

    /// Tells the switchboard who stands behind each service, until it is dropped.
    pub(crate) fn route(&self) -> Task {
        let this = self.clone();
        Box::pin(async move {
            loop {
                if let Err(error) = this.follow().await {
                    tracing::debug!(%error, "the services of functions are listed again");
                    this.clock.sleep(RETRY).await;
                }
            }
        })
    }

    async fn follow(&self) -> Result<(), ApiError> {
        let mut routes = Routes::default();
        let mut watches = Vec::new();
        for kind in [Kind::Service, Kind::EndpointSlice] {
            let selection = Selection { scope: Scope::kind(kind), ..Selection::default() };
            let page = self.client.list(&selection).await?;
            for stored in &page.items {
                routes.put(&stored.object);
            }
            watches.push(self.client.watch(&selection, page.revision).await?);
        }
        let [services, slices] = &mut watches[..] else { return Ok(()) };
        routes.tell(&self.board);
        loop {
            let changes = tokio::select! {
                biased;
                changes = services.next() => changes?,
                changes = slices.next() => changes?,
            };
            for change in &changes {
                match change {
                    Change::Put { after, .. } => routes.put(&after.object),
                    Change::Delete { last, .. } => routes.remove(&last.object),
                }
            }
            routes.tell(&self.board);
        }
    }
}

type Name = (Str, Str);

/// Who stands behind each service.
#[derive(Default)]
struct Routes {
    services: BTreeMap<Name, Balance>,
    /// The ready pods of each slice, by the service, then by the slice.
    slices: BTreeMap<Name, BTreeMap<Str, Vec<Str>>>,
    changed: BTreeSet<Name>,
}

fn service_of(slice: &EndpointSlice) -> Option<Name> {
    let service = slice.metadata.labels.get("kubernetes.io/service-name")?;
    Some((slice.metadata.namespace.clone(), service.clone()))
}

fn name_of(service: &Service) -> Name {
    (service.metadata.namespace.clone(), service.metadata.name.clone())
}

impl Routes {
    fn put(&mut self, object: &Object) {
        match object {
            Object::Service(service) => {
                let told = service.metadata.annotations.get(BALANCE).map(|text| Balance::parse(text));
                let balance = match told {
                    Some(None) => {
                        let name = name_of(service);
                        tracing::warn!(
                            namespace = %name.0, service = %name.1,
                            "{BALANCE} is none of round-robin, random and least-loaded: round-robin is used"
                        );
                        Balance::default()
                    }
                    told => told.flatten().unwrap_or_default(),
                };
                if self.services.insert(name_of(service), balance) != Some(balance) {
                    self.changed.insert(name_of(service));
                }
            }
            Object::EndpointSlice(slice) => {
                let Some(name) = service_of(slice) else { return };
                let ready = slice.endpoints.iter().filter(|e| e.conditions.ready == Some(true));
                let pods: Vec<Str> = ready.filter_map(|e| Some(e.target_ref.as_ref()?.name.clone())).collect();
                self.slices.entry(name.clone()).or_default().insert(slice.metadata.name.clone(), pods);
                self.changed.insert(name);
            }
            _ => {}
        }
    }

    fn remove(&mut self, object: &Object) {
        match object {
            Object::Service(service) => {
                self.services.remove(&name_of(service));
                self.changed.insert(name_of(service));
            }
            Object::EndpointSlice(slice) => {
                let Some(name) = service_of(slice) else { return };
                if let Some(slices) = self.slices.get_mut(&name) {
                    slices.remove(&slice.metadata.name);
                    if slices.is_empty() {
                        self.slices.remove(&name);
                    }
                }
                self.changed.insert(name);
            }
            _ => {}
        }
    }

    fn tell(&mut self, board: &Switchboard) {
        for name in std::mem::take(&mut self.changed) {
            match self.services.get(&name) {
                None => board.remove_service(&name.0, &name.1),
                Some(balance) => {
                    let pods = self.slices.get(&name).into_iter().flat_map(|slices| slices.values()).flatten();
                    board.set_service(&name.0, &name.1, *balance, pods.map(Str::as_str));
                }
            }
        }
    }
}
