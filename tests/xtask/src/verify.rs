//! `verify` and `fix`: everything about the tree that is not a test.

use anyhow::Result;

use crate::run::{Steps, cargo, run};
use crate::schema;
use crate::tools;

/// Checks format, lints, the small crate, the documentation, the licences, bans and sources of all dependencies,
/// and that the generated field tables are what the generator writes.
///
/// Known security advisories are not checked: their database is fetched over the network at every run, and `verify`
/// gives the same answer for the same tree, online or not.
///
/// # Errors
/// Names the steps that failed; all of them are run.
pub(crate) fn verify() -> Result<()> {
    let mut steps = Steps::default();
    steps.step("lock file", || {
        run(cargo(&["metadata", "--locked", "--format-version", "1"])?.stdout(std::process::Stdio::null()))
    });
    steps.step("format", || run(&mut cargo(&["fmt", "--all", "--check"])?));
    steps.step("lints", || {
        run(&mut cargo(&["clippy", "--quiet", "--workspace", "--all-targets", "--", "--deny", "warnings"])?)
    });
    // The crate that hosts embed: no command line, nothing that only the binary needs.
    steps.step("small crate", || {
        run(&mut cargo(&[
            "clippy",
            "--quiet",
            "--package",
            "steersman",
            "--no-default-features",
            "--",
            "--deny",
            "warnings",
        ])?)
    });
    steps.step("documentation", || {
        run(cargo(&["doc", "--quiet", "--workspace", "--no-deps"])?.env("RUSTDOCFLAGS", "--deny warnings"))
    });
    steps.step("licences, bans and sources", || {
        let deny = tools::cargo_deny()?;
        run(std::process::Command::new(deny).current_dir(crate::run::root()?).args([
            "--all-features",
            "check",
            "--hide-inclusion-graph",
            "licenses",
            "bans",
            "sources",
        ]))
    });
    steps.step("field tables", || schema::run(true));
    steps.finish()
}

/// Writes what the tools can write: the field tables, lint suggestions, and last the format.
///
/// # Errors
/// Names the steps that failed; all of them are run.
pub(crate) fn fix() -> Result<()> {
    let mut steps = Steps::default();
    steps.step("field tables", || schema::run(false));
    steps.step("lints", || {
        run(&mut cargo(&[
            "clippy",
            "--quiet",
            "--workspace",
            "--all-targets",
            "--fix",
            "--allow-dirty",
            "--allow-staged",
        ])?)
    });
    steps.step("format", || run(&mut cargo(&["fmt", "--all"])?));
    steps.finish()
}
