//! The state machine by tables: no runtime, no clock.

use super::fixture::pod;
use crate::driver::agent::next::{Step, next};
use crate::driver::agent::observe::{Observation, StartFailure};
use crate::driver::agent::state::{Block, EndCause, PodRuntimeState};
use crate::driver::agent::status::status;
use std::net::Ipv4Addr;
use std::time::Duration;
use steersman_domain::ports::{ContainerRecord, ExitRecord};
use steersman_domain::{Pod, PodPhase, PodStatus, ProbeKind, Str, Time, meta};

/// A pod and its state, played by hand.
struct Play {
    pod: Pod,
    state: PodRuntimeState,
    status: PodStatus,
    now: Time,
}

const ONE: &str = r#"{"containers":[{"name":"a","ports":[{"containerPort":80}]}]}"#;

impl Play {
    fn new(spec: &str) -> Self {
        let (pod, now) = (pod("p", spec), Time::from_secs(1000));
        let state = PodRuntimeState::new(&pod, now);
        Play { pod, state, status: PodStatus::default(), now }
    }

    /// Begins steps until there is nothing to do but wait; answers them as text.
    fn steps(&mut self) -> Vec<String> {
        let mut list = Vec::new();
        for _ in 0..50 {
            match next(&self.pod, &self.state, self.now) {
                Step::Wait { until } => {
                    list.extend(until.map(|t| format!("wait {}", t.since(self.now).as_secs())));
                    return list;
                }
                Step::Done => {
                    list.push("done".into());
                    return list;
                }
                step => {
                    list.push(text(&step, self.now));
                    self.state.begin(&step);
                }
            }
        }
        panic!("the machine never rests: {list:?}");
    }

    fn see(&mut self, observation: Observation) -> Vec<String> {
        self.state.observe(&self.pod, observation, self.now);
        self.steps()
    }

    fn started(&mut self, name: &str, attempt: u32) -> Vec<String> {
        let record = record(name, attempt, self.now, None);
        self.see(Observation::Started { record, image: Str::default(), hook: false })
    }

    fn exited(&mut self, name: &str, attempt: u32, code: i32) -> Vec<String> {
        let record = record(name, attempt, self.now, Some(code));
        self.see(Observation::Exited { record })
    }

    fn framed(&mut self) -> Vec<String> {
        self.steps();
        self.see(Observation::Sandbox(Ok(("process", Ipv4Addr::LOCALHOST))))
    }

    fn status(&mut self) -> &PodStatus {
        self.status = status(&self.pod, &self.status, &self.state, &[], self.now);
        &self.status
    }

    fn delete(&mut self, grace: i64) -> Vec<String> {
        self.pod.metadata.deletion_timestamp = Some(self.now);
        self.pod.metadata.deletion_grace_period_seconds = Some(grace);
        self.steps()
    }
}

fn record(name: &str, attempt: u32, now: Time, code: Option<i32>) -> ContainerRecord {
    let exit = code.map(|exit_code| ExitRecord {
        exit_code,
        signal: 0,
        oom_killed: false,
        started_at_micros: now.micros(),
        finished_at_micros: now.micros(),
        message: Str::default(),
    });
    ContainerRecord { name: name.into(), attempt, id: "id".into(), pid: None, started_at: now, exit }
}

fn text(step: &Step, now: Time) -> String {
    match step {
        Step::RunSandbox => "sandbox".into(),
        Step::PrepareVolumes => "volumes".into(),
        Step::Start { container, attempt } => format!("start {container} {attempt}"),
        Step::ProbePorts { container, .. } => format!("probe {container}"),
        Step::Watch { container, probe, .. } => format!("watch {container} {}", probe.name()),
        Step::Begin { cause, deadline } => format!("begin {cause:?} {}", deadline.since(now).as_secs()),
        Step::Drain { until } => format!("drain {}", until.since(now).as_secs()),
        Step::Stop { container, deadline, .. } => format!("stop {container} {}", deadline.since(now).as_secs()),
        Step::RemoveSandbox { .. } => "remove".into(),
        Step::Release { .. } => "release".into(),
        Step::Report { delete } => format!("report {delete}"),
        Step::Wait { .. } | Step::Done => "rest".into(),
    }
}

