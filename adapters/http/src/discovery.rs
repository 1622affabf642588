//! What the server offers: groups, versions, resources with their short names and subresources, OpenAPI documents.

use crate::body::Body;
use crate::error::{Failure, bytes_response, json_response};
use crate::metrics;
use crate::negotiate::Form;
use crate::route::Target;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{LazyLock, Mutex, PoisonError};
use steersman_kubernetes::openapi;
use steersman_kubernetes::schema::{KINDS, Kind, Subresource};

/// The Kubernetes version whose rules this server keeps; clients compare theirs with it.
const MAJOR: &str = "1";
const MINOR: &str = "32";

/// The groups beside the core, with their versions, preferred first. `policy` is here for evictions alone.
const GROUPS: &[(&str, &[&str])] = &[
    ("apps", &["v1"]),
    ("authentication.k8s.io", &["v1"]),
    ("authorization.k8s.io", &["v1"]),
    ("autoscaling", &["v2", "v1"]),
    ("batch", &["v1"]),
    ("events.k8s.io", &["v1"]),
    (metrics::GROUP, &[metrics::VERSION]),
    ("policy", &["v1", "v1beta1"]),
    ("node.k8s.io", &["v1"]),
    ("scheduling.k8s.io", &["v1"]),
    ("discovery.k8s.io", &["v1"]),
    ("coordination.k8s.io", &["v1"]),
];

/// OpenAPI documents as bytes, built when first asked for.
static DOCUMENTS: LazyLock<Mutex<BTreeMap<String, Bytes>>> = LazyLock::new(Mutex::default);

/// Answers a discovery request; `form` is `None` when nothing that is accepted is offered as JSON.
pub(crate) fn answer(target: &Target, form: Option<Form>, headers: &HeaderMap) -> Result<Response<Body>, Failure> {
    if *target == Target::OpenApiV2 {
        return Ok(openapi_v2(headers));
    }
    let form = form.ok_or_else(Failure::not_acceptable)?;
    let value = match (target, form) {
        (Target::CoreVersions, Form::Aggregated(version)) => return Ok(aggregated(&[("", &["v1"])], version)),
        (Target::Groups, Form::Aggregated(version)) => return Ok(aggregated(GROUPS, version)),
        (Target::CoreVersions, _) => json!({"kind": "APIVersions", "versions": ["v1"],
            "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": ""}]}),
        (Target::Groups, _) => {
            let groups: Vec<Value> = GROUPS.iter().map(|(name, versions)| group(name, versions)).collect();
            json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
        }
        (Target::Group(name), _) => {
            let (name, versions) = GROUPS.iter().find(|(g, _)| g == name).ok_or_else(Failure::no_such_path)?;
            let mut group = group(name, versions);
            group["kind"] = json!("APIGroup");
            group["apiVersion"] = json!("v1");
            group
        }
        (Target::Resources(group, version), _) => resources(group, version)?,
        (Target::Version, _) => version(),
        (Target::CustomResources, _) => json!({"kind": "CustomResourceDefinitionList",
            "apiVersion": "apiextensions.k8s.io/v1", "metadata": {"resourceVersion": "0"}, "items": []}),
        (Target::Paths, _) => json!({"paths": paths()}),
        (Target::OpenApiV3(path), _) => return openapi_v3(path, headers),
        _ => return Err(Failure::no_such_path()),
    };
    Ok(json_response(StatusCode::OK, &value))
}

fn version() -> Value {
    json!({"major": MAJOR, "minor": MINOR, "gitVersion": format!("v{MAJOR}.{MINOR}.0+steersman-{}", env!("CARGO_PKG_VERSION")),
    "gitCommit": "", "gitTreeState": "clean", "buildDate": "1970-01-01T00:00:00Z", "goVersion": "none", "compiler": "rustc",
    "platform": format!("{}/{}", std::env::consts::OS, match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    })})
}

fn paths() -> Vec<String> {
    let mut paths: Vec<String> = ["/api", "/api/v1", "/apis"].map(str::to_owned).into();
    for (group, versions) in GROUPS {
        paths.push(format!("/apis/{group}"));
        paths.extend(versions.iter().map(|v| format!("/apis/{group}/{v}")));
    }
    paths.extend(["/healthz", "/livez", "/openapi/v2", "/openapi/v3", "/readyz", "/version"].map(str::to_owned));
    paths
}

