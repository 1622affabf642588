//! `steer apply`: brings the cluster to what manifests say, as kubectl's client-side apply does it: the manifest is
//! kept in an annotation, so the next one can tell what was taken out.

mod three_way;

use crate::client::{self, Api, Call, Discovery, MERGE_PATCH, STRATEGIC_PATCH, TargetFlags};
use crate::up::follow::{Follow, follow};
use crate::up::progress::workloads;
use crate::{files, out};
use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use steersman_kubernetes::{Gvk, schema::schema};

/// The annotation that keeps the manifest; kubectl's, so that both can be used on one object.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// Tries, when somebody else creates or deletes the object in between.
const TRIES: u32 = 5;

/// The arguments of `apply`.
#[derive(Debug, Args)]
pub(crate) struct Apply {
    #[command(flatten)]
    files: Files,
    #[command(flatten)]
    target: TargetFlags,
    #[command(flatten)]
    how: How,
    /// Wait until the workloads among the manifests are ready (jobs: done), and show how far they are
    #[arg(long, conflicts_with = "dry_run")]
    wait: bool,
    /// How long to wait, such as `30s` or `2m`
    #[arg(long, requires = "wait", value_name = "SPAN", value_parser = steersman::domain::spans::read)]
    timeout: Option<Duration>,
}

/// How to apply.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct How {
    /// Let the server say what would happen, and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// What the server does about fields it does not know
    #[arg(long, value_enum, default_value_t = Validate::Strict)]
    pub(crate) validate: Validate,
}

/// Which manifests.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Files {
    /// A manifest, a folder of them, or `-`; can be given several times
    #[arg(short, long = "filename", value_name = "FILE|DIR|-", required = true)]
    pub(crate) files: Vec<PathBuf>,
    /// Folders within folders too
    #[arg(short = 'R', long)]
    pub(crate) recursive: bool,
}

/// What the server does about unknown fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Validate {
    /// Refuse the object
    Strict,
    /// Take it with a warning
    Warn,
    /// Take it
    Ignore,
}

impl Validate {
    fn wire(self) -> &'static str {
        match self {
            Validate::Strict => "Strict",
            Validate::Warn => "Warn",
            Validate::Ignore => "Ignore",
        }
    }
}

/// Runs `apply`: all documents, even when one fails.
///
/// # Errors
/// The only failure as it is, or how many there were, each told before.
pub(crate) async fn run(apply: Apply) -> anyhow::Result<()> {
    let documents = files::read(&apply.files.files, apply.files.recursive)?;
    let api = Arc::new(Api::new(&apply.target.client)?);
    documents_to(&api, &documents, (apply.target.namespace.as_deref(), apply.how)).await?;
    if !apply.wait {
        return Ok(());
    }
    let only = Some(workloads(&documents, &apply.target.namespace(&api.namespace)));
    let ready = follow(api, Follow { only, until_ready: true });
    match apply.timeout {
        None => ready.await,
        Some(limit) => match tokio::time::timeout(limit, ready).await {
            Ok(ready) => ready,
            Err(_) => bail!("not all workloads are ready after {limit:?}; `steer why` tells what they wait for"),
        },
    }
}

/// Applies documents in order, and says what happened to each; goes on when one fails.
///
/// # Errors
/// The only failure as it is, or how many there were, each told before.
pub(crate) async fn documents_to(
    api: &Api,
    documents: &[files::Document],
    (namespace, how): (Option<&str>, How),
) -> anyhow::Result<()> {
    let discovery = Discovery::load(api).await?;
    let applier = Applier { api, discovery: &discovery, namespace, how };
    let (mut failures, mut unread) = (Vec::new(), Ok(()));
    for document in documents {
        let said = applier.one(&document.object).await;
        match said.with_context(|| format!("applying {}", document.from)) {
            // What nobody reads is applied all the same.
            Ok(said) => unread = unread.and_then(|()| out::say(said)),
            Err(error) => failures.push(error),
        }
    }
    crate::fail_with(failures).and(unread)
}

