//! A node that joins a cluster over the network: it exchanges a token for a certificate, keeps that, and runs an agent, the
//! process runtime and the service proxy of its host.

use crate::data_dir::{Addresses, DataDir, DataDirError};
use crate::live::{OsEntropy, SystemClock, TokioSpawner};
use crate::machine;
use crate::network::{DataPath, PathError, PathOptions};
use crate::node::{NodePlace, NodePorts, ProcessNode, RunningNode};
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use steersman_application::driver::agent::Stop;
use steersman_application::usecase::logs::{LogRegistry, LogSource};
use steersman_domain::ports::{Clock, Entropy};
use steersman_domain::{Str, Time};
use steersman_http::pki::{Identity, PkiError, fingerprint, validity, write_private};
use steersman_http::tunnel::TunnelKeys;
use steersman_http::{ClientError, JoinToken, RemoteClient, RemoteConfig, join_cluster, keep_renewed};
use steersman_runtime::OpenError;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// The file that keeps what a node got for its token.
const MEMBERSHIP: &str = "membership.json";

/// How long to wait before the logs are offered again after the connection broke.
const RETRY: Duration = Duration::from_secs(1);

/// A node before it joins.
#[derive(Clone, Debug)]
pub struct NodeOptions {
    /// `https://HOST:PORT`
    pub server: String,
    /// What lets it join; used once.
    pub token: JoinToken,
    /// The address by which other nodes reach this one; `None`: the one from which the server is reached.
    pub address: Option<IpAddr>,
    /// The port of that address on which traffic of other nodes is taken; 0: a free one.
    pub tunnel_port: u16,
    /// The node's name; `None`: the machine's.
    pub name: Option<String>,
    /// Where the node keeps its certificate and what its runtimes need.
    pub data_dir: PathBuf,
    /// See [`crate::ClusterBuilder::shim`].
    pub shim: Vec<OsString>,
    /// Over how long usage of pods is measured; see [`crate::Autoscaling::window`].
    pub usage_window: Duration,
}

/// Why a node did not join. Nothing of it runs.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// The data directory cannot be used.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The server was not reached, or refused the node.
    #[error("joining {server}: {source}")]
    Client {
        /// The address of the server.
        server: String,
        /// Why it was not reached, or what it refused.
        source: ClientError,
    },
    /// The certificate cannot be kept.
    #[error("keeping the certificate: {0}")]
    Keep(#[from] PkiError),
    /// What is kept is no certificate.
    #[error("{path} does not hold the certificate of a node: remove it and join with a new token")]
    Kept {
        /// The file.
        path: PathBuf,
    },
    /// The certificate has expired.
    #[error(
        "the certificate of the node {node} expired at {at}, so that it cannot connect any more: delete the node \
         (`steer delete node {node}`), remove {path}, and join with a new token (`steer token create`)"
    )]
    Expired {
        /// The node.
        node: String,
        /// Where its certificate is kept.
        path: PathBuf,
        /// When it expired.
        at: Time,
    },
    /// The runtime of processes cannot work here.
    #[error(transparent)]
    Node(#[from] OpenError),
    /// There is no way for traffic to pods.
    #[error(transparent)]
    Path(#[from] PathError),
}

/// What a node keeps of its joining.
#[derive(Serialize, Deserialize)]
struct Membership {
    node: String,
    authority: String,
    certificate: String,
    key: String,
}

/// A node that has joined. Dropping it leaves its processes running; `stop` ends them in order.
pub struct JoinedNode {
    name: Str,
    node: RunningNode,
    stop: watch::Sender<Stop>,
    loops: Vec<JoinHandle<()>>,
    path: DataPath,
    _addresses: Addresses,
    _data_dir: DataDir,
}

impl std::fmt::Debug for JoinedNode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JoinedNode").field("name", &self.name).finish_non_exhaustive()
    }
}

