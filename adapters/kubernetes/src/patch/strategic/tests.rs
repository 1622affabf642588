use super::*;
use serde_json::json;

const POD: Gvk<'static> = Gvk::new("", "v1", "Pod");
const DEPLOYMENT: Gvk<'static> = Gvk::new("apps", "v1", "Deployment");

#[track_caller]
fn check(gvk: Gvk<'_>, original: Value, patch: Value, expect: Value) {
    assert_eq!(strategic_merge(gvk, &original, &patch), Ok(expect));
}

#[track_caller]
fn refused(original: Value, patch: Value, words: &str) {
    let error = strategic_merge(POD, &original, &patch).expect_err("refused").to_string();
    assert!(error.contains(words), "{error}");
}

fn pod(containers: Value) -> Value {
    json!({"spec": {"containers": containers}})
}

#[test]
fn containers_merge_by_name() {
    check(
        DEPLOYMENT,
        json!({"spec": {"template": {"spec": {"containers": [
            {"name": "a", "image": "a:1", "args": ["x", "y"]}, {"name": "b", "image": "b:1"}]}}}}),
        json!({"spec": {"template": {"spec": {"containers": [{"name": "a", "image": "a:2", "args": ["z"]}]}}}}),
        json!({"spec": {"template": {"spec": {"containers": [
            {"name": "a", "image": "a:2", "args": ["z"]}, {"name": "b", "image": "b:1"}]}}}}),
    );
}

#[test]
fn env_ports_and_mounts_have_their_own_keys() {
    check(
        POD,
        pod(json!([{"name": "a",
            "env": [{"name": "X", "value": "1"}, {"name": "Y", "value": "2"}],
            "ports": [{"containerPort": 80, "name": "web"}],
            "volumeMounts": [{"mountPath": "/d", "name": "v"}]}])),
        pod(json!([{"name": "a",
            "env": [{"name": "Y", "value": "3"}],
            "ports": [{"containerPort": 80, "hostPort": 8080}, {"containerPort": 81}],
            "volumeMounts": [{"mountPath": "/d", "readOnly": true}]}])),
        pod(json!([{"name": "a",
            "env": [{"name": "X", "value": "1"}, {"name": "Y", "value": "3"}],
            "ports": [{"containerPort": 80, "name": "web", "hostPort": 8080}, {"containerPort": 81}],
            "volumeMounts": [{"mountPath": "/d", "name": "v", "readOnly": true}]}])),
    );
}

#[test]
fn new_elements_stand_before_those_the_patch_does_not_name() {
    check(
        POD,
        pod(json!([{"name": "a"}, {"name": "b"}])),
        pod(json!([{"name": "c"}])),
        pod(json!([{"name": "c"}, {"name": "a"}, {"name": "b"}])),
    );
}

#[test]
fn elements_are_deleted_by_key() {
    check(
        POD,
        pod(json!([{"name": "a"}, {"name": "b"}])),
        pod(json!([{"name": "a", "$patch": "delete"}, {"name": "gone", "$patch": "delete"}])),
        pod(json!([{"name": "b"}])),
    );
}

#[test]
fn a_list_is_replaced_by_directive() {
    check(
        POD,
        pod(json!([{"name": "a"}, {"name": "b"}])),
        pod(json!([{"name": "c"}, {"$patch": "replace"}])),
        pod(json!([{"name": "c"}])),
    );
}

#[test]
fn an_object_is_replaced_or_deleted_by_directive() {
    let original = json!({"metadata": {"labels": {"a": "1", "b": "2"}, "annotations": {"x": "y"}}});
    check(
        POD,
        original.clone(),
        json!({"metadata": {"labels": {"$patch": "replace", "c": "3"}, "annotations": {"$patch": "delete"}}}),
        json!({"metadata": {"labels": {"c": "3"}}}),
    );
    check(
        POD,
        original,
        json!({"metadata": {"labels": {"a": null, "d": "4", "$patch": "merge"}}}),
        json!({"metadata": {"labels": {"b": "2", "d": "4"}, "annotations": {"x": "y"}}}),
    );
}

