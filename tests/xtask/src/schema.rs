//! `cargo xtask schema`: writes `adapters/kubernetes/src/schema/types.tsv`, the table of every
//! field of every served type.
//!
//! Two maintained crates are read as text, found through `cargo metadata`: `k8s-pb` (generated
//! from Kubernetes' protobuf files) gives field numbers, types, and the list markers in its doc
//! comments (`+listType`, `+patchMergeKey`, ...); `k8s-openapi` (generated from Kubernetes'
//! OpenAPI) gives the JSON names, which fields are required, and descriptions. Neither is ever
//! compiled. Defaults and acted-on fields are kept by hand beside the table, not here.

mod bindings;
mod messages;

use anyhow::{Context as _, Result, bail};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use bindings::{Binding, BindingField};
use messages::{Message, MessageField};

/// The Kubernetes release of `k8s-openapi` that agrees field by field with the `k8s-pb` in use.
const RELEASE: &str = "v1_35";
/// Where the table is committed, from the workspace root.
const TABLE: &str = "adapters/kubernetes/src/schema/types.tsv";
/// The types served by name; everything they refer to follows.
const ROOTS: &[&str] = &[
    "core.v1.Namespace",
    "core.v1.Node",
    "core.v1.Pod",
    "core.v1.Service",
    "core.v1.Endpoints",
    "core.v1.ConfigMap",
    "core.v1.Secret",
    "core.v1.ServiceAccount",
    "core.v1.Event",
    "core.v1.Binding",
    "apps.v1.Deployment",
    "apps.v1.ReplicaSet",
    "apps.v1.DaemonSet",
    "apps.v1.StatefulSet",
    "apps.v1.ControllerRevision",
    "policy.v1.PodDisruptionBudget",
    "batch.v1.CronJob",
    "batch.v1.Job",
    "discovery.v1.EndpointSlice",
    "coordination.v1.Lease",
    "events.v1.Event",
    "node.v1.RuntimeClass",
    "policy.v1.Eviction",
    "scheduling.v1.PriorityClass",
    "autoscaling.v1.Scale",
    "autoscaling.v1.HorizontalPodAutoscaler",
    "autoscaling.v2.HorizontalPodAutoscaler",
    "authentication.v1.SelfSubjectReview",
    "authorization.v1.SelfSubjectAccessReview",
    "authorization.v1.SelfSubjectRulesReview",
    "meta.v1.DeleteOptions",
    "meta.v1.ListMeta",
    "meta.v1.Status",
];

/// Writes the field table, or with `check` only says whether the committed one is current.
///
/// # Errors
/// When a source crate is missing or does not have the expected shape, when the two crates
/// disagree on a field, or (with `check`) when the committed table differs.
pub(crate) fn run(check: bool) -> Result<()> {
    let (root, crates) = locate()?;
    let messages = messages::read(&crates.pb.join("src"))?;
    let mut bindings = bindings::read(&crates.openapi.join("src").join(RELEASE))?;
    adopt_inlined(&messages, &mut bindings);
    let table = render(&messages, &bindings, &crates.versions)?;
    let path = root.join(TABLE);
    if check {
        let committed = std::fs::read_to_string(&path).with_context(|| format!("cannot read {TABLE}"))?;
        if committed != table {
            bail!("{TABLE} is not what the source crates say: run `cargo xtask schema` and commit it");
        }
        return Ok(());
    }
    std::fs::write(&path, table).with_context(|| format!("cannot write {TABLE}"))
}

/// The two source crates on this machine.
struct Crates {
    pb: PathBuf,
    openapi: PathBuf,
    versions: String,
}

