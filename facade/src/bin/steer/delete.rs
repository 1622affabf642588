//! `steer delete`: by name, by selector, or what manifests name; waits until it is gone.

use crate::client::{self, Api, Call, Discovery, Resource, Scope, ScopeFlags, is_refused};
use crate::get::Select;
use crate::{files, out};
use anyhow::bail;
use clap::{Args, ValueEnum};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::Duration;

/// The arguments of `delete`.
#[derive(Debug, Args)]
pub(crate) struct Delete {
    /// TYPE NAME…, TYPE/NAME…, or TYPE with a selector or --all
    #[arg(value_name = "WHAT", conflicts_with = "files")]
    what: Vec<String>,
    /// Delete what a manifest, a folder of them, or `-` names; can be given several times
    #[arg(short, long = "filename", value_name = "FILE|DIR|-")]
    files: Vec<PathBuf>,
    /// Folders within folders too
    #[arg(short = 'R', long)]
    recursive: bool,
    #[command(flatten)]
    scope: ScopeFlags,
    #[command(flatten)]
    select: Select,
    /// All objects of the type
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    how: How,
}

impl Delete {
    /// Whether it is what there is that is deleted, not what was named.
    fn selects(&self) -> bool {
        self.all || !self.select.is_empty()
    }
}

/// How to delete.
#[derive(Debug, Args)]
struct How {
    /// Wait until it is gone
    #[arg(long, default_value_t = true, num_args = 0..=1, default_missing_value = "true", action = clap::ArgAction::Set)]
    wait: bool,
    /// How long to wait, such as `30s` or `2m`
    #[arg(long, value_parser = steersman::domain::spans::read)]
    timeout: Option<Duration>,
    /// Seconds that a pod has to end; 0 ends it at once
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(i64).range(0..))]
    grace_period: Option<i64>,
    /// The same as --grace-period=1
    #[arg(long, conflicts_with = "grace_period")]
    now: bool,
    /// What happens to the objects that this one owns
    #[arg(long, value_enum, default_value_t = Cascade::Background)]
    cascade: Cascade,
    /// An object that is not there is no error
    #[arg(long)]
    ignore_not_found: bool,
    /// Let the server say what would happen, and change nothing
    #[arg(long)]
    dry_run: bool,
}

/// What happens to dependents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Cascade {
    /// They are deleted after it
    Background,
    /// They are deleted before it
    Foreground,
    /// They stay
    Orphan,
}

impl How {
    fn options(&self) -> Value {
        let propagation = match self.cascade {
            Cascade::Background => "Background",
            Cascade::Foreground => "Foreground",
            Cascade::Orphan => "Orphan",
        };
        let mut options = json!({"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": propagation});
        if let Some(seconds) = self.grace_period.or(self.now.then_some(1)) {
            options["gracePeriodSeconds"] = json!(seconds);
        }
        if self.dry_run {
            options["dryRun"] = json!(["All"]);
        }
        options
    }
}

/// One object to delete.
struct Doomed {
    resource: Resource,
    namespace: Option<String>,
    name: String,
}

impl Doomed {
    fn path(&self) -> String {
        self.resource.path(self.namespace.as_deref(), Some(&self.name))
    }
}

/// Runs `delete`: all objects, even when one fails.
///
/// # Errors
/// The only failure as it is, or how many there were, each told before.
pub(crate) async fn run(delete: Delete) -> anyhow::Result<()> {
    let api = Api::new(&delete.scope.target.client)?;
    let discovery = Discovery::load(&api).await?;
    let doomed = if delete.files.is_empty() {
        by_words(&delete, &api, &discovery).await?
    } else {
        by_files(&delete, &api, &discovery)?
    };
    if doomed.is_empty() {
        out::note("No resources found");
    }
    let (mut failures, mut going) = (Vec::new(), Vec::new());
    for doomed in doomed {
        match api.json(Call::delete(doomed.path(), &delete.how.options())).await {
            Ok(answer) => {
                let suffix = if delete.how.dry_run { " (server dry run)" } else { "" };
                out::say(format!("{} \"{}\" deleted{suffix}", kind(&doomed.resource), doomed.name))?;
                going.push((doomed, uid(&answer)));
            }
            // What was selected may go by itself before its turn comes: it is gone, as was asked.
            Err(error) if (delete.how.ignore_not_found || delete.selects()) && is_refused(&error, 404) => {}
            Err(error) => failures.push(error),
        }
    }
    if delete.how.wait && !delete.how.dry_run {
        let gone = async {
            for (doomed, uid) in &going {
                wait_gone(&api, doomed, uid.as_deref()).await?;
            }
            anyhow::Ok(())
        };
        match delete.how.timeout {
            None => gone.await?,
            Some(limit) => match tokio::time::timeout(limit, gone).await {
                Ok(gone) => gone?,
                Err(_) => bail!("timed out after {limit:?}; what is left is still being deleted"),
            },
        }
    }
    crate::fail_with(failures)
}

