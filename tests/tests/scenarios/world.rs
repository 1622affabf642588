//! A whole cluster in one thread: API, controllers, schedulers, and nodes that run simulated containers. No sockets, no
//! processes, no waiting: an hour of the cluster passes as fast as its work can be done.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use steersman_application::client::{ApiError, Client, DeleteOptions, Part, Propagation, Selection, WriteOptions};
use steersman_application::driver::agent::{
    Agent, AgentConfig, AgentPorts, NoTraffic, SimulatedConfig, SimulatedLife, SimulatedRuntime, Stop,
};
use steersman_application::driver::controllers::{self, ControllerHost, Whys};
use steersman_application::driver::scheduler::{self, Records, SchedulerCore};
use steersman_application::driver::spawner::{SpawnHandle, Spawner};
use steersman_application::reconcile;
use steersman_application::scheduling::{DefaultScheduler, SchedulingContext, default_profiles};
use steersman_application::usecase::logs::LogRegistry;
use steersman_application::usecase::{Api, ApiConfig, ApiPorts, ServiceCidr};
use steersman_domain::ledger::Resources;
use steersman_domain::ports::{Clock, ContainerSpec, Runtime};
use steersman_domain::testing::SeededEntropy;
use steersman_domain::{Key, Kind, Object, Stored};
use steersman_kubernetes::{Gvk, apply_defaults};
use tokio::sync::watch;

use crate::clock::{LocalSpawner, VirtualClock};
use crate::faults::{Line, Mortal};
use crate::history::{self, History, State};
use crate::store::RecordedStore;
use steersman_store::Heartbeats;

/// How long a scenario may compute, on a machine that is busy with other tests, before it counts as going round in circles.
const PATIENCE: Duration = Duration::from_secs(120);

/// When a cluster that is left alone must be at rest at the latest: after the longest back-off, and a deadline of rollouts.
const REST: Duration = Duration::from_secs(1200);

/// What a cluster is made of.
pub(crate) struct Setup {
    pub(crate) nodes: usize,
    /// What each node has.
    pub(crate) size: Resources,
    /// Schedulers that work side by side, unaware of each other.
    pub(crate) schedulers: usize,
    pub(crate) life: fn(&ContainerSpec) -> SimulatedLife,
}

impl Default for Setup {
    fn default() -> Self {
        let size = Resources { cpu_milli: 8000, memory_bytes: 16 << 30, pods: 110, ..Resources::default() };
        Setup { nodes: 3, size, schedulers: 1, life: slow_to_open }
    }
}

/// Ports open two seconds after the start, and the end takes three: pods are not ready, or ending, long enough to matter.
pub(crate) fn slow_to_open(_: &ContainerSpec) -> SimulatedLife {
    SimulatedLife {
        ports_open_after: Duration::from_secs(2),
        ends_in: Duration::from_secs(3),
        ..SimulatedLife::default()
    }
}

struct Machine {
    line: Arc<Line>,
    config: AgentConfig,
    runtime: SimulatedRuntime,
    agent: Option<(watch::Sender<Stop>, SpawnHandle)>,
}

/// The cluster.
pub(crate) struct World {
    pub(crate) api: Arc<Api>,
    clock: Arc<VirtualClock>,
    store: Arc<RecordedStore>,
    controllers: Option<SpawnHandle>,
    schedulers: Vec<SpawnHandle>,
    machines: BTreeMap<String, Machine>,
    began: Instant,
    seeds: u64,
}

/// Plays a scenario on a cluster, then holds its whole history, revision by revision, to the rules that every history keeps
/// and to `expect`.
///
/// # Panics
/// When the scenario or a rule fails.
pub(crate) fn check(setup: Setup, scenario: impl AsyncFnOnce(&mut World), expect: impl FnOnce(&History)) {
    let clock = VirtualClock::default();
    let jumps = clock.clone();
    let executor = tokio::runtime::Builder::new_current_thread().on_thread_park(move || jumps.jump()).build();
    executor.expect("an executor").block_on(async {
        let mut world = World::start(setup, clock).await;
        scenario(&mut world).await;
        world.comes_to_rest().await;
        let history = History::read(&*world.store, world.store.ends()).await;
        history::keeps_the_rules(&history);
        expect(&history);
    });
}

