//! From paths to what they address.

use crate::metrics::{self, MetricsPath};
use percent_encoding::percent_decode_str;
use steersman_domain::{Key, Kind, Str};
use steersman_kubernetes::Gvk;
use steersman_kubernetes::schema::{KINDS, Kind as WireKind};

/// What a path addresses.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Target {
    /// `/healthz`, `/livez`, `/readyz`, and their single checks.
    Health,
    Version,
    /// `/`
    Paths,
    /// `/api`
    CoreVersions,
    /// `/apis`
    Groups,
    /// `/apis/GROUP`
    Group(String),
    /// `/api/v1` or `/apis/GROUP/VERSION`
    Resources(String, String),
    OpenApiV2,
    /// The index (empty) or one document.
    OpenApiV3(String),
    /// The list of custom resource definitions, which kubectl reads before it says that it does not know a kind.
    CustomResources,
    Resource(Address),
    /// `POST /api/v1/namespaces/NS/bindings`
    Bindings(Str),
    /// `POST` of a question about the one who asks.
    Review(Review),
    /// `POST /apis/steersman.io/v1/jointokens`
    JoinTokens,
    /// `POST /apis/steersman.io/v1/join`
    Join,
    /// `POST /apis/steersman.io/v1/renew`
    Renew,
    /// Below `/apis/metrics.k8s.io/v1beta1`.
    Metrics(MetricsPath),
    /// `/apis/steersman.io/v1/nodes/NODE/logs[/ID]`
    Relay {
        node: Str,
        id: Option<String>,
    },
}

/// What can be asked about oneself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Review {
    /// Who am I?
    User,
    /// May I?
    Access,
    /// What may I?
    Rules,
}

/// How objects are spoken of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Words {
    /// As they are stored.
    Stored,
    /// Events as `events.k8s.io/v1` has them.
    NewEvents,
    /// Autoscalers as `autoscaling/v1` has them.
    Autoscaling1,
}

/// An object, or the objects of a kind.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Address {
    pub(crate) wire: &'static WireKind,
    pub(crate) kind: Kind,
    /// `None`: cluster scope, or all namespaces.
    pub(crate) namespace: Option<Str>,
    pub(crate) name: Option<Str>,
    /// Below the object; empty: the object itself.
    pub(crate) sub: String,
}

impl Address {
    /// The group, version and kind as they are written on the wire.
    pub(crate) fn gvk(&self) -> Gvk<'static> {
        Gvk::new(self.wire.group, self.wire.version, self.wire.kind)
    }

    /// Whether events are spoken of in the words of `events.k8s.io/v1`.
    pub(crate) fn new_events(&self) -> bool {
        self.words() == Words::NewEvents
    }

    /// The words in which objects are spoken of.
    pub(crate) fn words(&self) -> Words {
        match (self.wire.group, self.wire.version) {
            ("events.k8s.io", _) => Words::NewEvents,
            ("autoscaling", "v1") => Words::Autoscaling1,
            _ => Words::Stored,
        }
    }

    /// The object that is addressed.
    pub(crate) fn key(&self) -> Option<Key> {
        let name = self.name.clone()?;
        Some(Key { kind: self.kind, namespace: self.namespace.clone().unwrap_or_default(), name })
    }
}

/// The resource of a group, version and plural.
pub(crate) fn resource(group: &str, version: &str, plural: &str) -> Option<(&'static WireKind, Kind)> {
    let wire = KINDS.iter().find(|k| k.plural == plural && k.group == group && k.version == version)?;
    let kind = if wire.group == "events.k8s.io" { Kind::Event } else { Kind::find(wire.group, wire.kind)? };
    kind.info().served.then_some((wire, kind))
}

