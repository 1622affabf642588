//! Every rule, by an object that breaks it.

use super::*;
use crate::Kind;
use serde_json::{Value, json};

mod workloads;

fn object(kind: Kind, value: &Value) -> Object {
    Object::from_value(kind, value.clone()).expect("decodes")
}

/// Puts `patch` over `base` (RFC 7386, without removal).
fn over(base: &mut Value, patch: &Value) {
    match (base, patch) {
        (Value::Object(base), Value::Object(patch)) => {
            for (name, value) in patch {
                over(base.entry(name.clone()).or_insert(Value::Null), value);
            }
        }
        (base, patch) => *base = patch.clone(),
    }
}

fn sound(kind: Kind) -> Value {
    let template = json!({"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let workload = json!({"selector": {"matchLabels": {"app": "a"}}, "template": template});
    let rest = match kind {
        Kind::Pod => json!({"spec": template["spec"]}),
        Kind::ControllerRevision => json!({"data": {}}),
        Kind::Deployment | Kind::ReplicaSet | Kind::DaemonSet | Kind::StatefulSet => json!({"spec": workload}),
        Kind::Job | Kind::CronJob => {
            let mut spec = workload.clone();
            spec["template"]["spec"]["restartPolicy"] = json!("Never");
            if kind == Kind::CronJob {
                spec.as_object_mut().expect("fields").remove("selector");
                spec = json!({"schedule": "0 0 * * *", "jobTemplate": {"spec": spec}});
            }
            json!({"spec": spec})
        }
        Kind::Service => json!({"spec": {"ports": [{"port": 80}]}}),
        Kind::EndpointSlice => json!({"addressType": "IPv4"}),
        Kind::RuntimeClass => json!({"handler": "process"}),
        Kind::HorizontalPodAutoscaler => {
            json!({"spec": {"scaleTargetRef": {"kind": "Deployment", "name": "web"}, "maxReplicas": 3}})
        }
        Kind::Event => json!({"metadata": {"namespace": "d"}, "involvedObject": {"namespace": "d"}}),
        _ => json!({}),
    };
    let mut whole = json!({"metadata": {"name": "a"}});
    over(&mut whole, &rest);
    whole
}

#[track_caller]
fn breaks(kind: Kind, patch: Value, expected: &str) {
    let mut value = sound(kind);
    over(&mut value, &patch);
    let errors: Vec<String> = validate_create(&object(kind, &value)).iter().map(ToString::to_string).collect();
    assert!(errors.iter().any(|e| e.starts_with(expected)), "{kind}: {patch}: {errors:?}");
}

/// A pod whose only container is the given one.
fn container(container: Value) -> Value {
    let mut whole = json!({"name": "c", "image": "i"});
    over(&mut whole, &container);
    json!({"spec": {"containers": [whole]}})
}

#[test]
fn sound_objects_pass() {
    for kind in Kind::ALL {
        assert_eq!(validate_create(&object(*kind, &sound(*kind))), Vec::new(), "{kind}");
    }
}

#[test]
fn metadata() {
    let long = "x".repeat(300_000);
    for (patch, expected) in [
        (json!({"metadata": {"name": ""}}), "metadata.name: Required value: name or generateName is required"),
        (json!({"metadata": {"name": "A_b"}}), "metadata.name: Invalid value: \"A_b\": a lowercase RFC 1123 subdomain"),
        (json!({"metadata": {"labels": {"-x": ""}}}), "metadata.labels: Invalid value: \"-x\": name part must"),
        (json!({"metadata": {"labels": {"x": "a b"}}}), "metadata.labels: Invalid value: \"a b\": a valid label must"),
        (
            json!({"metadata": {"annotations": {"x": long}}}),
            "metadata.annotations: Too long: may not be more than 262144",
        ),
        (json!({"metadata": {"finalizers": ["a b"]}}), "metadata.finalizers[0]: Invalid value"),
        (json!({"metadata": {"ownerReferences": [{"kind": "K"}]}}), "metadata.ownerReferences[0].apiVersion: Invalid"),
    ] {
        breaks(Kind::ConfigMap, patch, expected);
    }
    breaks(
        Kind::Service,
        json!({"metadata": {"name": "1a"}}),
        "metadata.name: Invalid value: \"1a\": a DNS-1035 label",
    );
    breaks(Kind::Namespace, json!({"metadata": {"name": "a.b"}}), "metadata.name: Invalid value: \"a.b\"");
}

#[test]
fn pods() {
    for (patch, expected) in [
        (json!({"spec": {"containers": []}}), "spec.containers: Required value"),
        (
            json!({"spec": {"containers": [{"name": "c"}, {"name": "c"}]}}),
            "spec.containers[1].name: Duplicate value: \"c\"",
        ),
        (
            json!({"spec": {"terminationGracePeriodSeconds": -1}}),
            "spec.terminationGracePeriodSeconds: Invalid value: -1",
        ),
        (json!({"spec": {"activeDeadlineSeconds": 0}}), "spec.activeDeadlineSeconds: Invalid value: 0"),
        (json!({"spec": {"tolerations": [{"operator": "Equal"}]}}), "spec.tolerations[0].operator: Invalid value"),
        (json!({"spec": {"volumes": [{"name": "v"}]}}), "spec.volumes[0]: Required value: must specify a volume type"),
        (
            json!({"spec": {"volumes": [{"name": "v", "emptyDir": {}}, {"name": "v", "emptyDir": {}}]}}),
            "spec.volumes[1].name: Duplicate value: \"v\"",
        ),
        (
            json!({"spec": {"volumes": [{"name": "v", "secret": {}}]}}),
            "spec.volumes[0].secret.secretName: Required value",
        ),
        (json!({"spec": {"securityContext": {"runAsUser": -1}}}), "spec.securityContext.runAsUser: Invalid value: -1"),
        (
            json!({"spec": {"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {}}}}}),
            "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms: Required",
        ),
        (container(json!({"name": "C"})), "spec.containers[0].name: Invalid value: \"C\""),
        (
            container(json!({"ports": [{"containerPort": 70000}]})),
            "spec.containers[0].ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive",
        ),
        (
            container(json!({"ports": [{"name": "a", "containerPort": 1}, {"name": "a", "containerPort": 2}]})),
            "spec.containers[0].ports[1].name: Duplicate value: \"a\"",
        ),
        (container(json!({"env": [{"name": "A=B"}]})), "spec.containers[0].env[0].name: Invalid value: \"A=B\""),
        (
            container(json!({"env": [{"name": "A", "valueFrom": {}}]})),
            "spec.containers[0].env[0].valueFrom: Invalid value: \"\": must specify one of",
        ),
        (
            container(json!({"env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "x"}}}]})),
            "spec.containers[0].env[0].valueFrom.fieldRef.fieldPath: Unsupported value: \"x\"",
        ),
        (container(json!({"envFrom": [{}]})), "spec.containers[0].envFrom[0]: Invalid value"),
        (
            container(json!({"resources": {"requests": {"cpu": "-1"}}})),
            "spec.containers[0].resources.requests[cpu]: Invalid value: \"-1\": must be greater than or equal to 0",
        ),
        (
            container(json!({"resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}})),
            "spec.containers[0].resources.requests[cpu]: Invalid value: \"2\": must be less than or equal to cpu limit of 1",
        ),
        (
            container(json!({"resources": {"limits": {"example.com/gpu": "500m"}}})),
            "spec.containers[0].resources.limits[example.com/gpu]: Invalid value: \"500m\": must be an integer",
        ),
        (
            container(json!({"volumeMounts": [{"name": "v", "mountPath": "/x"}]})),
            "spec.containers[0].volumeMounts[0].name: Not found: \"v\"",
        ),
        (
            container(json!({"lifecycle": {"preStop": {}}})),
            "spec.containers[0].lifecycle.preStop: Required value: must specify a handler type",
        ),
        (container(json!({"restartPolicy": "Always"})), "spec.containers[0].restartPolicy: Forbidden"),
    ] {
        breaks(Kind::Pod, patch, expected);
    }
}

#[test]
fn probes() {
    for (patch, expected) in [
        (
            container(json!({"livenessProbe": {"periodSeconds": 1}})),
            "spec.containers[0].livenessProbe: Required value: must specify a handler type",
        ),
        (
            container(json!({"livenessProbe": {"tcpSocket": {"port": 80}, "grpc": {"port": 80}}})),
            "spec.containers[0].livenessProbe: Forbidden: may not specify more than 1 handler type",
        ),
        (
            container(json!({"startupProbe": {"tcpSocket": {"port": 80}, "successThreshold": 2}})),
            "spec.containers[0].startupProbe.successThreshold: Invalid value: 2: must be 1",
        ),
        (
            container(json!({"readinessProbe": {"tcpSocket": {"port": 0}, "timeoutSeconds": -1}})),
            "spec.containers[0].readinessProbe.timeoutSeconds: Invalid value: -1: must be greater than or equal to 0",
        ),
        (
            container(json!({"readinessProbe": {"grpc": {"port": 7000}, "terminationGracePeriodSeconds": 3}})),
            "spec.containers[0].readinessProbe.terminationGracePeriodSeconds: Invalid value: 3: must not be set for readinessProbes",
        ),
        (
            container(
                json!({"livenessProbe": {"httpGet": {"port": 80, "httpHeaders": [{"name": "a b", "value": "x\ny"}]}}}),
            ),
            "spec.containers[0].livenessProbe.httpGet.httpHeaders[0].name: Invalid value: \"a b\"",
        ),
    ] {
        breaks(Kind::Pod, patch, expected);
    }
}

#[test]
fn autoscalers() {
    let metric = |metric: Value| json!({"spec": {"metrics": [metric]}});
    let resource = |target: Value| metric(json!({"type": "Resource", "resource": {"name": "cpu", "target": target}}));
    let rules = |rules: Value| json!({"spec": {"behavior": {"scaleDown": rules}}});
    for (patch, expected) in [
        (
            json!({"spec": {"minReplicas": 4}}),
            "spec.maxReplicas: Invalid value: 3: must be greater than or equal to `minReplicas`",
        ),
        (json!({"spec": {"minReplicas": 0}}), "spec.minReplicas: Invalid value: 0: must be greater than or equal to 1"),
        (json!({"spec": {"maxReplicas": 0}}), "spec.maxReplicas: Invalid value: 0: must be greater than 0"),
        (json!({"spec": {"scaleTargetRef": {"name": ""}}}), "spec.scaleTargetRef.name: Required value"),
        (metric(json!({"type": "Wrong"})), "spec.metrics[0].type: Unsupported value: \"Wrong\""),
        (metric(json!({"type": "Resource"})), "spec.metrics[0].resource: Required value"),
        (resource(json!({"type": "Utilization"})), "spec.metrics[0].resource.target: Required value: must set either"),
        (
            resource(json!({"type": "Utilization", "averageUtilization": 0})),
            "spec.metrics[0].resource.target.averageUtilization: Invalid value: 0: must be greater than 0",
        ),
        (
            rules(json!({"stabilizationWindowSeconds": 3601})),
            "spec.behavior.scaleDown.stabilizationWindowSeconds: Invalid value: 3601: must be between 0 and 3600",
        ),
        (
            rules(json!({"policies": [{"type": "Pods", "value": 0, "periodSeconds": 15}]})),
            "spec.behavior.scaleDown.policies[0].value: Invalid value: 0: must be greater than 0",
        ),
        (rules(json!({"selectPolicy": "Most"})), "spec.behavior.scaleDown.selectPolicy: Unsupported value: \"Most\""),
    ] {
        breaks(Kind::HorizontalPodAutoscaler, patch, expected);
    }
}

#[test]
fn services() {
    for (patch, expected) in [
        (
            json!({"spec": {"type": "LoadBalancer"}}),
            "spec.type: Unsupported value: \"LoadBalancer\": supported values: \"ClusterIP\", \"NodePort\"",
        ),
        (json!({"spec": {"ports": []}}), "spec.ports: Required value"),
        (json!({"spec": {"ports": [{"port": 0}]}}), "spec.ports[0].port: Invalid value: 0"),
        (json!({"spec": {"ports": [{"port": 1}, {"port": 2, "name": "b"}]}}), "spec.ports[0].name: Required value"),
        (
            json!({"spec": {"ports": [{"port": 1, "name": "a"}, {"port": 1, "name": "b"}]}}),
            "spec.ports[1]: Duplicate value: \"TCP/1\"",
        ),
        (json!({"spec": {"clusterIP": "x"}}), "spec.clusterIP: Invalid value: \"x\""),
        (json!({"spec": {"sessionAffinity": "Cookie"}}), "spec.sessionAffinity: Unsupported value: \"Cookie\""),
    ] {
        breaks(Kind::Service, patch, expected);
    }
    breaks(
        Kind::EndpointSlice,
        json!({"endpoints": [{"addresses": ["x"]}]}),
        "endpoints[0].addresses[0]: Invalid value: \"x\"",
    );
    breaks(Kind::Endpoints, json!({"subsets": [{}]}), "subsets[0]: Required value");
}

#[test]
fn placement() {
    let required = |kind: &str, term: Value| json!({"spec": {"affinity": {(kind): {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}}});
    let spread = |constraint: Value| {
        let mut whole = json!({"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"});
        over(&mut whole, &constraint);
        json!({"spec": {"topologySpreadConstraints": [whole]}})
    };
    let at = "spec.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution[0]";
    for (patch, expected) in [
        (required("podAffinity", json!({})), format!("{at}.topologyKey: Required value")),
        (required("podAffinity", json!({"topologyKey": "a b"})), format!("{at}.topologyKey: Invalid value: \"a b\"")),
        (
            required("podAffinity", json!({"topologyKey": "z", "matchLabelKeys": ["a"]})),
            format!("{at}.matchLabelKeys: Forbidden"),
        ),
        (
            required(
                "podAntiAffinity",
                json!({"topologyKey": "z", "labelSelector": {"matchExpressions": [
                {"key": "a", "operator": "Near"}]}}),
            ),
            "spec.affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].labelSelector".into(),
        ),
        (spread(json!({"maxSkew": 0})), "spec.topologySpreadConstraints[0].maxSkew: Invalid value: 0".into()),
        (
            spread(json!({"whenUnsatisfiable": "Perhaps"})),
            "spec.topologySpreadConstraints[0].whenUnsatisfiable: Unsupported value".into(),
        ),
        (
            spread(json!({"whenUnsatisfiable": "ScheduleAnyway", "minDomains": 2})),
            "spec.topologySpreadConstraints[0].minDomains: Invalid value: 2: can only use".into(),
        ),
        (
            json!({"spec": {"schedulingGates": [{"name": "a"}], "nodeName": "n"}}),
            "spec.schedulingGates: Forbidden".into(),
        ),
        (json!({"spec": {"preemptionPolicy": "x"}}), "spec.preemptionPolicy: Unsupported value".into()),
    ] {
        breaks(Kind::Pod, patch, &expected);
    }
}

#[test]
fn the_other_kinds() {
    for (kind, patch, expected) in [
        (Kind::ConfigMap, json!({"data": {"a/b": ""}}), "data[a/b]: Invalid value: \"a/b\""),
        (
            Kind::ConfigMap,
            json!({"data": {"a": ""}, "binaryData": {"a": ""}}),
            "data[a]: Invalid value: \"a\": duplicate of key",
        ),
        (
            Kind::ConfigMap,
            json!({"data": {"a": "x".repeat(1_100_000)}}),
            "data: Too long: may not be more than 1048576 bytes",
        ),
        (Kind::Secret, json!({"data": {"a": "%%%"}}), "data[a]: Invalid value: \"\": must be base64"),
        (Kind::Secret, json!({"type": "kubernetes.io/tls"}), "data[tls.crt]: Required value"),
        (
            Kind::Node,
            json!({"spec": {"taints": [{"key": "a", "effect": "Never"}]}}),
            "spec.taints[0].effect: Unsupported value: \"Never\"",
        ),
        (
            Kind::Node,
            json!({"spec": {"taints": [{"key": "a", "effect": "NoExecute"}, {"key": "a", "effect": "NoExecute"}]}}),
            "spec.taints[1]: Duplicate value",
        ),
        (Kind::RuntimeClass, json!({"handler": ""}), "handler: Required value"),
        (
            Kind::RuntimeClass,
            json!({"overhead": {"podFixed": {"cpu": "-1"}}}),
            "overhead.podFixed[cpu]: Invalid value: \"-1\"",
        ),
        (Kind::PriorityClass, json!({"value": 1_000_000_001}), "value: Forbidden: maximum allowed value"),
        (Kind::PriorityClass, json!({"metadata": {"name": "system-x"}}), "metadata.name: Forbidden"),
        (Kind::PriorityClass, json!({"metadata": {"name": "system-node-critical"}}), "value: Invalid value: 0"),
        (Kind::PriorityClass, json!({"preemptionPolicy": "Sometimes"}), "preemptionPolicy: Unsupported value"),
        (Kind::Lease, json!({"spec": {"leaseDurationSeconds": 0}}), "spec.leaseDurationSeconds: Invalid value: 0"),
        (Kind::Event, json!({"involvedObject": {"namespace": "x"}}), "involvedObject.namespace: Invalid value: \"x\""),
    ] {
        breaks(kind, patch, expected);
    }
}

#[track_caller]
fn changes(kind: Kind, before: Value, after: Value, expected: Option<&str>) {
    let (mut old, mut new) = (sound(kind), sound(kind));
    over(&mut old, &before);
    over(&mut new, &before);
    over(&mut new, &after);
    let errors: Vec<String> =
        validate_update(&object(kind, &new), &object(kind, &old)).iter().map(ToString::to_string).collect();
    match expected {
        None => assert_eq!(errors, Vec::<String>::new(), "{after}"),
        Some(expected) => assert!(errors.iter().any(|e| e.starts_with(expected)), "{after}: {errors:?}"),
    }
}

#[test]
fn updates() {
    let none = json!({});
    changes(Kind::Pod, none.clone(), container(json!({"image": "other"})), None);
    changes(Kind::Pod, none.clone(), json!({"spec": {"tolerations": [{"key": "a", "operator": "Exists"}]}}), None);
    changes(
        Kind::Pod,
        none.clone(),
        container(json!({"command": ["x"]})),
        Some("spec: Forbidden: pod updates may not change"),
    );
    changes(
        Kind::Pod,
        json!({"status": {"phase": "Failed"}}),
        json!({"status": {"phase": "Running"}}),
        Some("status.phase: Invalid value"),
    );
    changes(
        Kind::Pod,
        json!({"spec": {"tolerations": [{"key": "a", "operator": "Exists"}]}}),
        json!({"spec": {"tolerations": []}}),
        Some("spec.tolerations: Forbidden"),
    );
    let selector =
        json!({"spec": {"selector": {"matchLabels": {"b": "c"}}, "template": {"metadata": {"labels": {"b": "c"}}}}});
    changes(Kind::Deployment, none.clone(), selector, Some("spec.selector: Invalid value"));
    let frozen = json!({"immutable": true, "data": {"a": "YQ=="}});
    changes(
        Kind::ConfigMap,
        frozen.clone(),
        json!({"data": {"a": "b"}}),
        Some("data: Forbidden: field is immutable when `immutable` is set"),
    );
    changes(Kind::Secret, frozen.clone(), json!({"immutable": false}), Some("immutable: Forbidden"));
    changes(Kind::Secret, frozen, json!({"metadata": {"labels": {"x": "y"}}}), None);
    changes(
        Kind::Secret,
        json!({"type": "Opaque"}),
        json!({"type": "x"}),
        Some("type: Invalid value: \"x\": field is immutable"),
    );
    changes(
        Kind::PriorityClass,
        none.clone(),
        json!({"value": 7}),
        Some("value: Invalid value: 7: field is immutable"),
    );
    let gated = json!({"spec": {"schedulingGates": [{"name": "a"}, {"name": "b"}]}});
    changes(Kind::Pod, gated.clone(), json!({"spec": {"schedulingGates": [{"name": "b"}]}}), None);
    let narrowed = json!({"spec": {"schedulingGates": [{"name": "b"}], "nodeSelector": {"zone": "a"}}});
    changes(Kind::Pod, gated, narrowed, None);
    changes(
        Kind::Pod,
        none.clone(),
        json!({"spec": {"schedulingGates": [{"name": "a"}]}}),
        Some("spec: Forbidden: pod updates may not change"),
    );
    changes(Kind::RuntimeClass, none, json!({"handler": "task"}), Some("handler: Invalid value"));
}