#[test]
fn a_pod_is_framed_started_probed_and_ready() {
    let mut play = Play::new(ONE);
    assert_eq!(play.steps(), ["sandbox"]);
    assert_eq!(play.see(Observation::Sandbox(Ok(("process", Ipv4Addr::LOCALHOST)))), ["start a 0"]);
    assert_eq!(play.status().phase, PodPhase::Pending);
    assert_eq!(play.started("a", 0), ["probe a"]);
    let status = play.status();
    assert_eq!((status.phase, status.container_statuses[0].ready.0), (PodPhase::Running, false));
    let ready = meta::condition(&status.conditions, "Ready").unwrap();
    assert_eq!(
        (ready.reason.as_str(), ready.message.as_str()),
        ("ContainersNotReady", "containers with unready status: [a]")
    );
    assert!(play.see(Observation::PortsOpen { container: "a".into(), attempt: 0 }).is_empty());
    assert!(meta::condition(&play.status().conditions, "Ready").unwrap().is_true());
    assert_eq!(play.status().container_statuses[0].container_id, "process://id");
}

const PROBED: &str = r#"{"terminationGracePeriodSeconds": 30, "containers":[{"name":"a","ports":[{"containerPort":80}],
    "startupProbe": {"tcpSocket": {"port": 80}, "terminationGracePeriodSeconds": 3},
    "livenessProbe": {"tcpSocket": {"port": 80}}, "readinessProbe": {"tcpSocket": {"port": 80}}}]}"#;

fn health(probe: ProbeKind, attempt: u32, well: bool) -> Observation {
    Observation::Health { container: "a".into(), attempt, probe, well }
}

#[test]
fn probes_decide_when_a_container_is_up_and_ready_and_when_it_starts_again() {
    let mut play = Play::new(PROBED);
    play.framed();
    assert_eq!(play.started("a", 0), ["watch a Startup"], "no other is asked before");
    let shown = |play: &mut Play| {
        let status = &play.status().container_statuses[0];
        (status.started, status.ready.0)
    };
    assert_eq!(shown(&mut play), (Some(false), false));
    assert_eq!(play.see(health(ProbeKind::Startup, 0, true)), ["watch a Liveness", "watch a Readiness"]);
    assert_eq!(shown(&mut play), (Some(true), false));
    assert!(play.see(health(ProbeKind::Readiness, 0, true)).is_empty());
    assert_eq!(shown(&mut play), (Some(true), true));
    assert!(play.see(health(ProbeKind::Readiness, 0, false)).is_empty(), "it is not started again for that");
    assert_eq!(shown(&mut play), (Some(true), false));
    play.see(health(ProbeKind::Readiness, 0, true));
    assert_eq!(play.see(health(ProbeKind::Liveness, 0, false)), ["stop a 30"]);
    assert_eq!(shown(&mut play), (Some(true), false), "it takes no traffic while it ends");
    assert_eq!(play.exited("a", 0, 143), ["start a 1"]);
    assert!(play.see(health(ProbeKind::Liveness, 0, false)).is_empty(), "late");
    assert_eq!(play.started("a", 1), ["watch a Startup"], "all is asked anew");
    assert_eq!(play.see(health(ProbeKind::Startup, 1, false)), ["stop a 3"], "the probe has a grace of its own");
}

#[test]
fn a_sidecar_holds_the_others_back_until_its_startup_probe_is_content() {
    let mut play = Play::new(
        r#"{"initContainers":[{"name":"a","restartPolicy":"Always","startupProbe":{"tcpSocket":{"port":1}}}],
            "containers":[{"name":"b"}]}"#,
    );
    play.framed();
    assert_eq!(play.started("a", 0), ["watch a Startup"]);
    assert_eq!(play.see(health(ProbeKind::Startup, 0, true)), ["start b 0"]);
}

#[test]
fn a_pod_that_is_over_gives_its_address_back_last() {
    let mut play = Play::new(ONE);
    play.pod.spec.restart_policy = steersman_domain::RestartPolicy::Never;
    play.framed();
    play.started("a", 0);
    assert!(play.exited("a", 0, 0).is_empty(), "not before the object says so");
    let ip = play.status().pod_ip.clone();
    play.pod.status = play.status().clone();
    assert_eq!(play.steps(), ["release"]);
    assert_eq!(play.see(Observation::Released(Err("busy".into()))), ["wait 2"]);
    play.now = play.now.after(Duration::from_secs(2));
    assert_eq!(play.steps(), ["release"]);
    assert!(play.see(Observation::Released(Ok(()))).is_empty());
    assert_eq!((play.status().phase, play.status().pod_ip.clone()), (PodPhase::Succeeded, ip), "it stays as history");
    assert_eq!(play.delete(0), ["begin Deleted 0", "remove"]);
}

