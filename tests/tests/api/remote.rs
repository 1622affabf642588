//! The API over TLS: certificates, joining, the remote client, logs of remote nodes.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::json;
use steersman_application::client::{ApiError, Client, DeleteOptions, Part, Selection, Write, WriteOptions};
use steersman_application::usecase::logs::{LogRequest, LogSource};
use steersman_domain::ports::{Change, LogQuery, LogStream, RuntimeError, Scope, Store as _, StoreError};
use steersman_domain::selector::FieldSelector;
use steersman_domain::{ConfigMap, Key, Kind, Object, Pod, Revision, Uid};
use steersman_http::pki::Authority;
use steersman_http::serve::serve;
use steersman_http::{ClientError, JoinToken, RemoteClient, RemoteConfig, create_join_token, join_cluster};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::world::{World, config, key, object, pod};

pub(crate) struct Served {
    pub(crate) world: World,
    pub(crate) authority: Arc<Authority>,
    pub(crate) server: String,
    stop: Option<oneshot::Sender<()>>,
    serving: JoinHandle<()>,
    _directory: tempfile::TempDir,
}

impl Served {
    pub(crate) async fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let authority = Arc::new(Authority::open(directory.path()).expect("an authority"));
        let world = World::with(Some(authority.clone())).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let server = format!("https://{}", listener.local_addr().expect("an address"));
        let (stop, serving) = listen(listener, &authority, &world);
        Served { world, authority, server, stop: Some(stop), serving, _directory: directory }
    }

    /// Ends the listener and all connections, and listens again at the same place.
    pub(crate) async fn restart(&mut self) {
        if let Some(stop) = self.stop.take() {
            _ = stop.send(());
        }
        tokio::time::timeout(Duration::from_secs(10), &mut self.serving).await.expect("stops").expect("no panic");
        let address = self.server.trim_start_matches("https://");
        let listener = TcpListener::bind(address).await.expect("the same port");
        let (stop, serving) = listen(listener, &self.authority, &self.world);
        (self.stop, self.serving) = (Some(stop), serving);
    }

    pub(crate) fn client(&self, user: &str, group: &str) -> RemoteClient {
        let identity = Some(self.authority.client(user, group).expect("a certificate"));
        let authority = self.authority.certificate().to_owned();
        let config = RemoteConfig { server: self.server.clone(), authority, identity, token: None };
        RemoteClient::new(&config).expect("a client")
    }

    /// The client of a node that joins by a token.
    pub(crate) async fn node(&self, name: &str) -> RemoteClient {
        let hour = Duration::from_secs(3600);
        let token = create_join_token(&self.world.api, &self.authority, hour).await.expect("a token");
        let token = JoinToken::parse(&token.reveal()).expect("reads back");
        RemoteClient::new(&join_cluster(&self.server, &token, name).await.expect("joins")).expect("a client")
    }

    pub(crate) async fn stop(mut self) {
        self.world.service.stop();
        if let Some(stop) = self.stop.take() {
            _ = stop.send(());
        }
        tokio::time::timeout(Duration::from_secs(10), self.serving).await.expect("stops").expect("without a panic");
    }
}

fn listen(listener: TcpListener, authority: &Authority, world: &World) -> (oneshot::Sender<()>, JoinHandle<()>) {
    let address = "127.0.0.1".parse().expect("an address");
    let tls = Arc::new(authority.server_config(&["localhost"], &[address]).expect("TLS"));
    let (stop, stopped) = oneshot::channel();
    let service = world.service.clone();
    let serving = tokio::spawn(async move {
        let stopped = async { _ = stopped.await };
        serve(listener, tls, service, stopped).await;
    });
    (stop, serving)
}

