//! The port, call by call.

use super::pod::unexpected;
use super::{ProcessRuntime, launch, logs, network, volumes};
use crate::process::wire::{Reply, Request};
use async_trait::async_trait;
use std::net::Ipv4Addr;
use std::time::Duration;
use steersman_domain::ports::{
    ContainerRecord, ContainerSpec, ExecOutput, ExitRecord, HealthAction, HealthCheck, HealthMonitor, LogQuery,
    LogStream, MetricsSource, PodReading, Runtime, RuntimeError, RuntimeEvent, RuntimeEvents, SandboxRecord,
    SandboxSpec, Unhealthy, VolumeContent,
};
use steersman_domain::{Condition, Uid};
use tokio::sync::mpsc;

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[async_trait]
impl HealthMonitor for ProcessRuntime {
    async fn check(&self, check: &HealthCheck) -> Result<(), Unhealthy> {
        let HealthAction::Exec(command) = &check.action else { return crate::health::look(check).await };
        match self.exec(&check.pod, &check.container, command, check.timeout).await {
            Ok(ran) => crate::health::ran(ran.exit_code, &ran.output),
            Err(error) => Err(Unhealthy(error.to_string())),
        }
    }
}

#[async_trait]
impl MetricsSource for ProcessRuntime {
    async fn usage(&self) -> Vec<PodReading> {
        let pods: Vec<_> = self.inner.pods.lock().values().cloned().collect();
        let measured = tokio::task::spawn_blocking(move || {
            let readings = pods.iter().map(|pod| PodReading { pod: pod.uid().clone(), containers: pod.usage() });
            readings.filter(|reading| !reading.containers.is_empty()).collect()
        });
        measured.await.unwrap_or_default()
    }
}

#[async_trait]
impl Runtime for ProcessRuntime {
    fn handler(&self) -> &'static str {
        "process"
    }

    async fn conditions(&self) -> Vec<Condition> {
        self.inner.conditions().await
    }

    async fn run_sandbox(&self, spec: &SandboxSpec) -> Result<Ipv4Addr, RuntimeError> {
        self.inner.run_sandbox(spec).await
    }

    async fn sandboxes(&self) -> Result<Vec<SandboxRecord>, RuntimeError> {
        Ok(self.inner.pods.lock().values().map(|pod| pod.to_record()).collect())
    }

    async fn prepare_volume(&self, pod: &Uid, name: &str, content: &VolumeContent) -> Result<(), RuntimeError> {
        let pod = self.inner.pod(pod)?;
        let (inner, name, content) = (self.inner.clone(), name.to_owned(), content.clone());
        let prepared = tokio::task::spawn_blocking(move || {
            // Two refreshes of one volume at a time would remove each other's files.
            let _turn = pod.volumes.lock();
            volumes::prepare(&inner, &pod, &name, &content)
        });
        prepared.await.map_err(|e| RuntimeError::Unavailable(e.to_string()))?
    }

    async fn start_container(&self, spec: &ContainerSpec) -> Result<ContainerRecord, RuntimeError> {
        let pod = self.inner.pod(&spec.pod)?;
        if let Some(known) = pod.container(&spec.name).filter(|c| c.attempt == spec.attempt) {
            return Ok(known.to_record());
        }
        let rewrite = self.inner.rewriting().await.is_ok();
        let launch = launch::prepare(&self.inner, &pod, spec, rewrite)?;
        self.inner.ensure_shim(&pod).await?;
        match pod.ask(&self.inner, Request::Start(Box::new(launch))).await? {
            Reply::Started(state) => {
                pod.learn(&self.inner, state.clone());
                // It may have ended already, and that may be known here before this answer is.
                let latest = pod.container(&spec.name).filter(|c| c.attempt == spec.attempt);
                Ok(latest.unwrap_or(state).to_record())
            }
            other => Err(unexpected(&other)),
        }
    }

    async fn stop_container(&self, pod: &Uid, name: &str, grace: Duration) -> Result<ExitRecord, RuntimeError> {
        let pod = self.inner.pod(pod)?;
        let known = pod.container(name).ok_or_else(|| RuntimeError::NotFound(format!("container {name}")))?;
        if let Some(exit) = known.exit {
            return Ok(exit);
        }
        let request = Request::Stop { name: name.into(), grace_ms: millis(grace) };
        match pod.ask(&self.inner, request).await {
            Ok(Reply::Stopped(exit)) => {
                pod.learn_exit(&self.inner, known, exit.clone());
                Ok(exit)
            }
            Ok(other) => Err(unexpected(&other)),
            // The shim may have been lost meanwhile; then its containers have ended, and it is known how.
            Err(error) => pod.container(name).and_then(|c| c.exit).ok_or(error),
        }
    }

    async fn exec(
        &self,
        pod: &Uid,
        name: &str,
        command: &[String],
        timeout: Duration,
    ) -> Result<ExecOutput, RuntimeError> {
        let pod = self.inner.pod(pod)?;
        if command.first().is_none_or(String::is_empty) {
            return Err(RuntimeError::Refused("no command is given".to_owned()));
        }
        let request = Request::Exec { name: name.into(), command: command.to_vec(), timeout_ms: millis(timeout) };
        match pod.ask(&self.inner, request).await? {
            Reply::Executed { exit_code, output } => Ok(ExecOutput { exit_code, output }),
            other => Err(unexpected(&other)),
        }
    }

    async fn ports_open(&self, pod: &Uid, ports: &[u16]) -> Result<(), RuntimeError> {
        network::ports_open(&*self.inner.pod(pod)?, ports).await;
        Ok(())
    }

    async fn logs(&self, query: LogQuery) -> Result<Box<dyn LogStream>, RuntimeError> {
        let pod = self.inner.pod(&query.pod)?;
        Ok(Box::new(logs::open(&pod.dir, &query)?))
    }

    async fn release_sandbox(&self, pod: &Uid) -> Result<(), RuntimeError> {
        self.inner.release_sandbox(pod).await
    }

    async fn remove_sandbox(&self, pod: &Uid) -> Result<(), RuntimeError> {
        self.inner.remove_sandbox(pod).await
    }

    async fn events(&self) -> Box<dyn RuntimeEvents> {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.inner.subscribers.lock().push(sender);
        Box::new(Subscription { receiver })
    }
}

/// Events from the moment it was made.
struct Subscription {
    receiver: mpsc::UnboundedReceiver<RuntimeEvent>,
}

#[async_trait]
impl RuntimeEvents for Subscription {
    async fn next(&mut self) -> Option<RuntimeEvent> {
        self.receiver.recv().await
    }
}
