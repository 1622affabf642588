//! What a server serves: kinds with their plural, short names and categories, read from its discovery documents.

use super::{Api, Call};
use anyhow::{Context as _, bail};
use serde_json::Value;

/// A kind that a server serves.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Resource {
    /// Empty for the core group.
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) plural: String,
    pub(crate) singular: String,
    pub(crate) kind: String,
    pub(crate) short: Vec<String>,
    pub(crate) categories: Vec<String>,
    pub(crate) namespaced: bool,
    pub(crate) verbs: Vec<String>,
}

impl Resource {
    /// The path of the collection, or of one object.
    pub(crate) fn path(&self, namespace: Option<&str>, name: Option<&str>) -> String {
        let mut path = if self.group.is_empty() {
            format!("/api/{}", self.version)
        } else {
            format!("/apis/{}/{}", self.group, self.version)
        };
        let mut push = |part: &str| {
            path.push('/');
            super::encode(part, &mut path);
        };
        if let Some(namespace) = namespace.filter(|_| self.namespaced) {
            push("namespaces");
            push(namespace);
        }
        push(&self.plural);
        if let Some(name) = name {
            push(name);
        }
        path
    }

    /// `deployments.apps`, or `pods`.
    pub(crate) fn qualified(&self) -> String {
        join(&self.plural, &self.group)
    }

    /// `deployment.apps/web`, or `pod/web`.
    pub(crate) fn named(&self, name: &str) -> String {
        format!("{}/{name}", join(&self.singular, &self.group))
    }

    /// Whether it is the kind of this group.
    pub(crate) fn is(&self, group: &str, kind: &str) -> bool {
        self.group == group && self.kind == kind
    }

    fn can(&self, verb: &str) -> bool {
        self.verbs.iter().any(|have| have == verb)
    }
}

fn join(name: &str, group: &str) -> String {
    if group.is_empty() { name.to_owned() } else { format!("{name}.{group}") }
}

/// Everything a server serves, core first, preferred versions before others.
#[derive(Debug, Default)]
pub(crate) struct Discovery {
    resources: Vec<Resource>,
}

impl Discovery {
    /// Asks the server.
    ///
    /// # Errors
    /// When the server cannot be reached, or answers otherwise than discovery does.
    pub(crate) async fn load(api: &Api) -> anyhow::Result<Self> {
        let mut paths = Vec::new();
        let core = api.json(Call::get("/api")).await?;
        for version in core["versions"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            paths.push((String::new(), version.to_owned(), format!("/api/{version}")));
        }
        let groups = api.json(Call::get("/apis")).await?;
        for group in groups["groups"].as_array().into_iter().flatten() {
            let name = group["name"].as_str().context("a group of /apis has no name")?;
            let preferred = group["preferredVersion"]["version"].as_str().unwrap_or_default();
            let versions = group["versions"].as_array().into_iter().flatten();
            let mut versions: Vec<_> = versions.filter_map(|version| version["version"].as_str()).collect();
            versions.sort_by_key(|version| *version != preferred);
            let all = versions.into_iter().map(|v| (name.to_owned(), v.to_owned(), format!("/apis/{name}/{v}")));
            paths.extend(all);
        }
        let mut discovery = Self::default();
        for (group, version, path) in paths {
            // A group that disappeared in between is one that is not served.
            if let Some(list) = api.find(Call::get(path)).await? {
                discovery.add(&group, &version, &list);
            }
        }
        Ok(discovery)
    }

    fn add(&mut self, group: &str, version: &str, list: &Value) {
        for entry in list["resources"].as_array().into_iter().flatten() {
            let text = |field: &str| entry[field].as_str().unwrap_or_default().to_owned();
            let texts = |field: &str| {
                let list = entry[field].as_array().into_iter().flatten();
                list.filter_map(|value| value.as_str().map(str::to_owned)).collect()
            };
            let (plural, kind) = (text("name"), text("kind"));
            if plural.contains('/') || plural.is_empty() {
                continue;
            }
            let singular = Some(text("singularName")).filter(|name| !name.is_empty());
            self.resources.push(Resource {
                group: group.to_owned(),
                version: version.to_owned(),
                singular: singular.unwrap_or_else(|| kind.to_lowercase()),
                plural,
                kind,
                short: texts("shortNames"),
                categories: texts("categories"),
                namespaced: entry["namespaced"].as_bool().unwrap_or(false),
                verbs: texts("verbs"),
            });
        }
    }

