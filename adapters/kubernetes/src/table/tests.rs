use super::*;
use crate::schema::KINDS;

/// 2026-01-01T00:00:00Z.
const MIDNIGHT: i64 = 1_767_225_600;
const NOW: i64 = MIDNIGHT + 200;

fn row(group: &str, kind: &str, mut object: Value) -> Vec<String> {
    object["metadata"]["creationTimestamp"] = "2026-01-01T00:00:00Z".into();
    let gvk = Gvk::new(group, "v1", kind);
    let cells = cells(gvk, &object, NOW);
    assert_eq!(cells.len(), columns(gvk).len());
    cells.iter().map(|c| c.as_str().map_or_else(|| c.to_string(), str::to_owned)).collect()
}

fn pod(spec: Value, status: Value) -> Value {
    json!({"metadata": {"name": "p"}, "spec": spec, "status": status})
}

/// Ready, Status and Restarts of a pod.
#[track_caller]
fn check_pod(pod: Value, expect: [&str; 3]) {
    assert_eq!(row("", "Pod", pod)[1..4], expect);
}

#[test]
fn a_running_pod() {
    let running = json!({"name": "a", "ready": true, "restartCount": 0, "state": {"running": {}}});
    let object = pod(
        json!({"nodeName": "n1", "containers": [{"name": "a"}]}),
        json!({"phase": "Running", "podIP": "127.72.0.2", "containerStatuses": [running]}),
    );
    let expect = ["p", "1/1", "Running", "0", "3m20s", "127.72.0.2", "n1", "<none>", "<none>"];
    assert_eq!(row("", "Pod", object), expect);
}

#[test]
fn a_crashing_pod_counts_its_restarts() {
    let status = json!({"phase": "Running", "containerStatuses": [{"name": "a", "restartCount": 3,
        "state": {"waiting": {"reason": "CrashLoopBackOff"}},
        "lastState": {"terminated": {"exitCode": 1, "finishedAt": "2026-01-01T00:03:08Z"}}}]});
    check_pod(pod(json!({"containers": [{"name": "a"}]}), status), ["0/1", "CrashLoopBackOff", "3 (12s ago)"]);
}

#[test]
fn ended_pods() {
    let spec = json!({"containers": [{"name": "a"}]});
    let ended = |terminated: Value| json!({"phase": "Failed", "containerStatuses": [{"name": "a", "state": {"terminated": terminated}}]});
    check_pod(pod(spec.clone(), ended(json!({"reason": "Completed"}))), ["0/1", "Completed", "0"]);
    check_pod(pod(spec.clone(), ended(json!({"exitCode": 3}))), ["0/1", "ExitCode:3", "0"]);
    check_pod(pod(spec.clone(), ended(json!({"exitCode": 137, "signal": 9}))), ["0/1", "Signal:9", "0"]);
    check_pod(pod(spec, json!({"phase": "Failed", "reason": "Evicted"})), ["0/1", "Evicted", "0"]);
}

#[test]
fn a_pod_with_one_container_done_is_not_complete() {
    let spec = json!({"containers": [{"name": "a"}, {"name": "b"}]});
    let statuses = json!([
        {"name": "a", "state": {"terminated": {"reason": "Completed"}}},
        {"name": "b", "ready": true, "state": {"running": {}}}]);
    let status = |ready: &str| json!({"phase": "Running", "containerStatuses": statuses, "conditions": [{"type": "Ready", "status": ready}]});
    check_pod(pod(spec.clone(), status("False")), ["1/2", "NotReady", "0"]);
    check_pod(pod(spec, status("True")), ["1/2", "Running", "0"]);
}

#[test]
fn pods_that_initialise() {
    let spec = json!({"initContainers": [{"name": "i"}, {"name": "j"}], "containers": [{"name": "a"}]});
    let status = |statuses: Value| {
        json!({"phase": "Pending", "initContainerStatuses": statuses,
        "containerStatuses": [{"name": "a", "state": {"waiting": {"reason": "PodInitializing"}}}]})
    };
    let done = json!({"name": "i", "state": {"terminated": {"exitCode": 0}}});
    check_pod(
        pod(spec.clone(), status(json!([done, {"name": "j", "state": {"running": {}}}]))),
        ["0/1", "Init:1/2", "0"],
    );
    let failed = json!([{"name": "i", "restartCount": 2, "state": {"terminated": {"exitCode": 1, "reason": "Error"}}}]);
    check_pod(pod(spec.clone(), status(failed)), ["0/1", "Init:Error", "2"]);
    let waiting = json!([{"name": "i", "state": {"waiting": {"reason": "CrashLoopBackOff"}}}]);
    check_pod(pod(spec.clone(), status(waiting)), ["0/1", "Init:CrashLoopBackOff", "0"]);
    let code = json!([{"name": "i", "state": {"terminated": {"exitCode": 2}}}]);
    check_pod(pod(spec, status(code)), ["0/1", "Init:ExitCode:2", "0"]);
}

