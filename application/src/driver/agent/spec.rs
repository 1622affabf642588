//! What a runtime needs to start a container, out of the pod: identity, limits, mounts, command. Pure.

use super::env::{ConfigError, Environment};
use super::expand::expand;
use super::state::{Role, init_role};
use std::path::PathBuf;
use steersman_domain::ports::{ContainerSpec, Identity, Limits, Mount};
use steersman_domain::{Container, Pod, Quantity};

/// The specification of one attempt. The environment is finished; commands and arguments are expanded with it.
pub(super) fn container_spec(
    pod: &Pod,
    container: &Container,
    attempt: u32,
    environment: Environment,
    pids_limit: i64,
) -> Result<ContainerSpec, ConfigError> {
    let words = container.command.iter().chain(&container.args);
    let command = words.map(|word| expand(word, |name| environment.get(name))).collect();
    Ok(ContainerSpec {
        pod: pod.metadata.uid.clone(),
        name: container.name.clone(),
        attempt,
        init: pod.spec.init_containers.iter().any(|c| c.name == container.name && init_role(c) == Role::Init),
        image: container.image.clone(),
        command,
        working_dir: (!container.working_dir.is_empty()).then(|| PathBuf::from(container.working_dir.as_str())),
        identity: identity(pod, container)?,
        limits: limits(container, pids_limit),
        mounts: mounts(container),
        env: environment.variables,
    })
}

/// The container's security context over the pod's.
pub(super) fn identity(pod: &Pod, container: &Container) -> Result<Identity, ConfigError> {
    let of_pod = pod.spec.security_context.as_deref();
    let own = container.security_context.as_ref();
    let user = own.and_then(|c| c.run_as_user).or(of_pod.and_then(|p| p.run_as_user));
    let group = own.and_then(|c| c.run_as_group).or(of_pod.and_then(|p| p.run_as_group));
    let non_root = own.and_then(|c| c.run_as_non_root).or(of_pod.and_then(|p| p.run_as_non_root));
    let mut supplemental = Vec::new();
    for id in of_pod.iter().flat_map(|p| p.supplemental_groups.iter().chain(&p.fs_group)) {
        supplemental.push(numeric_id("supplementalGroups", *id)?);
    }
    let capabilities = own.and_then(|c| c.capabilities.as_ref());
    let privileged = own.and_then(|c| c.privileged) == Some(true);
    Ok(Identity {
        user: user.map(|id| numeric_id("runAsUser", id)).transpose()?,
        group: group.map(|id| numeric_id("runAsGroup", id)).transpose()?,
        supplemental_groups: supplemental,
        non_root: non_root == Some(true),
        add_capabilities: capabilities.map(|c| c.add.clone()).unwrap_or_default(),
        drop_capabilities: capabilities.map(|c| c.drop.clone()).unwrap_or_default(),
        privileged,
        read_only_root: own.and_then(|c| c.read_only_root_filesystem) == Some(true),
        allow_privilege_escalation: privileged || own.and_then(|c| c.allow_privilege_escalation) == Some(true),
    })
}

fn numeric_id(field: &str, id: i64) -> Result<u32, ConfigError> {
    u32::try_from(id)
        .map_err(|_| ConfigError(format!("{field}: {id} is no id of a user or group: use 0 to 4294967295")))
}

fn limits(container: &Container, pids_limit: i64) -> Limits {
    let amounts = &container.resources;
    let limit = |name: &str| amounts.limits.get(name);
    let cpu_request = amounts.requests.get("cpu").or(limit("cpu"));
    Limits {
        cpu_request_milli: cpu_request.map_or(0, Quantity::milli),
        cpu_limit_milli: limit("cpu").map_or(0, Quantity::milli),
        memory_limit_bytes: limit("memory").map_or(0, Quantity::value),
        pids_limit,
    }
}

fn mounts(container: &Container) -> Vec<Mount> {
    let mount = |m: &steersman_domain::VolumeMount| Mount {
        volume: m.name.clone(),
        path: PathBuf::from(m.mount_path.as_str()),
        sub_path: PathBuf::from(m.sub_path.as_str()),
        read_only: m.read_only,
    };
    container.volume_mounts.iter().map(mount).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use steersman_domain::{PodSecurityContext, SecurityContext, Shared};

    #[test]
    fn the_container_overrides_the_pod() {
        let mut pod = Pod::default();
        pod.spec.security_context = Some(Shared::new(PodSecurityContext {
            run_as_user: Some(1000),
            run_as_group: Some(1000),
            run_as_non_root: Some(true),
            supplemental_groups: vec![5],
            fs_group: Some(7),
            ..PodSecurityContext::default()
        }));
        let mut container = Container {
            security_context: Some(SecurityContext { run_as_user: Some(2000), ..SecurityContext::default() }),
            ..Container::default()
        };
        let identity_ = identity(&pod, &container).expect("valid");
        assert_eq!((identity_.user, identity_.group, identity_.non_root), (Some(2000), Some(1000), true));
        assert_eq!(identity_.supplemental_groups, [5, 7]);
        container.security_context = Some(SecurityContext { run_as_user: Some(-1), ..SecurityContext::default() });
        assert!(identity(&pod, &container).is_err());
    }

    #[test]
    fn commands_are_expanded_and_limits_read() {
        let mut container = Container { command: vec!["/bin/$(WHAT)".into()], ..Container::default() };
        container.args = vec!["$$(WHAT)".into(), "$(NOT)".into()];
        container.resources.limits = [("cpu", "1500m"), ("memory", "64Mi")]
            .map(|(k, v)| (k, Quantity::parse(v).expect("valid")))
            .into_iter()
            .collect();
        let environment = Environment { variables: vec![("WHAT".into(), "true".into())], skipped: Vec::new() };
        let spec = container_spec(&Pod::default(), &container, 3, environment, 99).expect("valid");
        assert_eq!(spec.command, ["/bin/true", "$(WHAT)", "$(NOT)"]);
        assert_eq!(
            spec.limits,
            Limits { cpu_request_milli: 1500, cpu_limit_milli: 1500, memory_limit_bytes: 64 << 20, pids_limit: 99 }
        );
        assert_eq!((spec.attempt, spec.working_dir), (3, None));
    }
}
