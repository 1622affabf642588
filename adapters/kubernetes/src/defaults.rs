//! Defaulting: fills in what Kubernetes would. Constants come from the field table; the few values that
//! depend on other fields are computed here, as Kubernetes' own defaulting functions do.

use crate::schema::{Base, Field, Gvk, Shape, TypeId, schema};
use serde_json::{Map, Value, json};

/// Fills in the defaults of an object in place. Kinds outside the table have none. Values of the wrong type
/// are left for validation to find.
pub fn apply_defaults(gvk: Gvk<'_>, object: &mut Value) {
    let Some(id) = schema().of_kind(gvk) else { return };
    if schema().get(id).name == "core.v1.Pod" {
        default_pod(object);
    }
    default_object(id, object);
    if schema().get(id).name == "core.v1.Namespace" {
        default_namespace(object);
    }
}

/// Whether a value counts as absent: Kubernetes cannot tell a plain field's zero from its absence.
fn is_unset(field: &Field, value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty() && field.default.as_ref() != Some(&json!("")),
        Value::Number(number) => !field.pointer && number.as_i64() == Some(0),
        Value::Bool(_) | Value::Array(_) | Value::Object(_) => false,
    }
}

fn default_object(id: TypeId, value: &mut Value) {
    let Value::Object(map) = value else { return };
    let known = schema().get(id);
    before(known.name, map);
    for field in &known.fields {
        if let Some(default) = &field.default
            && map.get(field.name).is_none_or(|v| is_unset(field, v))
        {
            map.insert(field.name.to_owned(), default.clone());
        }
        let Base::Object(inner) = field.base else { continue };
        let Some(value) = map.get_mut(field.name) else { continue };
        match (field.shape, value) {
            (Shape::One, value) => default_object(inner, value),
            (Shape::List(_), Value::Array(list)) => list.iter_mut().for_each(|v| default_object(inner, v)),
            (Shape::Map, Value::Object(map)) => map.values_mut().for_each(|v| default_object(inner, v)),
            _ => {}
        }
    }
}

/// The computed defaults of one object, before its constants and before what it contains.
fn before(type_name: &str, map: &mut Map<String, Value>) {
    match type_name {
        "apps.v1.DeploymentStrategy" | "apps.v1.DaemonSetUpdateStrategy" | "apps.v1.StatefulSetUpdateStrategy" => {
            default_strategy(map);
        }
        "apps.v1.DaemonSet" | "apps.v1.StatefulSet" => default_labels(map),
        "autoscaling.v2.HorizontalPodAutoscalerSpec" => default_metrics(map),
        "autoscaling.v2.HorizontalPodAutoscalerBehavior" => default_behavior(map),
        "batch.v1.Job" => default_labels(map),
        "batch.v1.JobSpec" => default_job(map),
        "core.v1.Container" | "core.v1.EphemeralContainer" => default_pull_policy(map),
        "core.v1.NodeStatus" => default_allocatable(map),
        "core.v1.PodSpec" => default_account(map),
        "core.v1.Probe" | "core.v1.LifecycleHandler" => default_grpc(map),
        "core.v1.ServiceSpec" => default_service(map),
        "core.v1.ServicePort" => default_target_port(map),
        "core.v1.Volume" => default_volume(map),
        _ => {}
    }
}

fn text<'a>(map: &'a Map<String, Value>, name: &str) -> &'a str {
    map.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn set_absent(map: &mut Map<String, Value>, name: &str, value: Value) {
    if map.get(name).is_none_or(|v| v.is_null() || v == "") {
        map.insert(name.to_owned(), value);
    }
}

/// A rolling update has its figures; `Recreate` has none.
fn default_strategy(map: &mut Map<String, Value>) {
    if matches!(text(map, "type"), "" | "RollingUpdate") {
        set_absent(map, "rollingUpdate", json!({}));
    }
}

/// A workload without labels has those of its pods.
fn default_labels(map: &mut Map<String, Value>) {
    let labels = map.get("spec").map(|spec| spec["template"]["metadata"]["labels"].clone());
    let Some(labels @ Value::Object(_)) = labels else { return };
    if let Some(Value::Object(metadata)) = map.get_mut("metadata") {
        set_absent(metadata, "labels", labels);
    }
}

/// One pod is to succeed where nothing else is said; how many failures that may take depends on how they are counted.
fn default_job(map: &mut Map<String, Value>) {
    let has = |map: &Map<String, Value>, name: &str| map.get(name).is_some_and(|v| !v.is_null());
    if !has(map, "completions") && !has(map, "parallelism") {
        set_absent(map, "completions", json!(1));
    }
    set_absent(map, "parallelism", json!(1));
    let limit = if has(map, "backoffLimitPerIndex") { i32::MAX } else { 6 };
    set_absent(map, "backoffLimit", json!(limit));
    let replaced = if has(map, "podFailurePolicy") { "Failed" } else { "TerminatingOrFailed" };
    set_absent(map, "podReplacementPolicy", json!(replaced));
}

