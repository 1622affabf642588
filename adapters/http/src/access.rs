//! Who asks, and what they may do. Certificates and tokens name a user and groups; `system:masters` may do everything;
//! node agents (`system:nodes`, `system:node:NAME`) may touch what a node needs and nothing of other nodes; any other user
//! may look at discovery alone.

use crate::error::Failure;
use crate::pki::Peer;
use crate::query::Query;
use crate::route::Address;
use crate::service::Call;
use http::{HeaderMap, Method, header};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::sync::Arc;
use steersman_application::client::Client as _;
use steersman_domain::selector::FieldSelector;
use steersman_domain::{Key, Kind, Pod};

const MASTERS: &str = "system:masters";
const NODES: &str = "system:nodes";
const NODE_PREFIX: &str = "system:node:";
const HEARTBEATS: &str = "kube-node-lease";

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    pub name: Arc<str>,
    pub groups: Arc<[String]>,
}

impl User {
    /// A user of these groups.
    pub fn new(name: &str, groups: &[&str]) -> Self {
        User { name: name.into(), groups: groups.iter().map(|g| (*g).to_owned()).collect() }
    }

    /// A user who may do everything, as host programs are in their own process.
    pub fn master(name: &str) -> Self {
        User::new(name, &[MASTERS])
    }

    fn belongs(&self, group: &str) -> bool {
        self.groups.iter().any(|g| g == group)
    }

    /// The node whose agent this is.
    pub(crate) fn node(&self) -> Option<&str> {
        if self.belongs(MASTERS) || !self.belongs(NODES) { None } else { self.name.strip_prefix(NODE_PREFIX) }
    }

    pub(crate) fn is_master(&self) -> bool {
        self.belongs(MASTERS)
    }

    /// Whether the user may do this at all. What depends on the object itself (the node of a pod) is checked with the
    /// object at hand.
    pub(crate) fn authorize(&self, verb: &'static str, address: &Address, query: &Query<'_>) -> Result<(), Failure> {
        if self.is_master() {
            return Ok(());
        }
        let allowed = self.node().is_some_and(|node| node_may(node, verb, address, query));
        if allowed { Ok(()) } else { Err(self.refusal(verb, address)) }
    }

    pub(crate) fn refusal(&self, verb: &str, address: &Address) -> Failure {
        let qualified = if address.wire.group.is_empty() {
            address.wire.plural.to_owned()
        } else {
            format!("{}.{}", address.wire.plural, address.wire.group)
        };
        let name = address.name.as_deref().map(|n| format!(" \"{n}\"")).unwrap_or_default();
        let resource = if address.sub.is_empty() {
            address.wire.plural.into()
        } else {
            format!("{}/{}", address.wire.plural, address.sub)
        };
        let place = match &address.namespace {
            Some(namespace) => format!("in the namespace \"{namespace}\""),
            None => "at the cluster scope".to_owned(),
        };
        Failure::forbidden(format!(
            "{qualified}{name} is forbidden: User \"{}\" cannot {verb} resource \"{resource}\" in API group \"{}\" {place}",
            self.name, address.wire.group
        ))
    }
}

impl From<&Peer> for User {
    fn from(peer: &Peer) -> Self {
        User { name: peer.user.as_str().into(), groups: peer.groups.clone().into() }
    }
}

/// The verb of a request, as authorization words it.
pub(crate) fn verb(method: &Method, named: bool, watch: bool) -> &'static str {
    match (method, named) {
        (&Method::POST, _) => "create",
        (&Method::PUT, _) => "update",
        (&Method::PATCH, _) => "patch",
        (&Method::DELETE, true) => "delete",
        (&Method::DELETE, false) => "deletecollection",
        _ if watch => "watch",
        (_, true) => "get",
        (_, false) => "list",
    }
}

/// What a node's agent may do.
fn node_may(node: &str, verb: &str, address: &Address, query: &Query<'_>) -> bool {
    let reads = matches!(verb, "get" | "list" | "watch");
    let own = address.name.as_deref().is_none_or(|name| name == node);
    match address.kind {
        Kind::Node => reads || own && matches!(verb, "create" | "update" | "patch"),
        Kind::Lease => address.namespace.as_deref() == Some(HEARTBEATS) && own && verb != "deletecollection",
        Kind::Pod => match (verb, address.sub.as_str()) {
            ("list" | "watch", "") => names_node(query, node),
            // These are allowed for pods of the node, which is checked with the pod at hand.
            ("get" | "delete", "") | ("get" | "update" | "patch", "status") => true,
            _ => false,
        },
        Kind::Event => matches!(verb, "create" | "update" | "patch"),
        Kind::Service
        | Kind::Endpoints
        | Kind::EndpointSlice
        | Kind::ConfigMap
        | Kind::Secret
        | Kind::RuntimeClass
        | Kind::Namespace
        | Kind::ServiceAccount => reads && address.sub.is_empty(),
        Kind::Deployment | Kind::ReplicaSet | Kind::NodeLedger | Kind::AddressLedger => false,
    }
}

