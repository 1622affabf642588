//! Manifests of the built-in workloads, as the tests need them.

/// A Deployment of the built-in HTTP server, and a Service before it.
#[derive(Debug, Clone)]
pub struct Web<'a> {
    /// Name of both, and the value of the label `app`.
    pub name: &'a str,
    /// Replicas wanted.
    pub replicas: u32,
    /// What the server answers as its version.
    pub version: &'a str,
    /// Seconds that a pod may take to end.
    pub grace_s: u32,
}

impl<'a> Web<'a> {
    /// Two replicas of version v1 that may take ten seconds to end.
    #[must_use]
    pub fn named(name: &'a str) -> Self {
        Self { name, replicas: 2, version: "v1", grace_s: 10 }
    }

    /// Both objects as YAML.
    #[must_use]
    pub fn yaml(&self) -> String {
        format!("{}---\n{}", self.service(), self.deployment())
    }

    /// The Service as YAML.
    #[must_use]
    pub fn service(&self) -> String {
        let name = self.name;
        format!(
            "apiVersion: v1
kind: Service
metadata:
  name: {name}
  labels: {{app: {name}}}
spec:
  selector: {{app: {name}}}
  ports:
    - {{name: http, port: 8080, targetPort: http, appProtocol: http}}
"
        )
    }

    /// The Deployment as YAML. It never takes a pod away before another is ready.
    #[must_use]
    pub fn deployment(&self) -> String {
        let Self { name, replicas, version, grace_s } = self;
        format!(
            "apiVersion: apps/v1
kind: Deployment
metadata:
  name: {name}
  labels: {{app: {name}}}
spec:
  replicas: {replicas}
  selector:
    matchLabels: {{app: {name}}}
  strategy:
    type: RollingUpdate
    rollingUpdate: {{maxSurge: 1, maxUnavailable: 0}}
  template:
    metadata:
      labels: {{app: {name}}}
    spec:
      runtimeClassName: process
      terminationGracePeriodSeconds: {grace_s}
      containers:
        - name: web
          command: [steer, example, http]
          args: [\"--port\", \"8080\", \"--version\", \"{version}\"]
          ports:
            - {{name: http, containerPort: 8080}}
"
        )
    }
}

/// A bare pod that runs `steer example` with these words; it is never restarted unless `restart` says so.
#[must_use]
pub fn example_pod(name: &str, words: &[&str], restart: &str) -> String {
    let args: Vec<String> = words.iter().map(|word| format!("{word:?}")).collect();
    format!(
        "apiVersion: v1
kind: Pod
metadata:
  name: {name}
  labels: {{app: {name}}}
spec:
  runtimeClassName: process
  restartPolicy: {restart}
  containers:
    - name: main
      command: [steer, example, {}]
",
        args.join(", ")
    )
}

/// A ConfigMap with these keys.
#[must_use]
pub fn config_map(name: &str, data: &[(&str, &str)]) -> String {
    let mut text = format!("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\n");
    if !data.is_empty() {
        text.push_str("data:\n");
    }
    for (key, value) in data {
        text.push_str(&format!("  {key}: {value:?}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn read(text: &str) -> Vec<Value> {
        serde_saphyr::from_multiple(text).unwrap_or_else(|error| panic!("{error}\n{text}"))
    }

    #[test]
    fn every_manifest_is_yaml_and_says_what_it_was_told() {
        let web = read(&Web { replicas: 3, version: "v7", ..Web::named("shop") }.yaml());
        assert_eq!(web[0]["kind"], "Service");
        assert_eq!(web[1]["spec"]["replicas"], 3);
        assert_eq!(web[1]["spec"]["template"]["spec"]["containers"][0]["args"][3], "v7");
        let pod = read(&example_pod("crash", &["crash", "--after", "1"], "Never"));
        assert_eq!(pod[0]["spec"]["containers"][0]["command"][4], "1");
        assert_eq!(pod[0]["spec"]["restartPolicy"], "Never");
        assert_eq!(read(&config_map("c", &[("a", "1: \"x\"")]))[0]["data"]["a"], "1: \"x\"");
        assert_eq!(read(&config_map("c", &[]))[0]["data"], Value::Null);
    }
}
