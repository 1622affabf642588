//! The simulated cluster as the scenarios use it: what they say about it in their own words, and the parts that they let die.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::Value;
use steersman::simulation::{Resources, SimulatedCluster, SimulatedLife, Simulation, SimulationBuilder, size};
use steersman_application::client::{ApiError, Client, DeleteOptions, Part, Propagation, WriteOptions};
use steersman_application::driver::controllers::{self, ControllerHost, Whys};
use steersman_application::driver::scheduler::{self, Records, SchedulerCore};
use steersman_application::driver::spawner::SpawnHandle;
use steersman_application::reconcile;
use steersman_application::scheduling::{DefaultScheduler, SchedulingContext, default_profiles};
use steersman_application::usecase::Api;
use steersman_domain::ports::ContainerSpec;
use steersman_domain::{Key, Kind, Object, Stored};

use crate::faults::Mortal;
use crate::history::{self, History, State};

/// When a cluster that is left alone must be at rest at the latest: after the longest back-off, and a deadline of rollouts.
const REST: Duration = Duration::from_secs(1200);

/// What a cluster is made of.
#[derive(Clone)]
pub(crate) struct Setup {
    pub(crate) seed: u64,
    pub(crate) nodes: usize,
    /// What each node has.
    pub(crate) size: Resources,
    /// Schedulers that work side by side, unaware of each other.
    pub(crate) schedulers: usize,
    pub(crate) life: fn(&ContainerSpec) -> SimulatedLife,
    /// What a message between a node and the API takes at most.
    pub(crate) jitter: Duration,
}

impl Default for Setup {
    fn default() -> Self {
        Setup { seed: 1, nodes: 3, size: size(8, 16), schedulers: 1, life: slow_to_open, jitter: Duration::ZERO }
    }
}

