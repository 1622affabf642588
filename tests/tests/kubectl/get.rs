//! Reading: every output, selectors, chunks, watches, describe.

use std::collections::BTreeSet;

use steersman_tests::kubectl::Kubectl;
use steersman_tests::manifests::{Web, config_map};

use crate::{SOON, apply, each, has};

/// Five ConfigMaps c0 to c4, the even ones of tier a, the odd ones of tier b.
fn five(kubectl: &Kubectl) {
    let maps: Vec<String> = (0..5)
        .map(|number| {
            let tier = if number % 2 == 0 { "a" } else { "b" };
            let map = config_map(&format!("c{number}"), &[("key", "value")]);
            map.replace("metadata:\n", &format!("metadata:\n  labels: {{tier: {tier}}}\n"))
        })
        .collect();
    apply(kubectl, &maps.join("---\n"));
}

#[test]
fn selectors_choose() {
    each("selectors", |k| {
        five(k);
        let names = |args: &[&str]| {
            let mut words = vec!["get", "configmaps", "--output", "name"];
            words.extend(args);
            k.ok(&words)
        };
        assert_eq!(names(&["-l", "tier=b"]), "configmap/c1\nconfigmap/c3\n");
        assert_eq!(names(&["-l", "tier in (a,b),tier!=b"]), "configmap/c0\nconfigmap/c2\nconfigmap/c4\n");
        assert_eq!(names(&["-l", "tier,!nosuch,tier notin (a)"]), "configmap/c1\nconfigmap/c3\n");
        assert_eq!(names(&["--field-selector", "metadata.name=c1"]), "configmap/c1\n");
        assert_eq!(names(&["-l", "tier=a", "--field-selector", "metadata.name!=c0"]), "configmap/c2\nconfigmap/c4\n");
        assert_eq!(names(&["-l", "tier=nobody"]), "");
        k.fails(&["get", "configmaps", "-l", "tier in b"], &["tier in b"]);
        k.fails(&["get", "configmaps", "--field-selector", "data.key=value"], &["field"]);
    });
}

#[test]
fn a_list_comes_in_chunks() {
    each("chunks", |k| {
        five(k);
        let names = k.ok(&["get", "configmaps", "-l", "tier", "--chunk-size=2", "--output", "name"]);
        assert_eq!(names.lines().collect::<Vec<_>>(), (0..5).map(|n| format!("configmap/c{n}")).collect::<Vec<_>>());
        let first = k.ok(&["get", "--raw", &format!("/api/v1/namespaces/{}/configmaps?limit=2", k.namespace())]);
        let first: serde_json::Value = serde_json::from_str(&first).expect("a list is JSON");
        assert_eq!(first["items"].as_array().map(Vec::len), Some(2), "{first}");
        assert!(first["metadata"]["continue"].as_str().is_some_and(|token| !token.is_empty()), "{first}");
    });
}

#[test]
fn every_output_is_printed() {
    each("outputs", |k| {
        five(k);
        let all = ["get", "configmaps", "-l", "tier"];
        let print = |args: &[&str]| k.ok(&[&all[..], args].concat());
        let header = print(&[]).lines().next().unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(header, "NAME DATA AGE");
        has(&print(&["--output", "wide"]), "c4");
        has(&print(&["--show-labels"]), "tier=b");
        has(&print(&["--label-columns", "tier"]), "TIER");
        assert_eq!(print(&["--output", "jsonpath={.items[*].metadata.name}"]), "c0 c1 c2 c3 c4");
        assert_eq!(print(&["--output", "custom-columns=N:.metadata.name", "--no-headers"]).lines().count(), 5);
        has(&print(&["--output", "yaml"]), "kind: List");
        assert_eq!(print(&["--sort-by", "{.metadata.name}", "--output", "name"]).lines().count(), 5);
        let one = k.json(&["get", "configmap", "c0"]);
        assert_eq!((&one["kind"], &one["data"]["key"]), (&"ConfigMap".into(), &"value".into()), "{one}");
        let everywhere = k.ok(&["get", "configmaps", "--all-namespaces", "-l", "tier"]);
        has(&everywhere, "NAMESPACE");
        has(&everywhere, k.namespace());
        assert_eq!(k.ok(&["get", "cm/c1", "cm/c3", "--output", "name"]), "configmap/c1\nconfigmap/c3\n");
    });
}

#[test]
fn what_is_not_there_is_said() {
    each("absent", |k| {
        k.fails(&["get", "configmap", "nope"], &["NotFound", "configmaps \"nope\" not found"]);
        k.fails(&["get", "nosuchkind"], &["the server doesn't have a resource type \"nosuchkind\""]);
        let empty = k.run(&["get", "pods"]);
        assert_eq!((empty.status, empty.stdout.as_str()), (Some(0), ""), "{empty}");
        has(&empty.stderr, "No resources found");
        assert_eq!(k.ok(&["get", "configmap", "nope", "--ignore-not-found"]), "");
    });
}

