//! Field validation: unknown fields, values of the wrong type, duplicate keys, and fields that are
//! carried but not acted on. Rules about values (names, ranges, required combinations) belong to the
//! entities, not here.

mod duplicate;
mod value;

pub use duplicate::{DuplicateError, duplicate_fields};

use crate::schema::{Base, Field, Gvk, Shape, TypeId, schema};
use serde_json::{Map, Value};
use std::fmt;

/// What is wrong with one field of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldProblem {
    /// Such as `spec.template.spec.containers[0].imag`.
    pub path: String,
    /// What kind of problem it is.
    pub kind: ProblemKind,
    /// For a person, and in Kubernetes' words where it has any: `unknown field "spec.imag"`.
    pub message: String,
}

/// The kinds of [`FieldProblem`]. Strict validation refuses both, `Warn` and `Ignore` let unknown fields
/// through, and nothing lets a wrong type through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProblemKind {
    /// The kind has no such field.
    Unknown,
    /// The field cannot hold such a value.
    WrongType,
}

impl fmt::Display for FieldProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// At most so many problems are collected: a body of garbage must not become a larger answer.
const MOST_PROBLEMS: usize = 100;

/// Finds the fields that the kind does not have, and values of the wrong type. Of a kind that is not in
/// the table only `metadata` is checked, for such objects have a free body.
#[must_use]
pub fn check_fields(gvk: Gvk<'_>, object: &Value) -> Vec<FieldProblem> {
    let mut problems = Vec::new();
    match schema().of_kind(gvk) {
        Some(id) => check_object(id, object, &mut Path::default(), &mut problems),
        None => {
            let meta = schema().named("meta.v1.ObjectMeta");
            if let (Some(id), Some(metadata)) = (meta, object.get("metadata")) {
                let mut path = Path::default();
                path.with_field("metadata", |path| check_object(id, metadata, path, &mut problems));
            }
        }
    }
    problems
}

/// Finds the fields that Kubernetes requires and that are absent, outside `status`: paths such as
/// `spec.template.spec.containers[0].name`.
#[must_use]
pub fn missing_fields(gvk: Gvk<'_>, object: &Value) -> Vec<String> {
    let mut missing = Vec::new();
    if let Some(id) = schema().of_kind(gvk) {
        visit(id, object, &mut Path::default(), &mut |id, map, path| {
            for field in schema().get(id).fields.iter().filter(|f| f.required) {
                let absent = map.get(field.name).is_none_or(|v| v.is_null() || v == "");
                if absent && missing.len() < MOST_PROBLEMS {
                    path.with_field(field.name, |path| missing.push(path.to_string()));
                }
            }
        });
    }
    missing
}

/// Finds the fields that a client set to something other than their default and that Steersman carries
/// without acting on them, for `Warning` headers. `status` is not looked at: clients do not write it.
#[must_use]
pub fn carried_fields(gvk: Gvk<'_>, object: &Value) -> Vec<String> {
    let mut carried = Vec::new();
    if let Some(id) = schema().of_kind(gvk) {
        visit(id, object, &mut Path::default(), &mut |id, map, path| {
            for (name, value) in map {
                let Some(field) = schema().get(id).field(name) else { continue };
                if !field.acted && !is_default(field, value) && carried.len() < MOST_PROBLEMS {
                    path.with_field(name, |path| carried.push(path.to_string()));
                }
            }
        });
    }
    carried
}

/// Whether a value says no more than its absence would.
fn is_default(field: &Field, value: &Value) -> bool {
    if field.default.as_ref() == Some(value) || field.neutral.as_ref() == Some(value) {
        return true;
    }
    match value {
        Value::Null => true,
        Value::Bool(false) => !field.pointer,
        Value::Number(number) => !field.pointer && number.as_i64() == Some(0),
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::Bool(true) => false,
    }
}

/// What is called with the type, the fields and the place of an object.
type Each<'a> = dyn FnMut(TypeId, &Map<String, Value>, &mut Path) + 'a;

