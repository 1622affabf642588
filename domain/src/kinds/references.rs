//! Which objects a pod refers to: what its node's agent reads to run it, and may read for no other reason.

use crate::{Container, Key, Kind, Pod, Str};

impl Container {
    /// The objects that the environment refers to, each once.
    pub fn env_references(&self, namespace: &str) -> Vec<Key> {
        let mut keys = Vec::new();
        let mut add = |kind: Kind, name: &Str| keys.push(Key::new(kind, namespace, name));
        for from in &self.env_from {
            from.config_map_ref.iter().for_each(|r| add(Kind::ConfigMap, &r.name));
            from.secret_ref.iter().for_each(|r| add(Kind::Secret, &r.name));
        }
        for source in self.env.iter().filter_map(|e| e.value_from.as_ref()) {
            source.config_map_key_ref.iter().for_each(|r| add(Kind::ConfigMap, &r.name));
            source.secret_key_ref.iter().for_each(|r| add(Kind::Secret, &r.name));
        }
        keys.sort();
        keys.dedup();
        keys
    }
}

impl Pod {
    /// The objects that the volumes refer to, each once.
    pub fn volume_references(&self) -> Vec<Key> {
        let namespace = &self.metadata.namespace;
        let mut keys: Vec<Key> = Vec::new();
        for volume in &self.spec.volumes {
            keys.extend(volume.config_map.iter().map(|v| Key::new(Kind::ConfigMap, namespace, &v.name)));
            keys.extend(volume.secret.iter().map(|v| Key::new(Kind::Secret, namespace, &v.secret_name)));
        }
        keys.sort();
        keys.dedup();
        keys
    }

    /// All ConfigMaps, Secrets and ServiceAccounts that the pod refers to, each once, whether they are there or not.
    pub fn references(&self) -> Vec<Key> {
        let namespace = &self.metadata.namespace;
        let mut keys = self.volume_references();
        for container in self.spec.init_containers.iter().chain(&self.spec.containers) {
            keys.extend(container.env_references(namespace));
        }
        if !self.spec.service_account_name.is_empty() {
            keys.push(Key::new(Kind::ServiceAccount, namespace, &self.spec.service_account_name));
        }
        keys.sort();
        keys.dedup();
        keys
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_way_to_refer_to_an_object_counts_once() {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "p", "namespace": "d"},
            "spec": {
                "serviceAccountName": "robot",
                "initContainers": [{"name": "i", "envFrom": [{"secretRef": {"name": "init"}}]}],
                "containers": [{"name": "c", "envFrom": [{"configMapRef": {"name": "all"}}], "env": [
                    {"name": "A", "value": "a"},
                    {"name": "B", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "b"}}},
                    {"name": "C", "valueFrom": {"configMapKeyRef": {"name": "all", "key": "c"}}}]}],
                "volumes": [{"name": "v", "secret": {"secretName": "keys"}}, {"name": "w", "configMap": {"name": "files"}},
                    {"name": "x", "emptyDir": {}}],
            },
        }))
        .expect("a pod");
        let found: Vec<String> = pod.references().iter().map(ToString::to_string).collect();
        let expected =
            ["serviceaccount d/robot", "configmap d/all", "configmap d/files", "secret d/init", "secret d/keys"];
        assert_eq!(found, expected);
        assert_eq!(Pod::default().references(), []);
    }
}
