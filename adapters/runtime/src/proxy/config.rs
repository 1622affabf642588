//! The proxy's limits and times. The defaults are the ones the product runs with; tests shorten them.

use std::time::Duration;

/// Limits and times of a [`Proxy`](super::Proxy).
#[derive(Debug, Clone)]
pub struct ProxyConfig {
    /// Longest wait for one connect. Three seconds let a SYN that met a full backlog be sent twice more.
    pub dial_timeout: Duration,
    /// How long an endpoint that failed a connect is only used when no other is left.
    pub suspicion: Duration,
    /// How long an endpoint reported dead stays out when nobody reports it up again.
    pub down_hold: Duration,
    /// Backlog of every listener. The kernel caps it at `net.core.somaxconn`.
    pub backlog: i32,
    /// Added to ports below 1024 when the process may not bind them.
    pub low_port_offset: u16,
    /// Descriptors the proxy may use (listeners two, connections two, UDP clients two); `None` takes the soft
    /// `RLIMIT_NOFILE` less a reserve for the rest of the program.
    pub descriptors: Option<usize>,
    /// First pause before a blocked bind is tried again; doubles up to `bind_retry_max`.
    pub bind_retry_min: Duration,
    /// Longest pause between tries of a blocked bind.
    pub bind_retry_max: Duration,
    /// A UDP client silent in both directions for this long is forgotten.
    pub udp_idle: Duration,
    /// UDP clients remembered per port; the longest silent one makes place for a new one.
    pub udp_clients_per_port: usize,
    /// Clients remembered per port for session affinity; the longest silent one makes place for a new one.
    pub affinity_clients_per_port: usize,
}

impl Default for ProxyConfig {
    fn default() -> Self {
        Self {
            dial_timeout: Duration::from_secs(3),
            suspicion: Duration::from_secs(1),
            down_hold: Duration::from_secs(10),
            backlog: 4096,
            low_port_offset: 10_000,
            descriptors: None,
            bind_retry_min: Duration::from_millis(250),
            bind_retry_max: Duration::from_secs(5),
            udp_idle: Duration::from_secs(30),
            udp_clients_per_port: 1024,
            affinity_clients_per_port: 16_384,
        }
    }
}