#[tokio::test]
async fn a_remote_client_is_a_client() {
    let served = Served::new().await;
    let client = served.client("admin", "system:masters");
    let options = WriteOptions::default();
    let created = client.create(object(Kind::ConfigMap, config("a")), &options).await.expect("creates");
    assert_eq!(created.revision, served.world.api.get(&created.key).await.expect("there").revision);
    assert!(matches!(
        client.create(object(Kind::ConfigMap, config("a")), &options).await,
        Err(ApiError::AlreadyExists(_))
    ));
    let mut changed = (**created.typed::<ConfigMap>().expect("a map")).clone();
    changed.data.insert("x", "y".into());
    let changed = Object::ConfigMap(Arc::new(changed));
    let update = |o: &Object| Write::Update(o.clone(), Part::Main);
    let answers = client.write(vec![update(&changed), update(&changed)], &options).await;
    assert!(answers[0].is_ok());
    let again = answers[1].as_ref().expect_err("the revision has moved on");
    assert!(matches!(again, ApiError::Conflict { .. }), "{again}");
    let fields = FieldSelector::parse("metadata.name=a").expect("parses");
    let selection = Selection { scope: Scope::namespaced(Kind::ConfigMap, "default"), fields, ..Selection::default() };
    assert_eq!(client.list(&selection).await.expect("lists").items.len(), 1);
    let deleted = client.delete(&created.key, &DeleteOptions::default()).await.expect("deletes");
    assert_eq!(deleted.object.meta().uid, created.object.meta().uid);
    assert_eq!(client.get(&created.key).await.expect_err("gone"), ApiError::NotFound(created.key.clone()));
    served.stop().await;
}

#[tokio::test]
async fn a_remote_watch_delivers_changes_and_its_end() {
    let served = Served::new().await;
    let client = served.client("admin", "system:masters");
    let selection = Selection { scope: Scope::kind(Kind::ConfigMap), ..Selection::default() };
    let start = client.list(&selection).await.expect("lists").revision;
    let mut watch = client.watch(&selection, start).await.expect("watches");
    let a = served.world.create(Kind::ConfigMap, config("a")).await.key.clone();
    served.world.update::<ConfigMap>(&a, Part::Main, |c| _ = c.data.insert("x", "y".into())).await.expect("updates");
    served.world.delete(&a).await.expect("goes");
    let mut seen = Vec::new();
    while seen.len() < 3 {
        let next = tokio::time::timeout(Duration::from_secs(10), watch.next()).await.expect("in time");
        seen.extend(next.expect("goes on"));
    }
    assert!(matches!(&seen[0], Change::Put { before: None, .. }));
    assert!(matches!(&seen[1], Change::Put { before: Some(before), after } if before.revision < after.revision));
    assert!(matches!(&seen[2], Change::Delete { last, .. } if last.revision == watch.progress()));
    served.world.service.stop();
    let end = tokio::time::timeout(Duration::from_secs(10), watch.next()).await.expect("in time");
    assert!(matches!(end, Err(StoreError::Unavailable(_))));
    served.world.store.compact(watch.progress()).await.expect("compacts");
    let gone = client.watch(&selection, Revision(1)).await.err().expect("too old");
    assert!(matches!(gone, ApiError::Expired(_)), "{gone}");
    served.stop().await;
}

#[tokio::test]
async fn a_node_joins_once_and_touches_only_its_own() {
    let served = Served::new().await;
    let world = &served.world;
    let hour = Duration::from_secs(3600);
    let token = create_join_token(&world.api, &served.authority, hour).await.expect("a token");
    let token = JoinToken::parse(&token.reveal()).expect("reads back");
    let kept = world.api.get(&Key::new(Kind::Secret, "kube-system", &format!("bootstrap-token-{}", token.id))).await;
    let kept = kept.expect("kept").json();
    assert!(!String::from_utf8_lossy(&kept).contains(token.reveal().rsplit('.').next().expect("a secret")));
    let foreign = token.reveal().replace(&token.fingerprint, &"0".repeat(64));
    let foreign = JoinToken::parse(&foreign).expect("reads");
    let error = join_cluster(&served.server, &foreign, "n1").await.expect_err("another cluster");
    assert!(matches!(&error, ClientError::Unreachable(m) if m.contains("another cluster")), "{error}");
    let joined = join_cluster(&served.server, &token, "n1").await.expect("joins");
    let again = join_cluster(&served.server, &token, "n2").await.expect_err("used");
    assert!(matches!(&again, ClientError::Refused(m) if m.contains("wrong, used or expired")), "{again}");
    let late = create_join_token(&world.api, &served.authority, hour).await.expect("a token");
    world.clock.advance(hour);
    assert!(join_cluster(&served.server, &late, "n3").await.is_err());

    let node = RemoteClient::new(&joined).expect("a client");
    let options = WriteOptions::default();
    let room = json!({"cpu": "1", "pods": "10"});
    let make = |name: &str| object(Kind::Node, json!({"metadata": {"name": name}, "status": {"allocatable": room}}));
    node.create(make("n1"), &options).await.expect("its own");
    assert!(matches!(node.create(make("n2"), &options).await, Err(ApiError::Forbidden { .. })));
    world.node("n2", 1000).await;
    let (mine, other) = (world.pod("mine", 1).await, world.pod("other", 1).await);
    for (pod, node) in [(&mine, "n1"), (&other, "n2")] {
        let bind = Write::Bind { pod: pod.clone(), uid: Uid::default(), node: node.into() };
        world.write(vec![bind]).await.pop().expect("an answer").expect("binds");
    }
    node.get(&mine).await.expect("its own");
    assert!(matches!(node.get(&other).await, Err(ApiError::Forbidden { .. })));
    let stranger = served.client("system:node:n1", "somebody");
    assert!(matches!(stranger.get(&mine).await, Err(ApiError::Forbidden { .. })));
    served.stop().await;
}

