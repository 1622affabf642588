//! Rules of workloads.

use super::*;

#[test]
fn workloads() {
    for kind in [Kind::Deployment, Kind::ReplicaSet] {
        for (patch, expected) in [
            (json!({"spec": {"replicas": -1}}), "spec.replicas: Invalid value: -1: must be greater than or equal to 0"),
            (
                json!({"spec": {"selector": {"matchLabels": {"app": "b"}}}}),
                "spec.template.metadata.labels: Invalid value: {\"app\": \"a\"}: `selector` does not match template `labels`",
            ),
            (json!({"spec": {"selector": {"matchLabels": null}}}), "spec.selector: Required value: empty selector"),
            (
                json!({"spec": {"template": {"spec": {"restartPolicy": "Never"}}}}),
                "spec.template.spec.restartPolicy: Unsupported value: \"Never\": supported values: \"Always\"",
            ),
            (
                json!({"spec": {"template": {"spec": {"activeDeadlineSeconds": 5}}}}),
                "spec.template.spec.activeDeadlineSeconds: Forbidden",
            ),
        ] {
            breaks(kind, patch, expected);
        }
    }
    for (strategy, expected) in [
        (json!({"type": "Canary"}), "spec.strategy.type: Unsupported value: \"Canary\""),
        (json!({"type": "Recreate", "rollingUpdate": {}}), "spec.strategy.rollingUpdate: Forbidden"),
        (
            json!({"rollingUpdate": {"maxSurge": 0, "maxUnavailable": "0%"}}),
            "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: \"0%\": may not be 0 when `maxSurge` is 0",
        ),
        (json!({"rollingUpdate": {"maxSurge": "x"}}), "spec.strategy.rollingUpdate.maxSurge: Invalid value: \"x\""),
        (
            json!({"rollingUpdate": {"maxUnavailable": "101%"}}),
            "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: \"101%\"",
        ),
    ] {
        breaks(Kind::Deployment, json!({"spec": {"strategy": strategy}}), expected);
    }
    breaks(
        Kind::Deployment,
        json!({"spec": {"minReadySeconds": 10, "progressDeadlineSeconds": 10}}),
        "spec.progressDeadlineSeconds: Invalid value: 10: must be greater",
    );
}

