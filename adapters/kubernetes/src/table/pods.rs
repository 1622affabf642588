//! The table of pods, with the rules by which kubectl's users know a pod's state.

use super::{AGE, Column, NAME, NONE, Printer, age, column, condition, elements, name, number, text, text_or, wide};
use crate::duration::{human_duration, unix_seconds};
use serde_json::Value;

pub(super) const PRINTER: Printer = Printer {
    columns: &[
        NAME,
        column("Ready", "How many containers are ready, of how many."),
        column("Status", "The state of the pod in a word."),
        column("Restarts", "How often containers were restarted, and when last."),
        AGE,
        IP,
        wide("Node", "The node that the pod is bound to."),
        wide("Nominated Node", "The node that is being cleared for the pod."),
        wide("Readiness Gates", "How many readiness gates are open, of how many."),
    ],
    cells,
};

const IP: Column = wide("IP", "The address of the pod.");

fn cells(pod: &Value, now: i64) -> Vec<Value> {
    let (spec, status) = (&pod["spec"], &pod["status"]);
    let state = State::of(pod);
    let restarts = match state.last_restart {
        Some(at) if state.restarts != 0 => {
            format!("{} ({} ago)", state.restarts, human_duration(now.saturating_sub(at)))
        }
        _ => state.restarts.to_string(),
    };
    let ip = match elements(status, "podIPs").first() {
        Some(first) => text_or(first, "ip", NONE),
        None => text_or(status, "podIP", NONE),
    };
    vec![
        name(pod),
        format!("{}/{}", state.ready, state.total).into(),
        state.reason.into(),
        restarts.into(),
        age(pod, now),
        ip.into(),
        text_or(spec, "nodeName", NONE).into(),
        text_or(status, "nominatedNodeName", NONE).into(),
        readiness_gates(pod).into(),
    ]
}

fn readiness_gates(pod: &Value) -> String {
    let gates = elements(&pod["spec"], "readinessGates");
    if gates.is_empty() {
        return NONE.to_owned();
    }
    let conditions = elements(&pod["status"], "conditions");
    let open = gates.iter().filter(|g| condition(conditions, text(g, "conditionType")) == Some(true)).count();
    format!("{open}/{}", gates.len())
}

/// What the columns Ready, Status and Restarts say.
struct State {
    ready: usize,
    total: usize,
    reason: String,
    restarts: i64,
    /// Seconds since 1970.
    last_restart: Option<i64>,
}

impl State {
    fn of(pod: &Value) -> Self {
        let (spec, status) = (&pod["spec"], &pod["status"]);
        let init = elements(spec, "initContainers");
        let sidecars = init.iter().filter(|c| is_sidecar(c)).count();
        let mut state = Self {
            ready: 0,
            total: elements(spec, "containers").len() + sidecars,
            reason: text_or(status, "reason", text_or(status, "phase", "Unknown")).to_owned(),
            restarts: 0,
            last_restart: None,
        };
        let conditions = elements(status, "conditions");
        if conditions.iter().any(|c| text(c, "type") == "PodScheduled" && text(c, "reason") == "SchedulingGated") {
            "SchedulingGated".clone_into(&mut state.reason);
        }
        let initializing = state.look_at_init(pod);
        if !initializing || condition(conditions, "Initialized") == Some(true) {
            state.look_at_containers(pod);
        }
        let deleted = !pod["metadata"]["deletionTimestamp"].is_null();
        if deleted && text(status, "reason") == "NodeLost" {
            "Unknown".clone_into(&mut state.reason);
        } else if deleted && !matches!(text(status, "phase"), "Succeeded" | "Failed") {
            "Terminating".clone_into(&mut state.reason);
        }
        state
    }

    fn count(&mut self, container: &Value) {
        self.restarts += number(container, "restartCount");
        let finished = unix_seconds(&container["lastState"]["terminated"]["finishedAt"]);
        self.last_restart = self.last_restart.max(finished);
    }

    /// Whether an init container still holds the pod back; the reason then says which.
    fn look_at_init(&mut self, pod: &Value) -> bool {
        let init = elements(&pod["spec"], "initContainers");
        for (at, container) in elements(&pod["status"], "initContainerStatuses").iter().enumerate() {
            self.count(container);
            let sidecar = init.iter().any(|c| c["name"] == container["name"] && is_sidecar(c));
            let (terminated, waiting) = (&container["state"]["terminated"], &container["state"]["waiting"]);
            if terminated.is_object() && number(terminated, "exitCode") == 0 {
                continue;
            }
            if sidecar && container["started"] == true {
                self.ready += usize::from(container["ready"] == true);
                continue;
            }
            self.reason = if terminated.is_object() {
                format!("Init:{}", ended(terminated))
            } else if !matches!(text(waiting, "reason"), "" | "PodInitializing") {
                format!("Init:{}", text(waiting, "reason"))
            } else {
                format!("Init:{at}/{}", init.len())
            };
            return true;
        }
        false
    }

    /// Once initialised, restarts are those of the containers that stay.
    fn look_at_containers(&mut self, pod: &Value) {
        (self.restarts, self.last_restart) = (0, None);
        let init = elements(&pod["spec"], "initContainers");
        for container in elements(&pod["status"], "initContainerStatuses") {
            if init.iter().any(|c| c["name"] == container["name"] && is_sidecar(c)) {
                self.count(container);
            }
        }
        let mut running = false;
        for container in elements(&pod["status"], "containerStatuses").iter().rev() {
            self.count(container);
            let (terminated, waiting) = (&container["state"]["terminated"], &container["state"]["waiting"]);
            if !text(waiting, "reason").is_empty() {
                text(waiting, "reason").clone_into(&mut self.reason);
            } else if terminated.is_object() {
                self.reason = ended(terminated);
            } else if container["ready"] == true && container["state"]["running"].is_object() {
                running = true;
                self.ready += 1;
            }
        }
        // A pod is not complete while one of its containers runs.
        if self.reason == "Completed" && running {
            let ready = condition(elements(&pod["status"], "conditions"), "Ready") == Some(true);
            if ready { "Running" } else { "NotReady" }.clone_into(&mut self.reason);
        }
    }
}

/// An init container that is restarted for ever runs beside the others.
fn is_sidecar(container: &Value) -> bool {
    text(container, "restartPolicy") == "Always"
}

/// How a container ended: its reason, else its signal, else its exit code.
fn ended(terminated: &Value) -> String {
    match (text(terminated, "reason"), number(terminated, "signal")) {
        ("", 0) => format!("ExitCode:{}", number(terminated, "exitCode")),
        ("", signal) => format!("Signal:{signal}"),
        (reason, _) => reason.to_owned(),
    }
}