fn names_node(query: &Query<'_>, node: &str) -> bool {
    FieldSelector::parse(query.get("fieldSelector"))
        .is_ok_and(|s| s.0.iter().any(|r| r.path == "spec.nodeName" && r.equal && r.value == node))
}

impl Call<'_> {
    /// Lets a node's agent touch only pods that are bound to its node.
    pub(crate) async fn guard_pod(&self, address: &Address) -> Result<(), Failure> {
        let (Some(node), Kind::Pod, Some(key)) = (self.user.node(), address.kind, address.key()) else { return Ok(()) };
        let stored = self.api().get(&key).await?;
        let bound = stored.typed::<Pod>().is_some_and(|pod| pod.spec.node_name == node);
        if bound { Ok(()) } else { Err(self.user.refusal("touch pods of another node through", address)) }
    }

    /// Lets a node's agent create only its own node and lease.
    pub(crate) fn guard_created(&self, address: &Address, key: &Key) -> Result<(), Failure> {
        match self.user.node() {
            Some(node) if matches!(key.kind, Kind::Node | Kind::Lease) && key.name != node => {
                Err(self.user.refusal("create", address))
            }
            _ => Ok(()),
        }
    }
}

/// Bearer tokens, kept as hashes: who reads the memory of the server does not learn them.
#[derive(Clone, Debug, Default)]
pub struct TokenTable(Arc<BTreeMap<[u8; 32], User>>);

impl TokenTable {
    /// A table of tokens and whom they name.
    pub fn new(tokens: impl IntoIterator<Item = (String, User)>) -> Self {
        TokenTable(Arc::new(tokens.into_iter().map(|(token, user)| (hash(&token), user)).collect()))
    }

    fn find(&self, token: &str) -> Option<&User> {
        self.0.get(&hash(token))
    }
}

fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

/// The user of a bearer token; `None` when the request carries none.
pub(crate) fn bearer(headers: &HeaderMap, tokens: &TokenTable) -> Result<Option<User>, Failure> {
    let Some(value) = headers.get(header::AUTHORIZATION) else { return Ok(None) };
    let token = value.to_str().ok().and_then(|v| v.split_once(' ')).filter(|(s, _)| s.eq_ignore_ascii_case("bearer"));
    match token.and_then(|(_, token)| tokens.find(token.trim())) {
        Some(user) => Ok(Some(user.clone())),
        None => Err(Failure::unauthorized()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::{Target, route};

    fn may(user: &User, method: &Method, path: &str) -> bool {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let Some(Target::Resource(address)) = route(path) else { panic!("{path} is a resource") };
        let query = Query::parse(Some(query));
        let watch = query.flag("watch").expect("a flag");
        user.authorize(verb(method, address.name.is_some(), watch), &address, &query).is_ok()
    }

    #[test]
    fn a_node_touches_only_its_own() {
        let node = User::new("system:node:n1", &[NODES]);
        for (method, path, expected) in [
            (Method::GET, "/api/v1/pods?fieldSelector=spec.nodeName%3Dn1&watch=1", true),
            (Method::GET, "/api/v1/pods?fieldSelector=spec.nodeName%3Dn2", false),
            (Method::GET, "/api/v1/pods", false),
            (Method::PUT, "/api/v1/nodes/n1/status", true),
            (Method::PUT, "/api/v1/nodes/n2/status", false),
            (Method::DELETE, "/api/v1/nodes/n1", false),
            (Method::GET, "/api/v1/namespaces/d/secrets/s", true),
            (Method::PUT, "/api/v1/namespaces/d/secrets/s", false),
            (Method::POST, "/api/v1/namespaces/d/pods", false),
            (Method::PUT, "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/n1", true),
            (Method::PUT, "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/n2", false),
            (Method::PUT, "/apis/coordination.k8s.io/v1/namespaces/d/leases/n1", false),
            (Method::POST, "/api/v1/namespaces/d/events", true),
            (Method::GET, "/apis/apps/v1/deployments", false),
        ] {
            assert_eq!(may(&node, &method, path), expected, "{method} {path}");
        }
        assert!(may(&User::master("admin"), &Method::DELETE, "/api/v1/nodes/n1"));
        assert!(!may(&User::new("eve", &["team"]), &Method::GET, "/api/v1/namespaces"));
        assert!(!may(&User::new("system:node:n1", &[]), &Method::PUT, "/api/v1/nodes/n1/status"));
    }

    #[test]
    fn tokens_are_found_by_their_hash() {
        let table = TokenTable::new([("secret".to_owned(), User::master("ci"))]);
        let with = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, header::HeaderValue::from_static(value));
            bearer(&headers, &table)
        };
        assert_eq!(with("Bearer secret"), Ok(Some(User::master("ci"))));
        assert!(with("Bearer wrong").is_err() && with("Basic secret").is_err());
        assert_eq!(bearer(&HeaderMap::new(), &table), Ok(None));
        assert!(!format!("{table:?}").contains("secret"));
    }
}
