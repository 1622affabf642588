//! Parses the texts of the field table.

use super::{Base, Field, KINDS, ListKind, ListMerge, Schema, Shape, Type, TypeId, Wire};
use serde_json::Value;
use std::collections::BTreeMap;

/// The texts that make the table.
pub(super) struct Texts {
    pub(super) types: &'static str,
    pub(super) defaults: &'static str,
    pub(super) neutral: &'static str,
    pub(super) acted: &'static str,
    pub(super) pointers: &'static str,
}

/// Builds the table.
///
/// # Errors
/// Names the line or the type that does not fit.
pub(super) fn load(texts: &Texts) -> Result<Schema, String> {
    let mut types = read_types(texts.types)?;
    flatten(&mut types);
    add_type_meta(&mut types);
    for parsed in &mut types {
        parsed.fields.sort_by_key(|f| f.field.name);
        let wire = parsed.fields.iter().enumerate().filter(|(_, f)| f.tag > 0);
        let wire = wire.filter_map(|(at, f)| Some((f.tag, Wire::Field(u16::try_from(at).ok()?))));
        parsed.wire = wire.chain(parsed.inlined.iter().map(|(tag, id)| (*tag, Wire::Inline(*id)))).collect();
        parsed.wire.sort_by_key(|(tag, _)| *tag);
    }
    let finish = |p: Parsed| Type {
        name: p.name,
        docs: p.docs,
        fields: p.fields.into_iter().map(|f| f.field).collect(),
        wire: p.wire,
    };
    let mut schema = Schema { types: types.into_iter().map(finish).collect() };
    for (type_name, field, value) in rows(texts.defaults, '\t') {
        find(&mut schema, type_name, field)?.default = Some(json(type_name, field, value)?);
    }
    for (type_name, field, value) in rows(texts.neutral, '\t') {
        find(&mut schema, type_name, field)?.neutral = Some(json(type_name, field, value)?);
    }
    for (type_name, names) in lines(texts.acted).filter_map(|l| l.split_once(' ')) {
        for name in names.split(' ') {
            mark(&mut schema, type_name, name, |f| f.acted = true)?;
        }
    }
    for (type_name, names) in lines(texts.pointers).filter_map(|l| l.split_once(' ')) {
        for name in names.split(' ') {
            mark(&mut schema, type_name, name, |f| f.pointer = true)?;
        }
    }
    Ok(schema)
}

/// A type while it is being built.
struct Parsed {
    name: &'static str,
    docs: &'static str,
    fields: Vec<Numbered>,
    inlined: Vec<(u32, TypeId)>,
    wire: Vec<(u32, Wire)>,
}

/// A field with its protobuf number; 0 when another message carries it.
#[derive(Clone)]
struct Numbered {
    tag: u32,
    field: Field,
}

fn lines(text: &'static str) -> impl Iterator<Item = &'static str> {
    text.lines().filter(|l| !l.is_empty() && !l.starts_with('#'))
}

fn rows(text: &'static str, by: char) -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    lines(text).filter_map(move |l| {
        let mut parts = l.splitn(3, by);
        Some((parts.next()?, parts.next()?, parts.next()?))
    })
}

fn json(type_name: &str, field: &str, text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|e| format!("value of {type_name}.{field}: {e}"))
}

fn read_types(text: &'static str) -> Result<Vec<Parsed>, String> {
    let mut ids = BTreeMap::new();
    for name in lines(text).filter_map(|l| l.strip_prefix("T\t")?.split('\t').next()) {
        let id = u16::try_from(ids.len()).map_err(|_| "too many types".to_owned())?;
        ids.insert(name, id);
    }
    // Positions follow the order of names, so that a type is found by binary search.
    for (at, id) in ids.values_mut().enumerate() {
        *id = u16::try_from(at).unwrap_or(u16::MAX);
    }
    let mut all: Vec<Parsed> = Vec::with_capacity(ids.len());
    for line in lines(text) {
        let parts: Vec<&'static str> = line.split('\t').collect();
        match parts.as_slice() {
            ["T", name, docs] => {
                all.push(Parsed { name, docs, fields: Vec::new(), inlined: Vec::new(), wire: Vec::new() });
            }
            ["F", name, tag, kind, flags, docs] => {
                let parsed = all.last_mut().ok_or("a field before any type")?;
                let tag: u32 = tag.parse().map_err(|_| format!("field number in {line:?}"))?;
                let (shape, word) = split_shape(kind);
                let base = base(word, &ids).ok_or_else(|| format!("unknown type in {line:?}"))?;
                match (*name, base) {
                    ("-", Base::Object(id)) => parsed.inlined.push((tag, id)),
                    ("-", _) => return Err(format!("only messages are inlined: {line:?}")),
                    _ => parsed.fields.push(Numbered { tag, field: field(name, base, shape, flags, docs) }),
                }
            }
            _ => return Err(format!("cannot read {line:?}")),
        }
    }
    all.sort_by_key(|t| t.name);
    Ok(all)
}

