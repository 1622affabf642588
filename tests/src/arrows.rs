//! The arrows between the crates: who may depend on whom, read from `cargo metadata`.
//!
//! It looks at every kind of dependency (normal, build, development): a test that needs a concrete adapter belongs in
//! this crate, which may use anything.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// Which crates of the workspace each crate may name. `steersman-tests` and `xtask` may name any and are not listed.
const ALLOWED: &[(&str, &[&str])] = &[
    ("steersman-domain", &[]),
    ("steersman-application", &["steersman-domain"]),
    ("steersman-store", &["steersman-domain"]),
    ("steersman-runtime", &["steersman-domain"]),
    ("steersman-kubernetes", &["steersman-domain"]),
    // The wire rules are pure and do no IO; ADR 0002.
    ("steersman-http", &["steersman-domain", "steersman-application", "steersman-kubernetes"]),
    (
        "steersman",
        &[
            "steersman-domain",
            "steersman-application",
            "steersman-http",
            "steersman-kubernetes",
            "steersman-runtime",
            "steersman-store",
        ],
    ),
];

/// Crates that test or build the others, and may name any of them.
const UNBOUND: &[&str] = &["steersman-tests", "xtask"];

/// What the domain must not reach, not even through others: an executor would let IO and time in.
const BARRED_FROM_DOMAIN: &[&str] = &["tokio", "async-std", "smol", "hyper", "rustix", "libc"];

/// Every edge that the design does not allow, and every crate it does not know, as sentences; empty when all is well.
#[must_use]
pub fn wrong_arrows(metadata: &Value) -> Vec<String> {
    let packages = members(metadata);
    let names: BTreeSet<&str> = packages.iter().filter_map(|package| package["name"].as_str()).collect();
    let mut wrong = Vec::new();
    for package in &packages {
        let name = package["name"].as_str().unwrap_or_default();
        if UNBOUND.contains(&name) {
            continue;
        }
        let Some((_, allowed)) = ALLOWED.iter().find(|(known, _)| *known == name) else {
            wrong.push(format!("{name} has no place in the design: give it one by an ADR and in tests/src/arrows.rs"));
            continue;
        };
        for dependency in list(&package["dependencies"]) {
            let target = dependency["name"].as_str().unwrap_or_default();
            // A crate may name itself in a development dependency, to switch a feature on for its tests.
            if names.contains(target) && target != name && !allowed.contains(&target) {
                let kind = dependency["kind"].as_str().unwrap_or("normal");
                wrong.push(format!("{name} must not depend on {target} ({kind})"));
            }
        }
    }
    wrong
}

/// Every barred crate that the domain reaches through normal dependencies, with the way it is reached.
#[must_use]
pub fn domain_reach(metadata: &Value) -> Vec<String> {
    let names: BTreeMap<&str, &str> = list(&metadata["packages"])
        .iter()
        .filter_map(|package| Some((package["id"].as_str()?, package["name"].as_str()?)))
        .collect();
    let nodes: BTreeMap<&str, &Value> =
        list(&metadata["resolve"]["nodes"]).iter().filter_map(|node| Some((node["id"].as_str()?, node))).collect();
    let Some((start, _)) = names.iter().find(|(_, name)| **name == "steersman-domain") else {
        return vec!["cargo metadata knows no steersman-domain".to_owned()];
    };
    let mut ways = BTreeMap::from([(*start, "steersman-domain".to_owned())]);
    let mut open = vec![*start];
    let mut found = Vec::new();
    while let Some(id) = open.pop() {
        let Some(node) = nodes.get(id) else { continue };
        for edge in list(&node["deps"]) {
            let normal = list(&edge["dep_kinds"]).iter().any(|kind| kind["kind"].is_null());
            let Some(target) = edge["pkg"].as_str().filter(|target| normal && !ways.contains_key(target)) else {
                continue;
            };
            let name = names.get(target).copied().unwrap_or(target);
            let way = format!("{} -> {name}", ways[id]);
            if BARRED_FROM_DOMAIN.contains(&name) {
                found.push(way.clone());
            }
            ways.insert(target, way);
            open.push(target);
        }
    }
    found
}

/// Crates whose manifest does not take the workspace's licence, or is not kept from publication by accident.
#[must_use]
pub fn wrong_manifests(metadata: &Value) -> Vec<String> {
    let mut wrong = Vec::new();
    for package in members(metadata) {
        let name = package["name"].as_str().unwrap_or_default();
        if package["license"].as_str() != Some("MIT OR Apache-2.0") {
            wrong.push(format!("{name} is not under MIT OR Apache-2.0: write `license.workspace = true`"));
        }
        if package["description"].as_str().is_none_or(str::is_empty) {
            wrong.push(format!("{name} does not say what it is: write a `description`"));
        }
    }
    wrong
}

