//! Scenarios in words: the scripts in `tests/scenarios`, each with what it has to show for itself.
//!
//! A script is a text of blocks: a directive, what it is given, `----`, and the lines that the trace gained by it. Objects with
//! generated names are counted in them (`web-6d4cf56db6-1`), and things that can happen at one time happen in the order of
//! their asking, so that a trace changes only when the cluster behaves differently. When that is meant,
//!
//! ```text
//! REWRITE=1 cargo test -p steersman-tests --test scenarios scripts
//! ```
//!
//! writes the new traces, for people to read in the diff; `RUN=rollout.txt` runs one script. The directives:
//!
//! | directive | what it does |
//! |---|---|
//! | `cluster nodes=3 cpu=8 memory=16 seed=0` | starts a cluster, with so many cores and GiB per node; the first one of a script |
//! | `node NAME cpu=8 memory=16 zone=a` | adds a node, in a zone |
//! | `apply` | applies the YAML below it; of what is there, only the fields that are named change |
//! | `delete KIND=NAME` | deletes an object, without waiting |
//! | `run for=10m` | lets time pass |
//! | `rest` | lets time pass until nothing is written for two minutes |
//! | `crash POD code=1` | ends what runs in a pod |
//! | `lose NODE`, `return NODE` | takes a machine its power, and gives it back |
//! | `cut NODE`, `join NODE` | cuts the line between a node and the API, and joins it |
//! | `slow NODE by=5s` | makes every message of an agent take so long |
//! | `kill-agent NODE`, `start-agent NODE` | ends an agent and leaves what it ran; starts it again |
//! | `kill controllers`, `start scheduler` | ends and starts a part of the control plane |
//! | `pods` | shows all pods in place of the trace |
//!
//! Whatever is in another namespace than `default` is named with `in=NAMESPACE`.

use std::time::Duration;

use datadriven::TestCase;
use steersman::simulation::{Names, Order, SimulatedCluster, SimulatedNode, Simulation, size};
use steersman_application::client::DeleteOptions;
use steersman_domain::{Key, Kind, Pod, spans};

/// A directive that cannot be followed, or that the cluster refused: a part of the trace, as tests of bad input want it.
type Answer = Result<(), String>;

/// A script as it is played.
#[derive(Default)]
struct Play {
    simulation: Option<Simulation>,
    /// So many lines of the trace have been shown.
    shown: usize,
}

/// The arguments of a directive; what nobody took is an error.
struct Args<'a>(&'a mut TestCase);

impl Args<'_> {
    /// The word that stands alone: a name.
    fn name(&mut self) -> Result<String, String> {
        let alone = self.0.args.iter().find(|(_, values)| values.is_empty()).map(|(name, _)| name.clone());
        let name = alone.ok_or_else(|| format!("{} of what? Name it: `{0} NAME`", self.0.directive))?;
        self.0.args.remove(&name);
        Ok(name)
    }

    fn text(&mut self, name: &str) -> Result<Option<String>, String> {
        self.0.try_take_arg(name).map_err(|error| error.to_string())
    }

    fn number<T: std::str::FromStr>(&mut self, name: &str, default: T) -> Result<T, String> {
        let Some(text) = self.text(name)? else { return Ok(default) };
        text.parse().map_err(|_| format!("{name}={text}: this is no number that {name} can be"))
    }

    fn span(&mut self, name: &str) -> Result<Duration, String> {
        let text = self.text(name)?.ok_or_else(|| format!("how long? Say it: `{} {name}=30s`", self.0.directive))?;
        spans::read(&text)
    }

    fn namespace(&mut self) -> Result<String, String> {
        Ok(self.text("in")?.unwrap_or_else(|| "default".into()))
    }

    /// `KIND=NAME`.
    fn object(&mut self) -> Result<Key, String> {
        let namespace = self.namespace()?;
        let named = self.0.args.iter().find(|(_, values)| values.len() == 1);
        let (kind, name) = named.map(|(kind, names)| (kind.clone(), names[0].clone())).ok_or("which? KIND=NAME")?;
        self.0.args.remove(&kind);
        let found = Kind::ALL.iter().copied().find(|known| known.info().singular == kind);
        let found = found.ok_or_else(|| format!("there is no kind {kind:?}"))?;
        Ok(Key::new(found, if found.info().namespaced { &namespace } else { "" }, &name))
    }

    fn size(&mut self) -> Result<steersman::simulation::Resources, String> {
        Ok(size(self.number("cpu", 8)?, self.number("memory", 16)?))
    }

    fn end(&self) -> Answer {
        self.0.expect_empty().map_err(|error| format!("{}: {error}", self.0.directive))
    }
}

impl Play {
    fn follow(&mut self, case: &mut TestCase) -> String {
        let told = match case.directive.as_str() {
            "cluster" => self.start(case),
            "pods" => return self.pods(),
            _ => self.act(case),
        };
        let mut lines = self.news();
        lines.extend(told.err().map(|error| format!("error: {error}")));
        lines.iter().map(|line| format!("{line}\n")).collect()
    }

