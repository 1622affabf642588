//! Reads the messages of `k8s-pb`: field numbers, types and list markers.

use super::bindings::{plain, visit};
use anyhow::Result;
use std::collections::BTreeMap;
use std::path::Path;

/// One protobuf message.
pub(super) struct Message {
    /// Such as `core.v1.VolumeSource`, in the spelling of the crate.
    pub(super) name: String,
    pub(super) docs: String,
    pub(super) fields: Vec<MessageField>,
}

/// One field of a [`Message`].
#[derive(Default)]
pub(super) struct MessageField {
    /// The name as the crate spells it, in snake case.
    pub(super) snake: String,
    /// The name without underscores: the crates split words such as `targetWWNs` differently.
    pub(super) key: String,
    pub(super) tag: u32,
    /// `[` for a list, `{` for a map by string, else nothing.
    pub(super) shape: &'static str,
    /// A scalar word, or the lower-case name of a message.
    pub(super) base: String,
    /// The name of the message as written.
    pub(super) written: String,
    pub(super) docs: String,
    markers: Vec<(String, String)>,
}

impl MessageField {
    /// How lists and maps merge: `set`, `map`, `keys=..`, `merge=..`, `retain`, `atomicmap`.
    pub(super) fn flags(&self) -> Vec<String> {
        let marker = |name: &'static str| self.markers.iter().filter(move |(n, _)| n == name).map(|(_, v)| v.as_str());
        let mut flags: Vec<String> = Vec::new();
        flags.extend(marker("listType").filter(|v| matches!(*v, "set" | "map")).map(str::to_owned).take(1));
        let keys: Vec<&str> = marker("listMapKey").collect();
        if !keys.is_empty() {
            flags.push(format!("keys={}", keys.join(",")));
        }
        let strategy = marker("patchStrategy").next().unwrap_or_default();
        if strategy.split(',').any(|s| s == "merge") {
            flags.push(marker("patchMergeKey").next().map_or("merge".to_owned(), |key| format!("merge={key}")));
        }
        if strategy.split(',').any(|s| s == "retainKeys") {
            flags.push("retain".to_owned());
        }
        if marker("mapType").chain(marker("structType")).any(|v| v == "atomic") {
            flags.push("atomicmap".to_owned());
        }
        flags
    }
}

/// All messages under `folder`, by lower-case name.
pub(super) fn read(folder: &Path) -> Result<BTreeMap<String, Message>> {
    let mut all = BTreeMap::new();
    for (path, module) in modules(folder) {
        if path.is_dir() {
            let own = path.join("mod.rs");
            if let Ok(text) = std::fs::read_to_string(&own) {
                for message in parse(&text, &module) {
                    all.insert(message.name.to_lowercase(), message);
                }
            }
        }
    }
    // An empty result means that the crate changed its layout: say so rather than write an empty table.
    if all.is_empty() {
        let mut files = 0;
        visit(folder, &mut |_| files += 1)?;
        anyhow::bail!("no message found in {files} files under {}", folder.display());
    }
    Ok(all)
}

/// The folders that hold messages which Kubernetes objects refer to, with the short module name.
fn modules(folder: &Path) -> Vec<(std::path::PathBuf, String)> {
    let mut all = Vec::new();
    let machinery = folder.join("apimachinery").join("pkg");
    all.push((machinery.join("apis/meta/v1"), "meta.v1".to_owned()));
    all.push((machinery.join("runtime"), "runtime".to_owned()));
    all.push((machinery.join("util/intstr"), "intstr".to_owned()));
    all.push((machinery.join("api/resource"), "resource".to_owned()));
    let groups =
        ["core", "apps", "discovery", "coordination", "events", "node", "policy", "scheduling", "autoscaling", "batch"];
    for group in groups.into_iter().chain(["authentication", "authorization"]) {
        all.push((folder.join("api").join(group).join("v1"), format!("{group}.v1")));
    }
    all.push((folder.join("api/autoscaling/v2"), "autoscaling.v2".to_owned()));
    all
}

