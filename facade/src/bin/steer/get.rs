//! `steer get`: objects as tables, YAML, JSON or names, once or as they change.

use crate::client::{self, AS_TABLE, Api, Call, Discovery, Scope, ScopeFlags, Target, is_refused};
use crate::out;
use crate::table::{Style, Table};
use anyhow::bail;
use clap::{Args, ValueEnum};
use serde_json::{Value, json};

/// The arguments of `get`.
#[derive(Debug, Args)]
pub(crate) struct Get {
    /// TYPE, TYPE NAME…, TYPE,TYPE, TYPE/NAME… or `all`
    #[arg(required = true, value_name = "WHAT")]
    what: Vec<String>,
    #[command(flatten)]
    scope: ScopeFlags,
    #[command(flatten)]
    select: Select,
    /// How to print
    #[arg(short, long, value_enum)]
    output: Option<Output>,
    /// Go on printing what changes
    #[arg(short, long)]
    watch: bool,
    /// No line with the titles
    #[arg(long)]
    no_headers: bool,
    /// A column with all labels
    #[arg(long)]
    show_labels: bool,
    /// A column for each of these labels
    #[arg(short = 'L', long, value_name = "LABEL", value_delimiter = ',')]
    label_columns: Vec<String>,
    /// An object that is not there is no error
    #[arg(long)]
    ignore_not_found: bool,
}

/// Which objects of a type.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Select {
    /// Only objects with these labels, such as `app=web,tier!=api` or `env in (a,b)`
    #[arg(short = 'l', long, value_name = "SELECTOR", default_value = "", hide_default_value = true)]
    pub(crate) selector: String,
    /// Only objects with these fields, such as `status.phase=Running`
    #[arg(long, value_name = "SELECTOR", default_value = "", hide_default_value = true)]
    pub(crate) field_selector: String,
}

impl Select {
    /// Adds the selectors to a list call.
    pub(crate) fn apply(&self, call: Call) -> Call {
        call.query("labelSelector", self.selector.as_str()).query("fieldSelector", self.field_selector.as_str())
    }

    /// Whether nothing is selected.
    pub(crate) fn is_empty(&self) -> bool {
        self.selector.is_empty() && self.field_selector.is_empty()
    }
}

/// Ways to print objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// A table with all columns
    Wide,
    Yaml,
    Json,
    /// TYPE/NAME
    Name,
}

struct Run<'a> {
    get: &'a Get,
    api: &'a Api,
    scope: Scope,
}

/// Runs `get`.
///
/// # Errors
/// As the server refuses, or for words that name nothing.
pub(crate) async fn run(get: Get) -> anyhow::Result<()> {
    let api = Api::new(&get.scope.target.client)?;
    let targets = client::resolve(&get.what, &Discovery::load(&api).await?)?;
    if targets.iter().any(|target| !target.names.is_empty()) && (get.scope.all_namespaces || !get.select.is_empty()) {
        bail!("a selector or --all-namespaces cannot go with a name");
    }
    let run = Run { get: &get, api: &api, scope: get.scope.scope(&api.namespace) };
    match get.output {
        None | Some(Output::Wide) => run.tables(&targets).await,
        Some(Output::Name) => run.names(&targets).await,
        Some(Output::Yaml | Output::Json) => run.objects(&targets).await,
    }
}

