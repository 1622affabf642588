//! Starting a cluster, in the order in which its parts need each other.

use super::core::{Core, CorePorts};
use super::{Cluster, ClusterBuilder, Door, Home};
use crate::Handle;
use crate::data_dir::{DataDir, DataDirError};
use crate::functions::Functions;
use crate::live::{OsEntropy, SystemClock, TokioSpawner};
use crate::machine;
use crate::network::{DataPath, PathError, PathOptions};
use crate::node::{NodePlace, NodePorts, ProcessNode};
use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use steersman_application::client::ApiError;
use steersman_application::driver::agent::Stop;
use steersman_application::usecase::{ApiConfig, InvalidCidr, ServiceCidr};
use steersman_domain::Str;
use steersman_domain::ledger::Resources;
use steersman_domain::ports::{Clock, Entropy, Spawner, Store};
use steersman_http::pki::{Authority, PkiError, write_private};
use steersman_http::serve::serve;
use steersman_http::tunnel::TunnelKeys;
use steersman_http::{ApiService, LogRelay, ServiceConfig};
use steersman_runtime::OpenError;
use steersman_store::{Heartbeats, JournalError, MemoryStore};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Why a cluster did not start. Nothing of it runs.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data directory cannot be used.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The journal cannot be read or written, or is damaged.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// Keys or certificates cannot be made or read.
    #[error("keys and certificates: {0}")]
    Pki(#[from] PkiError),
    /// The API cannot listen.
    #[error("the API cannot listen on {address}: {source}{}", hint(.source))]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The runtime of processes cannot work here.
    #[error(transparent)]
    Node(#[from] OpenError),
    /// There is no way for traffic to pods.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The API refused what every cluster begins with.
    #[error("the first objects of the cluster were refused: {0}")]
    Bootstrap(#[from] ApiError),
    /// The range of service addresses is none.
    #[error(transparent)]
    Addresses(#[from] InvalidCidr),
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => "; stop the program that uses it, or choose another address with --listen",
        _ => "; choose another address with --listen",
    }
}

/// The size of a simulated node.
pub(super) fn simulated_size() -> Resources {
    Resources { cpu_milli: 32_000, memory_bytes: 64 << 30, storage_bytes: 1 << 40, pods: 110, ..Resources::default() }
}

pub(super) async fn start(options: ClusterBuilder) -> Result<Cluster, StartError> {
    let home = options.data_dir.as_deref().map(home).transpose()?;
    let authority = authority(&options, home.as_ref())?.map(Arc::new);
    let listener = match options.listen {
        Some(address) => {
            Some(TcpListener::bind(address).await.map_err(|source| StartError::Listen { address, source })?)
        }
        None => None,
    };
    let core = core(&options, home.as_ref())?;
    core.api.bootstrap().await?;

    let spawner = Arc::new(TokioSpawner::new(tokio::runtime::Handle::current()));
    let ground = (core.clock.clone(), core.entropy.clone(), spawner as Arc<dyn Spawner>);
    let functions = Functions::new(options.functions.clone(), core.client(), ground);
    let config = ServiceConfig {
        messenger: Some(functions.messenger()),
        relay: Some(Arc::new(LogRelay::new(core.logs.clone()))),
        authority: authority.clone(),
        ..ServiceConfig::default()
    };
    let service = ApiService::new(core.api.clone(), config);
    let door = match (listener, &authority) {
        (Some(listener), Some(authority)) => Some(open(&options, home.as_ref(), &service, authority, listener)?),
        _ => None,
    };
    let mut cluster = Cluster {
        handle: Handle::new(core.client(), core.clock.clone(), Some(functions.board.clone())),
        api: core.api.clone(),
        service,
        nodes: Vec::new(),
        stop_nodes: watch::Sender::new(Stop::Run),
        loops: loops(&core, &functions),
        path: None,
        functions,
        door,
        authority,
        home,
    };
    start_nodes(&mut cluster, &core, &options).await?;
    Ok(cluster)
}

fn home(path: &Path) -> Result<Home, StartError> {
    let data_dir = DataDir::open(path)?;
    Ok(Home { addresses: data_dir.addresses()?, data_dir })
}

/// Nobody needs certificates in a cluster that nobody else hears or finds again.
fn authority(options: &ClusterBuilder, home: Option<&Home>) -> Result<Option<Authority>, StartError> {
    let authority = match home {
        Some(home) => Authority::open(home.data_dir.path())?,
        None if options.listen.is_some() => Authority::generate()?,
        None => return Ok(None),
    };
    Ok(Some(authority.with_node_lifetime(options.node_certificate_lifetime)))
}

/// Serves the API, and writes down how to reach it.
fn open(
    options: &ClusterBuilder,
    home: Option<&Home>,
    service: &ApiService,
    authority: &Authority,
    listener: TcpListener,
) -> Result<Door, StartError> {
    let address = listener.local_addr().map_err(|source| StartError::Listen {
        address: options.listen.unwrap_or(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0))),
        source,
    })?;
    let host = options.address.unwrap_or_else(|| host_address(address));
    let (stop, stopped) = watch::channel(false);
    let admin = authority.client("steersman-admin", "system:masters")?;
    let kubeconfig = authority.kubeconfig(&format!("https://{}", reachable(address)), &admin);
    let kubeconfig_path = home.map(|home| home.data_dir.path().join("kubeconfig"));
    if let Some(path) = &kubeconfig_path {
        write_private(path, &kubeconfig)?;
    }
    let server = serve_api(service, authority, listener, (address, host), stopped)?;
    Ok(Door { address, host, kubeconfig, kubeconfig_path, stop, server })
}

