//! The runtime of functions as the port of all runtimes.

use super::runtime::{TaskRuntime, unknown, unknown_container};
use super::state::{Sandbox, State};
use std::net::Ipv4Addr;
use std::time::Duration;
use steersman_domain::ports::{
    ContainerReading, ContainerRecord, ContainerSpec, ExecOutput, ExitRecord, HealthAction, HealthCheck, HealthMonitor,
    LogQuery, LogStream, MetricsSource, PodReading, Runtime, RuntimeError, RuntimeEvent, RuntimeEvents, SandboxRecord,
    SandboxSpec, Unhealthy, VolumeContent,
};
use steersman_domain::{Condition, Uid};
use tokio::sync::mpsc;

/// The command of an exec probe that stands for a round trip through the mailbox of a function.
pub const MAILBOX_PROBE: &str = "mailbox";

#[async_trait::async_trait]
impl HealthMonitor for TaskRuntime {
    async fn check(&self, check: &HealthCheck) -> Result<(), Unhealthy> {
        match &check.action {
            HealthAction::Exec(command) if command[..] == [MAILBOX_PROBE] => self.round_trip(check).await,
            HealthAction::Exec(_) => Err(Unhealthy(format!(
                "{} is a function, which has no commands: use exec with the command [\"{MAILBOX_PROBE}\"] for a round trip \
                 through its mailbox",
                check.container
            ))),
            _ if !self.0.config.live => Err(Unhealthy("there are no sockets in virtual time".to_owned())),
            _ => crate::health::look(check).await,
        }
    }
}

/// Functions share the memory of the host, so only their time is told.
#[async_trait::async_trait]
impl MetricsSource for TaskRuntime {
    async fn usage(&self) -> Vec<PodReading> {
        let state = self.0.state.lock();
        let pods = state.sandboxes.iter().map(|(uid, sandbox)| {
            let running = sandbox.containers.iter().filter(|c| c.record.exit.is_none());
            let containers = running.map(|c| ContainerReading {
                name: c.record.name.clone(),
                attempt: c.record.attempt,
                cpu_nanos: c.gauge.busy(),
                memory_bytes: None,
            });
            PodReading { pod: uid.clone(), containers: containers.collect() }
        });
        pods.filter(|pod| !pod.containers.is_empty()).collect()
    }
}