struct Applier<'a> {
    api: &'a Api,
    discovery: &'a Discovery,
    namespace: Option<&'a str>,
    how: How,
}

impl Applier<'_> {
    /// Applies one object; says what happened.
    async fn one(&self, object: &Value) -> anyhow::Result<String> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let kind = text(&object["kind"]);
        let resource = self.discovery.of_kind(&text(&object["apiVersion"]), &kind)?;
        let name = text(&object["metadata"]["name"]);
        if name.is_empty() {
            bail!("the {kind} has no metadata.name, which apply needs to find it again");
        }
        let mut object = object.clone();
        let namespace = if resource.namespaced {
            Some(choose_namespace(&mut object, self.namespace, &self.api.namespace)?)
        } else {
            None
        };
        let modified = annotated(&object)?;
        let path = resource.path(namespace.as_deref(), Some(&name));
        let said = |what: &str| {
            format!("{} {what}{}", resource.named(&name), if self.how.dry_run { " (server dry run)" } else { "" })
        };
        for last in (1..=TRIES).map(|try_| try_ == TRIES) {
            let Some(current) = self.api.find(Call::get(path.clone())).await? else {
                let call = self.options(Call::post(resource.path(namespace.as_deref(), None), &modified));
                match self.api.json(call).await {
                    Ok(_) => return Ok(said("created")),
                    Err(error) if client::is_refused(&error, 409) && !last => continue,
                    Err(error) => return Err(error),
                }
            };
            let of = schema().of_kind(Gvk::of(&object));
            let patch = three_way::patch(&original(&current), &modified, &current, of);
            if patch.is_empty() {
                return Ok(said("unchanged"));
            }
            let form = if of.is_some() { STRATEGIC_PATCH } else { MERGE_PATCH };
            match self.api.json(self.options(Call::patch(path.clone(), form, &Value::Object(patch)))).await {
                Ok(after) => {
                    let revision = |object: &Value| object["metadata"]["resourceVersion"].clone();
                    let same = !self.how.dry_run && revision(&after) == revision(&current);
                    return Ok(said(if same { "unchanged" } else { "configured" }));
                }
                Err(error) if (client::is_refused(&error, 404) || client::is_refused(&error, 409)) && !last => {}
                Err(error) => return Err(error),
            }
        }
        bail!("{} changed again and again while it was applied", resource.named(&name))
    }

    fn options(&self, call: Call) -> Call {
        call.query("dryRun", if self.how.dry_run { "All" } else { "" })
            .query("fieldManager", "steer")
            .query("fieldValidation", self.how.validate.wire())
    }
}

/// Puts the namespace into the object and gives it.
fn choose_namespace(object: &mut Value, asked: Option<&str>, default: &str) -> anyhow::Result<String> {
    let own = object["metadata"]["namespace"].as_str().filter(|own| !own.is_empty());
    if let (Some(own), Some(asked)) = (own, asked)
        && own != asked
    {
        bail!("the namespace {own:?} of the object is not {asked:?}: leave --namespace out, or pass --namespace={own}");
    }
    let namespace = own.or(asked).unwrap_or(default).to_owned();
    object["metadata"]["namespace"] = json!(namespace);
    Ok(namespace)
}

/// The object with itself in the annotation.
fn annotated(object: &Value) -> anyhow::Result<Value> {
    let mut object = object.clone();
    let metadata = object.get_mut("metadata").and_then(Value::as_object_mut).context("metadata is no object")?;
    let annotations = metadata.entry("annotations").or_insert_with(|| json!({}));
    if annotations.is_null() {
        *annotations = json!({});
    }
    annotations.as_object_mut().context("metadata.annotations is no object")?.remove(LAST_APPLIED);
    let text = format!("{object}\n");
    object["metadata"]["annotations"][LAST_APPLIED] = text.into();
    Ok(object)
}

