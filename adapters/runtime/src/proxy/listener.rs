//! The task of one service port: bind (again and again if need be), accept under the descriptor budget, and own the
//! connections accepted, so that ending the task ends them.

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, oneshot, watch};
use tokio::task::JoinSet;

use super::bind::{Bound, PortProblem, PortState, bind_port, out_of_descriptors};
use super::budget::PER_LISTENER;
use super::connection::{is_local, serve};
use super::port::Port;
use super::udp;

/// Pauses after a failed accept: long enough for descriptors to come free, short enough not to be noticed.
const ACCEPT_RETRY_MIN: Duration = Duration::from_millis(5);
const ACCEPT_RETRY_MAX: Duration = Duration::from_millis(500);

/// A bound socket and the descriptors it was granted.
pub(super) struct Listening {
    bound: Bound,
    permit: OwnedSemaphorePermit,
}

/// Tries to bind once, keeping and reporting the outcome.
pub(super) fn try_listen(port: &Port) -> Option<Listening> {
    let (listening, state) = match attempt(port) {
        Ok((listening, state)) => (Some(listening), state),
        Err(problem) => (None, PortState::Blocked { problem }),
    };
    port.set_state(state);
    listening
}

fn attempt(port: &Port) -> Result<(Listening, PortState), PortProblem> {
    let shared = &port.shared;
    let permit = shared.budget.try_take(PER_LISTENER).ok_or_else(|| out_of_descriptors(&port.wanted))?;
    let (bound, state) = bind_port(&shared.binder, &port.wanted, shared.config.backlog, shared.config.low_port_offset)?;
    Ok((Listening { bound, permit }, state))
}

/// Runs the port until `stop` is dropped by its holder; then connections finish on their own. A halt ends them as well.
pub(super) async fn run(port: Arc<Port>, first: Option<Listening>, mut stop: oneshot::Receiver<()>) {
    let mut halt = port.shared.halt.subscribe();
    let listening = tokio::select! {
        biased;
        () = halted(&mut halt) => return,
        _ = &mut stop => return,
        listening = listen(&port, first) => listening,
    };
    let outcome = match listening.bound {
        Bound::Tcp(listener) => match TcpListener::from_std(listener) {
            Ok(listener) => {
                accept(&port, listener, listening.permit, stop, halt).await;
                Ok(())
            }
            Err(error) => Err(error),
        },
        Bound::Udp(socket) => udp::run(&port, socket, stop, halt).await,
    };
    if let Err(error) = outcome {
        tracing::error!(service = %port.wanted.service, port = port.wanted.port, %error, "a service port stopped");
    }
}

/// Resolves when everything must end at once.
pub(super) async fn halted(halt: &mut watch::Receiver<bool>) {
    // The sender lives in what every port shares, so an error cannot be seen; it would mean the end as well.
    let _ = halt.wait_for(|halt| *halt).await;
}

/// The socket, as soon as it can be bound.
async fn listen(port: &Port, first: Option<Listening>) -> Listening {
    let (mut pause, longest) = (port.shared.config.bind_retry_min, port.shared.config.bind_retry_max);
    let mut listening = first;
    loop {
        if let Some(listening) = listening {
            return listening;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(longest);
        listening = try_listen(port);
    }
}

async fn accept(
    port: &Arc<Port>,
    listener: TcpListener,
    permit: OwnedSemaphorePermit,
    mut stop: oneshot::Receiver<()>,
    mut halt: watch::Receiver<bool>,
) {
    let mut connections = JoinSet::new();
    let mut next = None;
    let mut pause = ACCEPT_RETRY_MIN;
    loop {
        tokio::select! {
            biased;
            () = halted(&mut halt) => return connections.shutdown().await,
            _ = &mut stop => break,
            Some(_) = connections.join_next() => {}
            // At the cap one client waits here and the others in the backlog.
            permit = port.shared.budget.connection(), if next.is_some() => {
                if let (Some(permit), Some((client, from))) = (permit, next.take()) {
                    connections.spawn(hold(permit, serve(client, from, port.clone())));
                }
            }
            accepted = listener.accept(), if next.is_none() => match accepted {
                Ok((client, from)) => {
                    pause = ACCEPT_RETRY_MIN;
                    next = Some((client, v4(from)));
                }
                Err(error) if is_local(&error) => {
                    tracing::warn!(service = %port.wanted.service, %error, "accepting pauses");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(ACCEPT_RETRY_MAX);
                }
                // The client left before it was accepted, or a firewall stood in the way: only its own trouble.
                Err(_) => tokio::task::yield_now().await,
            },
        }
    }
    drop((listener, next, permit));
    loop {
        tokio::select! {
            biased;
            () = halted(&mut halt) => return connections.shutdown().await,
            ended = connections.join_next() => if ended.is_none() { return },
        }
    }
}

async fn hold(permit: OwnedSemaphorePermit, serving: impl Future<Output = ()>) {
    serving.await;
    drop(permit);
}

fn v4(address: SocketAddr) -> Ipv4Addr {
    match address {
        SocketAddr::V4(address) => *address.ip(),
        // Listeners are IPv4 only.
        SocketAddr::V6(_) => Ipv4Addr::UNSPECIFIED,
    }
}