impl World {
    async fn start(setup: Setup, clock: VirtualClock) -> World {
        let (clock, store) = (Arc::new(clock), Arc::<RecordedStore>::default());
        let ports = ApiPorts {
            store: Arc::new(Heartbeats::beside(store.clone())),
            clock: clock.clone(),
            entropy: Arc::new(SeededEntropy::new(1)),
            logs: Arc::new(LogRegistry::default()),
        };
        let service_cidr = ServiceCidr::parse("127.64.0.0/20").expect("a range");
        let api = Arc::new(Api::new(ports, ApiConfig { default_runtime: "simulated".into(), service_cidr }));
        api.bootstrap().await.expect("an empty store can be set up");
        let mut world = World {
            api,
            clock,
            store,
            controllers: None,
            schedulers: Vec::new(),
            machines: BTreeMap::new(),
            began: Instant::now(),
            seeds: 1,
        };
        world.restart_controllers();
        for _ in 0..setup.schedulers {
            world.add_scheduler();
        }
        for index in 0..setup.nodes {
            world.add_node(&node_name(index), setup.size.clone(), setup.life);
        }
        let nodes = setup.nodes;
        world
            .until("all nodes are ready", |state| {
                state.all::<steersman_domain::Node>().filter(|n| n.is_ready()).count() == nodes
            })
            .await;
        world
    }

    fn entropy(&mut self) -> Arc<SeededEntropy> {
        self.seeds += 1;
        Arc::new(SeededEntropy::new(self.seeds))
    }

    /// Stops the controllers wherever they are, and starts others that know nothing.
    fn restart_controllers(&mut self) {
        self.controllers = None;
        let run = controllers::run(all_controllers(), self.api.clone(), self.clock.clone());
        self.controllers = Some(LocalSpawner.spawn("controllers", Box::pin(run)));
    }

    /// Waits until something holds while the controllers die after every `writes` writes, with others to follow that know
    /// nothing. Returns how many died.
    pub(crate) async fn with_mortals(&mut self, writes: usize, what: &str, holds: impl Fn(&State) -> bool) -> usize {
        let deaths = Arc::new(AtomicUsize::new(0));
        let (api, clock, counted) = (self.api.clone(), self.clock.clone(), deaths.clone());
        self.controllers = Some(LocalSpawner.spawn(
            "mortal-controllers",
            Box::pin(async move {
                loop {
                    let mortal = Arc::new(Mortal::new(api.clone(), writes));
                    tokio::select! {
                        biased;
                        () = mortal.died() => {}
                        () = controllers::run(all_controllers(), mortal.clone(), clock.clone()) => {}
                    }
                    counted.fetch_add(1, Ordering::Relaxed);
                }
            }),
        ));
        self.within(Duration::from_secs(600), what, holds).await;
        self.restart_controllers();
        deaths.load(Ordering::Relaxed)
    }

    fn scheduler(&mut self) -> SchedulerCore {
        let context = SchedulingContext::new(default_profiles(), "simulated");
        let (clock, records) = (self.clock.clone(), Records::default());
        SchedulerCore::new(Arc::new(DefaultScheduler), context, records, clock, self.entropy())
    }

    fn add_scheduler(&mut self) {
        let run = scheduler::run(self.scheduler(), self.api.clone(), self.clock.clone());
        self.schedulers.push(LocalSpawner.spawn("scheduler", Box::pin(run)));
    }

