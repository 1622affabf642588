//! Who can be written to, and by which way: the mailboxes of pods and the endpoints of services, by namespace and name.
//!
//! An [`Address`] is looked up once and follows all changes from then on: a pod that is replaced, a service whose endpoints
//! come and go. Sending takes two short read locks, held across no wait, and reads no store. Messages do not leave the
//! process.

use super::deadlines::Deadlines;
use super::exchange::{Answer, Asking};
use super::gauge::Gauge;
use super::message::{Message, read};
use parking_lot::RwLock;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::any::Any;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use steersman_domain::ports::{Clock, Entropy, MessageError, Messenger, Recipient, RecipientKind, Spawner};
use steersman_domain::{Str, Uid};
use tokio::sync::mpsc;

/// How long sending and asking take at most where nobody says.
pub const WITHIN: Duration = Duration::from_secs(30);

/// From here on, every doubling of the names looks for those that nobody needs any more.
const SWEEP: usize = 256;

/// How a service chooses among its ready endpoints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Balance {
    /// One after the other.
    #[default]
    RoundRobin,
    /// By chance, from the host's source of it.
    Random,
    /// The one with the fewest messages in its mailbox.
    LeastLoaded,
}

impl Balance {
    /// Reads `round-robin`, `random` or `least-loaded`.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "round-robin" => Some(Balance::RoundRobin),
            "random" => Some(Balance::Random),
            "least-loaded" => Some(Balance::LeastLoaded),
            _ => None,
        }
    }
}

/// The open mailbox of a run.
struct Inbox {
    /// The pod and the attempt whose it is.
    owner: (Uid, u32),
    sender: mpsc::Sender<Message>,
    gauge: Arc<Gauge>,
}

/// The place of a pod's name, whichever pod has it.
pub(super) struct Slot {
    recipient: Recipient,
    inbox: RwLock<Option<Inbox>>,
    /// How many sandboxes have this name: more than one while a pod takes the place of another.
    sandboxes: AtomicUsize,
}

/// Why a mailbox did not take a message, which comes back.
enum Declined {
    Closed(Message),
    Full(Message, mpsc::Sender<Message>),
}

impl Slot {
    pub(super) fn appears(&self) {
        self.sandboxes.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn disappears(&self) {
        self.sandboxes.fetch_sub(1, Ordering::Relaxed);
    }

    /// Opens the mailbox of a run.
    pub(super) fn open(&self, owner: (Uid, u32), sender: mpsc::Sender<Message>, gauge: Arc<Gauge>) {
        *self.inbox.write() = Some(Inbox { owner, sender, gauge });
    }

    /// Takes no more messages for a run; what is in its mailbox stays there.
    pub(super) fn close(&self, owner: &(Uid, u32)) {
        let mut inbox = self.inbox.write();
        let closed = if inbox.as_ref().is_some_and(|inbox| inbox.owner == *owner) { inbox.take() } else { None };
        drop(inbox);
        // Dropped outside the lock: it may be the last sender, which wakes the function.
        drop(closed);
    }

    fn offer(&self, message: Message) -> Result<(), Declined> {
        let inbox = self.inbox.read();
        let Some(inbox) = &*inbox else { return Err(Declined::Closed(message)) };
        inbox.sender.try_send(message).map_err(|error| match error {
            mpsc::error::TrySendError::Closed(message) => Declined::Closed(message),
            mpsc::error::TrySendError::Full(message) => Declined::Full(message, inbox.sender.clone()),
        })
    }

    /// Puts a ping into the mailbox of a pod; the error says why it cannot be.
    pub(super) fn ping(&self, pod: &Uid, message: Message) -> Result<(), String> {
        let inbox = self.inbox.read();
        let inbox = inbox.as_ref().filter(|inbox| inbox.owner.0 == *pod);
        let inbox = inbox.ok_or("it takes no messages")?;
        inbox.sender.try_send(message).map_err(|error| match error {
            mpsc::error::TrySendError::Closed(_) => "it takes no messages".to_owned(),
            mpsc::error::TrySendError::Full(_) => {
                format!("its mailbox is full: {} messages wait", inbox.sender.max_capacity())
            }
        })
    }

    /// Messages that wait, and one that is worked on; `None` when none are taken.
    fn load(&self) -> Option<usize> {
        let inbox = self.inbox.read();
        let inbox = inbox.as_ref()?;
        let queued = inbox.sender.max_capacity() - inbox.sender.capacity();
        Some(queued + usize::from(!inbox.gauge.is_waiting()))
    }

    fn not_taken(&self) -> MessageError {
        match self.sandboxes.load(Ordering::Relaxed) {
            0 => MessageError::NotFound(self.recipient.clone()),
            _ => MessageError::NotReady(self.recipient.clone()),
        }
    }
}

type Endpoints = Arc<[Arc<Slot>]>;

/// A service's name, and who stands behind it.
struct Route {
    recipient: Recipient,
    /// `None`: there is no such service.
    endpoints: RwLock<Option<(Balance, Endpoints)>>,
    next: AtomicUsize,
}

type ByName<T> = HashMap<Str, HashMap<Str, Arc<T>>>;

struct Inner {
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    deadlines: Arc<Deadlines>,
    pods: RwLock<ByName<Slot>>,
    services: RwLock<ByName<Route>>,
}

/// All addresses of a cluster within this process. Clones are the same.
#[derive(Clone)]
pub struct Switchboard(Arc<Inner>);

impl fmt::Debug for Switchboard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Switchboard").finish_non_exhaustive()
    }
}