    fn start(&mut self, case: &mut TestCase) -> Answer {
        let mut args = Args(case);
        let (nodes, size, seed) = (args.number("nodes", 3)?, args.size()?, args.number("seed", 0)?);
        args.end()?;
        let builder = Simulation::builder().seed(seed).order(Order::Arrival).nodes(nodes, size);
        let simulation = builder.start().map_err(|error| error.to_string())?;
        self.shown = simulation.trace().lines(Names::Counted).len();
        self.simulation = Some(simulation);
        Ok(())
    }

    fn act(&mut self, case: &mut TestCase) -> Answer {
        let simulation = self.simulation.as_mut().ok_or("a script begins with `cluster`")?;
        let done = simulation.run(async |cluster| act(cluster, case).await);
        done.unwrap_or_else(|stalled| Err(stalled.to_string()))
    }

    /// What the trace gained since this was last asked.
    fn news(&mut self) -> Vec<String> {
        let Some(simulation) = &self.simulation else { return Vec::new() };
        let lines = simulation.trace().lines(Names::Counted);
        let news = lines[self.shown..].to_vec();
        self.shown = lines.len();
        news
    }

    fn pods(&self) -> String {
        let Some(simulation) = &self.simulation else { return "error: a script begins with `cluster`\n".into() };
        let (world, trace) = (simulation.cluster().world(), simulation.trace());
        let mut lines: Vec<String> = world.all::<Pod>().map(|pod| trace.counted(&pod_line(pod))).collect();
        lines.sort();
        lines.concat()
    }
}

fn pod_line(pod: &Pod) -> String {
    let restarts: i32 = pod.status.container_statuses.iter().map(|status| status.restart_count.0).sum();
    let meta = &pod.metadata;
    let node = if pod.spec.node_name.is_empty() { "no node" } else { pod.spec.node_name.as_str() };
    let ready = if pod.is_ready() { ", ready" } else { "" };
    let again = if restarts > 0 { format!(", restarts: {restarts}") } else { String::new() };
    format!("{}/{} on {node}: {:?}{ready}{again}\n", meta.namespace, meta.name, pod.status.phase)
}

async fn act(cluster: &SimulatedCluster, case: &mut TestCase) -> Answer {
    let directive = case.directive.clone();
    let manifest = case.input.clone();
    let mut args = Args(case);
    match directive.as_str() {
        "apply" => cluster.apply(&manifest).await.map(drop).map_err(|error| error.to_string())?,
        "node" => {
            let (zone, size, name) = (args.text("zone")?, args.size()?, args.name()?);
            let node = SimulatedNode::new(&name, size);
            cluster.add_machine(match zone {
                Some(zone) => node.label("topology.kubernetes.io/zone", &zone),
                None => node,
            });
        }
        "delete" => delete(cluster, args.object()?).await?,
        "run" => cluster.sleep(args.span("for")?).await,
        "rest" => {
            let rest = cluster.rest(Duration::from_secs(120), Duration::from_secs(24 * 3600)).await;
            rest.map_err(|error| error.to_string())?;
        }
        "crash" => {
            let (code, namespace, counted) = (args.number("code", 1)?, args.namespace()?, args.name()?);
            let name = cluster.trace().real_name(Kind::Pod, &counted).unwrap_or_else(|| counted.into());
            cluster.crash_pod(&namespace, &name, code).await.map_err(|error| error.to_string())?;
        }
        "kill" | "start" => part(cluster, directive == "kill", &args.name()?)?,
        _ => fault(cluster, &directive, &mut args)?,
    }
    args.end()
}

async fn delete(cluster: &SimulatedCluster, mut key: Key) -> Answer {
    if let Some(real) = cluster.trace().real_name(key.kind, &key.name) {
        key.name = real;
    }
    let deleted = cluster.client().delete(&key, &DeleteOptions::default()).await;
    deleted.map(drop).map_err(|error| error.to_string())
}

fn part(cluster: &SimulatedCluster, kill: bool, part: &str) -> Answer {
    match (kill, part) {
        (true, "controllers") => cluster.kill_controllers(),
        (false, "controllers") => cluster.start_controllers(),
        (true, "scheduler") => cluster.kill_scheduler(),
        (false, "scheduler") => cluster.start_scheduler(),
        _ => return Err(format!("there is no part {part:?}: there are controllers and scheduler")),
    }
    Ok(())
}

fn fault(cluster: &SimulatedCluster, directive: &str, args: &mut Args<'_>) -> Answer {
    let delay = if directive == "slow" { args.span("by")? } else { Duration::ZERO };
    let node = args.name()?;
    let done = match directive {
        "lose" => cluster.lose_node(&node),
        "return" => cluster.return_node(&node),
        "cut" => cluster.cut_node(&node),
        "join" => cluster.join_node(&node),
        "slow" => cluster.slow_agent(&node, delay),
        "kill-agent" => cluster.kill_agent(&node),
        "start-agent" => cluster.start_agent(&node),
        _ => return Err(format!("there is no directive {directive:?}")),
    };
    done.map_err(|error| error.to_string())
}

#[test]
fn scripts_show_what_they_always_showed() {
    let mut scripts = 0;
    datadriven::walk(concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios"), |file| {
        scripts += 1;
        let mut play = Play::default();
        file.run(|case| play.follow(case));
    });
    assert!(scripts > 0, "no script was found");
}
