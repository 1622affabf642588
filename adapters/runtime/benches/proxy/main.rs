//! The service proxy beside a direct connection, in one run: latency and throughput of small requests, and the memory
//! of 1,000 services. Client, proxy and server have one thread each, as they are separate programs in use. Two servers
//! are asked: one that speaks HTTP as programs do (hyper), and one that only reads and writes fixed bytes. Beside the
//! latter a proxy, which does that same work once more, can at best reach half when all cores are busy.
//! Run with `cargo bench -p steersman-runtime --bench proxy`; `docs/benchmarks.md` keeps results.

#![allow(clippy::print_stdout)]

mod bare;

use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::{Duration, Instant};

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use steersman_runtime::proxy::{
    AppProtocol, Endpoint, EndpointState, PodUid, PortSpec, Protocol, Proxy, ProxyConfig, ServiceKey, ServiceSpec,
    SessionAffinity,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

const REQUEST: &[u8] = b"GET /orders/42 HTTP/1.1\r\nHost: shop.default\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n";
const BODY: &[u8] = b"the order is on its way\n";
const SERVERS: Ipv4Addr = Ipv4Addr::new(127, 90, 200, 10);
const VIRTUAL_IP: Ipv4Addr = Ipv4Addr::new(127, 90, 200, 1);
/// The server that speaks HTTP, and the service ports before it: plain, and declared HTTP.
const HYPER: [u16; 3] = [8080, 8081, 8082];
/// The server of fixed bytes, and the same.
const BARE: [u16; 3] = [9080, 9081, 9082];

/// Length of one throughput measurement; ways take turns in this many rounds, and the median round counts.
const WINDOW: Duration = Duration::from_millis(500);
const ROUNDS: usize = 5;
const CONNECTIONS: usize = 16;
const LATENCY_REQUESTS: usize = 10_000;

fn main() -> Outcome<()> {
    let (server, middle, client) = (runtime()?, runtime()?, runtime()?);
    server.spawn(serve_hyper(server.block_on(TcpListener::bind((SERVERS, HYPER[0])))?));
    server.spawn(serve_bare(server.block_on(TcpListener::bind((SERVERS, BARE[0])))?));
    let proxy = {
        let _context = middle.enter();
        Proxy::start(ProxyConfig::default()).0
    };
    let ports = [HYPER, BARE]
        .map(|[server, plain, http]| [port(plain, None, server), port(http, Some(AppProtocol::Http), server)]);
    proxy.apply(&service("bench", VIRTUAL_IP, ports.concat()))?;
    for (name, [server, plain, http]) in [("HTTP server (hyper)", HYPER), ("server of fixed bytes", BARE)] {
        println!("## {name}");
        let bare = bare_relay(SocketAddrV4::new(SERVERS, server))?;
        let ways = [
            ("direct", SocketAddrV4::new(SERVERS, server)),
            ("bare relay", bare),
            ("proxied", SocketAddrV4::new(VIRTUAL_IP, plain)),
            ("proxied, http", SocketAddrV4::new(VIRTUAL_IP, http)),
        ];
        report("latency p50, one connection", "µs", &ways, |way| client.block_on(latency_p50_us(way.into())))?;
        let title = format!("throughput, {CONNECTIONS} keep-alive connections");
        report(&title, "requests/s", &ways, |way| client.block_on(throughput(way.into(), true)))?;
        let title = format!("throughput, {CONNECTIONS} clients, a connection per request");
        report(&title, "requests/s", &ways, |way| client.block_on(throughput(way.into(), false)))?;
    }
    memory(&proxy)?;
    middle.block_on(proxy.shutdown());
    Ok(())
}

/// A relay to the server that does the least, on a thread of its own.
fn bare_relay(server: SocketAddrV4) -> Outcome<SocketAddrV4> {
    let listener = std::net::TcpListener::bind((VIRTUAL_IP, 0))?;
    let address = SocketAddrV4::new(VIRTUAL_IP, listener.local_addr()?.port());
    std::thread::spawn(move || bare::relay(&listener, server));
    Ok(address)
}

fn runtime() -> std::io::Result<Runtime> {
    Builder::new_multi_thread().worker_threads(1).enable_all().build()
}

fn port(port: u16, app_protocol: Option<AppProtocol>, server: u16) -> PortSpec {
    let address = SocketAddrV4::new(SERVERS, server);
    let endpoint = Endpoint { pod: PodUid::from("server"), address, state: EndpointState::Ready, node: None };
    PortSpec {
        name: "web".into(),
        protocol: Protocol::Tcp,
        port,
        node_port: None,
        app_protocol,
        endpoints: vec![endpoint],
    }
}

fn service(name: &str, virtual_ip: Ipv4Addr, ports: Vec<PortSpec>) -> ServiceSpec {
    let key = ServiceKey::new("default", name);
    ServiceSpec { key, virtual_ip, ports, session_affinity: SessionAffinity::None }
}

/// Answers any request with a short text.
async fn serve_hyper(listener: TcpListener) {
    while let Ok((stream, _)) = listener.accept().await {
        let _ = stream.set_nodelay(true);
        let answer = service_fn(async |_: Request<Incoming>| {
            let response =
                Response::builder().header("content-type", "text/plain").header("content-length", BODY.len());
            response.body(Full::new(Bytes::from_static(BODY)))
        });
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
    }
}

/// Answers requests of the known length until its client leaves.
async fn serve_bare(listener: TcpListener) {
    while let Ok((mut stream, _)) = listener.accept().await {
        tokio::spawn(async move {
            let _ = stream.set_nodelay(true);
            let answer = [b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 24\r\n\r\n", BODY].concat();
            let mut request = [0; REQUEST.len()];
            while stream.read_exact(&mut request).await.is_ok() && stream.write_all(&answer).await.is_ok() {}
        });
    }
}

async fn connect(address: SocketAddr) -> Outcome<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn request(stream: &mut TcpStream) -> Outcome<()> {
    let (mut answer, mut length) = ([0; 512], 0);
    stream.write_all(REQUEST).await?;
    while !answer[..length].ends_with(BODY) {
        match stream.read(&mut answer[length..]).await? {
            0 => return Err("the answer was cut on its way".into()),
            read => length += read,
        }
    }
    Ok(())
}

async fn latency_p50_us(address: SocketAddr) -> Outcome<f64> {
    let measured = tokio::spawn(async move {
        let mut stream = connect(address).await?;
        let mut times = Vec::with_capacity(LATENCY_REQUESTS);
        for _ in 0..LATENCY_REQUESTS {
            let begun = Instant::now();
            request(&mut stream).await?;
            times.push(begun.elapsed());
        }
        times.sort_unstable();
        Outcome::Ok(times[times.len() / 2].as_secs_f64() * 1e6)
    });
    measured.await?
}

async fn throughput(address: SocketAddr, keep_alive: bool) -> Outcome<f64> {
    let begun = Instant::now();
    let clients = (0..CONNECTIONS).map(|_| tokio::spawn(ask_for(WINDOW, address, keep_alive))).collect::<Vec<_>>();
    let mut total = 0_u32;
    for client in clients {
        total += client.await??;
    }
    Ok(f64::from(total) / begun.elapsed().as_secs_f64())
}

async fn ask_for(window: Duration, address: SocketAddr, keep_alive: bool) -> Outcome<u32> {
    let (begun, mut count) = (Instant::now(), 0);
    let mut stream = connect(address).await?;
    while begun.elapsed() < window {
        request(&mut stream).await?;
        count += 1;
        if !keep_alive {
            stream = connect(address).await?;
        }
    }
    Ok(count)
}

/// Measures every way in turns and prints the medians, each beside the first.
fn report(
    title: &str,
    unit: &str,
    ways: &[(&str, SocketAddrV4)],
    measure: impl Fn(SocketAddrV4) -> Outcome<f64>,
) -> Outcome<()> {
    let mut results = vec![Vec::new(); ways.len()];
    for _ in 0..ROUNDS {
        for (way, results) in ways.iter().zip(&mut results) {
            results.push(measure(way.1)?);
        }
    }
    println!("{title}");
    let medians = results.into_iter().map(|mut values| {
        values.sort_unstable_by(f64::total_cmp);
        values[values.len() / 2]
    });
    let mut direct = None;
    for ((name, _), value) in ways.iter().zip(medians) {
        let direct = *direct.get_or_insert(value);
        println!("  {name:<14} {value:>10.1} {unit}  {:>5.2} of direct  {:>+9.1}", value / direct, value - direct);
    }
    Ok(())
}

/// Resident memory that 1,000 services with one listening port and three endpoints each add.
fn memory(proxy: &Proxy) -> Outcome<()> {
    let before = resident_kib()?;
    for index in 0..1000_u16 {
        let [high, low] = index.to_be_bytes();
        let mut port = port(8080, None, 8080);
        for pod in 1..3_u8 {
            let pod_uid = format!("pod-{index}-{pod}");
            let address = SocketAddrV4::new(Ipv4Addr::new(127, 92, high, low), 8080 + u16::from(pod));
            port.endpoints.push(Endpoint {
                pod: PodUid::from(pod_uid.as_str()),
                address,
                state: EndpointState::Ready,
                node: None,
            });
        }
        proxy.apply(&service(&format!("service-{index}"), Ipv4Addr::new(127, 91, high, low), vec![port]))?;
    }
    let listening = proxy.metrics().len() - 1;
    let added = resident_kib()?.saturating_sub(before);
    println!("memory of {listening} services\n  {added} KiB");
    Ok(())
}

fn resident_kib() -> Outcome<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS in /proc/self/status")?;
    Ok(line.trim().trim_end_matches("kB").trim().parse()?)
}