fn find<T>(map: &ByName<T>, to: &Recipient) -> Option<Arc<T>> {
    map.get(to.namespace.as_str())?.get(to.name.as_str()).cloned()
}

fn find_or_insert<T>(
    map: &RwLock<ByName<T>>,
    to: &Recipient,
    (new, needed): (impl FnOnce() -> T, impl Fn(&T) -> bool),
) -> Arc<T> {
    if let Some(known) = find(&map.read(), to) {
        return known;
    }
    let mut map = map.write();
    let names = map.entry(to.namespace.clone()).or_default();
    let entry = names.entry(to.name.clone()).or_insert_with(|| Arc::new(new())).clone();
    if names.len() >= SWEEP && names.len().is_power_of_two() {
        names.retain(|_, value| Arc::strong_count(value) > 1 || needed(value));
    }
    entry
}

impl Switchboard {
    /// A switchboard that knows nobody. The spawner runs a task of it while there are questions with deadlines.
    pub fn new(clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>, spawner: Arc<dyn Spawner>) -> Self {
        let deadlines = Deadlines::new(clock.clone(), spawner);
        let (pods, services) = (RwLock::default(), RwLock::default());
        Switchboard(Arc::new(Inner { clock, entropy, deadlines, pods, services }))
    }

    pub(super) fn slot(&self, namespace: &str, name: &str) -> Arc<Slot> {
        let recipient = Recipient::pod(namespace, name);
        let new = || Slot { recipient: recipient.clone(), inbox: RwLock::default(), sandboxes: AtomicUsize::new(0) };
        find_or_insert(&self.0.pods, &recipient, (new, |slot| slot.sandboxes.load(Ordering::Relaxed) > 0))
    }

    fn route(&self, recipient: &Recipient) -> Arc<Route> {
        let new = || Route { recipient: recipient.clone(), endpoints: RwLock::default(), next: AtomicUsize::new(0) };
        find_or_insert(&self.0.services, recipient, (new, |route| route.endpoints.read().is_some()))
    }

    /// Says which pods stand ready behind a service, by their names. Pods of other processes may be among them; they are
    /// passed over.
    pub fn set_service<'a>(
        &self,
        namespace: &str,
        name: &str,
        balance: Balance,
        pods: impl IntoIterator<Item = &'a str>,
    ) {
        let endpoints: Endpoints = pods.into_iter().map(|pod| self.slot(namespace, pod)).collect();
        let route = self.route(&Recipient::service(namespace, name));
        *route.endpoints.write() = Some((balance, endpoints));
    }

    /// There is no such service any more. Addresses of it stay good for one that comes by the same name.
    pub fn remove_service(&self, namespace: &str, name: &str) {
        if let Some(route) = find(&self.0.services.read(), &Recipient::service(namespace, name)) {
            *route.endpoints.write() = None;
        }
    }

    /// The address of a pod or a service, whether or not it exists yet.
    pub fn address(&self, to: &Recipient) -> Address {
        self.address_from(to, None)
    }

    /// As [`Switchboard::address`], for a pod that writes.
    pub(super) fn address_from(&self, to: &Recipient, from: Option<Arc<Slot>>) -> Address {
        let target = match to.kind {
            RecipientKind::Pod => Target::Pod(self.slot(&to.namespace, &to.name)),
            RecipientKind::Service => Target::Service(self.route(to)),
        };
        Address { way: Arc::new(Way { board: self.clone(), target, from }), within: WITHIN }
    }

    /// As [`Switchboard::address`], but remembers no name that it did not know.
    fn known(&self, to: &Recipient) -> Option<Address> {
        let target = match to.kind {
            RecipientKind::Pod => Target::Pod(find(&self.0.pods.read(), to)?),
            RecipientKind::Service => Target::Service(find(&self.0.services.read(), to)?),
        };
        Some(Address { way: Arc::new(Way { board: self.clone(), target, from: None }), within: WITHIN })
    }
}

