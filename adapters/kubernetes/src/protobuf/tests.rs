//! The bodies in `testdata` are what kubectl 1.32 sends for `create`; the others are built field by field.

use super::*;
use crate::{apply_defaults, check_fields};
use serde_json::json;

/// An envelope around a message, as a client writes it.
fn body(api_version: &str, kind: &str, fill: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let mut writer = Writer::default();
    writer.message(1, |w| {
        w.text(1, api_version);
        w.text(2, kind);
    });
    writer.message(2, fill);
    let mut bytes = MAGIC.to_vec();
    bytes.extend(writer.finish());
    bytes
}

#[track_caller]
fn sent_by_kubectl(bytes: &[u8], expect: Value) {
    let object = decode(bytes).expect("decodes");
    assert_eq!(object, expect);
    assert_eq!(check_fields(Gvk::of(&object), &object), []);
}

#[test]
fn kubectl_create_configmap() {
    let bytes = include_bytes!("testdata/configmap.pb");
    sent_by_kubectl(
        bytes,
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "cm"},
            "data": {"a": "1"}, "binaryData": {"b.bin0": "Ymlu/wA="}}),
    );
}

#[test]
fn kubectl_create_secret() {
    let bytes = include_bytes!("testdata/secret.pb");
    sent_by_kubectl(
        bytes,
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "data": {"p": "dw=="}}),
    );
}

#[test]
fn kubectl_create_deployment_keeps_zero_replicas() {
    let bytes = include_bytes!("testdata/deployment.pb");
    sent_by_kubectl(
        bytes,
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "labels": {"app": "web"}},
            "spec": {"replicas": 0, "selector": {"matchLabels": {"app": "web"}}, "strategy": {},
                "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [
                    {"name": "nginx", "image": "nginx:1.2", "resources": {}, "ports": [{"containerPort": 80}]}]}}},
            "status": {}}),
    );
}

#[test]
fn kubectl_create_deployment_with_two_containers() {
    let object = decode(include_bytes!("testdata/deployment-two.pb")).expect("decodes");
    assert_eq!(object["spec"]["replicas"], 3);
    assert_eq!(object["spec"]["template"]["spec"]["containers"][1]["image"], "b");
    let mut defaulted = object;
    apply_defaults(Gvk::new("apps", "v1", "Deployment"), &mut defaulted);
    assert_eq!(defaulted["spec"]["template"]["spec"]["restartPolicy"], "Always");
}

#[test]
fn kubectl_create_small_kinds() {
    sent_by_kubectl(
        include_bytes!("testdata/namespace.pb"),
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "ns"}, "spec": {}, "status": {}}),
    );
    sent_by_kubectl(
        include_bytes!("testdata/serviceaccount.pb"),
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "sa"}}),
    );
}

#[test]
fn kubectl_create_services() {
    sent_by_kubectl(
        include_bytes!("testdata/service.pb"),
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "svc", "labels": {"app": "svc"}},
            "spec": {"type": "ClusterIP", "selector": {"app": "svc"}, "ports": [
                {"name": "80-8080", "protocol": "TCP", "port": 80, "targetPort": 8080},
                {"name": "5678", "protocol": "TCP", "port": 5678, "targetPort": 5678}]},
            "status": {"loadBalancer": {}}}),
    );
    let object = decode(include_bytes!("testdata/nodeport.pb")).expect("decodes");
    assert_eq!(object["spec"]["ports"][0]["targetPort"], "web");
    let object = decode(include_bytes!("testdata/externalname.pb")).expect("decodes");
    assert_eq!(object["spec"]["externalName"], "x.org");
}

#[test]
fn quantities_times_and_inlined_messages() {
    let bytes = body("v1", "Pod", |w| {
        w.message(1, |meta| {
            meta.text(1, "p");
            meta.message(8, |_| {});
            meta.message(9, |time| time.varint_field(1, 1_700_000_000));
        });
        w.message(2, |spec| {
            spec.message(1, |volume| {
                volume.text(1, "v");
                volume.message(2, |source| source.message(2, |_| {}));
            });
            spec.message(2, |container| {
                container.text(1, "c");
                container.message(8, |resources| {
                    resources.message(1, |entry| {
                        entry.text(1, "cpu");
                        entry.message(2, |quantity| quantity.text(1, "100m"));
                    });
                });
                container.message(11, |probe| {
                    probe.message(1, |handler| {
                        handler.message(2, |http| {
                            http.text(1, "/x");
                            http.message(2, |port| {
                                port.varint_field(1, 1);
                                port.text(3, "web");
                            });
                        });
                    });
                    probe.varint_field(3, 2);
                });
            });
            spec.varint_field(4, 0);
            spec.varint_field(11, 0);
        });
    });
    let object = decode(&bytes).expect("decodes");
    assert_eq!(object["metadata"], json!({"name": "p", "deletionTimestamp": "2023-11-14T22:13:20Z"}));
    let spec = &object["spec"];
    assert_eq!(spec["volumes"], json!([{"name": "v", "emptyDir": {}}]));
    assert_eq!(spec["containers"][0]["resources"], json!({"limits": {"cpu": "100m"}}));
    let probe = json!({"httpGet": {"path": "/x", "port": "web"}, "timeoutSeconds": 2});
    assert_eq!(spec["containers"][0]["readinessProbe"], probe);
    assert_eq!(spec["terminationGracePeriodSeconds"], 0);
    assert!(spec.get("hostNetwork").is_none());
}

