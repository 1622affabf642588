//! The paths of an OpenAPI document: what can be asked of which resource, with which query parameters.

use super::{Dialect, group_path};
use crate::schema::{Gvk, Kind, Subresource, kind_of, schema};
use serde_json::{Map, Value, json};

/// A query parameter: name, type, description.
type Query = (&'static str, &'static str, &'static str);

const PRETTY: Query = ("pretty", "string", "If 'true', then the output is pretty printed.");
const DRY_RUN: Query = ("dryRun", "string", "When present, modifications are not persisted; the only value is All.");
const MANAGER: Query = ("fieldManager", "string", "A name for the actor or entity that makes these changes.");
const VALIDATION: Query = (
    "fieldValidation",
    "string",
    "What to do about unknown and duplicate fields: Ignore, Warn (the default) or Strict.",
);
const WRITE: &[Query] = &[PRETTY, DRY_RUN, MANAGER, VALIDATION];
const READ: &[Query] = &[PRETTY];
const DELETE: &[Query] = &[
    PRETTY,
    DRY_RUN,
    ("gracePeriodSeconds", "integer", "The seconds before the object is deleted; zero means at once."),
    ("propagationPolicy", "string", "What becomes of dependents: Orphan, Background or Foreground."),
];
const LIST: &[Query] = &[
    PRETTY,
    ("labelSelector", "string", "Restricts the objects by their labels."),
    ("fieldSelector", "string", "Restricts the objects by their fields."),
    ("limit", "integer", "The most objects to answer at once."),
    ("continue", "string", "Where the previous answer ended."),
    ("resourceVersion", "string", "The revision to read at."),
    ("resourceVersionMatch", "string", "How the revision is applied."),
    ("timeoutSeconds", "integer", "How long the request may last."),
    ("watch", "boolean", "Whether to answer with changes as they happen."),
    ("allowWatchBookmarks", "boolean", "Whether a watch may send bookmarks."),
    ("sendInitialEvents", "boolean", "Whether a watch begins with the objects that exist."),
];
const LOG: &[Query] = &[
    ("container", "string", "The container, when the pod has several."),
    ("follow", "boolean", "Whether to go on as the log grows."),
    ("previous", "boolean", "Whether to read the log of the container before its last restart."),
    ("sinceSeconds", "integer", "How far back to begin, in seconds."),
    ("sinceTime", "string", "When to begin, in RFC 3339."),
    ("timestamps", "boolean", "Whether every line begins with its time."),
    ("tailLines", "integer", "How many lines from the end to begin."),
    ("limitBytes", "integer", "The most bytes to answer."),
];
const PATCHES: &[&str] =
    &["application/json-patch+json", "application/merge-patch+json", "application/strategic-merge-patch+json"];
const BODIES: &[&str] = &["application/json", "application/yaml", "application/vnd.kubernetes.protobuf"];

/// One operation before it is written in a dialect.
struct Operation<'a> {
    method: &'static str,
    /// As Kubernetes names it: `get`, `list`, `post`, `put`, `patch`, `delete`, `deletecollection`, `connect`.
    action: &'static str,
    /// Group, version and kind of the object.
    kind: Gvk<'a>,
    query: &'static [Query],
    /// The full name of the type of the body; empty when there is none.
    body: String,
    /// The full name of the type of the answer; empty for text.
    answer: String,
}

/// The paths of these kinds.
pub(super) fn paths(kinds: &[&Kind], dialect: Dialect) -> Map<String, Value> {
    let mut all = Map::new();
    for kind in kinds.iter().filter(|k| !k.plural.is_empty()) {
        let root = format!("/{}", group_path(kind));
        let collection = match kind.namespaced {
            true => format!("{root}/namespaces/{{namespace}}/{}", kind.plural),
            false => format!("{root}/{}", kind.plural),
        };
        let item = format!("{collection}/{{name}}");
        if kind.is_ask() {
            all.insert(collection.clone(), path_item(&collection, &[create(kind)], dialect));
            continue;
        }
        if kind.namespaced {
            let everywhere = format!("{root}/{}", kind.plural);
            all.insert(everywhere.clone(), path_item(&everywhere, &[list(kind)], dialect));
        }
        let operations = [list(kind), create(kind), operation(kind, "deletecollection")];
        all.insert(collection.clone(), path_item(&collection, &operations, dialect));
        let operations = ["get", "put", "patch", "delete"].map(|action| operation(kind, action));
        all.insert(item.clone(), path_item(&item, &operations, dialect));
        for subresource in kind.subresources {
            let path = format!("{item}/{}", subresource.name);
            let operations: Vec<Operation<'_>> = subresource.verbs.iter().map(|v| below(subresource, v)).collect();
            all.insert(path.clone(), path_item(&path, &operations, dialect));
        }
    }
    all
}

/// The kind of a subresource's body.
pub(super) fn body_kind(subresource: &Subresource) -> Option<&'static Kind> {
    kind_of(Gvk::new(subresource.group, subresource.version, subresource.kind))
}

fn full_name(type_name: &str) -> String {
    schema().named(type_name).map(|id| schema().get(id).openapi_name()).unwrap_or_default()
}

fn gvk(kind: &Kind) -> Gvk<'static> {
    Gvk::new(kind.group, kind.version, kind.kind)
}

fn list(kind: &Kind) -> Operation<'static> {
    let item = full_name(kind.type_name);
    let answer = format!("{item}List");
    Operation { method: "get", action: "list", kind: gvk(kind), query: LIST, body: String::new(), answer }
}

fn create(kind: &Kind) -> Operation<'static> {
    let name = full_name(kind.type_name);
    Operation { method: "post", action: "post", kind: gvk(kind), query: WRITE, body: name.clone(), answer: name }
}

