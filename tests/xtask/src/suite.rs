//! `test`: every unit, integration and documentation test, with the tools they drive.

use std::ffi::OsString;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context, Result, bail};

use crate::kubectl::{is_root, kubectls, version};
use crate::run::{cargo, run, target_dir};
use crate::tally::Tally;

/// Fetches the tools, builds the binary and runs the tests; the last line printed is `N passed, M failed`.
///
/// Tests that need root carry `#[ignore = "needs root"]`. As root they run with the others; else they are listed and
/// counted, and where `CI=true` leaving them out is a failure.
///
/// # Errors
/// When a tool cannot be had, something does not build, or a test fails.
pub(crate) fn test(filter: Option<&str>) -> Result<()> {
    let environment = match prepare() {
        Ok(environment) => environment,
        Err(error) => {
            println!("0 passed, 1 failed");
            return Err(error);
        }
    };
    let root = is_root()?;
    let mut command = cargo(&["test", "--workspace", "--no-fail-fast"])?;
    command.args(filter).arg("--");
    if root {
        command.arg("--include-ignored");
    }
    let mut child =
        command.envs(environment).stdout(Stdio::piped()).spawn().context("cannot start `cargo test --workspace`")?;
    let stdout = child.stdout.take().context("cargo test has no standard output")?;
    let mut tally = Tally::default();
    for line in BufReader::new(stdout).split(b'\n') {
        // A test may print bytes that are no text: they are shown as well as can be, and the count goes on.
        let line = line.context("cannot read what cargo test prints")?;
        let line = String::from_utf8_lossy(&line);
        println!("{line}");
        tally.read(&line);
    }
    let status = child.wait().context("cannot wait for cargo test")?;
    tally.close(status.success());
    verdict(&tally, filter, std::env::var("CI").is_ok_and(|ci| ci == "true"))
}

/// Prints what is worth a second look and the last line, and says whether the run counts as good.
fn verdict(tally: &Tally, filter: Option<&str>, ci: bool) -> Result<()> {
    println!();
    for name in &tally.broken {
        println!("failed: {name}");
    }
    for name in &tally.ignored {
        println!("left out: {name}");
    }
    if !tally.ignored.is_empty() {
        println!("{} left out: run as root to include them", tally.ignored.len());
    }
    println!("{}", tally.summary());
    if tally.failed > 0 {
        bail!("{} failed", tally.failed);
    }
    if ci && !tally.ignored.is_empty() {
        bail!("{} tests were left out, and CI leaves none out", tally.ignored.len());
    }
    if tally.passed == 0 {
        match filter {
            Some(name) => bail!("no test is named like {name:?}"),
            None => bail!("no test ran"),
        }
    }
    Ok(())
}

/// What the tests need around them: the environment that names the binary and the kubectls.
fn prepare() -> Result<Vec<(&'static str, OsString)>> {
    let kubectls = kubectls()?;
    for kubectl in &kubectls {
        println!("-- kubectl {} at {}", version(kubectl)?, kubectl.display());
    }
    println!("-- building steer");
    run(&mut cargo(&["build", "--quiet", "--package", "steersman", "--bin", "steer"])?)?;
    let steer: PathBuf = target_dir()?.join("debug/steer");
    if !steer.is_file() {
        bail!("cargo built no {}", steer.display());
    }
    let joined = std::env::join_paths(&kubectls).context("a path to kubectl holds a colon")?;
    Ok(vec![("STEERSMAN_KUBECTLS", joined), ("STEERSMAN_BIN", steer.into_os_string())])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(passed: u64, failed: u64, ignored: &[&str]) -> Tally {
        let ignored = ignored.iter().map(|name| (*name).to_owned()).collect();
        Tally { passed, failed, broken: Vec::new(), ignored }
    }

    #[test]
    fn only_a_run_with_passes_and_no_failures_is_good() {
        verdict(&tally(3, 0, &[]), None, true).expect("good");
        verdict(&tally(3, 1, &[]), None, false).expect_err("one failed");
        verdict(&tally(0, 0, &[]), None, false).expect_err("nothing ran");
        verdict(&tally(0, 0, &[]), Some("x"), false).expect_err("nothing is named so");
    }

    #[test]
    fn tests_left_out_fail_only_in_ci() {
        verdict(&tally(3, 0, &["a (needs root)"]), None, false).expect("a person may leave it out");
        verdict(&tally(3, 0, &["a (needs root)"]), None, true).expect_err("CI may not");
    }
}