/// Without a metric, four fifths of the requested cpu is the target.
fn default_metrics(map: &mut Map<String, Value>) {
    if map.get("metrics").and_then(Value::as_array).is_none_or(Vec::is_empty) {
        let target = json!({"type": "Utilization", "averageUtilization": 80});
        map.insert("metrics".to_owned(), json!([{"type": "Resource", "resource": {"name": "cpu", "target": target}}]));
    }
}

/// Whoever says something about the behaviour gets the rest of it spelt out.
fn default_behavior(map: &mut Map<String, Value>) {
    let fast = json!([{"type": "Pods", "value": 4, "periodSeconds": 15}, {"type": "Percent", "value": 100, "periodSeconds": 15}]);
    let all = json!([{"type": "Percent", "value": 100, "periodSeconds": 15}]);
    for (direction, policies) in [("scaleUp", fast), ("scaleDown", all)] {
        set_absent(map, direction, json!({}));
        if let Some(Value::Object(rules)) = map.get_mut(direction) {
            set_absent(rules, "selectPolicy", json!("Max"));
            if rules.get("policies").and_then(Value::as_array).is_none_or(Vec::is_empty) {
                rules.insert("policies".to_owned(), policies);
            }
            if direction == "scaleUp" {
                set_absent(rules, "stabilizationWindowSeconds", json!(0));
            }
        }
    }
}

/// An image without a tag, or with `latest`, is pulled always; any other when it is not there yet.
fn default_pull_policy(map: &mut Map<String, Value>) {
    let image = text(map, "image");
    if image.is_empty() {
        return;
    }
    let name = image.rsplit('/').next().unwrap_or_default();
    let tag = name.split_once(':').map(|(_, tag)| tag.split('@').next().unwrap_or_default());
    let moving = !image.contains('@') && matches!(tag, None | Some("latest")) || tag == Some("latest");
    set_absent(map, "imagePullPolicy", json!(if moving { "Always" } else { "IfNotPresent" }));
}

/// What a node can give is what it has, until it says otherwise.
fn default_allocatable(map: &mut Map<String, Value>) {
    if let Some(capacity) = map.get("capacity").filter(|c| c.is_object()).cloned() {
        set_absent(map, "allocatable", capacity);
    }
}

/// `serviceAccount` is the old name of `serviceAccountName`, which wins.
fn default_account(map: &mut Map<String, Value>) {
    if let Some(account) = map.get("serviceAccount").filter(|a| a.is_string()).cloned() {
        set_absent(map, "serviceAccountName", account);
    }
}

fn default_grpc(map: &mut Map<String, Value>) {
    if let Some(Value::Object(grpc)) = map.get_mut("grpc") {
        set_absent(grpc, "service", json!(""));
    }
}

fn default_service(map: &mut Map<String, Value>) {
    match text(map, "sessionAffinity") {
        "ClientIP" => {
            let config = map.entry("sessionAffinityConfig").or_insert_with(|| json!({}));
            if config.is_null() {
                *config = json!({});
            }
            if let Value::Object(config) = config {
                set_absent(config, "clientIP", json!({}));
            }
        }
        "" | "None" => {
            map.remove("sessionAffinityConfig");
        }
        _ => {}
    }
    let kind = match text(map, "type") {
        "" => "ClusterIP",
        other => other,
    }
    .to_owned();
    let outside = matches!(kind.as_str(), "NodePort" | "LoadBalancer")
        || kind == "ClusterIP" && map.get("externalIPs").and_then(Value::as_array).is_some_and(|a| !a.is_empty());
    if outside {
        set_absent(map, "externalTrafficPolicy", json!("Cluster"));
    }
    if matches!(kind.as_str(), "ClusterIP" | "NodePort" | "LoadBalancer") {
        set_absent(map, "internalTrafficPolicy", json!("Cluster"));
    }
    if kind == "LoadBalancer" {
        set_absent(map, "allocateLoadBalancerNodePorts", json!(true));
    }
}

/// The port of the pods is the port of the service unless it is named.
fn default_target_port(map: &mut Map<String, Value>) {
    let unset = match map.get("targetPort") {
        None | Some(Value::Null) => true,
        Some(value) => value == "" || value.as_i64() == Some(0),
    };
    if unset && let Some(port) = map.get("port").filter(|p| p.is_number()).cloned() {
        map.insert("targetPort".to_owned(), port);
    }
}

