//! What the tests and measurements of the process runtime run in their pods where a shell cannot do it: a program that
//! binds sockets, as servers do. It tells on its standard output what became of it, one line for one bind:
//! `bound ADDRESS NANOSECONDS`, with the address as the system tells it and the time, since 1970, from which it listens, or
//! `failed ERRNO`.

use socket2::{Domain, Socket, Type};
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const USAGE: &str = "give one of: bind ADDRESS | serve ADDRESS TEXT | serve-ipv6-only ADDRESS TEXT | \
                     bind-after-deaths ADDRESS | bind-forever | cost IP";

/// Callers that die in the midst of their binds.
const DEATHS: usize = 60;
/// Binds over which their cost is averaged.
const COST_ROUNDS: u16 = 4000;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    // Not the first thread: servers of many languages bind from another.
    let outcome = std::thread::spawn(move || run(&words)).join();
    match outcome {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(error)) => {
            let _closed = writeln!(io::stderr(), "{error}");
            ExitCode::FAILURE
        }
        Err(_) => ExitCode::FAILURE,
    }
}

fn run(words: &[String]) -> io::Result<()> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        // Tests give every way of binding a text, which only servers use.
        ["bind", address] | ["bind", address, _] => listen(parse(address)?, false).map(|_| ()),
        ["serve", address, text] => serve(listen(parse(address)?, false)?, text),
        ["serve-ipv6-only", address, text] => serve(listen(parse(address)?, true)?, text),
        ["bind-after-deaths", address, _] => {
            for death in 0..DEATHS {
                let mut child = again()?;
                // After one bind or some, so that death finds each child elsewhere in the next one.
                let mut binds = vec![0; 1 + death % 7];
                let read = child.stdout.as_mut().map_or(Ok(()), |told| told.read_exact(&mut binds));
                child.kill()?;
                child.wait()?;
                read?;
            }
            listen(parse(address)?, false).map(|_| ())
        }
        ["bind-forever"] => bind_forever(),
        ["cost", ip] => cost(parse(ip)?),
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, USAGE)),
    }
}

fn parse<T: std::str::FromStr>(text: &str) -> io::Result<T> {
    text.parse().map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, format!("{text} is no address; {USAGE}")))
}

fn socket(ip: IpAddr, only_v6: bool) -> io::Result<Socket> {
    let domain = if ip.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 };
    let socket = Socket::new(domain, Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    if ip.is_ipv6() {
        socket.set_only_v6(only_v6)?;
    }
    Ok(socket)
}

/// Binds and listens, and tells of it; a bind that fails is told and is no error of this program.
fn listen(address: SocketAddr, only_v6: bool) -> io::Result<Option<Socket>> {
    let socket = socket(address.ip(), only_v6)?;
    if let Err(error) = socket.bind(&address.into()) {
        let errno = error.raw_os_error().ok_or(error)?;
        tell(&format!("failed {errno}\n"))?;
        return Ok(None);
    }
    socket.listen(16)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    let address = socket.local_addr()?.as_socket().ok_or(io::ErrorKind::AddrNotAvailable)?;
    tell(&format!("bound {address} {now}\n"))?;
    Ok(Some(socket))
}

/// Answers every connection with a text.
fn serve(socket: Option<Socket>, text: &str) -> io::Result<()> {
    let Some(socket) = socket else { return Ok(()) };
    loop {
        let (mut connection, _) = socket.accept()?;
        // A caller that has gone needs no answer.
        let _gone = connection.write_all(text.as_bytes());
    }
}

fn tell(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Starts this program anew as one that binds until it is killed.
fn again() -> io::Result<Child> {
    Command::new(std::env::current_exe()?).arg("bind-forever").stdout(Stdio::piped()).spawn()
}

/// Tells each bind by a byte, whatever became of it: what matters is that it was asked for and answered.
fn bind_forever() -> io::Result<()> {
    let port = 20_000 + u16::try_from(std::process::id() % 20_000).unwrap_or_default();
    loop {
        let ip = IpAddr::from([0, 0, 0, 0]);
        let _taken = socket(ip, false)?.bind(&SocketAddr::from((ip, port)).into());
        tell(".")?;
    }
}

/// Tells how many microseconds a bind to a port of this address takes, on average.
fn cost(ip: IpAddr) -> io::Result<()> {
    let mut total = Duration::ZERO;
    for round in 0..COST_ROUNDS {
        let socket = socket(ip, false)?;
        let address = SocketAddr::from((ip, 30_000 + round % 100)).into();
        let begun = Instant::now();
        socket.bind(&address)?;
        total += begun.elapsed();
    }
    tell(&format!("{:.1}", total.as_secs_f64() * 1e6 / f64::from(COST_ROUNDS)))
}
