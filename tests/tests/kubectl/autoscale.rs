//! Autoscalers: made by `kubectl autoscale`, read in both versions, and fed by what processes really use.

use std::time::Duration;

use steersman_tests::manifests::Web;

use crate::{SOON, apply, each, has};

/// Two windows of measurement, a look of the autoscaler, and some patience.
const SCALED: Duration = Duration::from_secs(90);

/// A workload that keeps a thread busy, and asks for a fifth of a core.
fn busy(name: &str) -> String {
    let web = Web { replicas: 1, ..Web::named(name) }.deployment();
    let args = web.find("          args:").expect("it has arguments");
    let ports = web.find("          ports:").expect("it has ports");
    format!(
        "{}          resources: {{requests: {{cpu: 200m}}}}\n",
        web[..args].replace("[steer, example, http]", "[steer, example, burn-cpu]") + &web[ports..ports]
    )
}

#[test]
fn a_busy_workload_grows_as_far_as_it_may() {
    each("autoscale", |k| {
        apply(k, &busy("busy"));
        has(&k.ok(&["autoscale", "deployment", "busy", "--cpu-percent=50", "--min=1", "--max=3"]), "autoscaled");
        k.becomes(SOON, "hpa/busy", "{.spec.maxReplicas}", "3");
        k.becomes(SCALED, "deployment/busy", "{.spec.replicas}", "3");
        let table = k.ok(&["get", "hpa", "busy"]);
        has(&table, "Deployment/busy");
        has(&table, "%/50%");
        let active = "{.status.conditions[?(@.type=='ScalingActive')].reason}";
        k.becomes(SOON, "horizontalpodautoscalers.v2.autoscaling/busy", active, "ValidMetricFound");
        let described = k.ok(&["describe", "hpa", "busy"]);
        has(&described, "New size: 3; reason: cpu resource utilization (percentage of request) above target");
        let old = k.json(&["get", "horizontalpodautoscalers.v1.autoscaling", "busy"]);
        assert_eq!(old["spec"]["targetCPUUtilizationPercentage"], 50);
        assert_eq!(old["apiVersion"], "autoscaling/v1");
        k.ok(&["delete", "deployment", "busy"]);
        k.becomes(SCALED, "hpa/busy", "{.status.conditions[?(@.type=='AbleToScale')].reason}", "FailedGetScale");
    });
}

#[test]
fn what_cannot_be_is_refused_and_what_cannot_be_measured_is_told() {
    each("autoscaler", |k| {
        let hpa = |spec: &str| {
            format!(
                "apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {{name: web}}
spec:
  scaleTargetRef: {{apiVersion: apps/v1, kind: Deployment, name: web}}
{spec}"
            )
        };
        let apply_fails = |spec: &str, words: &str| {
            k.fails_with(&["apply", "--filename", "-"], &hpa(spec), &[words]);
        };
        apply_fails("  minReplicas: 4\n  maxReplicas: 2\n", "must be greater than or equal to `minReplicas`");
        apply_fails("  maxReplicas: 2\n  metrics: [{type: Wrong}]\n", "Unsupported value: \"Wrong\"");
        apply(k, &Web { replicas: 1, ..Web::named("web") }.deployment());
        apply(k, &hpa("  maxReplicas: 4\n"));
        k.becomes(SOON, "hpa/web", "{.spec.metrics[0].resource.target.averageUtilization}", "80");
        let active = "{.status.conditions[?(@.type=='ScalingActive')].reason}";
        k.becomes(SCALED, "hpa/web", active, "FailedGetResourceMetric");
        k.becomes(SOON, "deployment/web", "{.spec.replicas}", "1");
    });
}