impl JoinedNode {
    /// Joins with the token, or comes back with the certificate that an earlier joining left in the data directory.
    ///
    /// # Errors
    /// When the server cannot be reached or belongs to another cluster, when the token is wrong, used or expired, when the
    /// name is taken, and when the data directory cannot be used.
    pub async fn join(options: NodeOptions) -> Result<Self, JoinError> {
        let data_dir = DataDir::open(&options.data_dir)?;
        let addresses = data_dir.addresses()?;
        let name = options.name.clone().unwrap_or_else(machine::hostname);
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let config = membership(&options, &data_dir, (&name, clock.now())).await?;
        let failed = |source| JoinError::Client { server: options.server.clone(), source };
        let client: Arc<RemoteClient> = Arc::new(RemoteClient::new(&config).map_err(failed)?);
        let entropy: Arc<dyn Entropy> = Arc::new(OsEntropy);

        let address = match options.address {
            Some(address) => address,
            None => address_towards(&options.server).await.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        };
        let identity = config.identity.clone().ok_or_else(|| kept(&data_dir))?;
        let keys = Arc::new(TunnelKeys::new(&config.authority, &identity)?);
        let path = DataPath::start(PathOptions {
            nodes: vec![name.as_str().into()],
            address,
            port: options.tunnel_port,
            keys: keys.clone(),
            fingerprint: fingerprint(&config.authority),
            client: client.clone(),
            clock: clock.clone(),
            entropy: entropy.clone(),
        });
        let path = path.await?;
        let logs = Arc::new(LogRegistry::default());
        let renewal = Renewal { file: data_dir.path().join(MEMBERSHIP), node: name.clone(), config, keys };
        let loops = vec![
            tokio::spawn(offer_logs(client.clone(), name.clone(), logs.clone())),
            tokio::spawn(renewal.run(client.clone(), clock.clone(), entropy.clone())),
        ];
        let ports = NodePorts {
            functions: None,
            client,
            clock,
            entropy,
            spawner: TokioSpawner::new(Handle::current()),
            logs,
            proxy: Some((path.proxy().clone(), path.port())),
            default_runtime: "process".into(),
            usage_window: options.usage_window,
            api_server: host_and_port(&options.server),
        };
        let stop = watch::Sender::new(Stop::Run);
        let place = NodePlace { name: name.as_str().into(), index: 0, parts: 1, address: address.to_string().into() };
        let node = ProcessNode { place, data_dir: data_dir.path(), addresses: &addresses, shim: options.shim };
        let node = ports.process_node(node, stop.subscribe()).await?;
        let name = name.as_str().into();
        Ok(JoinedNode { name, node, stop, loops, path, _addresses: addresses, _data_dir: data_dir })
    }

    /// The name of the node.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Ends the pods within their grace and keeps their objects, then the agent.
    pub async fn stop(mut self) {
        self.stop.send_replace(Stop::StopPods);
        self.node.ended().await;
        self.path.shutdown().await;
    }
}

impl Drop for JoinedNode {
    fn drop(&mut self) {
        self.node.abort();
        for task in &self.loops {
            task.abort();
        }
    }
}

/// The certificate that is kept, or a new one for the token. A kept one of another cluster or name is not used.
async fn membership(
    options: &NodeOptions,
    data_dir: &DataDir,
    (name, now): (&str, Time),
) -> Result<RemoteConfig, JoinError> {
    let path = data_dir.path().join(MEMBERSHIP);
    if let Ok(text) = std::fs::read_to_string(&path) {
        let kept: Membership = serde_json::from_str(&text).map_err(|_| kept(data_dir))?;
        if kept.node == name && fingerprint(&kept.authority) == options.token.fingerprint {
            let (_, at) = validity(&kept.certificate).ok_or_else(|| self::kept(data_dir))?;
            if at <= now {
                return Err(JoinError::Expired { node: kept.node, path, at });
            }
            let identity = Identity { certificate: kept.certificate, key: kept.key };
            let server = options.server.clone();
            return Ok(RemoteConfig { server, authority: kept.authority, identity: Some(identity), token: None });
        }
    }
    let joined = join_cluster(&options.server, &options.token, name).await;
    let config = joined.map_err(|source| JoinError::Client { server: options.server.clone(), source })?;
    if let Some(identity) = &config.identity {
        keep(&path, name, &config.authority, identity)?;
    }
    Ok(config)
}

/// Keeps what makes a member, in the place of what was kept before.
fn keep(path: &Path, node: &str, authority: &str, identity: &Identity) -> Result<(), PkiError> {
    let kept = Membership {
        node: node.to_owned(),
        authority: authority.to_owned(),
        certificate: identity.certificate.clone(),
        key: identity.key.clone(),
    };
    write_private(path, &serde_json::to_string(&kept).expect("texts are always JSON"))
}

/// Where a renewed certificate belongs.
struct Renewal {
    file: PathBuf,
    node: String,
    config: RemoteConfig,
    keys: Arc<TunnelKeys>,
}