#[test]
fn sidecars_count_among_the_containers() {
    let spec = json!({"initContainers": [{"name": "s", "restartPolicy": "Always"}], "containers": [{"name": "a"}]});
    let status = json!({"phase": "Running",
        "initContainerStatuses": [{"name": "s", "started": true, "ready": true, "restartCount": 1, "state": {"running": {}}}],
        "containerStatuses": [{"name": "a", "ready": true, "restartCount": 1, "state": {"running": {}}}]});
    check_pod(pod(spec, status), ["2/2", "Running", "2"]);
}

#[test]
fn pods_that_wait_or_go() {
    let spec = json!({"containers": [{"name": "a"}]});
    check_pod(pod(spec.clone(), json!({"phase": "Pending"})), ["0/1", "Pending", "0"]);
    let gated = json!({"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}]});
    check_pod(pod(spec.clone(), gated), ["0/1", "SchedulingGated", "0"]);
    let mut going = pod(spec, json!({"phase": "Running"}));
    going["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:10Z".into();
    check_pod(going.clone(), ["0/1", "Terminating", "0"]);
    going["status"] = json!({"phase": "Running", "reason": "NodeLost"});
    check_pod(going.clone(), ["0/1", "Unknown", "0"]);
    going["status"] = json!({"phase": "Succeeded"});
    check_pod(going, ["0/1", "Succeeded", "0"]);
}

#[test]
fn readiness_gates_are_counted() {
    let spec = json!({"containers": [], "readinessGates": [{"conditionType": "x"}, {"conditionType": "y"}]});
    let object = pod(spec, json!({"conditions": [{"type": "x", "status": "True"}]}));
    assert_eq!(row("", "Pod", object)[8], "1/2");
}

#[test]
fn a_node() {
    let object = json!({
        "metadata": {"name": "n1", "labels": {"node-role.kubernetes.io/worker": "", "kubernetes.io/role": "edge"}},
        "spec": {"unschedulable": true},
        "status": {"conditions": [{"type": "Ready", "status": "True"}],
            "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
            "nodeInfo": {"kubeletVersion": "v1", "osImage": "Debian", "kernelVersion": "6.1", "containerRuntimeVersion": "p://1"}}});
    let expect = [
        "n1",
        "Ready,SchedulingDisabled",
        "edge,worker",
        "3m20s",
        "v1",
        "127.0.0.1",
        "<none>",
        "Debian",
        "6.1",
        "p://1",
    ];
    assert_eq!(row("", "Node", object), expect);
    assert_eq!(row("", "Node", json!({"metadata": {"name": "n"}}))[1..3], ["Unknown", "<none>"]);
}

#[test]
fn services() {
    let service = |spec: Value| json!({"metadata": {"name": "s"}, "spec": spec});
    let object = service(json!({"type": "ClusterIP", "clusterIP": "127.64.0.1", "selector": {"b": "2", "a": "1"},
        "ports": [{"port": 80, "protocol": "TCP"}, {"port": 53, "protocol": "UDP", "nodePort": 30000}]}));
    let expect = ["s", "ClusterIP", "127.64.0.1", "<none>", "80/TCP,53:30000/UDP", "3m20s", "a=1,b=2"];
    assert_eq!(row("", "Service", object), expect);
    let named = row("", "Service", service(json!({"type": "ExternalName", "externalName": "x.org"})));
    assert_eq!(named[2..5], ["<none>", "x.org", "<none>"]);
    let balanced = row("", "Service", service(json!({"type": "LoadBalancer", "clusterIP": "None"})));
    assert_eq!(balanced[2..4], ["None", "<pending>"]);
}

#[test]
fn endpoints_and_slices() {
    let addresses: Vec<Value> = (1..=4).map(|n| json!({"ip": format!("10.0.0.{n}")})).collect();
    let object = json!({"metadata": {"name": "e"}, "subsets": [{"addresses": addresses, "ports": [{"port": 80}]}]});
    assert_eq!(row("", "Endpoints", object)[1], "10.0.0.1:80,10.0.0.2:80,10.0.0.3:80 + 1 more...");
    assert_eq!(row("", "Endpoints", json!({"metadata": {"name": "e"}}))[1], "<none>");
    let slice = json!({"metadata": {"name": "e"}, "addressType": "IPv4", "ports": [{"port": 80}],
        "endpoints": [{"addresses": ["10.0.0.1"]}, {"addresses": ["10.0.0.2"]}]});
    assert_eq!(row("discovery.k8s.io", "EndpointSlice", slice)[1..4], ["IPv4", "80", "10.0.0.1,10.0.0.2"]);
}

#[test]
fn workloads() {
    let template = json!({"spec": {"containers": [{"name": "a", "image": "x:1"}, {"name": "b", "image": "y"}]}});
    let selector = json!({"matchLabels": {"app": "web"}, "matchExpressions": [
        {"key": "tier", "operator": "In", "values": ["b", "a"]}, {"key": "old", "operator": "DoesNotExist"}]});
    let object = json!({"metadata": {"name": "d"}, "spec": {"replicas": 3, "template": template, "selector": selector},
        "status": {"replicas": 4, "readyReplicas": 2, "updatedReplicas": 1, "availableReplicas": 2}});
    let expect = ["d", "2/3", "1", "2", "3m20s", "a,b", "x:1,y", "app=web,!old,tier in (a,b)"];
    assert_eq!(row("apps", "Deployment", object.clone()), expect);
    assert_eq!(row("apps", "ReplicaSet", object)[..4], ["d", "3", "4", "2"]);
}

#[test]
fn events_of_both_groups() {
    let object = json!({"metadata": {"name": "e"}, "type": "Warning", "reason": "Failed", "message": " no \n", "count": 4,
        "firstTimestamp": "2026-01-01T00:00:00Z", "lastTimestamp": "2026-01-01T00:03:00Z",
        "involvedObject": {"kind": "Pod", "name": "p", "fieldPath": "spec.x"}, "source": {"component": "agent", "host": "n1"}});
    let expect = ["20s", "Warning", "Failed", "pod/p", "spec.x", "agent, n1", "no", "3m20s", "4", "e"];
    assert_eq!(row("", "Event", object), expect);
    let object = json!({"metadata": {"name": "e"}, "type": "Normal", "reason": "Started", "note": "ok",
        "eventTime": "2026-01-01T00:00:00.000000Z", "regarding": {"kind": "Node"}, "reportingController": "c",
        "series": {"count": 7, "lastObservedTime": "2026-01-01T00:03:19.000000Z"}});
    let expect = ["1s", "Normal", "Started", "node", "", "c", "ok", "3m20s", "7", "e"];
    assert_eq!(row("events.k8s.io", "Event", object), expect);
}

#[test]
fn small_kinds() {
    let named = |rest: Value| {
        let mut object = json!({"metadata": {"name": "x"}});
        object.as_object_mut().expect("an object").extend(rest.as_object().cloned().unwrap_or_default());
        object
    };
    let map = named(json!({"data": {"a": "1"}, "binaryData": {"b": "", "c": ""}}));
    assert_eq!(row("", "ConfigMap", map), ["x", "3", "3m20s"]);
    let secret = named(json!({"type": "Opaque", "data": {"a": ""}}));
    assert_eq!(row("", "Secret", secret), ["x", "Opaque", "1", "3m20s"]);
    assert_eq!(row("", "Namespace", named(json!({"status": {"phase": "Active"}}))), ["x", "Active", "3m20s"]);
    let lease = named(json!({"spec": {"holderIdentity": "h"}}));
    assert_eq!(row("coordination.k8s.io", "Lease", lease), ["x", "h", "3m20s"]);
    assert_eq!(row("node.k8s.io", "RuntimeClass", named(json!({"handler": "task"}))), ["x", "task", "3m20s"]);
    let class = row("scheduling.k8s.io", "PriorityClass", named(json!({"value": 7})));
    assert_eq!(class, ["x", "7", "false", "3m20s", "PreemptLowerPriority"]);
    assert_eq!(row("example.org", "Widget", named(json!({}))), ["x", "3m20s", "2026-01-01T00:00:00Z"]);
}

#[test]
fn a_table_carries_what_was_asked_for() {
    let gvk = Gvk::new("", "v1", "Namespace");
    let object = json!({"metadata": {"name": "x"}, "status": {}});
    let row = |include| table(gvk, [&object], NOW, include)["rows"][0].clone();
    assert!(row(IncludeObject::None).get("object").is_none());
    assert_eq!(row(IncludeObject::Object)["object"], object);
    let partial = json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": {"name": "x"}});
    assert_eq!(row(IncludeObject::from_query(""))["object"], partial);
    let table = table(gvk, [], NOW, IncludeObject::None);
    assert_eq!(table["columnDefinitions"][0]["format"], "name");
    assert_eq!(table["rows"], json!([]));
}

#[test]
fn objects_of_the_wrong_shape_do_no_harm() {
    for kind in KINDS {
        let gvk = Gvk::new(kind.group, kind.version, kind.kind);
        for object in [
            json!(null),
            json!([]),
            json!({"spec": 1, "status": "x", "metadata": []}),
            json!({"spec": {"containers": [1]}}),
        ] {
            assert_eq!(cells(gvk, &object, NOW).len(), columns(gvk).len(), "{}", kind.kind);
        }
    }
}