#[test]
fn restarts_back_off_and_late_observations_change_nothing() {
    let mut play = Play::new(ONE);
    play.framed();
    play.started("a", 0);
    assert_eq!(play.exited("a", 0, 1), ["start a 1"], "the first restart is at once");
    assert!(play.exited("a", 0, 1).is_empty(), "an end that is told twice counts once");
    assert_eq!(play.started("a", 1), ["probe a"]);
    assert_eq!(play.exited("a", 1, 1), ["wait 10"]);
    let status = &play.status().container_statuses[0];
    let waiting = status.state.waiting.as_ref().unwrap();
    assert_eq!(waiting.reason, "CrashLoopBackOff");
    assert_eq!(waiting.message, "back-off 10s restarting failed container=a pod=p_default(uid-p)");
    assert_eq!((status.restart_count.0, status.last_state.terminated.is_some()), (1, true));
    play.now = play.now.after(Duration::from_secs(10));
    assert_eq!(play.steps(), ["start a 2"]);
    play.started("a", 2);
    assert_eq!(play.exited("a", 2, 1), ["wait 20"]);
}

#[test]
fn restart_policies_decide_the_outcome() {
    for (policy, code, phase) in [
        ("Never", 0, PodPhase::Succeeded),
        ("Never", 3, PodPhase::Failed),
        ("OnFailure", 0, PodPhase::Succeeded),
        ("OnFailure", 3, PodPhase::Running),
        ("Always", 0, PodPhase::Running),
    ] {
        let spec = format!(r#"{{"restartPolicy":"{policy}","containers":[{{"name":"a"}}]}}"#);
        let mut play = Play::new(&spec);
        play.framed();
        play.started("a", 0);
        play.exited("a", 0, code);
        assert_eq!(play.status().phase, phase, "{policy} {code}");
    }
}

#[test]
fn init_containers_run_in_order_and_sidecars_stay() {
    let spec = r#"{"restartPolicy":"Never","initContainers":[{"name":"i1"},{"name":"s","restartPolicy":"Always"},{"name":"i2"}],
        "containers":[{"name":"a"},{"name":"b"}]}"#;
    let mut play = Play::new(spec);
    assert_eq!(play.framed(), ["start i1 0"]);
    assert_eq!(play.status().container_statuses[0].state.waiting.as_ref().unwrap().reason, "PodInitializing");
    assert!(play.started("i1", 0).is_empty());
    assert_eq!(play.exited("i1", 0, 0), ["start s 0"]);
    assert_eq!(play.started("s", 0), ["start i2 0"]);
    play.started("i2", 0);
    assert!(play.status().conditions.iter().any(|c| c.message == "containers with incomplete status: [i2]"));
    assert_eq!(play.exited("i2", 0, 0), ["start a 0", "start b 0"]);
    let waiting = play.status().container_statuses[0].state.waiting.clone().unwrap();
    assert_eq!(waiting.reason, "PodInitializing", "up to the start itself");
    play.started("a", 0);
    play.started("b", 0);
    assert_eq!(play.exited("s", 0, 1), ["start s 1"], "a sidecar always starts again");
    play.started("s", 1);
    play.exited("a", 0, 0);
    assert_eq!(play.exited("b", 0, 0), ["stop s 30"]);
    assert_eq!(play.status().phase, PodPhase::Running, "not over while the sidecar runs");
    assert!(play.exited("s", 1, 143).is_empty());
    assert_eq!(play.status().phase, PodPhase::Succeeded);
}

#[test]
fn a_failed_init_container_fails_a_pod_that_never_restarts() {
    let spec = r#"{"restartPolicy":"Never","initContainers":[{"name":"i"}],"containers":[{"name":"a"}]}"#;
    let mut play = Play::new(spec);
    play.framed();
    play.started("i", 0);
    assert!(play.exited("i", 0, 1).is_empty());
    assert_eq!(play.status().phase, PodPhase::Failed);
    let mut play = Play::new(&spec.replace("Never", "Always"));
    play.framed();
    play.started("i", 0);
    assert_eq!(play.exited("i", 0, 1), ["start i 1"]);
}