#[test]
fn a_watch_shows_every_change() {
    each("watch", |k| {
        apply(k, &config_map("before", &[("a", "1")]));
        let watch = k.start(&["get", "configmaps", "--watch", "--output-watch-events"]);
        watch.prints(SOON, "before");
        apply(k, &config_map("watched", &[("a", "1")]));
        apply(k, &config_map("watched", &[("a", "2")]));
        k.ok(&["delete", "configmap", "watched"]);
        watch.prints(SOON, "DELETED");
        let events: Vec<String> = watch
            .stdout()
            .lines()
            .filter(|line| line.contains("watched"))
            .filter_map(|line| line.split_whitespace().next().map(str::to_owned))
            .collect();
        assert_eq!(events, ["ADDED", "MODIFIED", "DELETED"], "{}", watch.stdout());
        let only = k.start(&["get", "configmaps", "--watch-only", "--output", "name"]);
        // Applied until it is seen: nothing tells when the watch has begun.
        let mut round = 0;
        steersman_tests::wait::eventually(SOON, "the watch shows a change", || {
            round += 1;
            apply(k, &config_map("later", &[("round", &round.to_string())]));
            let seen = only.stdout();
            if seen.contains("configmap/later") { Ok(()) } else { Err(seen) }
        });
        assert!(!only.stdout().contains("before"), "{}", only.stdout());
    });
}

#[test]
fn tables_have_the_columns_that_people_know() {
    each("tables", |k| {
        apply(k, &Web::named("web").yaml());
        k.ok(&["rollout", "status", "deployment/web", "--timeout=60s"]);
        let header = |kind: &str, output: &[&str]| {
            let table = k.ok(&[&["get", kind][..], output].concat());
            table
                .lines()
                .next()
                .unwrap_or_default()
                .split("  ")
                .map(str::trim)
                .filter(|name| !name.is_empty())
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        assert_eq!(header("pods", &[]), ["NAME", "READY", "STATUS", "RESTARTS", "AGE"]);
        let wide: BTreeSet<String> = header("pods", &["--output", "wide"]).into_iter().collect();
        assert!(wide.contains("IP") && wide.contains("NODE"), "{wide:?}");
        assert_eq!(header("deployments", &[]), ["NAME", "READY", "UP-TO-DATE", "AVAILABLE", "AGE"]);
        assert_eq!(header("replicasets", &[]), ["NAME", "DESIRED", "CURRENT", "READY", "AGE"]);
        assert_eq!(header("services", &[]), ["NAME", "TYPE", "CLUSTER-IP", "EXTERNAL-IP", "PORT(S)", "AGE"]);
        assert_eq!(header("endpoints", &[]), ["NAME", "ENDPOINTS", "AGE"]);
        assert_eq!(header("nodes", &[]), ["NAME", "STATUS", "ROLES", "AGE", "VERSION"]);
        assert_eq!(header("namespaces", &[]), ["NAME", "STATUS", "AGE"]);
        has(&k.ok(&["get", "deployment", "web"]), "2/2");
        let all = k.ok(&["get", "all"]);
        for part in ["pod/web-", "service/web", "deployment.apps/web", "replicaset.apps/web-"] {
            has(&all, part);
        }
    });
}

#[test]
fn describe_tells_about_every_kind() {
    each("describe", |k| {
        apply(k, &Web::named("web").yaml());
        apply(k, &config_map("settings", &[("colour", "blue")]));
        k.ok(&["create", "serviceaccount", "robot"]);
        k.ok(&["create", "secret", "generic", "keys", "--from-literal=word=12345"]);
        k.ok(&["rollout", "status", "deployment/web", "--timeout=60s"]);
        for (words, parts) in [
            (["deployment", "web"], &["Replicas:", "2 available", "RollingUpdateStrategy", "ScalingReplicaSet"][..]),
            (["pods", "-lapp=web"], &["Controlled By:", "Containers:", "ContainersReady", "Node:"]),
            (["replicasets", "-lapp=web"], &["Controlled By:  Deployment/web", "2 current / 2 desired"]),
            (["service", "web"], &["Endpoints:", "Selector:", "8080"]),
            (["configmap", "settings"], &["colour", "blue"]),
            (["secret", "keys"], &["word:", "5 bytes"]),
            (["serviceaccount", "robot"], &["Name:", "robot"]),
            (["nodes", "--show-events=true"], &["Conditions:", "Allocatable:", "Allocated resources:"]),
            (["namespace", k.namespace()], &["Status:", "Active"]),
        ] {
            let text = k.ok(&["describe", words[0], words[1]]);
            for part in parts {
                has(&text, part);
            }
        }
    });
}