/// The names of the nodes of this machine.
fn node_names(options: &ClusterBuilder) -> Vec<Str> {
    let first = options.node_name.clone().unwrap_or_else(|| machine::hostname().into());
    match options.nodes {
        1 => vec![first],
        nodes => (1..=nodes).map(|index| format!("{first}-{index}").into()).collect(),
    }
}

async fn data_path(
    authority: &Authority,
    core: &Core,
    (names, address, port): (&[Str], IpAddr, u16),
) -> Result<DataPath, StartError> {
    let nodes: Vec<&str> = names.iter().map(Str::as_str).collect();
    let identity = authority.node(&nodes)?;
    let options = PathOptions {
        nodes: names.to_vec(),
        address,
        port,
        keys: Arc::new(TunnelKeys::new(authority.certificate(), &identity)?),
        fingerprint: authority.fingerprint(),
        client: core.client(),
        clock: core.clock.clone(),
        entropy: core.entropy.clone(),
    };
    Ok(DataPath::start(options).await?)
}

/// The runtime of pods that name none.
pub(super) fn default_runtime(options: &ClusterBuilder) -> Str {
    let default = match (&options.data_dir, options.simulated_nodes) {
        (Some(_), _) => "container",
        (None, 0) => "task",
        (None, _) => "simulated",
    };
    options.default_runtime.clone().unwrap_or_else(|| default.into())
}

fn core(options: &ClusterBuilder, home: Option<&Home>) -> Result<Core, StartError> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let entropy: Arc<dyn Entropy> = Arc::new(OsEntropy);
    let (memory, service_cidr) = match home {
        Some(home) => {
            let journaled = MemoryStore::open(&home.data_dir.path().join("journal"))?;
            (journaled, ServiceCidr::new(home.addresses.services(), 20)?)
        }
        // Nobody serves these addresses: the range is the one that Kubernetes uses by default.
        None => (MemoryStore::new(), ServiceCidr::new(Ipv4Addr::new(10, 96, 0, 0), 12)?),
    };
    let store: Arc<dyn Store> = Arc::new(Heartbeats::beside(Arc::new(memory)));
    let config = ApiConfig { default_runtime: default_runtime(options), service_cidr };
    let mut core = Core::new(CorePorts { store, clock, entropy }, config, options.scheduling.clone());
    core.settings.autoscaler = options.autoscaling.scaler.clone();
    core.settings.autoscaler_sync = options.autoscaling.sync;
    Ok(core)
}

