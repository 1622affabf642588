//! `steer rollout status`: what a rollout waits for, in kubectl's words, until it is done.

use super::{Which, deployments};
use crate::client::{Api, Call, is_refused};
use crate::out;
use anyhow::bail;
use clap::Args;
use serde_json::Value;
use std::time::Duration;

/// The arguments of `rollout status`.
#[derive(Debug, Args)]
pub(crate) struct Status {
    #[command(flatten)]
    which: Which,
    /// Follow until it is done
    #[arg(short, long, default_value_t = true, num_args = 0..=1, default_missing_value = "true", action = clap::ArgAction::Set)]
    watch: bool,
    /// How long to follow, such as `30s` or `2m`; 0 follows without end
    #[arg(long, default_value = "0s", value_parser = steersman::domain::spans::read)]
    timeout: Duration,
    /// The revision that must be rolled out; another one is an error
    #[arg(long, value_name = "N", default_value_t = 0)]
    revision: i64,
}

/// How far a rollout is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Progress {
    /// It waits for this.
    Waits(String),
    /// It is done.
    Done(String),
    /// It does not succeed.
    Fails(String),
}

/// How far the rollout of a deployment is, by its status alone.
pub(crate) fn progress(deployment: &Value, revision: i64) -> Progress {
    let name = deployment["metadata"]["name"].as_str().unwrap_or_default();
    let (spec, status) = (&deployment["spec"], &deployment["status"]);
    let count = |value: &Value| value.as_i64().unwrap_or(0);
    if revision > 0 {
        let annotation = &deployment["metadata"]["annotations"]["deployment.kubernetes.io/revision"];
        let have = annotation.as_str().and_then(|text| text.parse::<i64>().ok());
        if have != Some(revision) {
            let have = have.map_or_else(|| "none".to_owned(), |have| have.to_string());
            return Progress::Fails(format!(
                "desired revision ({revision}) is different from the running revision ({have})"
            ));
        }
    }
    if count(&deployment["metadata"]["generation"]) > count(&status["observedGeneration"]) {
        return Progress::Waits("Waiting for deployment spec update to be observed...".to_owned());
    }
    let conditions = status["conditions"].as_array().map_or(&[][..], Vec::as_slice);
    let progressing = conditions.iter().find(|condition| condition["type"] == "Progressing");
    if progressing.is_some_and(|condition| condition["reason"] == "ProgressDeadlineExceeded") {
        return Progress::Fails(format!("deployment {name:?} exceeded its progress deadline"));
    }
    let wanted = spec["replicas"].as_i64().unwrap_or(1);
    let (all, updated) = (count(&status["replicas"]), count(&status["updatedReplicas"]));
    let available = count(&status["availableReplicas"]);
    let waiting =
        |what: String| Progress::Waits(format!("Waiting for deployment {name:?} rollout to finish: {what}..."));
    if updated < wanted {
        waiting(format!("{updated} out of {wanted} new replicas have been updated"))
    } else if all > updated {
        waiting(format!("{} old replicas are pending termination", all - updated))
    } else if available < updated {
        waiting(format!("{available} of {updated} updated replicas are available"))
    } else {
        Progress::Done(format!("deployment {name:?} successfully rolled out"))
    }
}

pub(super) async fn run(status: Status) -> anyhow::Result<()> {
    let following = follow(&status);
    if status.timeout.is_zero() {
        return following.await;
    }
    match tokio::time::timeout(status.timeout, following).await {
        Ok(followed) => followed,
        Err(_) => bail!("timed out after {:?} waiting for the rollout", status.timeout),
    }
}

async fn follow(status: &Status) -> anyhow::Result<()> {
    let api = Api::new(&status.which.target.client)?;
    for deployment in deployments(&status.which, &api).await? {
        let mut object = deployment.object.clone();
        let list = deployment.resource.path(Some(&deployment.namespace), None);
        let list = Call::get(list).query("fieldSelector", format!("metadata.name={}", deployment.name));
        let mut said = String::new();
        'look: loop {
            if step(&object, status, &mut said)? {
                break;
            }
            let revision = object["metadata"]["resourceVersion"].as_str().unwrap_or_default();
            let mut watch = api.watch(list.clone(), revision);
            loop {
                match watch.next().await {
                    Ok((event, _)) if event == "DELETED" => bail!("object has been deleted"),
                    Ok((_, changed)) => {
                        if step(&changed, status, &mut said)? {
                            break 'look;
                        }
                    }
                    // The revision is compacted: look again, and watch from there.
                    Err(error) if is_refused(&error, 410) => break,
                    Err(error) => return Err(error),
                }
            }
            object = api.json(Call::get(deployment.path.clone())).await?;
        }
    }
    Ok(())
}

/// Says what is new; gives whether it is over.
fn step(object: &Value, status: &Status, said: &mut String) -> anyhow::Result<bool> {
    match progress(object, status.revision) {
        Progress::Fails(why) => bail!(why),
        Progress::Done(what) => out::say(what).map(|()| true),
        Progress::Waits(what) => {
            if what != *said {
                out::say(&what)?;
                *said = what;
            }
            Ok(!status.watch)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// A deployment of three, observed, with these counts: all, updated, available.
    fn web(all: i64, updated: i64, available: i64) -> Value {
        json!({
            "metadata": {"name": "web", "generation": 2, "annotations": {"deployment.kubernetes.io/revision": "4"}},
            "spec": {"replicas": 3},
            "status": {"observedGeneration": 2, "replicas": all, "updatedReplicas": updated, "availableReplicas": available}
        })
    }

    #[test]
    fn the_words_are_kubectls() {
        let waits =
            |what: &str| Progress::Waits(format!("Waiting for deployment \"web\" rollout to finish: {what}..."));
        assert_eq!(progress(&web(3, 1, 3), 0), waits("1 out of 3 new replicas have been updated"));
        assert_eq!(progress(&web(4, 3, 3), 0), waits("1 old replicas are pending termination"));
        assert_eq!(progress(&web(3, 3, 2), 0), waits("2 of 3 updated replicas are available"));
        let done = Progress::Done("deployment \"web\" successfully rolled out".to_owned());
        assert_eq!(progress(&web(3, 3, 3), 0), done);
        assert_eq!(progress(&web(3, 3, 3), 4), done);
    }

    #[test]
    fn unobserved_overdue_and_other_revisions_are_told_apart() {
        let mut unobserved = web(3, 3, 3);
        unobserved["metadata"]["generation"] = json!(3);
        let waits = Progress::Waits("Waiting for deployment spec update to be observed...".to_owned());
        assert_eq!(progress(&unobserved, 0), waits);
        let mut overdue = web(3, 1, 1);
        overdue["status"]["conditions"] = json!([{"type": "Progressing", "reason": "ProgressDeadlineExceeded"}]);
        let fails = Progress::Fails("deployment \"web\" exceeded its progress deadline".to_owned());
        assert_eq!(progress(&overdue, 0), fails);
        assert!(matches!(progress(&web(3, 3, 3), 3), Progress::Fails(why) if why.contains("running revision (4)")));
    }
}
