//! How many replicas one metric asks for. Source of the algorithm: Kubernetes
//! `pkg/controller/podautoscaler/replica_calculator.go`.

use std::sync::Arc;
use std::time::Duration;
use steersman_domain::ports::PodMetrics;
use steersman_domain::{Condition, Container, Pod, PodPhase, Time, meta};

/// How long after its start the cpu of a pod counts only if it was measured while it was ready.
pub(super) const CPU_INITIALIZATION: Duration = Duration::from_secs(300);
/// How long after its start a pod that became unready may never have been ready.
pub(super) const INITIAL_READINESS: Duration = Duration::from_secs(30);

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Resource {
    /// Thousandths of a core.
    Cpu,
    /// Bytes; their thousandths, as Kubernetes counts, would only be divided away again.
    Memory,
}

impl Resource {
    pub(super) fn parse(name: &str) -> Option<Self> {
        match name {
            "cpu" => Some(Resource::Cpu),
            "memory" => Some(Resource::Memory),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Resource::Cpu => "cpu",
            Resource::Memory => "memory",
        }
    }
}

/// By how much a metric may miss its target, downwards and upwards, before anything is scaled.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Tolerances {
    pub(super) down: f64,
    pub(super) up: f64,
}

impl Tolerances {
    /// Kubernetes' own.
    pub(super) const DEFAULT: Tolerances = Tolerances { down: 0.1, up: 0.1 };

    fn covers(&self, ratio: f64) -> bool {
        (1.0 - self.down..=1.0 + self.up).contains(&ratio)
    }
}

/// What to compute.
#[derive(Clone, Copy, Debug)]
pub(super) struct Question<'a> {
    pub(super) current: i32,
    pub(super) resource: Resource,
    /// One container of each pod; `None`: all together.
    pub(super) container: Option<&'a str>,
    pub(super) tolerances: Tolerances,
    pub(super) pods: &'a [Arc<Pod>],
    /// Of each pod, in the same order.
    pub(super) metrics: &'a [Option<Arc<PodMetrics>>],
    pub(super) now: Time,
}

/// What came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) replicas: i32,
    /// Percent of what is requested; 0 where that is not asked for.
    pub(super) utilization: i32,
    /// The mean over the pods.
    pub(super) average: i64,
    /// When it was measured.
    pub(super) at: Time,
}

/// Pods, by their places in the list, by what is known of them.
#[derive(Default)]
struct Groups {
    /// With what they use.
    measured: Vec<(usize, i64)>,
    ready: usize,
    unready: Vec<usize>,
    missing: Vec<usize>,
    at: Time,
}

fn mean(measured: &[(usize, i64)]) -> i64 {
    let used: i64 = measured.iter().map(|(_, used)| used).sum();
    used / i64::try_from(measured.len().max(1)).unwrap_or(i64::MAX)
}