#[async_trait::async_trait]
impl Messenger for Switchboard {
    async fn ask(&self, to: &Recipient, value: Value, within: Duration) -> Result<Value, MessageError> {
        let address = self.known(to).ok_or_else(|| MessageError::NotFound(to.clone()))?;
        address.within(within).ask(value).await
    }

    async fn send(&self, to: &Recipient, value: Value, within: Duration) -> Result<(), MessageError> {
        let address = self.known(to).ok_or_else(|| MessageError::NotFound(to.clone()))?;
        address.within(within).send(value).await
    }
}

enum Target {
    Pod(Arc<Slot>),
    Service(Arc<Route>),
}

/// A looked-up way to somebody.
struct Way {
    board: Switchboard,
    target: Target,
    /// The pod that writes, which must not ask itself.
    from: Option<Arc<Slot>>,
}

/// Where to send messages: a pod's name, or a service's. It stays good whatever happens to them; clones are cheap.
#[derive(Clone)]
pub struct Address {
    way: Arc<Way>,
    within: Duration,
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({})", self.recipient())
    }
}

impl Address {
    /// Whom it leads to.
    pub fn recipient(&self) -> &Recipient {
        match &self.way.target {
            Target::Pod(slot) => &slot.recipient,
            Target::Service(route) => &route.recipient,
        }
    }

    /// The same with another deadline for each call (30 seconds unless said); [`Duration::MAX`] waits for ever.
    #[must_use]
    pub fn within(mut self, within: Duration) -> Self {
        self.within = within;
        self
    }

    /// Whether a message would be taken now, as far as can be told.
    pub fn is_ready(&self) -> bool {
        match &self.way.target {
            Target::Pod(slot) => slot.load().is_some(),
            Target::Service(route) => {
                let endpoints = route.endpoints.read();
                endpoints.as_ref().is_some_and(|(_, slots)| slots.iter().any(|slot| slot.load().is_some()))
            }
        }
    }

    /// Waits until a message would be taken, for at most `within`: a pod may still start, and the endpoints of a service follow
    /// its pods a moment later.
    ///
    /// # Errors
    /// Why none is taken even then: [`MessageError::NotFound`], [`MessageError::NotReady`] or [`MessageError::NoEndpoint`].
    pub async fn ready(&self, within: Duration) -> Result<(), MessageError> {
        let clock = &self.way.board.0.clock;
        let end = clock.monotonic().saturating_add(within);
        let mut pause = Duration::from_millis(1);
        while !self.is_ready() {
            let left = end.saturating_sub(clock.monotonic());
            if left.is_zero() {
                return Err(match &self.way.target {
                    Target::Pod(slot) => slot.not_taken(),
                    Target::Service(route) if route.endpoints.read().is_none() => {
                        MessageError::NotFound(route.recipient.clone())
                    }
                    Target::Service(route) => MessageError::NoEndpoint(route.recipient.clone()),
                });
            }
            clock.sleep(pause.min(left)).await;
            pause = (pause * 2).min(Duration::from_millis(50));
        }
        Ok(())
    }

    /// Puts a message into the mailbox, and waits for room in it until the deadline.
    ///
    /// # Errors
    /// See [`MessageError`]. That it is in the mailbox does not say that it will be looked at: a function that ends takes
    /// what is in its mailbox with it.
    pub async fn send(&self, value: impl Serialize + Any + Send) -> Result<(), MessageError> {
        self.post(Message::sent(value)).await.map(drop)
    }

