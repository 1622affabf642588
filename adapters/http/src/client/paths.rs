//! The addresses of objects and selections.

use form_urlencoded::Serializer;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use steersman_application::client::{ApiError, Selection, Write, WriteOptions};
use steersman_domain::selector::{FieldSelector, Requirement, Selector};
use steersman_domain::{Key, Kind, Object, Str};

pub(super) fn key_of(object: &Object) -> Key {
    let meta = object.meta();
    Key { kind: object.kind(), namespace: meta.namespace.clone(), name: meta.name.clone() }
}

pub(super) fn key_of_write(write: &Write) -> Key {
    match write {
        Write::Create(object) | Write::Update(object, _) => key_of(object),
        Write::Delete(key, _) => key.clone(),
        Write::Bind { pod, .. } => pod.clone(),
    }
}

fn escaped(text: &str) -> impl std::fmt::Display + '_ {
    utf8_percent_encode(text, NON_ALPHANUMERIC)
}

/// All objects of a kind; of all namespaces when none is named.
pub(super) fn collection(kind: Kind, namespace: &str) -> String {
    let info = kind.info();
    let root = if info.group.is_empty() { "/api" } else { "/apis" };
    let place = if namespace.is_empty() { String::new() } else { format!("/namespaces/{}", escaped(namespace)) };
    format!("{root}/{}{place}/{}", info.api_version, info.plural)
}

pub(super) fn object(key: &Key) -> String {
    format!("{}/{}", collection(key.kind, &key.namespace), escaped(&key.name))
}

/// Objects that come from typed values have no unknown fields, so they are not looked for.
pub(super) fn options(options: &WriteOptions) -> String {
    let mut query = Serializer::new(String::new());
    query.append_pair("fieldValidation", "Ignore");
    if options.dry_run {
        query.append_pair("dryRun", "All");
    }
    if !options.field_manager.is_empty() {
        query.append_pair("fieldManager", &options.field_manager);
    }
    query.finish()
}

/// The kind and the path of a selection.
pub(super) fn selection(selection: &Selection) -> Result<(Kind, String), ApiError> {
    let Some(kind) = selection.scope.kind else {
        return Err(ApiError::NotSupported(
            "over a connection objects are listed and watched one kind at a time".into(),
        ));
    };
    let mut path = collection(kind, selection.scope.namespace.as_deref().unwrap_or_default());
    let mut query = Serializer::new(String::new());
    if !selection.labels.is_empty() {
        query.append_pair("labelSelector", &labels(&selection.labels));
    }
    if !selection.fields.0.is_empty() {
        query.append_pair("fieldSelector", &fields(&selection.fields));
    }
    let query = query.finish();
    if !query.is_empty() {
        path = format!("{path}?{query}");
    }
    Ok((kind, path))
}

fn labels(selector: &Selector) -> String {
    let join = |values: &[Str]| values.iter().map(|v| v.as_str()).collect::<Vec<_>>().join(",");
    let parts: Vec<String> = selector
        .0
        .iter()
        .map(|r| match r {
            Requirement::In(key, values) => format!("{key} in ({})", join(values)),
            Requirement::NotIn(key, values) => format!("{key} notin ({})", join(values)),
            Requirement::Exists(key) => key.to_string(),
            Requirement::NotExists(key) => format!("!{key}"),
            Requirement::Gt(key, than) => format!("{key}>{than}"),
            Requirement::Lt(key, than) => format!("{key}<{than}"),
        })
        .collect();
    parts.join(",")
}

fn fields(selector: &FieldSelector) -> String {
    let escape = |v: &str| v.replace('\\', "\\\\").replace(',', "\\,").replace('=', "\\=");
    let parts: Vec<String> = selector
        .0
        .iter()
        .map(|r| format!("{}{}{}", r.path, if r.equal { "=" } else { "!=" }, escape(&r.value)))
        .collect();
    parts.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_survive_the_way() {
        let text = "a in (b,c),d notin (e),f,!g,h>1,i<2";
        let selector = Selector::parse(text).expect("parses");
        assert_eq!(labels(&selector), text);
        let written = FieldSelector::parse("metadata.name=a\\,b,status.phase!=Running").expect("parses");
        assert_eq!(FieldSelector::parse(&fields(&written)), Ok(written));
    }

    #[test]
    fn objects_have_their_addresses() {
        assert_eq!(object(&Key::new(Kind::Deployment, "d", "a.b")), "/apis/apps/v1/namespaces/d/deployments/a%2Eb");
        assert_eq!(collection(Kind::Node, ""), "/api/v1/nodes");
    }
}
