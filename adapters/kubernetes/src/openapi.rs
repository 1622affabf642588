//! OpenAPI documents, generated from the field table: version 2 as JSON and protobuf, version 3 as an index and one
//! document per group and version. They carry what kubectl reads: types with descriptions, merge keys, the kinds,
//! and for every operation its kind and its query parameters.
//!
//! Building a document takes milliseconds and its text about a megabyte; servers keep the bytes they sent.

mod definitions;
mod gnostic;
mod paths;

use crate::schema::{Base, KINDS, Kind, Type, TypeId, schema};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

/// The media type of version 2 as protobuf, as it must stand in the answer. Clients ask for it with `@` in place of
/// the dot before `v1.0`, which is not a valid media type.
pub const V2_PROTOBUF: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";

/// Which document is being written; they differ in where types and parameters stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dialect {
    V2,
    V3,
}

impl Dialect {
    /// A reference to a type by its full name.
    fn reference(self, name: &str) -> String {
        match self {
            Self::V2 => format!("#/definitions/{name}"),
            Self::V3 => format!("#/components/schemas/{name}"),
        }
    }
}

fn info() -> Value {
    json!({"title": "Steersman", "version": concat!("v", env!("CARGO_PKG_VERSION"))})
}

/// `/openapi/v2` as JSON.
#[must_use]
pub fn v2() -> Value {
    let kinds: Vec<&Kind> = KINDS.iter().collect();
    json!({
        "swagger": "2.0",
        "info": info(),
        "paths": paths::paths(&kinds, Dialect::V2),
        "definitions": definitions(&kinds, Dialect::V2),
    })
}

/// `/openapi/v2` as protobuf (`openapi.v2.Document` of gnostic), for `Accept`s that name [`V2_PROTOBUF`].
#[must_use]
pub fn v2_protobuf() -> Vec<u8> {
    gnostic::document(&v2())
}

/// `/openapi/v3`: where the document of every group and version is.
#[must_use]
pub fn v3_index() -> Value {
    let hash = table_hash();
    let entry = |path: &String| (path.clone(), json!({"serverRelativeURL": format!("/openapi/v3/{path}?hash={hash}")}));
    let paths: Map<String, Value> = group_paths().iter().map(entry).collect();
    json!({"paths": paths})
}

/// `/openapi/v3/PATH`, where the path is one of the index such as `api/v1` or `apis/apps/v1`.
#[must_use]
pub fn v3_document(path: &str) -> Option<Value> {
    let kinds: Vec<&Kind> = KINDS.iter().filter(|k| !k.plural.is_empty() && group_path(k) == path).collect();
    (!kinds.is_empty()).then(|| {
        json!({
            "openapi": "3.0.0",
            "info": info(),
            "paths": paths::paths(&kinds, Dialect::V3),
            "components": {"schemas": definitions(&kinds, Dialect::V3)},
        })
    })
}

/// `api/v1` or `apis/GROUP/VERSION`.
fn group_path(kind: &Kind) -> String {
    if kind.group.is_empty() {
        format!("api/{}", kind.version)
    } else {
        format!("apis/{}/{}", kind.group, kind.version)
    }
}

fn group_paths() -> BTreeSet<String> {
    KINDS.iter().filter(|k| !k.plural.is_empty()).map(group_path).collect()
}

/// Changes when the table changes (FNV-1a over its names, types and descriptions), so that clients may keep documents.
fn table_hash() -> String {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut mix = |text: &str| {
        for byte in text.bytes().chain([0]) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    };
    mix(env!("CARGO_PKG_VERSION"));
    for known in &schema().types {
        mix(known.name);
        for field in &known.fields {
            mix(field.name);
            mix(field.docs);
        }
    }
    format!("{hash:016X}")
}

