//! Wildcard binds go to the pod's address.

use crate::world::{PATIENCE, Pod, World};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::time::Duration;
use steersman_domain::ports::{ContainerSpec, Identity, LogQuery, Runtime, RuntimeError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A server in Python that prints where it is bound and answers every connection with its argument.
const SERVER: &str = r#"
import socket, sys, threading
family, address, port, text, v6only = sys.argv[1:6]
def main():
    s = socket.socket(getattr(socket, family), socket.SOCK_STREAM)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == "AF_INET6":
        s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(v6only))
    try:
        s.bind((address, int(port)))
    except OSError as e:
        print("failed", e.errno, flush=True)
        return
    s.listen()
    print("bound", s.getsockname()[0], s.getsockname()[1], flush=True)
    while True:
        c, _ = s.accept()
        c.sendall(text.encode())
        c.close()
# From a thread that is not the first, as servers of many languages do.
t = threading.Thread(target=main); t.start(); t.join()
"#;

fn has_python() -> bool {
    let found = Command::new("/usr/bin/env").args(["python3", "-c", ""]).status().is_ok_and(|s| s.success());
    if !found {
        eprintln!("skipped: needs python3");
    }
    found
}

fn server(pod: &Pod<'_>, family: &str, address: &str, port: u16, v6only: &str) -> ContainerSpec {
    let port = port.to_string();
    let args = ["python3", "-c", SERVER, family, address, &port, pod.uid.as_str(), v6only];
    let path = std::env::var("PATH").unwrap();
    ContainerSpec {
        command: args.iter().map(|a| (*a).to_owned()).collect(),
        env: vec![("PATH".into(), path)],
        ..pod.spec("")
    }
}

async fn greeting(address: (Ipv4Addr, u16)) -> String {
    let mut text = String::new();
    TcpStream::connect(address).await.unwrap().read_to_string(&mut text).await.unwrap();
    text
}

async fn bound(pod: &Pod<'_>) -> String {
    pod.logged("\n").await.lines().next().unwrap().to_owned()
}

async fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port()
}

#[tokio::test]
async fn this_host_can_rewrite_binds() {
    let world = World::new().await;
    let conditions = world.runtime().conditions().await;
    let rewriting = conditions.iter().find(|c| c.kind == "PortRewriting").unwrap();
    assert_eq!(rewriting.status, "True", "{}", rewriting.message);
}

#[tokio::test]
async fn pods_share_a_port_each_at_its_own_address() {
    if !has_python() {
        return;
    }
    let world = World::new().await;
    let port = free_port().await;
    let (one, two) = (world.pod("one").await, world.pod("two").await);
    for pod in [&one, &two] {
        pod.start(&server(pod, "AF_INET", "0.0.0.0", port, "0")).await;
        tokio::time::timeout(PATIENCE, world.runtime().ports_open(&pod.uid, &[port])).await.unwrap().unwrap();
        assert_eq!(bound(pod).await, format!("bound {} {port}", pod.ip));
        assert_eq!(greeting((pod.ip, port)).await, pod.uid.as_str());
    }
    // The same port in the same pod is taken.
    let again = ContainerSpec { name: "again".into(), ..server(&one, "AF_INET", "0.0.0.0", port, "0") };
    one.run(&again).await;
    let text = one.log(LogQuery { container: "again".into(), ..LogQuery::default() }).await.unwrap();
    assert_eq!(text, format!("failed {}\n", rustix::io::Errno::ADDRINUSE.raw_os_error()));
}

#[tokio::test]
async fn dual_stack_sockets_answer_at_the_pods_address() {
    if !has_python() {
        return;
    }
    let world = World::new().await;
    let port = free_port().await;
    let pod = world.pod("dual").await;
    pod.start(&server(&pod, "AF_INET6", "::", port, "0")).await;
    assert_eq!(bound(&pod).await, format!("bound ::ffff:{} {port}", pod.ip));
    assert_eq!(greeting((pod.ip, port)).await, pod.uid.as_str());
}

#[tokio::test]
async fn explicit_addresses_port_zero_and_ipv6_only_are_left_alone() {
    if !has_python() {
        return;
    }
    let world = World::new().await;
    let port = free_port().await;
    for (index, (family, address, port, v6only, wanted)) in [
        ("AF_INET", "127.0.0.1", port, "0", format!("bound 127.0.0.1 {port}")),
        ("AF_INET", "0.0.0.0", 0, "0", "bound 0.0.0.0 ".to_owned()),
        ("AF_INET6", "::", port, "1", format!("bound :: {port}")),
    ]
    .into_iter()
    .enumerate()
    {
        let pod = world.pod(&format!("alone-{index}")).await;
        pod.start(&server(&pod, family, address, port, v6only)).await;
        let text = bound(&pod).await;
        assert!(text.starts_with(&wanted), "{text} is not {wanted}");
    }
}

