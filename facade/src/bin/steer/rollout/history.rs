//! `steer rollout history` and `undo`: the revisions of a deployment are its replica sets, as kubectl reads them.

use super::{Deployment, Which, deployments};
use crate::client::{Api, Call, JSON_PATCH};
use crate::out;
use anyhow::{Context as _, bail};
use clap::Args;
use serde_json::{Map, Value, json};

const REVISION: &str = "deployment.kubernetes.io/revision";
const CHANGE_CAUSE: &str = "kubernetes.io/change-cause";
const TEMPLATE_HASH: &str = "pod-template-hash";
/// Annotations that belong to the deployment, whatever revision it runs.
const KEPT: [&str; 6] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    REVISION,
    "deployment.kubernetes.io/revision-history",
    "deployment.kubernetes.io/desired-replicas",
    "deployment.kubernetes.io/max-replicas",
    "deprecated.deployment.rollback.to",
];

/// The arguments of `rollout history`.
#[derive(Debug, Args)]
pub(crate) struct History {
    #[command(flatten)]
    which: Which,
    /// Show the pod template of this revision
    #[arg(long, value_name = "N", default_value_t = 0)]
    revision: i64,
}

/// The arguments of `rollout undo`.
#[derive(Debug, Args)]
pub(crate) struct Undo {
    #[command(flatten)]
    which: Which,
    /// The revision to go back to; 0 is the one before
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(i64).range(0..))]
    to_revision: i64,
}

/// A replica set and its revision.
type Revision = (i64, Value);

/// The revisions of a deployment, oldest first.
async fn revisions(deployment: &Deployment, api: &Api) -> anyhow::Result<Vec<Revision>> {
    let path = format!("/apis/apps/v1/namespaces/{}/replicasets", deployment.namespace);
    Ok(owned_revisions(&deployment.object, api.list(&Call::get(path)).await?))
}

fn owned_revisions(deployment: &Value, sets: Vec<Value>) -> Vec<Revision> {
    let uid = &deployment["metadata"]["uid"];
    let owned = |set: &Value| {
        let owners = set["metadata"]["ownerReferences"].as_array().into_iter().flatten();
        owners.into_iter().any(|owner| owner["controller"] == true && owner["uid"] == *uid)
    };
    let numbered = |set: Value| Some((set["metadata"]["annotations"][REVISION].as_str()?.parse().ok()?, set));
    let mut revisions: Vec<_> = sets.into_iter().filter(owned).filter_map(numbered).collect();
    revisions.sort_by_key(|(number, _)| *number);
    revisions
}

pub(super) async fn show(history: History) -> anyhow::Result<()> {
    let api = Api::new(&history.which.target.client)?;
    for deployment in deployments(&history.which, &api).await? {
        let revisions = revisions(&deployment, &api).await?;
        let named = deployment.resource.named(&deployment.name);
        if history.revision == 0 {
            out::print(&format!("{named} \n{}\n", table(&revisions)))?;
            continue;
        }
        let template = template(&revisions, history.revision)?;
        let text = crate::describe::tree(&template, 2);
        out::print(&format!("{named} with revision #{}\nPod Template:\n{text}\n", history.revision))?;
    }
    Ok(())
}

fn table(revisions: &[Revision]) -> String {
    let mut text = "REVISION  CHANGE-CAUSE\n".to_owned();
    for (number, set) in revisions {
        let cause = set["metadata"]["annotations"][CHANGE_CAUSE].as_str().unwrap_or("<none>");
        text.push_str(&format!("{number:<10}{cause}\n"));
    }
    text
}

/// The pod template of a revision, without the label that tells replica sets apart.
fn template(revisions: &[Revision], wanted: i64) -> anyhow::Result<Value> {
    let found = revisions.iter().find(|(number, _)| *number == wanted);
    let (_, set) = found.with_context(|| format!("unable to find specified revision {wanted} in history"))?;
    let mut template = set["spec"]["template"].clone();
    if let Some(labels) = template.pointer_mut("/metadata/labels").and_then(Value::as_object_mut) {
        labels.remove(TEMPLATE_HASH);
    }
    Ok(template)
}

