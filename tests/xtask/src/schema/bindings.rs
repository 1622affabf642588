//! Reads the types of `k8s-openapi`: JSON names, required fields, descriptions.

use anyhow::{Context as _, Result};
use std::collections::BTreeMap;
use std::path::Path;

/// One type as Kubernetes' OpenAPI has it.
pub(super) struct Binding {
    /// Such as `core.v1.Pod`.
    pub(super) name: String,
    pub(super) docs: String,
    /// By key, as [`plain`] makes it.
    pub(super) fields: BTreeMap<String, BindingField>,
}

/// One field of a [`Binding`].
#[derive(Clone, Default)]
pub(super) struct BindingField {
    pub(super) json: String,
    pub(super) required: bool,
    pub(super) docs: String,
}

/// All types under `folder`, by lower-case name.
pub(super) fn read(folder: &Path) -> Result<BTreeMap<String, Binding>> {
    let mut all = BTreeMap::new();
    visit(folder, &mut |text| {
        if let Some(binding) = parse(text) {
            all.insert(binding.name.to_lowercase(), binding);
        }
    })?;
    Ok(all)
}

/// Calls `each` with the text of every Rust file under `folder`.
pub(super) fn visit(folder: &Path, each: &mut dyn FnMut(&str)) -> Result<()> {
    for entry in std::fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            visit(&path, each)?;
        } else if path.extension().is_some_and(|e| e == "rs") {
            each(&std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?);
        }
    }
    Ok(())
}

/// `io.k8s.api.core.v1.Pod` as `core.v1.Pod`.
fn short_name(definition: &str) -> Option<String> {
    let name = definition
        .strip_prefix("io.k8s.api.")
        .or_else(|| definition.strip_prefix("io.k8s.apimachinery.pkg.apis."))
        .or_else(|| definition.strip_prefix("io.k8s.apimachinery.pkg."))?;
    Some(name.to_owned())
}

/// The struct of one file, if the file defines one.
fn parse(text: &str) -> Option<Binding> {
    let name = short_name(text.lines().next()?.strip_prefix("// Generated from definition ")?.trim())?;
    let mut binding = Binding { name, docs: String::new(), fields: BTreeMap::new() };
    let mut docs: Vec<&str> = Vec::new();
    let mut inside = false;
    for line in text.lines() {
        let trimmed = line.trim();
        if let Some(doc) = trimmed.strip_prefix("///") {
            docs.push(doc.trim());
        } else if trimmed.starts_with("pub struct ") {
            binding.docs = docs.join(" ");
            docs.clear();
            inside = trimmed.ends_with('{');
        } else if inside && trimmed == "}" {
            inside = false;
        } else if inside && let Some(rest) = trimmed.strip_prefix("pub ") {
            let (key, kind) = rest.split_once(": ")?;
            let field =
                BindingField { required: !kind.starts_with("Option<"), docs: docs.join(" "), ..Default::default() };
            binding.fields.insert(plain(key), field);
            docs.clear();
        } else if let Some((json, key)) = trimmed.split_once(" => Field::Key_") {
            // The names live in the deserializer: `"hostIP" => Field::Key_host_ip,`.
            let key = plain(key.trim_end_matches(','));
            if let Some(field) = binding.fields.get_mut(&key) {
                field.json = json.trim_matches('"').to_owned();
            }
        }
    }
    (!binding.fields.is_empty()).then_some(binding)
}

/// A Rust field name without underscores and the mark that avoids keywords.
pub(super) fn plain(key: &str) -> String {
    key.trim_start_matches("r#").replace('_', "")
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn a_binding_file_is_read() {
        let text = "// Generated from definition io.k8s.api.core.v1.Thing\n\n/// A thing.\npub struct Thing {\n\
                    /// Its address.\npub host_ip: Option<std::string::String>,\n\n/// Kind.\npub type_: i32,\n}\n\
                    \"hostIP\" => Field::Key_host_ip,\n\"type\" => Field::Key_type_,\n_ => Field::Other,\n";
        let binding = parse(text).expect("a struct");
        assert_eq!((binding.name.as_str(), binding.docs.as_str()), ("core.v1.Thing", "A thing."));
        assert_eq!(binding.fields["hostip"].json, "hostIP");
        assert!(!binding.fields["hostip"].required && binding.fields["type"].required);
    }
}