#[tokio::test]
async fn another_user_and_commands_are_rewritten_too() {
    if !has_python() || !crate::world::is_root() {
        return;
    }
    let world = World::new().await;
    let port = free_port().await;
    let pod = world.pod("nobody").await;
    let identity = Identity { user: Some(65534), ..Identity::default() };
    // A system's own interpreter can be read by every user, which one below a home directory cannot.
    let mut spec = ContainerSpec { identity, ..server(&pod, "AF_INET", "0.0.0.0", port, "0") };
    if std::path::Path::new("/usr/bin/python3").exists() {
        spec.command[0] = "/usr/bin/python3".into();
        pod.start(&spec).await;
        assert_eq!(bound(&pod).await, format!("bound {} {port}", pod.ip));
    }
}

#[tokio::test]
async fn many_binds_and_dying_callers_do_not_stop_the_shim() {
    if !has_python() {
        return;
    }
    let world = World::new().await;
    let pod = world.pod("many").await;
    let script = r#"
import os, signal, socket, time
for i in range(60):
    child = os.fork()
    if child == 0:
        while True:
            s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try: s.bind(("", 20000 + os.getpid() % 20000))
            except OSError: pass
            s.close()
    time.sleep(0.002)
    os.kill(child, signal.SIGKILL); os.waitpid(child, 0)
s = socket.socket(); s.bind(("", 19999)); print("bound", s.getsockname()[0], flush=True)
"#;
    let spec = ContainerSpec {
        command: vec!["python3".into(), "-c".into(), script.into()],
        env: vec![("PATH".into(), std::env::var("PATH").unwrap())],
        ..pod.spec("")
    };
    assert_eq!(pod.output(&spec).await, format!("bound {}\n", pod.ip));
}

#[tokio::test]
async fn open_ports_are_noticed_promptly() {
    if !has_python() {
        return;
    }
    let world = World::new().await;
    let port = free_port().await;
    let pod = world.pod("prompt").await;
    let waiting = tokio::time::timeout(Duration::from_millis(300), world.runtime().ports_open(&pod.uid, &[port])).await;
    assert!(waiting.is_err(), "nothing listens yet");
    let mut spec = server(&pod, "AF_INET", "0.0.0.0", port, "0");
    spec.command[2] = format!("import time; time.sleep(0.5)\n{SERVER}")
        .replace("s.listen()", "s.listen(); print('at', time.time_ns(), flush=True)");
    pod.start(&spec).await;
    tokio::time::timeout(PATIENCE, world.runtime().ports_open(&pod.uid, &[port])).await.unwrap().unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos();
    let text = pod.logged("at ").await;
    let at: u128 = text.lines().find_map(|l| l.strip_prefix("at ")).unwrap().parse().unwrap();
    assert!(now.saturating_sub(at) < 90_000_000, "noticed only after {} µs", now.saturating_sub(at) / 1000);
}

#[tokio::test]
async fn hooks_ask_the_pod_by_http() {
    let world = World::new().await;
    let pod = world.pod("http").await;
    let listener = TcpListener::bind((pod.ip, 0)).await.unwrap();
    let SocketAddr::V4(address) = listener.local_addr().unwrap() else { panic!("not IPv4") };
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = vec![0; 4096];
        let length = stream.read(&mut request).await.unwrap();
        let fits = request[..length].starts_with(b"GET /ready?now HTTP/1.1\r\n");
        let answer: &[u8] = if fits { b"HTTP/1.1 201 Made\r\n\r\n" } else { b"HTTP/1.1 400 No\r\n\r\n" };
        stream.write_all(answer).await.unwrap();
    });
    let port = address.port();
    assert_eq!(world.runtime().http_get(&pod.uid, port, "/ready?now", PATIENCE).await, Ok(201));
    let nobody = world.runtime().http_get(&pod.uid, 1, "/", PATIENCE).await;
    assert!(matches!(nobody, Err(RuntimeError::Unavailable(_))), "{nobody:?}");
}

/// Prints what a rewritten bind costs; run with `--ignored --nocapture`.
#[tokio::test]
#[ignore = "a measurement"]
async fn figures() {
    let world = World::new().await;
    let pod = world.pod("cost").await;
    let script = r#"
import socket, time
def cost(address):
    total = 0
    for i in range(4000):
        s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        t = time.perf_counter_ns(); s.bind((address, 30000 + i % 100)); total += time.perf_counter_ns() - t
        s.close()
    return total / 4000000
print("wildcard", cost("0.0.0.0"), "µs; explicit", cost("127.0.0.9"), "µs")
"#;
    let path = std::env::var("PATH").unwrap();
    let command = vec!["python3".into(), "-c".into(), script.into()];
    eprintln!("{}", pod.output(&ContainerSpec { command, env: vec![("PATH".into(), path)], ..pod.spec("") }).await);
    let spec =
        ContainerSpec { name: "loud".into(), ..pod.spec("yes 0123456789012345678901234567890 | head -c 400000000") };
    let begun = std::time::Instant::now();
    pod.run(&spec).await;
    eprintln!("log: {:.0} MB/s", 400.0 / begun.elapsed().as_secs_f64());
}