pub(super) async fn undo(undo: Undo) -> anyhow::Result<()> {
    let api = Api::new(&undo.which.target.client)?;
    for deployment in deployments(&undo.which, &api).await? {
        if deployment.paused() {
            bail!("you cannot rollback a paused deployment; resume it first with 'steer rollout resume' and try again");
        }
        let revisions = revisions(&deployment, &api).await?;
        let wanted = choose(&revisions, undo.to_revision)?;
        let named = deployment.resource.named(&deployment.name);
        match rollback(&deployment.object, &revisions, wanted)? {
            None => out::say(format!("{named} skipped rollback (current template already matches revision {wanted})"))?,
            Some(patch) => {
                api.json(Call::patch(deployment.path.clone(), JSON_PATCH, &patch)).await?;
                out::say(format!("{named} rolled back"))?;
            }
        }
    }
    Ok(())
}

/// The revision to go back to: the one that is asked for, or the last but one.
fn choose(revisions: &[Revision], asked: i64) -> anyhow::Result<i64> {
    if asked > 0 {
        return Ok(asked);
    }
    match revisions {
        [.., (before, _), _] => Ok(*before),
        _ => bail!("no rollout history found: there is no revision before this one"),
    }
}

/// The patch that brings a revision's template and annotations back; nothing when the template is the same.
fn rollback(deployment: &Value, revisions: &[Revision], wanted: i64) -> anyhow::Result<Option<Value>> {
    let back = template(revisions, wanted)?;
    let mut now = deployment["spec"]["template"].clone();
    if let Some(labels) = now.pointer_mut("/metadata/labels").and_then(Value::as_object_mut) {
        labels.remove(TEMPLATE_HASH);
    }
    if now == back {
        return Ok(None);
    }
    let annotations = |object: &Value| object["metadata"]["annotations"].as_object().cloned().unwrap_or_default();
    let set = revisions.iter().find(|(number, _)| *number == wanted).map_or(Value::Null, |(_, set)| set.clone());
    let kept = annotations(deployment).into_iter().filter(|(name, _)| KEPT.contains(&name.as_str()));
    let brought = annotations(&set).into_iter().filter(|(name, _)| !KEPT.contains(&name.as_str()));
    let merged: Map<String, Value> = kept.chain(brought).collect();
    Ok(Some(json!([
        {"op": "replace", "path": "/spec/template", "value": back},
        // `add` replaces what is there, and works where there is nothing.
        {"op": "add", "path": "/metadata/annotations", "value": merged},
    ])))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(number: &str, image: &str, owner: &str) -> Value {
        json!({
            "metadata": {
                "annotations": {REVISION: number, CHANGE_CAUSE: format!("to {image}"), "x": number},
                "ownerReferences": [{"controller": true, "uid": owner}]
            },
            "spec": {"template": {"metadata": {"labels": {"app": "web", TEMPLATE_HASH: image}}, "spec": {"image": image}}}
        })
    }

    fn web() -> (Value, Vec<Revision>) {
        let deployment = json!({
            "metadata": {"uid": "u", "annotations": {REVISION: "10", "y": "mine"}},
            "spec": {"template": {"metadata": {"labels": {"app": "web"}}, "spec": {"image": "c"}}}
        });
        let sets =
            vec![set("10", "c", "u"), set("2", "a", "u"), set("9", "b", "u"), set("11", "z", "other"), json!({})];
        let revisions = owned_revisions(&deployment, sets);
        (deployment, revisions)
    }

    #[test]
    fn revisions_are_numbers_in_order() {
        let (_, revisions) = web();
        assert_eq!(table(&revisions), "REVISION  CHANGE-CAUSE\n2         to a\n9         to b\n10        to c\n");
        assert_eq!(choose(&revisions, 0).expect("one before"), 9);
        assert_eq!(choose(&revisions, 2).expect("asked"), 2);
        assert!(choose(&revisions[..1], 0).is_err());
    }

    #[test]
    fn going_back_brings_template_and_annotations() {
        let (deployment, revisions) = web();
        let patch = rollback(&deployment, &revisions, 2).expect("known").expect("another template");
        assert_eq!(patch[0]["value"], json!({"metadata": {"labels": {"app": "web"}}, "spec": {"image": "a"}}));
        assert_eq!(patch[1]["value"], json!({REVISION: "10", CHANGE_CAUSE: "to a", "x": "2"}));
        assert!(rollback(&deployment, &revisions, 10).expect("known").is_none());
        let error = rollback(&deployment, &revisions, 5).expect_err("unknown").to_string();
        assert_eq!(error, "unable to find specified revision 5 in history");
    }
}