fn kind(resource: &Resource) -> String {
    resource.named("").trim_end_matches('/').to_owned()
}

/// The uid in the answer to a deletion: of the object that is going, or in the details of a `Status`.
fn uid(answer: &Value) -> Option<String> {
    [&answer["metadata"]["uid"], &answer["details"]["uid"]].into_iter().find_map(|uid| uid.as_str().map(str::to_owned))
}

async fn by_words(delete: &Delete, api: &Api, discovery: &Discovery) -> anyhow::Result<Vec<Doomed>> {
    let targets = client::resolve(&delete.what, discovery)?;
    let scope = delete.scope.scope(&api.namespace);
    let selects = delete.selects();
    let mut doomed = Vec::new();
    for target in targets {
        let resource = target.resource;
        match (target.names.is_empty(), selects) {
            (true, false) => bail!("name the {} to delete, or select them with -l or --all", resource.plural),
            (false, true) => bail!("a selector or --all cannot go with a name"),
            (false, false) => {
                if scope == Scope::All {
                    bail!("a name needs one namespace, not all");
                }
                let namespace = scope.namespace().filter(|_| resource.namespaced).map(str::to_owned);
                let of = |name| Doomed { resource: resource.clone(), namespace: namespace.clone(), name };
                doomed.extend(target.names.into_iter().map(of));
            }
            (true, true) => {
                let list = Call::get(resource.path(scope.namespace(), None));
                for object in api.list(&delete.select.apply(list)).await? {
                    let text = |field: &str| object["metadata"][field].as_str().map(str::to_owned);
                    let Some(name) = text("name") else { continue };
                    doomed.push(Doomed { resource: resource.clone(), namespace: text("namespace"), name });
                }
            }
        }
    }
    Ok(doomed)
}

fn by_files(delete: &Delete, api: &Api, discovery: &Discovery) -> anyhow::Result<Vec<Doomed>> {
    let mut doomed = Vec::new();
    for document in files::read(&delete.files, delete.recursive)? {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let object = &document.object;
        let resource = discovery.of_kind(&text(&object["apiVersion"]), &text(&object["kind"]))?.clone();
        let name = text(&object["metadata"]["name"]);
        if name.is_empty() {
            bail!("{} has no metadata.name", document.from);
        }
        let own = Some(text(&object["metadata"]["namespace"])).filter(|own| !own.is_empty());
        let namespace = own.unwrap_or_else(|| delete.scope.target.namespace(&api.namespace));
        let namespace = resource.namespaced.then_some(namespace);
        doomed.push(Doomed { resource, namespace, name });
    }
    Ok(doomed)
}

/// Waits until the object is gone, or another one has its name.
async fn wait_gone(api: &Api, doomed: &Doomed, uid: Option<&str>) -> anyhow::Result<()> {
    loop {
        let Some(object) = api.find(Call::get(doomed.path())).await? else { return Ok(()) };
        if uid.is_some_and(|uid| object["metadata"]["uid"] != uid) {
            return Ok(());
        }
        let revision = object["metadata"]["resourceVersion"].as_str().unwrap_or_default();
        let list = Call::get(doomed.resource.path(doomed.namespace.as_deref(), None));
        let mut watch = api.watch(list.query("fieldSelector", format!("metadata.name={}", doomed.name)), revision);
        loop {
            match watch.next().await {
                Ok((event, _)) if event == "DELETED" => return Ok(()),
                Ok(_) => {}
                // The revision is compacted: look again, and watch from there.
                Err(error) if is_refused(&error, 410) => break,
                Err(error) => return Err(error),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_kubernetes() {
        let how = |grace_period, now, cascade| How {
            wait: true,
            timeout: None,
            grace_period,
            now,
            cascade,
            ignore_not_found: false,
            dry_run: false,
        };
        let plain = how(None, false, Cascade::Background).options();
        assert_eq!(plain, json!({"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background"}));
        assert_eq!(how(Some(0), false, Cascade::Orphan).options()["gracePeriodSeconds"], 0);
        assert_eq!(how(None, true, Cascade::Foreground).options()["gracePeriodSeconds"], 1);
    }

    #[test]
    fn the_uid_is_found_in_both_answers() {
        assert_eq!(uid(&json!({"metadata": {"uid": "a"}})).as_deref(), Some("a"));
        assert_eq!(uid(&json!({"kind": "Status", "metadata": {}, "details": {"uid": "b"}})).as_deref(), Some("b"));
        assert_eq!(uid(&json!({})), None);
    }
}
