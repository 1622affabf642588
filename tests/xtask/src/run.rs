//! Running one command: where the workspace is, what failed, and how a step is reported.
//!
//! It starts commands and waits for them; it captures nothing unless asked, so that a person sees a tool's own words.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};

/// The root of the workspace, from where this crate was built.
///
/// # Errors
/// When the crate does not lie two folders below a `Cargo.toml`.
pub(crate) fn root() -> Result<PathBuf> {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let root = here.ancestors().nth(2).map(PathBuf::from).context("tests/xtask has no grandparent folder")?;
    if !root.join("Cargo.toml").is_file() {
        bail!("{} has no Cargo.toml: build xtask again from the workspace it belongs to", root.display());
    }
    Ok(root)
}

/// Where cargo puts what it builds, following `CARGO_TARGET_DIR`; absolute.
///
/// # Errors
/// As [`root`].
pub(crate) fn target_dir() -> Result<PathBuf> {
    let root = root()?;
    Ok(std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |dir| root.join(dir)))
}

/// The cargo that started this task, run in the workspace's root without a standard input.
///
/// # Errors
/// As [`root`].
pub(crate) fn cargo(args: &[&str]) -> Result<Command> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(args).current_dir(root()?).stdin(Stdio::null());
    Ok(command)
}

/// Runs a command to its end, its output going where this task's output goes.
///
/// # Errors
/// When the program cannot be started or ends with anything but success; the error names the command.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let words = words(command);
    let status = command.status().with_context(|| format!("cannot start `{words}`"))?;
    if !status.success() {
        bail!("`{words}` failed: {status}");
    }
    Ok(())
}

/// Runs a command to its end and returns its standard output as text.
///
/// # Errors
/// As [`run`], with what the command wrote on its standard error.
pub(crate) fn capture(command: &mut Command) -> Result<String> {
    let words = words(command);
    let output = command.output().with_context(|| format!("cannot start `{words}`"))?;
    if !output.status.success() {
        bail!("`{words}` failed: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr).trim_end());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A command as one would type it.
fn words(command: &Command) -> String {
    std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| word.to_string_lossy().into_owned())
        .collect::<Vec<_>>()
        .join(" ")
}

/// Named steps, all of which are run, so that one look shows everything that is wrong.
#[derive(Debug, Default)]
pub(crate) struct Steps {
    failed: Vec<String>,
}

impl Steps {
    /// Runs one step and reports it on one line with the seconds it took.
    pub(crate) fn step(&mut self, name: &str, work: impl FnOnce() -> Result<()>) {
        let start = Instant::now();
        println!("-- {name}");
        match work() {
            Ok(()) => println!("   {name}: ok ({:.1} s)", start.elapsed().as_secs_f64()),
            Err(error) => {
                println!("   {name}: FAILED: {error:#}");
                self.failed.push(name.to_owned());
            }
        }
    }

    /// The verdict over all steps.
    ///
    /// # Errors
    /// When any step failed; the error names them.
    pub(crate) fn finish(self) -> Result<()> {
        if self.failed.is_empty() {
            return Ok(());
        }
        bail!("failed: {}", self.failed.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_runs_and_each_failure_is_named() {
        let mut steps = Steps::default();
        let mut ran = Vec::new();
        steps.step("one", || bail!("broken"));
        steps.step("two", || {
            ran.push("two");
            Ok(())
        });
        steps.step("three", || bail!("broken too"));
        let error = steps.finish().expect_err("two steps failed");
        assert_eq!(ran, ["two"]);
        assert_eq!(error.to_string(), "failed: one, three");
    }

    #[test]
    fn a_failing_command_is_an_error_that_names_it() {
        let error = run(Command::new("false").arg("quite")).expect_err("false fails");
        assert!(error.to_string().contains("`false quite` failed"), "{error}");
        let error = capture(Command::new("/nonexistent/program").arg("x")).expect_err("no such program");
        assert!(error.to_string().contains("cannot start `/nonexistent/program x`"), "{error}");
    }

    #[test]
    fn the_root_holds_the_workspace() {
        let manifest = std::fs::read_to_string(root().expect("root").join("Cargo.toml")).expect("manifest");
        assert!(manifest.contains("[workspace]"));
    }
}