#[async_trait::async_trait]
impl Runtime for TaskRuntime {
    fn handler(&self) -> &'static str {
        "task"
    }

    async fn conditions(&self) -> Vec<Condition> {
        Vec::new()
    }

    async fn run_sandbox(&self, spec: &SandboxSpec) -> Result<Ipv4Addr, RuntimeError> {
        let mut state = self.0.state.lock();
        if let Some(sandbox) = state.sandboxes.get(&spec.uid) {
            return Ok(sandbox.ip);
        }
        let addresses = self.0.config.addresses;
        let Some(ip) = state.take_address(addresses) else {
            let why = format!("all {} addresses for functions of this node are taken", addresses.1);
            return Err(RuntimeError::Unavailable(why));
        };
        let slot = self.0.config.board.slot(&spec.namespace, &spec.name);
        slot.appears();
        let sandbox = Sandbox { spec: spec.clone(), ip, slot, containers: Vec::new(), released: false };
        state.sandboxes.insert(spec.uid.clone(), sandbox);
        Ok(ip)
    }

    async fn sandboxes(&self) -> Result<Vec<SandboxRecord>, RuntimeError> {
        let record = |s: &Sandbox| SandboxRecord {
            spec: s.spec.clone(),
            ip: s.ip,
            released: s.released,
            containers: s.containers.iter().map(|c| c.record.clone()).collect(),
        };
        Ok(self.0.state.lock().sandboxes.values().map(record).collect())
    }

    async fn prepare_volume(&self, _: &Uid, name: &str, _: &VolumeContent) -> Result<(), RuntimeError> {
        Err(RuntimeError::Refused(format!(
            "volume {name}: a function has no volumes. Give it what it needs as parameters or in its environment"
        )))
    }

    async fn start_container(&self, spec: &ContainerSpec) -> Result<ContainerRecord, RuntimeError> {
        let prepared = self.prepare(spec)?;
        self.start(spec, prepared)
    }

    async fn stop_container(&self, pod: &Uid, name: &str, grace: Duration) -> Result<ExitRecord, RuntimeError> {
        let (attempt, mut over, slot) = {
            let mut state = self.0.state.lock();
            let sandbox = state.sandboxes.get_mut(pod).ok_or_else(|| unknown(pod))?;
            let slot = sandbox.slot.clone();
            let container = sandbox.find(name).ok_or_else(|| unknown_container(pod, name))?;
            if let Some(exit) = &container.record.exit {
                return Ok(exit.clone());
            }
            container.stop.send_replace(true);
            (container.record.attempt, container.ended.subscribe(), slot)
        };
        // Its mailbox takes no more; what is in it can still be answered.
        slot.close(&(pod.clone(), attempt));
        if !grace.is_zero() {
            tokio::select! {
                biased;
                _ = over.wait_for(|over| *over) => {}
                () = self.0.config.clock.sleep(grace) => {}
            }
        }
        if self.exit_of(pod, name).is_none() {
            self.kill(pod, name, attempt, String::new());
        }
        self.exit_of(pod, name).ok_or_else(|| unknown_container(pod, name))
    }

    async fn exec(&self, _: &Uid, name: &str, _: &[String], _: Duration) -> Result<ExecOutput, RuntimeError> {
        Err(RuntimeError::Refused(format!(
            "{name} is a function: there is no program to run beside it. Ask it instead"
        )))
    }

    async fn ports_open(&self, pod: &Uid, ports: &[u16]) -> Result<(), RuntimeError> {
        const PAUSE: Duration = Duration::from_millis(20);
        let ip = self.0.state.lock().sandboxes.get(pod).map(|s| s.ip).ok_or_else(|| unknown(pod))?;
        for port in ports.iter().filter(|_| self.0.config.live) {
            while tokio::net::TcpStream::connect((ip, *port)).await.is_err() {
                self.0.config.clock.sleep(PAUSE).await;
            }
        }
        Ok(())
    }

    async fn logs(&self, query: LogQuery) -> Result<Box<dyn LogStream>, RuntimeError> {
        let mut state = self.0.state.lock();
        let sandbox = state.sandboxes.get_mut(&query.pod).ok_or_else(|| unknown(&query.pod))?;
        let container =
            sandbox.find(&query.container).ok_or_else(|| unknown_container(&query.pod, &query.container))?;
        let log = match query.attempt {
            None => container.logs.last(),
            Some(attempt) => container.logs.iter().find(|(of, _)| *of == attempt),
        };
        let gone = || RuntimeError::NotFound(format!("the log of {} at that attempt", query.container));
        log.map(|(_, log)| log.read(&query)).ok_or_else(gone)
    }

    async fn release_sandbox(&self, pod: &Uid) -> Result<(), RuntimeError> {
        self.end_all(pod, "killed: its pod is over");
        let mut state = self.0.state.lock();
        let State { sandboxes, taken, .. } = &mut *state;
        if let Some(sandbox) = sandboxes.get_mut(pod).filter(|s| !s.released) {
            sandbox.released = true;
            sandbox.slot.disappears();
            taken.remove(&(u32::from(sandbox.ip) - u32::from(self.0.config.addresses.0)));
        }
        Ok(())
    }

    async fn remove_sandbox(&self, pod: &Uid) -> Result<(), RuntimeError> {
        self.release_sandbox(pod).await?;
        let removed = self.0.state.lock().sandboxes.remove(pod);
        // Dropped outside the lock.
        drop(removed);
        Ok(())
    }

    async fn events(&self) -> Box<dyn RuntimeEvents> {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.0.state.lock().subscribers.push(sender);
        Box::new(TaskEvents(receiver))
    }
}

struct TaskEvents(mpsc::UnboundedReceiver<RuntimeEvent>);

#[async_trait::async_trait]
impl RuntimeEvents for TaskEvents {
    async fn next(&mut self) -> Option<RuntimeEvent> {
        self.0.recv().await
    }
}