/// Reads a path; `None`: it leads nowhere.
pub(crate) fn route(path: &str) -> Option<Target> {
    let decoded: Vec<String> = path
        .trim_matches('/')
        .split('/')
        .map(|part| percent_decode_str(part).decode_utf8().map(std::borrow::Cow::into_owned))
        .collect::<Result<_, _>>()
        .ok()?;
    let parts: Vec<&str> = decoded.iter().map(String::as_str).collect();
    Some(match parts.as_slice() {
        [""] => Target::Paths,
        ["healthz" | "livez" | "readyz", ..] => Target::Health,
        ["version"] => Target::Version,
        ["api"] => Target::CoreVersions,
        ["apis"] => Target::Groups,
        ["openapi", "v2"] => Target::OpenApiV2,
        ["openapi", "v3", rest @ ..] => Target::OpenApiV3(rest.join("/")),
        ["api", "v1"] => Target::Resources(String::new(), "v1".into()),
        ["api", "v1", rest @ ..] => return below("", "v1", rest),
        ["apis", "apiextensions.k8s.io", "v1", "customresourcedefinitions"] => Target::CustomResources,
        ["apis", "authentication.k8s.io", "v1", "selfsubjectreviews"] => Target::Review(Review::User),
        ["apis", "authorization.k8s.io", "v1", "selfsubjectaccessreviews"] => Target::Review(Review::Access),
        ["apis", "authorization.k8s.io", "v1", "selfsubjectrulesreviews"] => Target::Review(Review::Rules),
        ["apis", "steersman.io", "v1", "jointokens"] => Target::JoinTokens,
        ["apis", "steersman.io", "v1", "join"] => Target::Join,
        ["apis", "steersman.io", "v1", "renew"] => Target::Renew,
        ["apis", "steersman.io", "v1", "nodes", node, "logs"] => Target::Relay { node: (*node).into(), id: None },
        ["apis", "steersman.io", "v1", "nodes", node, "logs", id] => {
            Target::Relay { node: (*node).into(), id: Some((*id).into()) }
        }
        ["apis", metrics::GROUP, metrics::VERSION, rest @ ..] if !rest.is_empty() => {
            Target::Metrics(MetricsPath::read(rest)?)
        }
        ["apis", group] => Target::Group((*group).into()),
        ["apis", group, version] => Target::Resources((*group).into(), (*version).into()),
        ["apis", group, version, rest @ ..] => return below(group, version, rest),
        _ => return None,
    })
}

fn below(group: &str, version: &str, rest: &[&str]) -> Option<Target> {
    let (namespace, rest) = match rest {
        // A namespace is itself an object: three parts below it are its own subresources.
        ["namespaces", _, "status" | "finalize"] | ["namespaces"] | ["namespaces", _] if group.is_empty() => {
            (None, rest)
        }
        ["namespaces", namespace, rest @ ..] => (Some(Str::from(*namespace)), rest),
        _ => (None, rest),
    };
    if rest.iter().any(|part| part.is_empty()) {
        return None;
    }
    let (plural, name, sub) = match rest {
        ["bindings"] if group.is_empty() => return namespace.map(Target::Bindings),
        [plural] => (plural, None, String::new()),
        [plural, name] => (plural, Some(Str::from(*name)), String::new()),
        [plural, name, sub @ ..] => (plural, Some(Str::from(*name)), sub.join("/")),
        [] => return None,
    };
    let (wire, kind) = resource(group, version, plural)?;
    // An object in a namespace is addressed within it, and one without is not.
    let fits = match (wire.namespaced, &namespace, &name) {
        (true, None, Some(_)) | (false, Some(_), _) => false,
        (true, _, _) | (false, None, _) => true,
    };
    fits.then_some(Target::Resource(Address { wire, kind, namespace, name, sub }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(path: &str) -> Option<(Kind, Option<String>, Option<String>, String)> {
        match route(path) {
            Some(Target::Resource(a)) => {
                Some((a.kind, a.namespace.map(|n| n.to_string()), a.name.map(|n| n.to_string()), a.sub))
            }
            _ => None,
        }
    }

    #[test]
    fn paths_lead_where_they_do_in_kubernetes() {
        let some = |s: &str| Some(s.to_owned());
        for (path, expected) in [
            ("/api/v1/pods", Some((Kind::Pod, None, None, String::new()))),
            ("/api/v1/namespaces/d/pods/a/log", Some((Kind::Pod, some("d"), some("a"), "log".into()))),
            (
                "/apis/apps/v1/namespaces/d/deployments/a/",
                Some((Kind::Deployment, some("d"), some("a"), String::new())),
            ),
            ("/api/v1/namespaces/d", Some((Kind::Namespace, None, some("d"), String::new()))),
            ("/api/v1/namespaces/d/finalize", Some((Kind::Namespace, None, some("d"), "finalize".into()))),
            ("/api/v1/nodes/n%2Da/status", Some((Kind::Node, None, some("n-a"), "status".into()))),
            ("/apis/events.k8s.io/v1/events", Some((Kind::Event, None, None, String::new()))),
            ("/api/v1/pods/a", None),
            ("/api/v1/namespaces/d/nodes", None),
            ("/apis/steersman.internal/v1/nodeledgers", None),
            ("/apis/extensions/v1/deployments", None),
        ] {
            assert_eq!(address(path), expected, "{path}");
        }
        assert_eq!(route("/api/v1/namespaces/d/bindings"), Some(Target::Bindings("d".into())));
        assert_eq!(route("/readyz/ping"), Some(Target::Health));
        assert_eq!(route("/metrics"), None);
    }
}
