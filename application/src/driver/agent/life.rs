//! How simulated containers live: what a script says, and what the annotations of their pod say over it.

use std::fmt::Display;
use std::time::Duration;
use steersman_domain::ports::{ContainerSpec, RuntimeError};
use steersman_domain::{Map, Quantity, Str, spans};

/// The annotation of a pod that says how long its simulated containers run before they end by themselves: `90s`, `1h30m`.
pub const RUN_FOR: &str = "steersman.io/simulated-run-for";
/// The annotation of a pod that says with which exit code its simulated containers end by themselves; by default 0.
pub const EXIT_CODE: &str = "steersman.io/simulated-exit-code";
/// The annotation of a pod that says how long after their start simulated containers open their ports.
pub const READY_AFTER: &str = "steersman.io/simulated-ready-after";
/// The annotation of a pod that says how long after SIGTERM its simulated containers end.
pub const STOP_AFTER: &str = "steersman.io/simulated-stop-after";

/// The annotation of a pod that says how long after their start its simulated containers begin to fail liveness probes.
pub const UNWELL_AFTER: &str = "steersman.io/simulated-unwell-after";

/// The annotation of a pod that says how much cpu each of its simulated containers uses: `250m`, `1.5`.
pub const CPU: &str = "steersman.io/simulated-cpu";
/// The annotation of a pod that says how much memory each of its simulated containers uses: `64Mi`.
pub const MEMORY: &str = "steersman.io/simulated-memory";

/// How one attempt of a container lives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SimulatedLife {
    /// From the start until declared ports accept connections.
    pub ports_open_after: Duration,
    /// From the start until probes find it unwell; `None`: never.
    pub unwell_after: Option<Duration>,
    /// Ends by itself after this long with this exit code.
    pub exit: Option<(Duration, i32)>,
    /// How long it takes to end after SIGTERM; longer than the grace: it is killed.
    pub ends_in: Duration,
    /// The exit code after SIGTERM.
    pub term_code: i32,
    /// The cpu that it uses, in thousandths of a core.
    pub cpu_milli: u64,
    /// The memory that it uses, in bytes.
    pub memory_bytes: u64,
}

/// What the annotations of a pod say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Annotated {
    exit: Option<(Duration, i32)>,
    ready_after: Option<Duration>,
    stop_after: Option<Duration>,
    unwell_after: Option<Duration>,
    cpu_milli: Option<u64>,
    memory_bytes: Option<u64>,
}

fn quantity(text: &str, read: impl Fn(&Quantity) -> i64) -> Result<u64, String> {
    let quantity = Quantity::parse(text).map_err(|error| format!("{text:?} is no quantity: {error}"))?;
    u64::try_from(read(&quantity)).map_err(|_| format!("{text:?} is negative"))
}

/// The value of an annotation.
fn value<T, E: Display>(
    annotations: &Map<Str>,
    key: &str,
    read: impl Fn(&str) -> Result<T, E>,
) -> Result<Option<T>, RuntimeError> {
    let Some(text) = annotations.get(key) else { return Ok(None) };
    read(text).map(Some).map_err(|error| RuntimeError::Refused(format!("the annotation {key}: {error}")))
}

fn exit_code(text: &str) -> Result<i32, String> {
    text.parse::<u8>()
        .map(i32::from)
        .map_err(|_| format!("{text:?} is no exit code: it must be a number from 0 to 255"))
}

impl Annotated {
    /// Reads the annotations.
    pub(super) fn read(annotations: &Map<Str>) -> Result<Self, RuntimeError> {
        let run_for = value(annotations, RUN_FOR, spans::read)?;
        let code = value(annotations, EXIT_CODE, exit_code)?;
        if code.is_some() && run_for.is_none() {
            let message =
                format!("the annotation {EXIT_CODE} needs {RUN_FOR} beside it, which says when containers end");
            return Err(RuntimeError::Refused(message));
        }
        Ok(Annotated {
            exit: run_for.map(|after| (after, code.unwrap_or(0))),
            ready_after: value(annotations, READY_AFTER, spans::read)?,
            stop_after: value(annotations, STOP_AFTER, spans::read)?,
            unwell_after: value(annotations, UNWELL_AFTER, spans::read)?,
            cpu_milli: value(annotations, CPU, |text| quantity(text, Quantity::milli))?,
            memory_bytes: value(annotations, MEMORY, |text| quantity(text, Quantity::value))?,
        })
    }

    /// A life as the script has it, with what is annotated in its place. An init container that nothing ends has nothing to do.
    pub(super) fn over(&self, life: SimulatedLife, spec: &ContainerSpec) -> SimulatedLife {
        let exit = if spec.init { life.exit.or(Some((Duration::ZERO, 0))) } else { self.exit.or(life.exit) };
        SimulatedLife {
            exit,
            ports_open_after: self.ready_after.unwrap_or(life.ports_open_after),
            ends_in: self.stop_after.unwrap_or(life.ends_in),
            unwell_after: self.unwell_after.or(life.unwell_after),
            cpu_milli: self.cpu_milli.unwrap_or(life.cpu_milli),
            memory_bytes: self.memory_bytes.unwrap_or(life.memory_bytes),
            ..life
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(annotations: &[(&str, &str)]) -> Result<Annotated, String> {
        let map = annotations.iter().map(|(key, value)| (Str::from(*key), Str::from(*value))).collect();
        Annotated::read(&map).map_err(|error| error.to_string())
    }

    #[test]
    fn annotations_are_read() {
        let secs = Duration::from_secs;
        assert_eq!(read(&[]), Ok(Annotated::default()));
        let all = read(&[
            (RUN_FOR, "1m30s"),
            (EXIT_CODE, "3"),
            (READY_AFTER, "5s"),
            (STOP_AFTER, "2"),
            (UNWELL_AFTER, "7s"),
            (CPU, "250m"),
            (MEMORY, "64Mi"),
        ]);
        let wanted = Annotated {
            exit: Some((secs(90), 3)),
            ready_after: Some(secs(5)),
            stop_after: Some(secs(2)),
            unwell_after: Some(secs(7)),
            cpu_milli: Some(250),
            memory_bytes: Some(64 << 20),
        };
        assert_eq!(all, Ok(wanted));
        assert_eq!(read(&[(RUN_FOR, "10")]).map(|read| read.exit), Ok(Some((secs(10), 0))));
    }

    #[test]
    fn what_cannot_be_read_is_refused_by_name() {
        for (annotations, said) in [
            (&[(RUN_FOR, "soon")][..], "simulated-run-for: \"soon\" is no span of time"),
            (&[(RUN_FOR, "1s"), (EXIT_CODE, "256")], "simulated-exit-code: \"256\" is no exit code"),
            (&[(EXIT_CODE, "1")], "needs steersman.io/simulated-run-for beside it"),
            (&[(READY_AFTER, "-1s")], "simulated-ready-after"),
            (&[(STOP_AFTER, "")], "simulated-stop-after"),
            (&[(CPU, "much")], "simulated-cpu: \"much\" is no quantity"),
            (&[(MEMORY, "-1")], "simulated-memory: \"-1\" is negative"),
        ] {
            let error = read(annotations).expect_err(said);
            assert!(error.contains(said), "{error}");
        }
    }
}