impl Setup {
    pub(crate) fn builder(&self) -> SimulationBuilder {
        let mut builder = Simulation::builder().seed(self.seed).life(self.life).jitter(self.jitter);
        for index in 0..self.nodes {
            builder = builder.node(&node_name(index), self.size.clone());
        }
        builder
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

/// The cluster.
pub(crate) struct World {
    pub(crate) cluster: SimulatedCluster,
    pub(crate) api: Arc<Api>,
    /// Beside the cluster's own.
    schedulers: Vec<SpawnHandle>,
    /// How many schedulers were made: each has chance of its own.
    made: u32,
}

/// Plays a scenario on a cluster, then holds its whole history, revision by revision, to the rules that every history keeps
/// and to `expect`.
///
/// # Panics
/// When the scenario or a rule fails.
pub(crate) fn check(
    setup: Setup,
    scenario: impl AsyncFnOnce(&mut World) + Send,
    expect: impl FnOnce(&History),
) -> History {
    let mut simulation = setup.builder().start().expect("the cluster starts");
    let played = simulation.run(async move |cluster| {
        let mut world = World::of(cluster, setup.schedulers);
        scenario(&mut world).await;
        world.comes_to_rest().await;
    });
    played.expect("the scenario ends");
    let history = History::of(simulation.trace());
    history::keeps_the_rules(&history);
    expect(&history);
    history
}

impl World {
    fn of(cluster: &SimulatedCluster, schedulers: usize) -> World {
        let (cluster, api) = (cluster.clone(), cluster.api().clone());
        let mut world = World { cluster, api, schedulers: Vec::new(), made: 0 };
        for _ in 1..schedulers {
            world.add_scheduler();
        }
        world
    }

    /// Waits until something holds while the controllers die after every `writes` writes, with others to follow that know
    /// nothing. Returns how many died.
    pub(crate) async fn with_mortals(&mut self, writes: usize, what: &str, holds: impl Fn(&State) -> bool) -> usize {
        let deaths = Arc::new(AtomicUsize::new(0));
        let (client, clock, counted) = (self.cluster.client(), self.cluster.clock(), deaths.clone());
        self.cluster.kill_controllers();
        let mortals = self.cluster.spawn("mortal-controllers", async move {
            loop {
                let mortal = Arc::new(Mortal::new(client.clone(), writes));
                let host = ControllerHost::new(reconcile::all(&reconcile::Settings::default()), Whys::default());
                tokio::select! {
                    biased;
                    () = mortal.died() => {}
                    () = controllers::run(host, mortal.clone(), clock.clone()) => {}
                }
                counted.fetch_add(1, Ordering::Relaxed);
            }
        });
        self.within(Duration::from_secs(600), what, holds).await;
        drop(mortals);
        self.cluster.start_controllers();
        deaths.load(Ordering::Relaxed)
    }

    fn scheduler(&mut self) -> SchedulerCore {
        let context = SchedulingContext::new(default_profiles(), "simulated");
        self.made += 1;
        let (clock, entropy) = (self.cluster.clock(), self.cluster.entropy(self.made));
        SchedulerCore::new(Arc::new(DefaultScheduler), context, Records::default(), clock, entropy)
    }

    fn add_scheduler(&mut self) {
        let run = scheduler::run(self.scheduler(), self.cluster.client(), self.cluster.clock());
        self.schedulers.push(self.cluster.spawn("another-scheduler", run));
    }

    /// As [`World::with_mortals`], with a scheduler instead of the controllers.
    pub(crate) async fn with_mortal_scheduler(
        &mut self,
        writes: usize,
        what: &str,
        holds: impl Fn(&State) -> bool,
    ) -> usize {
        self.schedulers.clear();
        self.cluster.kill_scheduler();
        let end = self.now() + Duration::from_secs(600);
        for deaths in 0.. {
            let mortal = Arc::new(Mortal::new(self.cluster.client(), writes));
            let run = scheduler::run(self.scheduler(), mortal.clone(), self.cluster.clock());
            let left = end.saturating_sub(self.now());
            tokio::select! {
                biased;
                () = mortal.died() => {}
                () = run => {}
                _ = self.within(left, what, &holds) => {
                    self.cluster.start_scheduler();
                    return deaths;
                }
            }
        }
        0
    }

    /// Starts an agent on a machine; what runs there is taken over.
    pub(crate) fn start_agent(&self, node: &str) {
        self.cluster.start_agent(node).expect("a known machine");
    }

    /// Ends the agent of a machine; what it runs goes on.
    pub(crate) fn silence(&self, node: &str) {
        self.cluster.kill_agent(node).expect("a known machine");
    }

    /// Cuts the line between a machine and the API, or joins it again; the agent lives on.
    pub(crate) fn cut(&self, node: &str, cut: bool) {
        let done = if cut { self.cluster.cut_node(node) } else { self.cluster.join_node(node) };
        done.expect("a known machine");
    }

    /// Starts the agent of a machine again with another size.
    pub(crate) fn resize(&self, node: &str, size: Resources) {
        self.cluster.resize_node(node, size).expect("a known machine");
    }

    /// The sandboxes that a machine holds.
    pub(crate) async fn running_on(&self, node: &str) -> usize {
        self.cluster.sandboxes(node).await.expect("a known machine").len()
    }

    /// Lets the cluster live on for a while.
    pub(crate) async fn pass(&self, time: Duration) {
        self.cluster.sleep(time).await;
    }

    /// Time since the start of the cluster's clock.
    pub(crate) fn now(&self) -> Duration {
        self.cluster.now()
    }

    /// Creates an object as a client would, with the defaults that the server fills in.
    pub(crate) async fn create(&self, value: Value) -> Arc<Stored> {
        let applied = self.cluster.apply(&value.to_string()).await.expect("applied");
        applied.into_iter().next().expect("one object")
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
        let rest = self.cluster.rest(Duration::from_secs(60), REST).await;
        rest.unwrap_or_else(|never| panic!("{never}"));
    }

    /// Everything there is now.
    pub(crate) async fn state(&self) -> State {
        State::of(self.cluster.world())
    }

    /// Waits until something holds, looking after every change; returns the state in which it did.
    pub(crate) async fn until(&self, what: &str, holds: impl Fn(&State) -> bool) -> State {
        self.within(Duration::from_secs(60), what, holds).await
    }

    /// As [`World::until`], for at most this long by the cluster's clock.
    pub(crate) async fn within(&self, limit: Duration, what: &str, holds: impl Fn(&State) -> bool) -> State {
        let held = self.cluster.until(what, limit, |world| holds(&State::of(world.clone()))).await;
        State::of(held.unwrap_or_else(|timeout| panic!("{timeout}")))
    }
}

/// The name of a node.
pub(crate) fn node_name(index: usize) -> String {
    format!("n{index:03}")
}

/// The key of an object in the namespace `default`, or in none.
pub(crate) fn key(kind: Kind, name: &str) -> Key {
    Key::new(kind, if kind.info().namespaced { "default" } else { "" }, name)
}