fn split_shape(kind: &'static str) -> (Shape, &'static str) {
    match (kind.strip_prefix('['), kind.strip_prefix('{')) {
        (Some(word), _) => (Shape::List(ListKind::Atomic), word),
        (_, Some(word)) => (Shape::Map, word),
        _ => (Shape::One, kind),
    }
}

fn base(word: &str, ids: &BTreeMap<&str, u16>) -> Option<Base> {
    Some(match word {
        "string" => Base::String,
        "int32" => Base::Int32,
        "int64" => Base::Int64,
        "bool" => Base::Bool,
        "bytes" => Base::Bytes,
        "quantity" => Base::Quantity,
        "intstr" => Base::IntOrString,
        "time" => Base::Time,
        "microtime" => Base::MicroTime,
        "raw" => Base::Raw,
        name => Base::Object(TypeId(*ids.get(name)?)),
    })
}

fn field(name: &'static str, base: Base, shape: Shape, flags: &'static str, docs: &'static str) -> Field {
    let mut field = Field {
        name,
        base,
        shape,
        required: false,
        pointer: false,
        acted: false,
        merge: ListMerge::Replace,
        retain_keys: false,
        atomic: false,
        keys: Vec::new(),
        default: None,
        neutral: None,
        docs,
    };
    for flag in flags.split(' ') {
        match flag.split_once('=').unwrap_or((flag, "")) {
            ("required", _) => field.required = true,
            ("set", _) => field.shape = Shape::List(ListKind::Set),
            ("map", _) => field.shape = Shape::List(ListKind::Map),
            ("keys", keys) => field.keys = keys.split(',').collect(),
            ("merge", "") => field.merge = ListMerge::Union,
            ("merge", key) => field.merge = ListMerge::By(key),
            ("retain", _) => field.retain_keys = true,
            ("atomicmap", _) => field.atomic = true,
            _ => {}
        }
    }
    field
}

/// Gives every type the fields of the messages that are inlined in it.
fn flatten(types: &mut [Parsed]) {
    let fields: Vec<Vec<Numbered>> = types.iter().map(|t| t.fields.clone()).collect();
    for parsed in types.iter_mut() {
        for (_, id) in &parsed.inlined {
            for inner in &fields[usize::from(id.0)] {
                parsed.fields.push(Numbered { tag: 0, field: inner.field.clone() });
            }
        }
    }
}

/// `apiVersion` and `kind` belong to the types that travel alone; protobuf carries them outside.
fn add_type_meta(types: &mut [Parsed]) {
    const API_VERSION: &str = "The versioned schema of this representation of an object.";
    const KIND: &str = "The REST resource that this object represents, in CamelCase.";
    for parsed in types.iter_mut() {
        let alone = KINDS.iter().any(|k| k.type_name == parsed.name)
            || matches!(parsed.name, "meta.v1.DeleteOptions" | "meta.v1.Status");
        if alone {
            for (name, docs) in [("apiVersion", API_VERSION), ("kind", KIND)] {
                let mut field = field(name, Base::String, Shape::One, "-", docs);
                field.acted = true;
                parsed.fields.push(Numbered { tag: 0, field });
            }
        }
    }
}

fn find<'a>(schema: &'a mut Schema, type_name: &str, name: &str) -> Result<&'a mut Field, String> {
    let id = schema.named(type_name).ok_or_else(|| format!("no type {type_name}"))?;
    let fields = &mut schema.types[usize::from(id.0)].fields;
    fields.iter_mut().find(|f| f.name == name).ok_or_else(|| format!("{type_name} has no field {name}"))
}

/// Applies `set` to the named field, or to all fields for `*`.
fn mark(schema: &mut Schema, type_name: &str, name: &str, set: impl Fn(&mut Field)) -> Result<(), String> {
    if name == "*" {
        let id = schema.named(type_name).ok_or_else(|| format!("no type {type_name}"))?;
        schema.types[usize::from(id.0)].fields.iter_mut().for_each(set);
    } else {
        set(find(schema, type_name, name)?);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fact_about_an_unknown_field_is_refused() {
        let texts = Texts {
            types: "T\tcore.v1.Thing\tA thing.\nF\tname\t1\tstring\t-\tIts name.\n",
            defaults: "core.v1.Thing\tnmae\t\"x\"\n",
            neutral: "",
            acted: "",
            pointers: "",
        };
        assert_eq!(load(&texts).err().as_deref(), Some("core.v1.Thing has no field nmae"));
    }

    #[test]
    fn a_reference_to_an_unknown_type_is_refused() {
        let texts =
            Texts { types: "T\ta\tb\nF\tname\t1\tnowhere\t-\tx\n", defaults: "", neutral: "", acted: "", pointers: "" };
        assert!(load(&texts).err().is_some_and(|e| e.contains("unknown type")));
    }
}
