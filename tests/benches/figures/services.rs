//! A service beside its pod, asked directly, in one run: a real cluster, a real process, small HTTP requests. The proxy
//! runs where it does for users: on the runtime of everything else in `steer`.

use crate::{median, steer};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const CLIENTS: usize = 16;
const WINDOW: Duration = Duration::from_millis(500);
const ROUNDS: usize = 9;
const LATENCY_REQUESTS: usize = 5_000;

const MANIFEST: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec:
  containers:
  - name: c
    command: [steer, example, http, --port, "8080"]
    ports: [{containerPort: 8080}]
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 8080}]}
"#;

/// Prints latency and throughput by the service as shares of the same without it.
pub(crate) fn beside_direct() {
    let steer = steer(&["--default-runtime", "process"]);
    let kubectl = steer.kubectl();
    kubectl.ok_with(&["apply", "-f", "-"], MANIFEST);
    kubectl.ok(&["wait", "--for=condition=Ready", "pod/web", "--timeout=30s"]);
    let pod = format!("{}:8080", kubectl.ok(&["get", "pod", "web", "-o", "jsonpath={.status.podIP}"]));
    let service = format!("{}:8080", kubectl.ok(&["get", "svc", "web", "-o", "jsonpath={.spec.clusterIP}"]));
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let measure = |title: &str, unit: &str, once: &dyn Fn(&str) -> f64| {
        let (mut direct, mut proxied) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            direct.push(once(&pod));
            proxied.push(once(&service));
        }
        let (direct, proxied) = (median(direct), median(proxied));
        let (ratio, added) = (proxied / direct, proxied - direct);
        println!(
            "services: {title}: direct {direct:.1} {unit}, by the service {proxied:.1}: {ratio:.2} of it, {added:+.1}"
        );
    };
    measure("p50 of one connection", "µs", &|to| runtime.block_on(latency_p50_us(to)));
    measure("16 keep-alive connections", "requests/s", &|to| runtime.block_on(throughput(to, true)));
    measure("16 clients, a connection per request", "requests/s", &|to| runtime.block_on(throughput(to, false)));
}

async fn latency_p50_us(address: &str) -> f64 {
    let address = address.to_owned();
    let measured = tokio::spawn(async move {
        let mut stream = connect(&address).await;
        let mut times = Vec::with_capacity(LATENCY_REQUESTS);
        for _ in 0..LATENCY_REQUESTS {
            let begin = Instant::now();
            ask(&mut stream).await;
            times.push(begin.elapsed().as_secs_f64() * 1e6);
        }
        median(times)
    });
    measured.await.expect("no request fails")
}

async fn throughput(address: &str, keep_alive: bool) -> f64 {
    let begin = Instant::now();
    let clients: Vec<_> = (0..CLIENTS).map(|_| tokio::spawn(ask_for(WINDOW, address.to_owned(), keep_alive))).collect();
    let mut answered = 0_u32;
    for client in clients {
        answered += client.await.expect("no request fails");
    }
    f64::from(answered) / begin.elapsed().as_secs_f64()
}

async fn ask_for(window: Duration, address: String, keep_alive: bool) -> u32 {
    let (begin, mut answered) = (Instant::now(), 0);
    let mut stream = connect(&address).await;
    while begin.elapsed() < window {
        if keep_alive {
            ask(&mut stream).await;
        } else {
            ask_last(stream).await;
            stream = connect(&address).await;
        }
        answered += 1;
    }
    answered
}

/// A request after which the server closes: a client that closed first would soon have no port left to come from.
async fn ask_last(mut stream: TcpStream) {
    stream.write_all(b"GET / HTTP/1.1\r\nhost: web\r\nconnection: close\r\n\r\n").await.expect("a request is taken");
    let mut answer = Vec::with_capacity(1024);
    stream.read_to_end(&mut answer).await.expect("the answer ends");
    assert!(answer.ends_with(b" v1\n"), "the answer was cut on its way");
}

async fn connect(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).await.expect("it listens");
    stream.set_nodelay(true).expect("a TCP socket");
    stream
}

/// One request and its whole answer, which ends with the version.
async fn ask(stream: &mut TcpStream) {
    stream.write_all(b"GET / HTTP/1.1\r\nhost: web\r\n\r\n").await.expect("a request is taken");
    let (mut answer, mut length) = ([0; 1024], 0);
    while !answer[..length].ends_with(b" v1\n") {
        let read = stream.read(&mut answer[length..]).await.expect("an answer comes");
        assert!(read > 0, "the answer was cut on its way");
        length += read;
    }
}
