//! What a function is given: its mailbox, and who it is. [`Context`] belongs to the function alone; [`Worker`] can be
//! cloned into what it spawns.

use super::gauge::Gauge;
use super::log::Log;
use super::message::Message;
use super::switchboard::{Address, Slot, Switchboard};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::any::Any;
use std::fmt;
use std::future::Future;
use std::net::Ipv4Addr;
use std::ops::Deref;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, Wake, Waker};
use std::time::Duration;
use steersman_domain::ports::{Clock, Entropy, MessageError, Recipient};
use steersman_domain::{Map, Str, Uid};
use tokio::sync::{mpsc, watch};

/// Who a function runs as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodIdentity {
    /// The uid of the pod.
    pub uid: Uid,
    /// The namespace of the pod.
    pub namespace: Str,
    /// The name of the pod.
    pub name: Str,
    /// The pod's labels when it started.
    pub labels: Map<Str>,
    /// The container that runs the function.
    pub container: Str,
    /// Counts starts of the container, from 0.
    pub attempt: u32,
    /// An address of this host that no other pod has; nothing listens there unless the function does.
    pub ip: Ipv4Addr,
}

/// What a run stands on.
pub(super) struct Run {
    pub(super) identity: PodIdentity,
    pub(super) env: Vec<(String, String)>,
    pub(super) log: Arc<Log>,
    pub(super) stop: watch::Sender<bool>,
    pub(super) gauge: Arc<Gauge>,
    pub(super) slot: Arc<Slot>,
    pub(super) board: Switchboard,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) entropy: Arc<dyn Entropy>,
    pub(super) host: Arc<dyn Any + Send + Sync>,
}

/// A function's own side of its run. Cheap to clone.
#[derive(Clone)]
pub struct Worker(pub(super) Arc<Run>);

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Worker").field(&self.0.identity).finish()
    }
}

impl Worker {
    /// The pod that the function runs as.
    pub fn pod(&self) -> &PodIdentity {
        &self.0.identity
    }

    /// A variable of the container's environment, which is the pod's own and never the host's.
    pub fn env(&self, name: &str) -> Option<&str> {
        self.0.env.iter().rev().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// The whole environment, in order.
    pub fn environment(&self) -> &[(String, String)] {
        &self.0.env
    }

    /// Writes to the container's log, which `kubectl logs` shows.
    pub fn log(&self, text: impl fmt::Display) {
        self.0.log.write(self.0.clock.now(), &text.to_string());
    }

    /// Says that the work gets on. Taking a message says so too; only work on one message, or without messages, that lasts
    /// longer than the pod's `steersman.io/hang-after` needs it.
    pub fn progress(&self) {
        self.0.gauge.progress();
    }

    /// Whether the function is asked to end.
    pub fn is_stopping(&self) -> bool {
        *self.0.stop.borrow()
    }

    /// Waits until the function is asked to end. Cancel-safe.
    pub async fn stopping(&self) {
        let mut stop = self.0.stop.subscribe();
        // The sender lives as long as this worker.
        let _closed = stop.wait_for(|stop| *stop).await;
    }

    /// Waits by the host's clock; answers whether it was to the end: `false` as soon as the function is asked to end. It
    /// counts as rest, not as a hang.
    pub async fn sleep(&self, duration: Duration) -> bool {
        let _rest = self.0.gauge.wait();
        tokio::select! {
            biased;
            () = self.stopping() => false,
            () = self.0.clock.sleep(duration) => true,
        }
    }

    /// The host's clock.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.0.clock
    }

    /// 64 random bits of the host's source, which in a simulation is seeded.
    pub fn random(&self) -> u64 {
        self.0.entropy.random()
    }

    /// What the host gives to all its functions, if it is a `T`.
    pub fn host<T: Any>(&self) -> Option<&T> {
        self.0.host.downcast_ref()
    }

    /// The address of a pod (`NAME` or `pod/NAME`) or service (`service/NAME`) of the own namespace. Look it up once, keep
    /// it, and use it often.
    ///
    /// # Errors
    /// [`MessageError::Form`] when the text is no such name.
    pub fn address(&self, to: &str) -> Result<Address, MessageError> {
        self.address_in(&self.0.identity.namespace, to)
    }