/// Asks cargo where the source crates are; cargo downloads them when they are not there yet.
fn locate() -> Result<(PathBuf, Crates)> {
    let output = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".into()))
        .args(["metadata", "--format-version=1", "--locked"])
        .output()
        .context("cannot run cargo metadata")?;
    if !output.status.success() {
        bail!("cargo metadata failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let find = |name: &str| -> Result<(PathBuf, String)> {
        let package = metadata["packages"]
            .as_array()
            .and_then(|all| all.iter().find(|p| p["name"] == name))
            .with_context(|| format!("{name} is not among the dependencies of xtask"))?;
        let manifest = package["manifest_path"].as_str().unwrap_or_default();
        let folder = Path::new(manifest).parent().context("a manifest has no folder")?;
        let version = package["version"].as_str().unwrap_or_default();
        Ok((folder.to_path_buf(), format!("{name} {version}")))
    };
    let (pb, pb_version) = find("k8s-pb")?;
    let (openapi, openapi_version) = find("k8s-openapi")?;
    let root = metadata["workspace_root"].as_str().context("cargo metadata names no workspace root")?;
    let versions = format!("{pb_version} and {openapi_version} ({RELEASE})");
    Ok((PathBuf::from(root), Crates { pb, openapi, versions }))
}

/// Gives a message that only exists inlined in another (`VolumeSource` in `Volume`) the JSON names
/// and descriptions that its fields have there.
fn adopt_inlined(messages: &BTreeMap<String, Message>, bindings: &mut BTreeMap<String, Binding>) {
    let mut adopted = BTreeMap::new();
    for (key, binding) in bindings.iter() {
        for field in messages.get(key).into_iter().flat_map(|m| &m.fields) {
            if binding.fields.contains_key(&field.key) || bindings.contains_key(&field.base) {
                continue;
            }
            let Some(inlined) = messages.get(&field.base) else { continue };
            let fields = inlined.fields.iter();
            let fields = fields.filter_map(|f| Some((f.key.clone(), binding.fields.get(&f.key)?.clone()))).collect();
            let own = Binding { name: inlined.name.clone(), docs: inlined.docs.clone(), fields };
            adopted.insert(field.base.clone(), own);
        }
    }
    bindings.extend(adopted);
}

/// Lays out the table: every root, and every type that one refers to, by name.
fn render(
    messages: &BTreeMap<String, Message>,
    bindings: &BTreeMap<String, Binding>,
    versions: &str,
) -> Result<String> {
    let mut wanted: Vec<String> = ROOTS.iter().map(|name| name.to_lowercase()).collect();
    let mut blocks: BTreeMap<String, String> = BTreeMap::new();
    let mut seen: BTreeSet<String> = BTreeSet::new();
    while let Some(key) = wanted.pop() {
        if !seen.insert(key.clone()) {
            continue;
        }
        let message = messages.get(&key).with_context(|| format!("k8s-pb has no message {key}"))?;
        let (name, text) = block(message, bindings.get(&key), messages, bindings, &mut wanted)?;
        blocks.insert(name, text);
    }
    let mut out = String::new();
    writeln!(out, "# Written by `cargo xtask schema` from {versions}. Do not edit.")?;
    writeln!(out, "# T name description; F JSON name (- is inlined), field number, type, flags, description.")?;
    out.extend(blocks.into_values());
    Ok(out)
}

/// One type of the table and, in `wanted`, the types that it refers to.
fn block(
    message: &Message,
    binding: Option<&Binding>,
    messages: &BTreeMap<String, Message>,
    bindings: &BTreeMap<String, Binding>,
    wanted: &mut Vec<String>,
) -> Result<(String, String)> {
    let name = binding.map_or(&message.name, |b| &b.name);
    let docs = binding.map_or(message.docs.as_str(), |b| &b.docs);
    let mut text = format!("T\t{name}\t{}\n", summary(docs));
    let mut named = BTreeSet::new();
    for field in &message.fields {
        let spelled = binding.and_then(|b| b.fields.get(&field.key));
        let inline = binding.is_some() && spelled.is_none() && is_message(&field.base);
        if binding.is_some() && spelled.is_none() && !inline {
            bail!("{name} has no JSON name for {}: the source crates disagree", field.key);
        }
        named.insert(field.key.clone());
        let base = type_name(field, bindings, wanted);
        writeln!(text, "{}", line(field, spelled, &base, inline))?;
        if inline {
            named.extend(inlined_keys(&field.base, messages));
        }
    }
    for key in binding.iter().flat_map(|b| b.fields.keys()) {
        if !named.contains(key) && key != "apiversion" && key != "kind" {
            bail!("{name}.{key} has no field number: the source crates disagree");
        }
    }
    Ok((name.clone(), text))
}

/// The fields that an inlined message brings with it.
fn inlined_keys(base: &str, messages: &BTreeMap<String, Message>) -> Vec<String> {
    messages.get(base).map(|m| m.fields.iter().map(|f| f.key.clone()).collect()).unwrap_or_default()
}

/// One field of the table.
fn line(field: &MessageField, spelled: Option<&BindingField>, base: &str, inline: bool) -> String {
    let json = match (inline, spelled) {
        (true, _) => "-".to_owned(),
        (false, Some(spelled)) => spelled.json.clone(),
        (false, None) => camel(&field.snake),
    };
    let mut flags = field.flags();
    if spelled.is_some_and(|s| s.required) && json != "metadata" {
        flags.insert(0, "required".to_owned());
    }
    let docs = spelled.map_or(field.docs.as_str(), |s| &s.docs);
    let docs = if inline { String::new() } else { summary(docs) };
    let flags = if flags.is_empty() { "-".to_owned() } else { flags.join(" ") };
    format!("F\t{json}\t{}\t{}{base}\t{flags}\t{docs}", field.tag, field.shape)
}

/// The type as the table spells it: a scalar word, or the name of another type.
fn type_name(field: &MessageField, bindings: &BTreeMap<String, Binding>, wanted: &mut Vec<String>) -> String {
    match field.base.as_str() {
        "meta.v1.time" => "time".to_owned(),
        "meta.v1.microtime" => "microtime".to_owned(),
        "resource.quantity" => "quantity".to_owned(),
        "intstr.intorstring" => "intstr".to_owned(),
        "runtime.rawextension" | "meta.v1.fieldsv1" => "raw".to_owned(),
        base if is_message(base) => {
            wanted.push(base.to_owned());
            bindings.get(base).map_or_else(|| field.written.clone(), |b| b.name.clone())
        }
        scalar => scalar.to_owned(),
    }
}

fn is_message(base: &str) -> bool {
    base.contains('.')
}

/// `host_ip` as `hostIp`: only for the messages that never appear in JSON under their own name.
fn camel(key: &str) -> String {
    let mut out = String::new();
    let mut upper = false;
    for c in key.chars() {
        match (c, upper) {
            ('_', _) => upper = true,
            (c, true) => {
                out.extend(c.to_uppercase());
                upper = false;
            }
            (c, false) => out.push(c),
        }
    }
    out
}

/// The first sentences of a description, on one line: enough for `kubectl explain`.
fn summary(docs: &str) -> String {
    const ENOUGH: usize = 80;
    const MOST: usize = 240;
    // The sources escape what rustdoc would take for links.
    let docs = docs.replace('\\', "").split_whitespace().collect::<Vec<_>>().join(" ");
    let mut end = 0;
    for (at, _) in docs.match_indices(". ") {
        if at + 1 > MOST {
            break;
        }
        end = at + 1;
        if end >= ENOUGH {
            break;
        }
    }
    if docs.len() <= MOST && end < ENOUGH {
        return docs;
    }
    if end > 0 {
        return docs[..end].to_owned();
    }
    match docs.char_indices().take(MOST).filter(|(_, c)| *c == ' ').last() {
        Some((at, _)) => format!("{} ...", &docs[..at]),
        None => docs,
    }
}

#[cfg(test)]
mod tests {
    use super::{camel, summary};

    #[test]
    fn a_summary_ends_at_a_sentence() {
        assert_eq!(summary("Short."), "Short.");
        let long = format!("One.  Two {}. Three {}.", "x".repeat(90), "y".repeat(200));
        assert_eq!(summary(&long), format!("One. Two {}.", "x".repeat(90)));
    }

    #[test]
    fn a_summary_without_sentences_ends_at_a_word() {
        let text = summary(&"word ".repeat(100));
        assert!(text.ends_with("word ...") && text.len() < 250, "{text}");
    }

    #[test]
    fn snake_case_becomes_camel_case() {
        assert_eq!(camel("volume_source"), "volumeSource");
    }
}
