//! What the node's pods use: the runtimes tell what each container has used so far, and two readings make a window.

use super::shared::Shared;
use std::collections::BTreeMap;
use std::time::Duration;
use steersman_domain::usage::{ContainerUsage, NodeUsage, PodUsage};
use steersman_domain::{MicroTime, Str, Uid};

/// Windows are not shorter: the clocks of control groups tick in hundredths of a second.
const SHORTEST: Duration = Duration::from_millis(500);

/// The reading before.
#[derive(Default)]
pub(super) struct Sampler {
    /// When it was taken, by the monotonic clock.
    at: Option<Duration>,
    /// Attempt and processor time in nanoseconds, by pod and container.
    cpu: BTreeMap<(Uid, Str), (u32, u64)>,
}

impl Sampler {
    /// Takes a reading; answers what was used since the one before, of containers that have run since then.
    pub(super) async fn sample(&mut self, shared: &Shared) -> Option<NodeUsage> {
        let now = shared.clock.monotonic();
        let window = self.at.map(|at| now.saturating_sub(at));
        if window.is_some_and(|window| window < SHORTEST) {
            return None;
        }
        let mut readings = Vec::new();
        for runtime in shared.runtimes.values() {
            readings.extend(runtime.usage().await);
        }
        let before = std::mem::take(&mut self.cpu);
        self.at = Some(now);
        let mut pods = Vec::new();
        for reading in readings {
            let Some(view) = shared.registry.view(&reading.pod) else { continue };
            let mut containers = Vec::new();
            for container in reading.containers {
                let key = (reading.pod.clone(), container.name.clone());
                let known = before.get(&key).filter(|(attempt, _)| *attempt == container.attempt);
                if let (Some((_, cpu)), Some(window)) = (known, window) {
                    containers.push(ContainerUsage {
                        name: container.name,
                        // What goes backwards was not used.
                        cpu_nano_cores: per_second(container.cpu_nanos.saturating_sub(*cpu), window),
                        memory_bytes: container.memory_bytes,
                    });
                }
                self.cpu.insert(key, (container.attempt, container.cpu_nanos));
            }
            if !containers.is_empty() {
                let meta = &view.pod.metadata;
                let (namespace, name, uid) = (meta.namespace.clone(), meta.name.clone(), reading.pod);
                pods.push(PodUsage { namespace, name, uid, containers });
            }
        }
        let window_ms = u64::try_from(window?.as_millis()).unwrap_or(u64::MAX);
        Some(NodeUsage { at: MicroTime(shared.clock.now()), window_ms, pods })
    }
}

/// Nanoseconds of work within a window as billionths of a core.
fn per_second(nanos: u64, window: Duration) -> u64 {
    let rate = u128::from(nanos) * 1_000_000_000 / window.as_nanos().max(1);
    u64::try_from(rate).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_a_core_is_half_a_second_of_work_a_second() {
        assert_eq!(per_second(5_000_000_000, Duration::from_secs(10)), 500_000_000);
        assert_eq!(per_second(0, Duration::from_secs(10)), 0);
        assert_eq!(per_second(u64::MAX, Duration::from_nanos(1)), u64::MAX);
    }
}