    /// As [`World::with_mortals`], with a scheduler instead of the controllers.
    pub(crate) async fn with_mortal_scheduler(
        &mut self,
        writes: usize,
        what: &str,
        holds: impl Fn(&State) -> bool,
    ) -> usize {
        self.schedulers.clear();
        let end = self.clock.monotonic() + Duration::from_secs(600);
        for deaths in 0.. {
            let mortal = Arc::new(Mortal::new(self.api.clone(), writes));
            let run = scheduler::run(self.scheduler(), mortal.clone(), self.clock.clone());
            let left = end.saturating_sub(self.clock.monotonic());
            tokio::select! {
                biased;
                () = mortal.died() => {}
                () = run => {}
                _ = self.within(left, what, &holds) => {
                    self.add_scheduler();
                    return deaths;
                }
            }
        }
        0
    }

    /// Adds a machine and starts its agent.
    pub(crate) fn add_node(&mut self, name: &str, size: Resources, life: fn(&ContainerSpec) -> SimulatedLife) {
        let subnet = u32::try_from(self.machines.len()).expect("few machines") << 8;
        let simulated = SimulatedConfig {
            start_delay: Duration::from_secs(1),
            first_address: Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 0, 0, 1)) + subnet),
            script: Arc::new(life),
            ..SimulatedConfig::default()
        };
        let runtime = SimulatedRuntime::new(simulated, self.clock.clone(), Arc::new(LocalSpawner));
        let mut config = AgentConfig::new(name);
        config.capacity = size;
        config.default_runtime = "simulated".into();
        self.machines.insert(
            name.to_owned(),
            Machine { line: Arc::new(Line::new(self.api.clone())), config, runtime, agent: None },
        );
        self.start_agent(name);
    }

    /// Starts an agent on a machine; what runs there is taken over.
    pub(crate) fn start_agent(&mut self, node: &str) {
        let entropy = self.entropy();
        let machine = self.machines.get_mut(node).expect("a known machine");
        let ports = AgentPorts {
            client: machine.line.clone(),
            runtimes: vec![Arc::new(machine.runtime.clone()) as Arc<dyn Runtime>],
            clock: self.clock.clone(),
            entropy,
            spawner: Arc::new(LocalSpawner),
            traffic: Arc::new(NoTraffic),
        };
        let agent = Agent::new(machine.config.clone(), ports);
        let (stop, asked) = watch::channel(Stop::Run);
        let handle = LocalSpawner.spawn("agent", Box::pin(async move { agent.run(asked).await }));
        machine.agent = Some((stop, handle));
    }

    /// Ends the agent of a machine; what it runs goes on.
    pub(crate) fn silence(&mut self, node: &str) {
        self.machines.get_mut(node).expect("a known machine").agent = None;
    }

    /// Cuts the line between a machine and the API, or joins it again; the agent lives on.
    pub(crate) fn cut(&self, node: &str, cut: bool) {
        self.machines[node].line.set(!cut);
    }

    /// Starts the agent of a machine again with another size.
    pub(crate) fn resize(&mut self, node: &str, size: Resources) {
        self.silence(node);
        self.machines.get_mut(node).expect("a known machine").config.capacity = size;
        self.start_agent(node);
    }

    /// The sandboxes that a machine holds.
    pub(crate) async fn running_on(&self, node: &str) -> usize {
        self.machines[node].runtime.sandboxes().await.expect("a list").len()
    }

    /// Lets the cluster live on for a while.
    pub(crate) async fn pass(&self, time: Duration) {
        self.clock.sleep(time).await;
    }

    /// Time since the start of the cluster's clock.
    pub(crate) fn now(&self) -> Duration {
        self.clock.monotonic()
    }

    /// Creates an object as a client would, with the defaults that the server fills in.
    pub(crate) async fn create(&self, mut value: Value) -> Arc<Stored> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (version, kind) = (text(&value["apiVersion"]), text(&value["kind"]));
        apply_defaults(Gvk::from_api_version(&version, &kind), &mut value);
        let kind = Kind::find_api(&version, &kind).expect("a served kind");
        if kind.info().namespaced && value["metadata"]["namespace"].is_null() {
            value["metadata"]["namespace"] = "default".into();
        }
        let object = Object::from_value(kind, value).expect("a good object");
        self.api.create(object, &WriteOptions::default()).await.expect("created")
    }

    /// Changes an object in the namespace `default` (or in none) by its JSON, again when somebody else was faster.
    pub(crate) async fn edit(&self, kind: Kind, name: &str, change: impl Fn(&mut Value)) -> Arc<Stored> {
        let key = key(kind, name);
        // Twenty tries: every other writer of the object would have to be faster each time.
        for _ in 0..20 {
            let now = self.api.get(&key).await.expect("the object is there");
            let mut value: Value = serde_json::from_slice(&now.json()).expect("JSON");
            change(&mut value);
            let object = Object::from_value(kind, value).expect("a good object");
            match self.api.update(object, Part::Main, &WriteOptions::default()).await {
                Err(ApiError::Conflict { .. }) => {}
                answer => return answer.expect("updated"),
            }
        }
        panic!("{key} changes all the time");
    }

    /// Deletes an object in the namespace `default` (or in none).
    pub(crate) async fn delete(&self, kind: Kind, name: &str, propagation: Propagation) {
        let options = DeleteOptions { propagation: Some(propagation), ..DeleteOptions::default() };
        self.api.delete(&key(kind, name), &options).await.expect("deleted");
    }

    /// Waits until a whole minute brings nothing but signs of life: whoever goes on writing goes round in circles.
    async fn comes_to_rest(&self) {
        let end = self.clock.monotonic() + REST;
        loop {
            let head = self.api.head().await.expect("a head").revision;
            self.pass(Duration::from_secs(60)).await;
            let history = History::read(&*self.store, self.store.ends()).await;
            let written = history.writes_after(head);
            if written.is_empty() {
                return;
            }
            assert!(self.clock.monotonic() < end, "never at rest: {written:#?}\n{}", self.state().await);
        }
    }

    /// Everything there is now.
    pub(crate) async fn state(&self) -> State {
        let page = self.api.list(&Selection::default()).await.expect("a list");
        State::of(&page.items)
    }

    /// Waits until something holds, looking after every change; returns the state in which it did.
    pub(crate) async fn until(&self, what: &str, holds: impl Fn(&State) -> bool) -> State {
        self.within(Duration::from_secs(60), what, holds).await
    }

    /// As [`World::until`], for at most this long by the cluster's clock.
    pub(crate) async fn within(&self, limit: Duration, what: &str, holds: impl Fn(&State) -> bool) -> State {
        let end = self.clock.monotonic() + limit;
        let head = self.api.head().await.expect("a head");
        let mut changes = self.api.watch(&Selection::default(), head.revision).await.expect("a watch");
        loop {
            let state = self.state().await;
            if holds(&state) {
                return state;
            }
            let (now, took) = (self.clock.monotonic(), self.began.elapsed());
            assert!(now < end, "not within {limit:?}: {what}\n{state}");
            assert!(took < PATIENCE, "still not after computing for {took:?}: {what}\n{state}");
            tokio::select! {
                biased;
                more = changes.next() => drop(more.expect("the watch goes on")),
                () = self.clock.sleep(end - now) => {}
            }
        }
    }
}

/// The controllers of the product, that know nothing yet.
fn all_controllers() -> ControllerHost {
    ControllerHost::new(reconcile::all(), Whys::default())
}

/// The name of a node.
pub(crate) fn node_name(index: usize) -> String {
    format!("n{index:03}")
}

/// The key of an object in the namespace `default`, or in none.
pub(crate) fn key(kind: Kind, name: &str) -> Key {
    Key::new(kind, if kind.info().namespaced { "default" } else { "" }, name)
}