/// Calls `each` with every object that the table knows and Steersman acts on, from the outside in.
fn visit(id: TypeId, value: &Value, path: &mut Path, each: &mut Each<'_>) {
    let Value::Object(map) = value else { return };
    each(id, map, path);
    for (name, value) in map {
        if path.is_root() && name == "status" {
            continue;
        }
        let Some(field) = schema().get(id).field(name) else { continue };
        let Base::Object(inner) = field.base else { continue };
        if !field.acted {
            continue;
        }
        path.with_field(name, |path| match (field.shape, value) {
            (Shape::One, value) => visit(inner, value, path, each),
            (Shape::List(_), Value::Array(list)) => {
                for (at, value) in list.iter().enumerate() {
                    path.with_index(at, |path| visit(inner, value, path, each));
                }
            }
            (Shape::Map, Value::Object(map)) => {
                for (key, value) in map {
                    path.with_field(key, |path| visit(inner, value, path, each));
                }
            }
            _ => {}
        });
    }
}

fn check_object(id: TypeId, value: &Value, path: &mut Path, problems: &mut Vec<FieldProblem>) {
    let map = match value {
        Value::Null => return,
        Value::Object(map) => map,
        other => return wrong(path, "an object", other, problems),
    };
    let known = schema().get(id);
    for (name, value) in map {
        match known.field(name) {
            Some(field) => path.with_field(name, |path| check_field(field, value, path, problems)),
            None => path.with_field(name, |path| {
                let near = nearest(name, known.fields.iter().map(|f| f.name));
                let hint = near.map(|n| format!(", did you mean {n:?}?")).unwrap_or_default();
                push(problems, path, ProblemKind::Unknown, format!("unknown field \"{path}\"{hint}"));
            }),
        }
    }
}

fn check_field(field: &Field, value: &Value, path: &mut Path, problems: &mut Vec<FieldProblem>) {
    match (field.shape, value) {
        (_, Value::Null) => {}
        (Shape::One, value) => check_one(field.base, value, path, problems),
        (Shape::List(_), Value::Array(list)) => {
            for (at, value) in list.iter().enumerate() {
                path.with_index(at, |path| check_one(field.base, value, path, problems));
            }
        }
        (Shape::List(_), other) => wrong(path, "a list", other, problems),
        (Shape::Map, Value::Object(map)) => {
            for (key, value) in map {
                path.with_field(key, |path| check_one(field.base, value, path, problems));
            }
        }
        (Shape::Map, other) => wrong(path, "a map", other, problems),
    }
}

fn check_one(base: Base, value: &Value, path: &mut Path, problems: &mut Vec<FieldProblem>) {
    match base {
        Base::Object(id) => check_object(id, value, path, problems),
        _ if value.is_null() => {}
        base => {
            if let Some(expected) = value::expected(base, value) {
                wrong(path, expected, value, problems);
            }
        }
    }
}

fn wrong(path: &Path, expected: &str, found: &Value, problems: &mut Vec<FieldProblem>) {
    let subject = if path.is_root() { "the body".to_owned() } else { path.to_string() };
    let message = format!("{subject}: expected {expected}, found {}", value::describe(found));
    push(problems, path, ProblemKind::WrongType, message);
}

fn push(problems: &mut Vec<FieldProblem>, path: &Path, kind: ProblemKind, message: String) {
    if problems.len() < MOST_PROBLEMS {
        problems.push(FieldProblem { path: path.to_string(), kind, message });
    }
}

/// The known name that a misspelt one is closest to, at most two edits away.
fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    // Long names are not misspelt by two letters; the bound keeps the work small.
    if name.len() > 64 {
        return None;
    }
    let allowed = if name.len() < 4 { 1 } else { 2 };
    known.map(|k| (distance(name, k), k)).filter(|(d, _)| *d <= allowed).min().map(|(_, k)| k)
}

/// Edits (insert, remove, replace) from one word to the other.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, cb) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(ca != *cb);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

/// Where the walk is, as text such as `spec.ports[0].name`.
#[derive(Debug, Default)]
pub(crate) struct Path(String);

impl Path {
    fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// Goes one field deeper; gives what [`Path::leave`] needs to return.
    pub(crate) fn enter(&mut self, name: &str) -> usize {
        let length = self.0.len();
        if length > 0 {
            self.0.push('.');
        }
        self.0.push_str(name);
        length
    }

    /// Returns to where [`Path::enter`] was called.
    pub(crate) fn leave(&mut self, length: usize) {
        self.0.truncate(length);
    }

    /// Runs `inside` one field deeper.
    pub(crate) fn with_field<T>(&mut self, name: &str, inside: impl FnOnce(&mut Self) -> T) -> T {
        let length = self.enter(name);
        let result = inside(self);
        self.leave(length);
        result
    }