impl Run<'_> {
    fn collection(&self, target: &Target) -> Call {
        self.get.select.apply(Call::get(target.resource.path(self.scope.namespace(), None)))
    }

    fn single(&self, target: &Target, name: &str) -> Call {
        Call::get(target.resource.path(self.scope.namespace(), Some(name)))
    }

    /// What the server answers for a target: lists in chunks, or one answer per name.
    async fn answers(&self, target: &Target, accept: &'static str) -> anyhow::Result<Vec<Value>> {
        if target.names.is_empty() {
            return self.api.chunks(&self.collection(target).accept(accept)).await;
        }
        let mut answers = Vec::new();
        for name in &target.names {
            match self.api.json(self.single(target, name).accept(accept)).await {
                Ok(answer) => answers.push(answer),
                Err(error) if self.get.ignore_not_found && is_refused(&error, 404) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(answers)
    }

    async fn tables(&self, targets: &[Target]) -> anyhow::Result<()> {
        let colour = out::coloured();
        let mut printed = 0;
        for target in targets {
            let answers = self.answers(target, AS_TABLE).await?;
            let mut table = Table::default();
            answers.iter().for_each(|answer| table.add(answer, out::now()));
            if table.is_empty() && !self.get.watch {
                continue;
            }
            let style = self.style(target, targets.len() > 1);
            let mut lines = if self.get.no_headers { Vec::new() } else { vec![table.head(&style)] };
            lines.extend(table.lines(&style));
            if printed > 0 {
                out::say("")?;
            }
            // Without a head the first line would be taken for it, so nothing is coloured.
            let colour = colour && !self.get.no_headers;
            if !table.is_empty() {
                out::print(&out::columns(&lines, colour))?;
            }
            printed += 1;
            if self.get.watch {
                let widths = out::widths(&lines, &[]);
                let revision = answers.last().and_then(revision_of).unwrap_or_default();
                let print = |event: &Value, first: bool| {
                    let mut table = Table::default();
                    table.add(event, out::now());
                    let mut lines = vec![table.head(&style)];
                    lines.extend(table.lines(&style));
                    let text = out::columns_at_least(&lines, &widths, colour);
                    let skip = if first && lines.len() > 1 && !self.get.no_headers { 0 } else { 1 };
                    text.lines().skip(skip).try_for_each(out::say)
                };
                return self.watch(targets, AS_TABLE, (&revision, table.is_empty()), print).await;
            }
        }
        self.say_if_none(printed, targets);
        Ok(())
    }

    fn style(&self, target: &Target, several: bool) -> Style {
        Style {
            wide: self.get.output == Some(Output::Wide),
            namespace: self.scope == Scope::All && target.resource.namespaced,
            labels: self.get.show_labels,
            label_columns: self.get.label_columns.clone(),
            prefix: if several { target.resource.named("") } else { String::new() },
        }
    }

    fn say_if_none(&self, printed: usize, targets: &[Target]) {
        if printed > 0 || self.get.ignore_not_found {
            return;
        }
        match self.scope.namespace() {
            Some(namespace) if targets.iter().any(|target| target.resource.namespaced) => {
                crate::out::note(format!("No resources found in {namespace} namespace."));
            }
            _ => crate::out::note("No resources found"),
        }
    }

    async fn names(&self, targets: &[Target]) -> anyhow::Result<()> {
        let named = |target: &Target, object: &Value| {
            out::say(target.resource.named(object["metadata"]["name"].as_str().unwrap_or_default()))
        };
        let mut revision = String::new();
        for target in targets {
            for answer in self.answers(target, "application/json").await? {
                revision = revision_of(&answer).unwrap_or_default();
                objects_of(target, &answer).iter().try_for_each(|object| named(target, object))?;
            }
        }
        if !self.get.watch {
            return Ok(());
        }
        self.watch(targets, "application/json", (&revision, false), |object, _| named(&targets[0], object)).await
    }

    async fn objects(&self, targets: &[Target]) -> anyhow::Result<()> {
        let mut objects = Vec::new();
        let mut revision = String::new();
        for target in targets {
            for answer in self.answers(target, "application/json").await? {
                revision = revision_of(&answer).unwrap_or_default();
                objects.extend(objects_of(target, &answer));
            }
        }
        let single = matches!(targets, [Target { names, .. }] if names.len() == 1);
        if self.get.watch {
            objects.iter().try_for_each(|object| self.print(object))?;
            return self.watch(targets, "application/json", (&revision, false), |object, _| self.print(object)).await;
        }
        match objects.as_slice() {
            [] if single => Ok(()),
            [object] if single => self.print(object),
            _ => self.print(&json!({
                "apiVersion": "v1", "kind": "List", "items": objects, "metadata": {"resourceVersion": ""}
            })),
        }
    }

    fn print(&self, object: &Value) -> anyhow::Result<()> {
        let mut object = object.clone();
        strip(&mut object);
        if self.get.output == Some(Output::Json) {
            out::say(format!("{object:#}"))
        } else if self.get.watch {
            out::print(&format!("---\n{}", out::yaml(&object)?))
        } else {
            out::print(&out::yaml(&object)?)
        }
    }

    /// Prints every change of the one target there is, until interrupted. `print` also learns whether it is the first.
    async fn watch(
        &self,
        targets: &[Target],
        accept: &'static str,
        (revision, mut first): (&str, bool),
        print: impl Fn(&Value, bool) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let [target] = targets else { bail!("--watch needs one type") };
        let call = match target.names.as_slice() {
            [] => self.collection(target),
            [name] => Call::get(target.resource.path(self.scope.namespace(), None))
                .query("fieldSelector", format!("metadata.name={name}")),
            _ => bail!("--watch takes one name at most"),
        };
        let mut watch = self.api.watch(call.accept(accept), revision);
        loop {
            let (_, object) = watch.next().await?;
            print(&object, first)?;
            first = false;
        }
    }
}

fn objects_of(target: &Target, answer: &Value) -> Vec<Value> {
    if target.names.is_empty() { client::items(answer) } else { vec![answer.clone()] }
}

/// The revision to watch from: that of the list or, of a single object, its own.
fn revision_of(answer: &Value) -> Option<String> {
    let row = &answer["rows"][0]["object"]["metadata"]["resourceVersion"];
    let whole = &answer["metadata"]["resourceVersion"];
    [whole, row].into_iter().find_map(|value| value.as_str().filter(|text| !text.is_empty())).map(str::to_owned)
}

/// Leaves out what only machines read.
fn strip(object: &mut Value) {
    if let Some(items) = object.get_mut("items").and_then(Value::as_array_mut) {
        items.iter_mut().for_each(strip);
    }
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn managed_fields_are_not_shown() {
        let mut list = json!({"items": [{"metadata": {"name": "a", "managedFields": [1]}}]});
        strip(&mut list);
        assert_eq!(list, json!({"items": [{"metadata": {"name": "a"}}]}));
    }

    #[test]
    fn the_revision_is_the_lists_or_the_objects() {
        let table =
            json!({"metadata": {"resourceVersion": ""}, "rows": [{"object": {"metadata": {"resourceVersion": "4"}}}]});
        assert_eq!(revision_of(&table).as_deref(), Some("4"));
        assert_eq!(revision_of(&json!({"metadata": {"resourceVersion": "9"}})).as_deref(), Some("9"));
        assert_eq!(revision_of(&json!({})), None);
    }
}