impl Question<'_> {
    /// Replicas for a utilization in percent of what pods request.
    pub(super) fn by_utilization(&self, target: i32) -> Result<Answer, String> {
        let mut groups = self.groups()?;
        let requests = self.requests()?;
        let ratio = |measured: &[(usize, i64)]| {
            let used: i64 = measured.iter().map(|(_, used)| used).sum();
            let asked: i64 = measured.iter().map(|(at, _)| requests[*at]).sum();
            let utilization = if asked > 0 { used.saturating_mul(100) / asked } else { 0 };
            (utilization as f64 / f64::from(target.max(1)), utilization, mean(measured), asked)
        };
        let (usage_ratio, utilization, average, asked) = ratio(&groups.measured);
        if asked == 0 {
            return Err("no metrics returned matched known pods".to_owned());
        }
        let answer = |replicas| Answer {
            replicas,
            utilization: i32::try_from(utilization).unwrap_or(i32::MAX),
            average,
            at: groups.at,
        };
        if let Some(replicas) = self.at_once(usage_ratio, &groups) {
            return Ok(answer(replicas));
        }
        let at = answer(0);
        if usage_ratio < 1.0 {
            // Those that are missing are taken to use what they may, so that nothing shrinks for want of news.
            let percent = i64::from(target.max(100));
            for at in std::mem::take(&mut groups.missing) {
                groups.measured.push((at, requests[at].saturating_mul(percent) / 100));
            }
        }
        let replicas = self.again(usage_ratio, groups, |measured| ratio(measured).0);
        Ok(Answer { replicas, ..at })
    }

    /// Replicas for a value that the pods should have on average.
    pub(super) fn by_average(&self, target: i64) -> Result<Answer, String> {
        let mut groups = self.groups()?;
        let ratio = |measured: &[(usize, i64)]| {
            let average = mean(measured);
            (average as f64 / target.max(1) as f64, average)
        };
        let (usage_ratio, average) = ratio(&groups.measured);
        let at = groups.at;
        let answer = |replicas| Answer { replicas, utilization: 0, average, at };
        if let Some(replicas) = self.at_once(usage_ratio, &groups) {
            return Ok(answer(replicas));
        }
        if usage_ratio < 1.0 {
            for at in std::mem::take(&mut groups.missing) {
                groups.measured.push((at, target));
            }
        }
        Ok(answer(self.again(usage_ratio, groups, |measured| ratio(measured).0)))
    }

    /// The answer where every pod that counts is measured.
    fn at_once(&self, ratio: f64, groups: &Groups) -> Option<i32> {
        let unready_counts = !groups.unready.is_empty() && ratio > 1.0;
        if unready_counts || !groups.missing.is_empty() {
            return None;
        }
        Some(if self.tolerances.covers(ratio) { self.current } else { ceil(ratio * groups.ready as f64) })
    }

    /// The answer with something put in the place of what is not known. It never turns round, and never goes against the
    /// direction of what was measured.
    fn again(&self, ratio: f64, mut groups: Groups, ratio_of: impl Fn(&[(usize, i64)]) -> f64) -> i32 {
        if ratio > 1.0 {
            let unknown = groups.missing.iter().chain(&groups.unready);
            groups.measured.extend(unknown.map(|at| (*at, 0)));
        }
        let new = ratio_of(&groups.measured);
        if self.tolerances.covers(new) || ratio < 1.0 && new > 1.0 || ratio > 1.0 && new < 1.0 {
            return self.current;
        }
        let replicas = ceil(new * groups.measured.len() as f64);
        if new < 1.0 && replicas > self.current || new > 1.0 && replicas < self.current {
            return self.current;
        }
        replicas
    }

    fn groups(&self) -> Result<Groups, String> {
        let mut groups = Groups::default();
        for (at, pod) in self.pods.iter().enumerate() {
            if pod.metadata.is_deleting() || pod.status.phase == PodPhase::Failed {
                continue;
            }
            if pod.status.phase == PodPhase::Pending {
                groups.unready.push(at);
                continue;
            }
            let known = self.metrics.get(at).and_then(Option::as_deref);
            let Some((metrics, used)) = known.and_then(|m| Some((m, self.used(m)?))) else {
                groups.missing.push(at);
                continue;
            };
            groups.at = groups.at.max(metrics.at);
            if self.resource == Resource::Cpu && self.starts_up(pod, metrics) {
                groups.unready.push(at);
                continue;
            }
            groups.ready += 1;
            groups.measured.push((at, used));
        }
        if groups.measured.is_empty() {
            return Err("did not receive metrics for targeted pods (pods might be unready)".to_owned());
        }
        Ok(groups)
    }

    /// Whether the cpu of a pod says nothing yet of how it will be.
    fn starts_up(&self, pod: &Pod, metrics: &PodMetrics) -> bool {
        let ready = meta::condition(&pod.status.conditions, "Ready");
        let (Some(ready), Some(start)) = (ready, pod.status.start_time) else { return true };
        let since = ready.last_transition_time.unwrap_or_default();
        if start.after(CPU_INITIALIZATION) > self.now {
            !ready.is_true() || metrics.at < since.after(metrics.window)
        } else {
            !Condition::is_true(ready) && start.after(INITIAL_READINESS) > since
        }
    }

    /// What a pod uses; `None`: not known.
    fn used(&self, metrics: &PodMetrics) -> Option<i64> {
        let mut sum = None;
        for (name, cpu, memory) in &metrics.containers {
            if self.container.is_none_or(|wanted| wanted == name.as_str()) {
                let used = match self.resource {
                    Resource::Cpu => *cpu,
                    Resource::Memory => (*memory)?,
                };
                sum = Some(sum.unwrap_or(0_i64).saturating_add(used));
            }
        }
        sum
    }

    /// What each pod requests.
    fn requests(&self) -> Result<Vec<i64>, String> {
        let name = self.resource.name();
        let mut all = Vec::with_capacity(self.pods.len());
        for pod in self.pods {
            let sidecars = pod.spec.init_containers.iter().filter(|c| c.restart_policy.as_deref() == Some("Always"));
            let mut sum = 0_i64;
            for container in pod.spec.containers.iter().chain(sidecars) {
                if self.container.is_some_and(|wanted| wanted != container.name) {
                    continue;
                }
                let missing = || {
                    format!(
                        "missing request for {name} in container {} of Pod {}: set spec.containers[*].resources.requests",
                        container.name, pod.metadata.name
                    )
                };
                sum = sum.saturating_add(self.request(container).ok_or_else(missing)?);
            }
            all.push(sum);
        }
        Ok(all)
    }

    fn request(&self, container: &Container) -> Option<i64> {
        let requests = &container.resources.requests;
        let quantity = requests.get(self.resource.name())?;
        Some(match self.resource {
            Resource::Cpu => quantity.milli(),
            Resource::Memory => quantity.value(),
        })
    }
}

fn ceil(value: f64) -> i32 {
    // From floats, `as` keeps to the bounds of the type.
    value.ceil() as i32
}