fn serve_api(
    service: &ApiService,
    authority: &Authority,
    listener: TcpListener,
    (address, host): (SocketAddr, IpAddr),
    mut stopped: watch::Receiver<bool>,
) -> Result<JoinHandle<()>, StartError> {
    let ips = BTreeSet::from([IpAddr::V4(Ipv4Addr::LOCALHOST), address.ip(), host]).into_iter().collect::<Vec<_>>();
    let hostname = machine::hostname();
    let names = ["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", &hostname];
    let tls = Arc::new(authority.server_config(&names, &ips)?);
    Ok(tokio::spawn(serve(listener, tls, service.clone(), async move {
        // A closed channel means that the cluster was dropped.
        let _closed = stopped.wait_for(|stop| *stop).await;
    })))
}

/// The controllers, the scheduler, the housekeeping, and the routes to functions.
fn loops(core: &Core, functions: &Functions) -> Vec<JoinHandle<()>> {
    let loops = [core.controllers(), core.scheduler(core.entropy.clone()), core.housekeeping(), functions.route()];
    loops.map(tokio::spawn).into()
}

async fn start_nodes(cluster: &mut Cluster, core: &Core, options: &ClusterBuilder) -> Result<(), StartError> {
    let names = node_names(options);
    let host = match (&cluster.door, options.address) {
        (_, Some(address)) => address,
        (Some(door), None) => door.host,
        (None, None) => IpAddr::V4(Ipv4Addr::LOCALHOST),
    };
    if let (Some(_), Some(authority), [_, ..]) = (&cluster.home, &cluster.authority, &names[..]) {
        cluster.path = Some(data_path(authority, core, (&names, host, options.tunnel_port)).await?);
    }
    let ports = NodePorts {
        client: core.client(),
        clock: core.clock.clone(),
        entropy: core.entropy.clone(),
        spawner: TokioSpawner::new(tokio::runtime::Handle::current()),
        logs: core.logs.clone(),
        functions: Some(cluster.functions.clone()),
        proxy: cluster.path.as_ref().map(|path| (path.proxy().clone(), path.port())),
        default_runtime: core.config.default_runtime.clone(),
        usage_window: options.autoscaling.window,
        api_server: cluster.door.as_ref().map(|door| {
            let api = reachable(door.address);
            (api.ip().to_string().into(), api.port())
        }),
    };
    for (index, name) in (0..).zip(&names) {
        let place = NodePlace { name: name.clone(), index, parts: options.nodes, address: host.to_string().into() };
        let stop = cluster.stop_nodes.subscribe();
        let running = match &cluster.home {
            Some(home) => {
                let (data_dir, addresses, shim) = (home.data_dir.path(), &home.addresses, options.shim.clone());
                ports.process_node(ProcessNode { place, data_dir, addresses, shim }, stop).await?
            }
            None => ports.function_node(place, stop),
        };
        cluster.nodes.push(running);
    }
    for index in 0..options.simulated_nodes {
        let name = format!("simulated-{:04}", index + 1);
        cluster.nodes.push(ports.simulated_node(&name, simulated_size(), cluster.stop_nodes.subscribe()));
    }
    Ok(())
}

/// The address by which other nodes reach this host, where none is named.
fn host_address(listen: SocketAddr) -> IpAddr {
    if !listen.ip().is_unspecified() {
        return listen.ip();
    }
    machine::outward_address().unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST))
}

/// The address by which programs of this host reach the API: a wildcard is answered on loopback.
fn reachable(address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() { SocketAddr::from((Ipv4Addr::LOCALHOST, address.port())) } else { address }
}
