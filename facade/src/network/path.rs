//! The data path of one process: its proxy with threads of its own, the loop that keeps it in line, the seat it waits for,
//! and the door for other nodes.

use super::peers::{Peers, let_in};
use super::seat::ProxySeat;
use super::threads::ProxyThreads;
use super::{Network, OwnNodes};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use steersman_application::client::Client;
use steersman_domain::Str;
use steersman_domain::ports::{Clock, Entropy};
use steersman_http::tunnel::{TunnelKeys, serve_tunnel};
use steersman_runtime::proxy::{Proxy, ProxyConfig};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// Why there is no data path.
#[derive(Debug, thiserror::Error)]
pub enum PathError {
    /// The port for the traffic of other nodes cannot be had.
    #[error(
        "traffic of other nodes cannot be taken on {address}: {source}; name another with --address or --tunnel-port"
    )]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The proxy got no threads.
    #[error("threads for the service proxy: {0}")]
    Threads(io::Error),
}

/// What a data path is to be.
pub(crate) struct PathOptions {
    /// The nodes of this process.
    pub(crate) nodes: Vec<Str>,
    /// Where other nodes reach them.
    pub(crate) address: IpAddr,
    /// On which port; 0: a free one.
    pub(crate) port: u16,
    pub(crate) keys: Arc<TunnelKeys>,
    /// Of the cluster's authority: names the seat.
    pub(crate) fingerprint: String,
    pub(crate) client: Arc<dyn Client>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
}

/// A running data path. Dropping it ends it at once.
pub(crate) struct DataPath {
    proxy: Arc<Proxy>,
    port: u16,
    loops: Vec<JoinHandle<()>>,
    _threads: ProxyThreads,
}

impl DataPath {
    /// Starts; virtual addresses are served as soon as this process has the seat.
    ///
    /// # Errors
    /// When the address cannot be listened on.
    pub(crate) async fn start(options: PathOptions) -> Result<Self, PathError> {
        let threads = ProxyThreads::start().map_err(PathError::Threads)?;
        let address = SocketAddr::new(options.address, options.port);
        let failed = |source| PathError::Listen { address, source };
        let listener = std::net::TcpListener::bind(address).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let port = listener.local_addr().map_err(failed)?.port();
        let peers = Arc::new(Peers::new(options.keys.clone()));
        let (proxy, reports, listener) = {
            let _context = threads.handle().enter();
            let (proxy, reports) = Proxy::standby(ProxyConfig::default(), peers.clone());
            (Arc::new(proxy), reports, TcpListener::from_std(listener).map_err(failed)?)
        };
        let visited = proxy.clone();
        let door =
            threads.handle().spawn(serve_tunnel(listener, options.keys, move |call| let_in(visited.clone(), call)));
        let network = Network {
            proxy: proxy.clone(),
            peers,
            own: OwnNodes(options.nodes),
            client: options.client,
            clock: options.clock.clone(),
            entropy: options.entropy,
            reports,
        };
        let seated = proxy.clone();
        let seat = tokio::spawn(async move {
            let _seat = ProxySeat::wait(&options.fingerprint, &*options.clock).await;
            seated.listen();
            // Held until this task is ended.
            std::future::pending::<()>().await;
        });
        Ok(DataPath { proxy, port, loops: vec![door, seat, tokio::spawn(network.run())], _threads: threads })
    }

    /// The proxy.
    pub(crate) fn proxy(&self) -> &Arc<Proxy> {
        &self.proxy
    }

    /// The port on which other nodes are let in.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Closes everything and returns when it is closed.
    pub(crate) async fn shutdown(&self) {
        for task in &self.loops {
            task.abort();
        }
        self.proxy.shutdown().await;
    }
}

impl Drop for DataPath {
    fn drop(&mut self) {
        for task in &self.loops {
            task.abort();
        }
    }
}