fn group(name: &str, versions: &[&str]) -> Value {
    let versions: Vec<Value> =
        versions.iter().map(|v| json!({"groupVersion": format!("{name}/{v}"), "version": v})).collect();
    json!({"name": name, "preferredVersion": versions[0], "versions": versions})
}

fn served(group: &str, version: &str) -> impl Iterator<Item = &'static Kind> {
    KINDS.iter().filter(move |k| !k.plural.is_empty() && k.group == group && k.version == version)
}

fn resources(group: &str, version: &str) -> Result<Value, Failure> {
    let known = group.is_empty() && version == "v1"
        || GROUPS.iter().any(|(g, versions)| *g == group && versions.contains(&version));
    if !known {
        return Err(Failure::no_such_path());
    }
    let mut list = Vec::new();
    for kind in served(group, version) {
        let mut entry = json!({"name": kind.plural, "singularName": kind.singular, "namespaced": kind.namespaced,
            "kind": kind.kind, "verbs": kind.verbs()});
        if !kind.short_names.is_empty() {
            entry["shortNames"] = json!(kind.short_names);
        }
        if !kind.categories.is_empty() {
            entry["categories"] = json!(kind.categories);
        }
        list.push(entry);
        for sub in kind.subresources {
            let mut entry = json!({"name": format!("{}/{}", kind.plural, sub.name), "singularName": "",
                "namespaced": kind.namespaced, "kind": sub.kind, "verbs": sub.verbs});
            if (sub.group, sub.version) != (kind.group, kind.version) {
                entry["group"] = json!(sub.group);
                entry["version"] = json!(sub.version);
            }
            list.push(entry);
        }
    }
    if (group, version) == (metrics::GROUP, metrics::VERSION) {
        let entry = |(plural, kind, namespaced): &(&str, &str, bool)| json!({"name": plural, "singularName": "", "namespaced": namespaced, "kind": kind, "verbs": ["get", "list"]});
        list.extend(metrics::RESOURCES.iter().map(entry));
    }
    let group_version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    Ok(json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": list}))
}

fn aggregated(groups: &[(&str, &[&str])], version: &'static str) -> Response<Body> {
    let response_kind =
        |group: &str, version: &str, kind: &str| json!({"group": group, "version": version, "kind": kind});
    let below = |sub: &Subresource| json!({"subresource": sub.name, "verbs": sub.verbs, "responseKind": response_kind(sub.group, sub.version, sub.kind)});
    let entry = |kind: &Kind| {
        let mut entry = json!({"resource": kind.plural, "singularResource": kind.singular, "verbs": kind.verbs(),
            "responseKind": response_kind(kind.group, kind.version, kind.kind),
            "scope": if kind.namespaced { "Namespaced" } else { "Cluster" }});
        if !kind.short_names.is_empty() {
            entry["shortNames"] = json!(kind.short_names);
        }
        if !kind.categories.is_empty() {
            entry["categories"] = json!(kind.categories);
        }
        if !kind.subresources.is_empty() {
            entry["subresources"] = kind.subresources.iter().map(below).collect();
        }
        entry
    };
    let items: Vec<Value> = groups
        .iter()
        .map(|(name, versions)| {
            let versions: Vec<Value> = versions
                .iter()
                .map(|v| {
                    let mut resources: Vec<Value> = served(name, v).map(entry).collect();
                    if (*name, *v) == (metrics::GROUP, metrics::VERSION) {
                        resources.extend(metrics::RESOURCES.iter().map(|(plural, kind, namespaced)| {
                            json!({"resource": plural, "singularResource": "", "verbs": ["get", "list"],
                                "responseKind": response_kind(metrics::GROUP, metrics::VERSION, kind),
                                "scope": if *namespaced { "Namespaced" } else { "Cluster" }})
                        }));
                    }
                    json!({"version": v, "freshness": "Current", "resources": resources})
                })
                .collect();
            json!({"metadata": {"name": name, "creationTimestamp": null}, "versions": versions})
        })
        .collect();
    let value = json!({"kind": "APIGroupDiscoveryList", "apiVersion": format!("apidiscovery.k8s.io/{version}"),
        "metadata": {}, "items": items});
    let media_type = match version {
        "v2" => "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
        _ => "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList",
    };
    bytes_response(StatusCode::OK, media_type, value.to_string())
}

fn document(name: &str, build: impl FnOnce() -> Option<Vec<u8>>) -> Option<Bytes> {
    let mut documents = DOCUMENTS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(bytes) = documents.get(name) {
        return Some(bytes.clone());
    }
    let bytes = Bytes::from(build()?);
    documents.insert(name.to_owned(), bytes.clone());
    Some(bytes)
}

/// A document under its tag, or that the client's own copy still holds. A tag is the length and the FNV-1a of the bytes.
fn tagged(headers: &HeaderMap, media_type: &'static str, bytes: Bytes) -> Response<Body> {
    let mix = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    let tag = format!("\"{:x}-{:x}\"", bytes.len(), bytes.iter().fold(0xcbf2_9ce4_8422_2325, mix));
    let known = headers.get_all(header::IF_NONE_MATCH).iter().any(|v| v.as_bytes() == tag.as_bytes());
    let mut response = if known {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response
    } else {
        bytes_response(StatusCode::OK, media_type, bytes)
    };
    if let Ok(value) = HeaderValue::from_str(&tag) {
        response.headers_mut().insert(header::ETAG, value);
    }
    // The same address gives several forms.
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("Accept"));
    response
}