    /// Runs `inside` one list element deeper.
    pub(crate) fn with_index<T>(&mut self, at: usize, inside: impl FnOnce(&mut Self) -> T) -> T {
        let length = self.0.len();
        self.0.push_str(&format!("[{at}]"));
        let result = inside(self);
        self.0.truncate(length);
        result
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const DEPLOYMENT: Gvk<'static> = Gvk::new("apps", "v1", "Deployment");
    const POD: Gvk<'static> = Gvk::new("", "v1", "Pod");

    fn messages(gvk: Gvk<'_>, object: Value) -> Vec<String> {
        check_fields(gvk, &object).into_iter().map(|p| p.message).collect()
    }

    #[test]
    fn an_unknown_field_is_named_with_its_path() {
        let object = json!({"spec": {"template": {"spec": {"containers": [{"name": "a", "imag": "x"}]}}}});
        let problems = check_fields(DEPLOYMENT, &object);
        assert_eq!(problems.len(), 1);
        assert_eq!(problems[0].path, "spec.template.spec.containers[0].imag");
        assert_eq!(problems[0].kind, ProblemKind::Unknown);
        assert_eq!(
            problems[0].message,
            r#"unknown field "spec.template.spec.containers[0].imag", did you mean "image"?"#
        );
    }

    #[test]
    fn wrong_types_are_explained() {
        assert_eq!(
            messages(DEPLOYMENT, json!({"spec": {"replicas": "3", "template": []}})),
            [
                r#"spec.replicas: expected a whole number of 32 bits, found the text "3""#,
                "spec.template: expected an object, found a list",
            ]
        );
        assert_eq!(messages(POD, json!(7)), ["the body: expected an object, found the number 7"]);
        assert_eq!(
            messages(POD, json!({"spec": {"containers": {}}})),
            ["spec.containers: expected a list, found an object"]
        );
        assert_eq!(
            messages(POD, json!({"metadata": {"labels": {"a": 1}}})),
            ["metadata.labels.a: expected text, found the number 1"]
        );
    }

    #[test]
    fn every_correct_form_passes() {
        let object = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "a", "creationTimestamp": null, "labels": null},
            "spec": {
                "containers": [{
                    "name": "c", "resources": {"limits": {"cpu": "100m", "memory": 1024}},
                    "readinessProbe": {"httpGet": {"port": "web"}}, "livenessProbe": {"tcpSocket": {"port": 80}},
                }],
                "volumes": [{"name": "v", "emptyDir": {}}],
            },
            "status": {"startTime": "2026-01-02T03:04:05Z"},
        });
        assert_eq!(check_fields(POD, &object), []);
    }

    #[test]
    fn a_kind_outside_the_table_has_a_free_body() {
        let gvk = Gvk::new("example.org", "v1", "Widget");
        let object = json!({"metadata": {"nam": "x"}, "spec": {"anything": 1}});
        assert_eq!(messages(gvk, object), [r#"unknown field "metadata.nam", did you mean "name"?"#]);
    }

    #[test]
    fn problems_are_bounded() {
        let object: Map<String, Value> = (0..5000).map(|n| (format!("field{n}"), json!(1))).collect();
        assert_eq!(check_fields(POD, &Value::Object(object)).len(), MOST_PROBLEMS);
    }

    #[test]
    fn carried_fields_are_those_set_to_something() {
        let object = json!({
            "metadata": {"name": "a"},
            "spec": {
                "dnsPolicy": "ClusterFirst", "hostNetwork": false, "hostPID": true, "shareProcessNamespace": true,
                "containers": [{"name": "c", "tty": true, "stdin": false, "terminationMessagePolicy": "File"}],
                "volumes": [{"name": "v", "nfs": {"path": "/x", "server": "s"}}, {"name": "w", "emptyDir": {}}],
            },
            "status": {"phase": "Running"},
        });
        assert_eq!(
            carried_fields(POD, &object),
            ["spec.hostPID", "spec.shareProcessNamespace", "spec.containers[0].tty", "spec.volumes[0].nfs"]
        );
    }

    #[test]
    fn required_fields_are_missed() {
        let object = json!({"spec": {"containers": [{"image": "x"}, {"name": "b", "ports": [{}]}]}});
        assert_eq!(
            missing_fields(POD, &object),
            ["spec.containers[0].name", "spec.containers[1].ports[0].containerPort"]
        );
    }

    #[test]
    fn near_names_are_found() {
        assert_eq!(nearest("contaners", ["containers", "volumes"].into_iter()), Some("containers"));
        assert_eq!(nearest("zzz", ["containers", "volumes"].into_iter()), None);
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
