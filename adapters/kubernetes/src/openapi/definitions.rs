//! The types of an OpenAPI document.

use super::Dialect;
use crate::schema::{Base, Field, KINDS, Kind, ListKind, ListMerge, Shape, Type, schema};
use serde_json::{Map, Value, json};

const QUANTITY: &str = "io.k8s.apimachinery.pkg.api.resource.Quantity";
const INT_OR_STRING: &str = "io.k8s.apimachinery.pkg.util.intstr.IntOrString";
const TIME: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Time";
const MICRO_TIME: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime";
const LIST_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta";

/// The plain types that have names of their own.
pub(super) fn scalars() -> Map<String, Value> {
    let text = |name: &str, format: &str, docs: &str| {
        let mut definition = json!({"type": "string", "description": docs});
        if !format.is_empty() {
            definition["format"] = format.into();
        }
        (name.to_owned(), definition)
    };
    Map::from_iter([
        text(QUANTITY, "", "A quantity such as 100m, 2 or 1Gi."),
        text(INT_OR_STRING, "int-or-string", "A whole number, or text such as 25% or the name of a port."),
        text(TIME, "date-time", "A time in RFC 3339, in whole seconds."),
        text(MICRO_TIME, "date-time", "A time in RFC 3339, in microseconds."),
    ])
}

/// One type.
pub(super) fn definition(known: &Type, dialect: Dialect) -> Value {
    let properties: Map<String, Value> =
        known.fields.iter().map(|f| (f.name.to_owned(), property(f, dialect))).collect();
    let mut definition = json!({"type": "object", "description": known.docs, "properties": properties});
    let required: Vec<&str> = known.fields.iter().filter(|f| f.required).map(|f| f.name).collect();
    if !required.is_empty() {
        definition["required"] = json!(required);
    }
    let kinds = kinds_of(known);
    if !kinds.is_empty() {
        definition["x-kubernetes-group-version-kind"] = Value::Array(kinds);
    }
    definition
}

/// The kinds that have this type; options belong to every group.
fn kinds_of(known: &Type) -> Vec<Value> {
    let gvk = |group: &str, version: &str, kind: &str| json!({"group": group, "version": version, "kind": kind});
    match known.name {
        "meta.v1.Status" => vec![gvk("", "v1", "Status")],
        "meta.v1.DeleteOptions" => {
            let mut groups: Vec<Value> = KINDS
                .iter()
                .filter(|k| !k.plural.is_empty())
                .map(|k| gvk(k.group, k.version, "DeleteOptions"))
                .collect();
            groups.dedup();
            groups
        }
        name => KINDS.iter().filter(|k| k.type_name == name).map(|k| gvk(k.group, k.version, k.kind)).collect(),
    }
}

/// The list type of a kind, which the field table leaves out because all are alike.
pub(super) fn list(kind: &Kind, dialect: Dialect) -> (String, Value) {
    let item = schema().named(kind.type_name).map(|id| schema().get(id).openapi_name()).unwrap_or_default();
    let name = format!("{}.{}List", item.rsplit_once('.').map_or("", |(p, _)| p), kind.kind);
    let text = |docs: &str| json!({"type": "string", "description": docs});
    let mut metadata = reference(LIST_META, dialect);
    describe(&mut metadata, "Standard list metadata.");
    let definition = json!({
        "type": "object",
        "description": format!("{}List is a list of {} objects.", kind.kind, kind.kind),
        "required": ["items"],
        "properties": {
            "apiVersion": text("The versioned schema of this representation of an object."),
            "kind": text("The REST resource that this object represents, in CamelCase."),
            "metadata": metadata,
            "items": {"type": "array", "description": "The objects.", "items": reference(&item, dialect)},
        },
        "x-kubernetes-group-version-kind": [
            {"group": kind.group, "version": kind.version, "kind": format!("{}List", kind.kind)}
        ],
    });
    (name, definition)
}

/// A reference to a named type. In version 3 nothing may stand beside `$ref`, so it is wrapped.
fn reference(name: &str, dialect: Dialect) -> Value {
    let target = json!({"$ref": dialect.reference(name)});
    if dialect == Dialect::V3 { json!({"allOf": [target]}) } else { target }
}

fn describe(schema: &mut Value, docs: &str) {
    if !docs.is_empty() {
        schema["description"] = docs.into();
    }
}

fn property(field: &Field, dialect: Dialect) -> Value {
    let mut property = match field.shape {
        Shape::One => value(field.base, dialect),
        Shape::List(_) => json!({"type": "array", "items": value(field.base, dialect)}),
        Shape::Map => json!({"type": "object", "additionalProperties": value(field.base, dialect)}),
    };
    describe(&mut property, field.docs);
    if let Some(default) = field.default.as_ref().filter(|d| !d.is_object()) {
        property["default"] = default.clone();
    }
    if let Shape::List(kind) = field.shape {
        property["x-kubernetes-list-type"] = match kind {
            ListKind::Atomic => "atomic",
            ListKind::Set => "set",
            ListKind::Map => "map",
        }
        .into();
        if !field.keys.is_empty() {
            property["x-kubernetes-list-map-keys"] = json!(field.keys);
        }
    }
    if field.atomic {
        property["x-kubernetes-map-type"] = "atomic".into();
    }
    let merge = matches!(field.merge, ListMerge::By(_) | ListMerge::Union);
    let strategy = match (merge, field.retain_keys) {
        (true, true) => "merge,retainKeys",
        (true, false) => "merge",
        (false, true) => "retainKeys",
        (false, false) => "",
    };
    if !strategy.is_empty() {
        property["x-kubernetes-patch-strategy"] = strategy.into();
    }
    if let ListMerge::By(key) = field.merge {
        property["x-kubernetes-patch-merge-key"] = key.into();
    }
    property
}

fn value(base: Base, dialect: Dialect) -> Value {
    match base {
        Base::String => json!({"type": "string"}),
        Base::Int32 => json!({"type": "integer", "format": "int32"}),
        Base::Int64 => json!({"type": "integer", "format": "int64"}),
        Base::Bool => json!({"type": "boolean"}),
        Base::Bytes => json!({"type": "string", "format": "byte"}),
        Base::Quantity => reference(QUANTITY, dialect),
        Base::IntOrString => reference(INT_OR_STRING, dialect),
        Base::Time => reference(TIME, dialect),
        Base::MicroTime => reference(MICRO_TIME, dialect),
        Base::Raw => json!({"type": "object"}),
        Base::Object(id) => reference(&schema().get(id).openapi_name(), dialect),
    }
}
