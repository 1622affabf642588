//! `steer example`: small workloads that are always at hand, for the examples in `docs/examples` and for trying what a
//! cluster does with a program that serves, crashes, is greedy, slow, or does not listen to signals. They use nothing
//! of the orchestrator.

mod http;
mod trouble;
mod upstream;
mod write;

use clap::{Args, Subcommand};
use std::process::ExitCode;
use std::time::Duration;

/// The built-in workloads.
#[derive(Debug, Subcommand)]
pub(crate) enum Example {
    /// Answer HTTP requests with the name of the pod and a version
    Http(http::Serve),
    /// Wait, then listen as `http` does
    SlowStart(SlowStart),
    /// End with an exit code after some time
    Crash(trouble::Crash),
    /// Take memory step by step, and really use it
    EatMemory(trouble::EatMemory),
    /// Keep cpus busy
    BurnCpu(trouble::BurnCpu),
    /// Say that SIGTERM came, and go on
    IgnoreSigterm,
    /// Print numbered lines
    Print(write::Print),
    /// Print the words of the command line
    Echo(write::Echo),
    /// Print the environment, sorted by name
    Env(write::Env),
}

/// The arguments of `slow-start`.
#[derive(Debug, Args)]
pub(crate) struct SlowStart {
    /// Seconds before it listens
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    delay: Duration,
    #[command(flatten)]
    serve: http::Serve,
}

/// Runs a workload to its end.
///
/// # Errors
/// When it cannot do its work, such as listen on its port.
pub(crate) fn run(example: Example) -> anyhow::Result<ExitCode> {
    match example {
        Example::Http(serve) => http::run(serve),
        Example::SlowStart(SlowStart { delay, serve }) => {
            std::thread::sleep(delay);
            http::run(serve)
        }
        Example::Crash(crash) => trouble::crash(&crash),
        Example::EatMemory(eat) => trouble::eat_memory(&eat),
        Example::BurnCpu(burn) => trouble::burn_cpu(&burn),
        Example::IgnoreSigterm => trouble::ignore_sigterm(),
        Example::Print(print) => write::print(&print),
        Example::Echo(echo) => write::echo(&echo),
        Example::Env(env) => write::env(&env),
    }
}

/// Reads a number of seconds such as `2` or `0.5`.
fn seconds(text: &str) -> Result<Duration, String> {
    let number: f64 = text.parse().map_err(|_| "write seconds as a number, such as 2 or 0.5".to_owned())?;
    Duration::try_from_secs_f64(number).map_err(|_| "seconds must be 0 or more, and less than 10^19".to_owned())
}

/// A runtime on this thread alone: a workload should cost little.
fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_numbers_from_zero_on() {
        assert_eq!(seconds("2"), Ok(Duration::from_secs(2)));
        assert_eq!(seconds("0.25"), Ok(Duration::from_millis(250)));
        for bad in ["", "soon", "-1", "NaN", "inf", "1e300"] {
            assert!(seconds(bad).is_err(), "{bad:?}");
        }
    }
}