/// The types of these kinds, of their subresources, and all that they refer to.
fn definitions(kinds: &[&Kind], dialect: Dialect) -> Map<String, Value> {
    let mut all = definitions::scalars();
    let mut wanted: Vec<TypeId> = Vec::new();
    let mut want = |name: &str| wanted.extend(schema().named(name));
    for kind in kinds {
        want(kind.type_name);
        for body in kind.subresources.iter().filter_map(paths::body_kind) {
            want(body.type_name);
        }
    }
    ["meta.v1.DeleteOptions", "meta.v1.Status", "meta.v1.ListMeta"].into_iter().for_each(want);
    let mut seen = BTreeSet::new();
    while let Some(id) = wanted.pop() {
        if seen.insert(id.0) {
            let known: &Type = schema().get(id);
            all.insert(known.openapi_name(), definitions::definition(known, dialect));
            wanted.extend(known.fields.iter().filter_map(|f| match f.base {
                Base::Object(inner) => Some(inner),
                _ => None,
            }));
        }
    }
    for kind in kinds.iter().filter(|k| !k.plural.is_empty()) {
        let (name, list) = definitions::list(kind, dialect);
        all.insert(name, list);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every `$ref` of a document, wherever it stands.
    fn references(value: &Value, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(map) => {
                if let Some(Value::String(reference)) = map.get("$ref") {
                    found.insert(reference.clone());
                }
                map.values().for_each(|v| references(v, found));
            }
            Value::Array(list) => list.iter().for_each(|v| references(v, found)),
            _ => {}
        }
    }

    #[track_caller]
    fn no_dangling_reference(document: &Value) {
        let mut found = BTreeSet::new();
        references(document, &mut found);
        assert!(found.len() > 5);
        for reference in found {
            let pointer = reference.trim_start_matches('#');
            assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
        }
    }

    #[test]
    fn references_lead_somewhere() {
        no_dangling_reference(&v2());
        for path in group_paths() {
            no_dangling_reference(&v3_document(&path).expect(&path));
        }
    }

    #[test]
    fn types_carry_kinds_merge_keys_and_descriptions() {
        let document = v2();
        let pod = &document["definitions"]["io.k8s.api.core.v1.Pod"];
        let kind = json!([{"group": "", "kind": "Pod", "version": "v1"}]);
        assert_eq!(pod["x-kubernetes-group-version-kind"], kind);
        let ports = &document["definitions"]["io.k8s.api.core.v1.Container"]["properties"]["ports"];
        assert_eq!(ports["x-kubernetes-patch-merge-key"], "containerPort");
        assert_eq!(ports["x-kubernetes-patch-strategy"], "merge");
        assert_eq!(ports["x-kubernetes-list-map-keys"], json!(["containerPort", "protocol"]));
        assert_eq!(ports["items"]["$ref"], "#/definitions/io.k8s.api.core.v1.ContainerPort");
        assert!(ports["description"].as_str().is_some_and(|d| d.starts_with("List of ports")));
        let volumes = &document["definitions"]["io.k8s.api.core.v1.PodSpec"]["properties"]["volumes"];
        assert_eq!(volumes["x-kubernetes-patch-strategy"], "merge,retainKeys");
    }

    #[test]
    fn patches_take_the_parameters_that_kubectl_looks_for() {
        let document = v3_document("apis/apps/v1").expect("apps/v1");
        let patch = &document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"];
        let names: Vec<&str> =
            patch["parameters"].as_array().into_iter().flatten().filter_map(|p| p["name"].as_str()).collect();
        assert!(names.contains(&"fieldValidation") && names.contains(&"dryRun"), "{names:?}");
        assert_eq!(patch["x-kubernetes-group-version-kind"]["kind"], "Deployment");
        let old = &v2()["paths"]["/api/v1/namespaces/{namespace}/pods/{name}"]["patch"];
        assert!(old["parameters"].to_string().contains("dryRun"));
    }

    #[test]
    fn subresources_name_their_own_kind() {
        let document = v3_document("api/v1").expect("api/v1");
        let eviction = &document["paths"]["/api/v1/namespaces/{namespace}/pods/{name}/eviction"]["post"];
        assert_eq!(
            eviction["x-kubernetes-group-version-kind"],
            json!({"group": "policy", "kind": "Eviction", "version": "v1"})
        );
        assert!(document["components"]["schemas"]["io.k8s.api.policy.v1.Eviction"].is_object());
    }

    #[test]
    fn the_index_leads_to_every_document() {
        let index = v3_index();
        let paths = index["paths"].as_object().expect("paths");
        assert!(paths.contains_key("api/v1") && paths.contains_key("apis/apps/v1"));
        for (path, entry) in paths {
            assert!(v3_document(path).is_some());
            let url = entry["serverRelativeURL"].as_str().expect("a URL");
            assert!(url.starts_with(&format!("/openapi/v3/{path}?hash=")), "{url}");
        }
        assert!(v3_document("apis/example.org/v1").is_none());
    }
}
