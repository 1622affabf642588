//! Who asks, and what they may do. Certificates and tokens name a user and groups; `system:masters` may do everything;
//! node agents (`system:nodes`, `system:node:NAME`) may touch what a node needs and nothing of other nodes (see `node`); any
//! other user may look at discovery, and ask what is allowed.

mod node;
mod references;

pub(crate) use references::References;

use crate::error::Failure;
use crate::pki::Peer;
use crate::query::Query;
use crate::route::{Address, Target, route};
use crate::service::{ApiService, Call};
use http::{HeaderMap, Method, header};
use node::Verdict;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::sync::Arc;
use steersman_application::client::{ApiError, Client as _};
use steersman_domain::selector::FieldSelector;
use steersman_domain::{Key, Kind, Object, Pod};
use steersman_kubernetes::schema::KINDS;

const MASTERS: &str = "system:masters";
const NODES: &str = "system:nodes";
const NODE_PREFIX: &str = "system:node:";

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The name of the user, as `system:node:NODE`.
    pub name: Arc<str>,
    /// The groups that the user is in.
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

    /// The answer to a request that the user may not make.
    pub(crate) fn refusal(&self, what: &Attributes<'_>, why: &str) -> Failure {
        let qualified =
            if what.group.is_empty() { what.resource.to_owned() } else { format!("{}.{}", what.resource, what.group) };
        let name = if what.name.is_empty() { String::new() } else { format!(" \"{}\"", what.name) };
        let resource =
            if what.sub.is_empty() { what.resource.into() } else { format!("{}/{}", what.resource, what.sub) };
        let place = if what.namespace.is_empty() {
            "at the cluster scope".to_owned()
        } else {
            format!("in the namespace \"{}\"", what.namespace)
        };
        let why = if why.is_empty() { String::new() } else { format!(": {why}") };
        Failure::forbidden(format!(
            "{qualified}{name} is forbidden: User \"{}\" cannot {} resource \"{resource}\" in API group \"{}\" {place}{why}",
            self.name, what.verb, what.group
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

/// What a request wants to do to which objects, in the words of authorization. Empty texts: all, or none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Attributes<'a> {
    pub(crate) verb: &'a str,
    pub(crate) group: &'a str,
    /// The plural.
    pub(crate) resource: &'a str,
    pub(crate) sub: &'a str,
    pub(crate) namespace: &'a str,
    pub(crate) name: &'a str,
    pub(crate) fields: FieldSelector,
}

impl<'a> Attributes<'a> {
    /// What a request to an address wants.
    pub(crate) fn of(verb: &'a str, address: &'a Address, query: &Query<'_>) -> Self {
        Attributes {
            verb,
            group: address.wire.group,
            resource: address.wire.plural,
            sub: &address.sub,
            namespace: address.namespace.as_deref().unwrap_or_default(),
            name: address.name.as_deref().unwrap_or_default(),
            // One that cannot be read selects nothing here, and is refused when it is used.
            fields: FieldSelector::parse(query.get("fieldSelector")).unwrap_or_default(),
        }
    }

    /// The served kind that this is about.
    fn kind(&self) -> Option<Kind> {
        KINDS.iter().find(|k| k.group == self.group && k.plural == self.resource && !k.plural.is_empty()).and_then(
            |k| {
                if k.group == "events.k8s.io" { Some(Kind::Event) } else { Kind::find(k.group, k.kind) }
            },
        )
    }

    /// The value that a field must have.
    fn selects(&self, path: &str) -> Option<&str> {
        self.fields.0.iter().find(|r| r.path == path && r.equal).map(|r| r.value.as_str())
    }

    /// The one object that this is about, by its address or by a field selector.
    fn object(&self, kind: Kind) -> Option<Key> {
        let name = if self.name.is_empty() { self.selects("metadata.name")? } else { self.name };
        (!name.is_empty() && !self.namespace.is_empty()).then(|| Key::new(kind, self.namespace, name))
    }
}

/// Whether something is allowed, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    Allowed(&'static str),
    Denied(String),
}

impl User {
    /// Whether the user may ask for a path that is no object's.
    pub(crate) fn may_ask_for(&self, verb: &str, path: &str) -> bool {
        if self.is_master() {
            return true;
        }
        let reads = matches!(verb, "get" | "head");
        match route(path) {
            None | Some(Target::Resource(_) | Target::Bindings(_) | Target::JoinTokens | Target::Metrics(_)) => false,
            Some(Target::Review(_) | Target::Join) => verb == "post",
            Some(Target::Renew) => verb == "post" && self.node().is_some(),
            Some(Target::Relay { node, .. }) => (reads || verb == "post") && self.node() == Some(&*node),
            Some(
                Target::Health
                | Target::Version
                | Target::Paths
                | Target::CoreVersions
                | Target::Groups
                | Target::Group(_)
                | Target::Resources(..)
                | Target::OpenApiV2
                | Target::OpenApiV3(_)
                | Target::CustomResources,
            ) => reads,
        }
    }
}

impl ApiService {
    /// Whether the user may do this. What is to be stored is looked at later, see [`Call::guard_write`].
    pub(crate) async fn decide(&self, user: &User, what: &Attributes<'_>) -> Result<Decision, Failure> {
        if user.is_master() {
            return Ok(Decision::Allowed("members of system:masters may do everything"));
        }
        let asks = what.verb == "create" && what.resource.starts_with("selfsubject") && what.sub.is_empty();
        if asks && matches!(what.group, "authentication.k8s.io" | "authorization.k8s.io") {
            return Ok(Decision::Allowed("everybody may ask about themselves"));
        }
        let Some(node) = user.node() else {
            return Ok(Decision::Denied(String::new()));
        };
        Ok(match node::judge(node, what) {
            Verdict::Allowed => Decision::Allowed("node agents need it"),
            Verdict::Denied(why) => Decision::Denied(why),
            Verdict::IfReferenced(key) => {
                if self.references().refer(self.api(), node, &key).await? {
                    Decision::Allowed("a pod of the node refers to it")
                } else {
                    Decision::Denied(format!("no pod that is bound to node {node} refers to it"))
                }
            }
            Verdict::IfBound(key) => match self.api().get(&key).await {
                Ok(stored) if stored.typed::<Pod>().is_none_or(|pod| pod.spec.node_name != node) => {
                    Decision::Denied(format!("the pod is not bound to node {node}"))
                }
                Ok(_) => Decision::Allowed("the pod is bound to the node"),
                // That it is gone is for the request itself to say.
                Err(ApiError::NotFound(_)) => Decision::Allowed("there is no such pod"),
                Err(error) => return Err(error.into()),
            },
        })
    }
}

/// Whether a node's agent may write objects of the kind, but not whatever it likes.
fn has_limits(kind: Kind) -> bool {
    matches!(kind, Kind::Node | Kind::Pod | Kind::Lease | Kind::Service)
}

impl Call<'_> {
    /// Refuses what the user may not do.
    pub(crate) async fn authorize(&self, verb: &'static str, address: &Address) -> Result<(), Failure> {
        let what = Attributes::of(verb, address, &self.query);
        match self.service.decide(self.user, &what).await? {
            Decision::Allowed(_) => Ok(()),
            Decision::Denied(why) => Err(self.user.refusal(&what, &why)),
        }
    }

    /// Refuses what a node's agent may not store. An update is pinned to the revision that it was compared with.
    pub(crate) async fn guard_write(&self, address: &Address, object: &mut Object) -> Result<(), Failure> {
        let Some(node) = self.user.node().filter(|_| has_limits(address.kind)) else {
            return Ok(());
        };
        let old = match address.key() {
            None => None,
            Some(key) => Some(self.api().get(&key).await?),
        };
        if let Some(old) = &old {
            let revision = &mut object.meta_mut().resource_version;
            if revision.0 != 0 && *revision != old.revision {
                let message =
                    "the object has been modified; please apply your changes to the latest version and try again";
                return Err(ApiError::Conflict { key: old.key.clone(), message: message.into() }.into());
            }
            *revision = old.revision;
        }
        let verb = verb(self.method, address.name.is_some(), false);
        node::check_write(node, object, old.as_ref().map(|old| &old.object))
            .map_err(|why| self.user.refusal(&Attributes::of(verb, address, &self.query), &why))
    }
}