#[test]
fn jobs() {
    let rule = |rule: Value| json!({"spec": {"podFailurePolicy": {"rules": [rule]}}});
    let codes = |codes: Value| rule(json!({"action": "FailJob", "onExitCodes": codes}));
    let indexed = |more: Value| {
        let mut spec = json!({"completionMode": "Indexed", "completions": 3});
        over(&mut spec, &more);
        json!({"spec": spec})
    };
    for (patch, expected) in [
        (json!({"spec": {"parallelism": -1}}), "spec.parallelism: Invalid value: -1: must be greater"),
        (json!({"spec": {"completionMode": "Some"}}), "spec.completionMode: Unsupported value: \"Some\""),
        (
            json!({"spec": {"completionMode": "Indexed"}}),
            "spec.completions: Required value: when completion mode is Indexed",
        ),
        (json!({"spec": {"backoffLimitPerIndex": 1}}), "spec.backoffLimitPerIndex: Invalid value"),
        (
            indexed(json!({"maxFailedIndexes": 1})),
            "spec.maxFailedIndexes: Invalid value: 1: requires backoffLimitPerIndex",
        ),
        (
            json!({"spec": {"template": {"spec": {"restartPolicy": "Always"}}}}),
            "spec.template.spec.restartPolicy: Required value: valid values: \"OnFailure\", \"Never\"",
        ),
        (json!({"spec": {"selector": null}}), "spec.selector: Required value"),
        (json!({"spec": {"selector": {"matchLabels": {"app": "b"}}}}), "spec.template.metadata.labels: Invalid value"),
        (json!({"spec": {"podReplacementPolicy": "Never"}}), "spec.podReplacementPolicy: Unsupported value"),
        (json!({"spec": {"managedBy": "me"}}), "spec.managedBy: Invalid value: \"me\": must be a domain-prefixed path"),
        (rule(json!({"action": "Forget"})), "spec.podFailurePolicy.rules[0].action: Unsupported value: \"Forget\""),
        (rule(json!({"action": "Count"})), "spec.podFailurePolicy.rules[0]: Invalid value: \"\": specifying one of"),
        (codes(json!({"operator": "In", "values": [0]})), "spec.podFailurePolicy.rules[0].onExitCodes.values[0]"),
        (
            codes(json!({"operator": "In", "values": [2, 1]})),
            "spec.podFailurePolicy.rules[0].onExitCodes.values: Invalid",
        ),
        (codes(json!({"operator": "In", "values": []})), "spec.podFailurePolicy.rules[0].onExitCodes.values: Invalid"),
        (
            codes(json!({"operator": "In", "values": [1], "containerName": "x"})),
            "spec.podFailurePolicy.rules[0].onExitCodes.containerName: Invalid value: \"x\"",
        ),
        (
            indexed(json!({"successPolicy": {"rules": [{"succeededIndexes": "0-3"}]}})),
            "spec.successPolicy.rules[0].succeededIndexes: Invalid value: \"0-3\": must contain only indexes below",
        ),
        (
            indexed(json!({"successPolicy": {"rules": [{"succeededIndexes": "a"}]}})),
            "spec.successPolicy.rules[0].succeededIndexes: Invalid value: \"a\": \"a\" is neither an index",
        ),
        (
            indexed(json!({"successPolicy": {"rules": [{"succeededCount": 4}]}})),
            "spec.successPolicy.rules[0].succeededCount: Invalid value: 4: must be from 1 to 3",
        ),
    ] {
        breaks(Kind::Job, patch, expected);
    }
    let none = json!({});
    let image = json!({"spec": {"template": {"spec": {"terminationGracePeriodSeconds": 7}}}});
    changes(Kind::Job, none.clone(), image, Some("spec.template: Invalid value"));
    changes(Kind::Job, none.clone(), json!({"spec": {"completions": 5}}), Some("spec.completions: Invalid value"));
    changes(Kind::Job, none, json!({"spec": {"parallelism": 5, "suspend": true}}), None);
    let moved = json!({"spec": {"template": {"spec": {"nodeSelector": {"zone": "a"}}}}});
    changes(Kind::Job, json!({"spec": {"suspend": true}}), moved, None);
    let grown = json!({"spec": {"completions": 5, "parallelism": 5}});
    let even = json!({"spec": {"completionMode": "Indexed", "completions": 3, "parallelism": 3}});
    changes(Kind::Job, even, grown, None);
}

#[test]
fn cron_jobs() {
    for (patch, expected) in [
        (json!({"spec": {"schedule": ""}}), "spec.schedule: Required value: a cron line, such as"),
        (json!({"spec": {"schedule": "0 0 30 2 *"}}), "spec.schedule: Invalid value: \"0 0 30 2 *\": it never fires"),
        (
            json!({"spec": {"schedule": "0 24 * * *"}}),
            "spec.schedule: Invalid value: \"0 24 * * *\": the hour \"24\" is",
        ),
        (
            json!({"spec": {"timeZone": "Mars/Base"}}),
            "spec.timeZone: Invalid value: \"Mars/Base\": unknown time zone: give",
        ),
        (json!({"spec": {"timeZone": ""}}), "spec.timeZone: Invalid value"),
        (json!({"spec": {"concurrencyPolicy": "Both"}}), "spec.concurrencyPolicy: Unsupported value: \"Both\""),
        (json!({"spec": {"startingDeadlineSeconds": -1}}), "spec.startingDeadlineSeconds: Invalid value: -1"),
        (json!({"spec": {"failedJobsHistoryLimit": -1}}), "spec.failedJobsHistoryLimit: Invalid value: -1"),
        (json!({"metadata": {"name": "a".repeat(53)}}), "metadata.name: Invalid value"),
        (
            json!({"spec": {"jobTemplate": {"spec": {"parallelism": -1}}}}),
            "spec.jobTemplate.spec.parallelism: Invalid value: -1",
        ),
        (
            json!({"spec": {"jobTemplate": {"spec": {"manualSelector": true}}}}),
            "spec.jobTemplate.spec.manualSelector: Unsupported value",
        ),
    ] {
        breaks(Kind::CronJob, patch, expected);
    }
    changes(Kind::CronJob, json!({}), json!({"spec": {"schedule": "* * * * *", "suspend": true}}), None);
}

