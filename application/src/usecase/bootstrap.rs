//! What every cluster has from its first moment.

use super::Api;
use crate::client::Write;
use crate::client::{ApiError, Client, WriteOptions};
use std::sync::Arc;
use steersman_domain::{Key, Kind, Namespace, PriorityClass, Resource, RuntimeClass, SYSTEM_PRIORITY_CLASSES};

/// The namespaces that every cluster has and that cannot be deleted.
pub const SYSTEM_NAMESPACES: &[&str] = &["default", "kube-node-lease", "kube-public", "kube-system"];

/// The runtimes that every cluster knows by name, whether or not a node offers them.
const RUNTIMES: &[&str] = &["task", "process", "container", "simulated"];

impl Api {
    /// Creates what every cluster has: the system namespaces, the runtime classes and the system's priority
    /// classes. What is there already stays; may
    /// be called at every start.
    pub async fn bootstrap(&self) -> Result<(), ApiError> {
        let mut wanted = Vec::new();
        for name in SYSTEM_NAMESPACES {
            let mut namespace = Namespace::default();
            namespace.metadata.name = (*name).into();
            wanted.push((Key::cluster(Kind::Namespace, name), Namespace::into_object(Arc::new(namespace))));
        }
        for name in RUNTIMES {
            let mut class = RuntimeClass::default();
            class.metadata.name = (*name).into();
            class.handler = (*name).into();
            wanted.push((Key::cluster(Kind::RuntimeClass, name), RuntimeClass::into_object(Arc::new(class))));
        }
        for (name, value) in SYSTEM_PRIORITY_CLASSES {
            let mut class = PriorityClass { value: *value, ..PriorityClass::default() };
            class.metadata.name = (*name).into();
            class.description = "Used for pods that the cluster itself cannot do without.".into();
            let key = Key::cluster(Kind::PriorityClass, name);
            wanted.push((key, PriorityClass::into_object(Arc::new(class))));
        }
        let mut missing = Vec::new();
        for (key, object) in wanted {
            match self.get(&key).await {
                Ok(_) => {}
                Err(ApiError::NotFound(_)) => missing.push(Write::Create(object)),
                Err(error) => return Err(error),
            }
        }
        for answer in self.write(missing, &WriteOptions::default()).await {
            match answer {
                Ok(_) | Err(ApiError::AlreadyExists(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
