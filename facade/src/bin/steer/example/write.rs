//! Workloads that write: numbered lines, words, the environment.

use clap::Args;
use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

/// The arguments of `print`.
#[derive(Debug, Args)]
pub(crate) struct Print {
    /// How many lines
    #[arg(long, value_name = "N")]
    lines: u64,
    /// Milliseconds between two lines
    #[arg(long, value_name = "MS", default_value_t = 0)]
    interval_ms: u64,
}

/// The arguments of `echo`.
#[derive(Debug, Args)]
pub(crate) struct Echo {
    /// The words to print
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<String>,
}

/// The arguments of `env`.
#[derive(Debug, Args)]
pub(crate) struct Env {
    /// Only variables whose name starts so
    #[arg(long, default_value = "")]
    prefix: String,
}

/// Prints `line 1` to `line N`.
pub(super) fn print(print: &Print) -> anyhow::Result<ExitCode> {
    let mut out = std::io::stdout().lock();
    for line in 1..=print.lines {
        if line > 1 && print.interval_ms > 0 {
            std::thread::sleep(Duration::from_millis(print.interval_ms));
        }
        // Standard output is written line by line, so a reader sees each line when it is printed.
        writeln!(out, "line {line}")?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints the words with a space between them.
pub(super) fn echo(echo: &Echo) -> anyhow::Result<ExitCode> {
    writeln!(std::io::stdout().lock(), "{}", echo.words.join(" "))?;
    Ok(ExitCode::SUCCESS)
}

/// Prints `NAME=value` lines. What is no UTF-8 is shown with replacement characters.
pub(super) fn env(env: &Env) -> anyhow::Result<ExitCode> {
    let mut out = std::io::stdout().lock();
    for line in lines(std::env::vars_os(), &env.prefix) {
        writeln!(out, "{line}")?;
    }
    Ok(ExitCode::SUCCESS)
}

fn lines(vars: impl Iterator<Item = (std::ffi::OsString, std::ffi::OsString)>, prefix: &str) -> Vec<String> {
    let mut lines: Vec<_> = vars
        .map(|(name, value)| format!("{}={}", name.to_string_lossy(), value.to_string_lossy()))
        .filter(|line| line.starts_with(prefix))
        .collect();
    lines.sort_unstable();
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_is_sorted_and_cut_by_prefix() {
        let vars = || [("B", "2"), ("A", "1"), ("AB", "3")].into_iter().map(|(n, v)| (n.into(), v.into()));
        assert_eq!(lines(vars(), ""), ["A=1", "AB=3", "B=2"]);
        assert_eq!(lines(vars(), "A"), ["A=1", "AB=3"]);
    }
}