/// What is done to one object, or all of a collection.
fn operation(kind: &Kind, action: &'static str) -> Operation<'static> {
    let name = full_name(kind.type_name);
    let status = full_name("meta.v1.Status");
    let options = full_name("meta.v1.DeleteOptions");
    let (method, query, body, answer) = match action {
        "put" => ("put", WRITE, name.clone(), name),
        "patch" => ("patch", WRITE, String::new(), name),
        "delete" => ("delete", DELETE, options, status),
        "deletecollection" => ("delete", LIST, options, status),
        _ => ("get", READ, String::new(), name),
    };
    Operation { method, action, kind: gvk(kind), query, body, answer }
}

/// What is done to a subresource, by its discovery verb.
fn below(subresource: &Subresource, verb: &str) -> Operation<'static> {
    let kind = Gvk::new(subresource.group, subresource.version, subresource.kind);
    let name = body_kind(subresource).map(|k| full_name(k.type_name)).unwrap_or_default();
    let body = name.clone();
    match (subresource.name, verb) {
        ("log", _) => {
            Operation { method: "get", action: "get", kind, query: LOG, body: String::new(), answer: String::new() }
        }
        (_, "create") => Operation { method: "post", action: "post", kind, query: WRITE, body, answer: name },
        (_, "update") => Operation { method: "put", action: "put", kind, query: WRITE, body, answer: name },
        (_, "patch") => {
            Operation { method: "patch", action: "patch", kind, query: WRITE, body: String::new(), answer: name }
        }
        _ => Operation { method: "get", action: "get", kind, query: READ, body: String::new(), answer: name },
    }
}

fn path_item(path: &str, operations: &[Operation<'_>], dialect: Dialect) -> Value {
    let mut item = Map::new();
    for operation in operations {
        item.insert(operation.method.to_owned(), written(operation, path, dialect));
    }
    let mut parameters = Vec::new();
    for name in ["name", "namespace"].iter().filter(|n| path.contains(&format!("{{{n}}}"))) {
        let mut parameter =
            json!({"name": name, "in": "path", "required": true, "description": format!("The {name} of the object.")});
        typed(&mut parameter, "string", dialect);
        parameters.push(parameter);
    }
    if !parameters.is_empty() {
        item.insert("parameters".to_owned(), Value::Array(parameters));
    }
    Value::Object(item)
}

fn typed(parameter: &mut Value, kind: &str, dialect: Dialect) {
    match dialect {
        Dialect::V2 => parameter["type"] = kind.into(),
        Dialect::V3 => parameter["schema"] = json!({"type": kind}),
    }
}

fn written(operation: &Operation<'_>, path: &str, dialect: Dialect) -> Value {
    let kind = operation.kind;
    let mut parameters: Vec<Value> = Vec::new();
    for (name, type_name, docs) in operation.query {
        let mut parameter = json!({"name": name, "in": "query", "description": docs});
        typed(&mut parameter, type_name, dialect);
        parameters.push(parameter);
    }
    let is_patch = operation.method == "patch";
    let media: &[&str] = if is_patch { PATCHES } else { BODIES };
    let body = match (is_patch, operation.body.is_empty()) {
        (true, _) => Some(json!({"type": "object"})),
        (false, false) => Some(json!({"$ref": dialect.reference(&operation.body)})),
        (false, true) => None,
    };
    let answer = match operation.answer.as_str() {
        "" => json!({"type": "string"}),
        name => json!({"$ref": dialect.reference(name)}),
    };
    let mut written = json!({
        "operationId": operation_id(operation, path),
        "tags": [kind.api_version().replace('/', "_")],
        "x-kubernetes-action": operation.action,
        "x-kubernetes-group-version-kind": {"group": kind.group, "version": kind.version, "kind": kind.kind},
    });
    match dialect {
        Dialect::V2 => {
            if let Some(schema) = body {
                let required = operation.method != "delete";
                parameters.push(json!({"name": "body", "in": "body", "required": required, "schema": schema}));
                written["consumes"] = json!(media);
            }
            written["produces"] = json!(["application/json"]);
            written["responses"] = json!({"200": {"description": "OK", "schema": answer}});
        }
        Dialect::V3 => {
            if let Some(schema) = body {
                let content: Map<String, Value> =
                    media.iter().map(|m| ((*m).to_owned(), json!({"schema": schema}))).collect();
                written["requestBody"] = json!({"required": operation.method != "delete", "content": content});
            }
            let content = json!({"application/json": {"schema": answer}});
            written["responses"] = json!({"200": {"description": "OK", "content": content}});
        }
    }
    written["parameters"] = Value::Array(parameters);
    written
}

/// A unique name such as `patch_apps_v1_namespaces_deployments_scale`.
fn operation_id(operation: &Operation<'_>, path: &str) -> String {
    let parts = path.split('/').filter(|p| !p.is_empty() && !p.starts_with('{') && *p != "apis");
    let parts = parts.map(|p| p.replace(['.', '-'], "_")).collect::<Vec<_>>().join("_");
    let one = if path.ends_with("{name}") || path.contains("{name}/") { "_one" } else { "" };
    format!("{}_{parts}{one}", operation.action)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::KINDS;
    use std::collections::BTreeSet;

    #[test]
    fn operations_have_unique_names() {
        let kinds: Vec<&Kind> = KINDS.iter().collect();
        let mut seen = BTreeSet::new();
        for (path, item) in paths(&kinds, Dialect::V2) {
            for (method, operation) in item.as_object().into_iter().flatten().filter(|(m, _)| *m != "parameters") {
                let id = operation["operationId"].as_str().unwrap_or_default().to_owned();
                assert!(seen.insert(id.clone()), "{method} {path}: {id} stands twice");
            }
        }
        assert!(seen.len() > 80);
    }
}
