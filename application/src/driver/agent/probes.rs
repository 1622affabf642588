//! Probes: a container is looked at again and again, and its worker is told when it is found well or unwell. Source of the
//! rules: Kubernetes "Liveness, Readiness, and Startup Probes", and the kubelet's `prober`.

use super::effects::Context;
use super::events::Told;
use super::observe::Observation;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;
use steersman_domain::ports::{HealthAction, HealthCheck, Runtime, Unhealthy};
use steersman_domain::{Container, HttpGetAction, IntOrString, Probe, ProbeKind, Shared as Sub, Str, Time};

/// What is watched.
pub(super) struct Watch {
    pub(super) runtime: Arc<dyn Runtime>,
    pub(super) ip: Ipv4Addr,
    pub(super) container: Sub<Container>,
    pub(super) attempt: u32,
    pub(super) kind: ProbeKind,
    pub(super) started_at: Time,
    /// What the worker takes it for.
    pub(super) well: Option<bool>,
}

/// Looks until there is nothing more to be told: a container that has come up is not asked again whether it has, and one
/// that is to be started again is not asked whether it lives.
pub(super) async fn watch(context: Context, watch: Watch) {
    let Watch { runtime, ip, container, attempt, kind, started_at, mut well } = watch;
    let Some(probe) = container.probe(kind).cloned() else { return };
    let clock = Arc::clone(&context.shared.clock);
    let action = action(&container, &probe);
    let check = |action: &HealthAction| HealthCheck {
        pod: context.pod.metadata.uid.clone(),
        container: container.name.clone(),
        ip,
        action: action.clone(),
        timeout: probe.timeout(),
    };
    let delay = started_at.after(probe.initial_delay()).since(clock.now());
    if !delay.is_zero() {
        clock.sleep(delay).await;
    }
    let (mut good, mut bad) = (0_u32, 0_u32);
    loop {
        let due = clock.monotonic() + probe.period();
        let outcome = match &action {
            Ok(action) => look(&*runtime, &check(action), &*clock).await,
            Err(why) => Err(Unhealthy(why.clone())),
        };
        match outcome {
            Ok(()) => (good, bad) = (good.saturating_add(1), 0),
            Err(error) => {
                (good, bad) = (0, bad.saturating_add(1));
                let message = format!("{} probe failed: {error}", kind.name());
                context.shared.tell(&context.pod, Told::warning("Unhealthy", &container.name, message));
            }
        }
        let now = match (good >= probe.successes(), bad >= probe.failures()) {
            (true, _) => Some(true),
            (_, true) => Some(false),
            (false, false) => well,
        };
        if now != well
            && let Some(is_well) = now
        {
            well = now;
            let container = container.name.clone();
            context.inbox.observed(Observation::Health { container, attempt, probe: kind, well: is_well });
        }
        match (kind, now) {
            (ProbeKind::Startup, Some(_)) | (ProbeKind::Liveness, Some(false)) => return,
            (ProbeKind::Startup | ProbeKind::Liveness | ProbeKind::Readiness, _) => {}
        }
        clock.sleep(due.saturating_sub(clock.monotonic())).await;
    }
}

/// One look, which never takes longer than its time.
async fn look(
    runtime: &dyn Runtime,
    check: &HealthCheck,
    clock: &dyn steersman_domain::ports::Clock,
) -> Result<(), Unhealthy> {
    tokio::select! {
        biased;
        outcome = runtime.check(check) => outcome,
        // The port promises to answer by then.
        () = clock.sleep(check.timeout.saturating_add(Duration::from_millis(100))) => {
            Err(Unhealthy(format!("no answer within {} s", check.timeout.as_secs())))
        }
    }
}

/// How the probe looks; the error says what is wrong with it.
fn action(container: &Container, probe: &Probe) -> Result<HealthAction, String> {
    if let Some(exec) = &probe.exec {
        return Ok(HealthAction::Exec(exec.command.iter().map(ToString::to_string).collect()));
    }
    if let Some(get) = &probe.http_get {
        return http(container, get);
    }
    if let Some(tcp) = &probe.tcp_socket {
        return Ok(HealthAction::Tcp { host: tcp.host.clone(), port: port(container, &tcp.port, "tcpSocket")? });
    }
    if let Some(grpc) = &probe.grpc {
        let port = port(container, &IntOrString::Int(grpc.port), "grpc")?;
        return Ok(HealthAction::Grpc { port, service: grpc.service.clone().unwrap_or_default() });
    }
    Err("the probe has no action that this node knows: use exec, httpGet, tcpSocket or grpc".to_owned())
}

/// A request, of a hook or a probe.
pub(super) fn http(container: &Container, get: &HttpGetAction) -> Result<HealthAction, String> {
    let path = if get.path.starts_with('/') { get.path.to_string() } else { format!("/{}", get.path) };
    Ok(HealthAction::Http {
        tls: get.scheme.eq_ignore_ascii_case("HTTPS"),
        host: get.host.clone(),
        port: port(container, &get.port, "httpGet")?,
        path,
        headers: get.http_headers.iter().map(|h| (h.name.clone(), h.value.clone())).collect(),
    })
}

fn port(container: &Container, port: &IntOrString, what: &str) -> Result<u16, String> {
    let named = |name: &Str| container.ports.iter().find(|p| p.name == *name).map(|p| p.container_port);
    let number = match port {
        IntOrString::Int(port) => Some(*port),
        IntOrString::Text(name) => named(name).or_else(|| name.parse().ok()),
    };
    let number = number.and_then(|n| u16::try_from(n).ok()).filter(|&p| p > 0);
    number.ok_or_else(|| format!("{what}.port is neither a number from 1 to 65535 nor the name of a port"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use steersman_domain::ContainerPort;

    #[test]
    fn ports_are_numbers_or_names() {
        let named = ContainerPort { name: "web".into(), container_port: 8080, ..ContainerPort::default() };
        let container = Container { ports: vec![named], ..Container::default() };
        let port = |p: IntOrString| port(&container, &p, "httpGet");
        assert_eq!(port(IntOrString::Text("web".into())), Ok(8080));
        assert_eq!(port(IntOrString::Int(81)), Ok(81));
        assert!(port(IntOrString::Text("none".into())).is_err_and(|e| e.starts_with("httpGet.port is neither")));
        assert!(port(IntOrString::Int(0)).is_err());
    }

    #[test]
    fn a_path_begins_with_a_slash() {
        let get = HttpGetAction { port: IntOrString::Int(80), path: "x?y=1".into(), ..HttpGetAction::default() };
        let Ok(HealthAction::Http { path, tls: false, .. }) = http(&Container::default(), &get) else { panic!("http") };
        assert_eq!(path, "/x?y=1");
    }
}
