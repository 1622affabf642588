//! `steer scale`: how many replicas there should be.

use crate::client::{self, Api, Call, Discovery, MERGE_PATCH, TargetFlags};
use crate::out;
use anyhow::bail;
use clap::Args;
use serde_json::json;

/// The arguments of `scale`.
#[derive(Debug, Args)]
pub(crate) struct Scale {
    /// TYPE NAME or TYPE/NAME…
    #[arg(required = true, value_name = "WHAT")]
    what: Vec<String>,
    /// How many replicas there should be
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(i32).range(0..))]
    replicas: i32,
    /// Only when so many are asked for now
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(i32).range(0..))]
    current_replicas: Option<i32>,
    #[command(flatten)]
    target: TargetFlags,
}

/// Runs `scale`.
///
/// # Errors
/// As the server refuses; when the current number is not as demanded.
pub(crate) async fn run(scale: Scale) -> anyhow::Result<()> {
    let api = Api::new(&scale.target.client)?;
    let namespace = scale.target.namespace(&api.namespace);
    for target in client::resolve(&scale.what, &Discovery::load(&api).await?)? {
        if target.names.is_empty() {
            bail!("name the {} to scale", target.resource.plural);
        }
        for name in &target.names {
            let path = format!("{}/scale", target.resource.path(Some(&namespace), Some(name)));
            let mut patch = json!({"spec": {"replicas": scale.replicas}});
            if let Some(expected) = scale.current_replicas {
                let current = api.json(Call::get(path.clone())).await?;
                let found = current["spec"]["replicas"].as_i64().unwrap_or(0);
                if found != i64::from(expected) {
                    bail!("expected {expected} replicas, found {found}");
                }
                // The server refuses the change when somebody else was quicker.
                patch["metadata"] = json!({"resourceVersion": current["metadata"]["resourceVersion"]});
            }
            api.json(Call::patch(path, MERGE_PATCH, &patch)).await?;
            out::say(format!("{} scaled", target.resource.named(name)))?;
        }
    }
    Ok(())
}