#[test]
fn retained_keys_drop_the_others() {
    check(
        DEPLOYMENT,
        json!({"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}}),
        json!({"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}}),
        json!({"spec": {"strategy": {"type": "Recreate"}}}),
    );
    check(
        POD,
        json!({"spec": {"volumes": [{"name": "v", "emptyDir": {}}]}}),
        json!({"spec": {"volumes": [{"name": "v", "secret": {"secretName": "s"}, "$retainKeys": ["name", "secret"]}]}}),
        json!({"spec": {"volumes": [{"name": "v", "secret": {"secretName": "s"}}]}}),
    );
    refused(
        json!({}),
        json!({"spec": {"volumes": [{"name": "v", "secret": {}, "$retainKeys": ["name"]}]}}),
        r#"$retainKeys does not name "secret""#,
    );
}

#[test]
fn primitive_lists_unite_and_lose_values() {
    check(
        POD,
        json!({"metadata": {"finalizers": ["a", "b"]}}),
        json!({"metadata": {"finalizers": ["c", "b"]}}),
        json!({"metadata": {"finalizers": ["c", "a", "b"]}}),
    );
    check(
        POD,
        json!({"metadata": {"finalizers": ["a", "b", "c"]}}),
        json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["b"], "$setElementOrder/finalizers": ["c", "a"]}}),
        json!({"metadata": {"finalizers": ["c", "a"]}}),
    );
}

#[test]
fn element_order_is_set() {
    check(
        POD,
        pod(json!([{"name": "a"}, {"name": "b"}, {"name": "c"}])),
        json!({"spec": {"$setElementOrder/containers": [{"name": "c"}, {"name": "new"}, {"name": "a"}],
            "containers": [{"name": "new", "image": "n"}]}}),
        pod(json!([{"name": "b"}, {"name": "c"}, {"name": "new", "image": "n"}, {"name": "a"}])),
    );
}

#[test]
fn lists_without_a_merge_key_are_replaced() {
    let tolerations = |v: Value| json!({"spec": {"tolerations": v}});
    check(
        POD,
        tolerations(json!([{"key": "a"}])),
        tolerations(json!([{"key": "b"}])),
        tolerations(json!([{"key": "b"}])),
    );
}

#[test]
fn nulls_remove_and_leave_no_trace_in_new_parts() {
    check(
        POD,
        json!({"spec": {"nodeName": "n"}}),
        json!({"spec": {"nodeName": null, "hostname": null, "securityContext": {"runAsUser": null, "fsGroup": 1}}}),
        json!({"spec": {"securityContext": {"fsGroup": 1}}}),
    );
    check(
        POD,
        json!({}),
        pod(json!([{"name": "a", "image": null}, {"name": "b", "$patch": "delete"}])),
        pod(json!([{"name": "a"}])),
    );
}

#[test]
fn a_value_of_another_type_is_replaced() {
    check(
        Gvk::new("", "v1", "Service"),
        json!({"spec": {"ports": [{"port": 80, "targetPort": 80}]}}),
        json!({"spec": {"ports": [{"port": 80, "targetPort": "web"}]}}),
        json!({"spec": {"ports": [{"port": 80, "targetPort": "web"}]}}),
    );
}

#[test]
fn patches_that_cannot_be_read_say_where() {
    refused(json!({}), pod(json!([{"image": "x"}])), r#"spec.containers[0]: the merge key "name" is missing"#);
    refused(json!({}), pod(json!(["x"])), r#"spec.containers[0]: expected an object with the merge key "name""#);
    refused(json!({}), json!({"spec": {"$patch": "destroy"}}), "spec: $patch is merge, replace or delete");
    refused(json!({}), json!({"spec": {"$jump": 1}}), "spec: the directive $jump is unknown");
    refused(json!({}), json!({"spec": {"$retainKeys": "x"}}), "$retainKeys is a list");
    refused(json!({}), json!(7), "is an object");
}

#[test]
fn huge_lists_are_refused() {
    let many: Vec<Value> = (0..6000).map(|n| json!(n.to_string())).collect();
    for field in ["finalizers", "$setElementOrder/finalizers", "$deleteFromPrimitiveList/finalizers"] {
        let error =
            strategic_merge(POD, &json!({"metadata": {"finalizers": ["a"]}}), &json!({"metadata": {field: many}}));
        assert!(matches!(error, Err(PatchError::TooLarge(_))), "{field}");
    }
}

#[test]
fn custom_kinds_are_refused() {
    let error = strategic_merge(Gvk::new("example.org", "v1", "Widget"), &json!({}), &json!({}));
    assert!(matches!(error, Err(PatchError::Unsupported(_))));
}
