//! Looks at containers over the network, as probes and hooks ask for them: a connection, a request, a call of
//! `grpc.health.v1`. All go to the pod's own address unless the probe names a host, and never to link-local addresses or to
//! where clouds keep the metadata of a machine.

mod grpc;
mod http;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use steersman_domain::ports::{HealthAction, HealthCheck, Unhealthy};
use tokio::net::TcpStream;

/// One look that needs nothing but the network; `Exec` is not one.
pub(crate) async fn look(check: &HealthCheck) -> Result<(), Unhealthy> {
    let looked = async {
        match &check.action {
            HealthAction::Exec(_) => Err("the runtime of the pod runs no commands".to_owned()),
            HealthAction::Http { tls, host, port, path, headers } => {
                http::get((check.ip, host), *port, (*tls, path), headers).await
            }
            HealthAction::Tcp { host, port } => connect((check.ip, host), *port).await.map(drop),
            HealthAction::Grpc { port, service } => grpc::check(connect((check.ip, ""), *port).await?, service).await,
        }
    };
    match tokio::time::timeout(check.timeout, looked).await {
        Ok(outcome) => outcome.map_err(Unhealthy),
        Err(_) => Err(Unhealthy(format!("no answer within {} s", check.timeout.as_secs_f64()))),
    }
}

/// What a command said that was to look.
pub(crate) fn ran(exit_code: i32, output: &[u8]) -> Result<(), Unhealthy> {
    match (exit_code, String::from_utf8_lossy(output).trim()) {
        (0, _) => Ok(()),
        (code, "") => Err(Unhealthy(format!("the command ended with {code}"))),
        (code, said) => Err(Unhealthy(format!("the command ended with {code}: {said}"))),
    }
}

/// Metadata services beyond the link-local ones (Alibaba Cloud, Oracle Cloud; AWS by IPv6).
const METADATA: [IpAddr; 3] = [
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
];

fn is_allowed(ip: IpAddr) -> bool {
    let ip = ip.to_canonical();
    let link_local = match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    !link_local && !METADATA.contains(&ip)
}

async fn connect((ip, host): (Ipv4Addr, &str), port: u16) -> Result<TcpStream, String> {
    let addresses: Vec<SocketAddr> = match host {
        "" => vec![(ip, port).into()],
        host => {
            let found = tokio::net::lookup_host((host, port)).await;
            found.map_err(|error| format!("{host} is not found: {error}"))?.collect()
        }
    };
    if let Some(forbidden) = addresses.iter().find(|address| !is_allowed(address.ip())) {
        return Err(format!("{} is link-local, or a metadata service: probes do not go there", forbidden.ip()));
    }
    let mut last = format!("{host} has no address");
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = format!("cannot connect to {address}: {error}"),
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::net::TcpListener;

    async fn tcp(host: &str, port: u16) -> Result<(), String> {
        let check = HealthCheck {
            pod: "p".into(),
            container: "c".into(),
            ip: Ipv4Addr::LOCALHOST,
            action: HealthAction::Tcp { host: host.into(), port },
            timeout: Duration::from_secs(5),
        };
        look(&check).await.map_err(|error| error.0)
    }

    #[tokio::test]
    async fn a_port_that_accepts_is_well_and_one_that_does_not_says_so() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        assert_eq!(tcp("", port).await, Ok(()));
        assert_eq!(tcp("localhost", port).await, Ok(()));
        drop(listener);
        assert!(tcp("", port).await.unwrap_err().contains("cannot connect to 127.0.0.1:"));
    }

    #[tokio::test]
    async fn metadata_services_are_never_asked() {
        for host in ["169.254.169.254", "fe80::1", "100.100.100.200", "::ffff:169.254.0.1", "fd00:ec2::254"] {
            let error = tcp(host, 80).await.unwrap_err();
            assert!(error.contains("probes do not go there"), "{host}: {error}");
        }
    }
}