impl Renewal {
    /// Renews the certificate whenever it is due. A new one is kept before it is used.
    async fn run(self, client: Arc<RemoteClient>, clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) {
        let authority = &self.config.authority;
        let take = |identity: &Identity| -> Result<(), String> {
            keep(&self.file, &self.node, authority, identity).map_err(|e| e.to_string())?;
            self.keys.renew(identity).map_err(|e| e.to_string())?;
            client.show(authority, identity).map_err(|e| e.to_string())
        };
        let certificate = self.config.identity.as_ref().map(|i| i.certificate.clone()).unwrap_or_default();
        keep_renewed(&client, (&*clock, &*entropy), certificate, take).await;
    }
}

/// Answers the server's wishes for logs, again after each break.
async fn offer_logs(client: Arc<RemoteClient>, node: String, logs: Arc<LogRegistry>) {
    loop {
        let source: Arc<dyn LogSource> = logs.clone();
        let error = client.serve_logs(&node, source).await;
        tracing::debug!(%error, "logs are offered again");
        tokio::time::sleep(RETRY).await;
    }
}

fn kept(data_dir: &DataDir) -> JoinError {
    JoinError::Kept { path: data_dir.path().join(MEMBERSHIP) }
}

/// The address of this host from which the server is reached.
async fn address_towards(server: &str) -> Option<IpAddr> {
    let (host, port) = host_and_port(server)?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let mut found = tokio::net::lookup_host((host, port)).await.ok()?;
    found.find_map(machine::address_towards)
}

fn host_and_port(server: &str) -> Option<(Str, u16)> {
    let (host, port) = server.trim_start_matches("https://").trim_end_matches('/').rsplit_once(':')?;
    Some((host.into(), port.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Cluster;
    use std::net::SocketAddr;
    use std::os::unix::fs::PermissionsExt as _;
    use steersman_domain::{Key, Kind};
    use steersman_http::create_join_token;

    /// The certificate that is kept, and the mode of its file.
    fn kept(path: &Path) -> (String, u32) {
        let kept: Membership = serde_json::from_str(&std::fs::read_to_string(path).expect("kept")).expect("whole");
        (kept.certificate, std::fs::metadata(path).expect("there").permissions().mode() & 0o777)
    }

    #[tokio::test]
    async fn a_certificate_is_renewed_while_the_node_runs_and_lasts_longer_than_the_first() {
        let (server, home) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
        let brief = Duration::from_secs(6);
        let builder = Cluster::builder().data_dir(server.path()).listen(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        let cluster = builder.nodes(0).node_certificate_lifetime(brief).start().await.expect("starts");
        let authority = cluster.authority().expect("it listens");
        let token = create_join_token(cluster.api(), authority, Duration::from_secs(60)).await.expect("made");
        let options = NodeOptions {
            server: cluster.url().expect("it listens"),
            token,
            address: Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            tunnel_port: 0,
            name: Some("renewed".into()),
            data_dir: home.path().to_owned(),
            shim: vec!["false".into()],
            usage_window: Duration::from_secs(10),
        };
        let node = JoinedNode::join(options.clone()).await.expect("joins");
        let file = home.path().join(MEMBERSHIP);
        let (first, _) = kept(&file);
        let (_, first_end) = validity(&first).expect("a certificate");
        let clock = SystemClock::new();
        let deadline = Duration::from_secs(60);
        tokio::time::timeout(deadline, async {
            // Until a certificate is kept that is good beyond the first, and the first is over.
            while validity(&kept(&file).0).is_none_or(|(_, end)| end <= first_end) || clock.now() <= first_end {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        })
        .await
        .unwrap_or_else(|_| panic!("not renewed within {deadline:?}: {:?}", validity(&kept(&file).0)));
        assert_eq!(kept(&file).1, 0o600);
        drop(node);
        // The token is used up: only the renewed certificate lets the node in again.
        let again = JoinedNode::join(options.clone()).await.expect("comes back");
        let key = Key::new(Kind::Lease, "kube-node-lease", "renewed");
        tokio::time::timeout(deadline, async {
            while cluster.client().get(&key).await.is_err() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        })
        .await
        .expect("the node keeps its lease");
        drop(again);

        let old = Identity { certificate: first, key: "unused".into() };
        keep(&file, "renewed", authority.certificate(), &old).expect("written");
        let error = JoinedNode::join(options).await.expect_err("expired").to_string();
        assert!(error.contains("expired at") && error.contains("steer token create"), "{error}");
        cluster.stop().await;
    }
}
