//! Lifecycle hooks: a command in the container, an HTTP request to the pod, or a pause.

use super::probes;
use std::net::Ipv4Addr;
use std::time::Duration;
use steersman_domain::ports::{Clock, HealthCheck, Runtime};
use steersman_domain::{Container, LifecycleHandler, Uid};

/// Runs a hook; the error says what went wrong, as events tell it.
pub(super) async fn run_hook(
    (runtime, clock): (&dyn Runtime, &dyn Clock),
    (pod, ip): (&Uid, Ipv4Addr),
    container: &Container,
    hook: &LifecycleHandler,
    timeout: Duration,
) -> Result<(), String> {
    if let Some(exec) = &hook.exec {
        let command: Vec<String> = exec.command.iter().map(ToString::to_string).collect();
        let answer = runtime.exec(pod, &container.name, &command, timeout).await.map_err(|e| e.to_string())?;
        return match answer.exit_code {
            0 => Ok(()),
            code => Err(format!(
                "command '{}' exited with {code}: {}",
                command.join(" "),
                String::from_utf8_lossy(&answer.output).trim()
            )),
        };
    }
    if let Some(get) = &hook.http_get {
        let action = probes::http(container, get)?;
        let check = HealthCheck { pod: pod.clone(), container: container.name.clone(), ip, action, timeout };
        return runtime.check(&check).await.map_err(|error| error.to_string());
    }
    if let Some(sleep) = &hook.sleep {
        clock.sleep(Duration::from_secs(u64::try_from(sleep.seconds).unwrap_or(0)).min(timeout)).await;
        return Ok(());
    }
    Err("the hook has no action that this node knows: use exec, httpGet or sleep".to_owned())
}
