//! Starting a cluster, in the order in which its parts need each other.

use super::core::{Core, CorePorts};
use super::{Cluster, ClusterBuilder};
use crate::data_dir::{Addresses, DataDir, DataDirError};
use crate::functions::Functions;
use crate::live::{OsEntropy, SystemClock, TokioSpawner};
use crate::machine;
use crate::network::{DataPath, PathError, PathOptions};
use crate::node::{NodePorts, ProcessNode, RunningNode};
use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use steersman_application::client::ApiError;
use steersman_application::driver::agent::Stop;
use steersman_application::usecase::{ApiConfig, InvalidCidr, ServiceCidr};
use steersman_domain::Str;
use steersman_domain::ledger::Resources;
use steersman_domain::ports::{Clock, Entropy, Store};
use steersman_http::pki::{Authority, PkiError, write_private};
use steersman_http::serve::serve;
use steersman_http::tunnel::TunnelKeys;
use steersman_http::{ApiService, LogRelay, ServiceConfig};
use steersman_runtime::OpenError;
use steersman_store::{Heartbeats, JournalError, MemoryStore};
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Why a cluster did not start. Nothing of it runs.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error("keys and certificates: {0}")]
    Pki(#[from] PkiError),
    #[error("the API cannot listen on {address}: {source}{}", hint(.source))]
    Listen { address: SocketAddr, source: io::Error },
    #[error(transparent)]
    Node(#[from] OpenError),
    #[error(transparent)]
    Path(#[from] PathError),
    #[error("the first objects of the cluster were refused: {0}")]
    Bootstrap(#[from] ApiError),
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
fn simulated_size() -> Resources {
    Resources { cpu_milli: 32_000, memory_bytes: 64 << 30, storage_bytes: 1 << 40, pods: 110, ..Resources::default() }
}

pub(super) async fn start(options: ClusterBuilder) -> Result<Cluster, StartError> {
    let data_dir = DataDir::open(&options.data_dir)?;
    let addresses = data_dir.addresses()?;
    let authority = Authority::open(data_dir.path())?.with_node_lifetime(options.node_certificate_lifetime);
    let authority = Arc::new(authority);
    let listener = TcpListener::bind(options.listen).await;
    let listener = listener.map_err(|source| StartError::Listen { address: options.listen, source })?;
    let address = listener.local_addr().map_err(|source| StartError::Listen { address: options.listen, source })?;
    let core = core(&options, &data_dir, &addresses)?;
    core.api.bootstrap().await?;

    let functions = Functions::new(options.functions.clone(), core.client(), core.clock.clone(), core.entropy.clone());
    let config = ServiceConfig {
        messenger: Some(functions.messenger()),
        relay: Some(Arc::new(LogRelay::new(core.logs.clone()))),
        authority: Some(authority.clone()),
        ..ServiceConfig::default()
    };
    let service = ApiService::new(core.api.clone(), config);
    let (stop_api, stopped) = watch::channel(false);
    let host = options.address.unwrap_or_else(|| host_address(address));
    let server = serve_api(&service, &authority, listener, (address, host), stopped)?;
    let kubeconfig = data_dir.path().join("kubeconfig");
    let admin = authority.client("steersman-admin", "system:masters")?;
    write_private(&kubeconfig, &authority.kubeconfig(&format!("https://{}", reachable(address)), &admin))?;

    let mut cluster = Cluster {
        api: core.api.clone(),
        address,
        host,
        kubeconfig,
        authority,
        nodes: Vec::new(),
        stop_nodes: watch::Sender::new(Stop::Run),
        service,
        stop_api,
        server,
        loops: loops(&core, &functions),
        path: None,
        functions,
        _addresses: addresses,
        data_dir,
    };
    let names = node_names(&options);
    if !names.is_empty() {
        cluster.path = Some(data_path(&cluster, &core, (&names, host, options.tunnel_port)).await?);
    }
    start_nodes(&mut cluster, &core, (&options, &names, host)).await?;
    Ok(cluster)
}

/// The names of the nodes with processes.
fn node_names(options: &ClusterBuilder) -> Vec<Str> {
    let first = options.node_name.clone().unwrap_or_else(|| machine::hostname().into());
    match options.nodes {
        1 => vec![first],
        nodes => (1..=nodes).map(|index| format!("{first}-{index}").into()).collect(),
    }
}

async fn data_path(
    cluster: &Cluster,
    core: &Core,
    (names, address, port): (&[Str], IpAddr, u16),
) -> Result<DataPath, StartError> {
    let nodes: Vec<&str> = names.iter().map(Str::as_str).collect();
    let identity = cluster.authority.node(&nodes)?;
    let options = PathOptions {
        nodes: names.to_vec(),
        address,
        port,
        keys: Arc::new(TunnelKeys::new(cluster.authority.certificate(), &identity)?),
        fingerprint: cluster.authority.fingerprint(),
        client: core.client(),
        clock: core.clock.clone(),
        entropy: core.entropy.clone(),
    };
    Ok(DataPath::start(options).await?)
}

fn core(options: &ClusterBuilder, data_dir: &DataDir, addresses: &Addresses) -> Result<Core, StartError> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let entropy: Arc<dyn Entropy> = Arc::new(OsEntropy);
    let journaled = MemoryStore::open(&data_dir.path().join("journal"))?;
    let store: Arc<dyn Store> = Arc::new(Heartbeats::beside(Arc::new(journaled)));
    let config = ApiConfig {
        default_runtime: options.default_runtime.clone(),
        service_cidr: ServiceCidr::new(addresses.services(), 20)?,
    };
    Ok(Core::new(CorePorts { store, clock, entropy }, config, options.scheduling.clone()))
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

async fn start_nodes(
    cluster: &mut Cluster,
    core: &Core,
    (options, names, host): (&ClusterBuilder, &[Str], IpAddr),
) -> Result<(), StartError> {
    let api = reachable(cluster.address);
    let ports = NodePorts {
        client: core.client(),
        clock: core.clock.clone(),
        entropy: core.entropy.clone(),
        spawner: TokioSpawner::new(Handle::current()),
        logs: core.logs.clone(),
        functions: Some(cluster.functions.clone()),
        proxy: cluster.path.as_ref().map(|path| (path.proxy().clone(), path.port())),
        default_runtime: options.default_runtime.clone(),
        api_server: Some((api.ip().to_string().into(), api.port())),
    };
    for (index, name) in (0..).zip(names) {
        let node = ProcessNode {
            name: name.clone(),
            index,
            parts: options.nodes,
            address: host.to_string().into(),
            data_dir: cluster.data_dir.path(),
            addresses: &cluster._addresses,
            shim: options.shim.clone(),
        };
        let running: RunningNode = ports.process_node(node, cluster.stop_nodes.subscribe()).await?;
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