#[test]
fn the_end_drains_stops_together_then_sidecars_then_removes() {
    let spec = r#"{"initContainers":[{"name":"s1","restartPolicy":"Always"},{"name":"s2","restartPolicy":"Always"}],
        "containers":[{"name":"a"},{"name":"b"}]}"#;
    let mut play = Play::new(spec);
    play.framed();
    for name in ["s1", "s2", "a", "b"] {
        play.started(name, 0);
    }
    assert_eq!(play.delete(20), ["begin Deleted 20", "drain 10", "wait 10"]);
    assert!(!meta::condition(&play.status().conditions, "Ready").unwrap().is_true());
    assert_eq!(play.see(Observation::Drained), ["stop a 20", "stop b 20", "wait 30"]);
    play.exited("a", 0, 143);
    assert_eq!(play.exited("b", 0, 0), ["stop s2 20", "wait 30"]);
    assert_eq!(play.exited("s2", 0, 143), ["stop s1 20", "wait 30"]);
    assert_eq!(play.exited("s1", 0, 143), ["remove"]);
    assert_eq!(play.see(Observation::Removed(Err("busy".into()))), ["wait 2"]);
    play.now = play.now.after(Duration::from_secs(2));
    assert_eq!(play.steps(), ["remove"]);
    assert_eq!(play.see(Observation::Removed(Ok(()))), ["report true"]);
    assert_eq!(play.status().phase, PodPhase::Failed);
    assert_eq!(play.see(Observation::Reported), ["done"]);
}

#[test]
fn a_runtime_that_never_answers_cannot_hold_a_pod() {
    let mut play = Play::new(ONE);
    play.framed();
    play.started("a", 0);
    play.delete(0);
    play.see(Observation::Drained);
    play.now = play.now.after(Duration::from_secs(11));
    assert_eq!(play.steps(), ["remove"]);
    assert_eq!(play.see(Observation::Removed(Ok(()))), ["report true"]);
    assert_eq!(play.status().container_statuses[0].state.terminated.as_ref().unwrap().exit_code.0, 137);
}