fn openapi_v2(headers: &HeaderMap) -> Response<Body> {
    let protobuf = headers
        .get_all(header::ACCEPT)
        .iter()
        .any(|v| v.to_str().is_ok_and(|v| v.contains("application/com.github.proto-openapi.spec.v2")));
    let (name, media_type) = if protobuf { ("v2.pb", openapi::V2_PROTOBUF) } else { ("v2", "application/json") };
    let bytes =
        document(name, || Some(if protobuf { openapi::v2_protobuf() } else { openapi::v2().to_string().into_bytes() }));
    tagged(headers, media_type, bytes.unwrap_or_default())
}

fn openapi_v3(path: &str, headers: &HeaderMap) -> Result<Response<Body>, Failure> {
    let build = || match path {
        "" => Some(openapi::v3_index()),
        path => openapi::v3_document(path),
    };
    let bytes = document(&format!("v3/{path}"), || build().map(|v| v.to_string().into_bytes()));
    Ok(tagged(headers, "application/json", bytes.ok_or_else(Failure::no_such_path)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_served_kind_is_in_a_group_that_is_offered() {
        for kind in KINDS.iter().filter(|kind| !kind.plural.is_empty() && !kind.group.is_empty()) {
            let offered =
                GROUPS.iter().any(|(group, versions)| *group == kind.group && versions.contains(&kind.version));
            assert!(offered, "{} of {}/{} cannot be discovered", kind.kind, kind.group, kind.version);
        }
    }

    #[test]
    fn every_served_kind_is_in_a_group() {
        for kind in KINDS.iter().filter(|k| !k.plural.is_empty()) {
            let list = resources(kind.group, kind.version).expect("the group is listed");
            assert!(
                list["resources"].as_array().is_some_and(|r| r.iter().any(|r| r["name"] == kind.plural)),
                "{}",
                kind.plural
            );
        }
        assert!(resources("nothing.example", "v1").is_err());
    }

    #[test]
    fn subresources_name_the_group_of_their_body() {
        let core = resources("", "v1").expect("the core");
        let find = |name: &str| {
            core["resources"].as_array().and_then(|r| r.iter().find(|r| r["name"] == name)).expect(name).clone()
        };
        let eviction = find("pods/eviction");
        assert_eq!(
            (&eviction["group"], &eviction["version"], &eviction["kind"]),
            (&json!("policy"), &json!("v1"), &json!("Eviction"))
        );
        assert_eq!(find("pods")["shortNames"], json!(["po"]));
        assert_eq!(resources("apps", "v1").expect("apps")["resources"][1]["group"], "autoscaling");
    }
}