struct Lines(Vec<&'static str>);

#[async_trait::async_trait]
impl LogStream for Lines {
    async fn next(&mut self) -> Result<Option<Bytes>, RuntimeError> {
        Ok(self.0.pop().map(Bytes::from))
    }
}

struct Agent;

#[async_trait::async_trait]
impl LogSource for Agent {
    async fn logs(&self, node: &str, pod: &Key, query: LogQuery) -> Result<Box<dyn LogStream>, ApiError> {
        assert_eq!((node, pod.name.as_str()), ("n1", "p"));
        match query.container.as_str() {
            "c" => Ok(Box::new(Lines(vec!["two\n", "one\n"]))),
            _ => Err(ApiError::BadRequest("the log has been rotated away".into())),
        }
    }
}

#[tokio::test]
async fn logs_of_remote_nodes_come_through_their_agent() {
    let served = Served::new().await;
    let world = &served.world;
    world.node("n1", 1000).await;
    let mut value = pod("p", 1);
    value["spec"]["nodeName"] = json!("n1");
    let containers = value["spec"]["containers"].as_array_mut().expect("a list");
    containers.push(json!({"name": "d", "image": "i"}));
    world.create(Kind::Pod, value).await;
    let p = key(Kind::Pod, "p");
    let started = |p: &mut Pod| {
        for name in ["c", "d"] {
            let mut status = steersman_domain::ContainerStatus { name: name.into(), ..Default::default() };
            status.state.running = Some(Default::default());
            p.status.container_statuses.push(status);
        }
    };
    world.update::<Pod>(&p, Part::Status, started).await.expect("updates");
    let request = |container: &str| LogRequest { container: container.into(), ..LogRequest::default() };
    let early = world.api.logs(&p, &request("c")).await.err().expect("no agent");
    assert!(matches!(early, ApiError::Unavailable(_)), "{early}");
    let client = served.client("system:node:n1", "system:nodes");
    let agent = tokio::spawn(async move { client.serve_logs("n1", Arc::new(Agent)).await });
    let mut log = tokio::time::timeout(Duration::from_secs(10), async {
        loop {
            match world.api.logs(&p, &request("c")).await {
                Ok(log) => return log,
                Err(_) => tokio::task::yield_now().await,
            }
        }
    })
    .await
    .expect("the agent connects");
    let mut text = Vec::new();
    while let Some(piece) = log.next().await.expect("readable") {
        text.extend_from_slice(&piece);
    }
    assert_eq!(text, b"one\ntwo\n");
    let error = world.api.logs(&p, &request("d")).await.err().expect("refused").to_string();
    assert_eq!(error, "the log has been rotated away");
    served.world.service.stop();
    let end = tokio::time::timeout(Duration::from_secs(10), agent).await.expect("ends").expect("without a panic");
    assert!(matches!(end, ApiError::Unavailable(_)));
    served.stop().await;
}