    /// Sends a message and waits for the answer.
    ///
    /// ```
    /// # async fn example(address: steersman_runtime::task::Address) -> Result<(), steersman_domain::ports::MessageError> {
    /// let answer: String = address.ask("hello").await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// See [`MessageError`].
    pub async fn ask<R: DeserializeOwned + Any + Send>(
        &self,
        value: impl Serialize + Any + Send,
    ) -> Result<R, MessageError> {
        let asking = Asking::<_, R>::new(value);
        let left = self.post(Message::asked(asking.asked())).await?;
        let deadline = (left != Duration::MAX).then(|| self.way.board.0.deadlines.enter(left, asking.asked()));
        let answer = asking.await;
        drop(deadline);
        match answer {
            Answer::Same(value) => Ok(value),
            Answer::Json(value) => read(value, "the answer"),
            Answer::Error(error) => Err(error),
            Answer::Late => Err(self.late()),
        }
    }

    fn late(&self) -> MessageError {
        MessageError::Deadline { to: self.recipient().clone(), waited: self.within }
    }

    /// Delivers; answers how much time is left.
    async fn post(&self, message: Message) -> Result<Duration, MessageError> {
        let offered = match &self.way.target {
            Target::Pod(slot) if self.is_own(slot) && message.wants_answer() => {
                return Err(MessageError::ToItself(self.recipient().clone()));
            }
            Target::Pod(slot) => match slot.offer(message) {
                Ok(()) => Ok(()),
                Err(Declined::Closed(_)) => return Err(slot.not_taken()),
                Err(Declined::Full(message, sender)) => Err((message, sender)),
            },
            Target::Service(route) => self.offer_any(route, message)?,
        };
        match offered {
            Ok(()) => Ok(self.within),
            Err((message, sender)) => self.wait_for_room(message, sender).await,
        }
    }

    fn is_own(&self, slot: &Arc<Slot>) -> bool {
        self.way.from.as_ref().is_some_and(|own| Arc::ptr_eq(own, slot))
    }

    /// Offers the message to the endpoints, from the chosen one on; when all that take messages are full, it answers the
    /// first of those.
    fn offer_any(
        &self,
        route: &Route,
        mut message: Message,
    ) -> Result<Result<(), (Message, mpsc::Sender<Message>)>, MessageError> {
        let Some((balance, endpoints)) = route.endpoints.read().clone() else {
            return Err(MessageError::NotFound(route.recipient.clone()));
        };
        let count = endpoints.len();
        if count == 0 {
            return Err(MessageError::NoEndpoint(route.recipient.clone()));
        }
        let turn = route.next.fetch_add(1, Ordering::Relaxed) % count;
        let start = match balance {
            Balance::RoundRobin => turn,
            Balance::Random => usize::try_from(self.way.board.0.entropy.random() % count as u64).unwrap_or(0),
            Balance::LeastLoaded => {
                let by_turn = (0..count).map(|step| (turn + step) % count);
                by_turn.min_by_key(|&at| endpoints[at].load().unwrap_or(usize::MAX)).unwrap_or(turn)
            }
        };
        let (mut full, mut own) = (None, false);
        for slot in (0..count).map(|step| &endpoints[(start + step) % count]) {
            if self.is_own(slot) {
                own = true;
                continue;
            }
            match slot.offer(message) {
                Ok(()) => return Ok(Ok(())),
                Err(Declined::Closed(back)) => message = back,
                Err(Declined::Full(back, sender)) => {
                    full.get_or_insert(sender);
                    message = back;
                }
            }
        }
        match full {
            Some(sender) => Ok(Err((message, sender))),
            None if own => Err(MessageError::ToItself(route.recipient.clone())),
            None => Err(MessageError::NoEndpoint(route.recipient.clone())),
        }
    }

    async fn wait_for_room(&self, message: Message, sender: mpsc::Sender<Message>) -> Result<Duration, MessageError> {
        if self.within.is_zero() {
            return Err(MessageError::Full { to: self.recipient().clone(), waited: self.within });
        }
        let clock = &self.way.board.0.clock;
        let began = clock.monotonic();
        let permit = if self.within == Duration::MAX {
            sender.reserve().await
        } else {
            tokio::select! {
                biased;
                permit = sender.reserve() => permit,
                () = clock.sleep(self.within) => {
                    return Err(MessageError::Full { to: self.recipient().clone(), waited: self.within });
                }
            }
        };
        permit.map_err(|_| MessageError::Ended)?.send(message);
        Ok(match self.within {
            Duration::MAX => Duration::MAX,
            within => within.saturating_sub(clock.monotonic().saturating_sub(began)),
        })
    }
}