/// The packages of the workspace itself.
fn members(metadata: &Value) -> Vec<&Value> {
    let ids: BTreeSet<&str> = list(&metadata["workspace_members"]).iter().filter_map(Value::as_str).collect();
    list(&metadata["packages"])
        .iter()
        .filter(|package| package["id"].as_str().is_some_and(|id| ids.contains(id)))
        .collect()
}

/// The elements of a JSON array; none for anything else.
fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Metadata of a workspace with the given edges; `kind` is null for a normal dependency.
    fn workspace(edges: &[(&str, &str, Value)]) -> Value {
        let mut names: BTreeSet<&str> = BTreeSet::from(["steersman-domain"]);
        names.extend(edges.iter().flat_map(|(from, to, _)| [*from, *to]));
        let packages: Vec<Value> = names
            .iter()
            .map(|name| {
                let dependencies: Vec<Value> = edges
                    .iter()
                    .filter(|(from, ..)| from == name)
                    .map(|(_, to, kind)| json!({"name": to, "kind": kind}))
                    .collect();
                json!({"id": name, "name": name, "dependencies": dependencies})
            })
            .collect();
        let nodes: Vec<Value> = names
            .iter()
            .map(|name| {
                let deps: Vec<Value> = edges
                    .iter()
                    .filter(|(from, ..)| from == name)
                    .map(|(_, to, kind)| json!({"pkg": to, "dep_kinds": [{"kind": kind}]}))
                    .collect();
                json!({"id": name, "deps": deps})
            })
            .collect();
        let own: Vec<&&str> = names.iter().filter(|name| name.starts_with("steersman") || **name == "xtask").collect();
        json!({"packages": packages, "workspace_members": own, "resolve": {"nodes": nodes}})
    }

    #[test]
    fn the_arrows_of_the_design_pass() {
        let metadata = workspace(&[
            ("steersman-application", "steersman-domain", Value::Null),
            ("steersman-http", "steersman-application", Value::Null),
            ("steersman-http", "steersman-kubernetes", Value::Null),
            ("steersman", "steersman-store", Value::Null),
            ("steersman-domain", "steersman-domain", json!("dev")),
            ("steersman-tests", "steersman-store", Value::Null),
            ("xtask", "steersman-kubernetes", Value::Null),
            ("steersman-domain", "serde", Value::Null),
        ]);
        assert_eq!(wrong_arrows(&metadata), Vec::<String>::new());
    }

    #[test]
    fn every_planted_arrow_is_found() {
        for (from, to, kind) in [
            ("steersman-domain", "steersman-application", Value::Null),
            ("steersman-application", "steersman-store", Value::Null),
            ("steersman-application", "steersman-store", json!("dev")),
            ("steersman-store", "steersman-application", json!("build")),
            ("steersman-http", "steersman-store", Value::Null),
            ("steersman-http", "steersman-runtime", json!("dev")),
            ("steersman-kubernetes", "steersman-http", Value::Null),
            ("steersman-runtime", "steersman", Value::Null),
            ("steersman", "steersman-tests", json!("dev")),
        ] {
            let wrong = wrong_arrows(&workspace(&[(from, to, kind.clone())]));
            assert_eq!(wrong.len(), 1, "{from} -> {to} ({kind}): {wrong:?}");
            assert!(wrong[0].starts_with(&format!("{from} must not depend on {to}")), "{wrong:?}");
        }
    }

    #[test]
    fn a_crate_without_a_place_is_found() {
        let wrong = wrong_arrows(&workspace(&[("steersman-extra", "steersman-domain", Value::Null)]));
        assert!(wrong.len() == 1 && wrong[0].starts_with("steersman-extra has no place"), "{wrong:?}");
    }

    #[test]
    fn tokio_is_found_behind_another_crate_but_not_behind_tests() {
        let behind = workspace(&[("steersman-domain", "bridge", Value::Null), ("bridge", "tokio", Value::Null)]);
        assert_eq!(domain_reach(&behind), ["steersman-domain -> bridge -> tokio"]);
        let tests = workspace(&[("steersman-domain", "bridge", json!("dev")), ("bridge", "tokio", Value::Null)]);
        assert_eq!(domain_reach(&tests), Vec::<String>::new());
        assert_eq!(domain_reach(&json!({})).len(), 1, "no domain at all is no pass");
    }

    #[test]
    fn a_crate_with_another_licence_or_without_words_is_found() {
        let package = |licence: &str, words: &str| {
            json!({
                "workspace_members": ["a"],
                "packages": [{"id": "a", "name": "a", "license": licence, "description": words}],
            })
        };
        assert_eq!(wrong_manifests(&package("MIT OR Apache-2.0", "does a thing")), Vec::<String>::new());
        assert_eq!(wrong_manifests(&package("GPL-3.0", "does a thing")).len(), 1);
        assert_eq!(wrong_manifests(&package("MIT OR Apache-2.0", "")).len(), 1);
    }
}
