//! Scenarios on a whole cluster in memory: what people see happen to their workloads, and the rules that no revision of any
//! history may break. Time is virtual: it passes only when nothing is left to do.

mod autoscaling;
mod crashes;
mod cron;
mod faults;
mod functions;
mod garbage;
mod history;
mod jobs;
mod nodes;
mod plugins;
mod priorities;
mod rollouts;
mod scheduling;
mod scripts;
mod seeds;
mod sets;
mod world;

use serde_json::{Value, json};

/// A Deployment whose pods serve on a port.
pub(crate) struct Web {
    pub(crate) replicas: i32,
    pub(crate) version: &'static str,
    pub(crate) surge: Value,
    pub(crate) unavailable: Value,
    pub(crate) cpu: &'static str,
}

impl Default for Web {
    fn default() -> Self {
        Web { replicas: 3, version: "v1", surge: json!(1), unavailable: json!(0), cpu: "100m" }
    }
}

impl Web {
    /// The Deployment `web` as a client writes it.
    pub(crate) fn deployment(&self) -> Value {
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
            "spec": {
                "replicas": self.replicas,
                "selector": {"matchLabels": {"app": "web"}},
                "strategy": {
                    "type": "RollingUpdate",
                    "rollingUpdate": {"maxSurge": self.surge, "maxUnavailable": self.unavailable},
                },
                "template": {"metadata": {"labels": {"app": "web"}}, "spec": self.pod_spec()},
            },
        })
    }

    /// The Service `web` before it.
    pub(crate) fn service() -> Value {
        json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
            "spec": {"selector": {"app": "web"}, "ports": [{"port": 8080}]},
        })
    }

    /// A bare pod with the label `app: web`.
    pub(crate) fn pod(&self, name: &str) -> Value {
        json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": "web"}},
            "spec": self.pod_spec(),
        })
    }

    fn pod_spec(&self) -> Value {
        json!({"containers": [{
            "name": "main", "image": self.version, "ports": [{"containerPort": 8080}],
            "resources": {"requests": {"cpu": self.cpu}},
        }]})
    }
}

/// Names another version in the JSON of a Deployment.
pub(crate) fn set_version(deployment: &mut Value, version: &str) {
    deployment["spec"]["template"]["spec"]["containers"][0]["image"] = version.into();
}