/// A volume without a source is an empty directory.
fn default_volume(map: &mut Map<String, Value>) {
    if map.iter().all(|(name, value)| name == "name" || value.is_null()) {
        map.insert("emptyDir".to_owned(), json!({}));
    }
}

/// What holds for pods but not for pod templates: requests follow limits, host ports follow the network.
fn default_pod(pod: &mut Value) {
    let Some(Value::Object(spec)) = pod.get_mut("spec") else { return };
    let on_host = spec.get("hostNetwork") == Some(&json!(true));
    for list in ["initContainers", "containers"] {
        let Some(Value::Array(containers)) = spec.get_mut(list) else { continue };
        for container in containers {
            default_requests(container);
            if on_host {
                default_host_ports(container);
            }
        }
    }
    set_absent(spec, "enableServiceLinks", json!(true));
}

fn default_requests(container: &mut Value) {
    let Some(Value::Object(resources)) = container.get_mut("resources") else { return };
    let Some(Value::Object(limits)) = resources.get("limits").cloned() else { return };
    let requests = resources.entry("requests").or_insert_with(|| json!({}));
    if requests.is_null() {
        *requests = json!({});
    }
    if let Value::Object(requests) = requests {
        for (name, limit) in limits {
            requests.entry(name).or_insert(limit);
        }
    }
}

fn default_host_ports(container: &mut Value) {
    let Some(Value::Array(ports)) = container.get_mut("ports") else { return };
    for port in ports.iter_mut().filter_map(Value::as_object_mut) {
        if port.get("hostPort").is_none_or(|p| p.is_null() || p.as_i64() == Some(0))
            && let Some(number) = port.get("containerPort").cloned()
        {
            port.insert("hostPort".to_owned(), number);
        }
    }
}

