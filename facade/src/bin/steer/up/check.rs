//! What can be said of manifests before a cluster is there to judge them: kinds, fields and their types, names.

use crate::files::Document;
use anyhow::{Context as _, anyhow, bail};
use steersman_kubernetes::schema::{KINDS, kind_of};
use steersman_kubernetes::{Gvk, check_fields};

/// Checks every document.
///
/// # Errors
/// The only complaint, or how many there were, each told before.
pub(crate) fn documents(documents: &[Document]) -> anyhow::Result<()> {
    let judged = documents.iter().map(|document| {
        let judged = judge(document);
        judged.with_context(|| format!("in {}; nothing was started", document.from))
    });
    crate::fail_with(judged.filter_map(Result::err).collect())
}

fn judge(document: &Document) -> anyhow::Result<()> {
    let object = &document.object;
    let text = |field: &str| object[field].as_str().unwrap_or_default();
    let (api_version, kind) = (text("apiVersion"), text("kind"));
    let gvk = Gvk::from_api_version(api_version, kind);
    if !kind_of(gvk).is_some_and(|k| k.is_kept()) {
        let others: Vec<String> =
            KINDS.iter().filter(|k| k.kind == kind && k.is_kept()).map(|k| k.api_version()).collect();
        let hint = if others.is_empty() {
            "Steersman does not serve it".into()
        } else {
            format!("it is in {}", others.join(", "))
        };
        bail!("no matches for kind {kind:?} in version {api_version:?}: {hint}");
    }
    let problems: Vec<String> = check_fields(gvk, object).into_iter().map(|p| p.message).collect();
    if !problems.is_empty() {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        return Err(anyhow!("{kind} {name:?} is not as {api_version} has it: {}", problems.join(", ")));
    }
    if object["metadata"]["name"].as_str().is_none_or(str::is_empty) {
        bail!("the {kind} has no metadata.name, which apply needs to find it again");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn said(object: Value) -> Result<(), String> {
        documents(&[Document { from: "shop.yaml".into(), object }]).map_err(|e| format!("{e:#}"))
    }

    #[test]
    fn what_no_cluster_would_take_is_refused_with_its_place() {
        let map = |extra: Value| {
            let mut map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}});
            map.as_object_mut().expect("an object").extend(extra.as_object().expect("an object").clone());
            map
        };
        assert_eq!(said(map(json!({"data": {"k": "v"}}))), Ok(()));
        for (object, words) in [
            (map(json!({"kind": "ConfigMop"})), "no matches for kind \"ConfigMop\""),
            (map(json!({"kind": "Deployment"})), "it is in apps/v1"),
            (map(json!({"kind": "Binding"})), "does not serve it"),
            (map(json!({"date": {}})), "unknown field \"date\""),
            (map(json!({"data": ["v"]})), "data"),
            (map(json!({"metadata": {}})), "no metadata.name"),
        ] {
            let error = said(object).expect_err(words);
            assert!(error.contains(words) && error.contains("in shop.yaml; nothing was started"), "{error}");
        }
        let two = |object: Value| Document { from: "f".into(), object };
        let both = documents(&[two(map(json!({"kind": "A"}))), two(map(json!({"kind": "B"})))]).expect_err("two");
        assert!(both.downcast_ref::<crate::Told>().is_some(), "{both}");
    }
}