    /// As [`Worker::address`], in another namespace.
    ///
    /// # Errors
    /// As [`Worker::address`].
    pub fn address_in(&self, namespace: &str, to: &str) -> Result<Address, MessageError> {
        let recipient = Recipient::parse(to, namespace).map_err(MessageError::Form)?;
        Ok(self.0.board.address_from(&recipient, Some(Arc::clone(&self.0.slot))))
    }

    /// Sends a message to a pod or service of the own namespace; see [`Address::send`].
    ///
    /// # Errors
    /// See [`MessageError`].
    pub async fn send(&self, to: &str, value: impl Serialize + Any + Send) -> Result<(), MessageError> {
        self.address(to)?.send(value).await
    }

    /// Asks a pod or service of the own namespace; see [`Address::ask`].
    ///
    /// # Errors
    /// See [`MessageError`].
    pub async fn ask<R: DeserializeOwned + Any + Send>(
        &self,
        to: &str,
        value: impl Serialize + Any + Send,
    ) -> Result<R, MessageError> {
        self.address(to)?.ask(value).await
    }
}

/// What a function is called with: a [`Worker`], to which it derefs, with the mailbox.
#[derive(Debug)]
pub struct Context {
    worker: Worker,
    mailbox: mpsc::Receiver<Message>,
}

impl Context {
    pub(super) fn new(worker: Worker, mailbox: mpsc::Receiver<Message>) -> Self {
        Context { worker, mailbox }
    }

    /// What can be cloned into tasks that the function spawns.
    pub fn worker(&self) -> &Worker {
        &self.worker
    }

    /// The next message; `None` once the function is asked to end and has taken all that was in its mailbox. Cancel-safe.
    pub async fn next(&mut self) -> Option<Message> {
        let _rest = self.worker.0.gauge.receive();
        loop {
            if let Some(message) = self.mailbox.recv().await?.unless_ping() {
                return Some(message.taken());
            }
        }
    }

    /// As [`Context::next`], for functions with a thread of their own.
    ///
    /// # Panics
    /// Within async code.
    pub fn next_blocking(&mut self) -> Option<Message> {
        let _rest = self.worker.0.gauge.receive();
        loop {
            if let Some(message) = self.mailbox.blocking_recv()?.unless_ping() {
                return Some(message.taken());
            }
        }
    }

    /// Answers every message by a handler, one after the other, until the function is asked to end. A message that is no
    /// `T`, and one whose handler fails, is answered with the error, which is logged.
    ///
    /// ```
    /// # let registry = steersman_runtime::task::Registry::new();
    /// registry.register("workers/double", async |mut ctx: steersman_runtime::task::Context, (): ()| {
    ///     ctx.answer_each(|value: i64| async move { value.checked_mul(2).ok_or("too large") }).await
    /// })?;
    /// # Ok::<(), steersman_runtime::task::RegisterError>(())
    /// ```
    pub async fn answer_each<T, R, E, F, Fut>(&mut self, mut handle: F)
    where
        T: DeserializeOwned + Any,
        R: Serialize + Any + Send,
        E: fmt::Display,
        F: FnMut(T) -> Fut,
        Fut: Future<Output = Result<R, E>>,
    {
        while let Some(message) = self.next().await {
            let (value, reply) = match message.open() {
                Ok(opened) => opened,
                Err(error) => {
                    self.log(error);
                    continue;
                }
            };
            match handle(value).await {
                Ok(answer) => reply.answer(answer),
                Err(error) => {
                    self.log(&error);
                    reply.refuse(error);
                }
            }
        }
    }
}

impl Deref for Context {
    type Target = Worker;

    fn deref(&self) -> &Worker {
        &self.worker
    }
}

struct Unpark(std::thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Waits for a future on this thread: how functions with a thread of their own send and ask.
pub fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = TaskContext::from_waker(&waker);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park(),
        }
    }
}
