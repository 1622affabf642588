//! Lifecycle hooks: a command in the container, an HTTP request to the pod, or a pause.

use std::time::Duration;
use steersman_domain::ports::{Clock, Runtime};
use steersman_domain::{Container, HttpGetAction, IntOrString, LifecycleHandler, Uid};

/// Runs a hook; the error says what went wrong, as events tell it.
pub(super) async fn run_hook(
    (runtime, clock): (&dyn Runtime, &dyn Clock),
    pod: &Uid,
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
        let (port, path) = target(container, get)?;
        return match runtime.http_get(pod, port, &path, timeout).await {
            Ok(200..=399) => Ok(()),
            Ok(status) => Err(format!("HTTP GET {path} at port {port} answered {status}")),
            Err(error) => Err(error.to_string()),
        };
    }
    if let Some(sleep) = &hook.sleep {
        clock.sleep(Duration::from_secs(u64::try_from(sleep.seconds).unwrap_or(0)).min(timeout)).await;
        return Ok(());
    }
    Err("the hook has no action that this node knows: use exec, httpGet or sleep".to_owned())
}

/// Port and path of a request. Hooks go to the pod itself, by plain HTTP.
fn target(container: &Container, get: &HttpGetAction) -> Result<(u16, String), String> {
    if !get.host.is_empty() {
        return Err(format!(
            "httpGet.host {:?} cannot be used by this node: hooks go to the pod, leave it out",
            get.host
        ));
    }
    if !matches!(get.scheme.as_str(), "" | "HTTP" | "http") {
        return Err(format!("httpGet.scheme {} cannot be used by this node: use HTTP", get.scheme));
    }
    let number = match &get.port {
        IntOrString::Int(port) => Some(*port),
        IntOrString::Text(name) => match container.ports.iter().find(|p| p.name == *name) {
            Some(port) => Some(port.container_port),
            None => name.parse().ok(),
        },
    };
    let port = number.and_then(|n| u16::try_from(n).ok()).filter(|&p| p > 0);
    let port =
        port.ok_or_else(|| "httpGet.port is neither a number from 1 to 65535 nor the name of a port".to_owned())?;
    let path = if get.path.starts_with('/') { get.path.to_string() } else { format!("/{}", get.path) };
    Ok((port, path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use steersman_domain::ContainerPort;

    #[test]
    fn ports_are_numbers_or_names() {
        let port = ContainerPort { name: "web".into(), container_port: 8080, ..ContainerPort::default() };
        let container = Container { ports: vec![port], ..Container::default() };
        let get = |port: IntOrString, path: &str| HttpGetAction { port, path: path.into(), ..HttpGetAction::default() };
        assert_eq!(target(&container, &get(IntOrString::Text("web".into()), "x")), Ok((8080, "/x".into())));
        assert_eq!(target(&container, &get(IntOrString::Int(81), "/")), Ok((81, "/".into())));
        assert!(target(&container, &get(IntOrString::Text("none".into()), "/")).is_err());
        assert!(target(&container, &get(IntOrString::Int(0), "/")).is_err());
    }
}