#[test]
fn a_rolling_update_keeps_zero() {
    let bytes = body("apps/v1", "Deployment", |w| {
        w.message(2, |spec| {
            spec.message(4, |strategy| {
                strategy.message(2, |rolling| {
                    rolling.message(1, |number| number.varint_field(2, 0));
                    rolling.message(2, |text| {
                        text.varint_field(1, 1);
                        text.text(3, "10%");
                    });
                });
            });
        });
    });
    let rolling = json!({"maxUnavailable": 0, "maxSurge": "10%"});
    assert_eq!(decode(&bytes).expect("decodes")["spec"]["strategy"]["rollingUpdate"], rolling);
}

#[test]
fn leases_keep_microseconds() {
    let bytes = body("coordination.k8s.io/v1", "Lease", |w| {
        w.message(2, |spec| {
            spec.text(1, "me");
            spec.varint_field(2, 40);
            spec.message(4, |time| {
                time.varint_field(1, 1_700_000_000);
                time.varint_field(2, 120_000);
            });
        });
    });
    let spec = json!({"holderIdentity": "me", "leaseDurationSeconds": 40, "renewTime": "2023-11-14T22:13:20.000120Z"});
    assert_eq!(decode(&bytes).expect("decodes")["spec"], spec);
}

#[test]
fn bodies_of_subresources_and_options() {
    let bytes = body("policy/v1", "DeleteOptions", |w| {
        w.varint_field(1, 0);
        w.text(4, "Foreground");
        w.text(5, "All");
    });
    assert_eq!(
        decode(&bytes),
        Ok(json!({"apiVersion": "policy/v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0,
            "propagationPolicy": "Foreground", "dryRun": ["All"]}))
    );
    for version in ["policy/v1", "policy/v1beta1"] {
        let bytes = body(version, "Eviction", |w| w.message(1, |meta| meta.text(1, "p")));
        assert_eq!(decode(&bytes).expect("decodes")["metadata"]["name"], "p");
    }
    let bytes = body("autoscaling/v1", "Scale", |w| w.message(2, |spec| spec.varint_field(1, 5)));
    assert_eq!(decode(&bytes).expect("decodes")["spec"]["replicas"], 5);
    let bytes = body("v1", "Binding", |w| w.message(2, |target| target.text(3, "n1")));
    assert_eq!(decode(&bytes).expect("decodes")["target"]["name"], "n1");
}

#[test]
fn json_inside_the_envelope_is_read() {
    let mut writer = Writer::default();
    writer.message(1, |w| {
        w.text(1, "v1");
        w.text(2, "Secret");
    });
    writer.bytes(2, br#"{"type": "x"}"#);
    writer.text(4, "application/json");
    let bytes = [MAGIC, &writer.finish()].concat();
    assert_eq!(decode(&bytes), Ok(json!({"apiVersion": "v1", "kind": "Secret", "type": "x"})));
}

#[test]
fn bad_bodies_are_refused() {
    assert_eq!(decode(b"{}"), Err(ProtobufError::NotKubernetes));
    assert!(!is_protobuf(b"{}") && is_protobuf(b"k8s\0"));
    let unknown = decode(&body("example.org/v1", "Widget", |_| {}));
    assert!(matches!(unknown, Err(ProtobufError::UnknownKind { .. })));
    let wrong = decode(&body("v1", "Pod", |w| w.text(1, "\u{1}")));
    assert!(matches!(wrong, Err(ProtobufError::Invalid { .. })), "{wrong:?}");
    let message = decode(&body("v1", "Pod", |w| w.message(2, |spec| spec.varint_field(10, 1)))).expect_err("refused");
    assert_eq!(
        message.to_string(),
        "the body is not valid protobuf: spec.nodeName: the value has another wire type than the field"
    );
    let text = body("v1", "Pod", |w| w.message(1, |meta| meta.bytes(1, &[0xff])));
    assert!(decode(&text).expect_err("refused").to_string().contains("metadata.name: the text is not UTF-8"));
}

#[test]
fn a_body_cut_short_is_refused_or_smaller() {
    let whole = include_bytes!("testdata/deployment.pb");
    let full = decode(whole).expect("decodes");
    // The last four bytes are two empty fields of the envelope.
    for length in 4..whole.len() - 4 {
        assert_ne!(decode(&whole[..length]).as_ref(), Ok(&full), "cut at {length}");
    }
}

proptest::proptest! {
    #[test]
    fn no_bytes_make_it_panic(mut bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200), kind in 0..4) {
        let name = ["Pod", "Service", "Event", "ConfigMap"][kind as usize];
        let _ = decode(&body("v1", name, |w| w.raw(&bytes)));
        bytes.splice(0..0, MAGIC.iter().copied());
        let _ = decode(&bytes);
    }
}
