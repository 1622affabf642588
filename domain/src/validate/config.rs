//! ConfigMaps and Secrets.

use super::path::{Errors, Path};
use crate::{ConfigMap, Map, Secret, Str, names};

/// All values of a ConfigMap or Secret together.
const MOST_DATA_BYTES: usize = 1024 * 1024;

const FROZEN: &str = "field is immutable when `immutable` is set";

/// A ConfigMap.
pub(super) fn config_map(map: &ConfigMap, errors: &mut Errors) {
    let root = Path::root();
    let (data, binary) = (root.field("data"), root.field("binaryData"));
    let mut size = 0;
    for (key, value) in map.data.iter() {
        errors.named(&data.key(key), key, names::config_key(key));
        if map.binary_data.contains_key(key) {
            errors.invalid(&data.key(key), key.as_str(), "duplicate of key present in binaryData");
        }
        size += value.len();
    }
    size += bytes(&map.binary_data, &binary, errors);
    if size > MOST_DATA_BYTES {
        errors.too_long(&root.field("data"), MOST_DATA_BYTES);
    }
}

/// Checks keys and base64 values; answers the size of what they hold.
fn bytes(data: &Map<Str>, path: &Path<'_>, errors: &mut Errors) -> usize {
    let mut size = 0;
    for (key, value) in data.iter() {
        errors.named(&path.key(key), key, names::config_key(key));
        match base64_len(value) {
            Some(len) => size += len,
            // The value itself stays out of the message: it may be confidential.
            None => errors.invalid(&path.key(key), "", "must be base64: encode the bytes, or use stringData for text"),
        }
    }
    size
}

/// How many bytes a standard, padded base64 text holds; `None` when it is not one.
fn base64_len(text: &str) -> Option<usize> {
    let body = text.trim_end_matches('=');
    let padding = text.len() - body.len();
    let ok = text.len().is_multiple_of(4)
        && padding <= 2
        && body.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/'));
    ok.then(|| text.len() / 4 * 3 - padding)
}

/// What must be in a Secret of a type, where Kubernetes says so.
fn required_keys(kind: &str) -> &'static [&'static str] {
    match kind {
        "kubernetes.io/tls" => &["tls.crt", "tls.key"],
        "kubernetes.io/dockercfg" => &[".dockercfg"],
        "kubernetes.io/dockerconfigjson" => &[".dockerconfigjson"],
        "kubernetes.io/ssh-auth" => &["ssh-privatekey"],
        _ => &[],
    }
}

/// A Secret.
pub(super) fn secret(secret: &Secret, errors: &mut Errors) {
    let root = Path::root();
    let data = root.field("data");
    let size = bytes(&secret.data, &data, errors);
    if size > MOST_DATA_BYTES {
        errors.too_long(&data, MOST_DATA_BYTES);
    }
    for key in required_keys(&secret.kind) {
        if !secret.data.contains_key(key) {
            errors.required(&data.key(key), "");
        }
    }
    if secret.kind == "kubernetes.io/basic-auth"
        && !secret.data.contains_key("username")
        && !secret.data.contains_key("password")
    {
        errors.required(&data.key("username"), "");
        errors.required(&data.key("password"), "");
    }
    if secret.kind == "kubernetes.io/service-account-token"
        && !secret.metadata.annotations.contains_key("kubernetes.io/service-account.name")
    {
        let path = root.field("metadata");
        let path = path.field("annotations");
        errors.required(&path.key("kubernetes.io/service-account.name"), "");
    }
}

/// An immutable ConfigMap keeps its data and stays immutable.
pub(super) fn update_config_map(new: &ConfigMap, old: &ConfigMap, errors: &mut Errors) {
    if old.immutable != Some(true) {
        return;
    }
    let root = Path::root();
    for (field, same) in [
        ("immutable", new.immutable == Some(true)),
        ("data", new.data == old.data),
        ("binaryData", new.binary_data == old.binary_data),
    ] {
        if !same {
            errors.forbidden(&root.field(field), FROZEN);
        }
    }
}

/// A Secret keeps its type, and an immutable one its data.
pub(super) fn update_secret(new: &Secret, old: &Secret, errors: &mut Errors) {
    let root = Path::root();
    errors.immutable(&root.field("type"), new.kind.as_str(), new.kind == old.kind);
    if old.immutable == Some(true) {
        for (field, same) in [("immutable", new.immutable == Some(true)), ("data", new.data == old.data)] {
            if !same {
                errors.forbidden(&root.field(field), FROZEN);
            }
        }
    }
}