/// Whether a node's agent may do something whatever its pods are.
#[cfg(test)]
pub(crate) fn node_rule_holds(node: &str, what: &Attributes<'_>) -> bool {
    node::judge(node, what) == Verdict::Allowed
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

    fn verdict(method: &Method, path: &str) -> Verdict {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let Some(Target::Resource(address)) = route(path) else { panic!("{path} is a resource") };
        let query = Query::parse(Some(query));
        let watch = query.flag("watch").expect("a flag");
        node::judge("n1", &Attributes::of(verb(method, address.name.is_some(), watch), &address, &query))
    }

    #[test]
    fn a_node_touches_only_its_own() {
        for (method, path, expected) in [
            (Method::GET, "/api/v1/pods?fieldSelector=spec.nodeName%3Dn1&watch=1", true),
            (Method::GET, "/api/v1/pods?fieldSelector=spec.nodeName%3Dn2", false),
            (Method::GET, "/api/v1/pods?fieldSelector=spec.nodeName!%3Dn1", false),
            (Method::GET, "/api/v1/pods", false),
            (Method::PUT, "/api/v1/nodes/n1/status", true),
            (Method::PUT, "/api/v1/nodes/n2/status", false),
            (Method::GET, "/api/v1/nodes", true),
            (Method::DELETE, "/api/v1/nodes/n1", false),
            (Method::GET, "/api/v1/secrets", false),
            (Method::GET, "/api/v1/namespaces/d/secrets", false),
            (Method::GET, "/api/v1/secrets?fieldSelector=metadata.name%3Ds", false),
            (Method::PUT, "/api/v1/namespaces/d/secrets/s", false),
            (Method::POST, "/api/v1/namespaces/d/pods", false),
            (Method::PUT, "/api/v1/namespaces/d/pods/p", false),
            (Method::POST, "/api/v1/namespaces/d/pods/p/binding", false),
            (Method::DELETE, "/api/v1/namespaces/d/pods", false),
            (Method::PUT, "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/n1", true),
            (Method::PUT, "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/n2", false),
            (Method::PUT, "/apis/coordination.k8s.io/v1/namespaces/d/leases/n1", false),
            (Method::GET, "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases", false),
            (Method::POST, "/api/v1/namespaces/d/events", true),
            (Method::POST, "/apis/events.k8s.io/v1/namespaces/d/events", true),
            (Method::GET, "/api/v1/services?watch=1", true),
            (Method::PUT, "/api/v1/namespaces/d/services/s", false),
            (Method::GET, "/apis/discovery.k8s.io/v1/endpointslices", true),
            (Method::GET, "/apis/apps/v1/deployments", false),
        ] {
            assert_eq!(verdict(&method, path) == Verdict::Allowed, expected, "{method} {path}");
        }
        let key = |kind, name| Key::new(kind, "d", name);
        for (method, path, expected) in [
            (Method::GET, "/api/v1/namespaces/d/secrets/s", Verdict::IfReferenced(key(Kind::Secret, "s"))),
            (
                Method::GET,
                "/api/v1/namespaces/d/configmaps?watch=1&fieldSelector=metadata.name%3Dc",
                Verdict::IfReferenced(key(Kind::ConfigMap, "c")),
            ),
            (Method::GET, "/api/v1/namespaces/d/pods/p", Verdict::IfBound(key(Kind::Pod, "p"))),
            (Method::PATCH, "/api/v1/namespaces/d/pods/p/status", Verdict::IfBound(key(Kind::Pod, "p"))),
        ] {
            assert_eq!(verdict(&method, path), expected, "{method} {path}");
        }
        let named = |user: User| user.node().map(str::to_owned);
        assert_eq!(named(User::new("system:node:n1", &[NODES])), Some("n1".into()));
        assert_eq!(named(User::new("system:node:n1", &[])), None, "the group counts too");
        assert_eq!(named(User::new("system:node:n1", &[NODES, MASTERS])), None, "who may do everything is no node");
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