#[test]
fn sets() {
    let daemon = |update: Value| json!({"spec": {"updateStrategy": {"rollingUpdate": update}}});
    for (patch, expected) in [
        (json!({"spec": {"minReadySeconds": -1}}), "spec.minReadySeconds: Invalid value: -1"),
        (json!({"spec": {"updateStrategy": {"type": "Now"}}}), "spec.updateStrategy.type: Unsupported value: \"Now\""),
        (
            daemon(json!({"maxUnavailable": 0})),
            "spec.updateStrategy.rollingUpdate.maxUnavailable: Required value: cannot be 0",
        ),
        (
            daemon(json!({"maxSurge": 1})),
            "spec.updateStrategy.rollingUpdate.maxSurge: Invalid value: \"1\": may not be set",
        ),
        (daemon(json!({"maxSurge": "a"})), "spec.updateStrategy.rollingUpdate.maxSurge: Invalid value: \"a\""),
    ] {
        breaks(Kind::DaemonSet, patch, expected);
    }
    for (patch, expected) in [
        (json!({"spec": {"podManagementPolicy": "Some"}}), "spec.podManagementPolicy: Unsupported value: \"Some\""),
        (json!({"spec": {"ordinals": {"start": -1}}}), "spec.ordinals.start: Invalid value: -1"),
        (json!({"metadata": {"name": "a.b"}}), "metadata.name: Invalid value: \"a.b-0\""),
        (
            json!({"spec": {"volumeClaimTemplates": [{"metadata": {"name": "data"}}]}}),
            "spec.volumeClaimTemplates: Forbidden: there are no persistent volumes yet: use a hostPath or an emptyDir",
        ),
        (
            json!({"spec": {"updateStrategy": {"type": "OnDelete", "rollingUpdate": {}}}}),
            "spec.updateStrategy.rollingUpdate: Invalid value",
        ),
        (
            json!({"spec": {"updateStrategy": {"rollingUpdate": {"partition": -1}}}}),
            "spec.updateStrategy.rollingUpdate.partition: Invalid value: -1",
        ),
        (
            json!({"spec": {"updateStrategy": {"rollingUpdate": {"maxUnavailable": "0%"}}}}),
            "spec.updateStrategy.rollingUpdate.maxUnavailable: Invalid value: \"0%\": cannot be 0",
        ),
    ] {
        breaks(Kind::StatefulSet, patch, expected);
    }
    breaks(Kind::ControllerRevision, json!({"data": null}), "data: Required value");
    let bounds = |spec: Value| json!({"spec": spec});
    for (patch, expected) in [
        (
            bounds(json!({"minAvailable": 1, "maxUnavailable": 1})),
            "spec: Invalid value: \"\": minAvailable and maxUnavailable",
        ),
        (bounds(json!({"minAvailable": "101%"})), "spec.minAvailable: Invalid value: \"101%\""),
        (bounds(json!({"maxUnavailable": -1})), "spec.maxUnavailable: Invalid value: -1"),
        (bounds(json!({"unhealthyPodEvictionPolicy": "x"})), "spec.unhealthyPodEvictionPolicy: Unsupported value"),
    ] {
        breaks(Kind::PodDisruptionBudget, patch, expected);
    }
    let none = json!({});
    changes(
        Kind::StatefulSet,
        none.clone(),
        json!({"spec": {"serviceName": "x"}}),
        Some("spec: Forbidden: updates to"),
    );
    changes(Kind::StatefulSet, none.clone(), json!({"spec": {"replicas": 7, "minReadySeconds": 1}}), None);
    changes(Kind::ControllerRevision, none, json!({"data": {"a": 1}}), Some("data: Invalid value"));
}