/// The messages of one generated file.
fn parse(text: &str, module: &str) -> Vec<Message> {
    let mut all: Vec<Message> = Vec::new();
    let mut docs: Vec<String> = Vec::new();
    let mut field: Option<MessageField> = None;
    let mut rust = String::new();
    for line in text.lines() {
        let trimmed = line.trim();
        if let Some(doc) = trimmed.strip_prefix("///") {
            docs.push(doc.trim().to_owned());
        } else if let Some(rest) = trimmed.strip_prefix("pub struct ") {
            let name = format!("{module}.{}", rest.trim_end_matches([' ', '{', '}']));
            let (docs, _) = split_markers(&std::mem::take(&mut docs));
            all.push(Message { name, docs, fields: Vec::new() });
        } else if let Some(rest) = trimmed.strip_prefix("#[prost(") {
            field = Some(declared(rest));
        } else if field.is_some() && !trimmed.is_empty() {
            rust.push_str(trimmed);
            // A type may span lines; the field ends with the comma outside all brackets.
            if !(rust.ends_with(',') && rust.matches('<').count() == rust.matches('>').count()) {
                continue;
            }
            let mut done = field.take().unwrap_or_default();
            let (text, markers) = split_markers(&std::mem::take(&mut docs));
            (done.docs, done.markers) = (text, markers);
            let (key, kind) = rust.trim_start_matches("pub ").split_once(':').unwrap_or((&rust, ""));
            done.snake = key.trim().trim_start_matches("r#").to_owned();
            done.key = plain(&done.snake);
            if done.base == "message" {
                done.written = message_name(kind, module);
                done.base = done.written.to_lowercase();
            }
            rust.clear();
            if let Some(message) = all.last_mut() {
                message.fields.push(done);
            }
        } else if !trimmed.starts_with("#[") {
            docs.clear();
        }
    }
    all
}

/// `string, optional, tag = "1")]` as a field without a name yet.
fn declared(attribute: &str) -> MessageField {
    let inner = attribute.trim_end_matches(")]");
    let tag = inner.rsplit_once("tag = \"").and_then(|(_, t)| t.trim_end_matches('"').parse().ok()).unwrap_or(0);
    let (shape, base) = if let Some(rest) = inner.strip_prefix("btree_map = \"") {
        ("{", rest.split('"').next().and_then(|kv| kv.split(", ").nth(1)).unwrap_or_default())
    } else {
        let base = inner.split(',').next().unwrap_or_default().trim_end_matches(" = \"vec\"");
        (if inner.contains("repeated") { "[" } else { "" }, base)
    };
    MessageField { tag, shape, base: base.to_owned(), ..Default::default() }
}

/// The message that a Rust type names: the last path inside its innermost angle brackets.
fn message_name(kind: &str, module: &str) -> String {
    let inner = kind.rsplit('<').next().unwrap_or_default();
    let path = inner.trim_end_matches([',', '>', ' ']).rsplit(',').next().unwrap_or_default().trim();
    let parts: Vec<&str> = path.split("::").filter(|p| *p != "super").collect();
    match parts.as_slice() {
        [name] => format!("{module}.{name}"),
        [.., "resource", name] => format!("resource.{name}"),
        [.., "intstr", name] => format!("intstr.{name}"),
        [.., "runtime", name] => format!("runtime.{name}"),
        [.., group, version, name] => format!("{group}.{version}.{name}"),
        _ => path.to_owned(),
    }
}

/// Separates the `+marker=value` lines from the description.
fn split_markers(docs: &[String]) -> (String, Vec<(String, String)>) {
    let mut text = Vec::new();
    let mut markers = Vec::new();
    for line in docs {
        match line.strip_prefix('+') {
            Some(marker) => {
                let (name, value) = marker.split_once('=').unwrap_or((marker, ""));
                markers.push((name.trim().to_owned(), value.trim().to_owned()));
            }
            None if line.starts_with("TODO") => {}
            None => text.push(line.replace('\\', "")),
        }
    }
    (text.join(" "), markers)
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn a_message_is_read() {
        let text = "/// A thing.\n#[derive(Clone)]\npub struct Thing {\n/// Parts.\n/// +listType=map\n/// +listMapKey=ip\n\
                    /// +patchStrategy=merge\n/// +patchMergeKey=ip\n#[prost(message, repeated, tag = \"3\")]\n\
                    pub parts: ::prost::alloc::vec::Vec<Part>,\n#[prost(btree_map = \"string, message\", tag = \"12\")]\n\
                    pub limits: ::prost::alloc::collections::BTreeMap<\n::prost::alloc::string::String,\n\
                    super::super::super::apimachinery::pkg::api::resource::Quantity,\n>,\n}\n";
        let all = parse(text, "core.v1");
        assert_eq!((all.len(), all[0].name.as_str()), (1, "core.v1.Thing"));
        let parts = &all[0].fields[0];
        assert_eq!((parts.tag, parts.shape, parts.base.as_str()), (3, "[", "core.v1.part"));
        assert_eq!(parts.flags(), ["map", "keys=ip", "merge=ip"]);
        let limits = &all[0].fields[1];
        assert_eq!((limits.tag, limits.shape, limits.base.as_str()), (12, "{", "resource.quantity"));
    }
}