#[test]
fn ends_by_other_causes() {
    let mut gone = Play::new(ONE);
    gone.framed();
    gone.started("a", 0);
    assert_eq!(gone.see(Observation::Gone), ["stop a 0", "wait 10"], "nothing drains for an object that is gone");
    assert_eq!(gone.exited("a", 0, 137), ["remove"]);
    assert_eq!(gone.see(Observation::Removed(Ok(()))), ["done"]);

    let mut deadline = Play::new(&ONE.replacen('{', r#"{"activeDeadlineSeconds":60,"#, 1));
    deadline.framed();
    assert_eq!(deadline.started("a", 0), ["probe a", "wait 60"]);
    deadline.now = deadline.now.after(Duration::from_secs(60));
    assert_eq!(deadline.steps(), ["begin DeadlineExceeded 30", "drain 15", "wait 15"]);
    deadline.see(Observation::Drained);
    assert!(deadline.exited("a", 0, 143).is_empty());
    let status = deadline.status();
    assert_eq!((status.phase, status.reason.as_str()), (PodPhase::Failed, "DeadlineExceeded"));
    assert_eq!(deadline.delete(30), ["begin Deleted 30", "remove"]);

    let mut never = Play::new(ONE);
    assert_eq!(never.delete(30), ["begin Deleted 30", "report true"], "nothing was ever made");
    assert_eq!(never.state.end.as_ref().unwrap().cause, EndCause::Deleted);
}

#[test]
fn less_grace_brings_the_deadline_forward_and_never_back() {
    let mut play = Play::new(ONE);
    play.framed();
    play.started("a", 0);
    play.delete(30);
    for (seconds, expected) in [(5, 5), (50, 5), (0, 0)] {
        play.state.shorten(play.now.after(Duration::from_secs(seconds)), play.now);
        assert_eq!(play.state.end.as_ref().unwrap().deadline.since(play.now).as_secs(), expected);
    }
}

#[test]
fn less_grace_ends_a_drain_under_way() {
    let mut play = Play::new(ONE);
    play.framed();
    play.started("a", 0);
    assert_eq!(play.delete(30), ["begin Deleted 30", "drain 15", "wait 15"]);
    play.state.shorten(play.now.after(Duration::from_secs(1)), play.now);
    assert_eq!(play.steps(), ["wait 0"], "half a second");
    assert_eq!(play.see(Observation::StopAsked { grace: Duration::ZERO }), ["stop a 0", "wait 10"]);
    assert!(play.see(Observation::Drained).iter().all(|step| step == "wait 10"), "late, and no news");
}

#[test]
fn blocks_wait_for_their_time_or_for_their_sources() {
    let mut play = Play::new(ONE);
    play.framed();
    let block =
        Block::new("CreateContainerConfigError", "configmap \"x\" not found", play.now, Duration::from_secs(20));
    let failure = StartFailure::Blocked(block);
    let failed = Observation::StartFailed { container: "a".into(), attempt: 0, failure };
    assert_eq!(play.see(failed.clone()), ["wait 20"]);
    let shown = play.status().container_statuses[0].clone();
    let waiting = shown.state.waiting.unwrap();
    assert_eq!((waiting.reason.as_str(), shown.restart_count.0), ("CreateContainerConfigError", 0));
    assert_eq!(play.see(Observation::SourcesChanged), ["start a 0"], "not an attempt: the same number");
    let cannot = StartFailure::CannotRun { reason: "StartError", message: "no such file".into(), exit_code: 127 };
    assert_eq!(
        play.see(Observation::StartFailed { container: "a".into(), attempt: 0, failure: cannot }),
        ["start a 1"]
    );
}

#[test]
fn a_lost_sandbox_is_removed_and_made_again() {
    let spec = r#"{"initContainers":[{"name":"i"}],"containers":[{"name":"a"}]}"#;
    let mut play = Play::new(spec);
    play.framed();
    play.started("i", 0);
    play.exited("i", 0, 0);
    play.started("a", 0);
    assert_eq!(play.see(Observation::SandboxLost { message: "shim".into() }), ["remove"]);
    assert_eq!(play.status().container_statuses[0].state.terminated.as_ref().unwrap().reason, "ContainerStatusUnknown");
    assert_eq!(play.see(Observation::Removed(Ok(()))), ["sandbox"]);
    assert_eq!(play.see(Observation::Sandbox(Ok(("process", Ipv4Addr::LOCALHOST)))), ["start i 1"]);
    play.started("i", 1);
    assert_eq!(play.exited("i", 1, 0), ["start a 1"]);
}

#[test]
fn another_image_ends_the_container_and_starts_it_anew_whatever_its_policy() {
    let mut play = Play::new(r#"{"restartPolicy":"Never","containers":[{"name":"a"}]}"#);
    play.framed();
    play.started("a", 0);
    let mut spec = (*play.pod.spec.containers[0]).clone();
    spec.image = "new".into();
    play.pod.spec.containers[0] = steersman_domain::Shared::new(spec);
    assert_eq!(play.steps(), ["stop a 30"]);
    assert_eq!(play.exited("a", 0, 143), ["start a 1"]);
    assert_eq!(play.status().container_statuses[0].image.0, "new");
}

/// What may happen to a pod of two containers and a sidecar, in any order.
fn happening() -> impl proptest::strategy::Strategy<Value = (u8, usize, u32, i32, u64)> {
    (0_u8..12, 0_usize..3, 0_u32..3, 0_i32..2, 0_u64..400)
}

impl Play {
    fn happen(&mut self, (what, container, attempt, code, seconds): (u8, usize, u32, i32, u64)) {
        let container = Str::from(["s", "a", "b"][container]);
        let observation = match what {
            0 => Observation::Sandbox(Ok(("process", Ipv4Addr::LOCALHOST))),
            1 => Observation::SandboxLost { message: "lost".into() },
            2 | 3 => Observation::Started {
                record: record(&container, attempt, self.now, None),
                image: Str::default(),
                hook: false,
            },
            4 | 5 => Observation::Exited { record: record(&container, attempt, self.now, Some(code)) },
            6 => Observation::PortsOpen { container, attempt },
            7 => Observation::Drained,
            8 => Observation::Removed(if code == 0 { Ok(()) } else { Err("busy".into()) }),
            9 => Observation::StopAsked { grace: Duration::from_secs(seconds) },
            10 => {
                self.now = self.now.after(Duration::from_secs(seconds));
                return;
            }
            _ => {
                self.delete(i64::try_from(seconds).unwrap());
                return;
            }
        };
        self.see(observation);
    }
}

proptest::proptest! {
    /// Whatever happens in whatever order: the machine comes to rest, phases only move as they may, a pod that is told to be
    /// ready has all its containers running, and asking twice gives the same answer.
    #[test]
    fn any_history_comes_to_rest(policy in 0_usize..3, history in proptest::collection::vec(happening(), 0..60)) {
        let policy = ["Always", "OnFailure", "Never"][policy];
        let spec = format!(
            r#"{{"restartPolicy":"{policy}","initContainers":[{{"name":"s","restartPolicy":"Always"}}],
                "containers":[{{"name":"a","ports":[{{"containerPort":80}}]}},{{"name":"b"}}]}}"#
        );
        let mut play = Play::new(&spec);
        for event in history {
            let before = play.status().phase;
            play.happen(event);
            play.steps();
            let status = play.status().clone();
            proptest::prop_assert!(before.on(status.phase).is_ok());
            if meta::condition(&status.conditions, "Ready").is_some_and(|c| c.is_true()) {
                let all = status.container_statuses.iter().chain(&status.init_container_statuses);
                proptest::prop_assert!(all.into_iter().all(|c| c.state.running.is_some()));
            }
            proptest::prop_assert_eq!(&status, play.status());
        }
    }
}