/// Every namespace can be selected by its name.
fn default_namespace(namespace: &mut Value) {
    let name = namespace.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default().to_owned();
    let Value::Object(map) = namespace else { return };
    if let Value::Object(status) = map.entry("status").or_insert_with(|| json!({})) {
        set_absent(status, "phase", json!("Active"));
    }
    if name.is_empty() {
        return;
    }
    let Some(Value::Object(metadata)) = map.get_mut("metadata") else { return };
    let labels = metadata.entry("labels").or_insert_with(|| json!({}));
    if labels.is_null() {
        *labels = json!({});
    }
    if let Value::Object(labels) = labels {
        labels.entry("kubernetes.io/metadata.name").or_insert_with(|| json!(name));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn defaulted(group: &str, kind: &str, mut object: Value) -> Value {
        apply_defaults(Gvk::new(group, "v1", kind), &mut object);
        let once = object.clone();
        apply_defaults(Gvk::new(group, "v1", kind), &mut object);
        assert_eq!(object, once, "defaulting twice changes nothing");
        object
    }

    #[test]
    fn a_deployment_gets_its_figures() {
        let object =
            json!({"spec": {"selector": {}, "template": {"spec": {"containers": [{"name": "a", "image": "x:1"}]}}}});
        let spec = &defaulted("apps", "Deployment", object)["spec"];
        assert_eq!(spec["replicas"], 1);
        assert_eq!(spec["revisionHistoryLimit"], 10);
        assert_eq!(spec["progressDeadlineSeconds"], 600);
        let rolling = json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}});
        assert_eq!(spec["strategy"], rolling);
        let pod = &spec["template"]["spec"];
        assert_eq!(pod["restartPolicy"], "Always");
        assert_eq!(pod["terminationGracePeriodSeconds"], 30);
        assert_eq!(pod["containers"][0]["imagePullPolicy"], "IfNotPresent");
        assert!(pod.get("enableServiceLinks").is_none());
    }

    #[test]
    fn chosen_zeros_stay() {
        let spec =
            &defaulted("apps", "Deployment", json!({"spec": {"replicas": 0, "revisionHistoryLimit": 0}}))["spec"];
        assert_eq!((&spec["replicas"], &spec["revisionHistoryLimit"]), (&json!(0), &json!(0)));
        let rolling = json!({"spec": {"strategy": {"rollingUpdate": {"maxUnavailable": 0}}}});
        let rolling = &defaulted("apps", "Deployment", rolling)["spec"]["strategy"]["rollingUpdate"];
        assert_eq!(*rolling, json!({"maxUnavailable": 0, "maxSurge": "25%"}));
        let pod = json!({"spec": {"terminationGracePeriodSeconds": 0, "containers": [{"name": "a", "livenessProbe": {"timeoutSeconds": 0}}]}});
        let spec = &defaulted("", "Pod", pod)["spec"];
        assert_eq!(spec["terminationGracePeriodSeconds"], 0);
        assert_eq!(spec["containers"][0]["livenessProbe"]["timeoutSeconds"], 1);
    }

    #[test]
    fn recreate_has_no_rolling_figures() {
        let object = json!({"spec": {"strategy": {"type": "Recreate"}}});
        assert_eq!(defaulted("apps", "Deployment", object)["spec"]["strategy"], json!({"type": "Recreate"}));
    }

    #[test]
    fn pull_policy_follows_the_tag() {
        for (image, policy) in [
            ("nginx", "Always"),
            ("nginx:latest", "Always"),
            ("host:5000/nginx", "Always"),
            ("host:5000/nginx:1.2", "IfNotPresent"),
            ("nginx@sha256:abc", "IfNotPresent"),
            ("nginx:1.2@sha256:abc", "IfNotPresent"),
        ] {
            let pod = defaulted("", "Pod", json!({"spec": {"containers": [{"name": "a", "image": image}]}}));
            assert_eq!(pod["spec"]["containers"][0]["imagePullPolicy"], policy, "{image}");
        }
        let pod = defaulted("", "Pod", json!({"spec": {"containers": [{"name": "a"}]}}));
        assert!(pod["spec"]["containers"][0].get("imagePullPolicy").is_none());
    }

    #[test]
    fn a_pod_requests_its_limits() {
        let pod = json!({"spec": {"hostNetwork": true, "containers": [{
            "name": "a", "ports": [{"containerPort": 80}],
            "resources": {"limits": {"cpu": "2", "memory": "1Gi"}, "requests": {"cpu": "1"}}}]}});
        let spec = &defaulted("", "Pod", pod)["spec"];
        assert_eq!(spec["containers"][0]["resources"]["requests"], json!({"cpu": "1", "memory": "1Gi"}));
        assert_eq!(spec["containers"][0]["ports"][0], json!({"containerPort": 80, "hostPort": 80, "protocol": "TCP"}));
        assert_eq!(spec["enableServiceLinks"], true);
    }

    #[test]
    fn a_service_gets_its_target_port_and_policies() {
        let service = json!({"spec": {"ports": [{"port": 80}, {"port": 81, "targetPort": "web"}], "sessionAffinity": "ClientIP"}});
        let spec = &defaulted("", "Service", service)["spec"];
        assert_eq!(spec["ports"][0], json!({"port": 80, "protocol": "TCP", "targetPort": 80}));
        assert_eq!(spec["ports"][1]["targetPort"], "web");
        assert_eq!((&spec["type"], &spec["internalTrafficPolicy"]), (&json!("ClusterIP"), &json!("Cluster")));
        assert!(spec.get("externalTrafficPolicy").is_none());
        assert_eq!(spec["sessionAffinityConfig"]["clientIP"]["timeoutSeconds"], 10800);
        let named = &defaulted("", "Service", json!({"spec": {"type": "ExternalName"}}))["spec"];
        assert!(named.get("internalTrafficPolicy").is_none());
    }

    #[test]
    fn small_kinds_get_theirs() {
        assert_eq!(defaulted("", "Secret", json!({}))["type"], "Opaque");
        let namespace = defaulted("", "Namespace", json!({"metadata": {"name": "a"}}));
        assert_eq!(namespace["metadata"]["labels"]["kubernetes.io/metadata.name"], "a");
        assert_eq!(namespace["status"]["phase"], "Active");
        let node = defaulted("", "Node", json!({"status": {"capacity": {"cpu": "4"}}}));
        assert_eq!(node["status"]["allocatable"], json!({"cpu": "4"}));
        let pod = defaulted(
            "",
            "Pod",
            json!({"spec": {"containers": [], "volumes": [{"name": "v"}, {"name": "w", "secret": {"secretName": "s"}}]}}),
        );
        assert_eq!(pod["spec"]["volumes"][0]["emptyDir"], json!({}));
        assert_eq!(pod["spec"]["volumes"][1]["secret"]["defaultMode"], 420);
    }

    #[test]
    fn the_old_name_of_the_account_is_understood() {
        let spec = |spec: Value| defaulted("", "Pod", json!({"spec": spec}))["spec"]["serviceAccountName"].clone();
        assert_eq!(spec(json!({"serviceAccount": "a"})), "a");
        assert_eq!(spec(json!({"serviceAccount": "a", "serviceAccountName": "b"})), "b");
    }

    #[test]
    fn values_of_the_wrong_type_do_no_harm() {
        let object = json!({"spec": {"template": 7, "strategy": "x"}});
        assert_eq!(defaulted("apps", "Deployment", object)["spec"]["template"], 7);
        assert_eq!(defaulted("", "Pod", json!([1])), json!([1]));
    }
}