    /// The resource that a word names: `deploy`, `deployment`, `Deployments`, `deployments.apps`, `deployments.v1.apps`.
    ///
    /// # Errors
    /// When the server has no such type; the message names one that is written alike.
    pub(crate) fn find(&self, word: &str) -> anyhow::Result<&Resource> {
        let lower = word.to_lowercase();
        let names = |resource: &Resource, name: &str| {
            resource.plural == name || resource.singular == name || resource.short.iter().any(|short| short == name)
        };
        if let Some(found) = self.resources.iter().find(|resource| names(resource, &lower)) {
            return Ok(found);
        }
        if let Some((name, rest)) = lower.split_once('.') {
            let of = |resource: &&Resource| {
                names(resource, name) && (resource.group == rest || join(&resource.version, &resource.group) == rest)
            };
            if let Some(found) = self.resources.iter().find(of) {
                return Ok(found);
            }
        }
        let alike = self.resources.iter().find(|resource| {
            let (plural, word) = (resource.plural.as_str(), lower.as_str());
            word.len() > 2 && (plural.starts_with(word) || word.starts_with(plural.trim_end_matches('s')))
        });
        match alike {
            Some(alike) => bail!("the server doesn't have a resource type {word:?}; it has {}", alike.qualified()),
            None => bail!("the server doesn't have a resource type {word:?}"),
        }
    }

    /// The resources of a category such as `all` that can be listed, each once.
    pub(crate) fn category(&self, category: &str) -> Vec<&Resource> {
        let mut found: Vec<&Resource> = Vec::new();
        for resource in &self.resources {
            let twin = found.iter().any(|have| have.group == resource.group && have.plural == resource.plural);
            if !twin && resource.can("list") && resource.categories.iter().any(|have| have == category) {
                found.push(resource);
            }
        }
        found
    }

    /// The resource of a kind as objects name it.
    ///
    /// # Errors
    /// When the server does not serve the kind in this version; the message says in which it does.
    pub(crate) fn of_kind(&self, api_version: &str, kind: &str) -> anyhow::Result<&Resource> {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let exact = |r: &&Resource| r.kind == kind && r.group == group && r.version == version && r.can("get");
        if let Some(found) = self.resources.iter().find(exact) {
            return Ok(found);
        }
        let others = self.resources.iter().filter(|r| r.kind == kind && r.can("get"));
        let others: Vec<_> = others
            .map(|r| if r.group.is_empty() { r.version.clone() } else { format!("{}/{}", r.group, r.version) })
            .collect();
        if others.is_empty() {
            bail!("no matches for kind {kind:?} in version {api_version:?}: the server does not serve it");
        }
        bail!("no matches for kind {kind:?} in version {api_version:?}: the server has it in {}", others.join(", "));
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use serde_json::json;

    pub(crate) fn sample() -> Discovery {
        let mut discovery = Discovery::default();
        let verbs = json!(["get", "list"]);
        let core = json!({"resources": [
            {"name": "pods", "singularName": "pod", "namespaced": true, "kind": "Pod", "shortNames": ["po"],
             "categories": ["all"], "verbs": verbs},
            {"name": "pods/log", "namespaced": true, "kind": "Pod", "verbs": ["get"]},
            {"name": "nodes", "singularName": "", "namespaced": false, "kind": "Node", "shortNames": ["no"],
             "verbs": verbs},
        ]});
        discovery.add("", "v1", &core);
        let apps = json!({"resources": [
            {"name": "deployments", "singularName": "deployment", "namespaced": true, "kind": "Deployment",
             "shortNames": ["deploy"], "categories": ["all"], "verbs": verbs},
        ]});
        discovery.add("apps", "v1", &apps);
        discovery
    }

    #[test]
    fn words_name_resources() {
        let discovery = sample();
        for word in ["deploy", "deployment", "deployments", "Deployment", "deployments.apps", "deploy.v1.apps"] {
            assert_eq!(discovery.find(word).expect(word).kind, "Deployment");
        }
        assert_eq!(discovery.find("node").expect("its singular is the kind").plural, "nodes");
        let unknown = discovery.find("deploymints").expect_err("unknown").to_string();
        assert_eq!(unknown, "the server doesn't have a resource type \"deploymints\"");
        let near = discovery.find("podes").expect_err("unknown").to_string();
        assert_eq!(near, "the server doesn't have a resource type \"podes\"; it has pods");
        assert!(discovery.find("pods/log").is_err() && discovery.find("").is_err());
    }

    #[test]
    fn kinds_and_categories_are_found() {
        let discovery = sample();
        let all: Vec<_> = discovery.category("all").iter().map(|resource| resource.plural.clone()).collect();
        assert_eq!(all, ["pods", "deployments"]);
        assert!(discovery.of_kind("apps/v1", "Deployment").is_ok());
        let old = discovery.of_kind("apps/v1beta1", "Deployment").expect_err("old").to_string();
        assert!(old.ends_with("the server has it in apps/v1"), "{old}");
        assert!(discovery.of_kind("v1", "Nope").is_err());
    }

    #[test]
    fn paths_and_names_are_kubernetes() {
        let discovery = sample();
        let deploy = discovery.find("deploy").expect("known");
        assert_eq!(deploy.path(Some("shop"), Some("web")), "/apis/apps/v1/namespaces/shop/deployments/web");
        assert_eq!(deploy.path(None, None), "/apis/apps/v1/deployments");
        assert_eq!(deploy.named("web"), "deployment.apps/web");
        let node = discovery.find("no").expect("known");
        assert_eq!(node.path(Some("shop"), Some("a/b")), "/api/v1/nodes/a%2Fb");
        assert_eq!(node.named("n"), "node/n");
    }
}
