//! Probes: how the health of a container is looked at, and how often.

use crate::entity::entity;
use crate::{Container, ExecAction, HttpGetAction, IntOrString, Shared, Str};
use std::time::Duration;

entity! {
    /// One way to look at a container again and again; exactly one of the actions is set. Numbers that are 0 stand for their
    /// defaults.
    pub struct Probe {
        exec: Option<ExecAction> = "exec",
        http_get: Option<HttpGetAction> = "httpGet",
        tcp_socket: Option<TcpSocketAction> = "tcpSocket",
        grpc: Option<GrpcAction> = "grpc",
        /// Seconds from the start of the container to the first look.
        initial_delay_seconds: i32 = "initialDelaySeconds",
        /// Seconds after which a look that has no answer counts as failed; by default 1.
        timeout_seconds: i32 = "timeoutSeconds",
        /// Seconds from look to look; by default 10.
        period_seconds: i32 = "periodSeconds",
        /// Good looks in a row after which the container counts as well; by default 1.
        success_threshold: i32 = "successThreshold",
        /// Bad looks in a row after which it counts as unwell; by default 3.
        failure_threshold: i32 = "failureThreshold",
        /// The grace of a container that this probe ends, in the place of the pod's.
        termination_grace_period_seconds: Option<i64> = "terminationGracePeriodSeconds",
    }

    /// A port that must accept connections.
    pub struct TcpSocketAction {
        port: IntOrString = "port",
        /// Empty: the pod's own address.
        host: Str = "host",
    }

    /// A server that must answer `grpc.health.v1.Health/Check` with SERVING.
    pub struct GrpcAction {
        port: i32 = "port",
        /// What is asked for; empty: the server as a whole.
        service: Option<Str> = "service",
    }

    /// A header of a request.
    pub struct HttpHeader {
        name: Str = "name",
        value: Str = "value",
    }
}

/// What a probe is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProbeKind {
    /// Whether it has come up; until then nothing else is asked.
    Startup,
    /// Whether it should be started again.
    Liveness,
    /// Whether it takes traffic.
    Readiness,
}

impl ProbeKind {
    /// All, in the order of the container's life.
    pub const ALL: [ProbeKind; 3] = [ProbeKind::Startup, ProbeKind::Liveness, ProbeKind::Readiness];

    /// As sentences begin with it: `Startup`, `Liveness`, `Readiness`.
    pub fn name(self) -> &'static str {
        match self {
            ProbeKind::Startup => "Startup",
            ProbeKind::Liveness => "Liveness",
            ProbeKind::Readiness => "Readiness",
        }
    }
}

fn seconds(value: i32, default: u64) -> Duration {
    Duration::from_secs(u64::try_from(value).ok().filter(|s| *s > 0).unwrap_or(default))
}

fn count(value: i32, default: u32) -> u32 {
    u32::try_from(value).ok().filter(|n| *n > 0).unwrap_or(default)
}

impl Probe {
    /// From the start of the container to the first look.
    pub fn initial_delay(&self) -> Duration {
        seconds(self.initial_delay_seconds, 0)
    }

    /// How long a look may take.
    pub fn timeout(&self) -> Duration {
        seconds(self.timeout_seconds, 1)
    }

    /// From look to look.
    pub fn period(&self) -> Duration {
        seconds(self.period_seconds, 10)
    }

    /// Good looks in a row that make well.
    pub fn successes(&self) -> u32 {
        count(self.success_threshold, 1)
    }

    /// Bad looks in a row that make unwell.
    pub fn failures(&self) -> u32 {
        count(self.failure_threshold, 3)
    }
}

impl Container {
    /// The probe for a purpose.
    pub fn probe(&self, kind: ProbeKind) -> Option<&Shared<Probe>> {
        match kind {
            ProbeKind::Startup => self.startup_probe.as_ref(),
            ProbeKind::Liveness => self.liveness_probe.as_ref(),
            ProbeKind::Readiness => self.readiness_probe.as_ref(),
        }
    }
}
