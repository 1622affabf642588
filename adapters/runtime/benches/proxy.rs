//! The service proxy beside a direct connection, in one run: latency and throughput of small requests, and the memory
//! of 1,000 services. Client, proxy and server have runtimes of their own, as they are separate programs in use.
//! Run with `cargo bench -p steersman-runtime --bench proxy`; `docs/benchmarks.md` keeps results.

#![allow(clippy::print_stdout)]

use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::{Duration, Instant};

use steersman_runtime::proxy::{
    AppProtocol, Endpoint, EndpointState, PodUid, PortSpec, Protocol, Proxy, ProxyConfig, ServiceKey, ServiceSpec,
    SessionAffinity,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

const REQUEST: &[u8] = b"GET /orders/42 HTTP/1.1\r\nHost: shop.default\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n";
const ANSWER: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 24\r\n\r\nthe order is on its way\n";
const SERVER: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(127, 90, 200, 10), 8080);
const PLAIN: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(127, 90, 200, 1), 8080);
const HTTP: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(127, 90, 200, 1), 8081);

/// Length of one throughput measurement; ways take turns in this many rounds, and the median round counts.
const WINDOW: Duration = Duration::from_millis(800);
const ROUNDS: usize = 5;
const CONNECTIONS: usize = 16;
const LATENCY_REQUESTS: usize = 10_000;

fn main() -> Outcome<()> {
    let (server, middle, client) = (runtime(1)?, runtime(2)?, runtime(1)?);
    let listener = server.block_on(TcpListener::bind(SERVER))?;
    server.spawn(serve(listener));
    let proxy = {
        let _context = middle.enter();
        Proxy::start(ProxyConfig::default()).0
    };
    proxy.apply(&service("bench", *PLAIN.ip(), &[(8080, None), (8081, Some(AppProtocol::Http))]))?;

    let ways = [("direct", SERVER), ("proxied", PLAIN), ("proxied, http", HTTP)];
    report("latency p50, one connection", "µs", &ways, |way| client.block_on(latency_p50_us(way.into())))?;
    let title = format!("throughput, {CONNECTIONS} keep-alive connections");
    report(&title, "requests/s", &ways, |way| client.block_on(throughput(way.into(), true)))?;
    let title = format!("throughput, {CONNECTIONS} clients, a connection per request");
    report(&title, "requests/s", &ways, |way| client.block_on(throughput(way.into(), false)))?;
    memory(&proxy)?;
    middle.block_on(proxy.shutdown());
    Ok(())
}

fn runtime(threads: usize) -> std::io::Result<Runtime> {
    Builder::new_multi_thread().worker_threads(threads).enable_all().build()
}

fn service(name: &str, virtual_ip: Ipv4Addr, ports: &[(u16, Option<AppProtocol>)]) -> ServiceSpec {
    let port = |(port, app_protocol): &(u16, Option<AppProtocol>)| PortSpec {
        name: "web".into(),
        protocol: Protocol::Tcp,
        port: *port,
        app_protocol: *app_protocol,
        endpoints: vec![Endpoint { pod: PodUid::from("server"), address: SERVER, state: EndpointState::Ready }],
    };
    ServiceSpec {
        key: ServiceKey::new("default", name),
        virtual_ip,
        ports: ports.iter().map(port).collect(),
        session_affinity: SessionAffinity::None,
    }
}

/// Answers requests of the known length until its client leaves.
async fn serve(listener: TcpListener) {
    while let Ok((mut stream, _)) = listener.accept().await {
        tokio::spawn(async move {
            let _ = stream.set_nodelay(true);
            let mut request = [0; REQUEST.len()];
            while stream.read_exact(&mut request).await.is_ok() && stream.write_all(ANSWER).await.is_ok() {}
        });
    }
}

async fn connect(address: SocketAddr) -> Outcome<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn request(stream: &mut TcpStream) -> Outcome<()> {
    let mut answer = [0; ANSWER.len()];
    stream.write_all(REQUEST).await?;
    stream.read_exact(&mut answer).await?;
    if answer == ANSWER { Ok(()) } else { Err("the answer was changed on its way".into()) }
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
        let mut spec = service(&format!("service-{index}"), Ipv4Addr::new(127, 91, high, low), &[(8080, None)]);
        for pod in 1..3_u8 {
            let pod_uid = format!("pod-{index}-{pod}");
            let address = SocketAddrV4::new(Ipv4Addr::new(127, 92, high, low), 8080 + u16::from(pod));
            spec.ports[0].endpoints.push(Endpoint {
                pod: PodUid::from(pod_uid.as_str()),
                address,
                state: EndpointState::Ready,
            });
        }
        proxy.apply(&spec)?;
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
