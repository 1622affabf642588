//! `steer rollout`: the rollouts of deployments, with kubectl's words.

mod history;
mod status;

pub(crate) use status::{Progress, progress};

use crate::client::{self, Api, Call, Discovery, Resource, STRATEGIC_PATCH, TargetFlags};
use crate::out;
use anyhow::bail;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

/// The parts of `rollout`.
#[derive(Debug, Subcommand)]
pub(crate) enum Rollout {
    /// Follow a rollout until it is done
    Status(status::Status),
    /// Show the revisions
    History(history::History),
    /// Go back to an earlier revision
    Undo(history::Undo),
    /// Hold changes of the template back
    Pause(Which),
    /// Go on with what was held back
    Resume(Which),
    /// Replace all pods, one after the other
    Restart(Which),
}

/// Which deployments.
#[derive(Debug, Args)]
pub(crate) struct Which {
    /// TYPE NAME or TYPE/NAME…
    #[arg(required = true, value_name = "WHAT")]
    what: Vec<String>,
    #[command(flatten)]
    target: TargetFlags,
}

/// One deployment, as it is now.
struct Deployment {
    resource: Resource,
    path: String,
    name: String,
    namespace: String,
    object: Value,
}

/// Runs a part of `rollout`.
///
/// # Errors
/// As the server refuses, and when a rollout does not succeed.
pub(crate) async fn run(rollout: Rollout) -> anyhow::Result<()> {
    match rollout {
        Rollout::Status(status) => status::run(status).await,
        Rollout::History(history) => history::show(history).await,
        Rollout::Undo(undo) => history::undo(undo).await,
        Rollout::Pause(which) => change(&which, pause).await,
        Rollout::Resume(which) => change(&which, resume).await,
        Rollout::Restart(which) => change(&which, restart).await,
    }
}

/// The deployments that are meant.
async fn deployments(which: &Which, api: &Api) -> anyhow::Result<Vec<Deployment>> {
    let namespace = which.target.namespace(&api.namespace);
    let mut found = Vec::new();
    for target in client::resolve(&which.what, &Discovery::load(api).await?)? {
        if !target.resource.is("apps", "Deployment") {
            bail!("{} have no rollouts here: only deployments.apps do", target.resource.qualified());
        }
        if target.names.is_empty() {
            bail!("name the deployment, as deployment/NAME");
        }
        for name in target.names {
            let path = target.resource.path(Some(&namespace), Some(&name));
            let object = api.json(Call::get(path.clone())).await?;
            found.push(Deployment {
                resource: target.resource.clone(),
                path,
                name,
                namespace: namespace.clone(),
                object,
            });
        }
    }
    Ok(found)
}

async fn change(which: &Which, how: fn(&Deployment) -> anyhow::Result<(Value, &'static str)>) -> anyhow::Result<()> {
    let api = Api::new(&which.target.client)?;
    for deployment in deployments(which, &api).await? {
        let (patch, said) = how(&deployment)?;
        api.json(Call::patch(deployment.path.clone(), STRATEGIC_PATCH, &patch)).await?;
        out::say(format!("{} {said}", deployment.resource.named(&deployment.name)))?;
    }
    Ok(())
}

impl Deployment {
    fn paused(&self) -> bool {
        self.object["spec"]["paused"] == true
    }
}

fn pause(deployment: &Deployment) -> anyhow::Result<(Value, &'static str)> {
    if deployment.paused() {
        bail!("deployments.apps {:?} is already paused", deployment.name);
    }
    Ok((json!({"spec": {"paused": true}}), "paused"))
}

fn resume(deployment: &Deployment) -> anyhow::Result<(Value, &'static str)> {
    if !deployment.paused() {
        bail!("deployments.apps {:?} is not paused", deployment.name);
    }
    Ok((json!({"spec": {"paused": null}}), "resumed"))
}

fn restart(deployment: &Deployment) -> anyhow::Result<(Value, &'static str)> {
    if deployment.paused() {
        bail!("can't restart paused deployment {:?} (run rollout resume first)", deployment.name);
    }
    // Whole seconds, as kubectl writes them; a second restart within one second is the same restart.
    let now = format!("{:.0}", jiff::Timestamp::now());
    let annotations = json!({"kubectl.kubernetes.io/restartedAt": now});
    Ok((json!({"spec": {"template": {"metadata": {"annotations": annotations}}}}), "restarted"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deployment(paused: bool) -> Deployment {
        let object = json!({"spec": {"paused": paused}});
        let (path, name, namespace) = (String::new(), "web".to_owned(), "default".to_owned());
        Deployment { resource: Resource::default(), path, name, namespace, object }
    }

    #[test]
    fn what_is_done_already_is_refused() {
        assert!(pause(&deployment(false)).is_ok() && resume(&deployment(true)).is_ok());
        let error = pause(&deployment(true)).expect_err("paused").to_string();
        assert_eq!(error, "deployments.apps \"web\" is already paused");
        assert!(resume(&deployment(false)).is_err() && restart(&deployment(true)).is_err());
        let (patch, _) = restart(&deployment(false)).expect("good");
        let at = &patch["spec"]["template"]["metadata"]["annotations"]["kubectl.kubernetes.io/restartedAt"];
        assert!(at.as_str().expect("a time").parse::<jiff::Timestamp>().is_ok());
    }
}
