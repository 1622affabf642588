//! Writing: apply, create and its generators, edit, replace, patch, label, annotate, set, scale, validation.

use steersman_tests::kubectl::Kubectl;
use steersman_tests::manifests::{Web, config_map};

use crate::{apply, each, has};

/// Prints one path of an object.
#[track_caller]
fn path(kubectl: &Kubectl, object: &str, path: &str) -> String {
    kubectl.ok(&["get", object, "--output", &format!("jsonpath={path}")])
}

/// A Deployment without replicas: an object to change without waiting for pods.
fn idle(kubectl: &Kubectl) {
    apply(kubectl, &Web { replicas: 0, ..Web::named("web") }.deployment());
}

#[test]
fn apply_merges_three_ways() {
    each("apply", |k| {
        has(&apply(k, &config_map("c", &[("a", "1"), ("b", "2")])), "configmap/c created");
        has(&apply(k, &config_map("c", &[("a", "1"), ("b", "2")])), "configmap/c unchanged");
        k.ok(&["patch", "configmap", "c", "--type", "merge", "--patch", r#"{"data":{"z":"theirs"}}"#]);
        has(&apply(k, &config_map("c", &[("a", "3")])), "configmap/c configured");
        assert_eq!(path(k, "configmap/c", "{.data.a}|{.data.b}|{.data.z}"), "3||theirs");
        has(&apply(k, &Web { replicas: 0, ..Web::named("web") }.yaml()), "deployment.apps/web created");
        has(&apply(k, &Web { replicas: 0, ..Web::named("web") }.yaml()), "deployment.apps/web unchanged");
        let dry = k.ok_with(&["apply", "--dry-run=server", "-f", "-"], &config_map("c", &[("a", "9")]));
        has(&dry, "configured (server dry run)");
        assert_eq!(path(k, "configmap/c", "{.data.a}"), "3");
    });
}

#[test]
fn create_has_a_generator_for_every_kind() {
    each("create", |k| {
        has(&k.ok(&["create", "configmap", "c", "--from-literal=a=1", "--from-literal=b=two"]), "configmap/c created");
        assert_eq!(path(k, "configmap/c", "{.data.a} {.data.b}"), "1 two");
        k.ok(&["create", "secret", "generic", "s", "--from-literal=user=me"]);
        assert_eq!(path(k, "secret/s", "{.data.user} {.type}"), "bWU= Opaque");
        let login = ["--docker-server=registry.example", "--docker-username=u", "--docker-password=p"];
        k.ok(&[&["create", "secret", "docker-registry", "r"], &login[..]].concat());
        assert_eq!(path(k, "secret/r", "{.type}"), "kubernetes.io/dockerconfigjson");
        k.ok(&["create", "serviceaccount", "robot"]);
        assert_eq!(path(k, "serviceaccount/robot", "{.metadata.name}"), "robot");
        k.ok(&["create", "service", "nodeport", "outside", "--tcp=8080:9090"]);
        let load_balancer = ["create", "service", "loadbalancer", "lb", "--tcp=80:80"];
        k.fails(&load_balancer, &["Unsupported value: \"LoadBalancer\"", "\"ClusterIP\", \"NodePort\""]);
        let name = ["create", "service", "externalname", "ex", "--external-name=a.example"];
        k.fails(&name, &["Unsupported value: \"ExternalName\""]);
        k.ok(&["create", "service", "clusterip", "front", "--tcp=8080:9090"]);
        assert_eq!(path(k, "service/front", "{.spec.ports[0].port} {.spec.ports[0].targetPort}"), "8080 9090");
        k.ok(&["create", "deployment", "d", "--image=none", "--replicas=0", "--port=8080", "--", "steer", "example"]);
        assert_eq!(path(k, "deployment/d", "{.spec.template.spec.containers[0].command[1]}"), "example");
        k.fails(&["create", "configmap", "c"], &["configmaps \"c\" already exists"]);
        k.ok(&["create", "configmap", "ghost", "--dry-run=server"]);
        k.fails(&["get", "configmap", "ghost"], &["NotFound"]);
        has(&k.ok_with(&["create", "-f", "-"], &config_map("file", &[])), "configmap/file created");
    });
}

#[test]
fn create_takes_a_key_pair() {
    each("tls", |k| {
        let dir = tempfile::tempdir().expect("temporary folder");
        let mut words = vec!["create".to_owned(), "secret".into(), "tls".into(), "pair".into()];
        // The key pair of the kubeconfig is as good as any.
        for (field, flag) in [("client-certificate-data", "cert"), ("client-key-data", "key")] {
            let template = format!("go-template={{{{(index (index .users 0).user {field:?}) | base64decode}}}}");
            let text = k.ok(&["config", "view", "--raw", "--output", &template]);
            let file = dir.path().join(flag);
            std::fs::write(&file, text).expect("write");
            words.push(format!("--{flag}={}", file.display()));
        }
        k.ok(&words.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(path(k, "secret/pair", "{.type}"), "kubernetes.io/tls");
    });
}

#[test]
fn edit_writes_what_the_editor_left() {
    each("edit", |k| {
        apply(k, &config_map("c", &[("word", "before")]));
        let edited = k.run_with(&["edit", "configmap", "c"], "", &[("KUBE_EDITOR", "sed -i s/before/after/")]);
        assert_eq!(edited.status, Some(0), "{edited}");
        has(&edited.stdout, "configmap/c edited");
        assert_eq!(path(k, "configmap/c", "{.data.word}"), "after");
        let same = k.run_with(&["edit", "configmap", "c"], "", &[("KUBE_EDITOR", "true")]);
        has(&format!("{}{}", same.stdout, same.stderr), "Edit cancelled, no changes made");
    });
}

#[test]
fn replace_keeps_to_the_version_it_read() {
    each("replace", |k| {
        k.ok_with(&["create", "-f", "-"], &config_map("c", &[("a", "1")]));
        let first = k.ok(&["get", "configmap", "c", "--output", "yaml"]);
        has(&k.ok_with(&["replace", "-f", "-"], &first.replace("a: \"1\"", "a: \"2\"")), "configmap/c replaced");
        assert_eq!(path(k, "configmap/c", "{.data.a}"), "2");
        let stale = first.replace("a: \"1\"", "a: \"3\"");
        k.fails_with(&["replace", "-f", "-"], &stale, &["Conflict", "the object has been modified"]);
        assert_eq!(path(k, "configmap/c", "{.data.a}"), "2");
        let uid = path(k, "configmap/c", "{.metadata.uid}");
        k.ok_with(&["replace", "--force", "-f", "-"], &config_map("c", &[("a", "4")]));
        assert_eq!(path(k, "configmap/c", "{.data.a}"), "4");
        assert_ne!(path(k, "configmap/c", "{.metadata.uid}"), uid, "replaced by force is deleted and made anew");
        k.fails_with(&["replace", "-f", "-"], &config_map("nope", &[]), &["NotFound"]);
    });
}

#[test]
fn patch_knows_three_kinds() {
    each("patch", |k| {
        idle(k);
        let env = r#"{"spec":{"template":{"spec":{"containers":[{"name":"web","env":[{"name":"A","value":"1"}]}]}}}}"#;
        has(&k.ok(&["patch", "deployment", "web", "--patch", env]), "deployment.apps/web patched");
        let container = "{.spec.template.spec.containers[*].name} {..containers[0].env[0].value} {..containerPort}";
        assert_eq!(path(k, "deployment/web", container), "web 1 8080", "strategic: merged by name");
        apply(k, &config_map("c", &[("a", "1"), ("b", "2")]));
        k.ok(&["patch", "configmap", "c", "--type", "merge", "--patch", r#"{"data":{"a":null,"c":"3"}}"#]);
        assert_eq!(path(k, "configmap/c", "{.data.a}|{.data.b}|{.data.c}"), "|2|3");
        let steps = r#"[{"op":"test","path":"/data/b","value":"2"},{"op":"replace","path":"/data/b","value":"9"}]"#;
        k.ok(&["patch", "configmap", "c", "--type", "json", "--patch", steps]);
        assert_eq!(path(k, "configmap/c", "{.data.b}"), "9");
        k.fails(&["patch", "configmap", "c", "--type", "json", "--patch", steps], &[]);
        k.fails(&["patch", "configmap", "c", "--type", "json", "--patch", r#"[{"op":"dance","path":"/data"}]"#], &[]);
        k.fails(&["patch", "configmap", "nope", "--patch", "{}"], &["NotFound"]);
    });
}

#[test]
fn labels_and_annotations_come_and_go() {
    each("label", |k| {
        apply(k, &config_map("c", &[]));
        for (verb, field) in [("label", "labels"), ("annotate", "annotations")] {
            let show = format!("{{.metadata.{field}.colour}}");
            k.ok(&[verb, "configmap", "c", "colour=blue"]);
            assert_eq!(path(k, "configmap/c", &show), "blue");
            k.fails(&[verb, "configmap", "c", "colour=red"], &["--overwrite is false"]);
            k.ok(&[verb, "--overwrite", "configmap", "c", "colour=red"]);
            assert_eq!(path(k, "configmap/c", &show), "red");
            k.ok(&[verb, "configmap", "c", "colour-"]);
            assert_eq!(path(k, "configmap/c", &show), "");
        }
        k.fails(&["label", "configmap", "c", "colour=not/valid"], &["not/valid"]);
    });
}

#[test]
fn set_changes_image_environment_and_resources() {
    each("set", |k| {
        idle(k);
        has(&k.ok(&["set", "image", "deployment/web", "web=shop:2"]), "image updated");
        assert_eq!(path(k, "deployment/web", "{..containers[0].image}"), "shop:2");
        has(&k.ok(&["set", "env", "deployment/web", "COLOUR=blue"]), "env updated");
        has(&k.ok(&["set", "env", "deployment/web", "--list"]), "COLOUR=blue");
        k.ok(&["set", "env", "deployment/web", "COLOUR-"]);
        assert!(!k.ok(&["set", "env", "deployment/web", "--list"]).contains("COLOUR"));
        k.ok(&["set", "resources", "deployment/web", "--limits=cpu=200m,memory=64Mi", "--requests=cpu=100m"]);
        let resources = "{..containers[0].resources.limits.memory} {..containers[0].resources.requests.cpu}";
        assert_eq!(path(k, "deployment/web", resources), "64Mi 100m");
    });
}

#[test]
fn scale_is_a_subresource_with_a_precondition() {
    each("scale", |k| {
        idle(k);
        has(&k.ok(&["scale", "deployment/web", "--replicas=0"]), "deployment.apps/web scaled");
        k.fails(&["scale", "deployment/web", "--replicas=5", "--current-replicas=9"], &["9"]);
        let scale = format!("/apis/apps/v1/namespaces/{}/deployments/web/scale", k.namespace());
        let scale: serde_json::Value = serde_json::from_str(&k.ok(&["get", "--raw", &scale])).expect("JSON");
        assert_eq!((&scale["kind"], &scale["spec"]["replicas"]), (&"Scale".into(), &0.into()), "{scale}");
        assert_eq!(scale["status"]["selector"], "app=web", "{scale}");
    });
}

#[test]
fn what_is_wrong_is_refused_with_its_field() {
    each("invalid", |k| {
        let good = Web { replicas: 0, ..Web::named("web") }.deployment();
        for (from, to, words) in [
            ("replicas: 0", "replicas: 0\n  replcas: 3", &["unknown field", "replcas"][..]),
            ("replicas: 0", "replicas: -1", &["spec.replicas", "must be greater than or equal to 0"]),
            ("matchLabels: {app: web}", "matchLabels: {app: other}", &["selector", "does not match template"]),
            ("  name: web\n", "  name: Bad_Name\n", &["metadata.name", "Bad_Name"]),
            ("runtimeClassName: process", "restartPolicy: Never", &["restartPolicy"]),
            (
                "ports:\n",
                "resources: {requests: {cpu: lots}}\n          ports:\n",
                &["requests.cpu", "expected a quantity such as", "lots"],
            ),
        ] {
            let bad = good.replace(from, to);
            assert_ne!(bad, good, "{from}");
            k.fails_with(&["apply", "-f", "-"], &bad, words);
            k.fails(&["get", "deployment", "web"], &["NotFound"]);
        }
        let long = "x".repeat(254);
        k.fails_with(&["apply", "-f", "-"], &config_map(&long, &[]), &["metadata.name", "253"]);
        k.fails_with(&["apply", "-f", "-"], "apiVersion: v1\nkind: Nosuch\nmetadata:\n  name: x\n", &["Nosuch"]);
        apply(k, &good);
        let moved = good.replace("{app: web}", "{app: moved}");
        k.fails_with(&["apply", "-f", "-"], &moved, &["spec.selector", "field is immutable"]);
    });
}
