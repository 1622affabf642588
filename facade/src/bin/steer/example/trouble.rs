//! Workloads that make trouble on purpose: they crash, take memory, burn cpu, or do not end when asked.

use clap::Args;
use std::hint::black_box;
use std::io::Write as _;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// The size of a page where it is smallest; touching one byte in each makes the whole memory resident.
const PAGE: usize = 4096;
const MIB: usize = 1 << 20;

/// The arguments of `crash`.
#[derive(Debug, Args)]
pub(crate) struct Crash {
    /// Seconds before the end
    #[arg(long, value_name = "SECONDS", value_parser = super::seconds)]
    after: Duration,
    /// The exit code
    #[arg(long, default_value_t = 1)]
    code: u8,
}

/// The arguments of `eat-memory`.
#[derive(Debug, Args)]
pub(crate) struct EatMemory {
    /// MiB to take in all
    #[arg(long, value_name = "MIB")]
    mb: usize,
    /// MiB to take at once
    #[arg(long, value_name = "MIB", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..))]
    step_mb: u16,
    /// Milliseconds between two steps
    #[arg(long, value_name = "MS", default_value_t = 100)]
    interval_ms: u64,
    /// Keep the memory until stopped, instead of ending
    #[arg(long)]
    hold: bool,
}

/// The arguments of `burn-cpu`.
#[derive(Debug, Args)]
pub(crate) struct BurnCpu {
    /// How many threads
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: u16,
    /// Seconds until it ends; without it, it goes on until stopped
    #[arg(long, value_name = "SECONDS", value_parser = super::seconds)]
    seconds: Option<Duration>,
}

/// Sleeps, then ends with the code.
pub(super) fn crash(crash: &Crash) -> anyhow::Result<ExitCode> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "will end with code {} after {:?}", crash.code, crash.after)?;
    std::thread::sleep(crash.after);
    writeln!(out, "ending with code {}", crash.code)?;
    Ok(ExitCode::from(crash.code))
}

/// Takes memory in steps and writes to each of its pages.
pub(super) fn eat_memory(eat: &EatMemory) -> anyhow::Result<ExitCode> {
    let mut out = std::io::stdout().lock();
    let mut taken: Vec<Vec<u8>> = Vec::new();
    let mut left = eat.mb;
    while left > 0 {
        let step = left.min(usize::from(eat.step_mb));
        taken.push(touched(step)?);
        left -= step;
        writeln!(out, "took {} of {} MiB", eat.mb - left, eat.mb)?;
        if left > 0 {
            std::thread::sleep(Duration::from_millis(eat.interval_ms));
        }
    }
    if eat.hold {
        loop {
            std::thread::park();
        }
    }
    black_box(&taken);
    Ok(ExitCode::SUCCESS)
}

/// Memory of that many MiB, every page of it written.
fn touched(mib: usize) -> anyhow::Result<Vec<u8>> {
    let bytes = mib.checked_mul(MIB).ok_or_else(|| anyhow::anyhow!("{mib} MiB are more than an address can name"))?;
    let mut block = Vec::new();
    block.try_reserve_exact(bytes)?;
    block.resize(bytes, 0_u8);
    for byte in block.iter_mut().step_by(PAGE) {
        *byte = 1;
    }
    Ok(black_box(block))
}

/// Spins on as many threads as asked.
pub(super) fn burn_cpu(burn: &BurnCpu) -> anyhow::Result<ExitCode> {
    writeln!(std::io::stdout().lock(), "burning cpu on {} threads", burn.threads)?;
    let end = burn.seconds.and_then(|seconds| Instant::now().checked_add(seconds));
    std::thread::scope(|scope| {
        for _ in 1..burn.threads {
            scope.spawn(|| spin(end));
        }
        spin(end);
    });
    Ok(ExitCode::SUCCESS)
}

fn spin(end: Option<Instant>) {
    let mut value = 1_u64;
    while end.is_none_or(|end| Instant::now() < end) {
        // Enough work between two looks at the clock that the work is what costs.
        for _ in 0..100_000 {
            value = black_box(value.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
        }
    }
}

/// Runs until it is killed, and says so at every SIGTERM.
pub(super) fn ignore_sigterm() -> anyhow::Result<ExitCode> {
    super::runtime()?.block_on(async {
        let mut asked = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        let mut out = std::io::stdout();
        writeln!(out, "running; only SIGKILL ends this")?;
        loop {
            asked.recv().await;
            writeln!(out, "SIGTERM came and is ignored")?;
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_page_is_written() {
        let block = touched(2).expect("two MiB");
        assert_eq!(block.len(), 2 * MIB);
        assert!(block.chunks(PAGE).all(|page| page[0] == 1));
        assert!(touched(usize::MAX).is_err());
    }

    #[test]
    fn a_crash_ends_with_its_code() {
        let code = crash(&Crash { after: Duration::ZERO, code: 7 }).expect("it runs");
        assert_eq!(format!("{code:?}"), format!("{:?}", ExitCode::from(7)));
    }

    #[test]
    fn burning_ends_in_time() {
        let begin = Instant::now();
        let seconds = Some(Duration::from_millis(20));
        burn_cpu(&BurnCpu { threads: 2, seconds }).expect("it runs");
        assert!(begin.elapsed() >= Duration::from_millis(20));
    }
}