/// The manifest that was applied last; nothing when there was none.
fn original(current: &Value) -> Value {
    let text = current["metadata"]["annotations"][LAST_APPLIED].as_str().unwrap_or("null");
    serde_json::from_str(text).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::testing::{answer, plain, serve};
    use std::sync::Mutex;

    /// Applies a ConfigMap to a server that has `current`; gives what was asked of the server, reads aside.
    async fn asked(current: Option<Value>, how: How) -> Vec<String> {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&asked);
        let (address, _) = serve(move |method, uri| {
            match (method, uri) {
                ("GET", "/api") => return answer(200, r#"{"versions": ["v1"]}"#),
                ("GET", "/apis") => return answer(200, r#"{"groups": []}"#),
                ("GET", "/api/v1") => return answer(
                    200,
                    r#"{"resources": [{"name": "configmaps", "kind": "ConfigMap", "namespaced": true, "verbs": ["get"]}]}"#,
                ),
                ("GET", _) => return match &current {
                    Some(current) => answer(200, &current.to_string()),
                    None => answer(404, "{}"),
                },
                _ => log.lock().expect("no panic").push(format!("{method} {uri}")),
            }
            answer(200, r#"{"metadata": {"resourceVersion": "9"}}"#)
        })
        .await;
        let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"x": "1"}});
        let document = files::Document { from: "a.yaml".to_owned(), object };
        documents_to(&plain(address), &[document], (Some("n"), how)).await.expect("applied");
        std::mem::take(&mut *asked.lock().expect("no panic"))
    }

    #[tokio::test]
    async fn what_is_missing_is_created_and_what_differs_is_patched() {
        let how = How { dry_run: false, validate: Validate::Strict };
        let query = "fieldManager=steer&fieldValidation=Strict";
        let maps = "/api/v1/namespaces/n/configmaps";
        assert_eq!(asked(None, how).await, [format!("POST {maps}?{query}")]);
        let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "n"}, "data": {"x": "1"}});
        let mut current = annotated(&object).expect("good");
        assert!(asked(Some(current.clone()), how).await.is_empty(), "unchanged");
        current["data"]["x"] = json!("2");
        let dry = How { dry_run: true, validate: Validate::Warn };
        let dry_query = "dryRun=All&fieldManager=steer&fieldValidation=Warn";
        assert_eq!(asked(Some(current.clone()), how).await, [format!("PATCH {maps}/a?{query}")]);
        assert_eq!(asked(Some(current), dry).await, [format!("PATCH {maps}/a?{dry_query}")]);
    }

    #[test]
    fn the_manifest_is_kept_as_kubectl_keeps_it() {
        let object = json!({"kind": "A", "apiVersion": "v1", "metadata": {"name": "a"}});
        let kept = annotated(&object).expect("good");
        let text = kept["metadata"]["annotations"][LAST_APPLIED].as_str().expect("an annotation");
        assert_eq!(text, "{\"apiVersion\":\"v1\",\"kind\":\"A\",\"metadata\":{\"annotations\":{},\"name\":\"a\"}}\n");
        assert_eq!(annotated(&kept).expect("good"), kept, "it never holds itself");
        assert_eq!(original(&kept)["metadata"]["name"], "a");
        assert_eq!(original(&json!({"metadata": {"annotations": {LAST_APPLIED: "{oops"}}})), Value::Null);
        assert!(annotated(&json!({"metadata": {"annotations": []}})).is_err());
        assert!(annotated(&json!({})).is_err());
    }

    #[test]
    fn the_namespace_is_the_objects_then_the_flags_then_the_default() {
        let choose = |own: Value, asked: Option<&str>| {
            let mut object = json!({"metadata": {"namespace": own}});
            let chosen = choose_namespace(&mut object, asked, "default");
            chosen.inspect(|chosen| assert_eq!(object["metadata"]["namespace"], json!(chosen)))
        };
        assert_eq!(choose(json!("a"), None).expect("good"), "a");
        assert_eq!(choose(Value::Null, Some("b")).expect("good"), "b");
        assert_eq!(choose(json!(""), None).expect("good"), "default");
        let error = choose(json!("a"), Some("b")).expect_err("they differ").to_string();
        assert!(error.contains("--namespace=a"), "{error}");
    }
}
